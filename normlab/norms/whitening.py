"""PCA and ZCA whitening."""

from __future__ import annotations

import logging
import math
from typing import Any

import torch
from torch import Tensor

from normlab.config import NonNegativeFloat, PositiveInt
from normlab.errors import DataError
from normlab.norms.base import Normalization
from normlab.norms.moments import SecondMoment

log = logging.getLogger(__name__)


class Whitening(Normalization):
    """PCA: L^-1/2 U'(u - m). ZCA: U L^-1/2 U'(u - m), with U L U' the covariance of the training images.

    Bell & Sejnowski 1997, "The independent components of natural scenes are edge filters", section 3, for ZCA;
    Krizhevsky 2009, "Learning multiple layers of features from tiny images", appendix A, for its use on images.

    Args:
        rotate_back: True for ZCA, whose result is the whitened image that is nearest to the image. False for PCA, whose
            output features are components in falling order of variance, laid out as [C, H, W], with the sign that makes
            the largest entry of each eigenvector positive.
        eps: added to every eigenvalue, as a share of the largest one.
        patch: side in pixels of the squares that are whitened, all by one matrix; None whitens whole images.

    The matrix is dense, so features (C * H * W, or C * patch^2) are limited to MAX_FEATURES.
    """

    MAX_FEATURES = 8192

    center: Tensor
    matrix: Tensor

    def __init__(self, *, rotate_back: bool, eps: NonNegativeFloat = 1e-5, patch: PositiveInt | None = None) -> None:
        super().__init__()
        self.rotate_back, self.eps, self.patch = rotate_back, eps, patch
        self.register_buffer("center", torch.zeros(0, dtype=torch.float64))  # [D], units of u
        self.register_buffer("matrix", torch.zeros(0, dtype=torch.float64))  # [D, D], output = matrix (u - center)
        self.rank: int | None = None
        self._cast: Tensor | None = None  # in the type of the arithmetic: casting takes longer than multiplying

    def summarize(self, inputs: Tensor) -> SecondMoment:  # noqa: D102
        rows = self._rows(inputs)
        if (features := rows.shape[1]) > self.MAX_FEATURES:
            raise DataError(
                f"whitening {features} features needs a matrix of {features**2 * 8 / 2**30:.0f} GiB: "
                f"give norm.patch=8, or a smaller data.image_size (at most {self.MAX_FEATURES} features)"
            )
        return SecondMoment(rows)

    def finish(self, summary: SecondMoment, shape: torch.Size) -> None:  # noqa: D102
        mean, covariance = summary.statistics(*self.ends)
        rows = summary.rows
        values, vectors = torch.linalg.eigh(covariance)
        values, vectors = values.flip(0), vectors.flip(1)  # falling order
        features, largest = len(values), values[0].item()
        # numpy.linalg.matrix_rank's rule: an eigenvalue at or below the threshold is rounding.
        threshold = max(largest, 0.0) * features * torch.finfo(torch.float64).eps
        self.rank = int((values > threshold).sum())
        if largest <= 0:
            raise DataError("whitening needs images that differ; all of these are equal")
        if self.rank < features:
            why = f"{rows} samples of {features} features" if rows <= features else "constant or dependent features"
            if self.eps == 0:
                raise DataError(
                    f"the covariance has rank {self.rank} of {features} ({why}), and norm.eps=0 divides by zero: "
                    f"use norm.eps=1e-5, more images, or norm.patch"
                )
            log.warning(
                "%s: rank %d of %d (%s); norm.eps=%g bounds the scale of the other directions",
                "zca" if self.rotate_back else "pca",
                self.rank,
                features,
                why,
                self.eps,
            )
        signs = vectors.gather(0, vectors.abs().argmax(0, keepdim=True)).sign()
        vectors = vectors * signs
        weights = (values.clamp(min=0) + self.eps * largest).rsqrt()
        self._cast = None
        self.center = mean
        self.matrix = (vectors * weights) @ vectors.T if self.rotate_back else weights[:, None] * vectors.T

    def normalize(self, inputs: Tensor) -> Tensor:
        """[B, C, *positions] to floats of the same shape."""
        dtype = self.working_type(inputs)
        rows = self._rows(inputs).to(dtype) / self.span
        if rows.shape[1] != len(self.center):
            raise DataError(f"fitted on {len(self.center)} features, given inputs {list(inputs.shape[1:])}")
        if self._cast is None or self._cast.dtype != dtype or self._cast.device != self.matrix.device:
            self._cast = self.matrix.to(dtype)
        white = (rows - (self.center + self.black / self.span).to(dtype)) @ self._cast.T
        return self._inputs(white, inputs.shape)

    def _load_from_state_dict(self, *arguments: Any) -> None:
        self._cast = None
        super()._load_from_state_dict(*arguments)

    def _require_patches(self, positions: tuple[int, ...]) -> None:
        if self.patch and (len(positions) != 2 or any(side % self.patch for side in positions)):
            size = "x".join(map(str, positions))
            raise DataError(f"norm.patch={self.patch} does not divide images of {size} pixels")

    def _rows(self, inputs: Tensor) -> Tensor:
        """[B, C, *positions] to [B, D], or to one row for each patch, [B * patches, C * patch^2]."""
        if not self.patch:
            return inputs.flatten(1)
        self._require_patches(inputs.shape[2:])
        batch, channels, height, width = inputs.shape
        p = self.patch
        cut = inputs.reshape(batch, channels, height // p, p, width // p, p)
        return cut.permute(0, 2, 4, 1, 3, 5).reshape(-1, channels * p * p)

    def _inputs(self, rows: Tensor, shape: torch.Size) -> Tensor:
        """The inverse of :meth:`_rows`."""
        if not self.patch:
            return rows.reshape(shape)
        batch, channels, height, width = shape
        p = self.patch
        cut = rows.reshape(batch, height // p, width // p, channels, p, p)
        return cut.permute(0, 3, 1, 4, 2, 5).reshape(shape)

    def extra_repr(self) -> str:  # noqa: D102
        side = int(math.sqrt(self.matrix.numel()))
        return f"rotate_back={self.rotate_back}, eps={self.eps}, patch={self.patch}, features={side}"
