"""Channel statistics along a pipeline, against numpy."""

import numpy as np
import pytest

import normlab
from normlab.measurements.tutorial_pipeline import pipeline_statistics


def test_pipeline_statistics_against_numpy():
    rows = pipeline_statistics(data={"name": "digits"}, norms=["unit", "dataset"])
    data = normlab.dataset("digits")
    mean, std = (f(data.train.images.double().numpy() / 255) for f in (np.mean, np.std))
    for row in rows:
        part = data.splits[row["split"]]
        x = part.images.double().numpy() / 255
        x = (x - mean) / std if row["norm"] == "dataset" else x
        assert row["images"] == len(part)
        for column, expected in (("mean", x.mean()), ("std", x.std()), ("smallest", x.min()), ("largest", x.max())):
            assert row[column] == pytest.approx(expected, abs=1e-6)
    assert {(row["norm"], row["split"]) for row in rows} == {
        (n, s) for n in ("unit", "dataset") for s in ("train", "test")
    }
