"""The contract of every normalization."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal, Self

import torch
from torch import Tensor, nn

from normlab.errors import DataError
from normlab.inputs import check_finite, check_inputs, check_range, range_of_type

LooksAt = Literal["pixel", "sample", "arrangement"]


class Normalization(nn.Module):
    """Maps inputs [B, C, *positions] to floats [B, C', *positions]; the first layer of every network here.

    Inputs are uint8, uint16, int16, int32 or float32; positions are none for a table, one for a series, two for an
    image. Formulas are in units of u = (x - black)/(white - black), see :mod:`normlab.inputs`.

    A scheme that learns nothing from data defines :meth:`normalize` only. A scheme that learns from data also defines
    :meth:`summarize`, which says what to gather of a batch of training inputs, and :meth:`finish`, which turns the
    summary of all batches into buffers. The buffers are saved in a checkpoint and never change afterwards.

    Attributes:
        black, white: the range, float64 scalars; empty, [0], where each batch has the range of its type.
    """

    output_like: Tensor
    black: Tensor
    white: Tensor

    def __init__(self) -> None:
        super().__init__()
        # This buffer changes type with `.double()` and `.to()`, so that the output has the type of the weights.
        self.register_buffer("output_like", torch.empty(0), persistent=False)
        self.register_buffer("black", torch.zeros(0, dtype=torch.float64))
        self.register_buffer("white", torch.zeros(0, dtype=torch.float64))
        self.input_type: torch.dtype | None = None  # of the inputs that it was fitted on
        self._has_range_of_type = False  # and its range is that of this type, which the next fit forgets

    def set_range(self, black: float, white: float) -> Self:
        """Set the values that stand for u = 0 and u = 1, before :meth:`fit`; without a call, they follow from the type.

        Args:
            black: as in :attr:`normlab.data.Dataset.black`.
            white: above black.

        Raises:
            DataError: if black is not below white, or the scheme is fitted on data already.
        """
        check_range(black, white)
        if self.is_fitted_from_data and self.is_fitted:
            raise DataError(f"{type(self).__name__} is fitted: set its range before fit(batches)")
        self._put_range(black, white)
        self._has_range_of_type = False
        return self

    def _put_range(self, black: float, white: float) -> None:
        device = self.output_like.device
        self.black = torch.tensor(black, dtype=torch.float64, device=device)
        self.white = torch.tensor(white, dtype=torch.float64, device=device)

    @property
    def has_range(self) -> bool:
        """Whether the range is set, by :meth:`set_range`, :meth:`fit` or a checkpoint."""
        return self.white.numel() > 0

    @property
    def ends(self) -> tuple[float, float]:
        """Black, and white - black, as numbers: for :meth:`finish`."""
        black, white = self.black.item(), self.white.item()
        return black, white - black

    @property
    def span(self) -> Tensor:
        """White - black, float64 scalar; 255 where the range is not set."""
        return self.white - self.black if self.has_range else self.output_like.new_tensor(255.0, dtype=torch.float64)

    def range_for(self, inputs: Tensor) -> tuple[Tensor | float, Tensor | float]:
        """Black, and white - black, for these inputs: as set, or of their type."""
        if self.has_range:
            return self.black, self.white - self.black
        black, white = range_of_type(inputs.dtype)
        return black, white - black

    def fit(self, batches: Iterable[Tensor]) -> Self:
        """Learn from training inputs, in one pass.

        A scheme without statistics takes the range of the first batch's type, if no range is set, and nothing else. To
        fit once more forgets what was learned, the range of the type of the earlier inputs, too.

        Args:
            batches: [B, C, *positions] each, all of one type and one shape but B.

        Raises:
            DataError: if there are no inputs, some are not finite, or they do not suit the scheme.
        """
        has_own_range = self.has_range and not self._has_range_of_type
        if not self.is_fitted_from_data and has_own_range:
            return self
        summary, shape = None, None
        for inputs in batches:
            check_inputs(inputs)
            if shape is None:
                shape, self.input_type = inputs.shape[1:], inputs.dtype
                if not has_own_range:
                    self._put_range(*range_of_type(inputs.dtype))
                    self._has_range_of_type = True
                if not self.is_fitted_from_data:
                    return self
            if inputs.shape[1:] != shape:
                what, then = ("images", ": give data.image_size") if inputs.ndim == 4 else ("inputs", "")
                raise DataError(f"{what} of different sizes, {list(shape)} and {list(inputs.shape[1:])}{then}")
            self._require_type(inputs)
            check_finite(inputs)
            part = self.summarize(inputs)
            if summary is None:
                summary = part
            else:
                summary += part
        if shape is None and self.is_fitted_from_data:
            raise DataError("the normalization was given no images or other inputs to fit on")
        if shape is not None:
            self.finish(summary, shape)
        return self

    def _require_type(self, inputs: Tensor) -> None:
        if self.input_type is not None and inputs.dtype != self.input_type:
            fitted, given = (str(dtype).removeprefix("torch.") for dtype in (self.input_type, inputs.dtype))
            raise DataError(f"{type(self).__name__} was fitted on inputs of {fitted}, given {given}")

    @property
    def is_fitted_from_data(self) -> bool:
        """Whether :meth:`fit` reads the images."""
        return type(self).summarize is not Normalization.summarize

    @property
    def looks_at(self) -> LooksAt:
        """What the output for one pixel depends on, besides statistics of the training set: for :class:`Masked`.

        ``pixel``: on this pixel alone, and the statistics of the training set are of its pixels in any order;
        ``sample``: on the pixels of the sample, in any order; ``arrangement``: on where they lie, or on more.
        """
        return "arrangement"

    @property
    def is_fitted(self) -> bool:
        """Whether the fitted tensors have values."""
        tensors = {**self._parameters, **self._buffers}
        return any(tensor is not None and tensor.numel() > 0 for name, tensor in tensors.items() if name not in RANGE)

    def summarize(self, inputs: Tensor) -> Any:
        """What to gather of one batch [B, C, *positions]; the summaries of all batches are added up with ``+=``."""
        raise TypeError(f"{type(self).__name__} defines no summarize(inputs)")

    def finish(self, summary: Any, shape: torch.Size) -> None:
        """Turn the summary of all training inputs, each of ``shape`` [C, *positions], into buffers."""

    def normalize(self, inputs: Tensor) -> Tensor:
        """The formula: [B, C, *positions] to floats of :meth:`working_type`, or of :attr:`dtype`."""
        raise TypeError(f"{type(self).__name__} defines no normalize(inputs)")

    def forward(self, inputs: Tensor) -> Tensor:
        """Normalize [B, C, *positions] to float32 [B, C', *positions].

        Raises:
            DataError: for inputs of another type or shape, or before :meth:`fit`.
        """
        check_inputs(inputs)
        if self.is_fitted_from_data and not self.is_fitted:
            raise DataError(f"{type(self).__name__} is not fitted: call fit(batches of training inputs) first")
        self._require_type(inputs)
        return self.normalize(inputs).to(self.dtype)

    def denormalize(self, outputs: Tensor, inputs: Tensor) -> Tensor:
        """Undo the map of these inputs for other values, such as a forecast: floats in units of x.

        Args:
            outputs: normalized values [B, C, *places], of the inputs' channels; places may differ from positions.
            inputs: whose normalization is undone, [B, C, *positions].

        Raises:
            DataError: if the scheme cannot be undone so.
        """
        raise DataError(f"{type(self).__name__} is not a scale and shift, and cannot be undone")

    def trained(self) -> dict[str, float]:
        """The values of the scheme's own trained parameters, by name, for the record."""
        return {}

    @property
    def dtype(self) -> torch.dtype:
        """Type of the output: float32, or float64 in a network of that precision."""
        return self.output_like.dtype

    def working_type(self, inputs: Tensor) -> torch.dtype:
        """Type of the arithmetic of :meth:`normalize`: that of the output; for int32, float64.

        float32 holds 24 bits: of int32 values far from 0 it would keep only what they have in common.
        """
        return torch.float64 if inputs.dtype == torch.int32 else self.dtype

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        if prefix + "white" not in state_dict:  # a checkpoint from the time when all inputs were of 8 bits
            for name, value in zip(RANGE, range_of_type(torch.uint8), strict=True):
                state_dict[prefix + name] = torch.tensor(value, dtype=torch.float64)
        # The shapes of fitted tensors come from the data, so an unfitted scheme takes the shapes in the checkpoint.
        for name, tensor in [*self.named_parameters(recurse=False), *self.named_buffers(recurse=False)]:
            saved = state_dict.get(prefix + name)
            if saved is not None and saved.shape != tensor.shape:
                tensor.data = tensor.data.new_empty(saved.shape)
        self._has_range_of_type = False  # a checkpoint does not say whose range it was
        super()._load_from_state_dict(state_dict, prefix, *rest)


RANGE = ("black", "white")  # names of the buffers that are no statistics


def along_channels(values: Tensor, inputs: Tensor) -> Tensor:
    """Values of each channel, [..., C], in a shape that broadcasts against inputs [B, C, *positions]."""
    return values.reshape(*values.shape, *[1] * (inputs.ndim - 2))


def over_features(values: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Values of each channel, or of each feature, as [C', *positions] for inputs of [C, *positions].

    C' is C, or the number of values where a single channel is repeated.
    """
    if values.ndim != len(shape):
        values = values.reshape(-1, *[1] * (len(shape) - 1))
    return values.expand(max(shape[0], len(values)), *shape[1:])


class Affine(Normalization):
    """A scheme that is scale * x + shift, elementwise.

    ``scale`` and ``shift`` are float64 buffers that broadcast against [C, *positions]; theory, compensation experiments
    and export use the same numbers. ``mean`` and ``std`` say the same in units of u.

    Args:
        takes_any_shape: the scale is one number, which holds for inputs of every shape.
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, takes_any_shape: bool = False) -> None:
        super().__init__()
        self.takes_any_shape = takes_any_shape
        self.register_buffer("scale", torch.ones(0, 1, 1, dtype=torch.float64))
        self.register_buffer("shift", torch.zeros(0, 1, 1, dtype=torch.float64))

    def set_statistics(self, mean: Tensor, std: Tensor) -> None:
        """Set the map to (u - mean)/std.

        Args:
            mean: float64 in units of u, broadcastable to [C, *positions].
            std: float64 in units of u; a zero, of a constant feature, counts as 1.
        """
        device = self.output_like.device
        mean, std = mean.to(device), std.to(device)
        std = torch.where(std == 0, torch.ones_like(std), std)
        self.scale = 1 / (self.span * std)
        self.shift = -(mean + self._black_in_u) / std

    @property
    def looks_at(self) -> LooksAt:
        """See :attr:`Normalization.looks_at`."""
        return "pixel"

    @property
    def _black_in_u(self) -> Tensor | float:
        """Black in units of white - black: u = x/span - this."""
        return self.black / self.span if self.has_range else 0.0

    def require_shape(self, inputs: Tensor) -> None:
        """Refuse inputs of another shape than the scheme was fitted on, which broadcasting would accept."""
        if self.takes_any_shape:
            return
        channels, *positions = self.scale.shape
        given = list(inputs.shape[2:])
        fits = len(given) == len(positions) and all(a in (1, b) for a, b in zip(positions, given, strict=True))
        if inputs.shape[1] != channels or not fits:
            what = "images" if inputs.ndim == 4 else "inputs"
            by_channel = all(side == 1 for side in positions)
            fitted = f"{channels} channels" if by_channel else f"{what} of {list(self.scale.shape)}"
            raise DataError(f"fitted on {fitted}, given {what} of {list(inputs.shape[1:])}")

    @property
    def mean(self) -> Tensor:
        """The mean that is subtracted, in units of u."""
        return -self.shift / (self.span * self.scale) - self._black_in_u

    @property
    def std(self) -> Tensor:
        """The standard deviation that is divided by, in units of u."""
        return 1 / (self.span * self.scale)

    def map_for(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Scale and shift for these inputs, which broadcast against [C, *positions]."""
        return self.scale, self.shift

    def _map(self, inputs: Tensor, dtype: torch.dtype, ndim: int) -> tuple[Tensor, Tensor]:
        scale, shift = (value.to(dtype) for value in self.map_for(inputs))
        if scale.ndim != ndim - 1:  # of each channel, and written for another number of positions
            scale, shift = (value.reshape(-1, *[1] * (ndim - 2)) for value in (scale, shift))
        return scale, shift

    def normalize(self, inputs: Tensor) -> Tensor:
        """The map scale * x + shift.

        Raises:
            DataError: for inputs of another shape than the scheme was fitted on.
        """
        self.require_shape(inputs)
        dtype = self.working_type(inputs)
        scale, shift = self._map(inputs, dtype, inputs.ndim)
        if len(scale) > inputs.shape[1]:  # grayscale under constants for three channels
            inputs = inputs.expand(-1, len(scale), *[-1] * (inputs.ndim - 2))
        # In place, because a new tensor costs more than the arithmetic.
        return inputs.to(dtype, copy=inputs.dtype == dtype).mul_(scale).add_(shift)

    def denormalize(self, outputs: Tensor, inputs: Tensor) -> Tensor:
        """(outputs - shift)/scale; see :meth:`Normalization.denormalize`."""
        scale, shift = self._map(inputs, outputs.dtype, outputs.ndim)
        return (outputs - shift) / scale
