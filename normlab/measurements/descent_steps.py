"""Steps of gradient descent on the linear model with squared error: their number, their direction, a single step.

Claims A04, A05 and A10.

Each step multiplies the error along an eigenvector of the Hessian by 1 - eta lambda (LeCun et al. 1998, "Efficient
BackProp", section 5.1). Here the steps are computed on the images, to compare them with this
theory.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from normlab.config import Fraction, NonNegativeFloat, PositiveFloat, PositiveInt, data_label
from normlab.data import Dataset, dataset
from normlab.measurements.registry import measurement
from normlab.measurements.starts import fitted, normalized_features, one_hot
from normlab.theory.descent import descent, iterations_by_condition_number
from normlab.theory.moments import with_ones
from normlab.theory.prediction import dataset_moments
from normlab.theory.spectrum import Spectrum, spectrum, threshold

Rate = Literal["best constant", "1/lambda_max"]
BADLY_CONDITIONED = 100.0  # condition number from which a problem counts as badly conditioned
WHITE = 1 + 1e-6  # condition number up to which the Hessian counts as the identity; rounding is smaller


def worst_case_iterations(condition_number: float, eps: float, rate: Rate) -> float:
    """Steps to a relative excess loss of eps from the worst possible start.

    Each step multiplies the error by at most the largest |1 - eta lambda|: (k - 1)/(k + 1) at the best constant rate,
    1 - 1/k at 1/lambda_max. For a large k these are k/4 ln(1/eps) and k/2 ln(1/eps) steps (Polyak 1964).

    >>> worst_case_iterations(1000.0, 0.01, "best constant"), worst_case_iterations(1000.0, 0.01, "1/lambda_max")
    (1152.0, 2302.0)
    """
    if rate == "best constant":
        return iterations_by_condition_number(condition_number, eps)
    if condition_number <= 1:
        return 1.0
    return float(math.ceil(math.log(1 / eps) / (-2 * math.log1p(-1 / condition_number))))


@measurement
def valley_iterations(
    *, condition_numbers: Sequence[PositiveFloat] = (10.0, 100.0, 1000.0, 10000.0), eps: Fraction = 0.01
) -> list[dict[str, Any]]:
    """Steps through a valley of two directions, with curvatures k and 1, from a start on its floor: the worst start.

    Columns: ``condition``, k; ``rate``, ``best constant`` (2 / (lambda_min + lambda_max)) or ``1/lambda_max``; ``eps``;
    ``measured``, steps until the loss is at most eps times the initial loss; ``by_condition``, predicted by k only, see
    :func:`worst_case_iterations`; ``measured_per_k`` and ``by_condition_per_k``, both over k.

    Args:
        condition_numbers: values of k, above 1.
        eps: relative excess loss at the end.
    """
    rows = []
    for k in condition_numbers:
        for rate in get_args(Rate):
            eta, measured = (2 / (1 + k) if rate == "best constant" else 1 / k), 0
            steep, flat = 0.0, 1.0
            while k * steep**2 + flat**2 > eps:
                steep, flat, measured = steep - eta * k * steep, flat - eta * flat, measured + 1
            expected = worst_case_iterations(k, eps, rate)
            row = {"condition": k, "rate": rate, "eps": eps, "measured": float(measured), "by_condition": expected}
            rows.append({**row, "measured_per_k": measured / k, "by_condition_per_k": expected / k})
    return rows


@measurement
def convergence_iterations(
    *, data: dict[str, Any], norms: Sequence[str], eps: Fraction = 0.01, most: PositiveInt = 2000
) -> list[dict[str, Any]]:
    """Steps to a relative excess loss eps on data: by the condition number, by the spectrum, and measured.

    From zero weights, with a bias, full batches.

    Columns: ``data``, ``norm``, ``images``, ``features``, ``eps``; ``rate``, as in :func:`valley_iterations`;
    ``condition``, k on the range of the Hessian; ``by_condition``, the worst case over all starts; ``by_spectrum``,
    from all eigenvalues and the start's share of each; ``measured``, NaN if ``by_spectrum`` exceeds ``most``; these
    three also divided by k, as ``..._per_k``.

    Args:
        data: options of :func:`normlab.dataset`.
        norms: schemes.
        eps: relative excess loss at the end.
        most: largest number of steps.

    Raises:
        DataError: if the images are missing, or have more features than a dense matrix can hold.
    """
    loaded, rows = dataset(**data), []
    for name in norms:
        norm = fitted(loaded, name)
        theory = descent(dataset_moments(loaded, norm), bias=True)
        k, span = theory.spectrum.condition_number, theory.initial - theory.optimum
        for rate in get_args(Rate):
            eta = theory.best_rate if rate == "best constant" else 1 / theory.spectrum.lambda_max
            numbers = {"by_condition": worst_case_iterations(k, eps, rate), "by_spectrum": theory.iterations(eps, eta)}
            numbers["measured"] = math.nan
            if numbers["by_spectrum"] <= most:
                x, y = _problem(loaded, name)
                losses = enumerate(value for value, _, _ in descending(x, y, eta, most + 1))
                numbers["measured"] = next(
                    (float(step) for step, value in losses if value - theory.optimum <= eps * span), math.inf
                )
            row: dict[str, Any] = {
                "data": data_label(data),
                "norm": name,
                "images": len(loaded.train),
                "features": math.prod(loaded.shape),
            }
            row |= {"rate": rate, "eps": eps, "condition": k, **numbers}
            rows.append({**row, **{f"{method}_per_k": steps / k for method, steps in numbers.items()}})
    return rows


@measurement
def step_reversals(
    *,
    data: dict[str, Any],
    norms: Sequence[str],
    rates: Sequence[PositiveFloat] = (0.5, 0.9, 1.1, 1.5, 1.9),
    steps: PositiveInt = 10,
) -> list[dict[str, Any]]:
    """Whether successive steps turn back, as a function of the rate.

    In the eigendirection of lambda_max a step is 1 - eta lambda_max times the one before: it turns back for eta above
    1/lambda_max, whatever the condition number.

    Columns: ``data``, ``norm``; ``condition``, and ``conditioning``, ``bad`` from 100 on, otherwise ``good``; ``rate``,
    eta lambda_max; ``factor``, the component of a step in that eigendirection over that of the step before, mean over
    steps; ``top_cosine``, the cosine of the two components, -1 or 1; ``step_cosine``, the cosine of the whole steps;
    both means over steps. From zero weights, with a bias, full batches.

    Args:
        data: options of :func:`normlab.dataset`.
        norms: schemes.
        rates: eta lambda_max, below 2.
        steps: number of steps at each rate.

    Raises:
        DataError: if the images are missing, or have more features than a dense matrix can hold.
    """
    loaded, rows = dataset(**data), []
    for name in norms:
        x, y = _problem(loaded, name)
        eigenvalues, vectors = torch.linalg.eigh(x.T @ x / len(x))
        hessian = Spectrum(eigenvalues.flip(0), threshold(eigenvalues, len(x)))
        top, k = vectors[:, -1], hessian.condition_number
        for rate in rates:
            moves = [step for _, _, step in descending(x, y, rate / hessian.lambda_max, steps)]
            components = [top @ step for step in moves]
            pairs = list(itertools.pairwise(components))
            row: dict[str, Any] = {"data": data_label(data), "norm": name, "condition": k, "rate": rate}
            row["conditioning"] = "bad" if k >= BADLY_CONDITIONED else "good"
            row["factor"] = _mean([(after @ before / (before @ before)).item() for before, after in pairs])
            row["top_cosine"] = _mean([cosine(before, after) for before, after in pairs])
            row["step_cosine"] = _mean([cosine(b, a) for b, a in itertools.pairwise(moves)])
            rows.append(row)
    return rows


@measurement
def one_step(
    *,
    data: dict[str, Any],
    norms: Sequence[str],
    rates: Sequence[PositiveFloat] = (1.0,),
    eps: NonNegativeFloat = 0.0,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """The share of the excess loss that remains after one step of gradient descent.

    If the Hessian is the identity, the step of rate 1 is Newton's step: it reaches the optimum from any start.

    Columns: ``data``, ``norm``, ``images``, ``eps``; ``rate``, eta; ``condition``, and ``white``, ``yes`` up to
    1 + 1e-6, otherwise ``no``; ``start``, ``zero`` or ``random`` weights; ``left``, (L(1) - L*) / (L(0) - L*), with L*
    computed by least squares, not by the theory.

    Args:
        data: options of :func:`normlab.dataset`.
        norms: schemes.
        rates: learning rates.
        eps: of the whitening schemes pca and zca: added to the eigenvalues, as a share of the largest. With 0 the data
            are exactly white.
        seed: of the random start.

    Raises:
        DataError: if the images are missing, or their covariance is singular and eps is 0.
    """
    loaded, rows = dataset(**data), []
    for name in norms:
        x, y = _problem(loaded, name, eps)
        k = spectrum(x.T @ x / len(x), len(x)).condition_number
        optimum = loss(x, y, torch.linalg.lstsq(x, y, driver="gelsd").solution)
        shape = (x.shape[1], y.shape[1])
        random = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
        for start, weights in (("zero", torch.zeros_like(random)), ("random", random)):
            for rate in rates:
                (before, *_), (after, *_) = descending(x, y, rate, 2, weights)
                row: dict[str, Any] = {
                    "data": data_label(data),
                    "norm": name,
                    "images": len(x),
                    "eps": eps,
                    "rate": rate,
                }
                row |= {"condition": k, "white": "yes" if k <= WHITE else "no", "start": start}
                rows.append({**row, "left": (after - optimum) / (before - optimum)})
    return rows


def descending(
    x: Tensor, y: Tensor, rate: float, steps: int, start: Tensor | None = None
) -> Iterator[tuple[float, Tensor, Tensor]]:
    """Gradient descent on 1/2 mean |x W - y|^2: loss, weights and the step that follows, at each of ``steps`` points.

    >>> x, y = torch.tensor([[1.0], [-1.0]]), torch.tensor([[2.0], [-2.0]])
    >>> [loss for loss, _, _ in descending(x, y, 0.5, 3)]  # the error halves with every step
    [2.0, 0.5, 0.125]

    Args:
        x: inputs [N, D].
        y: targets [N, C].
        rate: learning rate.
        steps: number of points, including the start.
        start: weights [D, C]; None: zeros.
    """
    weights = x.new_zeros(x.shape[1], y.shape[1]) if start is None else start
    for _ in range(steps):
        residual = x @ weights - y
        step = -rate * (x.T @ residual) / len(x)
        yield 0.5 * residual.square().sum().item() / len(x), weights, step
        weights = weights + step


def loss(x: Tensor, y: Tensor, weights: Tensor) -> float:
    """1/2 mean |x W - y|^2."""
    return 0.5 * (x @ weights - y).square().sum().item() / len(x)


def cosine(first: Tensor, second: Tensor) -> float:
    """Cosine of the angle between two tensors taken as vectors.

    >>> cosine(torch.tensor([1.0, 0.0]), torch.tensor([-2.0, 0.0]))
    -1.0
    """
    first, second = first.flatten(), second.flatten()
    return ((first @ second) / (first.norm() * second.norm())).item()


def _problem(data: Dataset, name: str, eps: float | None = None) -> tuple[Tensor, Tensor]:
    """Inputs with a column of ones, [N, D + 1], and one-hot targets [N, C], float64."""
    x = normalized_features(data.train, fitted(data, name, whitening_eps=eps))
    return with_ones(x), one_hot(data.train, len(data.classes))


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
