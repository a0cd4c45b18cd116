"""What a rule is made of, and a claim of rules; how a rule is written: :mod:`normlab.verdicts.language`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from normlab.config import NonNegativeFloat, PositiveFloat, Section
from normlab.errors import ConfigError
from normlab.verdicts.language import column, parse

Rate = Literal["common", "best", "all", "range", "measured"]
Where = dict[str, str | int | float | bool]  # columns of the records and the values that they must have


class _Rule(Section):
    metric: str = "test_accuracy"
    # Runs at the common learning rate, at each scheme's best on validation, or all; the range of rates at which each
    # seed of a scheme trains; or the rows of the measurements.
    at: Rate = "all"
    over: tuple[str, ...] = ()  # columns whose combinations are the cells
    among: dict[str, tuple[str, ...]] = Field(default_factory=dict)  # of a column only these values make cells
    diverged_as: float | None = None  # the metric of a run that diverged; None: such a pair decides nothing
    by_construction: bool = False  # it is true whatever the data are; said beside its result
    # For times to a target: a miss counts so much. To a rule with two bounds it is that or more; see Cell.at_least.
    horizon: PositiveFloat | None = None


class Superior(_Rule):
    """The mean of ``metric`` is larger for ``first`` than for ``second``, by more than ``margin``.

    ``matters`` is the smallest effect size of interest: a gain beyond ``margin`` that is shown to be smaller refutes
    the rule too, so that a tie that many seeds have seen is an answer (Lakens et al. 2018, Adv. Methods Pract. Psychol.
    Sci. 1:259-269).
    """

    kind: Literal["superior"]
    first: Where
    second: Where
    margin: NonNegativeFloat = 0.0
    matters: NonNegativeFloat = 0.0


class NonInferior(_Rule):
    """The mean of ``metric`` is not smaller for ``first`` than for ``second``, but for ``margin`` at most."""

    kind: Literal["non_inferior"]
    first: Where
    second: Where
    margin: PositiveFloat


class Equivalent(_Rule):
    """The means of ``metric`` differ by less than ``margin``."""

    kind: Literal["equivalent"]
    first: Where
    second: Where
    margin: PositiveFloat


class _Bounded(_Rule):
    low: float
    high: float

    @model_validator(mode="after")
    def _some_number_lies_between(self) -> Self:
        if not self.low <= self.high:
            raise ValueError(f"no number lies between {self.low:g} and {self.high:g}")
        return self


class Between(_Rule):
    """The mean difference of ``metric``, ``first`` less ``second``, lies between ``low`` and ``high``.

    With ``ratio`` it is the ratio ``first`` over ``second``, in the geometric mean over seeds, which may have no upper
    bound.
    """

    kind: Literal["between"]
    first: Where
    second: Where
    low: float
    high: float | None = None
    ratio: bool = False

    @model_validator(mode="after")
    def _some_number_lies_between(self) -> Self:
        if self.high is not None and not self.low < self.high:
            raise ValueError(f"no number lies between {self.low:g} and {self.high:g}")
        if self.high is None and not self.ratio:
            raise ValueError("a difference with one bound is written first > second + margin")
        if self.ratio and self.low <= 0:
            raise ValueError(f"a ratio lies between positive bounds, not above {self.low:g}")
        return self


class Interaction(_Rule):
    """What ``first`` gains over ``second`` is larger ``under`` one condition ``than`` under another, by ``margin``.

    ``matters`` as for :class:`Superior`.
    """

    kind: Literal["interaction"]
    first: Where
    second: Where
    under: Where
    than: Where
    margin: NonNegativeFloat = 0.0
    matters: NonNegativeFloat = 0.0


class Within(_Bounded):
    """``metric`` lies between ``low`` and ``high`` in every run: for numbers that are exact, not drawn."""

    kind: Literal["within"]
    where: Where = Field(default_factory=dict)


class Estimated(_Bounded):
    """The interval of a measured quantity lies between ``low`` and ``high``, in every row.

    The ends of the interval stand in the columns ``METRIC_low`` and ``METRIC_high``. It supports the rule inside the
    bounds, contradicts it outside, and decides nothing across one.
    """

    kind: Literal["estimated"]
    where: Where = Field(default_factory=dict)


Compared = Superior | NonInferior | Equivalent | Between
Rule = Annotated[Compared | Interaction | Within | Estimated, Field(discriminator="kind")]

ACCURACIES = ("test_accuracy", "validation_accuracy")  # metrics of which a run that diverged counts as chance


class Claim(Section):
    """One statement under test.

    In a study's file a rule is text, and ``at``, ``over`` and ``matters`` may stand once for all rules of a claim,
    ``chance`` once for all claims of a study; :attr:`rules` have them each. ``matters`` is for rules that an accuracy
    is larger. With several ``at``, all rules are made at the first, then all at the next.
    """

    id: str
    statement: str = (
        ""  # in the project's own words; of a claim of the ledger (experiments/claims.yaml) it stands there
    )
    rules: Annotated[tuple[Rule, ...], Field(min_length=1)]  # all must hold
    rates: tuple[Rate, ...] = ()  # the choices of the learning rate for which all rules are made, if several
    instead: str = ""  # what is true where the claim is not

    @model_validator(mode="before")
    @classmethod
    def _spread(cls, values: Any) -> Any:
        """Give each rule what the claim says once."""
        if not isinstance(values, Mapping):
            return values
        own = dict(values)
        rates, over, chance, matters = (own.pop(key, None) for key in ("at", "over", "chance", "matters"))
        rules = own.get("rules")
        if not isinstance(rules, list | tuple):
            return own
        try:
            parsed = [parse(rule) if isinstance(rule, str) else rule for rule in rules]
        except ConfigError as error:
            raise ValueError(f"claim {own.get('id')}: {error}") from None
        shared = [] if over is None else [column(key) for key in over]
        made = [
            {**({} if rate is None else {"at": rate}), **_with_cells(rule, shared)}
            if isinstance(rule, Mapping)
            else rule
            for place, rate in enumerate(rates if isinstance(rates, list | tuple) else [rates])
            for rule in parsed
            if place == 0 or not (isinstance(rule, Mapping) and "at" in rule)  # one with a rate of its own: once
        ]
        if isinstance(rates, list | tuple) and len(rates) > 1:
            own["rates"] = tuple(rates)
        made = made if matters is None else [_with_matters(rule, matters) for rule in made]
        own["rules"] = made if chance is None else [_with_chance(rule, chance) for rule in made]
        return own


def _with_cells(rule: Mapping[str, Any], shared: list[str]) -> dict[str, Any]:
    """A rule of runs has a cell for each combination of the claim's factors and its own; one of rows only its own."""
    if rule.get("kind") in ("within", "estimated") and "over" in rule:
        return dict(rule)
    over = list(dict.fromkeys([*shared, *rule.get("over", ())]))
    return {**rule, "over": over} if over else dict(rule)


def _with_matters(rule: Any, matters: float) -> Any:
    """A rule that an accuracy is larger gets the smallest gain that matters."""
    if not isinstance(rule, Mapping) or rule.get("kind") not in ("superior", "interaction"):
        return rule
    return {"matters": matters, **rule} if rule.get("metric", ACCURACIES[0]) in ACCURACIES else rule


def _with_chance(rule: Any, chance: float) -> Any:
    """A rule that compares accuracies counts a run that diverged as a guess."""
    if not isinstance(rule, Mapping) or rule.get("kind") in ("within", "estimated"):
        return rule
    return {"diverged_as": chance, **rule} if rule.get("metric", ACCURACIES[0]) in ACCURACIES else rule
