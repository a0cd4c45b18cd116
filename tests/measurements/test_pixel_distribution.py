"""Distributions of pixels against numpy, scipy, closed forms and planted images."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

import normlab
from normlab.errors import DataError
from normlab.measurements import training_images as training_images_module
from normlab.measurements.pixel_distribution import (
    mean_image_departures,
    pixel_shapes,
    shape_of,
    spreads_across_images,
)

AFFINE = ["unit", "raw", "centered", "inception", "dataset", "dataset_mean"]


@pytest.fixture
def planted(monkeypatch):
    """Puts given images in the place of those of a source."""

    def put(images):
        monkeypatch.setattr(training_images_module, "training_images", lambda data: iter(images.split(7)))
        return {"name": "planted"}

    return put


def test_departure_of_a_planted_mean_image(planted):
    """Images flicker by 30 about a mean image that is 100 on one half and 140 on the other."""
    mean = torch.full((1, 4, 4), 100)
    mean[:, 2:] = 140
    images = torch.stack([mean + 30, mean - 30] * 50).to(torch.uint8)
    (row,) = mean_image_departures(data=planted(images))
    pooled = math.sqrt(30**2 + 20**2)
    assert row["departure"] == pytest.approx(20 / pooled)
    assert row["largest"] == pytest.approx(20 / pooled)
    assert row["noise"] == pytest.approx(30 / pooled / math.sqrt(100))
    assert row["images"] == 100


def test_departure_is_the_variance_that_the_mean_image_takes_away():
    images = normlab.dataset("digits").train.images.double()
    full = torch.cat(list(training_images_module.training_images({"name": "digits"}))).double()
    assert len(images) < len(full) == 1797
    (row,) = mean_image_departures(data={"name": "digits"})
    left = (full - full.mean(0)).square().mean() / (full - full.mean()).square().mean()
    assert row["departure"] ** 2 == pytest.approx(1 - left.item(), rel=1e-10)


def test_noise_alone_departs_by_the_root_of_the_count(planted):
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (400, 3, 16, 16), dtype=torch.uint8, generator=generator)
    for row in mean_image_departures(data=planted(images)):
        assert row["departure"] == pytest.approx(row["noise"], rel=0.15)
        assert row["noise"] == pytest.approx(1 / 20, rel=0.01)


def test_images_of_different_sizes_are_refused(monkeypatch):
    batches = [torch.zeros(1, 3, 4, 4, dtype=torch.uint8), torch.zeros(1, 3, 4, 5, dtype=torch.uint8)]
    monkeypatch.setattr(training_images_module, "training_images", lambda data: iter(batches))
    for measure in (mean_image_departures, lambda data: pixel_shapes(data=data, norms=["unit"])):
        with pytest.raises(DataError, match="different sizes; give image_size"):
            measure(data={"name": "planted"})


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 255), min_size=2, max_size=200).filter(lambda values: len(set(values)) > 1))
def test_shape_against_scipy(values):
    x = np.array(values) / 255
    found = shape_of(*np.unique(x, return_counts=True))
    z = (x - x.mean()) / x.std()
    assert found["mean"] == pytest.approx(x.mean(), abs=1e-12)
    assert found["std"] == pytest.approx(x.std(), rel=1e-9)
    assert found["skewness"] == pytest.approx(stats.skew(x), rel=1e-6, abs=1e-9)
    assert found["excess_kurtosis"] == pytest.approx(stats.kurtosis(x), rel=1e-6, abs=1e-9)
    assert found["distance"] == pytest.approx(stats.kstest(z, "norm").statistic, abs=1e-9)
    assert found["distance_standard"] == pytest.approx(stats.kstest(x, "norm").statistic, abs=1e-12)


def uniform_distance() -> float:
    """Kolmogorov-Smirnov distance of a uniform distribution to the normal of the same mean and standard deviation.

    The densities are equal, so that the distance is largest, where phi(z) = 1/(2 sqrt 3).
    """
    z = math.sqrt(-2 * math.log(math.sqrt(2 * math.pi) / (2 * math.sqrt(3))))
    return float(stats.norm.cdf(z)) - (z / math.sqrt(3) + 1) / 2


def test_known_shapes():
    grid = (np.arange(200_000) + 0.5) / 200_000
    normal = shape_of(stats.norm.ppf(grid), np.ones_like(grid))
    assert normal["distance"] < 1e-4
    assert normal["distance_standard"] < 1e-4
    assert normal["excess_kurtosis"] == pytest.approx(0, abs=0.01)
    uniform = shape_of(grid, np.ones_like(grid))
    assert uniform["distance"] == pytest.approx(uniform_distance(), abs=1e-4)
    assert uniform["excess_kurtosis"] == pytest.approx(-1.2, abs=1e-6)
    exponential = shape_of(stats.expon.ppf(grid), np.ones_like(grid))
    assert exponential["skewness"] == pytest.approx(2, abs=0.01)
    constant = shape_of(np.array([3.0]), np.array([5]))
    assert constant["mean"] == 3
    assert math.isnan(constant["distance"])


@pytest.mark.parametrize("name", ["digits", "photos"])
def test_no_affine_scheme_changes_the_shape(name, planted, photos):
    data = {"name": name} if name == "digits" else planted(photos.train.images[::30])
    rows = pixel_shapes(data=data, norms=[*AFFINE, "per_image"])
    x = torch.cat(list(training_images_module.training_images(data))).double() / 255
    for row in rows:
        if row["norm"] in AFFINE:
            assert row["change"] < 1e-9
        else:
            assert row["change"] > 0.01
        if row["norm"] == "dataset":
            assert row["distance_standard"] == pytest.approx(row["distance"], abs=1e-9)
            assert (row["mean"], row["std"]) == (pytest.approx(0, abs=1e-12), pytest.approx(1))
        if row["norm"] == "unit":
            channel = x[:, ["red", "green", "blue"].index(row["channel"]) if x.shape[1] == 3 else 0].flatten().numpy()
            assert row["skewness"] == pytest.approx(stats.skew(channel), rel=1e-9)
            expected = stats.kstest((channel - channel.mean()) / channel.std(), "norm").statistic
            assert row["distance"] == pytest.approx(expected, abs=1e-9)


def test_spread_of_images_that_are_one_up_to_brightness_and_contrast(planted):
    base = torch.randint(0, 40, (1, 3, 8, 8), generator=torch.Generator().manual_seed(0))
    base[0, 1] += 30
    images = torch.cat([gain * base + offset for gain in (1, 2, 3) for offset in (0, 10, 45)]).to(torch.uint8)
    rows = {
        row["norm"]: row for row in spreads_across_images(data=planted(images), norms=["dataset", "unit", "per_image"])
    }
    # The statistics of the data set are an affine map for each channel; these images have nearly the same in all.
    u = images.double() / 255
    assert rows["unit"]["brightness"] == pytest.approx(u.mean((2, 3)).var(0, correction=0).mean().item(), rel=1e-5)
    assert rows["unit"]["contrast"] == pytest.approx(
        u.std((2, 3), correction=0).var(0, correction=0).mean().item(), rel=1e-5
    )
    assert rows["dataset"]["brightness_ratio"] == rows["dataset"]["distance_ratio"] == 1
    for column in ("brightness_ratio", "contrast_ratio", "distance_ratio"):
        assert rows["per_image"][column] < 1e-4  # the images are one image
        assert rows["unit"][column] == pytest.approx(
            rows["unit"][column.removesuffix("_ratio")] / rows["dataset"][column.removesuffix("_ratio")]
        )


def test_distance_is_that_of_wasserstein():
    data = {"name": "digits", "limit": 40}
    (row,) = spreads_across_images(data=data, norms=["unit"])
    x = torch.cat(list(training_images_module.training_images(data))).flatten(1).double().numpy() / 255
    average = np.sort(x, 1).mean(0)
    expected = np.mean([stats.wasserstein_distance(image, average) for image in x])
    assert row["distance"] == pytest.approx(expected, rel=1e-9)
    assert row["largest"] == 1


def test_per_image_schemes_leave_no_spread_of_what_they_fix(planted, photos):
    rows = spreads_across_images(
        data=planted(photos.train.images[::30]), norms=["dataset", "per_image", "per_image_channel"]
    )
    found = {row["norm"]: row for row in rows}
    assert found["per_image_channel"]["brightness_ratio"] < 1e-9
    assert found["per_image"]["brightness_ratio"] > 0.01  # the colour cast is left
    assert found["per_image_channel"]["largest"] > found["dataset"]["largest"]
