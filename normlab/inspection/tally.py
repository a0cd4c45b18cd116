"""Statistics of a few image files, for a process that reads one part of many files.

Sums of integers of up to 16 bits are exact; of 32-bit integers and floats, means and centered sums of squares are kept
in float64. PyTorch is not imported here: importing it would take each process longer than reading thousands of files.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from normlab.errors import DataError
from normlab.pictures import CorruptImageError, Picture, Reading, read_picture, resize_and_crop, resized
from normlab.pictures.picture import resize_bands

POWERS = np.stack([np.arange(256), np.arange(256) ** 2], axis=1)  # of a pixel, to sum over its histogram
AT_ONCE = 1 << 15  # pixels of a band that are summed and counted at once, so that copies of them fit into the cache
FEW = 1000  # one in so many values may lie far above the others, without being what the range is judged by
WAITING = 1 << 19  # pixels of a band that wait to be counted together, so that its counts stay in the cache meanwhile

Key = tuple[str, int, float | None, float | None, float | None]  # type, bands, black, white, a white that is left open


@dataclass
class Tally:
    """Sums and counts of N images of one type, number of bands C and declared range.

    Images of 8 bits with one or three bands count together, with C of 3: a grayscale image as three equal channels.

    Attributes:
        key: type, bands, the declared black and white, and the white that is left open, see :class:`Picture`.
        pixels: of each image, those that count, int64 [N].
        total, squares: sums of x and of x^2 over them, int64 [N, C]; of int32 and float32, float64: mean of x, and sum
            of (x - mean)^2.
        starts, counts: the smallest value of each band, and how often it and each greater integer occurs; None for
            int32 and float32.
        smallest, largest: value of each band, [C].
        grayscale: number of images whose channels are equal.
        one_channel: number of these that are stored as one channel.
        sizes: width and height of the images, and how many there are of each.
        small: small copies of chosen images, [M, C, S, S].
        names: of the files, one for each image.
    """

    key: Key
    pixels: NDArray[np.int64]
    total: NDArray[Any]
    squares: NDArray[Any]
    counts: list[tuple[int, NDArray[np.int64]]] | None
    smallest: NDArray[Any]
    largest: NDArray[Any]
    grayscale: int
    one_channel: int
    sizes: Counter[tuple[int, int]]
    small: NDArray[Any]
    names: list[str]


@dataclass
class PartTally:
    """The tallies of one part of the files, by their key.

    Attributes:
        tallies: one for each type, number of bands and range.
        notes: number of images by the way in which they were changed.
        unreadable: for each file that cannot be read, the reason.
        left_out: number of pixels that a mask leaves out.
    """

    tallies: list[Tally]
    notes: Counter[str] = field(default_factory=Counter)
    unreadable: tuple[str, ...] = ()
    left_out: int = 0


@dataclass
class _Images:
    """What is gathered of the images of one key."""

    histograms: list[Any] = field(default_factory=list)  # of Pillow images
    pixels: list[int] = field(default_factory=list)
    total: list[Any] = field(default_factory=list)
    squares: list[Any] = field(default_factory=list)
    counts: NDArray[np.int64] | None = None  # [C, values of the type], from the smallest
    lowest: int = 0
    smallest: Any = None  # of int32 and float32
    largest: Any = None
    grayscale: int = 0
    one_channel: int = 0
    sizes: list[tuple[int, int]] = field(default_factory=list)
    small: list[NDArray[Any]] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    waiting: list[NDArray[Any]] = field(default_factory=list)  # [C, pixels] each, not counted yet
    waiting_pixels: int = 0  # of each band
    # Copies of the pixels at hand, in memory that is used again: new memory costs more than the arithmetic.
    floats: NDArray[np.float64] = field(default_factory=lambda: np.empty(AT_ONCE))
    places: NDArray[np.intp] = field(default_factory=lambda: np.empty(AT_ONCE, dtype=np.intp))

    def sums(self, band: NDArray[Any]) -> tuple[int, int]:
        """Sum of x and of x^2, exact: a square is at most 2^32, a sum of 2^15 of them an integer below 2^53."""
        total = squares = 0
        for start in range(0, len(band), AT_ONCE):
            part = band[start : start + AT_ONCE]
            floats = self.floats[: len(part)]
            floats[:] = part
            total += int(floats.sum())
            squares += int(floats @ floats)
        return total, squares

    def count(self) -> None:
        """Count how often each value occurs among the waiting pixels.

        In place, which is faster than numpy.bincount, because that makes an array of all values for each call.
        """
        if self.counts is None:
            return
        for c, row in enumerate(self.counts):
            for bands in self.waiting:
                for start in range(0, bands.shape[1], AT_ONCE):
                    part = bands[c, start : start + AT_ONCE]
                    places = self.places[: len(part)]
                    places[:] = part
                    if self.lowest:
                        places -= self.lowest
                    np.add.at(row, places, 1)
        self.waiting, self.waiting_pixels = [], 0


def tally_files(
    files: Sequence[tuple[Path, int, bool]], size: int, image_size: int | None, reading: Reading | None = None
) -> PartTally:
    """The tally of image files, each decoded once.

    Args:
        files: paths, each with the number of a page and whether to keep a small copy of the image.
        size: of the copies, in pixels.
        image_size: in pixels, to which the images are resized and cut first, as in a run; None: as they are stored.
        reading: how files become images.
    """
    unreadable: list[str] = []

    def pictures() -> Iterator[tuple[Picture, bool, str]]:
        for path, page, kept in files:
            try:
                picture = read_picture(path, reading, page)
            except CorruptImageError as error:
                unreadable.append(str(error))
                continue
            yield (picture if image_size is None else resized(picture, image_size)), kept, str(path)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PIL warns of odd metadata
        return tally(pictures(), size, unreadable)


def tally(pictures: Iterable[tuple[Picture, bool, str]], size: int, unreadable: list[str] | None = None) -> PartTally:
    """The tally of decoded pictures.

    Args:
        pictures: each with whether to keep a small copy, and the name of its file.
        size: of the copies, in pixels.
        unreadable: reasons for files that cannot be read; taken after the last picture.
    """
    unreadable = [] if unreadable is None else unreadable
    gathered: dict[Key, _Images] = {}
    notes: Counter[str] = Counter()
    left_out = 0
    for picture, kept, name in pictures:
        notes.update(picture.notes)
        pixels = picture.pixels
        if picture.mask is not None:
            left_out += int((~picture.mask).sum())
            if picture.is_empty:
                unreadable.append(f"{name}: its mask leaves out every pixel")
                continue
        if (
            isinstance(pixels, np.ndarray)
            and pixels.dtype == np.uint8
            and len(pixels) in (1, 3)
            and picture.white is None
        ):
            pixels = Image.fromarray(
                np.ascontiguousarray(pixels.transpose(1, 2, 0)).squeeze(-1)
                if len(pixels) == 1
                else np.ascontiguousarray(pixels.transpose(1, 2, 0))
            )
        if isinstance(pixels, Image.Image):
            one = gathered.setdefault(("uint8", 3, None, None, None), _Images())
            _add_8_bits(one, pixels, picture.mask)
        else:
            key = (pixels.dtype.name, len(pixels), picture.black, picture.white, picture.open_white)
            one = gathered.setdefault(key, _Images())
            _add(one, pixels, picture.mask)
        one.sizes.append(picture.size)
        one.names.append(name)
        if kept:
            one.small.append(_small(pixels, size))
    tallies = [_whole(key, one, size) for key, one in gathered.items()]
    return PartTally(tallies, notes, tuple(unreadable), left_out)


def _add_8_bits(one: _Images, picture: Image.Image, mask: NDArray[np.bool_] | None) -> None:
    histogram = picture.histogram(None if mask is None else Image.fromarray(mask.astype(np.uint8) * np.uint8(255)))
    if len(histogram) == 256:
        one.one_channel += 1
        one.grayscale += 1
        histogram *= 3
    # Channels with different histograms differ: compare pixels only if the histograms are equal.
    elif histogram[:256] == histogram[256:512] == histogram[512:]:
        red, green, blue = (channel.tobytes() for channel in picture.split())
        one.grayscale += red == green == blue
    one.histograms.append(histogram)
    one.pixels.append(sum(histogram[:256]) if mask is not None else picture.size[0] * picture.size[1])


def _add(one: _Images, array: NDArray[Any], mask: NDArray[np.bool_] | None) -> None:
    bands = array.reshape(len(array), -1) if mask is None else array[:, mask]
    one.one_channel += len(array) == 1
    one.grayscale += len(array) == 1
    one.pixels.append(bands.shape[1])
    if array.dtype.itemsize > 2:
        low, high = bands.min(1), bands.max(1)
        one.smallest = low if one.smallest is None else np.minimum(one.smallest, low)
        one.largest = high if one.largest is None else np.maximum(one.largest, high)
        wide = bands.astype(np.float64)
        means = wide.mean(1)
        wide -= means[:, None]
        correction = wide.mean(1)  # of the rounding of the first mean
        one.total.append(means + correction)
        one.squares.append(np.maximum((wide * wide).sum(1) - bands.shape[1] * correction**2, 0) * (low != high))
        return
    if one.counts is None:
        one.lowest = int(np.iinfo(array.dtype).min)
        one.counts = np.zeros((len(bands), 1 << (8 * array.dtype.itemsize)), dtype=np.int64)
    sums = np.array([one.sums(band) for band in bands])
    one.total.append(sums[:, 0])
    one.squares.append(sums[:, 1])
    one.waiting.append(bands)
    one.waiting_pixels += bands.shape[1]
    if one.waiting_pixels >= WAITING:
        one.count()


def _trimmed(counts: NDArray[np.int64], lowest: int) -> tuple[int, NDArray[np.int64]]:
    """The counts from the first value that occurs to the last."""
    seen = np.flatnonzero(counts)
    return lowest + int(seen[0]), counts[seen[0] : seen[-1] + 1]


def merged(one: tuple[int, NDArray[np.int64]], other: tuple[int, NDArray[np.int64]]) -> tuple[int, NDArray[np.int64]]:
    """The counts of both: the first value, and how often it and each greater integer occurs."""
    start = min(one[0], other[0])
    end = max(one[0] + len(one[1]), other[0] + len(other[1]))
    counts = np.zeros(end - start, dtype=np.int64)
    for first, values in (one, other):
        counts[first - start : first - start + len(values)] += values
    return start, counts


def _small(pixels: Image.Image | NDArray[Any], size: int) -> NDArray[Any]:
    if not isinstance(pixels, Image.Image):
        return resize_bands(pixels, size)
    copy = np.asarray(resize_and_crop(pixels, size))
    return np.broadcast_to(copy, (3, size, size)) if copy.ndim == 2 else copy.transpose(2, 0, 1)


def _whole(key: Key, one: _Images, size: int) -> Tally:
    kind, bands = np.dtype(key[0]), key[1]
    small = np.stack(one.small) if one.small else np.empty((0, bands, size, size), dtype=kind)
    pixels = np.array(one.pixels, dtype=np.int64)
    if one.histograms:
        histograms = np.array(one.histograms, dtype=np.int64).reshape(-1, 3, 256)
        sums = histograms @ POWERS
        counts = histograms.sum(0)
        seen = counts > 0
        return Tally(
            key,
            pixels,
            sums[..., 0],
            sums[..., 1],
            [(0, band) for band in counts],
            seen.argmax(1),
            255 - seen[:, ::-1].argmax(1),
            one.grayscale,
            one.one_channel,
            Counter(one.sizes),
            small,
            one.names,
        )
    one.count()
    counts = None if one.counts is None else [_trimmed(row, one.lowest) for row in one.counts]
    return Tally(
        key,
        pixels,
        np.stack(one.total),
        np.stack(one.squares),
        counts,
        one.smallest if counts is None else np.array([start for start, _ in counts]),
        one.largest if counts is None else np.array([start + len(row) - 1 for start, row in counts]),
        one.grayscale,
        one.one_channel,
        Counter(one.sizes),
        small,
        one.names,
    )


def as_16_bits(tally: Tally) -> Tally:
    """An 8-bit tally as one of 16 bits: x * 257, so that u is the same."""
    if tally.key[0] != "uint8":
        return tally
    assert tally.counts is not None
    counts = []
    for start, values in tally.counts:
        spread = np.zeros(257 * (len(values) - 1) + 1, dtype=np.int64)
        spread[::257] = values
        counts.append((257 * start, spread))
    tally.key = ("uint16", *tally.key[1:])
    tally.total, tally.squares, tally.counts = tally.total * 257, tally.squares * 257**2, counts
    tally.smallest, tally.largest = tally.smallest * 257, tally.largest * 257
    tally.small = tally.small.astype(np.uint16) * np.uint16(257)
    return tally


def in_three_bands(tally: Tally) -> Tally:
    """A tally of one band as one of three equal bands."""
    if tally.key[1] != 1:
        return tally
    tally.key = (tally.key[0], 3, *tally.key[2:])
    for name in ("total", "squares"):
        setattr(tally, name, np.repeat(getattr(tally, name), 3, axis=1))
    tally.counts = None if tally.counts is None else tally.counts * 3
    tally.smallest, tally.largest = np.repeat(tally.smallest, 3), np.repeat(tally.largest, 3)
    tally.small = np.repeat(tally.small, 3, axis=1)
    return tally


def of_one_range(tallies: Sequence[Tally]) -> Sequence[Tally]:
    """The tallies as if all of a type declared the same range, because the user gives one for all of them."""
    largest: dict[str, float] = {}
    for one in tallies:
        if (white := one.key[3]) is not None:
            largest[one.key[0]] = max(white, largest.get(one.key[0], white))
    for one in tallies:
        one.key = (*one.key[:3], largest.get(one.key[0]), None)
    return tallies


def _decide_open(tallies: Sequence[Tally]) -> None:
    """Give the white that files leave open to those beside which other files declare it, and no white to the others."""
    declared = {(one.key[0], one.key[3]) for one in tallies}
    for one in tallies:
        kind, bands, black, white, left_open = one.key
        if left_open is not None:
            one.key = (kind, bands, black, left_open if (kind, left_open) in declared else white, None)


@dataclass
class Unified:
    """The tallies that count together, in one type and number of bands.

    Attributes:
        tallies: those of the most frequent key, with all that could be joined to them without a loss.
        others: those of another type.
        widened: number of images of 8 bits that became 16 beside others, by x * 257.
        used: the largest value without outliers of the images that were not widened, see :func:`without_outliers`.
    """

    tallies: list[Tally]
    others: list[Tally]
    widened: int
    used: float


def unified(tallies: Sequence[Tally]) -> Unified:
    """The tallies that count together: gray images beside color, and 8 bits beside 16.

    Raises:
        DataError: if there are none.
    """
    if not tallies:
        raise DataError("no images")
    _decide_open(tallies)
    images: Counter[Key] = Counter()
    for one in tallies:
        images[one.key] += len(one.pixels)
    most = images.most_common(1)[0][0]

    def fits(key: Key) -> bool:
        types = {key[0], most[0]}
        same_type = len(types) == 1 or (types == {"uint8", "uint16"} and key[3] is None)
        return key[2:] == most[2:] and same_type and (key[1] == most[1] or {key[1], most[1]} == {1, 3})

    chosen = [one for one in tallies if fits(one.key)]
    others = [one for one in tallies if not fits(one.key)]
    widened = 0
    deepest = chosen
    if len({one.key[0] for one in chosen}) > 1:
        deepest = [one for one in chosen if one.key[0] == "uint16"]
        widened = sum(len(one.pixels) for one in chosen if one.key[0] != "uint16")
    used = without_outliers(deepest)  # before the largest of 8 bits becomes the largest of 16
    if widened:
        chosen = [as_16_bits(one) for one in chosen]
    if len({one.key[1] for one in chosen}) > 1:
        chosen = [in_three_bands(one) for one in chosen]
    return Unified(chosen, others, widened, used)


def without_outliers(tallies: Sequence[Tally]) -> float:
    """The largest value; of 16 bits, without values that are few and far above all others, such as those of hot pixels.

    Few is one in ``FEW`` values or less, far is more than twice the largest of the others.
    """
    largest = float(max(one.largest.max() for one in tallies))
    if tallies[0].key[0] != "uint16":
        return largest
    start, counts = reduce(merged, [band for one in tallies for band in one.counts or ()])
    seen = np.flatnonzero(counts)
    values, above = start + seen, counts.sum() - counts[seen].cumsum()
    is_last = (above[:-1] * FEW <= counts.sum()) & (values[1:] > 2 * values[:-1])
    return float(values[is_last.argmax()]) if is_last.any() else largest
