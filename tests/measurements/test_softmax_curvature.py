"""The two formulas of claim A13, measured."""

import pytest

from normlab.measurements.softmax_curvature import hessian_candidates


def test_the_candidates_on_planted_images():
    rows = hessian_candidates(data={"name": "planted"}, weight_stds=[0.0, 0.5])  # 4 classes, 16 features
    at_zero, claimed_at_zero, anywhere, claimed = rows
    for row in (at_zero, anywhere):
        assert max(row["error"], row["asymmetry"], row["eigenvalue_error"]) < 1e-10
        assert row["lambda_max_ratio"] == pytest.approx(1)
        assert row["zero_eigenvalues"] == 16
    # With every p at 1/C both are symmetric, I/C - 11'/C^2 and I/C - 11'/C^3; the first has the norm sqrt(C - 1)/C.
    assert claimed_at_zero["asymmetry"] < 1e-12
    assert claimed_at_zero["error"] == pytest.approx((1 / 16 - 1 / 64) * 4 / (3**0.5 / 4), rel=1e-9)
    assert claimed["asymmetry"] > 0.01 < claimed["error"]
    assert claimed["zero_eigenvalues"] < anywhere["zero_eigenvalues"]


def test_candidates_that_would_not_fit_are_refused():
    with pytest.raises(ValueError, match="10 classes x 3072 features"):
        hessian_candidates(data={"name": "photos", "limit": 10})
