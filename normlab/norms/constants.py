"""Affine schemes of constants, and of statistics over the training set."""

from __future__ import annotations

from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor

from normlab.config import PositiveFloat
from normlab.errors import DataError
from normlab.inputs import range_of_type
from normlab.norms.base import Affine, LooksAt
from normlab.norms.estimators import ESTIMATORS, Axes, Estimator, summed_dims

Numbers = Annotated[list[float], Field(min_length=1)]
Constants = Annotated[list[PositiveFloat], Field(min_length=1)]


LARGEST = 2.0  # of a constant in units of u: no mean or deviation of numbers in 0..1 is above 1


def _shown(values: Tensor) -> str:
    numbers = [f"{value:.6g}" for value in values.tolist()]
    return numbers[0] if len(set(numbers)) == 1 else f"[{','.join(numbers)}]"


class Fixed(Affine):
    """(u - mean)/std with constants: unit, centered, inception, imagenet, clip.

    Args:
        mean: one number, or one for each channel, in units of u.
        std: one number, or one for each channel, in units of u, above 0.

    A grayscale image under three constants is repeated to three channels.
    """

    def __init__(self, *, mean: float | Numbers, std: PositiveFloat | Constants) -> None:
        super().__init__()
        columns = [torch.tensor(value, dtype=torch.float64).reshape(-1, 1, 1) for value in (mean, std)]
        if len(columns[0]) != len(columns[1]) and 1 not in (len(columns[0]), len(columns[1])):
            raise DataError(f"norm.mean has {len(columns[0])} numbers, but norm.std has {len(columns[1])}")
        self._constants = torch.broadcast_tensors(*columns)
        self._are_above_u = max(column.abs().max().item() for column in columns) > LARGEST
        self.set_statistics(*self._constants)

    def _put_range(self, black: float, white: float) -> None:
        super()._put_range(black, white)
        self.set_statistics(*self._constants)

    def map_for(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Scale and shift, for the range of the inputs' type where no range is set."""
        if self.has_range or inputs.dtype == torch.uint8:
            return self.scale, self.shift
        black, white = range_of_type(inputs.dtype)
        mean, std = (value.to(inputs.device) for value in self._constants)
        return 1 / ((white - black) * std), -(mean + black / (white - black)) / std

    def require_shape(self, inputs: Tensor) -> None:
        """Refuse inputs unless they have one channel, or as many channels as there are constants."""
        channels, constants = inputs.shape[1], len(self.scale)
        if constants not in (1, channels) and channels != 1:
            what = "images" if inputs.ndim == 4 else "inputs"
            raise DataError(f"{what} of {channels} channels under a normalization with {constants} constants")
        if self._are_above_u:
            self._require_own_unit(inputs)

    def _require_own_unit(self, inputs: Tensor) -> None:
        """Refuse constants that cannot be in units of u, unless the inputs have a unit instead of a range."""
        black, span = (float(value) for value in self.range_for(inputs))
        if inputs.dtype not in (torch.uint8, torch.uint16) and (black, span) == (0, 1):
            return
        columns = [column.flatten() for column in self._constants]
        divisor = 255.0 if max(column.abs().max() for column in columns) <= 255 else span

        def shown(by: float) -> str:  # a mean or a deviation below 1 is in units of u already
            mean, std = (column / (by if column.abs().max() >= 1 else 1) for column in columns)
            return f"norm.mean={_shown(mean)} norm.std={_shown(std)}"

        percent = f"; if they are percent, {shown(100)}" if max(column.abs().max() for column in columns) <= 100 else ""
        raise DataError(
            f"{shown(1)}: constants are in units of u, which lies in 0..1 (u = x/255 for 8 bits), and these cannot be; "
            f"divided by {divisor:g} they are {shown(divisor)}{percent}"
        )


class TrainingSet(Affine):
    """(u - center)/spread with statistics of all training inputs; a spread of 0 counts as 1.

    Args:
        estimator: gives center and spread; a name of :data:`normlab.norms.estimators.ESTIMATORS`.
        axes: what has statistics of its own; see :func:`normlab.norms.estimators.summed_dims`.
        center: subtract the center; False: only divide.
        scale: divide by the spread; False: only subtract.
    """

    def __init__(self, estimator: Estimator, axes: Axes, center: bool = True, scale: bool = True) -> None:
        super().__init__(takes_any_shape=axes == "all")
        self.estimator, self.axes, self.centers, self.divides = estimator, axes, center, scale

    @property
    def looks_at(self) -> LooksAt:
        """See :attr:`normlab.norms.base.Normalization.looks_at`."""
        return "arrangement" if self.axes == "position" or self.estimator == "mean_std_of_samples" else "pixel"

    def summarize(self, inputs: Tensor) -> Any:  # noqa: D102
        return ESTIMATORS[self.estimator][0](inputs, (0, *summed_dims(self.axes, inputs.ndim)))

    def finish(self, summary: Any, shape: torch.Size) -> None:  # noqa: D102
        center, spread = (value[0] for value in ESTIMATORS[self.estimator][1](summary, *self.ends))
        self.set_statistics(
            center if self.centers else torch.zeros_like(center), spread if self.divides else torch.ones_like(spread)
        )
