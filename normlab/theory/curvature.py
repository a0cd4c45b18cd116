"""Curvature of any network's loss, by Hessian-vector products: largest eigenvalue, trace, spectral density.

No matrix of size parameters x parameters is stored. The algorithms are ARPACK's and curvlinops'; the product H v is two
backward passes (Pearlmutter 1994) through autograd. curvlinops itself uses torch.func, whose second derivatives of
layer and batch normalization are wrong in torch 2.15.0 (pytorch issues 196699 and 196700): that Hessian is not
symmetric, while autograd's Hessian agrees with finite differences.
"""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from normlab.errors import DataError, first_line

LARGEST_SPACE = 100  # vectors for ARPACK if its usual 20 do not resolve the spectrum
MOST_BYTES = 2**31  # memory of these vectors
MOST_RESTARTS = 100  # of ARPACK; a restart takes about one product for each vector (ARPACK's limit: 10 x parameters)

Loss = Callable[[Tensor, Tensor], Tensor]


def training_copy(body: nn.Module) -> nn.Module:
    """A copy of a network in training mode, whose batch normalization keeps no running averages."""
    body = copy.deepcopy(body).train().requires_grad_()
    body.zero_grad()
    for module in body.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.track_running_stats = False
            module.running_mean = module.running_var = module.num_batches_tracked = None
    return body


def _curvlinops() -> Any:
    """The library curvlinops, imported when needed, without the warnings of its own imports."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import curvlinops
    return curvlinops


class _MeanLoss(nn.Module):
    """A loss in the form that curvlinops requires: a module with the attribute ``reduction``."""

    reduction = "mean"

    def __init__(self, loss: Loss) -> None:
        super().__init__()
        self.loss = loss

    def forward(self, scores: Tensor, targets: Tensor) -> Tensor:
        return self.loss(scores, targets)


class Curvature:
    """The Hessian of the mean loss over given images, in all parameters of a network, at its current weights.

    The images are one batch. Batch normalization takes its statistics from that batch, as in training, and its running
    averages do not change.

    >>> layer = nn.Linear(2, 1, bias=False).double()
    >>> x = torch.tensor([[2.0, 0.0], [0.0, 1.0]]).double()
    >>> half_square = lambda scores, targets: 0.5 * (scores - targets).square().sum(1).mean()
    >>> curvature = Curvature(layer, half_square, x, torch.zeros(2, 1).double())  # its Hessian is diag(2, 1/2)
    >>> round(curvature.lambda_max(), 6)
    2.0

    Args:
        body: the network after its normalization; copied, not changed.
        loss: mean over the batch, twice differentiable almost everywhere.
        inputs: normalized, [B, ...].
        targets: second argument of the loss, [B, ...].

    Raises:
        DataError: if a score is not finite, so that there is no Hessian.
    """

    def __init__(self, body: nn.Module, loss: Loss, inputs: Tensor, targets: Tensor) -> None:
        self.body = training_copy(body)
        with torch.no_grad():
            if not self.body(inputs).isfinite().all():
                raise DataError("the network's scores are not finite, so its loss has no Hessian")
        self.loss, self.inputs, self.targets = _MeanLoss(loss), inputs, targets
        self.parameters = list(self.body.parameters())
        self.size = sum(parameter.numel() for parameter in self.parameters)

    @contextmanager
    def _operator(self) -> Iterator[Any]:
        operator = _curvlinops().HessianLinearOperator(
            self.body, self.loss, self.parameters, [(self.inputs, self.targets)], check_deterministic=False
        )
        operator._matmat_batch = self._products
        with sdpa_kernel(SDPBackend.MATH):  # fused attention has no second derivative
            yield operator

    def _products(self, inputs: Tensor, targets: Tensor, matrix: list[Tensor]) -> list[Tensor]:
        """H V by autograd; the columns of V lie along the last dimension of each part."""
        with torch.enable_grad():
            loss = self.loss(self.body(inputs), targets)
            gradients = torch.autograd.grad(loss, self.parameters, create_graph=True)
            columns = [
                torch.autograd.grad(gradients, self.parameters, vectors, retain_graph=True, materialize_grads=True)
                for vectors in zip(*(part.unbind(-1) for part in matrix), strict=True)
            ]
        return [torch.stack(parts, -1) for parts in zip(*columns, strict=True)]

    def product(self, vector: Tensor) -> Tensor:
        """H v, [parameters]."""
        with self._operator() as hessian:
            return hessian @ vector

    def lambda_max(self, tolerance: float = 1e-3) -> float:
        """The largest (most positive) eigenvalue, by Lanczos (ARPACK) from a fixed start.

        Args:
            tolerance: relative, at which ARPACK stops.

        Raises:
            DataError: if ARPACK does not converge: many eigenvalues lie close together at the upper end, or the largest
                is smaller than the rounding of a negative eigenvalue.
        """
        from scipy.sparse.linalg import ArpackError, ArpackNoConvergence, eigsh

        like = self.parameters[0].detach()
        start = torch.from_numpy(np.random.default_rng(0).standard_normal(self.size)).to(like)
        first = self.product(start)
        if self.size == 1 or not first.any():  # ARPACK takes neither one dimension nor a matrix of zeros
            return (first[0] / start[0]).item()
        with self._operator() as hessian:
            operator = hessian.to_scipy()
            begin = start.cpu().numpy().astype(operator.dtype)
            usual = min(20, self.size)
            larger = min(LARGEST_SPACE, self.size, MOST_BYTES // (self.size * begin.itemsize))
            for space in (usual, max(usual, larger)):
                try:
                    eigenvalues = eigsh(
                        operator, k=1, which="LA", tol=tolerance, v0=begin, ncv=space, maxiter=MOST_RESTARTS,
                        return_eigenvectors=False,
                    )  # fmt: skip
                    return float(eigenvalues[0])
                except ArpackNoConvergence:
                    continue
                except ArpackError as error:
                    raise DataError(f"the Hessian's largest eigenvalue was not found: {error}") from None
        raise DataError(
            f"the largest eigenvalue of the Hessian was not found to {tolerance:.0e} in {MOST_RESTARTS} restarts of "
            "ARPACK: many eigenvalues lie close to it, or it is smaller than the rounding of a negative eigenvalue; "
            "accept a larger tolerance, or compute in double precision (trainer.precision=64)"
        )

    def trace(self, products: int = 10) -> tuple[float, float]:
        """Estimate of the trace, and its standard error (Hutchinson 1990, with Rademacher vectors).

        Args:
            products: number of products H v; 2 or more.
        """
        generator = torch.Generator().manual_seed(0)
        like = self.parameters[0].detach()
        samples = []
        for _ in range(products):
            v = (torch.randint(0, 2, (self.size,), generator=generator) * 2 - 1).to(like)
            samples.append((v * self.product(v)).sum().item())
        values = np.array(samples)
        return float(values.mean()), float(values.std(ddof=1) / math.sqrt(products))

    def density(self, products: int = 40, points: int = 512, repeats: int = 1) -> tuple[Tensor, Tensor]:
        """Spectral density by stochastic Lanczos quadrature (Papyan 2020, algorithm 2).

        Each eigenvalue becomes a Gaussian bump, so the density shows where eigenvalues lie, but no single eigenvalues.

        Args:
            products: number of products H v for each random start.
            points: number of points of the grid.
            repeats: number of random starts.

        Returns:
            Eigenvalues [points], and density [points], which integrates to about 1.

        Raises:
            DataError: for a Hessian that is zero or too small for Lanczos.
        """
        state = torch.random.get_rng_state()  # curvlinops draws from the global generator
        torch.manual_seed(0)
        try:
            with self._operator() as hessian:
                lanczos = _curvlinops().LanczosApproximateSpectrumCached(hessian, min(products, self.size))
                grid, density = lanczos.approximate_spectrum(num_repeats=repeats, num_points=points)
        except (RuntimeError, ValueError) as error:
            raise DataError(f"no spectral density: {first_line(error)}") from None
        finally:
            torch.random.set_rng_state(state)
        return torch.as_tensor(grid).cpu(), torch.as_tensor(density).cpu()
