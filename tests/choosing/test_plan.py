"""What fits into a budget."""

import math

import numpy as np
import pytest

from normlab.choosing.plan import (
    Size,
    Timing,
    last_level,
    needed,
    read_budget,
    seeds_needed,
    size,
    usual_spread,
    visible,
)
from normlab.choosing.race import Spread
from normlab.choosing.rates import best_of
from normlab.errors import ConfigError
from normlab.statistics import pairs_needed, power

TIMING = Timing(start=1.0, epoch=1.0)


@pytest.mark.parametrize("text", ["banana", "10", "", "-5min", "0s", "10 parsecs", "min", "1e3", "10min30s"])
def test_a_budget_is_a_duration(text):
    with pytest.raises(ConfigError, match=rf"budget={text}: expected a duration such as 90s, 10min or 1h"):
        read_budget(text)


def test_the_plan_fits_and_one_seed_more_does_not():
    for seconds in (200, 700, 3000):
        fitting = size(seconds, 0, TIMING, 4, 10, fixed_epochs=False, most_seeds=50)
        assert needed(TIMING, 4, fitting.epochs, fitting.seeds) <= seconds
        assert fitting.seeds >= 5
        if fitting.epochs < 10:
            assert needed(TIMING, 4, fitting.epochs + 1, 5) > seconds
        elif fitting.seeds < 50:
            assert needed(TIMING, 4, 10, fitting.seeds + 1) > seconds


def test_seeds_are_limited_by_the_user():
    assert size(1e6, 0, TIMING, 4, 10, fixed_epochs=False, most_seeds=7) == Size(10, 7)


def test_a_budget_that_is_too_small_says_what_it_takes():
    least = needed(TIMING, 4, 3, 5)
    with pytest.raises(ConfigError, match=rf"The start took 30 s; .* take {least / 60:.0f} min more at 3 epochs"):
        size(least - 20 + 30, 30, TIMING, 4, 10, fixed_epochs=False, most_seeds=50)
    assert size(least, 0, TIMING, 4, 10, fixed_epochs=False, most_seeds=50) == Size(3, 5)
    with pytest.raises(ConfigError, match="at 10 epochs"):  # the user's own number is kept
        size(least, 0, TIMING, 4, 10, fixed_epochs=True, most_seeds=50)


def test_the_difference_that_shows_has_the_power_that_is_said():
    spread, level = usual_spread(1000), last_level(4, 8)
    least = visible(8, spread, level)
    assert power(least, 0, math.inf, spread.deviation(8), 8, level) == pytest.approx(0.9, abs=1e-3)
    assert visible(8, Spread(0.0, 0.0), level) == 0


def test_more_seeds_and_more_images_show_smaller_differences():
    level = last_level(4, 10)
    assert visible(20, usual_spread(1000), level) < visible(10, usual_spread(1000), level)
    assert visible(10, usual_spread(4000), level) < visible(10, usual_spread(1000), level)


def test_seeds_for_a_clear_answer():
    spread = Spread(0.015**2, 0.0)
    assert seeds_needed(0.02, spread, 0.01, 0.01) == pairs_needed(0.02, 0, math.inf, 0.015, 0.01)
    # No difference: equivalence answers.
    assert seeds_needed(0.0, spread, 0.01, 0.01) == pairs_needed(0.0, -0.01, 0.01, 0.015, 0.01)
    # Too few images: however many seeds, the error stays.
    assert seeds_needed(0.005, Spread(0.015**2, 0.01**2), 0.01, 0.01) == math.inf


@pytest.mark.parametrize("best", [-7, -1, 0, 2, 6])
def test_halving_climbs_to_the_best_rate(best):
    runs = []

    def score(step, epochs):
        runs.append((step, epochs))
        return -abs(step - best)

    assert best_of(score, epochs=12, noise=0.5) == best
    assert len(set(runs)) == len(runs)
    assert {epochs for _, epochs in runs} <= {3, 6, 12}


def test_halving_follows_a_best_rate_that_moves_with_the_length():
    """At full length the best rate is beyond those that short runs kept: the edge is extended."""
    assert best_of(lambda step, epochs: -abs(step - (0.3 if epochs < 6 else 3)), epochs=12, noise=0.1) == 3


def test_halving_takes_what_it_has_when_the_time_is_over():
    calls = []

    def score(step, epochs):
        calls.append(step)
        return float(step)

    assert best_of(score, epochs=8, noise=0.5, in_time=lambda: False) == 1
    assert calls == [-1, 0, 1]


def test_diverged_runs_lose():
    assert best_of(lambda step, epochs: -math.inf if step > -3 else 0.5, epochs=4, noise=0.01) == -3


def test_noise_decides_nothing():
    """Accuracies at chance, drawn anew for each run: the rate stays where the search starts."""
    generator = np.random.default_rng(0)
    assert best_of(lambda step, epochs: generator.uniform(0.08, 0.12), epochs=12, noise=0.04) == 0
