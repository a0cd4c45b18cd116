"""Intervals over seeds and images: closed forms, an independent bootstrap, coverage on planted truth."""

import math

import numpy as np
import pytest
from scipy import stats

from normlab.record import pack, unpack
from normlab.statistics import crossed_interval, paired_difference
from normlab.statistics.crossed import mean_squares

DIFFICULTY, FIRST, SECOND = 1.5, 0.3, 0.1  # spread of the images' difficulty; skill of the two schemes


def planted(generator, seeds, images, seed_spread, image_spread):
    """Whether runs of two schemes are right, [seeds, images] each: a run is, if its skill exceeds the difficulty.

    Skills vary by run, and each image suits a scheme more or less; both schemes share the images' difficulty.
    """
    difficulty = generator.normal(0, DIFFICULTY, images)

    def scheme(skill):
        runs = generator.normal(skill, seed_spread, (seeds, 1))
        return (
            difficulty + generator.normal(0, image_spread, images) + runs + generator.normal(0, 1, (seeds, images)) > 0
        )

    return scheme(FIRST), scheme(SECOND)


def truth(seed_spread, image_spread):
    """The difference of accuracies over all seeds and images: every part is normal, so that a share is one of a sum."""
    spread = math.sqrt(DIFFICULTY**2 + image_spread**2 + seed_spread**2 + 1)
    return stats.norm.cdf(FIRST / spread) - stats.norm.cdf(SECOND / spread)


@pytest.mark.parametrize(
    ("seeds", "images", "seed_spread", "image_spread"),
    [(5, 1000, 0.05, 0.3), (5, 1000, 0.2, 0.3), (10, 1000, 0.0, 0.6), (40, 1000, 0.05, 0.3)],
)
def test_it_covers_the_truth_where_seeds_and_images_vary(seeds, images, seed_spread, image_spread):
    generator, studies = np.random.default_rng(0), 200
    exact = truth(seed_spread, image_spread)
    found = [crossed_interval(*planted(generator, seeds, images, seed_spread, image_spread)) for _ in range(studies)]
    covered = sum(one.low <= exact <= one.high for one in found) / studies
    assert covered >= 0.95 - 3 * math.sqrt(0.05 * 0.95 / studies)


def test_an_interval_of_seeds_alone_misses_other_images():
    """Many seeds and few images: the images decide, and only the crossed interval knows it."""
    generator, exact = np.random.default_rng(1), truth(0.0, 0.6)
    crossed = alone = 0
    for _ in range(100):
        first, second = planted(generator, 20, 300, 0.0, 0.6)
        one, other = crossed_interval(first, second), paired_difference(first.mean(1), second.mean(1))
        crossed += one.low <= exact <= one.high
        alone += other.low <= exact <= other.high
    assert crossed >= 88
    assert alone < 75


def test_the_mean_squares_are_those_of_an_analysis_of_variance():
    """Their expectations, by planting each component alone, and the textbook sums in a loop."""
    table = np.random.default_rng(2).normal(size=(4, 7))
    seed, image, rest = mean_squares(table)
    mean = table.mean()
    loop = sum((table[s, i] - table[s].mean() - table[:, i].mean() + mean) ** 2 for s in range(4) for i in range(7))
    assert rest == pytest.approx(loop / 18)
    assert seed == pytest.approx(7 * np.var(table.mean(1), ddof=1))
    assert image == pytest.approx(4 * np.var(table.mean(0), ddof=1))
    rows = np.broadcast_to(np.array([[1.0], [3.0]]), (2, 5))
    assert mean_squares(rows) == pytest.approx((5 * 2, 0, 0))


def test_with_images_that_all_agree_it_is_students_interval_over_seeds():
    """Differences that vary by seed alone: t with n - 1 degrees of freedom of the seeds' means."""
    rows = np.array([0.0, 1.0, 3.0, 4.0])[:, None] * np.ones((1, 50))
    found, exact = crossed_interval(rows, np.zeros_like(rows)), paired_difference(rows[:, 0], np.zeros(4))
    assert (found.estimate, found.low, found.high) == pytest.approx((exact.estimate, exact.low, exact.high))


def pigeonhole_interval(first, second, generator, confidence=0.95, resamples=999):
    """The percentile interval of the bootstrap of seeds and images (Owen 2007), too narrow for few seeds."""
    found = np.asarray(first, float) - np.asarray(second, float)
    seeds, images = found.shape
    rows = generator.multinomial(seeds, np.full(seeds, 1 / seeds), resamples)
    columns = generator.multinomial(images, np.full(images, 1 / images), resamples)
    means = ((rows @ found) * columns).sum(1) / (seeds * images)
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return found.mean(), low, high


def test_the_bootstrap_agrees_where_there_are_many_of_both():
    first, second = planted(np.random.default_rng(3), 40, 800, 0.3, 0.6)
    found = crossed_interval(first, second)
    estimate, low, high = pigeonhole_interval(first, second, np.random.default_rng(4))
    assert estimate == pytest.approx(found.estimate)
    assert (high - low) / (found.high - found.low) == pytest.approx(1, abs=0.15)


def test_packed_correctness_comes_back():
    generator = np.random.default_rng(5)
    for images in (1, 8, 10_000, 10_001):
        correct = generator.random(images) < 0.7
        packed = pack(correct)
        assert len(packed) <= 4 * math.ceil(images / 24)
        assert (unpack(packed, images) == correct).all()


@pytest.mark.parametrize(
    ("packed", "images", "message"), [("!", 3, "not base64"), ("oA==", 30, "1 bytes"), ("oA==", 2, "beyond its 2")]
)
def test_what_was_not_packed_so_is_refused(packed, images, message):
    with pytest.raises(ValueError, match=message):
        unpack(packed, images)


def test_shapes_and_single_seeds():
    one = crossed_interval(np.ones((1, 5)), np.zeros((1, 5)))
    assert (one.estimate, one.n) == (1.0, 1)
    assert math.isnan(one.low)
    with pytest.raises(ValueError, match="the same seeds and images"):
        crossed_interval(np.ones((2, 5)), np.ones((2, 4)))
    with pytest.raises(ValueError, match="not finite"):
        crossed_interval(np.full((2, 2), math.nan), np.zeros((2, 2)))
