"""Shifts of the light for test images: brightness, contrast, color cast and uneven light, at five severities.

Brightness and contrast are those of CIFAR-10-C (Hendrycks & Dietterich 2019, "Benchmarking neural network robustness to
common corruptions and perturbations", with the constants that its code has for 32x32 images). Color cast and
uneven light are this project's own, because that benchmark has none: a lamp of another color as gains of red and blue
(von Kries 1902), and light that falls off along a row.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import get_args

import torch
from torch import Tensor

from normlab.config import ShiftName
from normlab.errors import DataError

# From severity 1 to 5.
CONSTANTS: dict[ShiftName, tuple[float, ...]] = {
    "brightness": (0.05, 0.1, 0.15, 0.2, 0.3),  # added to the value of HSV
    "contrast": (0.75, 0.5, 0.4, 0.3, 0.15),  # factor on the distance from the channel's mean
    "color_cast": (0.1, 0.2, 0.3, 0.4, 0.5),  # red times 1 - c, blue times 1 + c
    "uneven_light": (0.15, 0.3, 0.45, 0.6, 0.75),  # times 1 - c on the left to 1 + c on the right
}
SEVERITIES = range(1, 6)


def shifted(images: Tensor, name: ShiftName, severity: int) -> Tensor:
    """The images under a shift of the light, cut off at 0 and 255 and rounded.

    >>> grey = torch.full((1, 3, 1, 2), 100, dtype=torch.uint8)
    >>> shifted(grey, "brightness", 2)[0, :, 0, 0].tolist()  # 100 + 0.1 * 255
    [126, 126, 126]
    >>> shifted(grey, "color_cast", 5)[0, :, 0, 0].tolist()
    [50, 100, 150]
    >>> shifted(grey, "uneven_light", 5)[0, 0, 0].tolist()
    [25, 175]

    Args:
        images: uint8 [B, C, H, W].
        name: one of ``CONSTANTS``.
        severity: 1 to 5.

    Raises:
        DataError: for a color cast on images without three channels.
    """
    require_channels([name], images.shape[1])
    changed = CHANGES[name](images.float() / 255, CONSTANTS[name][severity - 1])
    return changed.clamp_(0, 1).mul_(255).round_().to(torch.uint8)


def require_channels(names: Sequence[ShiftName], channels: int) -> None:
    """Refuse shifts that need another number of channels.

    Args:
        names: of shifts.
        channels: of the uint8 images, before the normalization.

    Raises:
        DataError: for a color cast on images without three channels.
    """
    if "color_cast" in names and channels != 3:
        raise DataError(f"trainer.shifts: a color cast needs three channels; the images have {channels}")


def _brightness(u: Tensor, constant: float) -> Tensor:
    """Raise HSV's value, the largest channel; hue and saturation stay, so all channels grow by the same ratio."""
    value = u.amax(1, keepdim=True)
    brighter = (value + constant).clamp(max=1)
    return torch.where(value > 0, u * (brighter / value), brighter)


def _contrast(u: Tensor, constant: float) -> Tensor:
    mean = u.mean((2, 3), keepdim=True)
    return (u - mean) * constant + mean


def _color_cast(u: Tensor, constant: float) -> Tensor:
    return u * torch.tensor([1 - constant, 1.0, 1 + constant], device=u.device).reshape(3, 1, 1)


def _uneven_light(u: Tensor, constant: float) -> Tensor:
    return u * torch.linspace(1 - constant, 1 + constant, u.shape[3], device=u.device)


CHANGES: dict[ShiftName, Callable[[Tensor, float], Tensor]] = {
    "brightness": _brightness,
    "contrast": _contrast,
    "color_cast": _color_cast,
    "uneven_light": _uneven_light,
}
assert set(CHANGES) == set(CONSTANTS) == set(get_args(ShiftName))
