"""Largest eigenvalues of the linear model's Hessian without a dense matrix, by products with vectors."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from normlab.data import Split
from normlab.errors import DataError
from normlab.norms import Normalization
from normlab.theory.spectrum import spectrum

DENSE_SIZE = 2048  # the dense solver takes seconds for a matrix of this size on one core
MOST_BYTES = 2**30  # memory of the vectors of a method

EXTRA_VECTORS = 4  # of a block, in addition to the requested eigenvalues: for faster convergence in a cluster
MOST_BLOCKS = 40  # before a restart, which keeps half of them


def largest_eigenvalues(
    split: Split, norm: Normalization, count: int = 1, bias: bool = True, tolerance: float = 1e-4
) -> Tensor:
    """The largest eigenvalues of S = (1/N) sum x~ x~', in falling order.

    The dense solver is used if S, or the Gram matrix of the images (which has the same eigenvalues above 0), is at most
    ``DENSE_SIZE`` wide; otherwise :func:`block_lanczos`, which makes one pass over the images in each step. The images
    may stream.

    Args:
        split: images.
        norm: fitted.
        count: of eigenvalues, below the number of features.
        bias: whether the model has a bias.
        tolerance: of :func:`block_lanczos`; the dense solver is exact to rounding.

    Returns:
        float64 [count].

    Raises:
        DataError: if ``count`` is not below the number of features, a feature is not finite, or block Lanczos does not
            converge.
    """
    norm = copy.deepcopy(norm).double()

    def batches() -> Iterator[Tensor]:
        with torch.no_grad():
            for images, _ in split.batches(256):
                x = norm(images).flatten(1)
                yield torch.cat([x, x.new_ones(len(x), 1)], 1) if bias else x

    with torch.no_grad():
        features = norm(next(iter(split.batches(1)))[0]).numel() + bias
    images = len(split)
    if count >= features:
        raise DataError(
            f"{count} eigenvalues of a matrix of {features} rows: use linear_hessian, which computes all eigenvalues"
        )
    if features <= DENSE_SIZE:
        return _top(sum((x.T @ x for x in batches()), torch.zeros(features, features).double()) / images, count)
    if images <= DENSE_SIZE and images * features * 8 <= MOST_BYTES:
        x = torch.cat(list(batches()))
        return _top(x @ x.T / images, count)

    def product(vectors: Tensor) -> Tensor:
        total = torch.zeros_like(vectors)
        for x in batches():
            total += x.T @ (x @ vectors)
        return total / images

    return block_lanczos(product, features, count, tolerance)


def _top(matrix: Tensor, count: int) -> Tensor:
    """The largest eigenvalues, filled up with zeros if the matrix has fewer rows, as a Gram matrix may."""
    eigenvalues = spectrum(matrix).eigenvalues[:count]
    return F.pad(eigenvalues, (0, count - len(eigenvalues)))


def block_lanczos(
    product: Callable[[Tensor], Tensor], size: int, count: int = 1, tolerance: float = 1e-4, most_products: int = 1000
) -> Tensor:
    """The largest eigenvalues of a symmetric positive semi-definite matrix, multiple and clustered ones included.

    The Krylov space of a block contains an eigenvalue as often as it occurs, up to the width of the block; that of a
    single vector contains it once. It converges to the largest eigenvalue even if there is no gap below it (Golub and
    Underwood 1977, "The block Lanczos method for computing eigenvalues"; Musco and Musco 2015, "Randomized block Krylov
    methods", theorem 1). The basis is orthogonalized in full, and restarted from its best half (Wu and Simon 2000,
    "Thick-restart Lanczos") when it is large.

    >>> diagonal = torch.cat([torch.full((3,), 2.0), torch.ones(97)]).double()
    >>> block_lanczos(lambda vectors: diagonal[:, None] * vectors, size=100, count=4).round(decimals=9).tolist()
    [2.0, 2.0, 2.0, 1.0]

    Args:
        product: of the matrix with vectors float64 [size, K].
        size: of the matrix.
        count: of eigenvalues, below the size.
        tolerance: largest |S v - lambda v| of each result, as a share of the largest eigenvalue; a true eigenvalue lies
            within this distance.
        most_products: largest number of calls of ``product``.

    Returns:
        float64 [count], in falling order.

    Raises:
        DataError: if the tolerance is not reached.
    """
    width = count + EXTRA_VECTORS
    if size <= 2 * width:  # no room for a second block: the first one is a basis of the whole space
        width = size
    # Largest number of vectors in the basis; the product of each is stored, too.
    most = max(2 * width, min(MOST_BLOCKS * width, MOST_BYTES // (16 * size), size))
    block = torch.from_numpy(np.random.default_rng(0).standard_normal((size, width)))
    basis = block.new_zeros(size, 0)
    products = basis
    for _ in range(most_products):
        block = _orthonormal(block, basis)
        basis, products = torch.cat([basis, block], 1), torch.cat([products, product(block)], 1)
        if not products.isfinite().all():
            raise DataError("a feature is not finite, so the matrix has no eigenvalues")
        values, vectors = torch.linalg.eigh(basis.T @ products)
        values, vectors = values.flip(0), vectors.flip(1)
        block = products @ vectors[:, :width] - basis @ (vectors[:, :width] * values[:width])
        residual = block[:, :count].norm(dim=0).max().item()
        if residual <= tolerance * values[0].item():
            return values[:count]
        if basis.shape[1] + width > most:
            basis, products = basis @ vectors[:, : most // 2], products @ vectors[:, : most // 2]
    raise DataError(
        f"the largest eigenvalues are known to {residual / values[0].item():.0e} after {most_products} products, not "
        f"to {tolerance:.0e}, because many lie close together: accept a larger tolerance, or fewer features "
        f"(data.image_size); the dense solver takes up to {DENSE_SIZE}"
    )


def _orthonormal(block: Tensor, basis: Tensor) -> Tensor:
    """An orthonormal block of the same width, orthogonal to the basis; two passes, because one leaves rounding."""
    block = F.normalize(block, dim=0)
    for _ in range(2):
        block = torch.linalg.qr(block - basis @ (basis.T @ block)).Q
    return block
