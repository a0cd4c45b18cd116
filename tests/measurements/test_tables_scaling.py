"""Scalings of tables: conditioning against numpy, trees that do not care, coefficients against least squares."""

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.linear_model import LinearRegression
from sklearn.preprocessing import RobustScaler

from normlab.data import dataset
from normlab.errors import DataError
from normlab.measurements.tables_scaling import boosted_trees, table_coefficients, table_conditioning


def test_conditioning_is_that_of_the_second_moments():
    rows = table_conditioning(data={"name": "wine"}, norms=("raw", "robust"))
    for row in rows:
        x = dataset("wine", outliers=row["outliers"]).train.inputs.double().numpy()
        x = RobustScaler().fit_transform(x) if row["norm"] == "robust" else x
        x = np.column_stack([x, np.ones(len(x))])
        assert row["condition_number"] == pytest.approx(np.linalg.cond(x.T @ x / len(x)), rel=1e-4)
        assert row["rank"] == 14
    raw, robust = rows[:2]
    assert raw["gain"] == 1
    assert robust["gain"] == pytest.approx(raw["condition_number"] / robust["condition_number"])
    assert robust["iterations"] < raw["iterations"]


def test_trees_split_by_order():
    rows = boosted_trees(
        data={"name": "breast_cancer", "limit": 80}, outliers=(0.02,), norms=("raw", "standard"), seeds=(0, 1)
    )
    assert [row["norm"] for row in rows] == ["raw", "standard"]
    assert rows[0]["disagreement"] == 0
    assert rows[1]["disagreement"] < 0.1
    assert abs(rows[1]["difference"]) < 0.1
    assert rows[0]["accuracy"] > 0.7
    with pytest.raises(DataError, match="takes a table with classes"):
        boosted_trees(data={"name": "diabetes"})


def test_agreement_is_the_rank_correlation_of_coefficients_and_effects():
    rows = table_coefficients(data={"name": "diabetes"}, outliers=(0.0,), norms=("raw", "standard"), resamples=20)
    data = dataset("diabetes").train
    x, y = data.inputs.double().numpy(), data.labels.double().numpy()
    whole = LinearRegression().fit(x, y)
    error = ((y - whole.predict(x)) ** 2).sum()
    effects = []
    for column in range(10):
        rest = np.delete(x, column, 1)
        effects.append(((y - LinearRegression().fit(rest, y).predict(rest)) ** 2).sum() - error)
    for row, scale in zip(rows, (1.0, x.std(0)), strict=True):
        assert row["agreement"] == pytest.approx(spearmanr(np.abs(whole.coef_ * scale), effects).statistic, abs=1e-9)
        sizes = np.abs(whole.coef_ * scale) / np.sqrt(effects)
        assert row["equal_effect_ratio"] == pytest.approx(sizes.max() / sizes.min(), rel=1e-4)
    with pytest.raises(DataError, match="takes a regression"):
        table_coefficients(data={"name": "wine"})
