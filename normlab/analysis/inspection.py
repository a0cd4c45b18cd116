"""What a folder of images is like, in one pass over files of any number and size.

Every statistic follows from the histogram of each image and channel, which is exact; nothing but a few integers is
kept of an image, and a small copy of some.
"""

from __future__ import annotations

import math
import os
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from normlab.analysis.image_statistics import ESTIMATORS, Estimator, ImageSums, sample_for
from normlab.data.images import CorruptImageError, picture_of, resize_and_crop
from normlab.errors import DataError

LEVELS = np.arange(256)
CHUNK = 4096  # files that wait for a worker at once


@dataclass(frozen=True)
class Found:
    """One image: its histogram [3, 256], whether it has one channel or equal ones, its size, a small copy, and more."""

    histogram: NDArray[np.int64]
    one_channel: bool
    greyscale: bool
    converted: str
    size: tuple[int, int]
    small: Tensor | None


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
    progress: Callable[[Iterable[Path]], Iterable[Path]] = lambda paths: paths,
) -> Inspection:
    """Look at every file once, on all cores.

    Args:
        paths: of images.
        small: how many of them, drawn at random, are kept as small copies.
        size: of these, in pixels.
        seed: of the draw.
        image_size: in pixels, to which the images are resized and cut first, as a run does; None: as they are stored.
        progress: wraps the files as they are done.

    Raises:
        DataError: if none can be read.
    """
    chosen = set(np.random.default_rng(seed).permutation(len(paths))[:small].tolist())
    unreadable: list[str] = []

    def attempt(place: int) -> Found | CorruptImageError:
        try:
            picture, converted = picture_of(paths[place])
            if image_size is not None:
                picture = resize_and_crop(picture, image_size)
            return found_in(picture, converted, size if place in chosen else None)
        except CorruptImageError as error:
            return error

    def outcomes() -> Iterator[Found]:
        with warnings.catch_warnings(), ThreadPoolExecutor(os.cpu_count()) as pool:
            warnings.simplefilter("ignore")  # PIL warns of odd metadata
            done = (
                outcome
                for start in range(0, len(paths), CHUNK)
                for outcome in pool.map(attempt, range(start, min(start + CHUNK, len(paths))))
            )
            for _, outcome in zip(progress(paths), done, strict=True):
                if isinstance(outcome, CorruptImageError):
                    unreadable.append(str(outcome))
                else:
                    yield outcome

    found = gathered(outcomes(), unreadable)
    if found is None:
        raise DataError(f"none of {len(paths):,} files could be read; the first: {unreadable[0]}")
    return found


def inspect_images(images: Tensor, small: int = 2000, size: int = 32, seed: int = 0) -> Inspection:
    """The same for images in memory, uint8 [N, C, H, W] with C of 1 or 3.

    Raises:
        DataError: for another number of channels, or no images.
    """
    if images.ndim != 4 or images.shape[1] not in (1, 3) or not len(images):
        raise DataError(f"images [N, 1 or 3, H, W] are wanted, not {list(images.shape)}")
    chosen = set(np.random.default_rng(seed).permutation(len(images))[:small].tolist())
    pictures = (Image.fromarray(np.ascontiguousarray(i[0] if len(i) == 1 else i.permute(1, 2, 0))) for i in images)
    found = gathered((found_in(one, "", size if n in chosen else None) for n, one in enumerate(pictures)), [])
    assert found is not None
    return found


def found_in(picture: Image.Image, converted: str, size: int | None) -> Found:
    """What there is to know of one picture, greyscale or RGB; ``size`` of its small copy, None for none."""
    histogram = np.array(picture.histogram(), dtype=np.int64).reshape(-1, 256)
    one_channel = len(histogram) == 1
    greyscale = one_channel
    if not greyscale and (histogram == histogram[0]).all():  # else the channels cannot be equal
        red, green, blue = picture.split()
        greyscale = red.tobytes() == green.tobytes() == blue.tobytes()
    small = None
    if size is not None:
        pixels = torch.from_numpy(np.array(resize_and_crop(picture, size)))
        small = pixels.expand(3, size, size) if pixels.ndim == 2 else pixels.permute(2, 0, 1)
    return Found(histogram.repeat(3 // len(histogram), 0), one_channel, greyscale, converted, picture.size, small)


def gathered(images: Iterable[Found], unreadable: list[str]) -> Inspection | None:
    """Everything about many images, None of none; what is wrong with others is read after the last of them."""
    pixels, totals, squares, small = [], [], [], []
    histogram, greyscale, one_channel = np.zeros((3, 256), dtype=np.int64), 0, 0
    converted: Counter[str] = Counter()
    sizes: Counter[tuple[int, int]] = Counter()
    for image in images:
        pixels.append(math.prod(image.size))
        totals.append(image.histogram @ LEVELS)
        squares.append(image.histogram @ LEVELS**2)
        histogram += image.histogram
        greyscale += image.greyscale
        one_channel += image.one_channel
        sizes[image.size] += 1
        if image.converted:
            converted[image.converted] += 1
        if image.small is not None:
            small.append(image.small)
    if not pixels:
        return None
    kept = slice(0, 1) if greyscale == len(pixels) else slice(None)
    columns = [torch.from_numpy(np.stack(column))[:, kept] for column in (totals, squares)]
    copies = torch.stack(small)[:, kept] if small else torch.empty(0, 3, 0, 0, dtype=torch.uint8)[:, kept]
    return Inspection(
        ImageSums(torch.tensor(pixels), *columns),
        torch.from_numpy(histogram)[kept],
        greyscale,
        one_channel,
        dict(converted),
        tuple(unreadable),
        dict(sizes),
        copies,
    )
