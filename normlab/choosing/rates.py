"""Learning rates: successive halving over a ladder of rates, by validation samples.

All rates train for a quarter of the epochs, the better half of them for half of the epochs, and so on, until one is
left (Jamieson and Talwalkar 2016, AISTATS). A step of the ladder is a factor of 2. While the best rate is the lowest or
the highest that was tried, the next one beyond it is tried too.

Accuracy decides. Where validation samples cannot tell accuracies apart, as in short runs near chance, the loss decides,
which shows progress earlier. The loss alone would not do: raw pixels behind He's initialization start at a loss of
hundreds, and rates that keep the network at chance end with a smaller loss than those that train it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

from normlab.commandline.rates import FIRST_STEPS, MOST_STEPS

FIRST_PART = 4  # of the epochs, which the first runs train


class Score(NamedTuple):
    """Of a run, on validation samples.

    Attributes:
        accuracy: or R2; minus infinity for a run that diverged.
        loss: infinity for a run that diverged.
    """

    accuracy: float
    loss: float


def best_of(
    score: Callable[[int, int], Score], epochs: int, noise: float, in_time: Callable[[], bool] = lambda: True
) -> int:
    """The step of the ladder that successive halving chooses.

    >>> best_of(lambda step, epochs: Score(-abs(step - 3), 0.0), epochs=8, noise=0.5)
    3
    >>> best_of(lambda step, epochs: Score(0.1, abs(step - 2)), epochs=8, noise=0.02)
    2

    Args:
        score: of a step and a number of epochs.
        epochs: of a whole run.
        noise: accuracies closer than this are equally good.
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


def _in_order(scores: Mapping[int, Score], noise: float) -> list[int]:
    """Steps, the best first: those that cannot be told from the most accurate one by their loss."""
    top = max(score.accuracy for score in scores.values())
    if top == -math.inf:  # all diverged: a smaller rate may not
        return sorted(scores)
    near = [step for step in scores if scores[step].accuracy >= top - noise]
    rest = [step for step in scores if step not in near]
    return sorted(near, key=lambda step: (scores[step].loss, step)) + sorted(
        rest, key=lambda step: (-scores[step].accuracy, step)
    )


def _beyond(best: int, tried: set[int]) -> int | None:
    """The step beyond the best one, if the best is the lowest or the highest that was tried."""
    if best == max(tried) < MOST_STEPS:
        return best + 1
    if best == min(tried) > -MOST_STEPS:
        return best - 1
    return None
