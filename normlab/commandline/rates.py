"""The search for the best learning rate in each cell of a study: which rates are run, by the records that there are.

A cell is one choice of all that the study varies besides the seed. Its rates lie on a ladder: step 0 is where the
study's plan starts to look, a step up is a factor more, and the search begins with the steps -1, 0 and 1. While the
best of the steps that are tried is the lowest or the highest of them, the next one beyond it is tried.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from normlab.config import Config
from normlab.record import SAME_SCORE

if TYPE_CHECKING:
    from normlab.report.study import Rates

MOST_STEPS = 10  # from the start, each way: a factor of 1,024 where a step is a factor of 2
FIRST_STEPS = (-1, 0, 1)

Job = list[str]  # its overrides
Score = Callable[[Config], float | None]  # of a run, higher is better; None: it has no record


def next_steps(scores: Mapping[int, float], most_steps: int = MOST_STEPS) -> list[int]:
    """The steps that are tried next; none where the best is inside of those that were tried, or the ladder ends.

    Where several steps share the best score, each end that has it is extended: networks that stay at chance all score
    the same, and nothing says yet whether a smaller or a larger rate would train them.

    >>> next_steps({}), next_steps({-1: 0.3, 0: 0.5, 1: 0.4}), next_steps({-1: 0.3, 0: 0.4, 1: 0.5})
    ([-1, 0, 1], [], [2])
    >>> next_steps({-1: 0.1, 0: 0.1, 1: 0.1}), next_steps({-1: 0.3, 0: 0.1 + 0.2, 1: 0.1})
    ([-2, 2], [-2])

    Args:
        scores: of the steps that were tried, which lie side by side.
        most_steps: from the start, each way.
    """
    first = [step for step in FIRST_STEPS if step not in scores]
    if first:
        return first
    best, lowest, highest = max(scores.values()) - SAME_SCORE, min(scores), max(scores)
    below = [lowest - 1] if scores[lowest] >= best and lowest > -most_steps else []
    above = [highest + 1] if scores[highest] >= best and highest < most_steps else []
    return below + above


def best_step(scores: Mapping[int, float]) -> int:
    """The step with the highest score; of several the lowest, as in :attr:`normlab.report.study.Study.best_rates`.

    >>> best_step({-1: 0.3, 0: 0.1 + 0.2, 1: 0.1}), best_step({-1: 0.3, 0: 0.31, 1: 0.1})
    (-1, 0)
    """
    best = max(scores.values())
    return min(step for step, score in scores.items() if score >= best - SAME_SCORE)


@dataclass(frozen=True)
class Cell:
    """How far the search is in one cell.

    Attributes:
        name: the overrides that all its runs share.
        start: the rate at step 0.
        steps: that are tried or to be tried, from the lowest to the highest.
        waits: whether some of them have no score yet.
        at_edge: whether the best is the lowest or the highest of them, at the end of the ladder.
    """

    name: tuple[str, ...]
    start: float
    steps: tuple[int, ...]
    waits: bool
    at_edge: bool


def search(
    jobs: Iterable[Job], configs: Iterable[Config | None], rates: Rates, score: Score
) -> tuple[list[Job], list[Config | None], list[Cell]]:
    """The runs that the search asks for by what is known now, and how far it is in each cell.

    Args:
        jobs: of the grid, without a learning rate.
        configs: of the jobs; None for one that cannot be composed, which stays as it is, to be refused on its turn.
        rates: where to start.
        score: of a run. A step counts as tried once all seeds of its cell have a score; the mean decides.

    Returns:
        Jobs and configurations with their learning rates, by cell, rate and seed; and the cells.

    Raises:
        ConfigError: if the plan has no start for a cell.
    """
    members: dict[tuple[str, ...], list[tuple[Job, Config]]] = {}
    found: list[tuple[Job, Config | None]] = []
    for job, config in zip(jobs, configs, strict=True):
        if config is None:
            found.append((job, None))
        else:
            members.setdefault(cell_of(job), []).append((job, config))
    cells = []
    for name, runs in members.items():
        start = rates.start(runs[0][1])
        cell = _search_cell(name, start, rates, [config for _, config in runs], score)
        cells.append(cell)
        for step in cell.steps:
            found += [with_rate(job, config, rates.at(start, step)) for job, config in runs]
    return [job for job, _ in found], [config for _, config in found], cells


def _search_cell(name: tuple[str, ...], start: float, rates: Rates, seeds: list[Config], score: Score) -> Cell:
    scores: dict[int, float] = {}
    while steps := next_steps(scores):
        for step in steps:
            each = [score(config.with_rate(rates.at(start, step))) for config in seeds]
            known = [one for one in each if one is not None]
            if len(known) == len(each):
                scores[step] = sum(known) / len(known)
        if not scores.keys() >= set(steps):
            return Cell(name, start, tuple(sorted({*scores, *steps})), waits=True, at_edge=False)
    at_edge = best_step(scores) in (min(scores), max(scores))
    return Cell(name, start, tuple(sorted(scores)), waits=False, at_edge=at_edge)


def cell_of(job: Job) -> tuple[str, ...]:
    """What a job shares with those that differ from it by their seed alone."""
    return tuple(override for override in job if override.lstrip("+").partition("=")[0] != "seed")


def with_rate(job: Job, config: Config, rate: float) -> tuple[Job, Config]:
    """The same job with this learning rate."""
    return [*job, f"++optim.lr={rate!r}"], config.with_rate(rate)


def tell(cells: Iterable[Cell], rates: Rates) -> str:
    """How the search ended: in how many cells the best rate is inside of what was tried, and where it is not."""
    cells = list(cells)
    inside = sum(not (cell.waits or cell.at_edge) for cell in cells)
    lines = [f"learning rates: the best is inside of what was tried in {inside} of {len(cells)} cells"]
    for cell in cells:
        if cell.waits or cell.at_edge:
            tried = f"{rates.at(cell.start, cell.steps[0]):g} to {rates.at(cell.start, cell.steps[-1]):g}"
            why = "runs are missing" if cell.waits else f"the best is at the edge, {MOST_STEPS} steps from the start"
            lines.append(f"  {' '.join(one.lstrip('+') for one in cell.name)}: {tried}: {why}")
    return "\n".join(lines)
