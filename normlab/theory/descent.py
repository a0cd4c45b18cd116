"""Gradient descent on the linear model with squared error, step by step, from the spectrum alone.

The loss after k steps of rate eta is L* + 1/2 sum_j lambda_j c_j^2 (1 - eta lambda_j)^(2k), with c_j the initial error
of the weights along eigenvector j (LeCun et al. 1998, "Efficient BackProp", section 5.1; Polyak 1964 for heavy ball).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from normlab.theory.moments import Moments
from normlab.theory.spectrum import Spectrum, threshold
from normlab.theory.stability import stable_rate

MOST_STEPS = 10**18  # a prediction of more steps is reported as infinite


@dataclass(frozen=True)
class Descent:
    """The loss of the linear model in the eigenbasis of its Hessian.

    Attributes:
        spectrum: of the Hessian of one output.
        energy: lambda_j c_j^2, summed over outputs, float64 [rank], in the order of the eigenvalues.
        initial: loss at the start.
    """

    spectrum: Spectrum
    energy: Tensor
    initial: float

    @property
    def eigenvalues(self) -> Tensor:
        """The eigenvalues above the threshold, in falling order, [rank]."""
        return self.spectrum.eigenvalues[: self.spectrum.rank]

    @property
    def optimum(self) -> float:
        """L*, the smallest possible loss."""
        return self.initial - 0.5 * self.energy.sum().item()

    @property
    def best_rate(self) -> float:
        """2 / (lambda_min + lambda_max): the constant rate with the fastest asymptotic convergence (Polyak 1964)."""
        return 2 / (self.spectrum.lambda_min + self.spectrum.lambda_max)

    def stable_rate(self, momentum: float = 0.0) -> float:
        """2 (1 + beta) / lambda_max: above this rate descent with heavy-ball momentum beta diverges (Polyak 1964)."""
        return stable_rate(self.spectrum.lambda_max, momentum)

    def curve(self, steps: int, rate: float, momentum: float = 0.0) -> Tensor:
        """The loss after 0, 1, ..., ``steps`` steps, float64 [steps + 1].

        The error along an eigenvector follows e_(k+1) = (1 + beta - eta lambda) e_k - beta e_(k-1).

        >>> one = Descent(Spectrum(torch.tensor([2.0]).double(), 0.0), torch.tensor([1.0]).double(), 0.5)
        >>> one.curve(2, rate=0.25).tolist()  # the error halves with every step, its square is quartered
        [0.5, 0.125, 0.03125]
        """
        shrink = 1 + momentum - rate * self.eigenvalues
        error, before = torch.ones_like(self.energy), torch.ones_like(self.energy)
        losses = [self.initial]
        for _ in range(steps):
            error, before = shrink * error - momentum * before, error
            losses.append(self.optimum + 0.5 * (self.energy * error * error).sum().item())
        return torch.tensor(losses, dtype=torch.float64)

    def excess(self, step: float, rate: float) -> float:
        """(L(k) - L*) / (L(0) - L*) after k steps of plain descent."""
        factor = (1 - rate * self.eigenvalues).abs()
        return ((self.energy * factor ** (2 * step)).sum() / self.energy.sum()).item()

    def iterations(self, eps: float, rate: float) -> float:
        """Steps of plain descent until the relative excess loss is at most eps; infinite if it never is.

        Args:
            eps: in (0, 1).
            rate: learning rate; if it is below :meth:`stable_rate`, the excess falls with every step.
        """
        if rate >= self.stable_rate():
            return math.inf
        high = 1
        while self.excess(high, rate) > eps:
            high *= 2
            if high > MOST_STEPS:
                return math.inf
        low = high // 2
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self.excess(middle, rate) > eps else (low, middle)
        return float(high)


def iterations_by_condition_number(condition_number: float, eps: float) -> float:
    """Largest number of steps to a relative excess loss of eps, by the condition number, at the best constant rate.

    Each step multiplies the error by (k - 1)/(k + 1) at most (Polyak 1964), and the excess loss by the square of this
    factor. For a large condition number k these are k/4 ln(1/eps) steps.

    >>> iterations_by_condition_number(1.0, 1e-3)
    1.0
    >>> round(iterations_by_condition_number(1000.0, 1e-3) / (1000 / 4 * math.log(1000)), 3)
    1.0
    """
    if math.isnan(condition_number) or math.isinf(condition_number):
        return condition_number
    if condition_number <= 1:
        return 1.0
    # log((k + 1)/(k - 1)) = 2 atanh(1/k), which loses no digits for a large k.
    return float(math.ceil(math.log(1 / eps) / (4 * math.atanh(1 / condition_number))))


def descent(moments: Moments, bias: bool, start: Tensor | None = None) -> Descent:
    """Descent on these data, from given weights.

    Args:
        moments: of the normalized inputs and the one-hot targets.
        bias: whether the model has a bias.
        start: initial weights [D, C], or [D + 1, C] with the bias last; zeros if not given.
    """
    matrix, cross = moments.second_moment(bias), moments.cross_moment(bias)
    eigenvalues, vectors = torch.linalg.eigh(matrix)
    eigenvalues, vectors = eigenvalues.flip(0), vectors.flip(1)
    spectrum = Spectrum(eigenvalues, threshold(eigenvalues, moments.count))
    residual, initial = cross, 0.5 * moments.energy
    if start is not None:
        residual = cross - matrix @ start
        initial += (0.5 * start * (matrix @ start) - cross * start).sum().item()
    gradient = vectors[:, : spectrum.rank].T @ residual  # [rank, C]
    energy = gradient.square().sum(1) / eigenvalues[: spectrum.rank]
    return Descent(spectrum, energy, initial)
