"""A study: its question, grid and claims from ``experiments/NAME/study.yaml``, and the records of its runs."""

from __future__ import annotations

import gzip
import itertools
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import yaml
from pydantic import Field, model_validator

from normlab import record
from normlab.config import EXPERIMENTS, GROUPS, Config, PositiveFloat, Section, check, parse, unknown_choice
from normlab.curve import Curve
from normlab.errors import ConfigError, DataError, NormlabError, first_line
from normlab.statistics.verdicts import Claim

CHOICE = "validation_accuracy"  # at the end, by which each scheme's learning rate is chosen: no test image takes part
RECORDS, CURVES, MEASUREMENTS = "records.jsonl", "curves.csv.gz", "measurements.jsonl"
TRAIN_POINTS = 200  # of the training loss of a run that are kept with the results


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


class Plan(Section):
    """The part ``experiment:`` of a study's file: a grid of runs, or measurements, or both."""

    question: str
    grid: dict[str, str | int | float | bool] = Field(default_factory=dict)  # as on the command line: norm: raw,unit
    # What quick=true puts in place of its keys, null for none: minutes, on data that ships with the dependencies.
    quick: dict[str, str | int | float | bool | None] = Field(default_factory=dict)
    # Seeds, the first and the one after the last, that are run at each scheme's best rate and the common one alone, and
    # judged there in place of those that chose it: confirm=true runs them. With one rate they are a second sample.
    confirm: tuple[int, int] | None = None
    measure: tuple[Measurement, ...] = ()  # made by python -m normlab.measure
    pictures: tuple[Picture, ...] = ()  # of what they measured
    budget: str  # runs and hours, for whoever repeats it
    reference: str | None = None  # the scheme that the others are compared with; None: the first of the grid
    target: Annotated[float, Field(gt=0, le=1)] = 0.7  # validation accuracy whose time is compared
    common_lr: PositiveFloat | None = None  # the rate at which all are compared, where the grid has several
    learns: Annotated[float, Field(gt=0, lt=1)] = 0.2  # validation accuracy from which a run counts as trained
    margin: PositiveFloat = 0.01  # a difference of accuracies that does not matter, for equivalence
    claims: tuple[Claim, ...] = ()


@dataclass(frozen=True)
class Study:
    """A study with what has been run of it.

    Attributes:
        name: its folder in experiments/.
        plan: what it asks and runs.
        runs: records, a row a run; see :func:`normlab.records`.
        curves: their measurements; see :func:`normlab.curves`.
        expected: runs that the grid has; those without a record are missing.
        measured: calls of the plan's measurements, each with its ``rows`` and ``provenance``.
        planned_rates: learning rates of the grid, also of runs that are missing.
        overrides: changes to the grid.
        unseen: why runs that may have been made here were not looked for; "" if they were.
    """

    name: str
    plan: Plan
    records: tuple[dict[str, Any], ...]
    curves: pd.DataFrame
    expected: int
    measured: tuple[dict[str, Any], ...] = ()
    planned_rates: frozenset[float | str] = frozenset()
    overrides: tuple[str, ...] = ()
    unseen: str = ""

    @cached_property
    def runs(self) -> pd.DataFrame:
        """The records, a row a run; the columns of :attr:`factors` are text.

        Besides the columns of :func:`normlab.records`: ``diverged``, 0 or 1; ``failed``, 1 if it diverged or stayed
        below the plan's ``learns``; ``seed_deviation``, of the test accuracy from the median over seeds.
        """
        frame = record.frame(self.records)
        frame = frame.assign(**{column: frame[column].map(_text) for column in self.factors})
        frame["diverged"] = (frame.status == "diverged").astype(float)
        frame["failed"] = (~(frame.validation_accuracy >= self.plan.learns)).astype(float)
        accuracy = frame.groupby([*self.factors, "norm", "lr"]).test_accuracy
        frame["seed_deviation"] = (frame.test_accuracy - accuracy.transform("median")).abs()
        return frame

    @cached_property
    def measurements(self) -> pd.DataFrame:
        """The rows of all measurements; ``call`` is the name of the measurement."""
        rows = [
            {"call": entry["measure"], "status": "finished", "seed": 0, **row}
            for entry in self.measured
            for row in entry["rows"]
        ]
        return pd.DataFrame(rows)

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
        """The best learning rate of each scheme in each cell: columns of the factors, norm and lr.

        It has the highest mean of the final validation accuracy over the seeds, in which a run that diverged counts 0;
        a rate with fewer seeds than another does not take part, and no run that is there to confirm the choice.
        """
        runs = self.runs[~self.confirms]
        score = runs[CHOICE].where(runs.status == "finished", 0.0)
        keys = [*self.factors, "norm"]
        scored = runs.assign(score=score).groupby([*keys, "lr"]).score
        means = pd.DataFrame({"score": scored.mean(), "seeds": scored.size()}).reset_index()
        # A rate that few seeds have tried yet must not win by their luck.
        means = means[means.seeds == means.groupby(keys).seeds.transform("max")]
        return means.loc[means.groupby(keys).score.idxmax(), [*keys, "lr"]]

    def at_compared(self, configs: Sequence[Config]) -> list[Config]:
        """Those of these runs that are at the best learning rate of their scheme, or at the common one."""
        rows = [
            {
                "place": place,
                **{key: getattr(config, key).name for key in ("norm", "arch", "data", "optim")},
                "lr": config.optim.lr,
                "config": config.plain(),
            }
            for place, config in enumerate(configs)
        ]
        frame = record.frame(rows)
        frame = frame.assign(**{column: frame[column].map(_text) for column in self.factors})
        best = frame.merge(self.best_rates, on=[*self.factors, "norm", "lr"])
        common = frame[frame.lr == self.plan.common_lr]
        return [configs[place] for place in sorted({*best.place, *common.place})]

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


def names() -> list[str]:
    """All studies."""
    return sorted(path.parent.name for path in EXPERIMENTS.glob("*/study.yaml"))


def plan(name: str) -> Plan:
    """The checked plan of a study.

    Raises:
        ConfigError: for an unknown study, an unknown key or a bad value.
    """
    if name not in names():
        raise unknown_choice("study", name, names())
    try:
        content = yaml.safe_load((EXPERIMENTS / name / "study.yaml").read_text())
    except yaml.YAMLError as error:
        raise ConfigError(f"experiments/{name}/study.yaml: {' '.join(str(error).split())}") from None
    return check(Plan, content.get("experiment", {}), prefix=f"experiments/{name}/study.yaml: experiment.")


def load(name: str, runs: Path, results: Path, overrides: Sequence[str] = ()) -> Study:
    """The study with its records: those among ``runs`` that its grid asks for, and those kept in ``results``.

    Args:
        name: of the study.
        runs: folder of runs.
        results: folder of the study's results.
        overrides: changes to the grid, as they were given to the sweep.

    Raises:
        DataError: if there is neither a record nor a measurement.
    """
    plan_, measured = plan(name), tuple(measurements(results))
    if not plan_.grid:
        if not measured:
            raise DataError(f"study {name}: nothing is measured; do it with: python -m normlab.measure {name}")
        return Study(name, plan_, (), pd.DataFrame(), 0, measured)
    stored, parts = {}, {}
    for kept, part in _kept(results):
        stored[_fingerprint(kept)], parts[_fingerprint(kept)] = kept, part
    jobs = [config.model_copy(update={"runs": runs}) for config in expected(name, overrides)]
    found = _gathered(name, plan_, jobs, stored, parts, measured, overrides)
    if plan_.confirm and found.records and not overrides:
        more = found.at_compared([config.model_copy(update={"runs": runs}) for config in confirming(name)])
        found = _gathered(name, plan_, [*jobs, *more], stored, parts, measured, overrides)
    return found


def confirming(name: str) -> list[Config]:
    """The grid of a study with the seeds that confirm, at all of its learning rates."""
    first, end = plan(name).confirm or (0, 0)
    return expected(name, [f"seed=range({first},{end})"])


def _gathered(
    name: str,
    plan_: Plan,
    jobs: list[Config],
    stored: dict[str, dict[str, Any]],
    parts: dict[str, pd.DataFrame],
    measured: tuple[dict[str, Any], ...],
    overrides: Sequence[str],
) -> Study:
    """The study of these runs; their records are added to those that lie in the results."""
    wanted: list[str] = []
    unseen = ""
    try:
        wanted = [record.fingerprint(config) for config in jobs]
    except NormlabError as error:  # its data is not here, so that nobody can say which records are of its images
        wanted = list(stored)
        unseen = first_line(error)
    else:
        for config, fingerprint in zip(jobs, wanted, strict=True):
            found_now = record.existing(config)
            if found_now is not None:
                stored[fingerprint] = found_now | {"study": name}
                parts[fingerprint] = _curve(record.folder(config))
    known = [key for key in wanted if key in stored]
    rates = frozenset(config.optim.lr for config in jobs)
    if not known and measured:
        return Study(name, plan_, (), pd.DataFrame(), len(jobs), measured, rates, tuple(overrides), unseen)
    if not known:
        command = " ".join(["python -m normlab -m", f"+experiment={name}", *overrides])
        raise DataError(f"study {name}: none of its {len(jobs)} runs has a record; run them with: {command}")
    targets = {target for key in known for target in stored[key]["config"]["trainer"]["targets"]}
    if plan_.target not in targets:
        raise ConfigError(f"study {name}: its target {plan_.target:g} is not among the runs' trainer.targets")
    frames = [parts[key].assign(**_labels(stored[key], key)) for key in known]
    return Study(
        name,
        plan_,
        tuple(stored[key] | {"fingerprint": key} for key in known),
        pd.concat(frames, ignore_index=True),
        len(jobs),
        measured,
        rates,
        tuple(overrides),
        unseen,
    )


def _labels(found: dict[str, Any], fingerprint: str) -> dict[str, Any]:
    keys = ("norm", "arch", "data", "optim", "lr", "seed")
    return {"fingerprint": fingerprint, **{key: found[key] for key in keys}}


def expected(name: str, overrides: Sequence[str] = ()) -> list[Config]:
    """The configuration of each run of a study's grid, less those that are refused.

    Raises:
        ConfigError: if all are refused, or Hydra does not understand an override.
    """
    from hydra import initialize_config_dir
    from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
    from hydra.core.global_hydra import GlobalHydra
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException
    from hydra.types import RunMode

    from normlab.__main__ import rewritten
    from normlab.config import CONFIGS
    from normlab.sweep import configurations

    arguments = rewritten(["-m", f"+experiment={name}", *overrides])[1:]
    own = [argument for argument in arguments if argument.startswith("hydra.")]
    outer = GlobalHydra.instance().hydra  # of the sweep that asks, if one does: Hydra knows only one at a time
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(CONFIGS), version_base="1.3"):
            loader = GlobalHydra.instance().config_loader()
            master = loader.load_configuration("config", own, run_mode=RunMode.MULTIRUN)
            parser = OverridesParser.create(config_loader=loader)
            grid = parser.parse_overrides([argument for argument in arguments if argument not in own])
            (jobs,) = BasicSweeper.split_arguments(grid, None)
            made = configurations(jobs, master, loader)
    except HydraException as error:
        raise ConfigError(" ".join(str(error.__cause__ or error).split())) from None
    finally:
        GlobalHydra.instance().hydra = outer
    found = [config for config in made if config is not None]
    if not found:
        raise ConfigError(f"study {name}: all of its {len(made)} jobs are refused, the first is {' '.join(jobs[0])}")
    return found


def _fingerprint(found: dict[str, Any]) -> str:
    """That of the configuration as today's schema reads it, so that a key with a default may be added to the schema.

    What depends on the content of files keeps the fingerprint that it was made with.
    """
    if found["data"] == "folder" or found["config"]["weights"]:
        return found["fingerprint"]
    try:
        return record.fingerprint(parse(found["config"]))
    except NormlabError:
        return found["fingerprint"]


def _curve(folder: Path) -> pd.DataFrame:
    rows = Curve.read(folder / "curve.csv")
    train = [row for row in rows if row.split in ("train", "theory")]
    every = max(1, -(-len(train) // TRAIN_POINTS))
    kept = [row for row in rows if row.split not in ("train", "theory")] + train[::every]
    return pd.DataFrame(kept, columns=["step", "epoch", "split", "metric", "value"])


def _kept(results: Path) -> list[tuple[dict[str, Any], pd.DataFrame]]:
    """Records and curves that lie beside the tables."""
    if not (results / RECORDS).is_file():
        return []
    try:
        with (results / RECORDS).open() as file:
            stored = [json.loads(line) for line in file]
        curves = pd.read_csv(results / CURVES, float_precision="round_trip", dtype={"fingerprint": str})
    except (OSError, ValueError, EOFError) as error:
        raise DataError(
            f"{results}: {RECORDS} or {CURVES} is damaged ({error}); restore them, or delete both"
        ) from None
    by_run = dict(list(curves.groupby("fingerprint", sort=False)))
    empty = curves.iloc[:0]
    return [(found, by_run.get(found["fingerprint"], empty).drop(columns="fingerprint")) for found in stored]


def measurements(results: Path) -> list[dict[str, Any]]:
    """The measurements that lie beside the tables; see :mod:`normlab.measure`."""
    if not (results / MEASUREMENTS).is_file():
        return []
    with (results / MEASUREMENTS).open() as file:
        return [json.loads(line) for line in file]


def keep(study: Study, results: Path) -> None:
    """Write the records and curves compactly beside the tables: no paths, no host; the same bytes for the same runs.

    Records that lie there and are not of today's grid stay, after the others.
    """
    results.mkdir(parents=True, exist_ok=True)
    mine = {found["fingerprint"] for found in study.records}
    others = [(found, part) for found, part in _kept(results) if _fingerprint(found) not in mine]
    lines = []
    for found in [*study.records, *(found for found, _ in others)]:
        config = json.loads(json.dumps(found["config"]))
        config["runs"] = "runs"
        for group, key in (("data", "root"), (None, "weights")):
            part = config[group] if group else config
            if part.get(key):
                part[key] = Path(part[key]).name
        lines.append(json.dumps({**found, "config": config}))
    columns = ["fingerprint", "step", "epoch", "split", "metric", "value"]
    kept = [part.assign(fingerprint=found["fingerprint"]) for found, part in others]
    table = pd.concat([study.curves[columns], *(part[columns] for part in kept)])
    packed = gzip.compress(table.to_csv(index=False).encode(), mtime=0)
    for name, content in ((CURVES, packed), (RECORDS, ("\n".join(lines) + "\n").encode())):
        temporary = results / f"{name}.tmp"
        temporary.write_bytes(content)
        temporary.replace(results / name)


def provenance(study: Study) -> str:
    """What made the runs: commits, versions, machines."""
    about = [found["provenance"] for found in (*study.records, *study.measured)]
    commits = sorted(
        {f"{part['commit'] or 'unknown'}{' with uncommitted changes' * bool(part['dirty'])}" for part in about}
    )
    machines = sorted({f"{part['processor']}, {part['cores']} cores" for part in about})
    versions = sorted({", ".join(f"{name} {version}" for name, version in part["versions"].items()) for part in about})
    return "; ".join(itertools.chain([f"commit {' and '.join(commits)}"], versions, machines))
