"""From an image file to uint8 pixels."""

from __future__ import annotations

import logging
import os
import warnings
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from normlab.errors import DataError
from normlab.pictures import CorruptImageError, crop_margin, picture_of, resize_and_crop, resized_side

log = logging.getLogger(__name__)


def read(path: Path, image_size: int | None = None, color: bool | None = None) -> tuple[Tensor, str]:
    """Decode one image to 8 bits; raises the errors of :func:`picture_of`.

    Args:
        path: the file.
        image_size: the shorter side is resized to it (bilinear, antialiased), then the center is cut out.
        color: True for 3 channels, False for 1, None for the image's own number.

    Returns:
        uint8 [C, H, W], and a note on how the image was converted ("" if it was not).
    """
    picture, converted = picture_of(path)
    if color is not None and (picture.mode == "RGB") != color:
        converted = converted or ("grayscale, repeated to RGB" if color else "color, converted to grayscale")
        picture = picture.convert("RGB" if color else "L")
    if image_size is not None:
        picture = resize_and_crop(picture, image_size)
    pixels = torch.from_numpy(np.array(picture))
    return (pixels[None] if pixels.ndim == 2 else pixels.permute(2, 0, 1)), converted


def resize(images: Tensor, size: int) -> Tensor:
    """Resize and crop like :func:`read`: uint8 [N, C, H, W] to [N, C, size, size], equal within one level."""
    target = [resized_side(side, min(images.shape[2:]), size) for side in images.shape[2:]]
    if list(images.shape[2:]) != target:
        parts = [
            F.interpolate(part.float(), target, mode="bilinear", antialias=True).round().clamp(0, 255).byte()
            for part in images.split(1024)
        ]
        images = torch.cat(parts)
    top, left = (crop_margin(side, size) for side in images.shape[2:])
    return images[..., top : top + size, left : left + size].contiguous()


def decode(
    paths: Sequence[Path], image_size: int | None, skip_corrupt: bool
) -> tuple[Tensor, list[int], dict[str, int]]:
    """Decode many files on all cores.

    Args:
        paths: the files.
        image_size: see :func:`read`.
        skip_corrupt: leave out files that cannot be read, instead of raising an error.

    Returns:
        uint8 [M, C, H, W], grayscale only if all files are; the positions in ``paths`` of the M images; and the
        number of files by the way in which they were converted, or skipped.

    Raises:
        CorruptImageError: naming the first file that cannot be read, unless ``skip_corrupt``.
        DataError: if sizes differ and no ``image_size`` is given.
    """

    def attempt(path: Path) -> tuple[Tensor, str] | CorruptImageError:
        try:
            return read(path, image_size)
        except CorruptImageError as error:
            if not skip_corrupt:
                raise
            return error

    notes: Counter[str] = Counter()
    kept: list[int] = []
    store: Tensor | None = None
    grays = 0
    if len(paths) >= 5000:
        log.info("decoding %s images, once ...", f"{len(paths):,}")
    with warnings.catch_warnings(), ThreadPoolExecutor(os.cpu_count()) as pool:
        warnings.simplefilter("ignore")  # PIL would warn of odd metadata once for each file
        try:
            for position, outcome in enumerate(pool.map(attempt, paths)):
                if isinstance(outcome, CorruptImageError):
                    notes["unreadable, skipped"] += 1
                    log.warning("skipped %s", outcome)
                    continue
                image, converted = outcome
                if converted:
                    notes[converted] += 1
                if store is None:
                    first = paths[position]
                    store = torch.empty((len(paths), *image.shape), dtype=torch.uint8)
                if image.shape[1:] != store.shape[2:]:
                    raise DataError(
                        f"images of different sizes: {first} has {_size(store[0])} pixels, {paths[position]} has "
                        f"{_size(image)}: give data.image_size=PIXELS"
                    )
                grays += len(image) == 1
                if len(image) > store.shape[1]:  # the first color image after grayscale ones
                    store = store.repeat(1, 3, 1, 1)
                store[len(kept)] = image
                kept.append(position)
        except BaseException:
            pool.shutdown(cancel_futures=True)  # do not decode the rest before reporting
            raise
    if store is None:
        raise DataError(f"none of {len(paths)} files could be read as an image" if paths else "no images")
    if 0 < grays < len(kept):
        notes["grayscale, repeated to RGB"] += grays
    return store[: len(kept)], kept, dict(notes)


def readable(paths: Sequence[Path]) -> list[bool]:
    """Whether each file can be decoded, tested on all cores."""

    def attempt(path: Path) -> bool:
        try:
            read(path)
        except CorruptImageError as error:
            log.warning("skipped %s", error)
            return False
        return True

    with warnings.catch_warnings(), ThreadPoolExecutor(os.cpu_count()) as pool:
        warnings.simplefilter("ignore")
        return list(pool.map(attempt, paths))


def _size(image: Tensor) -> str:
    return f"{image.shape[2]}x{image.shape[1]}"
