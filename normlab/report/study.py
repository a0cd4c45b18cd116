"""A study: its question, grid and claims from ``experiments/NAME/study.yaml``, and the records of its runs."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
from pydantic import Field, model_validator

from normlab import record
from normlab.config import GROUPS, Config, PositiveFloat, Section, check, studies, study_file, unknown_choice
from normlab.data import open_source
from normlab.errors import ConfigError, DataError, NormlabError
from normlab.record import Stored, store
from normlab.verdicts import Claim, Rate
from normlab.verdicts.chosen import at_chosen_rates, best_rates, ranges, with_failures

MEASUREMENTS = "measurements.jsonl"


class Measurement(Section):
    """One call of a measurement: ``NAME: {KEY: VALUE}`` in a study's file, or ``NAME`` where nothing is chosen.

    ``data: NAME`` is short for ``data: {name: NAME}``.
    """

    measure: str  # see normlab.measurements
    options: dict[str, Any] = Field(default_factory=dict, alias="with")  # its keyword arguments

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, value: Any) -> Any:
        named = {value: {}} if isinstance(value, str) else value
        if not isinstance(named, dict) or len(named) != 1:
            raise ValueError(f"{value}: expected one name and its options, as in: saturated_units: {{data: digits}}")
        ((name, options),) = named.items()
        if isinstance(options, dict) and isinstance(options.get("data"), str):
            options = {**options, "data": {"name": options["data"]}}
        return {"measure": name, "with": {} if options is None else options}


class Picture(Section):
    """A figure of measured rows: ``y`` against ``x``, a colour for each value of ``by``, a panel for each ``panel``."""

    name: str
    caption: str
    call: str  # name of the measurement
    x: str
    y: str
    by: str
    panel: str | None = None
    where: dict[str, str | int | float | bool] = Field(default_factory=dict)
    interval: tuple[str, str] | None = None  # columns of the lower and the upper end
    beside: str | None = None  # a column that is drawn as a dashed line or dashes: what was predicted or printed
    log: tuple[bool, bool] = (False, False)


class Rates(Section):
    """Where the search for the best learning rate starts, and how far apart the rates are.

    See :mod:`normlab.commandline.rates`. An entry of ``around`` is ``lr`` and the keys that a run must have for it,
    as on the command line: ``{norm: raw, optim: sgd, lr: 2e-5}``; the last one that fits a run counts.
    """

    factor: Annotated[float, Field(gt=1)] = 2.0
    around: Annotated[tuple[dict[str, str | int | float | bool | None], ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _every_entry_has_a_rate(self) -> Rates:
        for entry in self.around:
            try:
                rate = float(entry["lr"])  # type: ignore[arg-type]
            except (KeyError, TypeError, ValueError):
                rate = math.nan
            if not 0 < rate < math.inf:
                raise ValueError(f"around: {entry}: expected a positive number as lr, as in: {{norm: raw, lr: 2e-5}}")
        return self

    def start(self, config: Config) -> float:
        """The rate at which the search for a run's best one starts.

        Raises:
            ConfigError: if no entry fits, or one names a key that the run has not.
        """
        plain = config.plain()
        fitting = [
            entry
            for entry in self.around
            if all(_text(_value(plain, key)) == _text(value) for key, value in entry.items() if key != "lr")
        ]
        if not fitting:
            names = ", ".join(f"{key}={getattr(config, key).name}" for key in ("norm", "arch", "data", "optim"))
            raise ConfigError(f"rates.around: no entry fits {names}: add one with lr alone, as the first")
        return float(fitting[-1]["lr"])  # type: ignore[arg-type]

    def at(self, start: float, step: int) -> float:
        """The rate so many steps above the start, to four digits.

        >>> [Rates(around=({"lr": 0.02},)).at(0.02, step) for step in (-2, 0, 3)]
        [0.005, 0.02, 0.16]
        """
        return float(f"{start * self.factor**step:.4g}")


def _value(plain: Mapping[str, Any], key: str) -> Any:
    """What a run has for a key of the command line.

    Raises:
        ConfigError: if it has no such key.
    """
    value: Any = plain
    for name in key.split("."):
        if not isinstance(value, Mapping) or name not in value:
            raise ConfigError(f"rates.around: a run has no key {key}")
        value = value[name]
    return value["name"] if isinstance(value, Mapping) and "name" in value else value


class Sensitivity(Section):
    """Runs of the study with one thing changed, which show what its conclusions depend on.

    Of every change the rates are searched anew, and chosen ones confirmed, as in the study itself:
    ``python -m normlab -m experiment=STUDY sensitivity=CHANGE``, and once more with ``confirm=true``.
    """

    grid: dict[str, str | int | float | bool] = Field(default_factory=dict)  # in place of keys of the study's grid
    confirm: tuple[int, int]  # seeds, the first and the one after the last
    changes: Annotated[dict[str, dict[str, str | int | float | bool]], Field(min_length=1)]  # by a name of one word

    @model_validator(mode="after")
    def _names_are_words(self) -> Sensitivity:
        for name in self.changes:
            if not name.isidentifier():
                raise ValueError(f"changes: {name!r}: expected a name of letters, digits and underscores")
        return self


class Plan(Section):
    """The part ``experiment:`` of a study's file: a grid of runs, or measurements, or both."""

    question: str
    grid: dict[str, str | int | float | bool] = Field(default_factory=dict)  # as on the command line: norm: raw,unit
    # Where the search for each cell's best learning rate starts, in place of optim.lr in the grid; the seeds of the
    # grid choose it. A command or a quick version that sets optim.lr itself searches nothing.
    rates: Rates | None = None
    # What quick=true puts in place of its keys, null for none: minutes, on data that ships with the dependencies.
    quick: dict[str, str | int | float | bool | None] = Field(default_factory=dict)
    # Seeds, the first and the one after the last, that are run at each scheme's best rate and the common one alone, and
    # judged there in place of those that chose it: confirm=true runs them. With one rate they are a second sample.
    confirm: tuple[int, int] | None = None
    sensitivity: Sensitivity | None = None
    measure: tuple[Measurement, ...] = ()  # made by python -m normlab.measure
    pictures: tuple[Picture, ...] = ()  # of what they measured
    budget: str  # runs and hours, for whoever repeats it
    reference: str | None = None  # the scheme that the others are compared with; None: the first of the grid
    target: Annotated[float, Field(gt=0, le=1)] = 0.7  # validation accuracy whose time is compared
    common_lr: PositiveFloat | None = None  # the rate at which all are compared, where the grid has several
    learns: Annotated[float, Field(gt=0, lt=1)] = 0.2  # validation accuracy from which a run counts as trained
    margin: PositiveFloat = 0.01  # a difference of accuracies that does not matter, for equivalence
    chance: Annotated[float, Field(gt=0, lt=1)] | None = None  # the accuracy that a run which diverged counts as
    claims: tuple[Claim, ...] = ()

    @model_validator(mode="after")
    def _rates_stand_once(self) -> Plan:
        if self.rates and "optim.lr" in self.grid:
            raise ValueError("rates and grid.optim.lr both say which learning rates are run: leave one out")
        return self

    @model_validator(mode="before")
    @classmethod
    def _say_chance_once(cls, values: Any) -> Any:
        """Give every claim the chance that stands once a study."""
        if not isinstance(values, dict) or values.get("chance") is None or not isinstance(values.get("claims"), list):
            return values
        chance = {"chance": values["chance"]}
        return values | {"claims": [chance | one if isinstance(one, dict) else one for one in values["claims"]]}


@dataclass(frozen=True)
class Study:
    """A study with what has been run of it.

    Attributes:
        name: its folder in experiments/.
        plan: what it asks and runs.
        stored: its records, and where their curves lie.
        expected: runs that the grid has; those without a record are missing.
        measured: calls of the plan's measurements, each with its ``rows`` and ``provenance``.
        planned_rates: learning rates of the grid, also of runs that are missing.
        overrides: changes to the grid.
    """

    name: str
    plan: Plan
    stored: tuple[Stored, ...]
    expected: int
    measured: tuple[dict[str, Any], ...] = ()
    planned_rates: frozenset[float | str] = frozenset()
    overrides: tuple[str, ...] = ()

    @cached_property
    def records(self) -> list[dict[str, Any]]:
        """The record of each run."""
        return [{**one.record, "study": self.name} for one in self.stored]

    @cached_property
    def curves(self) -> pd.DataFrame:
        """The measurements of all runs; columns as :func:`normlab.curves` has them, without path and study."""
        keys = ("fingerprint", "norm", "arch", "data", "optim", "lr", "seed")
        parts = [one.curve().assign(**{name: one.record[name] for name in keys}) for one in self.stored]
        return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()

    @cached_property
    def runs(self) -> pd.DataFrame:
        """The records, a row a run; the columns of :attr:`factors` are text.

        Besides the columns of :func:`normlab.records`: ``diverged``, 0 or 1; ``failed``, 1 if it diverged or stayed
        below the plan's ``learns``; ``seed_deviation``, of the test accuracy from the median over seeds.
        """
        frame = record.frame(self.records)
        frame = frame.assign(**{column: frame[column].map(_text) for column in self.factors})
        if {"provenance.images.test", "provenance.test_key"} <= set(frame):  # with ``correct``: right on which of them
            frame["test_images"] = frame["provenance.images.test"]
            frame["test_key"] = frame["provenance.test_key"]
        return with_failures(frame, self.cells, self.choice, f"test_{self.score}", self.plan.learns)

    @cached_property
    def measurements(self) -> pd.DataFrame:
        """The rows of all measurements; ``call`` is the name of the measurement."""
        rows = [
            {"call": entry["measure"], "status": "finished", "seed": 0, **row}
            for entry in self.measured
            for row in entry["rows"]
        ]
        return pd.DataFrame(rows)

    @cached_property
    def score(self) -> str:
        """What the runs are compared by: ``accuracy``, or ``r2`` in a study of regressions."""
        return next((record.score_in(found["metrics"]) for found in self.records if found["metrics"]), "accuracy")

    @property
    def choice(self) -> str:
        """What chooses each scheme's learning rate: the score on validation samples at the end; no test sample."""
        return f"validation_{self.score}"

    @property
    def missing(self) -> int:
        """Runs of the grid without a record."""
        return self.expected - len(self.records)

    @cached_property
    def factors(self) -> list[str]:
        """Columns of ``runs`` that vary in the grid, besides scheme, seed and learning rate."""
        keys = [*self.plan.grid, *(override.lstrip("+").partition("=")[0] for override in self.overrides)]
        own = [key for key in dict.fromkeys(keys) if key not in ("norm", "seed", "optim.lr")]
        columns = [key if key in ("data", "arch", "optim") else _column(key) for key in own]
        frame = record.frame(self.records)
        return [column for column in columns if column in frame and frame[column].map(_text).nunique() > 1]

    @property
    def cells(self) -> list[str]:
        """The factors and the scheme: what has a learning rate of its own."""
        return [*self.factors, "norm"]

    @cached_property
    def rates(self) -> list[float]:
        """The learning rates of the grid that the runs were given; none where each run finds its own."""
        given = {found["config"]["optim"]["lr"] for found in self.records} | self.planned_rates
        return sorted(float(rate) for rate in given if rate != "auto")

    @property
    def sweeps_rates(self) -> bool:
        """Whether the grid has several learning rates."""
        return len(self.rates) > 1

    @cached_property
    def confirms(self) -> pd.Series:
        """Which runs are there to confirm what others chose, one for each row of ``runs``."""
        return self.runs.seed.isin(range(*self.plan.confirm) if self.plan.confirm else ())

    @cached_property
    def best_rates(self) -> pd.DataFrame:
        """The best learning rate of each scheme in each cell, by the runs that are not there to confirm the choice."""
        return best_rates(self.runs[~self.confirms], self.cells, self.choice)

    @cached_property
    def at_rates(self) -> dict[Rate, pd.DataFrame]:
        """The runs at the common learning rate, at each scheme's best, and all of them; and the rates that train.

        See :mod:`normlab.verdicts.chosen`. Without several rates in the grid, and without seeds to confirm, all are the
        same runs.
        """
        runs = self.runs
        trained = ranges(runs[~self.confirms], self.cells, self.choice)
        if not self.sweeps_rates and not self.plan.confirm:
            return {"all": runs, "common": runs, "best": runs, "range": trained}
        chosen = at_chosen_rates(runs, self.confirms, self.cells, self.best_rates, self.plan.common_lr)
        return {**chosen, "range": trained}

    def compared_rates(self, configs: Sequence[Config]) -> list[set[float]]:
        """For each run the learning rates at which its scheme is compared in its cell: the best, and the common one."""
        rows = [
            {
                "place": place,
                **{key: getattr(config, key).name for key in ("norm", "arch", "data", "optim")},
                "config": config.plain(),
            }
            for place, config in enumerate(configs)
        ]
        frame = record.frame(rows)
        frame = frame.assign(**{column: frame[column].map(_text) for column in self.factors})
        best = frame.merge(self.best_rates, on=self.cells)
        found = [set() if self.plan.common_lr is None else {self.plan.common_lr} for _ in configs]
        for place, lr in zip(best.place, best.lr, strict=True):
            found[place].add(lr)
        return found

    def at_compared(self, configs: Sequence[Config]) -> list[Config]:
        """Those of these runs that are at the best learning rate of their scheme, or at the common one."""
        compared = self.compared_rates(configs)
        return [config for config, rates in zip(configs, compared, strict=True) if config.optim.lr in rates]

    @property
    def reference(self) -> str:
        """The scheme that the others are compared with."""
        return self.plan.reference or str(self.runs.norm.iloc[0])


def _column(key: str) -> str:
    """Where the records have a key of the grid."""
    return f"config.{key}.name" if key in GROUPS else f"config.{key}"


def _text(value: Any) -> str:
    """A value of a factor as the user wrote it."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "null"
    return f"{value:g}" if isinstance(value, float) else str(value)


def plan(name: str) -> Plan:
    """The checked plan of a study.

    Raises:
        ConfigError: for an unknown study, an unknown key or a bad value.
    """
    if name not in studies():
        raise unknown_choice("study", name, studies())
    return check(Plan, study_file(name).get("experiment", {}), prefix=f"experiments/{name}/study.yaml: experiment.")


def changed(plan_: Plan, change: str) -> Plan:
    """The plan with one of the changes of its part ``sensitivity``.

    Raises:
        ConfigError: if it has no such change.
    """
    offered = plan_.sensitivity.changes if plan_.sensitivity else {}
    if plan_.sensitivity is None or change not in offered:
        raise unknown_choice("sensitivity", change, sorted(offered))
    grid = plan_.grid | plan_.sensitivity.grid | offered[change]
    return plan_.model_copy(update={"grid": grid, "confirm": plan_.sensitivity.confirm})


def places(runs: Path, results: Path) -> list[Mapping[str, list[Stored]]]:
    """Where a study's records are looked for: among the runs first, then among the results of all studies."""
    return [record.find_runs(runs), record.find_kept(results.parent)]


def load(
    name: str,
    runs: Path,
    results: Path,
    grid: Sequence[Config] = (),
    confirming: Sequence[Config] = (),
    overrides: Sequence[str] = (),
    change: str | None = None,
) -> Study:
    """The study with its records: those that its grid asks for, among ``runs`` and among the results of all studies.

    Args:
        name: of the study.
        runs: folder of runs.
        results: folder of the study's results; those of the other studies lie beside it.
        grid: the runs that the study expects; see :mod:`normlab.commandline.grid`.
        confirming: the same with the seeds that confirm: at all learning rates, of which the chosen ones are taken, or,
            where the plan searches its rates, at any one, which gives way to the chosen ones.
        overrides: changes to the grid, as they were given to the sweep.
        change: of the plan's ``sensitivity``.

    Raises:
        DataError: if there is neither a record nor a measurement, or there are runs of different data under one name.
    """
    plan_, measured = plan(name), () if change else tuple(measurements(results))
    plan_ = changed(plan_, change) if change else plan_
    if not plan_.grid:
        if not measured:
            raise DataError(f"study {name}: nothing is measured; do it with: python -m normlab.measure {name}")
        return Study(name, plan_, (), 0, measured)
    stored = places(runs, results)
    found = _gathered(name, plan_, grid, stored, measured, overrides)
    if confirming and found.stored:
        more = found.at_compared(confirming)
        if plan_.rates:
            rates = found.compared_rates(confirming)
            more = [one.with_rate(lr) for one, each in zip(confirming, rates, strict=True) for lr in sorted(each)]
        found = _gathered(name, plan_, [*grid, *more], stored, measured, overrides)
    return found


def _gathered(
    name: str,
    plan_: Plan,
    jobs: Sequence[Config],
    stored: Sequence[Mapping[str, list[Stored]]],
    measured: tuple[dict[str, Any], ...],
    overrides: Sequence[str],
) -> Study:
    """The study of these runs."""
    known = [one for config in jobs if (one := recorded(name, config, stored))]
    rates = frozenset(config.optim.lr for config in jobs)
    if not known and not measured:
        command = " ".join(["python -m normlab -m", f"+experiment={name}", *overrides])
        raise DataError(f"study {name}: none of its {len(jobs)} runs has a record; run them with: {command}")
    targets = {target for one in known for target in one.record["config"]["trainer"]["targets"]}
    if known and plan_.target not in targets:
        raise ConfigError(f"study {name}: its target {plan_.target:g} is not among the runs' trainer.targets")
    study = Study(name, plan_, tuple(known), len(jobs), measured, rates, tuple(overrides))
    _require_score(study)
    return study


def _require_score(study: Study) -> None:
    """Refuse rules that compare accuracies of regressions, and would decide nothing.

    Raises:
        ConfigError: naming the claim.
    """
    if study.score == "accuracy":
        return
    for claim in study.plan.claims:
        if any(rule.at != "measured" and rule.metric.endswith("_accuracy") for rule in claim.rules):
            raise ConfigError(
                f"study {study.name}: {claim.id}: its runs have no accuracy: write `in test_{study.score}`"
            )


def recorded(name: str, config: Config, stored: Sequence[Mapping[str, list[Stored]]]) -> Stored | None:
    """The record of a run of a study; None if it has none.

    Args:
        name: of the study, for the message.
        config: of the run.
        stored: where to look, the first place first.

    Raises:
        DataError: if there are runs of different data under one name, and none is of the data on this machine.
    """
    candidates = [one for place in stored for one in place.get(store.key(config.plain()), ())]
    # One study may store all of a run by which another only chooses; and what it was tested on may be known afterwards.
    candidates.sort(key=lambda one: (one.record["correct"] is None, one.record["provenance"].get("test_key") is None))
    return _of_one_data_set(name, config, candidates) if candidates else None


def score(name: str, config: Config, stored: Sequence[Mapping[str, list[Stored]]]) -> float | None:
    """What a run counts in the choice of its learning rate; None if it has no record; see :attr:`Study.best_rates`.

    Args:
        name: of the study.
        config: of the run.
        stored: where to look for its record.
    """
    found = recorded(name, config, stored)
    if found is None:
        return None
    metrics = found.record["metrics"]
    return float(metrics[f"validation_{record.score_in(metrics)}"]) if found.record["status"] == "finished" else 0.0


def _of_one_data_set(name: str, config: Config, candidates: list[Stored]) -> Stored:
    """The first of several records of the same choices; of those whose data are on this machine, if they differ."""
    contents = {one.record["data_content"] for one in candidates}
    if len(contents) > 1:
        try:
            here = open_source(config.data).content
        except NormlabError:
            here = None
        candidates = [one for one in candidates if one.record["data_content"] == here]
        if not candidates:
            raise DataError(
                f"study {name}: there are runs of different data under the name {config.data.name}, and none is of the "
                "data on this machine: keep them apart with runs=FOLDER and results=FOLDER"
            )
    return candidates[0]


def measurements(results: Path) -> list[dict[str, Any]]:
    """The measurements that lie beside the tables; see :mod:`normlab.measure`.

    Raises:
        DataError: if the file is damaged, with the number of the first such line.
    """
    file = results / MEASUREMENTS
    if not file.is_file():
        return []
    entries = []
    for number, line in enumerate(file.read_bytes().splitlines(), 1):
        try:
            entry = json.loads(line)
        except ValueError:
            entry = None
        if not isinstance(entry, dict) or not {"measure", "with", "rows", "provenance"} <= entry.keys():
            raise DataError(f"{file}, line {number}: damaged: restore the file, or delete the line and measure again")
        entries.append(entry)
    return entries


def keep(study: Study, results: Path, variants: Iterable[Study] = ()) -> None:
    """Write the records and curves of a study, and of it with one thing changed, compactly beside its tables.

    Runs that only choose a rate are stored without ``correct``: no verdict asks on which test images they were right,
    and it is most of a record.
    """
    runs: dict[str, Stored] = {}
    for one in (study, *variants):
        for stored in one.stored:
            if one.plan.confirm is None or stored.record["seed"] in range(*one.plan.confirm):
                runs[stored.record["fingerprint"]] = stored
            else:
                chooses = replace(stored, record={**stored.record, "correct": None})
                runs.setdefault(stored.record["fingerprint"], chooses)
    record.keep(results, runs.values())
