"""The answer of a study: one sentence, a table, and all of it as JSON types."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from tabulate import tabulate

from normlab.choosing.plan import duration, seeds_needed
from normlab.choosing.race import Race, Spread, Standing, level_of, plan_share, spread_of
from normlab.statistics import Interval


@dataclass(frozen=True)
class Answer:
    """What to use.

    Attributes:
        kind: ``use`` a scheme that was shown to be better than the reference; ``keep`` the reference; ``same``: it does
            not matter; ``safe``: none is better than this one by the margin, and it may be no better than the
            reference; ``unclear``.
        scheme: that is recommended; for ``unclear`` the one that is ahead.
        sentence: for people.
    """

    kind: str
    scheme: str
    sentence: str


def answer_of(race: Race, used: float, seconds_of_run: float) -> Answer:
    """The answer that the looks support.

    Args:
        race: after its looks.
        used: seconds of the study.
        seconds_of_run: of one run.
    """
    standing, margin = race.standing, race.margin
    if not race.looks:
        more = 2 * len(race.schemes) * seconds_of_run
        sentence = f"I cannot tell: the time was over before two seeds of each scheme. Add {duration(more)} or more."
        return Answer("unclear", race.reference, sentence)
    kind, scheme = recommended(standing, race.schemes)
    size = f"{points(margin, sign=False)} point" + "s" * (margin != 0.01)
    sentence = _first_part(standing, kind, scheme, race.schemes, size)
    sentence += "".join(f"; {part}" for part in (_rest(standing, scheme, size) if kind in ("use", "keep") else []))
    if kind in ("safe", "unclear"):
        sentence += f". {_more(race, scheme, used, seconds_of_run)}"
    return Answer(kind, scheme, f"{sentence} ({race.seeds} seeds, {duration(used)}).")


def recommended(standing: Standing, schemes: Sequence[str]) -> tuple[str, str]:
    """The kind of an answer, and its scheme; see :class:`Answer`.

    >>> recommended(Standing("a", ("b",), frozenset({("b", "a")}), frozenset({("b", "a")}), {}), ("a", "b"))
    ('use', 'b')

    Args:
        standing: after the looks.
        schemes: of the study.
    """
    leader, reference = standing.leader, standing.reference
    pairs = [(one, other) for one in schemes for other in schemes if one != other]
    if len(standing.left) == len(schemes) and all(pair in standing.close for pair in pairs):
        return "same", reference
    if standing.proven:
        return "use", standing.proven
    if reference in standing.left and standing.none_better(reference):
        return "keep", reference
    return ("safe" if standing.none_better(leader) else "unclear"), leader


def _first_part(standing: Standing, kind: str, scheme: str, schemes: Sequence[str], size: str) -> str:
    reference = standing.reference
    if kind == "same":
        return f"It does not matter here: {listed(schemes)} lie within {size} of each other"
    if kind == "keep" and standing.left == (scheme,):
        return f"Keep `{scheme}`: each other scheme is worse"
    if kind == "keep":
        return f"Keep `{scheme}`: no other scheme is better by {size} or more"
    if kind == "use":
        return f"Use `{scheme}`: {effect(standing, scheme)} over `{reference}`"
    if kind == "safe":
        return (
            f"`{scheme}` is safe: no other scheme is better by {size} or more. Whether it is better than `{reference}` "
            f"I cannot tell: {effect(standing, scheme)}"
        )
    if scheme == reference:
        return f"I cannot tell with this budget: `{scheme}` is ahead, but another one may be better"
    return f"I cannot tell with this budget: `{scheme}` is ahead of `{reference}`, {effect(standing, scheme)}"


def _rest(standing: Standing, scheme: str, size: str) -> list[str]:
    """What is said of the others that are left."""
    others = [one for one in standing.left if one != scheme]
    same = [one for one in others if {(one, scheme), (scheme, one)} <= standing.close]
    other = [one for one in others if one not in same]
    parts = []
    if same:
        parts.append(f"{listed(same)} {'is' if len(same) == 1 else 'are'} within {size} of it")
    if other:
        parts.append(f"{listed(other)} cannot be told from it")
    return parts


def _more(race: Race, scheme: str, used: float, seconds_of_run: float) -> str:
    """The budget that would give a clear answer."""
    standing = race.standing
    other = standing.reference if scheme != standing.reference else _second(standing)
    estimate = standing.latest[scheme, other].estimate
    level = level_of(len(race.schemes)) * plan_share(len(race.plans))
    seeds = seeds_needed(estimate, spread_between(race, scheme, other), race.margin, level)
    if math.isinf(seeds):
        images = race.right[scheme][0].size
        return f"No number of runs would tell on these {images:,} test images, if the difference is what it seems"
    more = max(1.0, seeds - race.seeds) * len(standing.left) * seconds_of_run
    return f"About {duration(used + more)} in all would tell, if the difference is what it seems"


def _second(standing: Standing) -> str:
    """The one next to the reference, if the reference leads."""
    others = [one for one in standing.left if one != standing.reference]
    return max(others, key=lambda one: standing.latest[one, standing.reference].estimate)


def spread_between(race: Race, one: str, other: str) -> Spread:
    """The spread of the difference of two schemes, over the seeds that both were run with."""
    seeds = min(len(race.right[one]), len(race.right[other]))
    return spread_of(np.stack(race.right[one][:seeds]), np.stack(race.right[other][:seeds]))


def effect(standing: Standing, scheme: str) -> str:
    """A scheme's difference to the reference, with its interval."""
    return shown(standing.latest[scheme, standing.reference])


def shown(interval: Interval) -> str:
    """A difference of accuracies in points.

    >>> shown(Interval(0.018, 0.009, 0.027, 5))
    '+1.8 points [+0.9, +2.7]'
    """
    return f"{points(interval.estimate)} points [{points(interval.low)}, {points(interval.high)}]"


def points(share: float, sign: bool = True) -> str:
    """A share in points.

    >>> points(0.0183), points(0.01, sign=False), points(0.025, sign=False)
    ('+1.8', '1', '2.5')
    """
    return f"{100 * share:+.1f}" if sign else f"{100 * share:.3g}"


def listed(names: Sequence[str]) -> str:
    """Names in a sentence.

    >>> listed(["a"]), listed(["a", "b", "c"])
    ('`a`', '`a`, `b` and `c`')
    """
    quoted = [f"`{name}`" for name in names]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} and {quoted[-1]}"


def rows(race: Race, rates: dict[str, float]) -> list[dict[str, Any]]:
    """A row for each scheme, the reference first, then the best first.

    ``accuracy`` is the mean over the seeds of held-out test images; ``difference`` to the reference and its ends are
    those of the last look at both; NaN before the first look.
    """
    standing, result = race.standing, []
    for scheme in race.schemes:
        runs = race.right[scheme]
        interval = standing.latest.get((scheme, race.reference), Interval(math.nan, math.nan, math.nan, 0))
        if scheme == race.reference:
            interval = Interval(0.0, math.nan, math.nan, race.seeds)
        result.append(
            {
                "norm": scheme,
                "seeds": len(runs),
                "lr": rates.get(scheme, math.nan),
                "accuracy": float(np.mean([one.mean() for one in runs])) if runs else math.nan,
                "diverged": sum(not one.any() for one in runs),
                "difference": interval.estimate,
                "low": interval.low,
                "high": interval.high,
                "verdict": verdict(standing, scheme),
            }
        )
    return sorted(result, key=lambda row: (row["norm"] != race.reference, -row["difference"]))


def verdict(standing: Standing, scheme: str) -> str:
    """What is known of a scheme, in a few words."""
    better = [one for one, worse in sorted(standing.better) if worse == scheme]
    words = []
    if scheme == standing.reference:
        words.append("the reference")
    elif (scheme, standing.reference) in standing.better:
        words.append(f"better than {standing.reference}")
    if better:
        words.append(f"worse than {', '.join(better)}")
    elif standing.latest and standing.none_better(scheme):
        words.append("none is better by the margin")
    return "; ".join(words) or "cannot tell"


def table(content: Sequence[dict[str, Any]], form: str = "simple", metric: str = "accuracy") -> str:
    """The rows for people."""
    shown_rows = []
    for row in content:
        difference = "-"
        if not math.isnan(row["low"]):
            difference = f"{points(row['difference'])} [{points(row['low'])}, {points(row['high'])}]"
        rate = "-" if math.isnan(row["lr"]) else f"{row['lr']:.3g}"
        accuracy = "-" if math.isnan(row["accuracy"]) else f"{row['accuracy']:.1%}"
        accuracy += f" ({row['diverged']} diverged)" * bool(row["diverged"])
        shown_rows.append([row["norm"], row["seeds"], rate, accuracy, difference, row["verdict"]])
    headers = ["norm", "seeds", "learning rate", f"test {metric}", "minus reference, points", "what is shown"]
    return tabulate(shown_rows, headers, tablefmt=form, disable_numparse=True)
