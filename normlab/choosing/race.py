"""The sequential rule: which scheme is best, looked at several times while the runs come in, with one error rate.

Schemes are compared in pairs over the same seeds and test images, by the crossed model of
:func:`normlab.statistics.crossed_interval`. Two questions are asked of each ordered pair, each a one-sided test: is the
first better, and is the first at most a margin worse.

Three kinds of statement follow, and the chance that any of them is wrong is at most ``ALPHA``: a scheme is better than
the reference; a scheme is not the best; a scheme is at most the margin worse than each other one. Let K schemes be
compared, and each test have the level ALPHA / (2 (K - 1)). The second and the third statement are wrong only if a test
against the truly best scheme is: for each other scheme, one such test can be wrong, because whatever shows "better"
also shows "at most the margin worse". That is K - 1 tests. (That a scheme is within the margin of a recommended one
which is not the best is a test of its own, at its level, and not in this sum.) The first statement can be wrong in
K - 1 tests against the reference. By Bonferroni, the sum of the levels is ALPHA. (Comparisons with an unknown best: Hsu
1984, Ann. Stat. 12:1136-1144.)

The level is spent over the looks in proportion to the third power of the number of seeds (Kim and DeMets 1987,
Biometrika 74:149-154), each look's part as a test of its own, so that no joint distribution is needed (Jennison and
Turnbull 2000, Group Sequential Methods, section 4.4). A plan spends ``SHARE`` of what earlier plans left, so that a
larger budget can go on where a smaller one ended.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from normlab.statistics import ALPHA, Interval
from normlab.statistics.crossed import crossed_mean, mean_squares
from normlab.statistics.intervals import differences

SHARE = 0.75  # of the error that is left, for each plan
EARLIEST = 3  # seeds at the first look
POWER_OF_SPENDING = 3

Right = Mapping[str, NDArray[Any]]  # by scheme: whether the run of a seed is right on a test image, [seeds, images]


@dataclass(frozen=True)
class Look:
    """One look at the runs so far.

    Attributes:
        seeds: of each scheme that was still compared.
        level: one-sided, of each test.
        intervals: of the difference of each ordered pair of these schemes, with 1 - 2 level coverage.
    """

    seeds: int
    level: float
    intervals: dict[tuple[str, str], Interval]


@dataclass(frozen=True)
class Standing:
    """What the looks so far have shown.

    Attributes:
        reference: the scheme that the others have to be better than.
        left: schemes that none was shown to be better than, in the order of the study.
        better: pairs of which the first was shown to be better.
        close: pairs of which the first was shown to be at most the margin worse.
        latest: the interval of each pair, of the last look at it.
    """

    reference: str
    left: tuple[str, ...]
    better: frozenset[tuple[str, str]]
    close: frozenset[tuple[str, str]]
    latest: dict[tuple[str, str], Interval]

    @property
    def leader(self) -> str:
        """The best of those that are left, by its differences; the first of them before the first look."""
        return max(self.left, key=self._wins)

    @property
    def proven(self) -> str | None:
        """The best of those that are left and were shown to be better than the reference; None if there is none.

        It may not be the leader: a scheme whose runs vary much can be ahead, and shown to be better than nothing.
        """
        shown = [one for one in self.left if (one, self.reference) in self.better]
        return max(shown, key=self._wins) if shown else None

    def _wins(self, scheme: str) -> int:
        return sum(self.latest[scheme, one].estimate > 0 for one in self.left if (scheme, one) in self.latest)

    def none_better(self, scheme: str) -> bool:
        """Whether none of those that are left is better than a scheme by the margin or more."""
        return all((scheme, other) in self.close for other in self.left if other != scheme)

    @property
    def decided(self) -> bool:
        """Whether more runs would not change what to use.

        A scheme was shown to be better than the reference, and none that is left is better by the margin; or, where
        none was shown, that is so of the leader, and the reference is the leader or at most the margin worse.
        """
        if self.proven:
            return self.none_better(self.proven)
        settled = self.reference == self.leader or (self.reference, self.leader) in self.close
        return settled and self.none_better(self.leader)


def planned_looks(seeds: int, done: int = 0) -> tuple[int, ...]:
    """The numbers of seeds after which a plan looks at its runs; the last is the end of the plan.

    >>> planned_looks(4), planned_looks(5), planned_looks(12), planned_looks(20, done=12)
    ((4,), (3, 5), (4, 8, 12), (16, 20))

    Args:
        seeds: at the end.
        done: by earlier plans.
    """
    new = seeds - done
    parts = 1 if new < EARLIEST + 2 else 2 if new < 9 else 3
    places = [done + math.ceil(new * part / parts) for part in range(1, parts + 1)]
    return tuple(sorted({max(EARLIEST, place) for place in places[:-1]} | {seeds}))


def level_of(schemes: int) -> float:
    """The one-sided level of each test over all looks of all plans; see the module.

    >>> level_of(2), level_of(6)
    (0.025, 0.005)
    """
    return ALPHA / (2 * (schemes - 1))


def plan_share(plan: int) -> float:
    """The share of the error that a plan may spend: 0 is the first plan.

    >>> plan_share(0), plan_share(1)
    (0.75, 0.1875)
    """
    return SHARE * (1 - SHARE) ** plan


def spent(seeds: int, end: int, done: int = 0) -> float:
    """The share of a plan's error that may be spent up to a number of seeds.

    >>> spent(4, 8), spent(8, 8), spent(9, 8)
    (0.125, 1.0, 1.0)

    Args:
        seeds: at the look.
        end: seeds at the end of the plan.
        done: seeds of earlier plans.
    """
    power = POWER_OF_SPENDING
    return min(1.0, max(0.0, (seeds**power - done**power) / (end**power - done**power)))


def look(right: Right, level: float) -> Look:
    """Compare all pairs.

    Args:
        right: of the schemes that are still compared, with the same seeds and images. Of a single column, which is the
            score of a whole run, the test is Student's, over seeds alone.
        level: one-sided, of each test, in (0, 0.5).

    Raises:
        ValueError: if the shapes differ, there are fewer than two seeds, or the level is out of range.
    """
    seeds = len(next(iter(right.values())))
    if seeds < 2 or not 0 < level < 0.5:
        raise ValueError(f"{seeds} seeds, level {level}: expected 2 or more, and a level in (0, 0.5)")
    names, intervals = list(right), {}
    for place, one in enumerate(names):
        for other in names[place + 1 :]:
            mean, error, degrees = _difference(right[one], right[other])
            half = float(stats.t.isf(level, degrees)) * error if error else 0.0
            intervals[one, other] = Interval(mean, mean - half, mean + half, seeds)
            intervals[other, one] = Interval(-mean, -mean - half, -mean + half, seeds)
    return Look(seeds, level, intervals)


def _difference(first: NDArray[Any], second: NDArray[Any]) -> tuple[float, float, float]:
    """The mean of first - second, [seeds, images], its standard error and its degrees of freedom."""
    if first.shape[1] > 1:
        return crossed_mean(first, second)
    each = differences(first[:, 0], second[:, 0])
    error = 0.0 if np.ptp(each) == 0 else float(stats.sem(each))
    return float(each.mean()), error, len(each) - 1


def standing(schemes: Sequence[str], reference: str, looks: Sequence[Look], margin: float) -> Standing:
    """What looks have shown together; what one has shown stays shown.

    Args:
        schemes: of the study.
        reference: one of them.
        looks: in their order.
        margin: above 0, the smallest difference of accuracies that matters, in 0..1.
    """
    better: set[tuple[str, str]] = set()
    close: set[tuple[str, str]] = set()
    latest: dict[tuple[str, str], Interval] = {}
    for one in looks:
        better |= {pair for pair, interval in one.intervals.items() if interval.low > 0}
        close |= {pair for pair, interval in one.intervals.items() if interval.low > -margin}
        latest |= one.intervals
    worse = {second for _, second in better}
    left = tuple(scheme for scheme in schemes if scheme not in worse)
    return Standing(reference, left, frozenset(better), frozenset(close), latest)


@dataclass(frozen=True)
class Plan:
    """Seeds that are to be run: those from ``done`` to ``end - 1``."""

    done: int
    end: int


class Race:
    """The runs of a study, the plans and the looks, in their order.

    Args:
        schemes: two or more, different.
        reference: one of them, which the others have to be better than.
        margin: above 0, the smallest difference of accuracies that matters, in 0..1.
        train: makes the run of a scheme and a seed, or reads it, and returns whether it is right on each test image.
        affords: whether there is time for one more run of each of these schemes.
        plans: that were carried out, the last perhaps in part.
        looks: that were made.

    Attributes:
        right: by scheme, a row for each of the seeds 0, 1, ... that it was run with.
    """

    def __init__(
        self,
        schemes: Sequence[str],
        reference: str,
        margin: float,
        train: Callable[[str, int], NDArray[Any]],
        affords: Callable[[Sequence[str]], bool],
        plans: Sequence[Plan] = (),
        looks: Sequence[Look] = (),
    ) -> None:
        self.schemes, self.reference, self.margin = tuple(schemes), reference, margin
        self._train, self._affords = train, affords
        self.plans, self.looks = list(plans), list(looks)
        self.right: dict[str, list[NDArray[Any]]] = {scheme: [] for scheme in schemes}
        start = 0
        for one in looks:
            compared = {scheme for pair in one.intervals for scheme in pair}
            for seed in range(start, one.seeds):
                self._run([scheme for scheme in schemes if scheme in compared], seed)
            start = one.seeds

    @property
    def standing(self) -> Standing:
        """What the looks have shown."""
        return standing(self.schemes, self.reference, self.looks, self.margin)

    @property
    def seeds(self) -> int:
        """Seeds at the latest look."""
        return self.looks[-1].seeds if self.looks else 0

    @property
    def unfinished(self) -> bool:
        """Whether the latest plan has more seeds than its looks have seen."""
        return bool(self.plans) and self.plans[-1].end > self.seeds

    def carry_out(self, end: int, after: Callable[[], object] = lambda: None) -> None:
        """Run the seeds of a plan until its end, until the answer is clear, or until the time is over.

        Args:
            end: seeds at the end of a new plan; of no effect if the latest plan is unfinished.
            after: called after each look, and when the plan is made or shortened.
        """
        if not self.unfinished:
            self.plans.append(Plan(self.seeds, end))
            after()
        plan = self.plans[-1]
        places, seeds = planned_looks(plan.end, plan.done), self.seeds
        while seeds < plan.end and not self.standing.decided and self._affords(self.standing.left):
            self._run(self.standing.left, seeds)
            seeds += 1
            if seeds in places:
                self._look(seeds, spent(seeds, plan.end, plan.done))
                after()
        if seeds < plan.end:
            self.plans[-1] = Plan(plan.done, seeds)
            if not self.standing.decided and seeds > max(1, plan.done):  # the time is over: spend the plan's error now
                if self.seeds == seeds:
                    self.looks.pop()
                self._look(seeds, 1.0)
            after()

    def _run(self, schemes: Sequence[str], seed: int) -> None:
        for scheme in schemes:
            self.right[scheme].append(self._train(scheme, seed))

    def _look(self, seeds: int, share: float) -> None:
        """Look with what the share of the plan's error leaves after its earlier looks."""
        plan = self.plans[-1]
        whole = level_of(len(self.schemes)) * plan_share(len(self.plans) - 1)
        before = sum(one.level for one in self.looks if one.seeds > plan.done)
        rows = {scheme: np.stack(self.right[scheme][:seeds]) for scheme in self.standing.left}
        self.looks.append(look(rows, whole * share - before))


@dataclass(frozen=True)
class Spread:
    """How much a difference of two schemes varies.

    Attributes:
        seeds: variance of one seed's difference.
        images: variance of the mean difference that remains with any number of seeds, because the images are few.
    """

    seeds: float
    images: float

    def deviation(self, seeds: int) -> float:
        """Standard deviation of one seed's difference such that the mean over so many has the right error."""
        return math.sqrt(self.seeds + seeds * self.images)


def spread_of(first: NDArray[Any], second: NDArray[Any]) -> Spread:
    """The spread of a difference, from runs.

    Args:
        first: [seeds, images], two or more seeds.
        second: [seeds, images].
    """
    seeds, images = first.shape
    if images == 1:
        return Spread(float(np.var(first[:, 0] - second[:, 0], ddof=1)), 0.0)
    by_seed, by_image, rest = mean_squares(first.astype(np.float64) - second)
    return Spread(by_seed / images, max(0.0, by_image - rest) / (seeds * images))
