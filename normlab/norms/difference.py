"""The differences of a series, the classical way to be rid of its level."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from normlab.errors import DataError
from normlab.norms.base import Normalization, along_channels


class Difference(Normalization):
    """(u_t - u_{t-1})/r_c: differences of a series in time, over their root mean square in the training set.

    The first place of a series has nothing before it and is 0, so that the length stays. Box and Jenkins 1970,
    chapter 4, difference a series until it is stationary; here once. A channel that never changes gives zeros.
    :meth:`denormalize` adds a forecast to the last value of the window, as NLinear does (Zeng et al. 2023, section 4).
    """

    rms: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("rms", torch.zeros(0, dtype=torch.float64))  # [C], in units of u

    def _differences(self, inputs: Tensor) -> Tensor:
        """Differences in units of x, float64 [B, C, T - 1]."""
        if inputs.ndim != 3:
            raise DataError(
                f"norm=difference is for series [channels, places], given inputs {list(inputs.shape[1:])}: "
                "choose another scheme"
            )
        return inputs.double().diff(dim=-1)

    def summarize(self, inputs: Tensor) -> Any:
        """Sum of squares of each channel and their number, float64 [2, C]."""
        differences = self._differences(inputs)
        squares = differences.square().sum((0, 2))
        return torch.stack([squares, torch.full_like(squares, differences[:, 0].numel())])

    def finish(self, summary: Any, shape: torch.Size) -> None:  # noqa: D102
        squares, count = summary
        self.rms = (squares / count.clamp(min=1)).sqrt().to(self.output_like.device) / self.ends[1]

    def normalize(self, inputs: Tensor) -> Tensor:
        """[B, C, T] to floats of the same shape."""
        differences = self._differences(inputs)
        if inputs.shape[1] != len(self.rms):
            raise DataError(f"fitted on {len(self.rms)} channels, given inputs {list(inputs.shape[1:])}")
        divisor = torch.where(self.rms == 0, torch.ones_like(self.rms), self.rms) * self.ends[1]
        return torch.nn.functional.pad(differences / along_channels(divisor, inputs), (1, 0)).to(self.dtype)

    def denormalize(self, outputs: Tensor, inputs: Tensor) -> Tensor:
        """The last value of each window plus the outputs; see :meth:`Normalization.denormalize`."""
        scale = along_channels((self.rms * self.ends[1]).to(outputs.dtype), outputs)
        return inputs[..., -1:].to(outputs.dtype) + outputs * scale
