"""The effect of standardizing and whitening on the Hessian of the linear model, step by step: claim A09."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from normlab.config import data_label
from normlab.data import dataset
from normlab.measurements.registry import measurement
from normlab.measurements.starts import fitted
from normlab.theory.spectrum import image_moments, spectrum


@measurement
def hessians_by_step(
    *,
    data: dict[str, Any],
    norms: Sequence[str] = ("unit", "dataset_mean", "dataset", "mean_image", "feature", "zca"),
    bias: bool = True,
    whitening_eps: float | None = None,
) -> list[dict[str, Any]]:
    """The Hessian of the linear model with squared error under one scheme after the other.

    The Hessian is S = E[x~ x~'], with x~ the inputs and a 1 for the bias (LeCun et al. 1998, "Efficient BackProp",
    section 5.1). Of standardized features S is their correlation matrix: the identity if they are uncorrelated.

    Args:
        data: options of :func:`normlab.dataset`; schemes and S are computed on its training images.
        norms: in the order of the steps.
        bias: whether the model has a bias.
        whitening_eps: ``eps`` of ``pca`` and ``zca``; None: their default, which bounds the smallest eigenvalues.

    Returns:
        A row for each scheme: ``rank`` of ``weights``; ``lambda_max``; ``condition_number`` on the range; ``rate``,
        1/lambda_max; ``from_identity``, the largest absolute entry of S - I, without constant features;
        ``largest_correlation``, the largest absolute correlation of two features; ``step_gain``, the condition number
        of the row before over this one, and ``whole_gain``, that of the first row over this one.

    Raises:
        DataError: for too many features, or whitening with eps 0 of a singular covariance.
    """
    loaded = dataset(**data)
    rows: list[dict[str, Any]] = []
    for name in norms:
        moments = image_moments(loaded.train.images, fitted(loaded, name, whitening_eps=whitening_eps))
        matrix = moments.second_moment(bias)
        hessian = spectrum(matrix, moments.count)
        deviations = moments.covariance.diagonal().clamp(min=0).sqrt()
        varying = deviations > 1e-9 * deviations.max()
        kept = torch.cat([varying, torch.ones(1, dtype=torch.bool)]) if bias else varying
        part = matrix[kept][:, kept]
        correlation = (moments.covariance / torch.outer(deviations, deviations))[varying][:, varying]
        number = hessian.condition_number
        before = rows[-1]["condition_number"] if rows else number
        first = rows[0]["condition_number"] if rows else number
        rows.append(
            {
                "data": data_label(data),
                "norm": name,
                "images": moments.count,
                "weights": len(matrix),
                "rank": hessian.rank,
                "lambda_max": hessian.lambda_max,
                "condition_number": number,
                "rate": 1 / hessian.lambda_max,
                "from_identity": (part - torch.eye(len(part), dtype=part.dtype)).abs().max().item(),
                "largest_correlation": (correlation - torch.eye(len(correlation), dtype=part.dtype)).abs().max().item(),
                "step_gain": before / number,
                "whole_gain": first / number,
            }
        )
    return rows
