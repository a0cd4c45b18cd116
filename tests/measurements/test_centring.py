"""Extremes, second moments, gradient coupling and scale of the inputs against brute force and planted answers."""

import copy
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import normlab
from normlab.errors import ConfigError
from normlab.measurements import centring as module
from normlab.measurements.centring import (
    centred_extremes,
    gradient_coupling,
    planted_coupling,
    rms_cosine,
    scale_dependence,
    second_moment_structure,
    structure,
)

DIGITS = {"name": "digits", "limit": 300}


def pixels(split):
    return split.images.flatten(1).double().numpy()


def test_extremes_against_the_pixels_themselves():
    data = normlab.dataset(**DIGITS)
    train = pixels(data.train)
    centres = {"centered": 127.5, "dataset_mean": train.mean(), "mean_image": train.mean(0)}
    rows = centred_extremes(data=DIGITS)
    assert [(row["norm"], row["split"]) for row in rows] == [(n, s) for n in centres for s in ("train", "test")]
    for row in rows:
        x = pixels(data.splits[row["split"]])
        assert row["before"] == x.max() == 255
        assert row["after"] == pytest.approx(abs(x - centres[row["norm"]]).max(), rel=1e-12)
        assert row["ratio"] == row["after"] / row["before"]


@pytest.mark.parametrize("norm", ["dataset", "zca"])
def test_extremes_are_refused_for_a_scheme_that_also_scales(norm):
    with pytest.raises(ConfigError, match=f"{norm}: not a scheme that only subtracts"):
        centred_extremes(data=DIGITS, norms=[norm])


def test_structure_against_the_hessian_by_automatic_differentiation():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(50, 4, dtype=torch.float64, generator=generator) * torch.tensor([1, 2, 3, 4]) + 1
    y = torch.randn(50, dtype=torch.float64, generator=generator)
    hessian = torch.autograd.functional.hessian(
        lambda w: 0.5 * (x @ w[:4] + w[4] - y).square().mean(), torch.zeros(5, dtype=torch.float64)
    ).numpy()
    covariance = np.cov(x.numpy(), rowvar=False, ddof=0)
    weights = hessian[:4, :4]
    found = structure(x)
    assert found["covariance_gap"] == pytest.approx(abs(weights - covariance).max() / abs(covariance).max(), rel=1e-12)
    off = weights - np.diag(np.diag(weights))
    assert found["off_diagonal"] == pytest.approx((off**2).sum() / (weights**2).sum(), rel=1e-12)
    coupling = np.linalg.norm(hessian[4, :4]) / np.sqrt(np.trace(weights) * hessian[4, 4])
    assert found["bias_coupling"] == pytest.approx(coupling, rel=1e-12)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.1, 100))
def test_centring_makes_the_hessian_the_covariance_and_nothing_else_does(seed, shift):
    x = torch.randn(20, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    centred = structure(x - x.mean(0))
    assert centred["covariance_gap"] < 1e-12
    assert centred["bias_coupling"] < 1e-12
    moved, variance = structure(x - x.mean(0) + shift), x.var(0, correction=0)
    assert moved["covariance_gap"] == pytest.approx(shift**2 / variance.max().item(), rel=1e-6)
    assert moved["bias_coupling"] == pytest.approx((1 + variance.mean().item() / shift**2) ** -0.5, rel=1e-6)


def test_uncorrelated_features_give_a_diagonal_only_when_each_is_centred():
    rows = {
        row["norm"]: row
        for row in second_moment_structure(data={"name": "planted"}, norms=["unit", "dataset_mean", "mean_image"])
    }
    assert rows["mean_image"]["off_diagonal"] < 1e-25
    assert rows["dataset_mean"]["off_diagonal"] > 0.1  # one mean for features whose means differ
    assert rows["unit"]["bias_coupling"] > rows["dataset_mean"]["bias_coupling"] > 0.1
    correlated = {"name": "planted", "mean": [128, 128], "std": [10, 10], "common_std": 10}
    (row,) = second_moment_structure(data=correlated, norms=["mean_image"])
    assert row["covariance_gap"] < 1e-12
    d = 16  # covariance 100 I + 100 11': d entries of 200, the others 100
    assert row["off_diagonal"] == pytest.approx(d * (d - 1) * 100**2 / (d * (d - 1) * 100**2 + d * 200**2), rel=1e-9)


def test_planted_coupling():
    rows = {row["error"]: row for row in planted_coupling()}
    assert all(row["mean"] == 0 for row in rows.values())
    assert {name: row["product"] for name, row in rows.items()} == {
        "independent of x": 0,
        "proportional to a symmetric x": 0,
        "proportional to a skewed x": pytest.approx(2),  # (-1 - 1 + 8)/3
        "affine in a symmetric x": 2,  # (0 + 4)/2
    }
    for values, errors in module.PLANTED_ERRORS.values():
        assert len(values) == len(errors)


def test_rms_cosine_against_gradients_by_automatic_differentiation():
    torch.manual_seed(0)
    x, y = torch.randn(30, 4, dtype=torch.float64), torch.randn(30, 2, dtype=torch.float64)
    layer = nn.Linear(4, 2).double()
    weights, biases = [], []
    for sample, target in zip(x, y, strict=True):
        one = copy.deepcopy(layer)
        (0.5 * (one(sample) - target).square().sum()).backward()
        weights.append(one.weight.grad)
        biases.append(one.bias.grad)
    w, b = torch.stack(weights).numpy(), torch.stack(biases).numpy()[:, :, None]  # [N, C, D], [N, C, 1]
    cosines = (w * b).mean(0) / np.sqrt((w**2).mean(0) * (b**2).mean(0))
    found = rms_cosine(x, (layer(x) - y).detach().square())
    assert found == pytest.approx(np.sqrt((cosines**2).mean()), rel=1e-12)


def test_gradient_coupling_exceeds_chance_where_the_labels_depend_on_the_pixels_and_not_where_they_do_not(monkeypatch):
    rows = gradient_coupling(data=DIGITS, norms=["mean_image"])
    assert [row["at"] for row in rows] == ["start", "optimum"]
    assert all(row["mean"] < 1e-12 for row in rows)
    assert rows[0]["ratio"] > 1.2
    assert gradient_coupling(data=DIGITS, norms=["mean_image"]) == rows
    # Labels that know nothing of the pixels: the claim holds, within chance.
    one_hot = module.one_hot
    monkeypatch.setattr(
        module, "one_hot", lambda *a: one_hot(*a)[torch.randperm(300, generator=torch.Generator().manual_seed(1))]
    )
    assert gradient_coupling(data=DIGITS, norms=["mean_image"])[0]["ratio"] < 1.2


def scaled_condition_number(mean: float, variance: float, scale: float) -> float:
    """Condition number of one feature and a bias, for inputs times s: that of [[s^2 (v + m^2), s m], [s m, 1]]."""
    trace, determinant = scale**2 * (variance + mean**2) + 1, scale**2 * variance
    larger = (trace + math.sqrt(max(0.0, trace**2 - 4 * determinant))) / 2
    return larger**2 / determinant  # the product of the eigenvalues is the determinant


@given(st.floats(-2, 2), st.floats(0.01, 4), st.floats(0.01, 300))
def test_condition_number_of_a_feature_and_a_bias(mean, variance, scale):
    matrix = np.array([[scale**2 * (variance + mean**2), scale * mean], [scale * mean, 1]])
    assert scaled_condition_number(mean, variance, scale) == pytest.approx(np.linalg.cond(matrix), rel=1e-6)


def test_scale_changes_the_condition_number_through_the_bias_alone():
    without, with_ = scale_dependence(data={"name": "planted", "side": 1, "mean": [100, 100], "std": [20, 20]})
    assert without["lambda_max_ratio"] == pytest.approx(255**2, rel=1e-12)
    assert without["condition_ratio"] == pytest.approx(1, rel=1e-12)
    mean, variance = 100 / 255, (20 / 255) ** 2
    assert with_["condition_unit"] == pytest.approx(scaled_condition_number(mean, variance, 1), rel=1e-9)
    assert with_["condition_raw"] == pytest.approx(scaled_condition_number(mean, variance, 255), rel=1e-9)
    assert with_["condition_ratio"] > 2
    assert without["ranks_differ"] == with_["ranks_differ"] == 0
