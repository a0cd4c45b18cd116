"""Statistics of a folder of images, in one pass over files of any number and size.

Of each image only a few integers are kept in memory, and a small copy of some images.
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

PART = 32  # files that a process reads before it reports


@dataclass(frozen=True)
class Inspection:
    """Statistics of the images.

    Attributes:
        sums: of each image; C is 1 if all are grayscale, else 3.
        histogram: of all pixels, int64 [C, 256].
        grayscale: number of images whose channels are equal.
        one_channel: number of these that are stored as one channel.
        converted: number of converted images, by the way of conversion.
        unreadable: for each file that cannot be read, the reason.
        sizes: width and height of the images, and how many there are of each.
        small: copies of some images, uint8 [M, C, S, S].
    """

    sums: ImageSums
    histogram: Tensor
    grayscale: int
    one_channel: int
    converted: dict[str, int]
    unreadable: tuple[str, ...]
    sizes: dict[tuple[int, int], int]
    small: Tensor

    def __len__(self) -> int:
        return len(self.sums)

    @property
    def channels(self) -> int:
        """1 if all images are grayscale, else 3."""
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
    paths: Sequence[Path],
    small: int = 2000,
    size: int = 32,
    seed: int = 0,
    image_size: int | None = None,
    progress: Callable[[int], object] = lambda done: None,
) -> Inspection:
    """Statistics of image files, reading each once, on all cores.

    Args:
        paths: of images.
        small: number of images, drawn at random, that are kept as small copies.
        size: side of these copies, in pixels.
        seed: of the draw.
        image_size: in pixels, to which the images are resized and cut first, as in a run; None: as they are stored.
        progress: called with the number of files that were done since its last call.

    Raises:
        DataError: if no file can be read, or a process that reads files is killed.
    """
    chosen = set(np.random.default_rng(seed).permutation(len(paths))[:small].tolist())
    parts = [range(start, min(start + PART, len(paths))) for start in range(0, len(paths), PART)]
    # Absolute paths, because joblib reuses processes, which may have been started in another folder.
    jobs = (
        delayed(tally_files)([(paths[place].absolute(), place in chosen) for place in part], size, image_size)
        for part in parts
    )
    # Processes, because under the interpreter's lock threads are no faster on small images.
    workers = Parallel(n_jobs=min(cpu_count(), len(parts)), return_as="generator")

    def tallies() -> Iterator[Tally]:
        for part, one in zip(parts, workers(jobs), strict=True):
            yield one
            progress(len(part))

    try:
        return combine(tallies())
    except BrokenProcessPool as error:
        raise DataError(f"a process that read the images ended early: {first_line(error)}") from None


def inspect_images(images: Tensor, small: int = 2000, size: int = 32, seed: int = 0) -> Inspection:
    """Statistics of images in memory, uint8 [N, C, H, W] with C of 1 or 3; see :func:`inspect_files`.

    Raises:
        DataError: for another number of channels, or no images.
    """
    if images.ndim != 4 or images.shape[1] not in (1, 3) or not len(images):
        raise DataError(f"expected images [N, 1 or 3, H, W], not {list(images.shape)}")
    chosen = set(np.random.default_rng(seed).permutation(len(images))[:small].tolist())

    def tallies() -> Iterator[Tally]:
        for start in range(0, len(images), PART):
            part = images[start : start + PART].permute(0, 2, 3, 1).numpy()
            arrays = (np.ascontiguousarray(image.squeeze(2) if image.shape[2] == 1 else image) for image in part)
            yield tally(((Image.fromarray(one), "", n in chosen) for n, one in enumerate(arrays, start)), size)

    return combine(tallies())


def combine(tallies: Iterable[Tally]) -> Inspection:
    """The statistics of the images of all parts.

    Raises:
        DataError: if no image could be read.
    """
    columns: dict[str, list[NDArray[Any]]] = {name: [] for name in ("pixels", "total", "squares", "small")}
    histogram, grayscale, one_channel = np.zeros((3, 256), dtype=np.int64), 0, 0
    converted: Counter[str] = Counter()
    sizes: Counter[tuple[int, int]] = Counter()
    unreadable: list[str] = []
    for one in tallies:
        for name, column in columns.items():
            column.append(getattr(one, name))
        histogram += one.histogram
        grayscale += one.grayscale
        one_channel += one.one_channel
        converted.update(one.converted)
        sizes.update(one.sizes)
        unreadable += one.unreadable
    pixels, total, squares, small = (torch.from_numpy(np.concatenate(column)) for column in columns.values())
    if not len(pixels):
        raise DataError(f"none of {len(unreadable):,} files could be read; the first: {unreadable[0]}")
    kept = slice(0, 1) if grayscale == len(pixels) else slice(None)
    return Inspection(
        ImageSums(pixels, total[:, kept], squares[:, kept]),
        torch.from_numpy(histogram)[kept],
        grayscale,
        one_channel,
        dict(converted),
        tuple(unreadable),
        dict(sizes),
        small[:, kept],
    )
