"""Channel statistics that were published, and those of the images themselves: claims B01, B02, PS1, PS2 and PS3."""

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
                        "data": data_label(data),
                        "preparation": preparation(data, crop),
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


@measurement
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
        raise DataError(
            f"{data_label(data)}: {len(names)} channels; the order of red, green and blue needs colour images"
        )
    rows = []
    for estimator in ESTIMATORS:
        measured, drawn = found.statistics(estimator), found.resampled(estimator, resamples, seed)
        for statistic, first, second in (("std", "blue", "red"), ("std", "blue", "green"), ("mean", "red", "green")):
            which, one, other = int(statistic == "std"), names.index(first), names.index(second)
            values = drawn[which][:, one] - drawn[which][:, other]
            estimate = (measured[which][one] - measured[which][other]).item()
            rows.append(
                {
                    "data": data_label(data),
                    "preparation": preparation(data, crop),
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
