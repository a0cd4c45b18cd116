"""Channel statistics beside constants, on digits and on planted channels."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from normlab.errors import DataError
from normlab.measurements.published_statistics import channel_differences, published_statistics
from normlab.measurements.training_images import training_images


def test_constants_beside_measurement():
    rows = published_statistics(data={"name": "digits"}, published="own", mean=[0.3], std=[0.4], resamples=50, seed=0)
    images = torch.cat(list(training_images({"name": "digits"}))).double() / 255
    expected = {
        ("pooled", "mean"): images.mean().item(),
        ("pooled", "std"): images.std(correction=0).item(),
        ("per_image", "mean"): images.mean().item(),
        ("per_image", "std"): images.flatten(1).std(1, correction=0).mean().item(),
    }
    for row in rows:
        assert row["value"] == pytest.approx(expected.pop((row["estimator"], row["statistic"])), rel=1e-12)
        assert row["ratio"] == pytest.approx(row["value"] / row["constant"])
        assert row["difference"] == pytest.approx(row["value"] - row["constant"])
        assert row["ratio_low"] < row["ratio"] < row["ratio_high"]
        assert (row["data"], row["channel"], row["images"]) == ("digits", "grey", 1797)
    assert not expected
    with pytest.raises(DataError, match="3 means and 3 deviations for images of 1 channels"):
        published_statistics(data={"name": "digits"}, published="own", mean=[0.3] * 3, std=[0.4] * 3)


def test_differences_of_planted_channels(folder):
    """Red spans 0..200, green half of that plus 10, blue twice green's spread of values: known differences."""
    data, _ = folder
    root = Path(data["root"])
    for place, path in enumerate(sorted(root.rglob("*.png"))):
        values = np.random.default_rng(place).permutation(np.arange(100))
        channels = [values + 100, values + 90, values * 2]  # equal deviations of red and green, twice that of blue
        Image.fromarray(np.stack(channels, 1).reshape(10, 10, 3).astype(np.uint8)).save(path)
    own = np.arange(100).std() / 255
    for row in channel_differences(data=data, resamples=20):
        expected = {"blue - red": own, "blue - green": own, "red - green": 10 / 255}[row["pair"]]
        for column in ("difference", "difference_low", "difference_high"):  # all images have the same statistics
            assert row[column] == pytest.approx(expected, abs=1e-9)
    with pytest.raises(DataError, match="needs color images"):
        channel_differences(data={"name": "digits"})
