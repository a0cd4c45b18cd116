"""Whether constants that were fitted elsewhere standardize other domains: claim DO1."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from normlab.config import data_label
from normlab.measurements.registry import measurement
from normlab.measurements.starts import normalized
from normlab.measurements.training_images import images_of_one_size
from normlab.norms import normalization


def moment_distance(mean: Tensor, std: Tensor) -> float:
    """Distance of channel moments from the mean 0 and standard deviation 1 that standardizing promises.

    sqrt(m^2 + (s - 1)^2), root mean square over channels: the 2-Wasserstein distance between the normal distributions
    N(m, s^2) and N(0, 1) (Dowson and Landau 1982, J. Multivariate Analysis 12:450-455).

    >>> moment_distance(torch.tensor([3.0]), torch.tensor([5.0]))
    5.0
    """
    return math.sqrt((mean.double().square() + (std.double() - 1).square()).mean().item())


@measurement
def domain_moments(*, data: dict[str, Any], domain: str, norms: Sequence[str]) -> list[dict[str, Any]]:
    """Moments of a data set under schemes: do they give its channels mean 0 and standard deviation 1?

    Args:
        data: see :func:`normlab.measurements.training_images.training_images`; of images of one size.
        domain: label of the images, by which rules select rows.
        norms: schemes, fitted on these images.

    Returns:
        A row for each scheme: ``mean`` and ``std`` (pooled), averaged over channels, and ``distance``, the
        :func:`moment_distance` of all channels.
    """
    images = torch.cat(list(images_of_one_size(data)))
    rows = []
    for name in norms:
        x = normalized(normalization(name).fit(images.split(1024)), images).transpose(0, 1).flatten(1)
        mean, std = x.mean(1), x.std(1, correction=0)
        about = {"data": data_label(data), "domain": domain, "images": len(images), "norm": name}
        moments = {"mean": mean.mean().item(), "std": std.mean().item(), "distance": moment_distance(mean, std)}
        rows.append({**about, **moments})
    return rows
