"""Images with a mean, a spectrum and a correlation chosen in advance, for theory with a known answer."""

from __future__ import annotations

import math
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from normlab.config import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from normlab.data.splits import Part, Source
from normlab.errors import DataError

Levels = Annotated[int, Field(ge=2, le=256)]


def planted(
    *,
    side: Annotated[int, Field(gt=0, le=64)] = 4,
    mean: tuple[float, float] = (96.0, 160.0),
    std: tuple[PositiveFloat, PositiveFloat] = (4.0, 64.0),
    common_std: NonNegativeFloat = 0.0,
    classes: PositiveInt = 4,
    repeats: PositiveInt = 16,
    source_seed: NonNegativeInt = 0,
) -> Source:
    """Grayscale images of D = side^2 independent features, whose covariance is known exactly.

    Feature j of an image is m_j + s_j h_j + s_0 h_0 with signs h = +-1. Over the training images the signs are the
    columns of a Hadamard matrix (Sylvester 1867), so that the mean is m and the covariance diag(s^2) + s_0^2 11',
    exactly, and with s_0 = 0 its condition number is (max s / min s)^2; m and s are rounded to whole numbers.
    Validation and test images have random signs.

    The class is the largest of ``classes`` random linear functions of the signs: a linear network can learn it.

    Args:
        side: of the images, in pixels, 64 at most.
        mean: first and last m_j; the others are spaced evenly between them.
        std: first and last s_j; the others are spaced geometrically between them.
        common_std: s_0, which correlates all features.
        classes: number of classes.
        repeats: training images as a multiple of the smallest Hadamard matrix that holds the features.
        source_seed: of the linear functions and the random signs.

    Raises:
        DataError: if a pixel would leave 0..255, or a standard deviation rounds to 0.
    """
    features = side**2
    m = torch.linspace(*mean, features).round()
    s = torch.logspace(math.log10(std[0]), math.log10(std[1]), features).round()
    s0 = round(common_std)
    if s.min() < 1:
        raise DataError(f"data=planted: data.std={list(std)} rounds to 0, a feature that is constant; begin at 1")
    low, high = (m - s - s0).min().item(), (m + s + s0).max().item()
    if low < 0 or high > 255:
        raise DataError(f"data=planted: pixels would run from {low:g} to {high:g}; lower data.std, or move data.mean")
    generator = torch.Generator().manual_seed(source_seed)
    order = 1 << (features + 1).bit_length()  # a power of two above D + 1: column 0 is constant, column D + 1 is h_0
    signs = hadamard(order)[torch.randperm(order, generator=generator)][:, 1 : features + 2]
    weights = torch.randn(features, classes, generator=generator)

    def part(h: Tensor) -> Part:
        own, shared = h[:, :features], h[:, features:]
        images = (m + s * own + s0 * shared).to(torch.uint8).reshape(-1, 1, side, side)
        return Part(images, (own @ weights).argmax(1))

    def random_part(count: int) -> Part:
        return part(torch.randint(0, 2, (count, features + 1), generator=generator).float() * 2 - 1)

    held_out = max(classes, order * repeats // 4)
    names = tuple(f"class {k}" for k in range(classes))
    return Source(names, part(signs.repeat(repeats, 1)), random_part(held_out), random_part(held_out))


def two_features(*, levels: tuple[Levels, Levels] = (8, 256)) -> Source:
    """Images of two gray pixels that are independent and uniform on 0..levels-1, once in every combination.

    So the moments are exact: E[x] = (n - 1)/2, E[x^2] = (n - 1)(2n - 1)/6, and E[x1 x2] = E[x1] E[x2]. The class is
    whether x1/(n1 - 1) + x2/(n2 - 1) exceeds 1: both features matter equally, on different scales. Validation and
    test are the same images.

    Args:
        levels: n1 and n2, 2 to 256.
    """
    first, second = (grid.flatten() for grid in torch.meshgrid(*(torch.arange(n) for n in levels), indexing="ij"))
    images = torch.stack([first, second], 1).to(torch.uint8).reshape(-1, 1, 1, 2)
    above = first * (levels[1] - 1) + second * (levels[0] - 1) > (levels[0] - 1) * (levels[1] - 1)
    part = Part(images, above.long())
    return Source(("below", "above"), part, part, part)


def hadamard(order: int) -> Tensor:
    """Hadamard matrix of Sylvester's construction, entries +-1, float [order, order].

    >>> hadamard(2)
    tensor([[ 1.,  1.],
            [ 1., -1.]])

    Args:
        order: a power of two.
    """
    matrix = torch.ones(1, 1)
    while len(matrix) < order:
        matrix = torch.cat([torch.cat([matrix, matrix], 1), torch.cat([matrix, -matrix], 1)])
    return matrix
