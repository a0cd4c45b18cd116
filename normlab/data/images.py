"""From image files to tensors of one type and number of bands, at the full depth of the files."""

from __future__ import annotations

import logging
import os
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from normlab.errors import DataError
from normlab.pictures import (
    CorruptImageError,
    Picture,
    Reading,
    crop_margin,
    describe_picture,
    read_picture,
    resized,
    resized_side,
)

log = logging.getLogger(__name__)

AS_16_BITS = "8 bits, as 16 (x * 257)"  # the note on such images
Item = tuple[Path, int]  # a file and the number of a page in it


@dataclass(frozen=True)
class Format:
    """What all images of a data set have in common.

    Attributes:
        type: of the pixels in the files, by its name in numpy.
        bands: number of bands.
        black, white: the range that the files declare; None: they declare none.
        open_white: another white that all of the files may mean, see :class:`normlab.pictures.Picture`.
        masked: whether masks leave out pixels: images are then float32, with NaN in these.
        one_range: whether the user gives one range for all files, so that those of one type may declare different ones.
    """

    type: str = "uint8"
    bands: int = 3
    black: float | None = None
    white: float | None = None
    masked: bool = False
    one_range: bool = False
    open_white: float | None = None

    @property
    def input_type(self) -> str:
        """Type of the images that a run takes, by its name in numpy."""
        return "float32" if self.masked else self.type

    @property
    def bytes_per_pixel(self) -> int:
        """Of all bands together."""
        return np.dtype(self.input_type).itemsize * self.bands


def format_of(picture: Picture, reading: Reading | None = None) -> Format:
    """The format of one picture that was read in this way."""
    kind = "uint8" if not isinstance(picture.pixels, np.ndarray) else picture.pixels.dtype.name
    masked = reading is not None and reading.mask is not None
    return Format(kind, picture.bands, picture.black, picture.white, masked, open_white=picture.open_white)


def _beside(one: Format, other: Format) -> Format:
    """The format with the white of another one, if it leaves that open; nothing stays open beside a decided one."""
    if one.open_white is None or one.open_white == other.open_white:
        return one
    is_meant = (one.type, one.open_white) == (other.type, other.white)
    return replace(one, white=one.open_white if is_meant else None, open_white=None)


def joined(one: Format, other: Format) -> Format | None:
    """The format of a data set, ``one``, as it holds another format without a loss, too; None if it cannot.

    Gray images repeat their band beside images of three bands. 8 bits become 16 by x * 257, where neither declares a
    range: 255 becomes 65535, so u is the same.
    """
    if one == other:
        return one
    one, other = _beside(one, other), _beside(other, one)
    if one.one_range and one.type == other.type:
        white = max((white for white in (one.white, other.white) if white is not None), default=None)
        one, other = (replace(format, black=one.black, white=white) for format in (one, other))
    bands = {one.bands, other.bands}
    if (one.black, one.white) != (other.black, other.white) or (len(bands) > 1 and bands != {1, 3}):
        return None
    kinds = {one.type, other.type}
    if len(kinds) > 1 and (kinds != {"uint8", "uint16"} or one.white is not None):
        return None
    kind = max(kinds, key=lambda kind: np.dtype(kind).itemsize)
    return replace(one, type=kind, bands=max(bands))


def misfit(first: Path, one: Format, path: Path, other: Format) -> str:
    """The message on two files whose formats cannot be joined."""

    def text(value: Format) -> str:
        declared = "" if value.white is None else f", white {value.white:g}"
        return f"{value.bands} band{'s' * (value.bands != 1)} of {value.type}{declared}"

    if (one.bands, one.type) == (other.bands, other.type):
        todo = "set one range with data.white=NUMBER"
    elif one.type == other.type:
        todo = "choose the bands that all of them have with data.bands=[...]"
    else:
        todo = "keep files of one type, or leave the others out with data.on_corrupt=skip"
    return f"images of different types: {first} has {text(one)}, {path} has {text(other)}: {todo}"


def converted(array: NDArray[Any], to: Format) -> NDArray[Any]:
    """An array [C, H, W] in a joined format; see :func:`joined`."""
    if array.dtype != to.type:
        array = array.astype(to.type) * np.array(257, to.type)
    return np.repeat(array, to.bands, axis=0) if len(array) != to.bands else array


def with_gaps(array: NDArray[Any], mask: NDArray[np.bool_] | None, path: Path) -> NDArray[np.float32]:
    """An array [C, H, W] as float32, which holds up to 24 bits exactly, with NaN where a mask leaves pixels out.

    Raises:
        CorruptImageError: for integers that float32 does not hold.
    """
    values = array.astype(np.float32)
    if array.dtype == np.int32 and not np.array_equal(values, array):
        raise CorruptImageError(
            f"{path}: integers above 2^24 do not fit into the 32-bit floats that data.mask needs; leave data.mask out, "
            f"or save them as 32-bit floats"
        )
    if mask is not None:
        values[:, ~mask] = np.nan
    return values


def read(
    path: Path,
    image_size: int | None = None,
    to: Format | None = None,
    reading: Reading | None = None,
    page: int = 0,
) -> tuple[Tensor, tuple[str, ...]]:
    """Decode one image; raises the errors of :func:`normlab.pictures.read_picture`.

    Args:
        path: the file.
        image_size: the shorter side is resized to it (bilinear, antialiased), then the center is cut out.
        to: the format of all images; None: the image's own, and no mask.
        reading: how files become images.
        page: which page of the file.

    Returns:
        [C, H, W] of the file's type or, with a mask, float32; and notes on how the image was changed.
    """
    picture = _picture(path, page, image_size, reading)
    array = picture.array
    if to is not None:
        own = format_of(picture, reading)
        if joined(to, own) != to:
            raise DataError(misfit(Path("the data set"), to, path, own))
        array = converted(array, to)
        if to.masked:
            array = with_gaps(array, picture.mask, path)
    return torch.from_numpy(array), picture.notes


class Gaps:
    """Counts the pixels that masks leave out."""

    def __init__(self) -> None:
        self.images = self.images_with_gaps = self.pixels = self.left_out = 0

    def add(self, pixels: int, left_out: int) -> None:
        """Count one image."""
        self.images += 1
        self.images_with_gaps += left_out > 0
        self.pixels += pixels
        self.left_out += left_out

    @staticmethod
    def of(picture: Picture) -> tuple[int, int]:
        """Number of pixels, and of those that the mask leaves out."""
        return picture.size[0] * picture.size[1], 0 if picture.mask is None else int((~picture.mask).sum())

    @property
    def note(self) -> dict[str, int]:
        """How many images are affected, by what is done to them."""
        if not self.left_out:
            return {"no pixel left out by data.mask": self.images}
        return {f"pixels left out by data.mask, {self.left_out / self.pixels:.1%} of all pixels": self.images_with_gaps}


def _picture(path: Path, page: int, image_size: int | None, reading: Reading | None) -> Picture:
    picture = read_picture(path, reading, page)
    if image_size is not None:
        picture = resized(picture, image_size)
    if picture.is_empty:
        raise CorruptImageError(f"{path}: its mask leaves out every pixel")
    return picture


def resize(images: Tensor, size: int) -> Tensor:
    """Resize and crop like :func:`read`: [N, C, H, W] to [N, C, size, size], equal within one level."""
    target = [resized_side(side, min(images.shape[2:]), size) for side in images.shape[2:]]
    if list(images.shape[2:]) != target:
        parts = [
            _rounded(F.interpolate(part.float(), target, mode="bilinear", antialias=True), images.dtype)
            for part in images.split(1024)
        ]
        images = torch.cat(parts)
    top, left = (crop_margin(side, size) for side in images.shape[2:])
    return images[..., top : top + size, left : left + size].contiguous()


def _rounded(images: Tensor, dtype: torch.dtype) -> Tensor:
    if dtype.is_floating_point:
        return images.to(dtype)
    limits = torch.iinfo(dtype)
    return images.round().clamp(limits.min, limits.max).to(dtype)


@dataclass(frozen=True)
class Decoded:
    """Decoded files.

    Attributes:
        images: [M, C, H, W] of one type; gray only if all files are; NaN where a mask leaves out pixels.
        kept: the positions of the M images among the files.
        notes: number of files by the way in which they were changed, or left out.
        format: of the images.
    """

    images: Tensor
    kept: list[int]
    notes: dict[str, int]
    format: Format


def decode(
    items: Sequence[Path | Item],
    image_size: int | None,
    skip_corrupt: bool,
    reading: Reading | None = None,
    one_range: bool = False,
) -> Decoded:
    """Decode many files on all cores.

    Args:
        items: the files, or files with the number of a page.
        image_size: see :func:`read`.
        skip_corrupt: leave out files that cannot be read or are of another type, instead of raising an error.
        reading: how files become images.
        one_range: whether the user gives a range, whatever the files declare.

    Raises:
        CorruptImageError: naming the first file that cannot be read, unless ``skip_corrupt``.
        DataError: if sizes differ and no ``image_size`` is given, or types differ.
    """
    places = [item if isinstance(item, tuple) else (item, 0) for item in items]
    notes: Counter[str] = Counter()
    kept: list[int] = []
    store: NDArray[Any] | None = None
    common, first, grays, gaps = Format(), Path(), 0, Gaps()
    if len(places) >= 5000:
        log.info("decoding %s images, once ...", f"{len(places):,}")
    for position, picture in enumerate(_pictures(places, image_size, skip_corrupt, reading)):
        path = places[position][0]
        if isinstance(picture, CorruptImageError):
            notes[f"{picture.kind}, skipped"] += 1
            log.warning("skipped %s", picture)
            continue
        own, array = format_of(picture, reading), picture.array
        if store is None:
            common, first = replace(own, one_range=one_range), path
            store = np.empty((len(places), *array.shape), dtype=own.input_type)
        both = joined(common, own)
        if both is None:
            if not skip_corrupt:
                raise DataError(misfit(first, common, path, own))
            notes[f"of another type ({own.bands} x {own.type}), skipped"] += 1
            log.warning("skipped %s", misfit(first, common, path, own))
            continue
        if array.shape[1:] != store.shape[2:]:
            raise DataError(
                f"images of different sizes: {first} has {_size(store[0])} pixels, {path} has {_size(array)}: "
                f"give data.image_size=PIXELS"
            )
        notes.update(picture.notes)
        grays += own.bands == 1
        if both != common:  # the first color image after gray ones, or the first of 16 bits after those of 8
            store = _widened(store, len(kept), common, both)
            notes[AS_16_BITS] += len(kept) * (both.type != common.type)
            common = both
        elif own.type != common.type:
            notes[AS_16_BITS] += 1
        array = converted(array, common)
        store[len(kept)] = with_gaps(array, picture.mask, path) if common.masked else array
        gaps.add(*Gaps.of(picture))
        kept.append(position)
    if store is None:
        raise DataError(f"none of {len(places)} files could be read as an image" if places else "no images")
    if 0 < grays < len(kept) and common.bands == 3:
        notes["grayscale, repeated to RGB"] += grays
    if common.masked:
        notes.update(gaps.note)
    return Decoded(torch.from_numpy(store[: len(kept)]), kept, {k: n for k, n in notes.items() if n}, common)


def _widened(store: NDArray[Any], count: int, own: Format, to: Format) -> NDArray[Any]:
    kind = to.input_type
    wider = np.empty((len(store), to.bands, *store.shape[2:]), dtype=kind)
    wider[:count] = store[:count] if own.type == to.type else store[:count].astype(kind) * np.array(257, kind)
    return wider


def _pictures(
    places: Sequence[Item], image_size: int | None, skip_corrupt: bool, reading: Reading | None
) -> Iterator[Picture | CorruptImageError]:
    def attempt(item: Item) -> Picture | CorruptImageError:
        try:
            return _picture(item[0], item[1], image_size, reading)
        except CorruptImageError as error:
            if not skip_corrupt:
                raise
            return error

    with warnings.catch_warnings(), ThreadPoolExecutor(os.cpu_count()) as pool:
        warnings.simplefilter("ignore")  # PIL would warn of odd metadata once for each file
        try:
            yield from pool.map(attempt, places)
        except BaseException:
            pool.shutdown(cancel_futures=True)  # do not decode the rest before reporting
            raise


@dataclass(frozen=True)
class Survey:
    """What a data set that streams is, found out before training.

    Attributes:
        is_kept: of each file, whether it is an image; without a test of all pixels, True.
        notes: number of files by the way in which they are changed, or left out.
        format: of the images.
    """

    is_kept: list[bool]
    notes: dict[str, int]
    format: Format


def survey(
    items: Sequence[Item],
    skip_corrupt: bool,
    reading: Reading | None = None,
    image_size: int | None = None,
    one_range: bool = False,
) -> Survey:
    """The common format of many files, from their headers, on all cores; with a mask, from all their pixels.

    Args:
        items: files, with the number of a page.
        skip_corrupt: decode each file, and leave out those that cannot be read or are of another type.
        reading: how files become images.
        image_size: of the images of the run, by which the pixels that a mask leaves out are counted.
        one_range: whether the user gives a range, whatever the files declare.

    Raises:
        DataError: if types differ, unless ``skip_corrupt``.
    """
    masked = reading is not None and reading.mask is not None
    gaps = Gaps()

    def attempt(item: Item) -> tuple[Format, tuple[str, ...], tuple[int, int]] | DataError:
        try:
            if masked:
                picture = _picture(item[0], item[1], image_size, reading)
            else:
                picture = (read_picture if skip_corrupt else describe_picture)(item[0], reading, item[1])
        except CorruptImageError as error:
            return error
        return format_of(picture, reading), picture.notes, Gaps.of(picture)

    notes: Counter[str] = Counter()
    is_kept: list[bool] = []
    common: Format | None = None
    first, grays, narrow = Path(), 0, 0
    with warnings.catch_warnings(), ThreadPoolExecutor(os.cpu_count()) as pool:
        warnings.simplefilter("ignore")
        for (path, _), outcome in zip(items, pool.map(attempt, items), strict=True):
            if isinstance(outcome, DataError):
                is_kept.append(not skip_corrupt)  # else the error comes when the file is read
                if skip_corrupt:
                    notes[f"{getattr(outcome, 'kind', 'unreadable')}, skipped"] += 1
                    log.warning("skipped %s", outcome)
                continue
            own, how, counted = outcome
            if common is None:
                common, first = replace(own, one_range=one_range), path
            both = joined(common, own)
            if both is None:
                if not skip_corrupt:
                    raise DataError(misfit(first, common, path, own))
                notes[f"of another type ({own.bands} x {own.type}), skipped"] += 1
                log.warning("skipped %s", misfit(first, common, path, own))
            else:
                common = both
                grays += own.bands == 1
                narrow += own.type == "uint8"
                notes.update(how)
                gaps.add(*counted)
            is_kept.append(both is not None)
    if common is not None and common.bands == 3 and grays:
        notes["grayscale, repeated to RGB"] += grays
    if common is not None and common.type == "uint16" and narrow:
        notes[AS_16_BITS] += narrow
    if masked:
        notes.update(gaps.note)
    return Survey(is_kept, dict(notes), common or Format())


def _size(image: NDArray[Any]) -> str:
    return f"{image.shape[2]}x{image.shape[1]}"
