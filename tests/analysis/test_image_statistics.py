"""Channel statistics against numpy in float64, planted images, closed forms and the scheme ``dataset``."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import normlab
from normlab.analysis.image_statistics import (
    ImageSums,
    batch_statistics,
    channel_differences,
    images_for_mean,
    mean_errors,
    published_statistics,
    relative_error,
    sample_for,
    sums,
    training_images,
)
from normlab.errors import DataError
from normlab.norms.moments import image_sums


def sums_of(*batches):
    """Sums of images that may differ in size from batch to batch."""
    pixels = torch.cat([torch.full((len(b),), b[0, 0].numel()) for b in batches])
    total, squares = (torch.cat(parts) for parts in zip(*map(image_sums, batches), strict=True))
    return ImageSums(pixels, total, squares)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Two classes of six colour images each, 10 to 15 pixels wide, as lossless files; and the images."""
    monkeypatch.setenv("NORMLAB_CACHE", str(tmp_path / "cache"))
    generator = np.random.default_rng(0)
    images = []
    for place in range(12):
        pixels = generator.integers(0, 256, (10, 10 + place % 6, 3), dtype=np.uint8)
        path = tmp_path / "images" / f"class{place // 6}" / f"{place:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
        images.append(pixels)
    return {"name": "folder", "root": str(tmp_path / "images")}, images


def test_both_estimators_against_numpy_on_images_of_different_sizes(folder):
    data, images = folder
    found = sums(data)
    u = [image / 255 for image in images]
    every = np.concatenate([image.reshape(-1, 3) for image in u])
    mean, std = found.statistics("pooled")
    np.testing.assert_allclose(mean, every.mean(0), rtol=1e-13)
    np.testing.assert_allclose(std, every.std(0), rtol=1e-13)
    mean, std = found.statistics("per_image")
    np.testing.assert_allclose(mean, np.mean([image.mean((0, 1)) for image in u], 0), rtol=1e-13)
    np.testing.assert_allclose(std, np.mean([image.std((0, 1)) for image in u], 0), rtol=1e-13)
    assert sums(data).total.tolist() == found.total.tolist()  # from the cache


def test_no_training_image_is_held_back_and_limit_draws_some(folder):
    data, images = folder
    assert len(list(training_images(data))) == 12
    some = [image[0].permute(1, 2, 0).numpy() for image in training_images({**data, "limit": 5})]
    places = [next(i for i, image in enumerate(images) if np.array_equal(image, one)) for one in some]
    assert len(set(places)) == 5
    assert len(sums({**data, "limit": 5})) == 5
    assert len(sums({"name": "digits"})) == 1797


def test_centre_crop(folder):
    data, images = folder
    found = list(training_images(data, crop=6))
    np.testing.assert_array_equal(found[5][0].permute(1, 2, 0), images[5][2:8, 4:10])  # of 10 x 15
    with pytest.raises(DataError, match="crop=11"):
        list(training_images(data, crop=11))
    resized = torch.cat(list(training_images({**data, "image_size": 8}, crop=6)))
    assert resized.shape == (12, 3, 6, 6)


@pytest.mark.parametrize("estimator", ["pooled", "per_image"])
def test_agrees_with_the_scheme_dataset(estimator, photos):
    images = photos.train.images[::4]
    norm = normlab.normalization("dataset", estimator=estimator).fit(images.split(256))
    mean, std = sums_of(*images.split(100)).statistics(estimator)
    torch.testing.assert_close(norm.mean.flatten(), mean, rtol=1e-12, atol=0)
    torch.testing.assert_close(norm.std.flatten(), std, rtol=1e-12, atol=0)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 6), st.integers(1, 5))
def test_the_pooled_deviation_is_the_larger_by_the_law_of_total_variance(seed, count, side):
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (count, 2, side, side), dtype=torch.uint8, generator=generator)
    found = sums_of(images)
    means, stds = found.images
    pooled, per_image = found.statistics("pooled")[1], found.statistics("per_image")[1]
    torch.testing.assert_close(pooled**2, (stds**2).mean(0) + means.var(0, correction=0), rtol=1e-9, atol=1e-12)
    assert (pooled >= per_image - 1e-12).all()


def test_planted_statistics():
    """Half of the images are 50 +- 20, half 150 +- 20: each has deviation 20, all together sqrt(20^2 + 50^2)."""
    checker = torch.tensor([[1, -1], [-1, 1]])
    images = torch.stack([(base + 20 * checker).expand(3, 2, 2) for base in (50, 150) * 4]).to(torch.uint8)
    found = sums_of(images)
    assert found.statistics("pooled")[1].tolist() == pytest.approx([math.sqrt(20**2 + 50**2) / 255] * 3)
    assert found.statistics("per_image")[1].tolist() == pytest.approx([20 / 255] * 3)


@pytest.mark.parametrize("estimator", ["pooled", "per_image"])
def test_the_bootstrap_resamples_images(estimator):
    generator = torch.Generator().manual_seed(1)
    images = torch.randint(0, 256, (200, 1, 3, 3), dtype=torch.uint8, generator=generator)
    images[:100] //= 4
    found = sums_of(images)
    means, stds = found.resampled(estimator, 400, seed=7)
    draws = np.random.default_rng(7)
    picked = [sums_of(images[torch.from_numpy(draws.integers(200, size=200))]).statistics(estimator) for _ in range(20)]
    np.testing.assert_allclose(means[:20], torch.stack([mean for mean, _ in picked]), rtol=1e-10)
    np.testing.assert_allclose(stds[:20], torch.stack([std for _, std in picked]), rtol=1e-10)
    # The standard error of a mean of independent images is known.
    assert means.std() == pytest.approx(found.images[0].std().item() / math.sqrt(200), rel=0.12)


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
    with pytest.raises(DataError, match="needs colour images"):
        channel_differences(data={"name": "digits"})


@settings(deadline=None)
@given(st.floats(0.01, 2), st.floats(0.001, 0.5), st.integers(2, 10**7))
def test_the_sample_size_has_the_error_that_is_asked(spread, precision, population):
    needed = sample_for(spread, precision, population)
    assert 0 < needed < population
    error = spread * math.sqrt((population - needed) / population / needed)
    assert 1.959963984540054 * error == pytest.approx(precision, rel=1e-9)


def test_the_error_of_every_sample_of_a_small_population():
    """All 35 samples of 3 from 7: the formula is exact, and drawing comes near it."""
    values = np.array([3.0, 1, 4, 1, 5, 9, 2])
    from itertools import combinations

    errors = [np.mean(sample) / values.mean() - 1 for sample in combinations(values, 3)]
    exact = math.sqrt(np.mean(np.square(errors)))
    assert relative_error(values.std(ddof=1) / values.mean(), 3, 7) == pytest.approx(exact, rel=1e-12)


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
