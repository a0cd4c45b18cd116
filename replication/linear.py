"""The linear model with squared error, in float64: whitening, standardization, and gradient descent in closed form."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor

Scheme = Literal["standardized", "whitened"]
RANK = 1e-10  # an eigenvalue below this share of the largest one is a direction in which the inputs do not vary


class Affine(NamedTuple):
    """(x - mean) @ matrix, for inputs x, [N, D]."""

    mean: Tensor
    matrix: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        """The transformed inputs, [N, D]."""
        return (x - self.mean) @ self.matrix


def fit(scheme: Scheme, x: Tensor, channels: int) -> Affine:
    """``standardized``: mean and standard deviation of each channel. ``whitened``: ZCA, without regularization.

    Directions in which the inputs do not vary, such as all but N - 1 if there are more features than images, are
    left out by ``whitened``.

    Args:
        scheme: which.
        x: training inputs, [N, channels * pixels], the channels one after the other.
        channels: of an image.
    """
    if scheme == "standardized":
        values = x.reshape(len(x), channels, -1).transpose(0, 1).flatten(1)
        mean, deviation = (
            each.repeat_interleave(x.shape[1] // channels) for each in (values.mean(1), values.std(1, correction=0))
        )
        return Affine(mean, torch.diag(1 / deviation))
    mean = x.mean(0)
    values, vectors = spectrum(x - mean)
    inverse = torch.where(values > RANK * values[-1], values.clamp(min=1e-300).rsqrt(), 0)
    return Affine(mean, (vectors * inverse) @ vectors.T)


def spectrum(x: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvalues [D], smallest first, and eigenvectors [D, D] of the second moments of inputs [N, D]."""
    values, vectors = torch.linalg.eigh(x.T @ x / len(x))
    return values, vectors


class Solution(NamedTuple):
    """Weights [D, outputs] and bias [outputs]."""

    weights: Tensor
    bias: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        """Scores, [N, outputs]."""
        return x @ self.weights + self.bias


def descend(x: Tensor, targets: Tensor, steps: Sequence[float]) -> list[Solution]:
    """Gradient descent from zero weights, after each number of steps; infinitely many give least squares.

    After k steps at the rate 1 / lambda_max, a direction with the second moment lambda has come
    1 - (1 - lambda / lambda_max)^k of its way to the solution of the least norm. The bias is the best one for the
    weights throughout, so that descent acts on inputs and targets less their means.

    Args:
        x: [N, D].
        targets: [N, outputs].
        steps: any numbers from 0 to infinity.
    """
    center, offset = x.mean(0), targets.mean(0)
    values, vectors = spectrum(x - center)
    moments = vectors.T @ ((x - center).T @ (targets - offset)) / len(x)
    varies = values > RANK * values[-1]
    solutions = []
    for count in steps:
        way = 1.0 if math.isinf(count) else 1 - (1 - values / values[-1]).clamp(0, 1) ** count
        inverse = torch.where(varies, way / values.clamp(min=1e-300), 0)
        weights = vectors @ (inverse[:, None] * moments)
        solutions.append(Solution(weights, offset - center @ weights))
    return solutions
