"""Statistics of a folder of images, in one pass over files of any number, size, depth and number of bands.

Of each image only a few numbers are kept in memory, and a small copy of some images.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from joblib import Parallel, cpu_count, delayed
from numpy.typing import NDArray
from torch import Tensor

from normlab.data.datasets import hardly_used_of
from normlab.data.images import AS_16_BITS
from normlab.errors import DataError, first_line
from normlab.inputs import check_range, range_of_type
from normlab.inspection.tally import PartTally, Tally, merged, of_one_range, tally, tally_files, unified
from normlab.pictures import Picture, Reading
from normlab.statistics.channels import ESTIMATORS, Estimator, ImageSums, sample_for

PART = 32  # files that a process reads before it reports

End = float | Literal["observed"] | None  # black or white: a number, the smallest or largest value, or as declared


@dataclass(frozen=True)
class Inspection:
    """Statistics of the images.

    Attributes:
        sums: of each image; C is 1 if all are grayscale.
        type: of the pixels, by its name in numpy.
        black, white: the values that stand for u = 0 and u = 1.
        smallest, largest: value of each band, [C].
        lowest: the value of the first column of the histogram.
        histogram: of all pixels, int64 [C, 256] of 8 bits, from the smallest to the largest value of 16 bits; None for
            int32 and float32.
        grayscale: number of images whose channels are equal.
        one_channel: number of these that are stored as one channel.
        converted: number of images that were changed, by the way in which.
        unreadable: for each file that cannot be read, the reason.
        sizes: width and height of the images, and how many there are of each.
        small: copies of some images, [M, C, S, S].
        names: of the files, in the order of ``sums``.
        left_out: number of pixels that a mask leaves out.
        used: the largest value that tells how much of the range is used: without outliers, and of images of 8 and 16
            bits without the former.
        is_declared: whether the files or the user say what white is.
    """

    sums: ImageSums
    type: str
    black: float
    white: float
    smallest: Tensor
    largest: Tensor
    lowest: int
    histogram: Tensor | None
    grayscale: int
    one_channel: int
    converted: dict[str, int]
    unreadable: tuple[str, ...]
    sizes: dict[tuple[int, int], int]
    small: Tensor
    names: tuple[str, ...] = ()
    left_out: int = 0
    used: float = math.nan
    is_declared: bool = field(default=False)

    def __len__(self) -> int:
        return len(self.sums)

    @property
    def channels(self) -> int:
        """Number of bands; 1 if all images are grayscale."""
        return self.sums.total.shape[1]

    def hardly_used(self) -> str | None:
        """The warning about a range that is hardly used, with what it does not take into account; else None."""
        warning, largest = hardly_used_of(self.type, int(self.used), self.white), int(self.largest.max())
        if warning is None or largest == self.used:
            return warning
        if AS_16_BITS in self.converted:
            return f"{warning}; this is without the images of 8 bits, which become x * 257 beside those"
        return f"{warning}; this is without a few values far above it, up to {largest:,}"

    @property
    def is_8_bit(self) -> bool:
        """Whether these are ordinary images: 8 bits of 0..255, gray or RGB."""
        return self.type == "uint8" and (self.black, self.white) == (0, 255) and self.channels in (1, 3)

    @property
    def is_bounded(self) -> bool:
        """Whether u lies in 0..1 by the type or by what is declared."""
        return self.type in ("uint8", "uint16") or self.is_declared

    def range(self) -> tuple[Tensor, Tensor]:
        """Smallest and largest value of each band, [C]."""
        return self.smallest, self.largest

    def levels(self) -> list[int] | None:
        """Number of different values of each band; None for int32 and float32."""
        return None if self.histogram is None else (self.histogram > 0).sum(1).tolist()

    def clipped(self) -> tuple[Tensor, Tensor]:
        """Share of pixels at black and at white, float64 [C]; NaN where u is not bounded."""
        if self.histogram is None or not self.is_bounded:
            return (torch.full((self.channels,), math.nan, dtype=torch.float64),) * 2
        shares = self.histogram.double() / self.histogram.sum(1, keepdim=True)
        ends = []
        for end in (self.black, self.white):
            place = int(end) - self.lowest
            is_there = 0 <= place < shares.shape[1] and float(end).is_integer()
            ends.append(shares[:, place] if is_there else torch.zeros(self.channels, dtype=torch.float64))
        return ends[0], ends[1]

    def intervals(self, resamples: int, seed: int = 0) -> dict[Estimator, tuple[Tensor, Tensor]]:
        """For each estimator mean and std, float64 [3, C] each: the value, and its 95% bootstrap interval over images.

        Percentile intervals (Efron and Tibshirani 1993, section 13.3). The ends are NaN for one image.
        """
        by_estimator = {}
        for estimator in ESTIMATORS:
            drawn = self.sums.resampled(estimator, resamples, seed)
            columns = [
                torch.stack([value, *torch.from_numpy(np.quantile(draws, [0.025, 0.975], axis=0))])
                for value, draws in zip(self.sums.statistics(estimator), drawn, strict=True)
            ]
            if len(self) == 1:
                for column in columns:
                    column[1:] = math.nan
            by_estimator[estimator] = columns[0], columns[1]
        return by_estimator

    def enough(self, precision: float) -> float:
        """Sample size whose channel means lie within ``precision`` of the population's in 95% of draws, relative.

        The population is unlimited, and these images are a sample of it (Cochran 1977, "Sampling Techniques", eq. 4.1).
        The mean of all pixels is a ratio of sums to numbers of pixels: for images of different sizes its error is that
        of the ratio estimator (section 6.3). Infinite for black images, and for a single image, which shows no spread.
        """
        means, _ = self.sums.images
        mean, _ = self.sums.statistics("pooled")
        if len(means) < 2 or (mean == 0).any():
            return math.inf
        pixels = self.sums.pixels[:, None].double()
        residuals = pixels * (means - mean)
        return sample_for((residuals.std(0) / (pixels.mean() * mean)).max().item(), precision, 10**15)


def inspect_files(
    files: Sequence[Path | tuple[Path, int]],
    small: int = 2000,
    size: int = 32,
    seed: int = 0,
    image_size: int | None = None,
    progress: Callable[[int], object] = lambda done: None,
    reading: Reading | None = None,
    black: End = None,
    white: End = None,
) -> Inspection:
    """Statistics of image files, reading each once, on all cores.

    Args:
        files: paths of images, or paths with the number of a page.
        small: number of images, drawn at random, that are kept as small copies.
        size: side of these copies, in pixels.
        seed: of the draw.
        image_size: in pixels, to which the images are resized and cut first, as in a run; None: as they are stored.
        progress: called with the number of files that were done since its last call.
        reading: how files become images.
        black: the value of u = 0; None: as the files declare, else by their type.
        white: the value of u = 1; None: likewise.

    Raises:
        DataError: if no file can be read, or a process that reads files is killed.
    """
    items = [item if isinstance(item, tuple) else (item, 0) for item in files]
    chosen = set(np.random.default_rng(seed).permutation(len(items))[:small].tolist())
    parts = [range(start, min(start + PART, len(items))) for start in range(0, len(items), PART)]
    # Absolute paths, because joblib reuses processes, which may have been started in another folder.
    jobs = (
        delayed(tally_files)(
            [(items[place][0].absolute(), items[place][1], place in chosen) for place in part],
            size,
            image_size,
            reading,
        )
        for part in parts
    )
    # Processes, because under the interpreter's lock threads are no faster on small images.
    workers = Parallel(n_jobs=min(cpu_count(), len(parts)), return_as="generator")

    def tallies() -> Iterator[PartTally]:
        for part, one in zip(parts, workers(jobs), strict=True):
            yield one
            progress(len(part))

    try:
        return combine(tallies(), black, white)
    except BrokenProcessPool as error:
        raise DataError(f"a process that read the images ended early: {first_line(error)}") from None


def inspect_images(
    images: Tensor, small: int = 2000, size: int = 32, seed: int = 0, black: End = None, white: End = None
) -> Inspection:
    """Statistics of images in memory, [N, C, H, W]; see :func:`inspect_files`.

    Raises:
        DataError: for another number of dimensions or another type, or no images.
    """
    if images.ndim != 4 or not len(images):
        raise DataError(f"expected images [N, C, H, W], not {list(images.shape)}")
    range_of_type(images.dtype)
    chosen = set(np.random.default_rng(seed).permutation(len(images))[:small].tolist())

    def tallies() -> Iterator[PartTally]:
        for start in range(0, len(images), PART):
            part = images[start : start + PART].numpy()
            yield tally(((Picture(one), n in chosen, f"image {n}") for n, one in enumerate(part, start)), size)

    return combine(tallies(), black, white)


def combine(tallies: Iterable[PartTally], black: End = None, white: End = None) -> Inspection:
    """The statistics of the images of all parts.

    Raises:
        DataError: if no image could be read, or black is not below white.
    """
    all_tallies: list[Tally] = []
    converted: Counter[str] = Counter()
    unreadable: list[str] = []
    left_out = 0
    for part in tallies:
        all_tallies += part.tallies
        converted.update(part.notes)
        unreadable += part.unreadable
        left_out += part.left_out
    if not all_tallies:
        raise DataError(f"none of {len(unreadable):,} files could be read; the first: {unreadable[0]}")
    joined = unified(all_tallies if white is None else of_one_range(all_tallies))
    chosen = joined.tallies
    if joined.widened:
        converted[AS_16_BITS] += joined.widened
    kind, _, declared_black, declared_white, _ = chosen[0].key
    unreadable += [_other_type(one, chosen[0]) for one in joined.others]
    grayscale = sum(one.grayscale for one in chosen)
    images = sum(len(one.pixels) for one in chosen)
    kept = slice(0, 1) if grayscale == images else slice(None)
    pixels, total, squares, small = (
        torch.from_numpy(np.concatenate([getattr(one, name) for one in chosen]))
        for name in ("pixels", "total", "squares", "small")
    )
    smallest = np.min([one.smallest for one in chosen], axis=0)[kept]
    largest = np.max([one.largest for one in chosen], axis=0)[kept]
    low, high = range_of_type(getattr(torch, kind))
    ends = {
        "black": _end(black, declared_black, low, smallest.min()),
        "white": _end(white, declared_white, high, largest.max()),
    }
    check_range(ends["black"], ends["white"])
    lowest, histogram = _histogram([one.counts for one in chosen], kind, kept)
    sizes: Counter[tuple[int, int]] = Counter()
    for one in chosen:
        sizes.update(one.sizes)
    return Inspection(
        ImageSums(pixels, total[:, kept], squares[:, kept], ends["black"], ends["white"] - ends["black"]),
        kind,
        **ends,
        smallest=_tensor(smallest),
        largest=_tensor(largest),
        lowest=lowest,
        histogram=histogram,
        grayscale=grayscale,
        one_channel=sum(one.one_channel for one in chosen),
        converted=dict(converted),
        unreadable=tuple(unreadable),
        sizes=dict(sizes),
        small=small[:, kept],
        names=tuple(name for one in chosen for name in one.names),
        left_out=left_out,
        used=joined.used,
        is_declared=white is not None or declared_white is not None,
    )


def _end(given: End, declared: float | None, by_type: float, observed: Any) -> float:
    if given == "observed":
        return float(observed)
    chosen = declared if given is None else given
    return by_type if chosen is None else float(chosen)


def _tensor(values: NDArray[Any]) -> Tensor:
    return torch.from_numpy(values.astype(np.int64 if values.dtype.kind in "iu" else np.float64))


def _histogram(counts: list[Any], kind: str, kept: slice) -> tuple[int, Tensor | None]:
    if counts[0] is None:
        return 0, None
    whole = counts[0]
    for more in counts[1:]:
        whole = [merged(a, b) for a, b in zip(whole, more, strict=True)]
    whole = whole[kept]
    if kind == "uint8":
        whole = [merged(band, (0, np.zeros(256, dtype=np.int64))) for band in whole]
    start = min(first for first, _ in whole)
    end = max(first + len(values) for first, values in whole)
    frame = (start, np.zeros(end - start, dtype=np.int64))
    return start, torch.from_numpy(np.stack([merged(band, frame)[1] for band in whole]))


def _other_type(one: Tally, usual: Tally) -> str:
    def text(tally: Tally) -> str:
        kind, bands, _, white, _ = tally.key
        return f"{bands} band{'s' * (bands != 1)} of {kind}" + (f", white {white:g}" if white is not None else "")

    more = f" (and {len(one.pixels) - 1:,} more)" if len(one.pixels) > 1 else ""
    return f"{one.names[0]}{more}: {text(one)}, while most files have {text(usual)}; left out"
