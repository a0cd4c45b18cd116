"""Steps of gradient descent against PyTorch's optimizer, the closed form, and planted spectra."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import normlab
from normlab.errors import DataError
from normlab.measurements.descent_steps import (
    convergence_iterations,
    descending,
    loss,
    one_step,
    step_reversals,
    valley_iterations,
    worst_case_iterations,
)
from normlab.theory.descent import descent
from normlab.theory.prediction import dataset_moments

DIGITS = {"name": "digits", "limit": 300}


def test_descent_against_the_optimizer():
    torch.manual_seed(0)
    x, y = torch.randn(20, 3, dtype=torch.float64), torch.randn(20, 2, dtype=torch.float64)
    layer = nn.Linear(3, 2, bias=False).double()
    start = layer.weight.detach().T.clone()
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.3)
    for found, weights, step in descending(x, y, 0.3, 6, start):
        torch.testing.assert_close(weights, layer.weight.detach().T)
        before = layer.weight.detach().T.clone()
        value = 0.5 * (layer(x) - y).square().sum(1).mean()
        assert found == pytest.approx(value.item(), rel=1e-12) == loss(x, y, weights)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        torch.testing.assert_close(step, layer.weight.detach().T - before)


@given(st.floats(1.01, 1e5), st.sampled_from([0.5, 0.1, 0.01, 0.001]))
def test_the_worst_case_is_the_first_step_that_is_enough(k, eps):
    for rate, factor in (("best constant", (k - 1) / (k + 1)), ("1/lambda_max", 1 - 1 / k)):
        steps = worst_case_iterations(k, eps, rate)
        assert factor ** (2 * steps) <= eps * (1 + 1e-9)
        assert factor ** (2 * (steps - 1)) > eps * (1 - 1e-9)


def test_the_floor_of_a_valley_takes_as_many_steps_as_the_worst_case():
    rows = valley_iterations(condition_numbers=(5.0, 50.0, 500.0), eps=0.01)
    assert [row["measured"] for row in rows] == [row["by_condition"] for row in rows]
    by_rate = {(row["condition"], row["rate"]): row["measured_per_k"] for row in rows}
    assert by_rate[500.0, "best constant"] == pytest.approx(math.log(100) / 4, rel=0.01)
    assert by_rate[500.0, "1/lambda_max"] == pytest.approx(math.log(100) / 2, rel=0.01)


def test_convergence_as_predicted():
    rows = convergence_iterations(data=DIGITS, norms=["feature", "mean_image"], eps=0.1)
    data = normlab.dataset(**DIGITS)
    for row in rows:
        norm = normlab.normalization(row["norm"]).fit(data.training_images())
        theory = descent(dataset_moments(data, norm), bias=True)
        assert row["condition"] == theory.spectrum.condition_number
        rate = theory.best_rate if row["rate"] == "best constant" else 1 / row["condition"] / theory.spectrum.lambda_min
        assert row["by_spectrum"] == theory.iterations(0.1, rate) <= row["by_condition"]
        assert row["by_spectrum_per_k"] == row["by_spectrum"] / row["condition"]
        assert row["measured"] == row["by_spectrum"] if row["by_spectrum"] <= 2000 else math.isnan(row["measured"])
    assert sum(math.isfinite(row["measured"]) for row in rows) >= 2
    short = convergence_iterations(data=DIGITS, norms=["feature"], eps=0.1, most=1)
    assert all(math.isnan(row["measured"]) for row in short)


def test_white_data_take_one_step():
    rows = convergence_iterations(data={"name": "planted"}, norms=["feature"])
    assert [(row["condition"], row["measured"]) for row in rows] == [(pytest.approx(1), 1.0)] * 2


def test_a_step_turns_back_in_the_steepest_direction_above_1_over_lambda_max_whatever_the_condition_number():
    rows = step_reversals(data={"name": "two_features"}, norms=["raw", "feature"])
    assert {row["norm"]: row["conditioning"] for row in rows} == {"raw": "bad", "feature": "good"}
    for row in rows:
        assert row["factor"] == pytest.approx(1 - row["rate"], abs=1e-6)
        assert row["top_cosine"] == pytest.approx(-1 if row["rate"] > 1 else 1)
        assert row["condition"] == (pytest.approx(1) if row["norm"] == "feature" else pytest.approx(138_700, rel=1e-3))


def test_cosines_of_whole_steps():
    """Against steps in numpy."""
    data = normlab.dataset(**DIGITS)
    x = np.column_stack([data.train.images.flatten(1).double().numpy() / 255, np.ones(300)])
    y = np.eye(10)[data.train.labels.numpy()]
    rate = 1.9 / np.linalg.norm(x.T @ x / 300, 2)
    weights, made = np.zeros((65, 10)), []
    for _ in range(4):
        made.append(-rate * x.T @ (x @ weights - y) / 300)
        weights = weights + made[-1]
    cosines = [(a * b).sum() / np.sqrt((a**2).sum() * (b**2).sum()) for a, b in itertools.pairwise(made)]
    (row,) = step_reversals(data=DIGITS, norms=["unit"], rates=[1.9], steps=4)
    assert row["step_cosine"] == pytest.approx(np.mean(cosines), rel=1e-9)


@pytest.mark.parametrize("norm", ["feature", "pca", "zca"])
def test_one_step_on_white_data(norm):
    rows = one_step(data={"name": "planted"}, norms=[norm], rates=[0.5, 1.0, 2.0])
    assert len(rows) == 6
    for row in rows:
        assert row["white"] == "yes"
        assert row["left"] == pytest.approx((1 - row["rate"]) ** 2, abs=1e-12)  # every error shrinks by 1 - eta


def test_one_step_is_not_enough_without_white_data():
    for norm, eps in (("unit", 0.0), ("pca", 0.1)):
        for row in one_step(data={"name": "planted"}, norms=[norm], eps=eps):
            assert row["white"] == "no"
            assert row["left"] > 1e-3


def test_exact_whitening_of_dependent_pixels_is_refused():
    with pytest.raises(DataError, match="rank"):
        one_step(data=DIGITS, norms=["pca"])
