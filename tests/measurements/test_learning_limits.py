"""The largest rate at which a network learns: two schemes that are one function at two rates."""

import math

import pytest

from normlab.measurements import learning_limits as measured
from normlab.measurements.learning_limits import learning_limits

WHITE = 255


@pytest.fixture
def limits(here):
    """Limits of a linear model without bias, from zeros, whose steps scale with the square of its inputs."""

    def find(**changes):
        options = {
            "data": {"name": "digits", "limit": 200},
            "arch": {"name": "linear", "bias": False, "loss": "squared_error"},
            "optim": {"name": "sgd"},
            "starts": {"unit": 0.05, "raw": 0.05 / WHITE**2},
            "reference": "unit",
            "epochs": 3,
            "learns": 0.3,
            "resolution": 0.2,
            "seeds": [1, 2],
        }
        return {row["norm"]: row for row in learning_limits(**{**options, **changes})}

    return find


def test_the_ratio_of_two_scales_is_their_square(limits, here):
    rows = limits()
    assert rows["raw"]["ratio"] == pytest.approx(WHITE**2, rel=1e-6)
    assert rows["raw"]["ratio_low"] == pytest.approx(rows["raw"]["ratio_high"])
    assert rows["unit"]["ratio"] == rows["unit"]["ratio_low"] == 1
    assert rows["raw"]["n"] == 2
    made = len(list((here / "runs").iterdir()))
    again = limits(starts={"unit": 0.05})
    assert len(list((here / "runs").iterdir())) == made  # every run was taken from its record
    assert again["unit"] == rows["unit"]


@pytest.mark.parametrize("edges", [{1: 0.3, 2: 0.9, 3: 0.5}, {1: 40.0, 2: 0.001, 3: 7.0}])
def test_the_limit_of_each_seed_is_found_from_that_of_the_one_before(limits, monkeypatch, edges):
    tried = []

    def learns(groups, epochs, accuracy, seed):
        tried.append((seed, groups["optim"]["lr"]))
        assert groups["data"]["split_seed"] == seed
        return groups["optim"]["lr"] <= edges[seed] / (4 if groups["norm"] == "raw" else 1)

    monkeypatch.setattr(measured, "_learns", learns)
    rows = limits(starts={"unit": 0.5, "raw": 0.5}, seeds=[1, 2, 3])
    middle = math.prod(edges.values()) ** (1 / 3)
    for name, scale in (("unit", 1), ("raw", 4)):
        assert rows[name]["rate"] == pytest.approx(middle / scale, rel=0.1)
        assert rows[name]["rate_low"] < rows[name]["rate"] < rows[name]["rate_high"]
    assert rows["raw"]["ratio"] == pytest.approx(4, rel=0.2)
    assert rows["unit"]["runs"] + rows["raw"]["runs"] == len(tried)


def test_a_run_that_diverges_or_does_not_learn_is_above_the_limit(here):
    groups = {
        "data": {"name": "digits", "limit": 200},
        "arch": {"name": "linear", "loss": "squared_error"},
        "norm": "unit",
    }
    learned = {
        rate: measured._learns({**groups, "optim": {"name": "sgd", "lr": rate}}, 3, 0.3, 0) for rate in (0.05, 1e9)
    }
    assert learned == {0.05: True, 1e9: False}
    assert not measured._learns({**groups, "optim": {"name": "sgd", "lr": 0.05}}, 3, 1.0, 0)
