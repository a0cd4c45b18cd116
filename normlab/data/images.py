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
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from normlab.errors import DataError

log = logging.getLogger(__name__)

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm"})


class CorruptImageError(DataError):
    """A file that no image can be read from: broken, not there, or with pixels of unknown range."""


def picture_of(path: Path) -> tuple[Image.Image, str]:
    """Decode one image to 8 bits, greyscale or RGB.

    Palette, CMYK and similar images become RGB; an alpha channel is dropped, as torchvision's loader does; 16-bit
    greyscale is divided by 257, which maps 65535 to 255 (PIL's own conversion would clip at 255 instead).

    Returns:
        The picture, and a word about what was converted ("" for nothing).

    Raises:
        CorruptImageError: if the file is missing, empty, truncated or no image; and for 32-bit and floating-point
            images, whose range nobody knows.
    """
    try:
        with Image.open(path) as opened:
            opened.load()
            picture: Image.Image = opened
    except Exception as error:  # decoders raise nearly anything on broken bytes
        raise CorruptImageError(f"{path}: {_reason(path, error)}") from None
    return _to_8_bits(picture, path)


def _reason(path: Path, error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "a link to a file that is not there" if path.is_symlink() else "no such file"
    if isinstance(error, PermissionError):  # even the size may not be looked at then
        return "no permission to read it"
    if isinstance(error, UnidentifiedImageError):
        return "not an image, or broken at its beginning" if path.stat().st_size else "the file is empty"
    return str(error) or type(error).__name__


def read(path: Path, image_size: int | None = None, colour: bool | None = None) -> tuple[Tensor, str]:
    """Decode one image to 8 bits; see :func:`picture_of`, whose errors it raises.

    Args:
        path: the file.
        image_size: the shorter side is resized to it (bilinear, antialiased), then the centre is cut out.
        colour: True for 3 channels, False for 1, None for what the image has.

    Returns:
        uint8 [C, H, W], and a word about what was converted ("" for nothing).
    """
    picture, converted = picture_of(path)
    if colour is not None and (picture.mode == "RGB") != colour:
        converted = converted or ("greyscale, repeated to RGB" if colour else "colour, converted to greyscale")
        picture = picture.convert("RGB" if colour else "L")
    if image_size is not None:
        picture = resize_and_crop(picture, image_size)
    pixels = torch.from_numpy(np.array(picture))
    return (pixels[None] if pixels.ndim == 2 else pixels.permute(2, 0, 1)), converted


def _to_8_bits(picture: Image.Image, path: Path) -> tuple[Image.Image, str]:
    mode = picture.mode
    if mode in ("L", "RGB"):
        return picture, ""
    if mode == "1":
        return picture.convert("L"), "1 bit, converted to greyscale"
    if mode.startswith("I;16") or (mode == "I" and picture.format == "PPM"):  # PIL opens a 16-bit .pgm as 32 bits
        pixels = np.asarray(picture).astype(np.float64) / 257
        return Image.fromarray(pixels.round().astype(np.uint8)), "16 bits, scaled to 8"
    if mode in ("I", "F"):
        raise CorruptImageError(
            f"{path}: pixels of 32 bits (mode {mode}) have no known range; convert the file to 8 or 16 bits"
        )
    if mode in ("LA", "La"):
        return picture.convert("L"), "alpha channel, dropped"
    if mode in ("RGBA", "RGBa"):
        return picture.convert("RGB"), "alpha channel, dropped"
    if "transparency" in picture.info:
        picture = picture.convert("RGBA")  # PIL warns of the direct way
    return picture.convert("RGB"), f"{'palette' if mode == 'P' else mode}, converted to RGB"


def resize_and_crop(picture: Image.Image, size: int) -> Image.Image:
    """The shorter side resized to ``size`` (bilinear, antialiased), then the centre cut out."""
    width, height = (_resized(side, min(picture.size), size) for side in picture.size)
    if picture.size != (width, height):
        picture = picture.resize((width, height), Image.Resampling.BILINEAR)
    left, top = _margin(width, size), _margin(height, size)
    return picture.crop((left, top, left + size, top + size))


def _resized(side: int, shorter: int, size: int) -> int:
    """Length of a side once the shorter one is ``size``, rounded as in torchvision's Resize."""
    return size * side // shorter


def _margin(side: int, size: int) -> int:
    """Pixels before the centre crop, rounded as in torchvision's CenterCrop."""
    return round((side - size) / 2)


def resize(images: Tensor, size: int) -> Tensor:
    """Resize and crop like :func:`read`: uint8 [N, C, H, W] to [N, C, size, size], equal within one level."""
    target = [_resized(side, min(images.shape[2:]), size) for side in images.shape[2:]]
    if list(images.shape[2:]) != target:
        parts = [
            F.interpolate(part.float(), target, mode="bilinear", antialias=True).round().clamp(0, 255).byte()
            for part in images.split(1024)
        ]
        images = torch.cat(parts)
    top, left = (_margin(side, size) for side in images.shape[2:])
    return images[..., top : top + size, left : left + size].contiguous()


def decode(
    paths: Sequence[Path], image_size: int | None, skip_corrupt: bool
) -> tuple[Tensor, list[int], dict[str, int]]:
    """Decode many files on all cores.

    Args:
        paths: the files.
        image_size: see :func:`read`.
        skip_corrupt: leave out what cannot be read, instead of raising.

    Returns:
        uint8 [M, C, H, W], greyscale only if all files are; the positions in ``paths`` of the M images; and how many
        files were converted in which way, or skipped.

    Raises:
        CorruptImageError: naming the first file that cannot be read, unless they are skipped.
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
    greys = 0
    if len(paths) >= 5000:
        log.info("decoding %s images, once ...", f"{len(paths):,}")
    with warnings.catch_warnings(), ThreadPoolExecutor(os.cpu_count()) as pool:
        warnings.simplefilter("ignore")  # PIL warns of odd metadata, once for each of many files
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
                greys += len(image) == 1
                if len(image) > store.shape[1]:  # the first colour image after greyscale ones
                    store = store.repeat(1, 3, 1, 1)
                store[len(kept)] = image
                kept.append(position)
        except BaseException:
            pool.shutdown(cancel_futures=True)  # do not decode the rest before reporting
            raise
    if store is None:
        raise DataError(f"none of {len(paths)} files could be read as an image" if paths else "no images")
    if 0 < greys < len(kept):
        notes["greyscale, repeated to RGB"] += greys
    return store[: len(kept)], kept, dict(notes)


def readable(paths: Sequence[Path]) -> list[bool]:
    """Whether each file can be decoded, found out on all cores."""

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
