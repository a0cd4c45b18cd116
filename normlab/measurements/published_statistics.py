"""Published channel statistics versus the statistics of the images: claims B01, B02, PS1, PS2 and PS3."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from normlab.config import data_label
from normlab.errors import DataError
from normlab.measurements.registry import measurement
from normlab.measurements.training_images import preparation, sums
from normlab.statistics.channels import ESTIMATORS, channel_names


@measurement
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
    """Measured channel statistics versus published constants, by both estimators.

    Args:
        data: see :func:`training_images`; all its training images.
        published: name of the constants.
        mean: of each channel, in units of u.
        std: of each channel, in units of u.
        crop: center crop in pixels.
        resamples: of the bootstrap.
        seed: of the bootstrap.

    Returns:
        A row for each estimator, statistic (mean or std) and channel: the measured ``value``, the ``constant``,
        their ``difference`` (units of u), and their ``ratio`` value / constant with the 95% percentile bootstrap
        interval over images ``ratio_low`` to ``ratio_high`` (Efron and Tibshirani 1993, section 13.3).

    Raises:
        DataError: if the images are missing, or have another number of channels than the constants.
    """
    image_sums = sums(data, crop)
    names = channel_names(image_sums.total.shape[1])
    if len({len(names), len(mean), len(std)}) != 1:
        raise DataError(f"{len(mean)} means and {len(std)} deviations for images of {len(names)} channels")
    rows = []
    for estimator in ESTIMATORS:
        measured, drawn = image_sums.statistics(estimator), image_sums.resampled(estimator, resamples, seed)
        for which, constants in enumerate((mean, std)):
            for channel, (name, constant) in enumerate(zip(names, constants, strict=True)):
                value = measured[which][channel].item()
                rows.append(
                    {
                        "data": data_label(data),
                        "preparation": preparation(data, crop),
                        "images": len(image_sums),
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


@measurement
def channel_differences(
    *, data: dict[str, Any], crop: int | None = None, resamples: int = 1000, seed: int = 0
) -> list[dict[str, Any]]:
    """Differences between channels of color images: blue minus red and green in std, red minus green in mean.

    Args:
        data: see :func:`training_images`.
        crop: center crop in pixels.
        resamples: of the bootstrap.
        seed: of the bootstrap.

    Returns:
        A row for each estimator and pair: the ``difference`` of ``statistic``, first minus second channel, in units
        of u, with the 95% percentile bootstrap interval over images, ``difference_low`` to ``difference_high``. Both
        channels come from the same resampled images.

    Raises:
        DataError: if the images are missing, or do not have three channels.
    """
    image_sums = sums(data, crop)
    names = channel_names(image_sums.total.shape[1])
    if len(names) != 3:
        raise DataError(f"{data_label(data)}: {len(names)} channels; comparing red, green and blue needs color images")
    rows = []
    for estimator in ESTIMATORS:
        measured, drawn = image_sums.statistics(estimator), image_sums.resampled(estimator, resamples, seed)
        for statistic, first, second in (("std", "blue", "red"), ("std", "blue", "green"), ("mean", "red", "green")):
            which, one, other = int(statistic == "std"), names.index(first), names.index(second)
            values = drawn[which][:, one] - drawn[which][:, other]
            estimate = (measured[which][one] - measured[which][other]).item()
            rows.append(
                {
                    "data": data_label(data),
                    "preparation": preparation(data, crop),
                    "images": len(image_sums),
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
