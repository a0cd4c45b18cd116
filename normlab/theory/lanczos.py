"""Largest eigenvalues of the linear model's Hessian where a dense one does not fit: products with vectors only."""

from __future__ import annotations

import copy

import numpy as np
import torch
from torch import Tensor

from normlab.data import Split
from normlab.errors import DataError
from normlab.norms import Normalization


def largest_eigenvalues(
    split: Split, norm: Normalization, count: int = 1, bias: bool = True, tolerance: float = 1e-6
) -> Tensor:
    """The largest eigenvalues of S = (1/N) sum x~ x~', by Lanczos (ARPACK), in falling order.

    Each product S v = (1/N) sum x~ (x~' v) is one pass over the images, which may stream; nothing of size D^2 is held.
    Only the upper end of the spectrum is to be had so: the smallest eigenvalues of a singular matrix are not reliable
    this way.

    Args:
        split: images.
        norm: fitted.
        count: of eigenvalues, below the number of features.
        bias: whether the model has a bias.
        tolerance: at which ARPACK stops; where eigenvalues cluster, as after whitening, they may be off by a few times
            as much.

    Returns:
        float64 [count].

    Raises:
        DataError: if there are not more features than eigenvalues asked for.
    """
    from scipy.sparse.linalg import LinearOperator, eigsh

    norm = copy.deepcopy(norm).double()
    with torch.no_grad():
        features = norm(next(iter(split.batches(1)))[0]).numel() + bias
    if count >= features:
        raise DataError(f"{count} eigenvalues of a matrix of {features}: take the dense route, linear_hessian")

    def product(vector: np.ndarray) -> np.ndarray:
        v = torch.from_numpy(np.ascontiguousarray(vector.reshape(-1)))
        total = torch.zeros_like(v)
        with torch.no_grad():
            for images, _ in split.batches(256):
                x = norm(images).flatten(1)
                if bias:
                    x = torch.cat([x, x.new_ones(len(x), 1)], 1)
                total += x.T @ (x @ v)
        return (total / len(split)).numpy()

    operator = LinearOperator((features, features), matvec=product, dtype=np.float64)
    start = np.random.default_rng(0).standard_normal(features)
    found = eigsh(operator, k=count, which="LA", tol=tolerance, v0=start, return_eigenvectors=False)
    return torch.from_numpy(np.sort(found)[::-1].copy())
