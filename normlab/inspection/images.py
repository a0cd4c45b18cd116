"""What a folder of images is like, in one pass over files of any number and size.

Nothing but a few integers is kept of an image, and a small copy of some.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from joblib import Parallel, cpu_count, delayed
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from normlab.errors import DataError, first_line
from normlab.inspection.tally import Tally, tally, tally_files
from normlab.statistics.channels import ESTIMATORS, Estimator, ImageSums, sample_for

PART = 32  # files that a process looks at before it reports


@dataclass(frozen=True)
class Inspection:
    """What was found.

    Attributes:
        sums: of each image; C is 1 if all are greyscale, else 3.
        histogram: of all pixels, int64 [C, 256].
        greyscale: images whose channels are equal.
        one_channel: those of them that are stored as one channel.
        converted: images that were converted, by how.
        unreadable: what was wrong with each file that could not be read.
        sizes: width and height of the images, and how many there are of each.
        small: copies of some images, uint8 [M, C, S, S].
    """

    sums: ImageSums
    histogram: Tensor
    greyscale: int
    one_channel: int
    converted: dict[str, int]
    unreadable: tuple[str, ...]
    sizes: dict[tuple[int, int], int]
    small: Tensor

    def __len__(self) -> int:
        return len(self.sums)

    @property
    def channels(self) -> int:
        """1 if all images are greyscale, else 3."""
        return self.histogram.shape[0]

    def range(self) -> tuple[Tensor, Tensor]:
        """Smallest and largest pixel of each channel, 0..255, int64 [C]."""
        seen = self.histogram > 0
        return seen.int().argmax(1), 255 - seen.flip(1).int().argmax(1)

    def clipped(self) -> tuple[Tensor, Tensor]:
        """Share of pixels at 0 and at 255, float64 [C]."""
        shares = self.histogram.double() / self.histogram.sum(1, keepdim=True)
        return shares[:, 0], shares[:, 255]

    def intervals(self, resamples: int, seed: int = 0) -> dict[Estimator, tuple[Tensor, Tensor]]:
        """For each estimator mean and std, float64 [3, C] each: the value, and its 95% bootstrap interval over images.

        Percentile intervals (Efron and Tibshirani 1993, section 13.3). One image has none: NaN.
        """
        found = {}
        for estimator in ESTIMATORS:
            drawn = self.sums.resampled(estimator, resamples, seed)
            columns = [
                torch.stack([value, *torch.from_numpy(np.quantile(draws, [0.025, 0.975], axis=0))])
                for value, draws in zip(self.sums.statistics(estimator), drawn, strict=True)
            ]
            if len(self) == 1:
                for column in columns:
                    column[1:] = math.nan
            found[estimator] = columns[0], columns[1]
        return found

    def enough(self, precision: float) -> float:
        """Images, drawn at random, whose channel means lie within ``precision`` of the whole's in 95% of draws.

        Of an unlimited population that these are a sample of (Cochran 1977, "Sampling Techniques", eq. 4.1). The mean
        of all pixels is a ratio, of sums to numbers of pixels: for images of different sizes its error is that of the
        ratio estimator (section 6.3). Infinite for black images, and for a single one, which shows no spread.
        """
        means, _ = self.sums.images
        mean, _ = self.sums.statistics("pooled")
        if len(means) < 2 or (mean == 0).any():
            return math.inf
        pixels = self.sums.pixels[:, None].double()
        residuals = pixels * (means - mean)
        return sample_for((residuals.std(0) / (pixels.mean() * mean)).max().item(), precision, 10**15)


def inspect_files(
    paths: Sequence[Path],
    small: int = 2000,
    size: int = 32,
    seed: int = 0,
    image_size: int | None = None,
    progress: Callable[[int], object] = lambda done: None,
) -> Inspection:
    """Look at every file once, on all cores.

    Args:
        paths: of images.
        small: how many of them, drawn at random, are kept as small copies.
        size: of these, in pixels.
        seed: of the draw.
        image_size: in pixels, to which the images are resized and cut first, as a run does; None: as they are stored.
        progress: is told how many more files are done.

    Raises:
        DataError: if none can be read, or a process that looks is killed.
    """
    chosen = set(np.random.default_rng(seed).permutation(len(paths))[:small].tolist())
    parts = [range(start, min(start + PART, len(paths))) for start in range(0, len(paths), PART)]
    # Absolute, as a process may have been started elsewhere: joblib keeps them for a while.
    jobs = (
        delayed(tally_files)([(paths[place].absolute(), place in chosen) for place in part], size, image_size)
        for part in parts
    )
    # Processes, as the interpreter's lock lets threads gain nothing on small images.
    workers = Parallel(n_jobs=min(cpu_count(), len(parts)), return_as="generator")

    def tallies() -> Iterator[Tally]:
        for part, one in zip(parts, workers(jobs), strict=True):
            yield one
            progress(len(part))

    try:
        return together(tallies())
    except BrokenProcessPool as error:
        raise DataError(f"a process that looked at the images ended early: {first_line(error)}") from None


def inspect_images(images: Tensor, small: int = 2000, size: int = 32, seed: int = 0) -> Inspection:
    """The same for images in memory, uint8 [N, C, H, W] with C of 1 or 3.

    Raises:
        DataError: for another number of channels, or no images.
    """
    if images.ndim != 4 or images.shape[1] not in (1, 3) or not len(images):
        raise DataError(f"images [N, 1 or 3, H, W] are wanted, not {list(images.shape)}")
    chosen = set(np.random.default_rng(seed).permutation(len(images))[:small].tolist())

    def tallies() -> Iterator[Tally]:
        for start in range(0, len(images), PART):
            part = images[start : start + PART].permute(0, 2, 3, 1).numpy()
            arrays = (np.ascontiguousarray(image.squeeze(2) if image.shape[2] == 1 else image) for image in part)
            yield tally(((Image.fromarray(one), "", n in chosen) for n, one in enumerate(arrays, start)), size)

    return together(tallies())


def together(tallies: Iterable[Tally]) -> Inspection:
    """Everything about the images of all parts.

    Raises:
        DataError: if no image could be read.
    """
    columns: dict[str, list[NDArray[Any]]] = {name: [] for name in ("pixels", "total", "squares", "small")}
    histogram, greyscale, one_channel = np.zeros((3, 256), dtype=np.int64), 0, 0
    converted: Counter[str] = Counter()
    sizes: Counter[tuple[int, int]] = Counter()
    unreadable: list[str] = []
    for one in tallies:
        for name, column in columns.items():
            column.append(getattr(one, name))
        histogram += one.histogram
        greyscale += one.greyscale
        one_channel += one.one_channel
        converted.update(one.converted)
        sizes.update(one.sizes)
        unreadable += one.unreadable
    pixels, total, squares, small = (torch.from_numpy(np.concatenate(column)) for column in columns.values())
    if not len(pixels):
        raise DataError(f"none of {len(unreadable):,} files could be read; the first: {unreadable[0]}")
    kept = slice(0, 1) if greyscale == len(pixels) else slice(None)
    return Inspection(
        ImageSums(pixels, total[:, kept], squares[:, kept]),
        torch.from_numpy(histogram)[kept],
        greyscale,
        one_channel,
        dict(converted),
        tuple(unreadable),
        dict(sizes),
        small[:, kept],
    )
