"""Moments of a labeled data set under a normalization, on which alone the linear model's loss depends."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from normlab.errors import DataError
from normlab.inputs import check_finite, check_inputs, range_of_type
from normlab.norms import Affine, Learned, Normalization, Whitening
from normlab.norms.base import over_features
from normlab.norms.moments import SecondMoment

MAX_FEATURES = 8192  # a dense matrix of this size takes 0.5 GiB, its eigenvectors 0.5 GiB and minutes


@dataclass(frozen=True)
class Moments:
    """Moments of inputs x [D] and one-hot targets y [C], float64.

    Attributes:
        count: N, samples.
        mean: E[x], [D].
        covariance: E[(x - mean)(x - mean)'], [D, D].
        cross: E[(x - mean) y'], [D, C].
        targets: E[y], [C].
        energy: E[|y|^2]; 1 for one-hot targets.
    """

    count: int
    mean: Tensor
    covariance: Tensor
    cross: Tensor
    targets: Tensor
    energy: float = 1.0

    def second_moment(self, bias: bool) -> Tensor:
        """S = E[x~ x~'] with x~ = [x; 1] if there is a bias, else x; [D + 1, D + 1] or [D, D]."""
        matrix = self.covariance + torch.outer(self.mean, self.mean)
        if not bias:
            return matrix
        with_ones = torch.cat([matrix, self.mean[None]])
        return torch.cat([with_ones, torch.cat([self.mean, self.mean.new_ones(1)])[:, None]], 1)

    def cross_moment(self, bias: bool) -> Tensor:
        """E[x~ y'], [D + 1, C] or [D, C]."""
        matrix = self.cross + torch.outer(self.mean, self.targets)
        return torch.cat([matrix, self.targets[None]]) if bias else matrix

    def mapped(self, scale: Tensor, shift: Tensor) -> Moments:
        """Moments of scale * x + shift, elementwise, [D'] each; D' is D, a multiple of D for repeated channels."""
        times = len(scale) // len(self.mean)
        mean, cross = self.mean.repeat(times), self.cross.repeat(times, 1)
        covariance = self.covariance.repeat(times, times)
        return Moments(
            self.count,
            scale * mean + shift,
            scale[:, None] * covariance * scale,
            scale[:, None] * cross,
            self.targets,
            self.energy,
        )

    def transformed(self, matrix: Tensor, center: Tensor) -> Moments:
        """Moments of matrix (x - center)."""
        return Moments(
            self.count,
            matrix @ (self.mean - center),
            matrix @ self.covariance @ matrix.T,
            matrix @ self.cross,
            self.targets,
            self.energy,
        )


def with_ones(features: Tensor) -> Tensor:
    """x~ = [x; 1]: the features [N, D], and a column of ones for the bias, [N, D + 1].

    >>> with_ones(torch.tensor([[3.0, 5.0]]))
    tensor([[3., 5., 1.]])
    """
    return torch.cat([features, features.new_ones(len(features), 1)], 1)


def raw_moments(
    batches: Iterable[tuple[Tensor, Tensor]], classes: int, range_: tuple[float, float] | None = None
) -> tuple[Moments, tuple[int, ...]]:
    """Moments of u in one pass over inputs, of 8 and 16 bits from exact integer sums; and the inputs' shape.

    Args:
        batches: inputs [B, C, *positions], and labels int64 [B] or (of regression, with one class) float32 [B].
        classes: number of classes; of regression 1, and y is the label itself.
        range_: black and white; None: by the type of the inputs.

    Raises:
        DataError: if there are no inputs, some are not finite, or they have more than MAX_FEATURES features.
    """
    sums: SecondMoment | None = None
    by_class, counts = torch.zeros(classes, 0, dtype=torch.float64), torch.zeros(classes, dtype=torch.float64)
    shape: tuple[int, ...] = ()
    energy = 0.0
    black, white = range_ or (0.0, 1.0)
    for inputs, labels in batches:
        check_inputs(inputs)
        check_finite(inputs)
        rows = inputs.flatten(1)
        if sums is None:
            shape = tuple(inputs.shape[1:])
            black, white = range_ or range_of_type(inputs.dtype)
            require_dense(rows.shape[1])
            sums, by_class = SecondMoment(rows), torch.zeros(classes, rows.shape[1], dtype=torch.float64)
        else:
            sums += SecondMoment(rows)
        if labels.is_floating_point():
            by_class += labels.double()[None] @ rows.double()
            counts += labels.double().sum()
            energy += labels.double().square().sum().item()
        else:
            by_class.index_add_(0, labels, rows.double())
            counts += torch.bincount(labels, minlength=classes)
            energy += len(labels)
    if sums is None:
        raise DataError("no images")
    mean, covariance = sums.statistics(black, white - black)
    targets = counts / sums.rows
    cross = (by_class.T - black * counts) / ((white - black) * sums.rows) - torch.outer(mean, targets)
    return Moments(sums.rows, mean, covariance, cross, targets, energy / sums.rows), shape


def require_dense(features: int) -> None:
    """Refuse a dense matrix that does not fit into memory.

    Raises:
        DataError: for more than MAX_FEATURES features; says what to do instead.
    """
    if features > MAX_FEATURES:
        raise DataError(
            f"{features} features: a dense Hessian would take {features**2 * 8 / 2**30:.0f} GiB. Give a smaller "
            f"data.image_size (at most {MAX_FEATURES} features), or compute the largest eigenvalues only, with "
            f"normlab.theory.lanczos"
        )


def is_affine(norm: Normalization) -> bool:
    """Whether the scheme is an affine map of the whole image, so that its moments follow from those of u."""
    return isinstance(norm, Affine | Learned) or (isinstance(norm, Whitening) and not norm.patch)


def moments_under(norm: Normalization, raw: Moments, shape: tuple[int, ...]) -> Moments:
    """Moments of normalized inputs from those of u, for a scheme that :func:`is_affine`.

    Args:
        norm: fitted.
        raw: of u, in the range of the scheme.
        shape: C and positions of the inputs.

    Raises:
        DataError: for inputs of a shape that the scheme does not take.
    """
    norm = copy.deepcopy(norm).double()
    if isinstance(norm, Affine):
        norm.require_shape(torch.empty(0, *shape))  # such as three constants for a table of 13 columns
    if isinstance(norm, Affine | Learned):
        scale, shift = (over_features(value.detach().double(), shape).flatten() for value in (norm.scale, norm.shift))
        black = norm.black if norm.has_range else 0.0
        return raw.mapped(norm.span * scale, shift + black * scale)
    assert isinstance(norm, Whitening)
    return raw.transformed(norm.matrix, norm.center)


def streamed_moments(batches: Iterable[tuple[Tensor, Tensor]], norm: Normalization, classes: int) -> Moments:
    """Moments of normalized inputs in one pass, in float64, for any scheme.

    Args:
        batches: inputs and labels as in :func:`raw_moments`.
        norm: fitted.
        classes: number of classes.
    """
    norm = copy.deepcopy(norm).double()  # a copy, because the network keeps its own precision
    count, total = 0, torch.zeros(0)
    products, cross, targets = torch.zeros(0), torch.zeros(0), torch.zeros(classes, dtype=torch.float64)
    energy = 0.0
    with torch.no_grad():
        for images, labels in batches:
            x = norm(images).flatten(1)
            y = labels.double()[:, None] if labels.is_floating_point() else F.one_hot(labels, classes).double()
            if count == 0:
                require_dense(x.shape[1])
                total = x.new_zeros(x.shape[1])
                products, cross = x.new_zeros(x.shape[1], x.shape[1]), x.new_zeros(x.shape[1], classes)
            count += len(x)
            total += x.sum(0)
            products.addmm_(x.T, x)
            cross.addmm_(x.T, y)
            targets += y.sum(0)
            energy += y.square().sum().item()
    if count == 0:
        raise DataError("no images")
    mean, targets = total / count, targets / count
    covariance = products / count - torch.outer(mean, mean)
    return Moments(count, mean, covariance, cross / count - torch.outer(mean, targets), targets, energy / count)
