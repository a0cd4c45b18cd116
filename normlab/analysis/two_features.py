"""Two features on scales that differ: the Hessian of the linear model in closed form, and from a sample.

For x1 uniform on [0, r] and x2 on [0, s]: E[x1^2] = r^2/3, E[x2^2] = s^2/3, and E[x1 x2] = r s (1/4 + rho/12) with rho
their correlation, because E[x1] E[x2] = r s/4 and both standard deviations are the range over sqrt(12).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

import normlab
from normlab.analysis.hessian import spectrum
from normlab.config import PositiveFloat
from normlab.statistics.intervals import mean_interval

GROUPS = 50  # of a sample, whose spread gives the intervals


def uniform_second_moment(
    ranges: tuple[float, float], correlation: float = 0.0, *, centred: bool = False, bias: bool = False
) -> Tensor:
    """E[x~ x~'] of two uniform features, float64 [2, 2], or [3, 3] with the ones of the bias last.

    >>> uniform_second_moment((1, 12))  # E[x1 x2] is the product of the means, 1/2 and 6
    tensor([[ 0.3333,  3.0000],
            [ 3.0000, 48.0000]], dtype=torch.float64)

    Args:
        ranges: r and s.
        correlation: rho, from -1 (x2 = s - s x1 / r) to 1 (x2 = s x1 / r).
        centred: whether the means are subtracted.
        bias: whether there is a bias.
    """
    r = torch.tensor(ranges, dtype=torch.float64)
    mean = torch.zeros_like(r) if centred else r / 2
    shape = torch.tensor([[1.0, correlation], [correlation, 1.0]], dtype=torch.float64)
    weights = torch.outer(r, r) / 12 * shape + torch.outer(mean, mean)
    if not bias:
        return weights
    column = torch.cat([mean, mean.new_ones(1)])
    return torch.cat([torch.cat([weights, mean[None]]), column[:, None]], 1)


def uniform_hessian(
    *, ranges: tuple[PositiveFloat, PositiveFloat] = (1.0, 1000.0), correlation: float = 0.0
) -> list[dict[str, Any]]:
    """The closed form: entries, largest eigenvalue and condition number, centred or not, with and without a bias.

    Columns: ``inputs`` (``as they are`` or ``centred``), ``bias`` (``with`` or ``without``), ``correlation``;
    ``first``, ``mixed`` and ``second``, that is E[x1^2], E[x1 x2] and E[x2^2]; ``lambda_max``; ``condition``, infinite
    where the matrix is singular.

    Args:
        ranges: r and s.
        correlation: of the features.
    """
    rows = []
    for centred in (False, True):
        for bias in (False, True):
            found = spectrum(matrix := uniform_second_moment(ranges, correlation, centred=centred, bias=bias))
            row: dict[str, Any] = {"inputs": _inputs(centred), "bias": _bias(bias), "correlation": correlation}
            row |= {"first": matrix[0, 0].item(), "mixed": matrix[0, 1].item(), "second": matrix[1, 1].item()}
            rows.append({**row, "lambda_max": found.lambda_max, "condition": found.full_condition_number})
    return rows


def sampled_hessian(
    *, ranges: tuple[PositiveFloat, PositiveFloat] = (1.0, 1000.0), samples: int = 500_000, seed: int = 0
) -> list[dict[str, Any]]:
    """The same from independent draws, by :func:`normlab.linear_hessian`.

    Columns as in :func:`uniform_hessian`, each number with its 95% interval (Student's t over 50 groups of draws) in
    ``NUMBER_low`` and ``NUMBER_high``; ``samples``.

    Args:
        ranges: r and s.
        samples: draws, divided evenly over the groups.
        seed: of the draws.
    """
    generator = torch.Generator().manual_seed(seed)
    draws = torch.rand(GROUPS, samples // GROUPS, 2, dtype=torch.float64, generator=generator) * torch.tensor(ranges)
    rows = []
    for centred in (False, True):
        x = draws - draws.mean((0, 1)) if centred else draws
        entries = torch.einsum("gni,gnj->gij", x, x) / x.shape[1]
        for bias in (False, True):
            # Each group is a data set; linear_hessian adds the ones of the bias.
            spectra = [normlab.linear_hessian(group, bias=bias) for group in x]
            numbers = {
                "first": entries[:, 0, 0].tolist(),
                "mixed": entries[:, 0, 1].tolist(),
                "second": entries[:, 1, 1].tolist(),
                "lambda_max": [found.lambda_max for found in spectra],
                "condition": [found.full_condition_number for found in spectra],
            }
            row: dict[str, Any] = {"inputs": _inputs(centred), "bias": _bias(bias), "samples": x.shape[1] * GROUPS}
            for name, values in numbers.items():
                interval = mean_interval(values)
                row |= {name: interval.estimate, f"{name}_low": interval.low, f"{name}_high": interval.high}
            rows.append(row)
    return rows


def _inputs(centred: bool) -> str:
    return "centred" if centred else "as they are"


def _bias(bias: bool) -> str:
    return "with" if bias else "without"
