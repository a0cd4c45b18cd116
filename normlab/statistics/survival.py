"""Epochs, steps or seconds to a target that some runs never reach.

Every run that misses the target was trained up to the same horizon, so nothing is censored before the horizon, and a
plain mean or median replaces the estimators of survival analysis.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from normlab.statistics.intervals import Interval, paired_difference


@dataclass(frozen=True)
class TimeToTarget:
    """When runs reached a target. Without runs, all fields but ``n`` are NaN.

    Attributes:
        median: of all n times, in which a miss counts as infinite; of an even n the mean of the middle two.
        restricted_mean: of min(time, horizon): the mean time until the target or the horizon, whichever came first.
        share: of runs that reached the target by the horizon, in [0, 1].
        n: runs.
    """

    median: float
    restricted_mean: float
    share: float
    n: int


def time_to_target(times: ArrayLike, horizon: float) -> TimeToTarget:
    """Summary of the times to a target, misses included.

    The restricted mean is the area under the share of runs still short of the target, up to the horizon (Royston and
    Parmar 2013, BMC Med. Res. Methodol. 13:152); it is finite however many missed.

    >>> time_to_target([1, 3, math.inf], horizon=10)
    TimeToTarget(median=3.0, restricted_mean=4.666666666666667, share=0.6666666666666666, n=3)
    >>> time_to_target([1, math.inf], horizon=10).median
    inf

    Args:
        times: [n], 0 or above; infinite for a run that never reached the target.
        horizon: above 0 and finite, how long every run was trained, in the unit of the times.

    Raises:
        ValueError: if a time is NaN or below 0, or the horizon is out of range.
    """
    found = _times(times)
    restricted = np.minimum(found, _horizon(horizon))
    n = found.size
    if n == 0:
        return TimeToTarget(math.nan, math.nan, math.nan, 0)
    return TimeToTarget(float(np.median(found)), restricted.mean().item(), (found <= horizon).mean().item(), n)


def restricted_difference(first: ArrayLike, second: ArrayLike, horizon: float, confidence: float = 0.95) -> Interval:
    """The mean over pairs of min(first, horizon) - min(second, horizon), with Student's t interval.

    The difference of the two restricted means of :func:`time_to_target`: negative where the first is sooner. Pairs in
    which both missed count as no difference, and the horizon bounds what a miss can count.

    >>> half = restricted_difference([1, 4], [math.inf, 6], horizon=5, confidence=0.5)  # -4 and -1
    >>> half.estimate, round(half.low, 9), round(half.high, 9)
    (-2.5, -4.0, -1.0)

    Args:
        first: [n], 0 or above, infinite for a miss; the time of seed i stands at i in both.
        second: [n], 0 or above, infinite for a miss.
        horizon: above 0 and finite, how long every run was trained, in the unit of the times.
        confidence: in (0, 1).

    Raises:
        ValueError: if the lengths differ, a time is NaN or below 0, or the horizon or the confidence is out of range.
    """
    end = _horizon(horizon)
    return paired_difference(np.minimum(_times(first), end), np.minimum(_times(second), end), confidence)


def _times(times: ArrayLike) -> NDArray[np.float64]:
    found = np.asarray(times, dtype=np.float64)
    if found.ndim != 1 or not (found >= 0).all():
        raise ValueError("expected times in one dimension, each 0 or above, infinite for a miss, and none NaN")
    return found


def _horizon(horizon: float) -> float:
    if not 0 < horizon < math.inf:
        raise ValueError(f"horizon is {horizon}: expected a finite number above 0")
    return horizon
