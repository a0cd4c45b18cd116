"""Channel statistics against planted images, closed forms and the scheme ``dataset``."""

import math
from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import normlab
from normlab.norms.moments import image_sums
from normlab.statistics.channels import ImageSums, relative_error, sample_for


def sums_of(*batches):
    """Sums of images that may differ in size from batch to batch."""
    pixels = torch.cat([torch.full((len(b),), b[0, 0].numel()) for b in batches])
    total, squares = (torch.cat(parts) for parts in zip(*map(image_sums, batches), strict=True))
    return ImageSums(pixels, total, squares)


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
    errors = [np.mean(sample) / values.mean() - 1 for sample in combinations(values, 3)]
    exact = math.sqrt(np.mean(np.square(errors)))
    assert relative_error(values.std(ddof=1) / values.mean(), 3, 7) == pytest.approx(exact, rel=1e-12)
