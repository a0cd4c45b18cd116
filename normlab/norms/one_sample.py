"""Schemes that normalize each sample, or each region of it, by its own statistics."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from normlab.config import NonNegativeFloat
from normlab.errors import DataError
from normlab.norms.base import LooksAt, Normalization
from normlab.norms.estimators import ESTIMATORS, Axes, Estimator, summed_dims
from normlab.norms.moments import Sums


class OneSample(Normalization):
    """(u - center)/(spread + eps) with center and spread of the sample itself; a spread of 0 gives zeros for every eps.

    NaN in a sample makes the sample's outputs NaN, where they share its statistics.

    Args:
        estimator: gives center and spread; a name of :data:`normlab.norms.estimators.ESTIMATORS`.
        axes: what has statistics of its own; see :func:`normlab.norms.estimators.summed_dims`.
        eps: in units of u.
        clip: largest absolute output, or None.
        level: factor on the output.
        grid: cut each side into so many regions, each with statistics of its own; None: one region. A side that the
            grid does not divide is cut as evenly as whole positions allow.
        window: places of the last dimension, around each, that its statistics are of; None: all. Of means and standard
            deviations only, see :func:`window_around`.
        centered: the window reaches as far into the future as into the past; False: it ends at the place itself.
        min_window: places that a window that is not centered holds at least, also before there are so many.
    """

    def __init__(
        self,
        estimator: Estimator,
        axes: Axes,
        eps: float = 0.0,
        clip: float | None = None,
        level: float = 1.0,
        grid: int | None = None,
        window: int | None = None,
        centered: bool = True,
        min_window: int = 100,
    ) -> None:
        super().__init__()
        self.estimator, self.axes, self.eps, self.clip, self.level = estimator, axes, eps, clip, level
        self.grid, self.window, self.centered, self.min_window = grid, window, centered, min_window

    @property
    def looks_at(self) -> LooksAt:
        """See :attr:`normlab.norms.base.Normalization.looks_at`."""
        return "sample" if self.grid is None and self.window is None else "arrangement"

    def center_and_scale(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """What is subtracted from x, and the factor then, float64, broadcastable against the inputs."""
        if inputs.ndim == 2 and self.axes == "channel":
            raise DataError(
                "each sample of a table has one number for each column, and no statistics of its own: use a scheme of "
                "the training set, such as standard, or of the whole row, such as per_image"
            )
        gather, statistics = ESTIMATORS[self.estimator]
        dims = summed_dims(self.axes, inputs.ndim)
        black, span = self.range_for(inputs)
        if self.window is None:
            summary = gather(inputs, dims)
        else:
            if inputs.ndim != 3:
                raise DataError(
                    f"norm.window={self.window} slides over time: series [C, T], not {inputs.ndim - 2} positions"
                )
            places = torch.arange(inputs.shape[-1], device=inputs.device)
            summary = Sums.sliding(inputs, *window_around(places, self.window, self.centered, self.min_window))
        center, spread = statistics(summary, black, span)
        scale = torch.where(spread == 0, 0.0, self.level / (span * self.divisor(spread)))
        return span * center + black, scale

    def divisor(self, spread: Tensor) -> Tensor:
        """What to divide by, from the spread, in units of u."""
        return spread + self.eps

    def normalize(self, inputs: Tensor) -> Tensor:
        """[B, C, *positions] to floats of the same shape."""
        if self.grid is None:
            return self._normalize(inputs)
        positions = inputs.shape[2:]
        if not positions:
            raise DataError("a table has no regions: use a scheme of whole samples, such as per_image")
        if self.grid > min(positions):
            raise DataError(f"norm.grid={self.grid}: the image's shorter side has only {min(positions)} pixels")
        output = torch.empty_like(inputs, dtype=self.working_type(inputs))
        for region in itertools.product(*(self._bands(side, self.grid) for side in positions)):
            place: tuple[Any, ...] = (..., *region)
            output[place] = self._normalize(inputs[place])
        return output

    def _normalize(self, inputs: Tensor) -> Tensor:
        dtype = self.working_type(inputs)
        center, scale = (value.to(dtype) for value in self.center_and_scale(inputs))
        output = (inputs.to(dtype) - center).mul_(scale)
        return output if self.clip is None else output.clamp_(-self.clip, self.clip)

    @staticmethod
    def _bands(side: int, grid: int) -> Iterator[slice]:
        edges = [side * i // grid for i in range(grid + 1)]
        return (slice(start, end) for start, end in itertools.pairwise(edges))

    def denormalize(self, outputs: Tensor, inputs: Tensor) -> Tensor:
        """outputs/scale + center; of a constant input, the constant. See :meth:`Normalization.denormalize`."""
        if self.grid is not None or self.window is not None:
            raise DataError("statistics that differ from place to place cannot be given back to other places")
        center, scale = (value.to(outputs.dtype) for value in self.center_and_scale(inputs))
        return torch.where(scale == 0, 0.0, outputs / scale) + center


class RevIN(OneSample):
    """w_c (u - mean)/sqrt(var + eps) + b_c: mean and variance of each channel of the window, w and b trained.

    Kim et al. 2022, "Reversible instance normalization for accurate time-series forecasting against distribution
    shift", eq. 1 to 3; their code divides by w + eps^2 when it undoes the map, and so does :meth:`denormalize`.

    Args:
        eps: added to the variance, in units of u^2.
        affine: train w (from 1) and b (from 0) for each channel; False: they stay there.
    """

    def __init__(self, *, eps: NonNegativeFloat = 1e-5, affine: bool = True) -> None:
        super().__init__("mean_std", "channel", eps)
        self.affine = affine
        self.weight = nn.Parameter(torch.zeros(0), requires_grad=affine)  # [C]
        self.bias = nn.Parameter(torch.zeros(0), requires_grad=affine)  # [C]

    def summarize(self, inputs: Tensor) -> Any:
        """Nothing: only the number of channels counts."""
        return ()

    def finish(self, summary: Any, shape: torch.Size) -> None:  # noqa: D102
        self.weight.data, self.bias.data = self.output_like.new_ones(shape[0]), self.output_like.new_zeros(shape[0])

    def divisor(self, spread: Tensor) -> Tensor:
        """sqrt(var + eps)."""
        return (spread.square() + self.eps).sqrt()

    def _affine(self, ndim: int) -> tuple[Tensor, Tensor]:
        weight, bias = (value.reshape(-1, *[1] * (ndim - 2)) for value in (self.weight, self.bias))
        return weight, bias

    def normalize(self, inputs: Tensor) -> Tensor:
        """[B, C, *positions] to floats of the same shape."""
        if inputs.shape[1] != len(self.weight):
            raise DataError(f"fitted on {len(self.weight)} channels, given inputs {list(inputs.shape[1:])}")
        weight, bias = self._affine(inputs.ndim)
        return super().normalize(inputs) * weight + bias

    def denormalize(self, outputs: Tensor, inputs: Tensor) -> Tensor:
        """The inverse of :meth:`normalize`, but for eps^2; see :meth:`Normalization.denormalize`."""
        weight, bias = self._affine(outputs.ndim)
        return super().denormalize((outputs - bias) / (weight + self.eps**2), inputs)

    def trained(self) -> dict[str, float]:
        """The values w and b of the channels."""
        if not self.affine:
            return {}
        columns = {"revin_weight": self.weight, "revin_bias": self.bias}
        return {f"{name}.{c}": value for name, column in columns.items() for c, value in enumerate(column.tolist())}


def window_around(places: Tensor, window: int, centered: bool, min_window: int) -> tuple[Tensor, Tensor]:
    """Start and end (one past it) of the window of each place, int64 [T] each.

    As in Kaldi's apply-cmvn-sliding (feat/feature-functions.cc, SlidingWindowCmn). At the borders a centered window is
    moved inside and keeps its length. A window that is not centered holds the place itself and ``window`` places before
    it, at the beginning ``min_window`` places.

    >>> start, end = window_around(torch.arange(6), 3, True, 100)
    >>> start.tolist(), end.tolist()
    ([0, 0, 1, 2, 3, 3], [3, 3, 4, 5, 6, 6])

    Args:
        places: 0 to T - 1.
        window: places in a window.
        centered: see :class:`OneSample`.
        min_window: see :class:`OneSample`.
    """
    if centered:
        start = places - window // 2
        end = start.clamp(min=0) + window
    else:
        start, end = places - window, (places + 1).clamp(min=min_window)
    over = (end - len(places)).clamp(min=0)
    return (start.clamp(min=0) - over).clamp(min=0), end - over


def decibels(level_db: float) -> float:
    """The factor on an amplitude for a level in decibels.

    >>> decibels(-20.0)
    0.1
    """
    return math.pow(10, level_db / 20)
