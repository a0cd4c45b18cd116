"""The steps from [0, 1] to whitened inputs: planted answers, and numpy's second moments of real digits."""

import numpy as np
import pytest

import normlab
from normlab.measurements.how_much_whitening import hessians_by_step


def by_norm(**options):
    return {row["norm"]: row for row in hessians_by_step(**options)}


def test_uncorrelated_features_reach_the_identity():
    rows = by_norm(data={"name": "planted"}, whitening_eps=0.0)
    for norm in ("feature", "zca"):
        assert rows[norm]["condition_number"] == pytest.approx(1, abs=1e-6)
        assert rows[norm]["rate"] == pytest.approx(1, abs=1e-6)
        assert rows[norm]["from_identity"] < 1e-6
        assert rows[norm]["largest_correlation"] < 1e-6
    # One scale for the channel leaves the planted deviations, 4 to 64 in equal ratios, as they are.
    loaded = normlab.dataset("planted").train.images.double().flatten(1)
    deviations = loaded.std(0, correction=0)
    assert rows["dataset"]["condition_number"] > (deviations.max() / deviations.min()).item() ** 2 * 0.99
    assert rows["feature"]["whole_gain"] == pytest.approx(rows["unit"]["condition_number"], rel=1e-6)


def test_correlated_features_of_unit_variance_do_not():
    """s_0 = 20 on top of 16 deviations of 20 correlates all by 1/2: eigenvalues 1/2 and 8.5, and the bias's 1."""
    row = by_norm(data={"name": "planted", "std": [20.0, 20.0], "common_std": 20.0}, norms=["feature"])["feature"]
    assert row["largest_correlation"] == pytest.approx(0.5)
    assert row["from_identity"] == pytest.approx(0.5)
    assert row["lambda_max"] == pytest.approx(8.5)
    assert row["condition_number"] == pytest.approx(17)
    assert row["rate"] == pytest.approx(1 / 8.5)


@pytest.mark.parametrize("bias", [True, False])
def test_digits_against_numpy(bias):
    rows = by_norm(data={"name": "digits"}, norms=["unit", "feature"], bias=bias)
    x = normlab.dataset("digits").train.images.flatten(1).double().numpy() / 255
    deviation = x.std(0)
    standard = (x - x.mean(0)) / np.where(deviation > 0, deviation, 1)
    for norm, inputs in (("unit", x), ("feature", standard)):
        if bias:
            inputs = np.hstack([inputs, np.ones((len(inputs), 1))])
        matrix = inputs.T @ inputs / len(inputs)
        values = np.linalg.eigvalsh(matrix)
        values = values[values > 1e-10]
        assert rows[norm]["rank"] == len(values)
        assert rows[norm]["condition_number"] == pytest.approx(values[-1] / values[0], rel=1e-5)
    kept = standard[:, deviation > 0]
    correlation = np.abs(np.corrcoef(kept.T) - np.eye(kept.shape[1]))
    assert rows["feature"]["largest_correlation"] == pytest.approx(correlation.max(), rel=1e-6)
    assert rows["feature"]["from_identity"] == pytest.approx(correlation.max(), rel=1e-6)
