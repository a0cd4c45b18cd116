"""From the cells of a claim to one answer: holds, holds if CONDITION, refuted, undecided, not tested.

The rules of a claim in a study are parts of one statement, which is refuted with any of them. Its cells are the places
where it could be true: the combinations of factors that its rules stand ``for each`` of, the choices of the learning
rate, and the studies.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

CellResult = Literal["holds", "refuted", "undecided", "not tested"]
Result = Literal["holds", "holds if", "refuted", "undecided", "not tested"]
Place = tuple[tuple[str, str], ...]  # factors with their values, such as (("arch", "cnn"), ("rate", "best"))
SHOWN = 3  # parts that are named; of more, how many there are


@dataclass(frozen=True)
class Part:
    """A rule in one place, decided or not.

    Attributes:
        place: the factors of the place; a rule without any holds or fails everywhere.
        name: the rule in a line.
        result: what follows for it.
        why: of what is undecided or not tested.
        needed: pairs that would have decided it with 90% power; NaN where that cannot be said.
    """

    place: Place
    name: str
    result: CellResult
    why: str = ""
    needed: float = math.nan


@dataclass(frozen=True)
class Conclusion:
    """An answer.

    Attributes:
        result: the kind of it.
        detail: the condition; the part that is refuted; power and pairs needed; why it is not tested.
    """

    result: Result
    detail: str = ""

    @property
    def text(self) -> str:
        """The answer in a line.

        >>> Conclusion("holds if", "arch=cnn").text, Conclusion("refuted", "a > b").text, Conclusion("holds").text
        ('holds if arch=cnn', 'refuted (a > b)', 'holds')
        """
        if not self.detail:
            return self.result
        return f"{self.result} {self.detail}" if self.result == "holds if" else f"{self.result} ({self.detail})"


def conclude(parts: Sequence[Part]) -> Conclusion:
    """The answer to a claim from all of its parts in one study.

    >>> cnn, vit = (("arch", "cnn"),), (("arch", "vit"),)
    >>> conclude([Part(cnn, "a > b", "holds"), Part(vit, "a > b", "refuted")]).text
    'holds if arch=cnn; refuted elsewhere'
    >>> conclude([Part((), "a > b", "holds"), Part((), "b > c", "refuted")]).text
    'refuted (b > c)'
    """
    return join({"": parts})


def join(studies: Mapping[str, Sequence[Part]]) -> Conclusion:
    """The answer to a claim from its parts in all studies that judge it, by the name of the study.

    Each study is a place of its own, with places in it: how the cells lie in studies changes nothing, and a cell that
    is undecided takes nothing from one that is decided. A study of which nothing was tested is named, and decides
    nothing.

    >>> holds, refuted = Part((), "a > b", "holds"), Part((), "a > b", "refuted")
    >>> join({"one": [holds], "other": [refuted]}).text
    'holds if study=one; refuted elsewhere'
    """
    tested = {name: parts for name, parts in studies.items() if any(part.result != "not tested" for part in parts)}
    every = [part for parts in studies.values() for part in parts]
    if not tested:
        return Conclusion("not tested", "; ".join(dict.fromkeys(part.why for part in every if part.why)))
    waiting = [name for name in studies if name not in tested]
    found = _joined(tested)
    detail = "; ".join([*filter(None, [found.detail]), *[f"not tested in {', '.join(waiting)}"] * bool(waiting)])
    return Conclusion(found.result, detail)


def _joined(studies: Mapping[str, Sequence[Part]]) -> Conclusion:
    several = len(studies) > 1
    results: dict[str, dict[Place, CellResult]] = {}
    for name, parts in studies.items():
        inside = {place: [part for part in parts if set(part.place) <= set(place)] for place in _places(parts)}
        results[name] = {place: _in_place(found) for place, found in inside.items()}
    kinds = {result for places in results.values() for result in places.values()}
    if kinds == {"holds"}:
        return Conclusion("holds")
    if "holds" in kinds:
        detail = _where("holds", results, several)
        if kinds == {"holds", "refuted", "undecided"}:
            refuted = _where("refuted", results, several)
            return Conclusion("holds if", f"{detail}; refuted if {refuted}; undecided elsewhere")
        (rest,) = kinds - {"holds"}
        return Conclusion("holds if", f"{detail}; {rest} elsewhere")
    named = [(f"{name}: " * several, part) for name, parts in studies.items() for part in parts]
    if "refuted" in kinds:
        refuted_parts = [f"{name}{_label(part)}" for name, part in named if part.result == "refuted"]
        return Conclusion("refuted", _named(refuted_parts))
    return Conclusion("undecided", _open([(name, part) for name, part in named if part.result != "holds"]))


def _where(wanted: CellResult, results: Mapping[str, Mapping[Place, CellResult]], several: bool) -> str:
    """The places with this result: studies that have no other by their names, of the others the places."""
    whole, partly = [], []
    for name, places in results.items():
        these = [place for place, result in places.items() if result == wanted]
        if several and len(these) == len(places):
            whole.append(name)
        elif these:
            terms = condition(these, list(places)).split("; or ")
            partly += [f"study={name}, {term}" if several else term for term in terms]
    return "; or ".join([*[f"study={' or '.join(whole)}"] * bool(whole), *partly])


def condition(holding: Sequence[Place], places: Sequence[Place]) -> str:
    """The shortest description of some places among all, by their factors.

    One set of values for each of as few factors as it takes; where no such product is exactly these places, several.

    >>> grid = [(("arch", a), ("rate", r)) for a in ("cnn", "mlp", "vit") for r in ("best", "common")]
    >>> condition(grid[:4], grid), condition(grid[::2], grid), condition([grid[0], grid[3]], grid)
    ('arch=cnn or mlp', 'rate=best', 'arch=cnn, rate=best; or arch=mlp, rate=common')
    """
    factors = list(dict.fromkeys(key for place in places for key, _ in place))
    rows = [dict(place) for place in places]
    wanted = [dict(place) for place in holding]
    product = _product(wanted, rows, factors)
    if product is not None:
        return product
    left, described = list(wanted), []
    terms = [
        dict(zip(chosen, (row.get(key, "") for key in chosen), strict=True))
        for size in range(1, len(factors) + 1)
        for chosen in itertools.combinations(factors, size)
        for row in wanted
        if row.keys() >= set(chosen)  # a place that lacks a factor is not told by it
    ]
    terms = [term for term in terms if all(row in wanted for row in rows if _fits(row, term))]
    while left:
        best = max(terms, key=lambda term: (sum(_fits(row, term) for row in left), -len(term)))
        described.append(", ".join(f"{key}={value}" for key, value in best.items()))
        left = [row for row in left if not _fits(row, best)]
    return "; or ".join(described)


def _product(
    wanted: Sequence[Mapping[str, str]], rows: Sequence[Mapping[str, str]], factors: Sequence[str]
) -> str | None:
    """One set of values for each of the fewest factors that makes exactly the wanted rows, if there is one."""
    for size in range(1, len(factors) + 1):
        for chosen in itertools.combinations(factors, size):
            if not all(row.keys() >= set(chosen) for row in wanted):
                continue
            values = {key: list(dict.fromkeys(row.get(key, "") for row in wanted)) for key in chosen}
            if [row for row in rows if all(row.get(key, "") in values[key] for key in chosen)] == [
                row for row in rows if row in wanted
            ]:
                return ", ".join(f"{key}={' or '.join(values[key])}" for key in chosen)
    return None


def _fits(row: Mapping[str, str], term: Mapping[str, str]) -> bool:
    return all(row.get(key, "") == value for key, value in term.items())


def _places(parts: Sequence[Part]) -> list[Place]:
    """The most detailed places: rules over different factors meet where the values of those that they share agree."""
    by_factors: dict[tuple[str, ...], list[Place]] = {}
    for part in parts:
        places = by_factors.setdefault(tuple(key for key, _ in part.place), [])
        if part.place not in places:
            places.append(part.place)
    found: list[Place] = [()]
    for places in by_factors.values():
        met = [tuple((dict(one) | dict(other)).items()) for one in found for other in places if _agree(one, other)]
        alone = [one for one in found if not any(_agree(one, other) for other in places)]
        alone += [other for other in places if not any(_agree(one, other) for one in found)]
        found = list(dict.fromkeys([*met, *alone]))
    return [place for place in found if not any(set(place) < set(other) for other in found)]


def _agree(one: Place, other: Place) -> bool:
    values = dict(one)
    return all(values.get(key, value) == value for key, value in other)


def _in_place(parts: Sequence[Part]) -> CellResult:
    results = {part.result for part in parts}
    if "refuted" in results:
        return "refuted"
    return "holds" if results == {"holds"} else "undecided"


def _label(part: Part) -> str:
    return f"{', '.join(value for _, value in part.place)}: {part.name}" if part.place else part.name


def _named(names: Sequence[str]) -> str:
    unique = list(dict.fromkeys(names))
    more = len(unique) - SHOWN
    return "; ".join(unique[:SHOWN]) + f"; and {more} more" * (more > 0)


def _open(parts: Sequence[tuple[str, Part]]) -> str:
    """Why it is undecided: of the part that is farthest from a decision."""
    study, worst = max(parts, key=lambda one: -1.0 if math.isnan(one[1].needed) else one[1].needed)
    if math.isnan(worst.needed):
        return _named([f"{name}{_label(part)}" + f": {part.why}" * bool(part.why) for name, part in parts])
    others = len(parts) - 1
    return f"{study}{_label(worst)}: {worst.why}" + f"; {others} more undecided" * (others > 0)
