"""Two features on scales that differ: closed form, Monte Carlo and the harness agree."""

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import normlab
from normlab import conditioning
from normlab.config import choices, defaults, parse
from normlab.measurements.conditioning import surface
from normlab.run import run


def eigenvalues(a, b, c):
    """Of [[a, b], [b, c]], the larger first; the smaller without cancellation."""
    larger = (a + c) / 2 + math.hypot((a - c) / 2, b)
    return larger, (a * c - b * b) / larger


def uniform(ranges, centred):
    """Closed form for independent features, uniform on [0, r]: E[x^2] = r^2/3, E[x1 x2] = r1 r2/4; variance r^2/12."""
    r, s = ranges
    if centred:
        return eigenvalues(r * r / 12, 0.0, s * s / 12)
    return eigenvalues(r * r / 3, r * s / 4, s * s / 3)


def test_entries_and_condition_number_on_0_1_and_0_1000():
    """The off-diagonal entry is 250, and the condition number 2.29e6; exactly 1e6 when centred."""
    larger, smaller = uniform((1, 1000), centred=False)
    assert larger / smaller == pytest.approx(2.2857e6, rel=1e-3)
    larger, smaller = uniform((1, 1000), centred=True)
    assert larger / smaller == pytest.approx(1e6, rel=1e-12)


@pytest.mark.parametrize("centred", [False, True])
def test_monte_carlo(centred):
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(400_000, 2, dtype=torch.float64, generator=generator) * torch.tensor([1.0, 1000.0])
    if centred:
        x = x - x.mean(0)
    found = normlab.linear_hessian(x, bias=False)
    larger, smaller = uniform((1, 1000), centred)
    assert found.lambda_max == pytest.approx(larger, rel=0.01)
    assert found.condition_number == pytest.approx(larger / smaller, rel=0.02)
    assert (x.T @ x / len(x))[0, 1].item() == pytest.approx(0 if centred else 250, abs=1)


def discrete(levels, scheme):
    """Closed form for pixels uniform on 0..n-1."""
    n = np.array(levels, float)
    mean, square = (n - 1) / 2, (n - 1) * (2 * n - 1) / 6
    if scheme == "raw":
        return eigenvalues(square[0], mean[0] * mean[1], square[1])
    variance = square - mean**2
    return (1.0, 1.0) if scheme == "feature" else tuple(sorted(variance / 255**2, reverse=True))


@pytest.mark.slow
@pytest.mark.parametrize("levels", [(8, 256), (2, 256), (100, 100)])
@pytest.mark.parametrize("scheme", ["raw", "mean_image", "feature"])
def test_the_harness(levels, scheme, tmp_path):
    """A real run on images of two pixels records the closed form, and descends as predicted."""
    groups = {"data": "two_features", "augment": "none", "norm": scheme, "arch": "linear", "optim": "gd"}
    values = {group: defaults(group, name) for group, name in groups.items()}
    values |= {"trainer": defaults("trainer", "default"), "logger": defaults("logger", "none"), "runs": tmp_path}
    values["data"]["levels"] = list(levels)
    values["arch"]["bias"] = False
    values["trainer"] |= {"max_epochs": 200, "eval_every_epochs": 200, "precision": "64", "progress": "none"}
    found = run(parse(values))
    metrics = found["metrics"]
    larger, smaller = discrete(levels, scheme)
    assert metrics["lambda_max"] == pytest.approx(larger, rel=1e-12)
    assert metrics["condition_number"] == pytest.approx(larger / smaller, rel=1e-9)
    assert metrics["curve_deviation"] < (1e-12 if scheme == "raw" else 1e-6)  # others have float32 scale and shift
    for eps, steps in metrics["predicted_iterations"].items():
        assert metrics["measured_iterations"][eps] == (steps if steps < 200 else math.inf)
    assert json.loads((Path(found["path"]) / "record.json").read_text())["status"] == "finished"


@pytest.mark.slow
def test_the_path_of_descent_is_drawn(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    conditioning.main(["data=two_features", "bias=false", "out=out"])
    assert (tmp_path / "out/paths.png").stat().st_size > 1000
    assert set(pd.read_csv(tmp_path / "out/conditioning.csv").scheme) <= set(choices("norm"))
    hessian, optimum, path = surface(normlab.dataset("two_features"), "unit")
    gradient = hessian @ (path[0] - optimum)
    np.testing.assert_allclose((path[0] - path[1]) / gradient, (path[0] - path[1])[0] / gradient[0])
