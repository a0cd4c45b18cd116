"""The schemes by name, where a name is an estimator over a scope along axes.

Each function of this file is the target of the files in ``configs/norm/`` that bear its name or a synonym; its options
are theirs. A new scheme of this kind is one function here and one file there.
"""

from __future__ import annotations

from typing import Literal

import torch

from normlab.config import NonNegativeFloat, PositiveFloat, PositiveInt
from normlab.norms.base import Affine
from normlab.norms.constants import TrainingSet
from normlab.norms.estimators import Axes
from normlab.norms.one_sample import OneSample, decibels


def raw() -> Affine:
    """The value x as it is stored, whatever the range."""
    scheme = Affine(takes_any_shape=True)
    scheme.scale, scheme.shift = torch.ones(1, 1, 1, dtype=torch.float64), torch.zeros(1, 1, 1, dtype=torch.float64)
    return scheme


def dataset(
    *, estimator: Literal["pooled", "per_image"] = "pooled", scale: bool = True, axes: Axes = "channel"
) -> TrainingSet:
    """(u - m_c)/s_c with the mean and standard deviation of each channel over the training set; axes=all: of them all.

    Args:
        estimator: of the standard deviation; ``pooled`` over all positions of all samples, or ``per_image``, the mean
            of the samples' own standard deviations, which is smaller: it leaves out how the samples' means differ.
        scale: divide by s_c; False: only subtract.
        axes: what has statistics of its own; ``all``: one mean and one standard deviation for all channels.
    """
    return TrainingSet("mean_std" if estimator == "pooled" else "mean_std_of_samples", axes, scale=scale)


def feature(*, scale: bool = True) -> TrainingSet:
    """(u - m_chw)/s_chw: every position of every channel by its own statistics over the training set.

    Args:
        scale: divide by s_chw (a constant feature by 1); False: only subtract the mean image.
    """
    return TrainingSet("mean_std", "position", scale=scale)


def robust(*, center: bool = True, scale: bool = True, axes: Axes = "channel") -> TrainingSet:
    """(u - median)/(75th - 25th percentile) over the training set.

    Args:
        center: subtract the median.
        scale: divide by the interquartile range; 0, of a feature with half of its values equal, counts as 1.
        axes: what has statistics of its own.
    """
    return TrainingSet("median_iqr", axes, center, scale)


def min_max_dataset(*, axes: Axes = "channel") -> TrainingSet:
    """(u - min)/(max - min) over the training set: 0 to 1, outside of it where validation or test values are.

    Args:
        axes: what has statistics of its own.
    """
    return TrainingSet("min_max", axes)


def max_abs(*, axes: Axes = "channel") -> TrainingSet:
    """u/max(abs(u)) over the training set: -1 to 1, and 0 stays 0.

    Args:
        axes: what has statistics of its own.
    """
    return TrainingSet("max_abs", axes)


def per_image(
    *, per_channel: bool = False, eps: NonNegativeFloat = 1e-6, clip: PositiveFloat | None = None
) -> OneSample:
    """(u - mean)/(std + eps) of the image itself.

    Args:
        per_channel: statistics of each channel; False: of all channels together.
        eps: in units of u. A constant image gives zeros for every eps.
        clip: largest absolute output, or None.
    """
    return OneSample("mean_std", _axes(per_channel), eps, clip)


def min_max(*, per_channel: bool = False, eps: NonNegativeFloat = 1e-6, clip: PositiveFloat | None = None) -> OneSample:
    """(u - min)/(max - min + eps) of the image itself; options as of :func:`per_image`."""
    return OneSample("min_max", _axes(per_channel), eps, clip)


def per_region(
    *,
    grid: PositiveInt = 4,
    per_channel: bool = False,
    eps: NonNegativeFloat = 1e-2,
    clip: PositiveFloat | None = None,
) -> OneSample:
    """(u - mean)/(std + eps) of each region of a grid.

    Args:
        grid: regions along each side; a side that the grid does not divide is cut as evenly as whole pixels allow.
        per_channel: statistics of each channel of a region; False: of all channels together.
        eps: in units of u.
        clip: largest absolute output, or None.
    """
    return OneSample("mean_std", _axes(per_channel), eps, clip, grid=grid)


def _axes(per_channel: bool) -> Axes:
    return "channel" if per_channel else "all"


def normalizer(*, norm: Literal["l2", "max"] = "l2") -> OneSample:
    """u/length(u) of each sample, a row of a table; a row of zeros stays zero.

    Args:
        norm: ``l2``, the Euclidean length; or ``max``, the largest abs(u).
    """
    return OneSample("length" if norm == "l2" else "max_abs", "all")


def peak(*, level_db: float = 0.0) -> OneSample:
    """u/max(abs(u)) of each recording, times the level; silence stays silence.

    Args:
        level_db: of the peak, in decibels relative to abs(u) = 1 (dBFS).
    """
    return OneSample("max_abs", "all", level=decibels(level_db))


def rms(*, level_db: float = -20.0) -> OneSample:
    """u/sqrt(mean of u^2) of each recording, times the level; silence stays silence. The peak may exceed 1.

    Args:
        level_db: of the root mean square, in decibels relative to 1, that of a full-scale square wave; by the
            convention of AES17, where a full-scale sine wave is 0 dBFS, add 3.01.
    """
    return OneSample("rms", "all", level=decibels(level_db))


def cmn(*, window: PositiveInt | None = None, centered: bool = True, min_window: PositiveInt = 100) -> OneSample:
    """(u - mean), with the mean over time of each utterance and each channel, which is a frequency or a cepstrum.

    Args:
        window: frames of a sliding mean, 600 in Kaldi's recipes; None: of the whole utterance.
        centered: see :func:`normlab.norms.one_sample.window_around`.
        min_window: of a window that is not centered, Kaldi's --min-cmn-window.
    """
    return OneSample("mean", "channel", window=window, centered=centered, min_window=min_window)


def cmvn(
    *,
    window: PositiveInt | None = None,
    centered: bool = True,
    min_window: PositiveInt = 100,
    eps: NonNegativeFloat = 1e-6,
) -> OneSample:
    """(u - mean)/(std + eps) over time of each utterance and each channel, which is a frequency or a cepstrum.

    Args:
        window: see :func:`cmn`.
        centered: see :func:`cmn`.
        min_window: see :func:`cmn`.
        eps: in units of u. A channel that is constant over time gives zeros, where Kaldi divides by 1e-5.
    """
    return OneSample("mean_std", "channel", eps, window=window, centered=centered, min_window=min_window)
