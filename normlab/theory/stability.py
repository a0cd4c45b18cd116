"""The largest learning rate at which descent is stable: predicted by curvature, and by bisection on real runs."""

from __future__ import annotations

import math
from collections.abc import Callable


def stable_rate(lambda_max: float, momentum: float = 0.0) -> float:
    """2 (1 + beta) / lambda_max: above this rate descent on a quadratic diverges (Polyak 1964).

    >>> stable_rate(4.0), stable_rate(4.0, momentum=0.9)
    (0.5, 0.95)

    Args:
        lambda_max: largest eigenvalue of the Hessian; if it is not positive, the result is infinite.
        momentum: beta, of heavy ball.
    """
    return 2 * (1 + momentum) / lambda_max if lambda_max > 0 else math.inf


def largest_stable_rate(
    stable: Callable[[float], bool], guess: float, resolution: float = 0.005, widen: float = 1.05
) -> tuple[float, float]:
    """A stable rate and an unstable one above it, closer than the resolution.

    The bracket is widened around the guess until one end is stable and the other is not, so a wrong guess costs time
    only. If there are several limits of stability, the result is one of them.

    >>> low, high = largest_stable_rate(lambda rate: rate < 0.7, guess=5.0)
    >>> low < 0.7 <= high < low * 1.005
    True

    Args:
        stable: makes a run at a rate; True if the run is stable.
        guess: a rate above 0.
        resolution: of the answer, relative.
        widen: first factor between the guess and the other end of the bracket; squared until the bracket holds.

    Raises:
        ValueError: if every rate is stable, or none, within a factor of 10^9 of the guess.
    """
    low = high = guess
    if stable(guess):
        high = guess * widen
        while stable(high):
            widen **= 2
            low, high = high, high * widen
            _within_reach(high / guess)
    else:
        low = guess / widen
        while not stable(low):
            widen **= 2
            low, high = low / widen, low
            _within_reach(guess / low)
    while high / low > 1 + resolution:
        middle = math.sqrt(low * high)
        low, high = (middle, high) if stable(middle) else (low, middle)
    return low, high


def _within_reach(factor: float) -> None:
    if factor > 1e9:
        raise ValueError("no limit of stability within a factor of 10^9 of the guess")
