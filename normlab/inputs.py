"""What every part takes: batches of inputs [B, C, *positions] of a few types, and the range that stands for 0 to 1.

``positions`` are none for a table, one for a series, two for an image. A value x of an input counts as
u = (x - black)/(white - black). Unless the files or the user say otherwise, black and white follow from the type.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from normlab.errors import DataError

# Black and white of each type. Signed integers and floats carry their own unit (a count, a kelvin, a Hounsfield unit):
# for them u is x.
RANGES: dict[torch.dtype, tuple[float, float]] = {
    torch.uint8: (0.0, 255.0),
    torch.uint16: (0.0, 65535.0),
    torch.int16: (0.0, 1.0),
    torch.int32: (0.0, 1.0),
    torch.float32: (0.0, 1.0),
}
TYPE_NAMES = {str(dtype).removeprefix("torch."): dtype for dtype in RANGES}

# Integers whose sums of squares fit into 64 bits for any number of values below 2^31.
EXACT_TYPES = (torch.uint8, torch.uint16, torch.int16)


class Target(NamedTuple):
    """What a regression's labels are trained on: (label - mean)/std; 0 and 1 where they are not standardized."""

    mean: float
    std: float

    def standardized(self, labels: Tensor) -> Tensor:
        """Labels in the units of training."""
        return (labels - self.mean) / self.std

    def restored(self, scores: Tensor) -> Tensor:
        """Scores in the units of the labels."""
        return scores * self.std + self.mean


def range_of_type(dtype: torch.dtype) -> tuple[float, float]:
    """Black and white of a type of inputs.

    >>> range_of_type(torch.uint16)
    (0.0, 65535.0)

    Raises:
        DataError: for another type than those of ``RANGES``.
    """
    if dtype not in RANGES:
        name = str(dtype).removeprefix("torch.")
        raise DataError(f"inputs of the type {name}: expected {', '.join(TYPE_NAMES)}; convert them with .to(type)")
    return RANGES[dtype]


def check_inputs(inputs: Tensor) -> None:
    """Refuse anything but a batch of inputs.

    Raises:
        DataError: naming the actual type and shape.
    """
    if not isinstance(inputs, Tensor) or inputs.dtype not in RANGES or inputs.ndim < 2:
        actual = (
            f"{str(inputs.dtype).removeprefix('torch.')} {list(inputs.shape)}"
            if isinstance(inputs, Tensor)
            else type(inputs).__name__
        )
        raise DataError(f"expected inputs [B, C, *positions] of {', '.join(TYPE_NAMES)}, not {actual}")


def select(inputs: Tensor, index: Tensor) -> Tensor:
    """``inputs[index]``, of uint16 by way of its bits: PyTorch before 2.10 cannot index it on a CPU."""
    if inputs.dtype == torch.uint16:
        return inputs.view(torch.int16)[index].view(torch.uint16)
    return inputs[index]


def evenly_spaced(count: int, most: int) -> Tensor:
    """Positions of at most so many of ``count`` samples, int64, rising.

    >>> evenly_spaced(5, 3), evenly_spaced(2, 3)
    (tensor([0, 2, 4]), tensor([0, 1]))
    """
    return torch.linspace(0, count - 1, min(count, most)).round().long()


def draw_positions(count: int, limit: int | None, seed: int = 0) -> Tensor:
    """Positions of at most ``limit`` random samples among ``count``, int64, rising, so that files are read in order."""
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed))[:limit].sort().values


def comparable(inputs: Tensor) -> Tensor:
    """The inputs in a type that PyTorch can compare and sort: int32 in place of uint16."""
    return inputs.to(torch.int32) if inputs.dtype == torch.uint16 else inputs


def pixels_that_count(images: Tensor) -> Tensor:
    """The pixels of images without those that a mask leaves out, which are NaN: each as an image of its own.

    >>> pixels_that_count(torch.tensor([[[[1.0, torch.nan]], [[2.0, torch.nan]]]])).flatten(1)
    tensor([[1., 2.]])

    Args:
        images: [B, C, H, W].

    Returns:
        [P, C, 1, 1].
    """
    rows = images.movedim(1, -1).flatten(0, -2)  # [B * H * W, C]
    if images.dtype.is_floating_point:
        rows = rows[~rows.isnan().any(1)]
    return rows.reshape(*rows.shape, *[1] * (images.ndim - 2))


def check_finite(inputs: Tensor) -> None:
    """Refuse inputs with NaN or infinity.

    Raises:
        DataError: naming the place of the first such value.
    """
    if inputs.dtype.is_floating_point and not (finite := inputs.isfinite()).all():
        place = (~finite).nonzero()[0].tolist()
        raise DataError(
            f"the value at {place} is {inputs[tuple(place)].item()}: statistics need finite values; "
            f"replace or leave out what is missing (of images, data.mask leaves out pixels)"
        )


def check_range(black: float, white: float) -> None:
    """Refuse a range in which white does not lie above black.

    Raises:
        DataError: naming both.
    """
    if not (float("-inf") < black < white < float("inf")):
        raise DataError(f"data.black={black:g} and data.white={white:g}: black must be below white, both finite")
