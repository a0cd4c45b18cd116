"""Learning rates: successive halving over a ladder of rates, by the accuracy on validation images.

All rates train for a quarter of the epochs, the better half of them for half of the epochs, and so on, until one is
left (Jamieson and Talwalkar 2016, AISTATS). A step of the ladder is a factor of 2. While the best rate is the lowest or
the highest that was tried, the next one beyond it is tried too.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from normlab.commandline.rates import MOST_STEPS, best_step, next_steps

FIRST_PART = 4  # of the epochs, which the first runs train


def best_of(score: Callable[[int, int], float], epochs: int, in_time: Callable[[], bool] = lambda: True) -> int:
    """The step of the ladder that successive halving chooses.

    >>> best_of(lambda step, epochs: -abs(step - 3), epochs=8)
    3

    Args:
        score: of a step and a number of epochs, the higher the better; minus infinity for a run that diverged.
        epochs: of a whole run.
        in_time: whether there is time for further runs; where there is not, the best rate so far is taken.
    """
    length = max(1, epochs // FIRST_PART)
    scores: dict[int, float] = {}
    while (steps := next_steps(scores)) and (in_time() or not scores):
        scores |= {step: score(step, length) for step in steps}
    tried, kept = set(scores), _better_half(scores)
    while len(kept) > 1 and length < epochs and in_time():
        length = min(2 * length, epochs)
        scores = {step: score(step, length) for step in kept}
        while (beyond := _beyond(best_step(scores), tried)) is not None and in_time():
            tried.add(beyond)
            scores[beyond] = score(beyond, length)
        kept = _better_half(scores)
    return kept[0]


def _better_half(scores: dict[int, float]) -> list[int]:
    order = sorted(scores, key=lambda step: (-scores[step], step))
    return order[: math.ceil(len(order) / 2)]


def _beyond(best: int, tried: set[int]) -> int | None:
    """The step beyond the best one, if the best is the lowest or the highest that was tried."""
    if best == max(tried) < MOST_STEPS:
        return best + 1
    if best == min(tried) > -MOST_STEPS:
        return best - 1
    return None
