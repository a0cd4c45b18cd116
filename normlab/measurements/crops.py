"""Crops that are normalized by their own statistics: the change of brightness and contrast between two crops.

Claim A16.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from normlab.config import data_label
from normlab.data import dataset
from normlab.measurements.registry import measurement
from normlab.norms import Normalization
from normlab.norms.schemes import per_image


@dataclass(frozen=True)
class Crop:
    """A square part of an image, rows top to top + side, columns left to left + side."""

    top: int
    left: int
    side: int

    def of(self, image: Tensor) -> Tensor:
        """The part of an image [C, H, W]."""
        return image[:, self.top : self.top + self.side, self.left : self.left + self.side]

    def shared(self, other: Crop) -> tuple[slice, slice]:
        """The rows and columns of the image that both crops contain."""
        ends = [
            (max(a, b), min(a + self.side, b + other.side)) for a, b in ((self.top, other.top), (self.left, other.left))
        ]
        (top, bottom), (left, right) = ends
        return slice(top, max(top, bottom)), slice(left, max(left, right))


def crop_pair(height: int, width: int, shares: tuple[float, float], generator: torch.Generator) -> tuple[Crop, Crop]:
    """Two random square crops that contain one random pixel.

    Args:
        height: of the image, in pixels.
        width: of the image, in pixels.
        shares: the smallest and the largest share of the image's area (of its central square) in a crop, drawn
            uniformly.
        generator: of the draws.
    """

    def below(n: int) -> int:
        return int(torch.randint(n, (), generator=generator))

    y, x = below(height), below(width)
    crops = []
    for _ in range(2):
        share = shares[0] + (shares[1] - shares[0]) * float(torch.rand((), generator=generator))
        side = max(1, round(min(height, width) * math.sqrt(share)))
        # All positions of the crop that contain the pixel are equally likely.
        first = [max(0, place - side + 1) for place in (y, x)]
        last = [min(place, length - side) for place, length in ((y, height), (x, width))]
        top, left = (low + below(high - low + 1) for low, high in zip(first, last, strict=True))
        crops.append(Crop(top, left, side))
    return crops[0], crops[1]


def contrast_and_brightness(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """The contrast and brightness that map pixels normalized with the first crop to those normalized with the second.

    (x - m2)/s2 = (s1/s2) (x - m1)/s1 + (m1 - m2)/s2.

    >>> one, other = torch.tensor([[[0.0, 2.0]]]), torch.tensor([[[2.0, 6.0]]])
    >>> contrast, brightness = contrast_and_brightness(one, other)  # m 1 and 4, s 1 and 2
    >>> contrast.item(), brightness.item()
    (0.5, -1.5)

    Args:
        first: float [C, H, W], pixels of a crop.
        second: float [C, H, W], pixels of the other crop.

    Returns:
        s1/s2 and (m1 - m2)/s2 over all channels; for one channel, pass crops with that channel only.
    """
    deviations = [crop.std(correction=0) for crop in (first, second)]
    return deviations[0] / deviations[1], (first.mean() - second.mean()) / deviations[1]


def best_affine_residual(inputs: Tensor, outputs: Tensor) -> float:
    """Residual of the best fit a * inputs + b: its root mean square over the standard deviation of the outputs.

    >>> best_affine_residual(torch.tensor([0.0, 1.0, 2.0]), torch.tensor([5.0, 7.0, 9.0])) < 1e-6
    True

    Args:
        inputs: float, any shape.
        outputs: float, the same shape.

    Returns:
        NaN if all outputs are equal.
    """
    x, y = inputs.flatten() - inputs.mean(), outputs.flatten() - outputs.mean()
    slope = (x @ y) / (x @ x)
    return ((y - slope * x).norm() / y.norm()).item()


@measurement
def crop_relations(
    *,
    data: dict[str, Any],
    shares: tuple[float, float] = (0.08, 1.0),
    eps: Sequence[float] = (0.0, 1e-6, 1e-2),
    clips: Sequence[float] = (0.0, 20.0, 2.0),
    pairs: int = 500,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Whether two crops of one image, each normalized by its own statistics, differ by one brightness and contrast.

    Args:
        data: options of :func:`normlab.dataset`; its training images are cropped in turn.
        shares: see :func:`crop_pair`.
        eps: added to the standard deviation, in units of u = x/255.
        clips: largest absolute output; 0 for none.
        pairs: of crops. A pair whose shared part is constant in a channel is drawn again.
        seed: of the crops.

    Returns:
        A row for each of per_image and per_image_channel, eps and clip, over the pixels that both crops contain:
        ``formula_error``, the largest distance over pairs between the second crop and the first one
        changed by :func:`contrast_and_brightness` (channel by channel if per channel), in units of the normalized
        images; ``residual``, the largest over pairs of :func:`best_affine_residual` with all channels in one
        fit, ``median_residual``, its median, and ``channel_residual``, the largest with a fit for each channel;
        ``clipped``, the share of shared pixels that are clipped. In float64.
    """
    drawn = _pairs(data, shares, pairs, seed)
    rows = []
    for per_channel in (False, True):
        for offset in eps:
            for clip in clips:
                norm = per_image(per_channel=per_channel, eps=offset, clip=clip or None).double()
                error, by_channel, clipped, residuals = 0.0, 0.0, 0.0, []
                for image, first, second in drawn:
                    a, b = _shared(norm, image, first, second)
                    u = image.double() / 255
                    groups = [slice(c, c + 1) for c in range(len(u))] if per_channel else [slice(None)]
                    for group in groups:
                        contrast, brightness = contrast_and_brightness(first.of(u[group]), second.of(u[group]))
                        error = max(error, (b[group] - contrast * a[group] - brightness).abs().max().item())
                    residuals.append(best_affine_residual(a, b))
                    by_channel = max([by_channel, *(best_affine_residual(a[c], b[c]) for c in range(len(u)))])
                    if clip:
                        clipped += ((a.abs() >= clip) | (b.abs() >= clip)).double().mean().item() / len(drawn)
                rows.append(
                    {
                        "data": data_label(data),
                        "norm": "per_image_channel" if per_channel else "per_image",
                        "eps": offset,
                        "clip": clip,
                        "pairs": len(drawn),
                        "formula_error": error,
                        "residual": max(residuals),
                        "median_residual": statistics.median(residuals),
                        "channel_residual": by_channel,
                        "clipped": clipped,
                    }
                )
    return rows


@measurement
def implied_changes(
    *, data: dict[str, Any], shares: tuple[float, float] = (0.08, 1.0), pairs: int = 2000, seed: int = 0
) -> list[dict[str, Any]]:
    """Size of the change of brightness and contrast between two crops of one image.

    Each crop has its own statistics over all channels. The sizes are those of torchvision's RandomResizedCrop, but the
    crops are square and not resized.

    Returns:
        One row: over pairs, ``median_contrast``, the median of max(s1, s2)/min(s1, s2); ``contrast_5`` and
        ``contrast_95``, quantiles of s1/s2; ``median_brightness``, the median of the absolute (m1 - m2)/s2, in
        standard deviations of a crop; ``brightness_5`` and ``brightness_95``; ``over_20_percent``, the share of pairs
        whose contrast differs by more than a fifth.
    """
    drawn = _pairs(data, shares, pairs, seed)
    changes = [contrast_and_brightness(*(crop.of(image.double()) for crop in crops)) for image, *crops in drawn]
    contrast, brightness = (torch.stack(values) for values in zip(*changes, strict=True))
    larger = torch.maximum(contrast, 1 / contrast)
    ends = torch.tensor([0.05, 0.95], dtype=torch.float64)
    row = {"data": data_label(data), "smallest_share": shares[0], "largest_share": shares[1], "pairs": len(drawn)}
    row |= {"median_contrast": larger.median().item(), "over_20_percent": (larger > 1.2).double().mean().item()}
    row |= {"median_brightness": brightness.abs().median().item()}
    for name, values in (("contrast", contrast), ("brightness", brightness)):
        low, high = values.quantile(ends).tolist()
        row |= {f"{name}_5": low, f"{name}_95": high}
    return [row]


def _pairs(data: dict[str, Any], shares: tuple[float, float], pairs: int, seed: int) -> list[tuple[Tensor, Crop, Crop]]:
    images = dataset(**data).train.images
    generator = torch.Generator().manual_seed(seed)
    drawn: list[tuple[Tensor, Crop, Crop]] = []
    attempt = 0
    while len(drawn) < pairs and attempt < 10 * pairs:
        image = images[attempt % len(images)]
        attempt += 1
        first, second = crop_pair(image.shape[1], image.shape[2], shares, generator)
        shared = image[(slice(None), *first.shared(second))].flatten(1)
        if (shared.amax(1) > shared.amin(1)).all():
            drawn.append((image, first, second))
    return drawn


def _shared(norm: Normalization, image: Tensor, first: Crop, second: Crop) -> tuple[Tensor, Tensor]:
    """The pixels that both crops contain, normalized with the first and with the second crop, [C, h, w] each."""
    whole = torch.full((2, *image.shape), math.nan, dtype=torch.float64)
    for place, crop in enumerate((first, second)):
        crop.of(whole[place])[:] = norm(crop.of(image)[None])[0]
    rows, columns = first.shared(second)
    return whole[0][:, rows, columns], whole[1][:, rows, columns]
