"""Channel statistics of images: two estimators of the standard deviation, and how well a sample or a batch gives them.

All of it follows from three exact integers of each image and channel: its pixels, their sum and their sum of squares.
Everything is in units of u = x/255.

The standard deviation is either *pooled*, that of all pixels of all images, or *per image*, the mean of the images'
own. The second is smaller: by the law of total variance, pooled^2 = mean of the images' variances + variance of their
means, and a mean of roots is at most the root of the mean.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats
from torch import Tensor

from normlab.config import Data, choose
from normlab.data import Files, Source, cache, read
from normlab.data.images import resize
from normlab.errors import DataError
from normlab.norms.moments import image_sums, mean_and_std

Estimator = Literal["pooled", "per_image"]
ESTIMATORS: tuple[Estimator, ...] = ("pooled", "per_image")


@dataclass(frozen=True)
class ImageSums:
    """Exact sums of N images.

    Attributes:
        pixels: of each image, int64 [N].
        total: sum of x over the pixels of each image and channel, int64 [N, C].
        squares: sum of x^2, int64 [N, C].
    """

    pixels: Tensor
    total: Tensor
    squares: Tensor

    def __len__(self) -> int:
        return len(self.pixels)

    @property
    def images(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation (ddof 0) of each image, float64 [N, C]."""
        return mean_and_std(self.pixels[:, None], self.total, self.squares)

    def statistics(self, estimator: Estimator) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of each channel, float64 [C].

        Args:
            estimator: ``pooled`` counts every pixel the same; ``per_image`` is the mean over images of their means and
                of their standard deviations, and so counts every image the same.
        """
        if estimator == "pooled":
            return mean_and_std(self.pixels.sum(), self.total.sum(0), self.squares.sum(0))
        means, stds = self.images
        return means.mean(0), stds.mean(0)

    def resampled(self, estimator: Estimator, resamples: int, seed: int) -> tuple[NDArray, NDArray]:
        """The statistics of bootstrap resamples of the images, float64 [resamples, C] each.

        A seed gives the same resamples for both estimators.
        """
        n, channels = self.total.shape
        if estimator == "pooled":
            columns = torch.cat([self.pixels[:, None], self.total, self.squares], 1).double().numpy()
        else:
            columns = torch.cat([torch.ones(n, 1, dtype=torch.float64), *self.images], 1).numpy()
        generator = np.random.default_rng(seed)
        drawn = np.empty((resamples, columns.shape[1]))
        for row in drawn:
            row[:] = np.bincount(generator.integers(n, size=n), minlength=n) @ columns
        first, second = np.split(drawn[:, 1:] / drawn[:, :1], [channels], axis=1)
        if estimator == "pooled":
            return first / 255, np.sqrt(np.maximum(second - first**2, 0)) / 255
        return first, second


def training_images(data: dict[str, Any], crop: int | None = None) -> Iterator[Tensor]:
    """All training images of a source, none held back for validation: uint8 [B, C, H, W], one by one from files.

    Args:
        data: options of a data source, as for :func:`normlab.dataset`. Of these, ``image_size`` resizes the shorter
            side and cuts out the centre, and ``limit`` draws so many images at random by ``split_seed``. Without
            ``image_size``, files may differ in size. Files become RGB.
        crop: then cut out the centre of so many pixels.

    Raises:
        DataError: if the images are missing, or smaller than the crop.
    """
    config = choose("data", **data)
    return _images(config, config.build(), crop)


def _images(config: Data, source: Source, crop: int | None) -> Iterator[Tensor]:
    pictures, chosen = source.train.pictures, _chosen(config, len(source.train))
    if isinstance(pictures, Files):
        for position in chosen.tolist():
            yield _cropped(read(pictures.paths[position], config.image_size, colour=True)[0][None], crop)
    else:
        for index in chosen.split(1024):
            images = pictures[index]
            yield _cropped(images if config.image_size is None else resize(images, config.image_size), crop)


def _chosen(config: Data, count: int) -> Tensor:
    if config.limit is None or config.limit >= count:
        return torch.arange(count)
    generator = torch.Generator().manual_seed(config.split_seed)
    return torch.randperm(count, generator=generator)[: config.limit].sort().values


def _cropped(images: Tensor, crop: int | None) -> Tensor:
    if crop is None:
        return images
    height, width = images.shape[2:]
    if crop > min(height, width):
        raise DataError(f"crop={crop}: an image has {width}x{height} pixels; give image_size={crop} or more")
    top, left = (height - crop) // 2, (width - crop) // 2
    return images[..., top : top + crop, left : left + crop]


def sums(data: dict[str, Any], crop: int | None = None) -> ImageSums:
    """Exact sums of all training images, in one pass; those of files are kept in the cache. See training_images."""
    config = choose("data", **data)
    source: Source = config.build()

    def make() -> dict[str, Any]:
        parts = []
        for images in _images(config, source, crop):
            pixels = torch.full((len(images),), images[0, 0].numel(), dtype=torch.int64)
            parts.append((pixels, *image_sums(images)))
        return dict(zip(("pixels", "total", "squares"), map(torch.cat, zip(*parts, strict=True)), strict=True))

    if isinstance(source.train.pictures, Files) and config.cache:
        about = {"image_size": config.image_size, "crop": crop, "limit": config.limit, "split_seed": config.split_seed}
        return ImageSums(**cache.remember("sums-" + cache.key(source.train.pictures.digests, **about), make))
    return ImageSums(**make())


def label(data: dict[str, Any]) -> str:
    """What rows call the data: the name of the folder, or of the source.

    >>> label({"name": "folder", "root": "some/where/cifar10"}), label({"name": "digits", "limit": 5})
    ('cifar10', 'digits')
    """
    return Path(data["root"]).name if "root" in data else str(data["name"])


def channel_names(channels: int) -> tuple[str, ...]:
    """Of one channel or three, else numbers."""
    return {1: ("grey",), 3: ("red", "green", "blue")}.get(channels, tuple(map(str, range(channels))))


def _preparation(data: dict[str, Any], crop: int | None) -> str:
    size = data.get("image_size")
    cut = crop or size
    return ("as stored" if size is None else f"shorter side {size}") + (f", centre {cut}" if cut else "")


def published_statistics(
    *,
    data: dict[str, Any],
    published: str,
    mean: list[float],
    std: list[float],
    crop: int | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Measured channel statistics beside constants from print, by either estimator.

    Args:
        data: see :func:`training_images`; all its training images.
        published: what the constants are called.
        mean: of each channel, in units of u.
        std: likewise.
        crop: centre crop in pixels.
        resamples: of the bootstrap.
        seed: of the bootstrap.

    Returns:
        A row for each estimator, statistic (mean or std) and channel: the measured ``value``, the ``constant``,
        their ``difference`` (units of u), and their ``ratio`` value / constant with the 95% percentile bootstrap
        interval over images ``ratio_low`` to ``ratio_high`` (Efron and Tibshirani 1993, section 13.3).

    Raises:
        DataError: if the images are missing, or have another number of channels than the constants.
    """
    found = sums(data, crop)
    names = channel_names(found.total.shape[1])
    if len({len(names), len(mean), len(std)}) != 1:
        raise DataError(f"{len(mean)} means and {len(std)} deviations for images of {len(names)} channels")
    rows = []
    for estimator in ESTIMATORS:
        measured, drawn = found.statistics(estimator), found.resampled(estimator, resamples, seed)
        for which, constants in enumerate((mean, std)):
            for channel, (name, constant) in enumerate(zip(names, constants, strict=True)):
                value = measured[which][channel].item()
                rows.append(
                    {
                        "data": label(data),
                        "preparation": _preparation(data, crop),
                        "images": len(found),
                        "published": published,
                        "estimator": estimator,
                        "statistic": ("mean", "std")[which],
                        "channel": name,
                        "value": value,
                        "constant": constant,
                        "difference": value - constant,
                        **_interval("ratio", value / constant, drawn[which][:, channel] / constant),
                    }
                )
    return rows


def channel_differences(
    *, data: dict[str, Any], crop: int | None = None, resamples: int = 1000, seed: int = 0
) -> list[dict[str, Any]]:
    """How the channels of colour images differ: blue's standard deviation from the others', red's mean from green's.

    Args:
        data: see :func:`training_images`.
        crop: centre crop in pixels.
        resamples: of the bootstrap.
        seed: of the bootstrap.

    Returns:
        A row for each estimator and pair: the ``difference`` of ``statistic``, first less second channel, in units of
        u, with the 95% percentile bootstrap interval over images, ``difference_low`` to ``difference_high``. Both
        channels come from the same resampled images.

    Raises:
        DataError: if the images are missing or greyscale.
    """
    found = sums(data, crop)
    names = channel_names(found.total.shape[1])
    if len(names) != 3:
        raise DataError(f"{label(data)}: {len(names)} channels; the order of red, green and blue needs colour images")
    rows = []
    for estimator in ESTIMATORS:
        measured, drawn = found.statistics(estimator), found.resampled(estimator, resamples, seed)
        for statistic, first, second in (("std", "blue", "red"), ("std", "blue", "green"), ("mean", "red", "green")):
            which, one, other = int(statistic == "std"), names.index(first), names.index(second)
            values = drawn[which][:, one] - drawn[which][:, other]
            estimate = (measured[which][one] - measured[which][other]).item()
            rows.append(
                {
                    "data": label(data),
                    "preparation": _preparation(data, crop),
                    "images": len(found),
                    "estimator": estimator,
                    "statistic": statistic,
                    "pair": f"{first} - {second}",
                    **_interval("difference", estimate, values),
                }
            )
    return rows


def _interval(name: str, estimate: float, resampled: NDArray) -> dict[str, float]:
    low, high = np.quantile(resampled, [0.025, 0.975]).tolist()
    return {name: estimate, f"{name}_low": low, f"{name}_high": high}


def relative_error(spread: float, sample: int, population: int) -> float:
    """Relative standard error of the mean of a simple random sample without replacement.

    S/M sqrt((N - n)/(N n)) (Cochran 1977, "Sampling Techniques", theorem 2.2).

    >>> relative_error(0.5, 25, 10**12), relative_error(0.5, 25, 25)
    (0.09999999999875, 0.0)

    Args:
        spread: S/M, standard deviation (ddof 1) over mean, of the population.
        sample: n.
        population: N.
    """
    return spread * math.sqrt((population - sample) / population / sample)


def sample_for(spread: float, precision: float, population: int) -> float:
    """Sample size at which 95% of samples have a mean within ``precision`` of the population's, relative.

    n0/(1 + n0/N) with n0 = (1.96 S / (precision M))^2 (Cochran 1977, "Sampling Techniques", eq. 4.2).

    >>> round(sample_for(0.5, 0.01, 10**12)), round(sample_for(0.5, 0.01, 9604))
    (9604, 4802)

    Args:
        spread: S/M; see :func:`relative_error`.
        precision: above 0.
        population: N.
    """
    unlimited = (float(stats.norm.ppf(0.975)) * spread / precision) ** 2
    return unlimited / (1 + unlimited / population)


def images_for_mean(
    *, data: dict[str, Any], precision: float = 0.01, population: int | None = None
) -> list[dict[str, Any]]:
    """How many images, drawn at random without replacement, give the channel means of the training set.

    Args:
        data: see :func:`training_images`; of images of one size.
        precision: largest relative error of a mean, in 95% of samples.
        population: images in the training set, where these are a sample of it; else these are all of it.

    Returns:
        One row: ``spread``, the standard deviation over images (ddof 1) of an image's mean, relative to the mean, of
        the channel where it is largest; ``needed``, the sample size by :func:`sample_for`; ``share``, the part of the
        population that this is.
    """
    means, _ = sums(data).images
    found = population or len(means)
    spread = (means.std(0) / means.mean(0)).max().item()
    needed = sample_for(spread, precision, found)
    row = {"data": label(data), "images": found, "spread": spread, "precision": precision}
    return [{**row, "needed": needed, "share": needed / found}]


def mean_errors(
    *, data: dict[str, Any], sizes: Sequence[int], draws: int = 1000, seed: int = 0
) -> list[dict[str, Any]]:
    """Error of the channel means against the size of the sample, measured by drawing samples.

    Args:
        data: see :func:`training_images`; of images of one size.
        sizes: of samples; those not below the number of images are left out.
        draws: samples of each size, without replacement.
        seed: of the draws.

    Returns:
        A row for each size: ``error``, the relative error of the mean (root mean square over draws and channels);
        ``predicted``, by :func:`relative_error`; ``ratio`` of the two, whose own relative error is about
        1/sqrt(2 draws) = 2% for 1,000.
    """
    means = sums(data).images[0].numpy()
    n = len(means)
    truth, generator = means.mean(0), np.random.default_rng(seed)
    spread = math.sqrt(((means.std(0, ddof=1) / truth) ** 2).mean())
    rows = []
    for size in (size for size in sizes if size < n):
        samples = [generator.choice(n, size, replace=False, shuffle=False) for _ in range(draws)]
        errors = np.array([means[sample].mean(0) for sample in samples]) / truth - 1
        error, predicted = math.sqrt((errors**2).mean()), relative_error(spread, size, n)
        row = {"data": label(data), "images": n, "sample": size, "error": error, "predicted": predicted}
        rows.append({**row, "ratio": error / predicted})
    return rows


def batch_statistics(
    *, data: dict[str, Any], batch_sizes: Sequence[int], epochs: int = 20, seed: int = 0
) -> list[dict[str, Any]]:
    """Channel statistics of shuffled batches beside those of the whole training set.

    Args:
        data: see :func:`training_images`; of images of one size.
        batch_sizes: images in a batch; an epoch's remainder is dropped. Sizes above the number of images are left out.
        epochs: shuffles.
        seed: of the shuffles.

    Returns:
        A row for each batch size and statistic (mean, or pooled std of the batch): ``spread``, the relative deviation
        from the whole set's value (root mean square over batches and channels); ``worst``, the largest one; ``bias``,
        its mean; ``predicted``, the spread of the mean by :func:`relative_error`, NaN for std.

        The mean has no bias. The variance has: E = pooled^2 - Var(batch mean), by the law of total variance.
    """
    found = sums(data)
    n, generator = len(found), np.random.default_rng(seed)
    pixels, total, squares = found.pixels.numpy(), found.total.numpy(), found.squares.numpy()
    truth = [value.numpy() for value in found.statistics("pooled")]
    means = found.images[0].numpy()
    variation = math.sqrt(((means.std(0, ddof=1) / means.mean(0)) ** 2).mean())
    rows = []
    for size in (size for size in batch_sizes if size <= n):
        orders = [generator.permutation(n)[: n // size * size].reshape(-1, size) for _ in range(epochs)]
        batches = np.concatenate(orders)  # [batches, size]
        summed = (torch.from_numpy(part[batches].sum(1)) for part in (pixels[:, None], total, squares))
        values = [value.numpy() for value in mean_and_std(*summed)]
        for which, statistic in enumerate(("mean", "std")):
            deviations = values[which] / truth[which] - 1
            rows.append(
                {
                    "data": label(data),
                    "images": n,
                    "batch_size": size,
                    "batches": len(batches),
                    "statistic": statistic,
                    "spread": math.sqrt((deviations**2).mean()),
                    "worst": float(np.abs(deviations).max()),
                    "bias": float(deviations.mean()),
                    "predicted": relative_error(variation, size, n) if statistic == "mean" else math.nan,
                }
            )
    return rows
