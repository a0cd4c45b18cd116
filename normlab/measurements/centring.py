"""The effect of centering and scale on the inputs, and on the Hessian and the gradients of the linear model.

Claims A06, A07, A08 and A12.

With x~ = [x; 1] the Hessian of each output is E[x~ x~'] (LeCun et al. 1998, "Efficient BackProp", section 5.1). Its
last column holds E[x], so the means of the features couple weights and bias.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from normlab.config import data_label
from normlab.data import dataset
from normlab.errors import ConfigError
from normlab.measurements.registry import measurement
from normlab.measurements.starts import fitted, normalized, normalized_features, one_hot
from normlab.norms import Affine
from normlab.theory.moments import with_ones
from normlab.theory.prediction import dataset_moments
from normlab.theory.spectrum import spectrum

PERMUTATIONS = 199  # with the data themselves 200 arrangements: by chance, 1 in 200 rows exceeds all permutations


@measurement
def centred_extremes(
    *, data: dict[str, Any], norms: Sequence[str] = ("centered", "dataset_mean", "mean_image")
) -> list[dict[str, Any]]:
    """The largest absolute input before and after centering, on training and test images.

    Columns: ``data``, ``norm``, ``split``, ``images``; ``before`` and ``after``, the largest |x| on the scale 0..255;
    ``ratio``, after / before. By arithmetic a feature with values from 0 to 255 and center m keeps max(m, 255 - m), so
    the ratio is 1/2 for m = 127.5 only.

    Args:
        data: options of :func:`normlab.dataset`.
        norms: schemes that subtract a mean from u = x/255 and do not divide.

    Raises:
        ConfigError: for a scheme that does more than subtract.
        DataError: if the images are missing.
    """
    loaded, rows = dataset(**data), []
    for name in norms:
        norm = fitted(loaded, name)
        if not isinstance(norm, Affine) or not torch.allclose(norm.std, torch.ones_like(norm.std)):
            raise ConfigError(
                f"{name}: not a scheme that only subtracts; choose from centered, dataset_mean, mean_image"
            )
        for part in ("train", "test"):
            split = loaded.splits[part]
            before = max(float(images.max()) for images, _ in split.batches(256))
            after = 255 * normalized(norm, split.images).abs().max().item()
            row = {"data": data_label(data), "norm": name, "split": part, "images": len(split)}
            rows.append({**row, "before": before, "after": after, "ratio": after / before})
    return rows


@measurement
def second_moment_structure(*, data: dict[str, Any], norms: Sequence[str]) -> list[dict[str, Any]]:
    """How far the Hessian is from the covariance, from diagonal, and from decoupling weights and bias.

    Columns: ``data``, ``norm``, ``images``, ``features``, and of the training images

    - ``covariance_gap``: largest |H - Cov| as a share of the largest |Cov|, over the entries of the weights;
    - ``off_diagonal``: share of the squared entries of the weights' block that lie off its diagonal;
    - ``bias_coupling``: |E[x]| / sqrt(E|x|^2), the bias column relative to the blocks of weights and bias; 0 if
      weights and bias are decoupled, 1 if all images are the same.

    Args:
        data: options of :func:`normlab.dataset`.
        norms: schemes.

    Raises:
        DataError: if the images are missing, or have more features than a dense matrix can hold.
    """
    loaded, rows = dataset(**data), []
    for name in norms:
        x = normalized_features(loaded.train, fitted(loaded, name))
        row = {"data": data_label(data), "norm": name, "images": len(x), "features": x.shape[1]}
        rows.append({**row, **structure(x)})
    return rows


def structure(x: Tensor) -> dict[str, float]:
    """The numbers of :func:`second_moment_structure` for features [N, D], float64.

    >>> numbers = structure(torch.tensor([[0.0], [2.0]]))  # E[x^2] = 2, variance 1, E[x] = 1
    >>> numbers["covariance_gap"], numbers["off_diagonal"], round(numbers["bias_coupling"], 4)
    (1.0, 0.0, 0.7071)
    """
    ones = with_ones(x)
    hessian = ones.T @ ones / len(x)
    weights, column = hessian[:-1, :-1], hessian[:-1, -1]
    centered = x - x.mean(0)
    covariance = centered.T @ centered / len(x)
    squares = weights.square()
    return {
        "covariance_gap": ((weights - covariance).abs().max() / covariance.abs().max()).item(),
        "off_diagonal": ((squares.sum() - squares.diagonal().sum()) / squares.sum()).item(),
        "bias_coupling": (column.norm() / weights.trace().sqrt()).item(),
    }


# Name: values of x, error at each x; all values are equally likely, and E[x] = 0 in all cases.
PLANTED_ERRORS: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "independent of x": ((-1, -1, -1, -1, 2, 2), (-1, 1, -1, 1, -1, 1)),
    "proportional to a symmetric x": ((-2, -1, 1, 2), (-2, -1, 1, 2)),
    "proportional to a skewed x": ((-1, -1, 2), (-1, -1, 2)),
    "affine in a symmetric x": ((-1, 1), (0, 2)),
}


@measurement
def planted_coupling() -> list[dict[str, Any]]:
    """E[dE/dw dE/db] = E[delta^2 x] for one input with E[x] = 0 and an error delta that is given.

    Columns: ``error``, what delta depends on; ``mean``, E[x]; ``product``, E[delta^2 x]; ``covariance``,
    E[delta^2 x] - E[delta^2] E[x], the value of ``product`` for a centered x. Exact: finite sums.
    """
    rows = []
    for name, (values, errors) in PLANTED_ERRORS.items():
        x, squared = torch.tensor(values).double(), torch.tensor(errors).double().square()
        product = (squared * x).mean().item()
        covariance = product - squared.mean().item() * x.mean().item()
        rows.append({"error": name, "mean": x.mean().item(), "product": product, "covariance": covariance})
    return rows


@measurement
def gradient_coupling(*, data: dict[str, Any], norms: Sequence[str], seed: int = 0) -> list[dict[str, Any]]:
    """Alignment of the gradients of weights and bias over training images, for the linear model with squared error.

    A sample's gradients are delta_c x_d and delta_c, so their mean product is E[delta_c^2 x_d].

    Columns: ``data``, ``norm``, ``images``; ``at``, ``start`` (zero weights) or ``optimum`` (least squares with bias);
    ``mean``, the largest |E[x_d]| as a share of the largest standard deviation; ``coupling``, the root mean square
    over outputs and features of E[delta^2 x] / sqrt(E[delta^2 x^2] E[delta^2]), a cosine; ``chance``, the largest
    coupling over 199 permutations of the errors among the images, which make the errors independent of x; ``ratio``,
    coupling / chance. Above 1 the coupling is not by chance (p = 1/200).

    Args:
        data: options of :func:`normlab.dataset`.
        norms: schemes; E[x] = 0 holds for those that subtract each feature's own mean, such as mean_image.
        seed: of the permutations.

    Raises:
        DataError: if the images are missing.
    """
    loaded, rows = dataset(**data), []
    for name in norms:
        x = normalized_features(loaded.train, fitted(loaded, name))
        y = one_hot(loaded.train, len(loaded.classes))
        generator = torch.Generator().manual_seed(seed)
        std = x.std(0, correction=0)
        x = x[:, std > 1e-9 * std.max()]  # a constant feature has no gradient after centering
        ones = with_ones(x)
        for at, errors in (("start", -y), ("optimum", ones @ _least_squares(ones, y) - y)):
            squared = errors.square()
            coupling = rms_cosine(x, squared)
            orders = (torch.randperm(len(x), generator=generator) for _ in range(PERMUTATIONS))
            chance = max(rms_cosine(x, squared[order]) for order in orders)
            row = {"data": data_label(data), "norm": name, "images": len(x), "at": at}
            row |= {"mean": (x.mean(0).abs().max() / std.max()).item()}
            rows.append({**row, "coupling": coupling, "chance": chance, "ratio": coupling / chance})
    return rows


def rms_cosine(x: Tensor, squared: Tensor) -> float:
    """Root mean square over c and d of E[delta_c^2 x_d] / sqrt(E[delta_c^2 x_d^2] E[delta_c^2]).

    >>> x = torch.tensor([[-1.0], [1.0]])
    >>> rms_cosine(x, torch.tensor([[1.0], [1.0]])), rms_cosine(x, torch.tensor([[0.0], [4.0]]))  # 2/sqrt(2 * 2)
    (0.0, 1.0)

    Args:
        x: [N, D].
        squared: delta^2, [N, C].
    """
    shares = squared / squared.mean(0)
    return ((shares.T @ x / len(x)).square() / (shares.T @ x.square() / len(x))).mean().sqrt().item()


@measurement
def scale_dependence(*, data: dict[str, Any], norms: tuple[str, str] = ("raw", "unit")) -> list[dict[str, Any]]:
    """Largest eigenvalue and condition number of the linear model's Hessian under two scales of the same pixels.

    Columns: ``data``, ``images``, ``bias`` (``with`` or ``without``); ``lambda_max`` and ``condition`` with the names
    of the schemes; ``lambda_max_ratio`` and ``condition_ratio``, the first scheme's over the second's;
    ``ranks_differ``, 0 or 1: condition numbers are taken on the range, and are comparable only for equal ranks.

    Without a bias, inputs times s have a Hessian times s^2. With a bias, the entry 1 of the bias does not change.

    Args:
        data: options of :func:`normlab.dataset`.
        norms: two schemes of the same center.

    Raises:
        DataError: if the images are missing, or have more features than a dense matrix can hold.
    """
    loaded, rows = dataset(**data), []
    moments = [dataset_moments(loaded, fitted(loaded, name)) for name in norms]
    for bias in (False, True):
        first, second = (spectrum(part.second_moment(bias), part.count) for part in moments)
        row: dict[str, Any] = {
            "data": data_label(data),
            "images": len(loaded.train),
            "bias": "with" if bias else "without",
        }
        for name, hessian in zip(norms, (first, second), strict=True):
            row |= {f"lambda_max_{name}": hessian.lambda_max, f"condition_{name}": hessian.condition_number}
        row["lambda_max_ratio"] = first.lambda_max / second.lambda_max
        row["condition_ratio"] = first.condition_number / second.condition_number
        rows.append({**row, "ranks_differ": int(first.rank != second.rank)})
    return rows


def _least_squares(x: Tensor, y: Tensor) -> Tensor:
    # gelsd uses singular values, because pixels may be linearly dependent.
    return torch.linalg.lstsq(x, y, driver="gelsd").solution
