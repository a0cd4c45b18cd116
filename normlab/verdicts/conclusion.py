"""From the cells of a claim to one answer: holds, holds if CONDITION, refuted, undecided, not tested.

The rules of a claim are parts of one statement, which is refuted with any of them. Its cells are the places where it
could be true: the combinations of factors that its rules stand ``for each`` of, and the choices of the learning rate.
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
    """The answer to a claim from all of its parts.

    >>> cnn, vit = (("arch", "cnn"),), (("arch", "vit"),)
    >>> conclude([Part(cnn, "a > b", "holds"), Part(vit, "a > b", "refuted")]).text
    'holds if arch=cnn; refuted elsewhere'
    >>> conclude([Part((), "a > b", "holds"), Part((), "b > c", "refuted")]).text
    'refuted (b > c)'
    """
    if all(part.result == "not tested" for part in parts):
        return Conclusion("not tested", "; ".join(dict.fromkeys(part.why for part in parts if part.why)))
    places = _places(parts)
    results = {place: _in_place([part for part in parts if set(part.place) <= set(place)]) for place in places}
    holding = [place for place, result in results.items() if result == "holds"]
    if len(holding) == len(places):
        return Conclusion("holds")
    refuted = [part for part in parts if part.result == "refuted"]
    if holding:
        elsewhere = set(results.values()) - {"holds"}
        rest = " or ".join(sorted(elsewhere))
        return Conclusion("holds if", f"{condition(holding, places)}; {rest} elsewhere")
    if refuted:
        return Conclusion("refuted", _named([_label(part) for part in refuted]))
    return Conclusion("undecided", _open([part for part in parts if part.result in ("undecided", "not tested")]))


def together(conclusions: Mapping[str, Conclusion]) -> Conclusion:
    """The answer to a claim whose studies test different parts of it, by the name of the study.

    >>> together({"a": Conclusion("holds"), "b": Conclusion("refuted", "x > y")}).text
    'refuted (b: x > y)'
    """
    by_result: dict[str, list[str]] = {}
    for name, one in conclusions.items():
        by_result.setdefault(one.result, []).append(f"{name}: {one.detail}" if one.detail else name)
    if set(by_result) == {"holds"}:
        return Conclusion("holds")
    if "refuted" in by_result:
        return Conclusion("refuted", "; ".join(by_result["refuted"]))
    if set(by_result) <= {"holds", "holds if"}:
        return Conclusion("holds if", "; ".join(by_result["holds if"]))
    left = [*by_result.get("undecided", []), *by_result.get("not tested", [])]
    return Conclusion("undecided" if "undecided" in by_result or len(by_result) > 1 else "not tested", "; ".join(left))


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


def _open(parts: Sequence[Part]) -> str:
    """Why it is undecided: of the part that is farthest from a decision."""
    worst = max(parts, key=lambda part: -1.0 if math.isnan(part.needed) else part.needed)
    if math.isnan(worst.needed):
        return _named([f"{_label(part)}: {part.why}" if part.why else _label(part) for part in parts])
    others = len(parts) - 1
    return f"{_label(worst)}: {worst.why}" + f"; {others} more undecided" * (others > 0)
