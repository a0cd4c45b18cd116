"""The Hessian of the linear model, and its spectrum.

For outputs W x~ with x~ = [x; 1] and the loss 1/2 mean |W x~ - y|^2, each output has the same Hessian, the second
moments S = (1/N) sum x~ x~' (LeCun et al. 1998, "Efficient BackProp", section 5.1). Its condition number determines
how fast gradient descent is, and its largest eigenvalue how large the learning rate may be.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass

import torch
from torch import Tensor

from normlab.errors import DataError
from normlab.norms import Normalization, normalization
from normlab.theory.moments import (
    MAX_FEATURES,
    Moments,
    is_affine,
    moments_under,
    raw_moments,
    require_dense,
    streamed_moments,
    with_ones,
)


@dataclass(frozen=True)
class Spectrum:
    """Eigenvalues of a symmetric positive semi-definite matrix, and the numbers that follow from them.

    Attributes:
        eigenvalues: float64 [D], in falling order; rounding may make some negative if the matrix is singular.
        threshold: an eigenvalue at or below it counts as zero.
    """

    eigenvalues: Tensor
    threshold: float

    @property
    def rank(self) -> int:
        """Number of eigenvalues above the threshold."""
        return int((self.eigenvalues > self.threshold).sum())

    @property
    def lambda_max(self) -> float:
        """The largest eigenvalue, or 0."""
        return max(0.0, self.eigenvalues[0].item())

    @property
    def lambda_min(self) -> float:
        """The smallest eigenvalue above the threshold: the smallest on the matrix's range. NaN for a zero matrix."""
        return self.eigenvalues[self.rank - 1].item() if self.rank else math.nan

    @property
    def condition_number(self) -> float:
        """lambda_max / lambda_min, on the range; at least 1. NaN for a zero matrix."""
        return self.lambda_max / self.lambda_min

    @property
    def full_condition_number(self) -> float:
        """The condition number if the rank is full, else infinite."""
        return self.condition_number if self.rank == len(self.eigenvalues) else math.inf


def spectrum(matrix: Tensor, samples: int = 1) -> Spectrum:
    """Spectrum of a symmetric positive semi-definite matrix, by the dense solver in float64.

    >>> singular = spectrum(torch.diag(torch.tensor([4.0, 1.0, 0.0])))
    >>> singular.rank, singular.condition_number, singular.full_condition_number
    (2, 4.0, inf)

    Args:
        matrix: [D, D].
        samples: N, over which the matrix was averaged; see :func:`threshold`.

    Raises:
        DataError: if an entry is not finite.
    """
    _require_finite(matrix)
    eigenvalues = torch.linalg.eigvalsh(matrix.to(torch.float64)).flip(0)
    return Spectrum(eigenvalues, threshold(eigenvalues, samples))


def threshold(eigenvalues: Tensor, samples: int) -> float:
    """lambda_max * max(D, N) * 2^-52: the size that rounding may give to an eigenvalue that is zero.

    numpy.linalg.matrix_rank has the same rule for the singular values of an N x D matrix.

    Args:
        eigenvalues: [D].
        samples: N.
    """
    return max(0.0, eigenvalues.max().item()) * max(len(eigenvalues), samples) * torch.finfo(torch.float64).eps


def linear_hessian(images: Tensor, norm: str | Normalization | None = None, bias: bool = True) -> Spectrum:
    """Spectrum of the linear model's Hessian on these images under a normalization.

    >>> x = torch.tensor([[-1.0, 2.0], [1.0, 2.0], [-1.0, -2.0], [1.0, -2.0]])
    >>> linear_hessian(x, bias=False).condition_number
    4.0

    Args:
        images: inputs [N, C, *positions], see :mod:`normlab.inputs`; or, without a normalization, features [N, D] of
            any real type.
        norm: the config name of a scheme, which is then fitted on these images; or a fitted scheme.
        bias: whether the model has a bias.

    Raises:
        ConfigError: for an unknown scheme.
        DataError: for no images, features that are not finite, or more features and more images than a dense matrix
            can hold.
    """
    if norm is None:
        moments = _feature_moments(images)
    else:
        scheme = normalization(norm).fit(images.split(256)) if isinstance(norm, str) else norm
        if len(images) < images[0].numel():
            return _of_few(images, scheme, bias)
        moments = image_moments(images, scheme)
    return spectrum(moments.second_moment(bias), moments.count)


def _of_few(images: Tensor, norm: Normalization, bias: bool) -> Spectrum:
    """The spectrum of S = X~'X~/N from the smaller X~X~'/N [N, N]: the same eigenvalues but for zeros."""
    norm = copy.deepcopy(norm).double()
    with torch.no_grad():
        x = torch.cat([norm(part).flatten(1) for part in images.split(256)])
    if len(x) > MAX_FEATURES:  # the matrix that is built is N x N; there may be any number of features
        require_dense(x.shape[1])
    if bias:
        x = with_ones(x)
    few = spectrum(x @ x.T / len(x)).eigenvalues
    eigenvalues = torch.cat([few, few.new_zeros(x.shape[1] - len(x))]).sort(descending=True).values
    return Spectrum(eigenvalues, threshold(eigenvalues, len(x)))


def image_moments(images: Tensor, norm: Normalization) -> Moments:
    """Moments of unlabeled inputs [N, C, *positions] under a fitted scheme."""
    batches = [(batch, torch.zeros(len(batch), dtype=torch.int64)) for batch in images.split(256)]
    if not is_affine(norm):
        return streamed_moments(batches, norm, 1)
    if not norm.has_range:  # constants, without the range of a type yet
        norm = copy.deepcopy(norm).fit([images[:1]])
    return moments_under(norm, *raw_moments(batches, 1, (norm.black.item(), norm.white.item())))


def _feature_moments(features: Tensor) -> Moments:
    if features.ndim != 2 or not len(features):
        raise DataError(f"expected features [N, D], not {list(features.shape)}; for images, name a normalization")
    require_dense(features.shape[1])
    x = features.to(torch.float64)
    _require_finite(x)
    mean = x.mean(0)
    centered = x - mean
    return Moments(len(x), mean, centered.T @ centered / len(x), x.new_zeros(x.shape[1], 1), x.new_zeros(1))


def _require_finite(values: Tensor) -> None:
    if not values.isfinite().all():
        place = (~values.isfinite()).nonzero()[0].tolist()
        raise DataError(f"the value at {place} is not finite; theory needs finite inputs")
