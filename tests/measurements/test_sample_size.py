"""Errors of samples and batches against numpy, the root law and the law of total variance."""

import math

import numpy as np
import pytest

from normlab.measurements.sample_size import batch_statistics, images_for_mean, mean_errors
from normlab.measurements.training_images import sums
from normlab.statistics.channels import sample_for


def test_images_for_mean(folder):
    data, images = folder
    means = np.array([image.mean((0, 1)) for image in images])
    (row,) = images_for_mean(data=data, precision=0.1)
    spread = (means.std(0, ddof=1) / means.mean(0)).max()
    assert row["spread"] == pytest.approx(spread, rel=1e-12)
    assert row["share"] == pytest.approx(sample_for(spread, 0.1, 12) / 12)
    (larger,) = images_for_mean(data=data, precision=0.1, population=10**6)
    assert larger["needed"] > row["needed"]
    assert larger["share"] < row["share"]


def test_mean_errors_follow_the_root_law():
    rows = mean_errors(data={"name": "digits"}, sizes=[5, 50, 500, 1797], draws=1000)
    assert [row["sample"] for row in rows] == [5, 50, 500]  # the whole set has no error
    for row in rows:
        assert row["ratio"] == pytest.approx(1, abs=0.1)
        assert row["predicted"] == pytest.approx(row["error"] / row["ratio"])
    assert rows[0]["predicted"] / rows[1]["predicted"] == pytest.approx(
        math.sqrt(10 * (1 - 5 / 1797) / (1 - 50 / 1797))
    )


def test_batch_statistics():
    data = {"name": "digits", "limit": 640}
    rows = batch_statistics(data=data, batch_sizes=[1, 8, 64, 640, 641], epochs=30)
    assert [row["batch_size"] for row in rows] == [1, 1, 8, 8, 64, 64, 640, 640]
    found = sums(data)
    means, stds = found.images
    whole = found.statistics("pooled")
    by_kind = {(row["batch_size"], row["statistic"]): row for row in rows}
    # Batches of one image have the images' own statistics, exactly.
    for statistic, own, of_all in (("mean", means, whole[0]), ("std", stds, whole[1])):
        deviations = (own / of_all - 1).numpy()
        row = by_kind[1, statistic]
        assert row["spread"] == pytest.approx(np.sqrt((deviations**2).mean()), rel=1e-9)
        assert row["worst"] == pytest.approx(np.abs(deviations).max(), rel=1e-9)
        assert row["bias"] == pytest.approx(deviations.mean(), abs=1e-9)
    for size in (8, 64):
        row = by_kind[size, "mean"]
        assert row["spread"] == pytest.approx(row["predicted"], rel=0.15)
        assert row["batches"] == 30 * 640 // size
        assert row["bias"] == pytest.approx(0, abs=1e-12)  # every image is in a batch of every epoch
        # The law of total variance over the batches of whole epochs: E[std^2] = pooled^2 - Var(batch mean).
        of_std = by_kind[size, "std"]
        missing = (row["spread"] * whole[0] / whole[1]).item() ** 2
        assert 2 * of_std["bias"] + of_std["spread"] ** 2 == pytest.approx(-missing, rel=1e-9)
    # The whole set as one batch is itself.
    assert by_kind[640, "mean"]["spread"] == by_kind[640, "std"]["spread"] == 0
