"""What fits into a budget: epochs, seeds, and the difference that so many runs will show."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from scipy import optimize

from normlab.choosing.race import SHARE, Spread, level_of, planned_looks, spent
from normlab.errors import ConfigError
from normlab.statistics import POWER, power

FEWEST_SEEDS = 5  # of a plan
FEWEST_EPOCHS = 3  # of a run, unless the user sets trainer.max_epochs
MOST_SEEDS = 50
SEARCH_EPOCHS, SEARCH_RUNS = 2.0, 6  # of the search for a scheme's rate: in whole runs, and in starts of a run
SPREAD = 0.015  # standard deviation between seeds of a paired difference, before it is known; as in results/
DISAGREEMENT = 0.1  # share of the images on which one of two schemes alone is right, before it is known
UNITS = {"s": 1, "sec": 1, "min": 60, "m": 60, "h": 3600}


def read_budget(text: str) -> float:
    """A duration in seconds.

    >>> read_budget("90s"), read_budget("10min"), read_budget("1.5h")
    (90.0, 600.0, 5400.0)

    Raises:
        ConfigError: for what is no duration above 0.
    """
    match = re.fullmatch(r"\s*([0-9]*\.?[0-9]+)\s*([a-z]+)\s*", text.lower())
    if not match or match[2] not in UNITS or not float(match[1]) > 0:
        raise ConfigError(f"budget={text}: expected a duration such as 90s, 10min or 1h")
    return float(match[1]) * UNITS[match[2]]


def duration(seconds: float) -> str:
    """A duration in the unit that matters.

    >>> duration(42), duration(89.6), duration(600), duration(9000)
    ('42 s', '90 s', '10 min', '2.5 h')
    """
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5940 else f"{seconds / 3600:.1f} h"


@dataclass(frozen=True)
class Timing:
    """Seconds of a run on this machine: of its start and end, and of an epoch with its evaluation."""

    start: float
    epoch: float

    def run(self, epochs: float) -> float:
        """Seconds of a run."""
        return self.start + self.epoch * epochs

    def search(self, epochs: int) -> float:
        """Seconds of the search for one scheme's learning rate."""
        return SEARCH_RUNS * self.start + SEARCH_EPOCHS * epochs * self.epoch


@dataclass(frozen=True)
class Size:
    """The size of a study: epochs of a run, and seeds."""

    epochs: int
    seeds: int


def size(
    budget: float, used: float, timing: Timing, schemes: int, epochs: int, fixed_epochs: bool, most_seeds: int
) -> Size:
    """The study that fits: as many epochs as wanted with five seeds or more, else fewer epochs.

    Args:
        budget: seconds in all.
        used: seconds of the start.
        timing: of a run.
        schemes: that are compared.
        epochs: that are wanted.
        fixed_epochs: whether fewer are refused.
        most_seeds: that are wanted.

    Raises:
        ConfigError: if nothing fits, with the budget that would.
    """
    fewest = epochs if fixed_epochs else min(FEWEST_EPOCHS, epochs)
    wanted = min(FEWEST_SEEDS, most_seeds)
    for length in range(epochs, fewest - 1, -1):
        seeds = int((budget - used - schemes * timing.search(length)) / (schemes * timing.run(length)))
        if seeds >= wanted:
            return Size(length, min(seeds, most_seeds))
    least = needed(timing, schemes, fewest, wanted)
    raise ConfigError(
        f"budget={duration(budget)}: too small. The start took {duration(used)}; {schemes} schemes with {wanted} seeds "
        f"each, and the search for their learning rates, take {duration(least)} more at {fewest} epochs of "
        f"{timing.epoch:.2g} s. Give budget={math.ceil((used + least) / 60)}min or more, fewer norms, data.limit=N or "
        f"fewer trainer.max_epochs"
    )


def needed(timing: Timing, schemes: int, epochs: int, seeds: int) -> float:
    """Seconds of a study."""
    return schemes * (timing.search(epochs) + seeds * timing.run(epochs))


def last_level(schemes: int, seeds: int) -> float:
    """The one-sided level of each test at the last look of a first plan."""
    places = planned_looks(seeds)
    before = spent(places[-2], seeds) if len(places) > 1 else 0.0
    return level_of(schemes) * SHARE * (1 - before)


def visible(seeds: int, spread: Spread, level: float) -> float:
    """The smallest difference that so many seeds show with a chance of 90%, in 0..1.

    Args:
        seeds: 2 or more.
        spread: of the difference.
        level: one-sided, of the test.
    """
    deviation = spread.deviation(seeds)
    if deviation == 0:
        return 0.0

    def missing(truth: float) -> float:
        return power(truth, 0.0, math.inf, deviation, seeds, level) - POWER

    return float(optimize.brentq(missing, 1e-6, 1e3, xtol=1e-5))


def usual_spread(images: int) -> Spread:
    """The spread of a difference before it is measured.

    Args:
        images: of the test split.
    """
    return Spread(SPREAD**2 + DISAGREEMENT / images, DISAGREEMENT / 4 / images)


def seeds_needed(estimate: float, spread: Spread, margin: float, level: float, most: int = 10_000) -> float:
    """The number of seeds for a clear answer with a chance of 90%, if the difference is what it seems.

    Clear is that there is a difference, or that it is below the margin on both sides.

    Args:
        estimate: of the difference.
        spread: of the difference.
        margin: the smallest difference that matters.
        level: one-sided, of each test.
        most: seeds that are tried.

    Returns:
        Infinite if no number is enough, because the test images are too few.
    """

    def clear(seeds: int) -> bool:
        deviation = spread.deviation(seeds)
        bounds = [(0.0, math.inf), (-margin, margin)]
        return any(
            low < abs(estimate) < high and power(abs(estimate), low, high, deviation, seeds, level) >= POWER
            for low, high in bounds
        )

    few, enough = 1, 2
    while not clear(enough):
        few, enough = enough, 2 * enough
        if enough > most:
            return math.inf
    while enough - few > 1:
        middle = (few + enough) // 2
        few, enough = (few, middle) if clear(middle) else (middle, enough)
    return enough
