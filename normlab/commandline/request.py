"""What a user asks of the main command: the arguments, read once, and what follows from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from normlab.commandline import composing
from normlab.commandline.paths import is_mark, read_path, read_paths
from normlab.config import GROUPS, choices, is_path_key, studies, study_file, unknown_choice
from normlab.errors import ConfigError


@dataclass(frozen=True)
class Setting:
    """``KEY=VALUE``.

    Attributes:
        key: a group, whose choice the value names, or a key of the configuration.
        value: in Hydra's grammar, in which a comma separates the values of a sweep.
    """

    key: str
    value: str

    @property
    def override(self) -> str:
        """The setting as Hydra needs it.

        ``norm`` is added, because it is in no defaults list. A key is forced, so that our schema judges unknown keys
        and says what was expected, where Hydra would only say that it knows none.

        >>> Setting("norm", "zca").override, Setting("arch", "vit").override, Setting("optim.lr", "0.1").override
        ('+norm=zca', 'arch=vit', '++optim.lr=0.1')
        """
        sign = {"norm": "+"}.get(self.key, "" if self.key in GROUPS else "++")
        return f"{sign}{self.key}={self.value}"


@dataclass(frozen=True)
class Request:
    """The arguments of the main command.

    Attributes:
        multirun: a sweep, not a single run.
        study: in experiments/, whose settings and, in a sweep, whose grid hold where the user sets nothing else.
        quick: the study's quick version of its grid.
        confirm: the study's confirming seeds, at the learning rates that its other runs have chosen.
        sensitivity: the change of the study's plan with which it is run, one of its part ``sensitivity``.
        settings: in the order in which they were given.
        hydra: Hydra's own flags, settings and deletions, as they were given.
    """

    multirun: bool = False
    study: str | None = None
    quick: bool = False
    confirm: bool = False
    sensitivity: str | None = None
    settings: tuple[Setting, ...] = ()
    hydra: tuple[str, ...] = ()

    @property
    def grid(self) -> tuple[Setting, ...]:
        """The study's grid in a sweep, minus the keys that the user sets.

        ``quick`` puts the part ``quick`` of the study's file in place of what the grid says; null leaves a key out.
        ``sensitivity`` puts a change of the plan in place of what the grid says.
        ``confirm`` takes the confirming seeds; the sweep then leaves out all but the rates that were chosen.

        Raises:
            ConfigError: if the study has no such part, or there is no study to sweep.
        """
        plan = study_file(self.study).get("experiment", {}) if self.study and self.multirun else {}
        values: dict[str, Any] = dict(plan.get("grid", {}))
        given = {setting.key for setting in self.settings}
        if self.quick:
            if "quick" not in plan:
                raise ConfigError(
                    "quick=true requires a sweep of a study that has a quick version: -m experiment=NAME quick=true"
                )
            values |= plan["quick"]
        if self.sensitivity is not None:
            if not plan.get("sensitivity"):
                raise ConfigError(
                    "sensitivity=CHANGE requires a sweep of a study whose plan has changes: "
                    "-m experiment=NAME sensitivity=CHANGE"
                )
            if self.quick:
                raise ConfigError("sensitivity and quick=true both change the grid: leave one out")
            changes = plan["sensitivity"]["changes"]
            if self.sensitivity not in changes:
                raise unknown_choice("sensitivity", self.sensitivity, sorted(changes))
            values |= plan["sensitivity"].get("grid", {}) | changes[self.sensitivity]
            plan = plan | {"confirm": plan["sensitivity"]["confirm"]}
        if self.confirm:
            if not plan.get("confirm"):
                raise ConfigError(
                    "confirm=true requires a sweep of a study that has confirming seeds: "
                    "-m experiment=NAME confirm=true"
                )
            if self.quick or "seed" in given:
                raise ConfigError("confirm=true sets the seeds itself: leave out quick=true and seed")
            first, end = plan["confirm"]
            values["seed"] = f"range({first},{end})"
        return tuple(
            _setting(key, str(value), multirun=True)
            for key, value in values.items()
            if key not in given and value is not None
        )

    @property
    def searches(self) -> bool:
        """Whether the sweep searches the learning rates: the study's plan says where, and nobody sets them."""
        if not (self.study and self.multirun and study_file(self.study).get("experiment", {}).get("rates")):
            return False
        return "optim.lr" not in {setting.key for setting in (*self.settings, *self.grid)}

    @property
    def hydra_arguments(self) -> list[str]:
        """The request as Hydra needs it.

        Raises:
            ConfigError: as :attr:`grid` does.
        """
        settings = [setting.override for setting in (*self.settings, *self.grid)]
        study = [f"+{composing.STUDY}={self.study}"] if self.study else []
        confirm = [f"hydra.sweeper.confirm={self.study}"] if self.confirm else []
        search = [f"hydra.sweeper.search={self.study}"] if self.searches else []
        change = [f"hydra.sweeper.sensitivity={self.sensitivity}"] if self.sensitivity is not None else []
        return [*self.hydra, *confirm, *search, *change, *study, *settings]


def read(arguments: Sequence[str]) -> Request:
    """The request that the arguments of the command line make.

    A plus sign before a key says nothing: ``norm=x``, ``+norm=x`` and ``++norm=x`` are one.

    >>> request = read(["-m", "experiment=input_ranges", "seed=0,1", "data.root=a b,c"])
    >>> request.study, [setting.override for setting in request.settings]
    ('input_ranges', ['++seed=0,1', "++data.root='a b','c'"])

    Raises:
        ConfigError: for a study that does not exist, a value that cannot be read, or what a sweep cannot do.
    """
    flags, overrides, multirun = composing.split_arguments(arguments)
    if multirun and {"--cfg", "-c"} & {flag.partition("=")[0] for flag in flags}:
        raise ConfigError("--cfg shows the configuration of one run: leave out -m, and give each key one value")
    own: dict[str, str] = {}
    settings, hydra = [], []
    for override in overrides:
        if "_target_" in override:  # also hydra.callbacks.x._target_=...: what code runs is no option
            raise ConfigError(f"{override}: classes are chosen by their names, as in norm=zca, never by _target_")
        key, equals, text = override.partition("=")
        bare = key.lstrip("+")
        if bare == "hydra/sweeper" and text != "normlab":
            raise ConfigError(
                f"{override}: a sweep needs the sweeper of normlab, which knows its records; leave it out"
            )
        if not (equals and bare) or bare.startswith(("~", "hydra.", "hydra/")):
            hydra.append(override)
        elif bare in (composing.STUDY, "quick", "confirm", "sensitivity"):
            own[bare] = text
        else:
            settings.append(_setting(bare, text, multirun))
    study = own.get(composing.STUDY)
    if study is not None and study not in studies():
        raise unknown_choice(composing.STUDY, study, studies())
    quick, confirm = (_switch(key, own.get(key, "false")) for key in ("quick", "confirm"))
    return Request(multirun, study, quick, confirm, own.get("sensitivity"), tuple(settings), (*flags, *hydra))


def _switch(key: str, text: str) -> bool:
    if text not in ("true", "false"):
        raise ConfigError(f"{key}={text}: expected true or false")
    return text == "true"


def _setting(key: str, text: str, multirun: bool) -> Setting:
    group, _, option = key.partition(".")
    if group in GROUPS and option in ("name", "_target_"):
        raise ConfigError(f"{key}={text}: choose it by {group}=NAME, one of {', '.join(choices(group))}")
    if is_path_key(key):
        paths = read_paths(key, text) if multirun else [read_path(key, text)]
        if key == "runs" and len(paths) > 1:  # the folder of the sweep lies in it
            raise ConfigError(f"runs={text}: a sweep has one folder of runs; a name with a comma stands in quotes")
        return Setting(key, ",".join(map(composing.quoted, paths)))
    if is_mark(text):
        return Setting(key, composing.quoted(text))
    if ("=" in text or not text.isascii()) and not set(text) & set("'\"[{,("):
        text = f"'{text}'"  # Hydra's grammar takes other letters, and data.mask=nodata=0, only in quotes
    return Setting(key, text)
