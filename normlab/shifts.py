"""Shifts of test inputs, at five severities: of the light, of the microphone, of the sensor.

Images: brightness, contrast, color cast and uneven light.

Brightness and contrast are those of CIFAR-10-C (Hendrycks & Dietterich 2019, "Benchmarking neural network robustness to
common corruptions and perturbations", with the constants that its code has for 32x32 images). Color cast and
uneven light are this project's own, because that benchmark has none: a lamp of another color as gains of red and blue
(von Kries 1902), and light that falls off along a row.

Recordings: a gain of each recording's own, drawn evenly from -c to c decibels; another microphone, whose response
rises in a straight line from -c decibels at 0 Hz to c at half the rate; white noise c decibels below the recording.
Nothing is cut off, as if the converter had the range for it.

Series: a level, c standard deviations of the channel added to every value; and a scale, every value times c. The
standard deviation is that of the batch, over samples and steps.
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
    "gain": (4.0, 8.0, 12.0, 16.0, 20.0),  # decibels
    "microphone": (3.0, 6.0, 9.0, 12.0, 15.0),  # decibels
    "noise": (30.0, 20.0, 15.0, 10.0, 5.0),  # decibels below the recording
    "level": (0.5, 1.0, 2.0, 3.0, 5.0),  # standard deviations of the channel
    "scale": (1.25, 1.5, 2.0, 3.0, 5.0),
}
# The kind of inputs (see normlab.data.Source) that a shift is for.
KINDS: dict[ShiftName, str] = {
    "brightness": "images",
    "contrast": "images",
    "color_cast": "images",
    "uneven_light": "images",
    "gain": "audio",
    "microphone": "audio",
    "noise": "audio",
    "level": "series",
    "scale": "series",
}
SEVERITIES = range(1, 6)


def shifted(inputs: Tensor, name: ShiftName, severity: int) -> Tensor:
    """The inputs under a shift; images are cut off at 0 and 255 and rounded.

    >>> grey = torch.full((1, 3, 1, 2), 100, dtype=torch.uint8)
    >>> shifted(grey, "brightness", 2)[0, :, 0, 0].tolist()  # 100 + 0.1 * 255
    [126, 126, 126]
    >>> shifted(grey, "color_cast", 5)[0, :, 0, 0].tolist()
    [50, 100, 150]
    >>> shifted(grey, "uneven_light", 5)[0, 0, 0].tolist()
    [25, 175]
    >>> shifted(torch.tensor([[[1.0, 2.0]]]), "scale", 3).tolist()
    [[[2.0, 4.0]]]

    Args:
        inputs: images uint8 [B, C, H, W]; recordings or series float32 [B, C, T].
        name: one of ``CONSTANTS``.
        severity: 1 to 5.

    Raises:
        DataError: for a color cast on images without three channels.
    """
    constant = CONSTANTS[name][severity - 1]
    if KINDS[name] != "images":
        return CHANGES[name](inputs, constant)
    require_suitable([name], "images", inputs.shape[1])
    changed = CHANGES[name](inputs.float() / 255, constant)
    return changed.clamp_(0, 1).mul_(255).round_().to(torch.uint8)


def require_suitable(names: Sequence[ShiftName], kind: str, channels: int) -> None:
    """Refuse shifts that are for another kind of inputs, or for another number of channels.

    Args:
        names: of shifts.
        kind: of the inputs, as in :class:`normlab.data.Source`.
        channels: of the inputs, before the normalization.

    Raises:
        DataError: for a shift of another kind, or for a color cast on images without three channels.
    """
    for name in names:
        if KINDS[name] != kind:
            own = [other for other in CONSTANTS if KINDS[other] == kind]
            choice = f"choose from {', '.join(own)}" if own else "there are none for these"
            raise DataError(f"trainer.shifts: {name} is for {KINDS[name]}; the inputs are {kind}: {choice}")
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


def _gain(waveforms: Tensor, constant: float) -> Tensor:
    # The same draws for every batch and every scheme, so that schemes are compared under the same gains.
    shares = torch.rand(len(waveforms), generator=torch.Generator().manual_seed(0)) * 2 - 1
    return waveforms * (10 ** (shares * constant / 20)).to(waveforms.device)[:, None, None]


def _microphone(waveforms: Tensor, constant: float) -> Tensor:
    spectrum = torch.fft.rfft(waveforms.double())
    decibels = torch.linspace(-constant, constant, spectrum.shape[-1], device=waveforms.device, dtype=torch.float64)
    return torch.fft.irfft(spectrum * 10 ** (decibels / 20), n=waveforms.shape[-1]).to(waveforms.dtype)


def _noise(waveforms: Tensor, constant: float) -> Tensor:
    noise = torch.randn(waveforms.shape, generator=torch.Generator().manual_seed(0)).to(waveforms.device)
    power = waveforms.square().mean((1, 2), keepdim=True)
    return waveforms + noise * power.sqrt() * 10 ** (-constant / 20)


def _level(series: Tensor, constant: float) -> Tensor:
    return series + constant * series.std((0, 2), correction=0, keepdim=True)


def _scale(series: Tensor, constant: float) -> Tensor:
    return series * constant


CHANGES: dict[ShiftName, Callable[[Tensor, float], Tensor]] = {
    "brightness": _brightness,
    "contrast": _contrast,
    "color_cast": _color_cast,
    "uneven_light": _uneven_light,
    "gain": _gain,
    "microphone": _microphone,
    "noise": _noise,
    "level": _level,
    "scale": _scale,
}
assert set(CHANGES) == set(CONSTANTS) == set(KINDS) == set(get_args(ShiftName))
