"""Learning rates: successive halving over a ladder of rates, by validation samples.

All rates train for a quarter of the epochs, the better half of them for half of the epochs, and so on, until one is
left (Jamieson and Talwalkar 2016, AISTATS). A step of the ladder is a factor of 2. While the best rate is the lowest or
the highest that was tried, the next one beyond it is tried too. Rates whose scores validation samples cannot tell apart
count as equally good, and the one nearest to the start is taken: short runs at the level of chance decide nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from normlab.commandline.rates import FIRST_STEPS, MOST_STEPS

FIRST_PART = 4  # of the epochs, which the first runs train


def best_of(
    score: Callable[[int, int], float], epochs: int, noise: float, in_time: Callable[[], bool] = lambda: True
) -> int:
    """The step of the ladder that successive halving chooses.

    >>> best_of(lambda step, epochs: -abs(step - 3), epochs=8, noise=0.5)
    3
    >>> best_of(lambda step, epochs: 0.1, epochs=8, noise=0.02)
    0

    Args:
        score: of a step and a number of epochs, the higher the better; minus infinity for a run that diverged.
        epochs: of a whole run.
        noise: scores closer than this are equally good.
        in_time: whether there is time for further runs; where there is not, the best rate so far is taken.
    """
    length, kept, tried = max(1, epochs // FIRST_PART), list(FIRST_STEPS), set(FIRST_STEPS)
    while True:
        scores = {step: score(step, length) for step in kept}
        while (beyond := _beyond(_in_order(scores, noise)[0], tried)) is not None and in_time():
            tried.add(beyond)
            scores[beyond] = score(beyond, length)
        order = _in_order(scores, noise)
        kept = order[: math.ceil(len(order) / 2)]
        if len(kept) == 1 or length >= epochs or not in_time():
            return kept[0]
        length = min(2 * length, epochs)


def _in_order(scores: Mapping[int, float], noise: float) -> list[int]:
    """Steps, the best first: those that cannot be told from the best by their distance from the start."""
    top = max(scores.values())
    if top == -math.inf:  # all diverged: a smaller rate may not
        return sorted(scores)
    near = [step for step in scores if scores[step] >= top - noise]
    rest = [step for step in scores if step not in near]
    return sorted(near, key=lambda step: (abs(step), step)) + sorted(rest, key=lambda step: (-scores[step], step))


def _beyond(best: int, tried: set[int]) -> int | None:
    """The step beyond the best one, if the best is the lowest or the highest that was tried."""
    if best == max(tried) < MOST_STEPS:
        return best + 1
    if best == min(tried) > -MOST_STEPS:
        return best - 1
    return None
