"""The typed schema of a run: every key, its type and its range, checked before anything is computed.

Hydra composes the YAML files of ``configs/`` and the command line; this module checks the result. The options of a
scheme, an architecture or a data source are the keyword-only parameters of its class or function. A new class or
function therefore declares its options once, in its own signature, and gets the same checks.
"""

from __future__ import annotations

import copy
import difflib
import importlib
import inspect
import os
import typing
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache, lru_cache
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SerializeAsAny,
    ValidationError,
    create_model,
    model_validator,
)

from normlab.errors import ConfigError, MachineError, first_line, lack

PACKAGE = Path(__file__).parent
# In a wheel the configs lie inside the package, in a checkout next to it.
ROOT = PACKAGE if (PACKAGE / "configs").is_dir() else PACKAGE.parent
CONFIGS = ROOT / "configs"
EXPERIMENTS = ROOT / "experiments"
GROUPS = ("data", "augment", "norm", "arch", "optim", "trainer", "logger")

Fraction = Annotated[float, Field(gt=0, lt=1)]
# Strict, because otherwise `true` would pass as 1.
PositiveInt = Annotated[int, Field(gt=0, strict=True)]
NonNegativeInt = Annotated[int, Field(ge=0, lt=2**63, strict=True)]
PositiveFloat = Annotated[float, Field(gt=0)]
NonNegativeFloat = Annotated[float, Field(ge=0)]

ShiftName = Literal[  # see normlab/shifts.py
    "brightness", "contrast", "color_cast", "uneven_light", "gain", "microphone", "noise", "level", "scale"
]

STRICT = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, protected_namespaces=())


class Place:
    """Marks an option that may be a path on this machine. Every option of the type Path is marked without it.

    Paths are not part of a run's identity: see :mod:`normlab.record.identity`.
    """


class Section(BaseModel):
    """A part of the configuration that refuses unknown keys, wrong types, NaN and infinity."""

    model_config = STRICT


S = TypeVar("S", bound=Section)


def choices(group: str) -> list[str]:
    """Names that ``group=`` accepts, sorted.

    >>> choices("optim")
    ['adam', 'adamw', 'gd', 'sgd']
    """
    return sorted(path.stem for path in (CONFIGS / group).glob("*.yaml"))


def defaults(group: str, name: str) -> dict[str, Any]:
    """The content of ``configs/group/name.yaml``.

    Raises:
        ConfigError: if the group has no such choice.
    """
    path = CONFIGS / group / f"{name}.yaml"
    if not path.is_file():
        raise unknown_choice(group, name, choices(group))
    return copy.deepcopy(_content(path))


def studies() -> list[str]:
    """All studies, sorted: the folders of ``experiments/`` with a plan."""
    return sorted(path.parent.name for path in EXPERIMENTS.glob("*/study.yaml"))


def study_file(study: str) -> dict[str, Any]:
    """The content of ``experiments/STUDY/study.yaml``.

    Args:
        study: one of :func:`studies`.

    Raises:
        ConfigError: if it is no YAML.
    """
    try:
        return copy.deepcopy(_parsed((EXPERIMENTS / study / "study.yaml").read_text()))
    except yaml.YAMLError as error:
        raise ConfigError(f"experiments/{study}/study.yaml: {' '.join(str(error).split())}") from None


@lru_cache(maxsize=128)
def _parsed(text: str) -> dict[str, Any]:
    """The YAML of a study, which a command asks for again and again."""
    return yaml.safe_load(text)


@cache
def _content(path: Path) -> dict[str, Any]:
    return yaml.safe_load(path.read_text())


def unknown_choice(group: str, name: str, known: list[str]) -> ConfigError:
    """The error for ``group=name``, with the nearest name and all names."""
    return ConfigError(f"{group}={name}: no such choice{_nearest(name, known)}")


def _nearest(word: str, known: list[str]) -> str:
    near = difflib.get_close_matches(word, known, n=1)
    return (f"; did you mean {near[0]}? Choose from " if near else "; choose from ") + ", ".join(known)


def _locate(target: str) -> Callable[..., Any]:
    module, _, name = target.rpartition(".")
    try:
        return getattr(importlib.import_module(module), name)
    except (AttributeError, ValueError, ModuleNotFoundError) as error:
        missing = f" ({error})" if isinstance(error, ModuleNotFoundError) else ""
        raise ConfigError(f"_target_={target}: there is no such class or function{missing}") from None
    except ImportError as error:  # a library that is there, but cannot be loaded
        reason = lack(error) or first_line(error)
        raise MachineError(f"_target_={target}: cannot be imported: {reason}") from None


class Choice(Section):
    """One file of a config group: a name, the class or function behind it, and (in a subclass) its options."""

    name: str
    address: str = Field(alias="_target_")  # not `target`, which is a key of data=table

    def build(self, *positional: Any) -> Any:
        """Call the target with its options; the positional arguments come from the run, such as a shape."""
        function = _locate(self.address)
        return function(*positional, **{key: getattr(self, key) for key in _option_fields(function)})

    def takes(self, parameter: str) -> bool:
        """Whether the class or function has a parameter of this name, option or not."""
        return parameter in inspect.signature(_locate(self.address)).parameters

    def __reduce__(self) -> tuple[Any, ...]:
        # The class with the options is created on demand, so pickle (for spawned processes) cannot import it by name.
        return _restore, (type(self).__base__, self.model_dump(by_alias=True))


@cache
def _option_fields(function: Callable[..., Any]) -> dict[str, Any]:
    """The options of ``function``: its keyword-only parameters, with types and defaults."""
    signature = function.__init__ if inspect.isclass(function) else function
    parameters = inspect.signature(signature).parameters.values()
    try:
        hints = typing.get_type_hints(signature, include_extras=True)
        bare = [one.name for one in parameters if one.kind is one.KEYWORD_ONLY and one.name not in hints]
    except NameError as error:
        raise ConfigError(f"{function.__module__}.{function.__qualname__}: {error}: its types need an import") from None
    if bare:
        raise ConfigError(f"{function.__module__}.{function.__qualname__}: the option {bare[0]} has no type")
    return {
        parameter.name: (
            hints[parameter.name],
            ... if parameter.default is parameter.empty else parameter.default,
        )
        for parameter in parameters
        if parameter.kind is parameter.KEYWORD_ONLY
    }


@cache
def _with_options(base: type[Choice], target: str) -> type[Choice]:
    function = _locate(target)
    return create_model(f"{base.__name__}Of{function.__name__}", __base__=base, **_option_fields(function))


def _restore(base: type[Choice], values: dict[str, Any]) -> Choice:
    return _with_options(base, values["_target_"]).model_validate(values)


class Data(Choice):
    """A data source, with the options that all sources share."""

    batch_size: PositiveInt = 128
    image_size: PositiveInt | None = None  # pixels; shorter side resized, then center crop
    limit: PositiveInt | None = None  # largest number of images in each split
    validation: Fraction = 0.1  # of the training images, if the source has no validation split
    test: Fraction = 0.2  # of all images, if the source has no test split
    # Runs with different seeds share one split, unless data.split_seed=seed: then each draws its own; see parse().
    split_seed: NonNegativeInt = 0
    test_seed: NonNegativeInt | None = None  # of the test samples, if the source has no test split; None: split_seed
    stream: bool | None = None  # None: stream images that do not fit into `memory_gb`
    memory_gb: PositiveFloat = 4.0
    workers: NonNegativeInt = 2  # DataLoader workers, when streaming
    cache: bool = True
    # The values that stand for u = 0 and u = 1. None: as the files declare, else by the type (0 and 255 for 8 bits).
    black: float | Literal["observed"] | None = None  # observed: the smallest value of the training inputs
    white: float | Literal["observed"] | None = None  # observed: the largest value of the training inputs


class Arch(Choice):
    """An architecture, and the loss of its output."""

    loss: Literal["cross_entropy", "squared_error"] = "cross_entropy"
    first_layer_scale: PositiveFloat = 1.0  # factor on the initial weights of the first layer


class Augment(Section):
    """Random changes to training batches of images, of any type or of 8 bits; all off by default."""

    name: str = "none"
    crop_padding: NonNegativeInt = 0  # black pixels added on each side before a random crop of the original size
    resized_crop: tuple[Fraction, Annotated[float, Field(gt=0, le=1)]] | None = None  # share of the area
    flip: bool = False
    brightness: Annotated[float, Field(ge=0, le=1)] = 0.0  # factor drawn from 1 - b to 1 + b
    contrast: Annotated[float, Field(ge=0, le=1)] = 0.0  # factor drawn from 1 - c to 1 + c

    @property
    def changes_images(self) -> bool:
        """Whether any change is on."""
        return bool(self.crop_padding or self.resized_crop or self.flip or self.brightness or self.contrast)

    @model_validator(mode="after")
    def _ordered(self) -> Augment:
        if self.resized_crop and self.resized_crop[0] > self.resized_crop[1]:
            raise ValueError("resized_crop: the smallest share of the area comes first")
        return self


class _Optimizer(Section):
    lr: PositiveFloat | Literal["auto"]  # auto: 1/lambda_max of the linear model with squared error
    weight_decay: NonNegativeFloat = 0.0
    schedule: Literal["constant", "cosine"] = "constant"
    warmup_epochs: NonNegativeFloat = 0.0  # linear from 0 to lr
    clip_norm: PositiveFloat | None = None  # largest global gradient norm
    first_layer_lr: PositiveFloat = 1.0  # factor on the learning rate of the first layer's weights
    full_batch: ClassVar[bool] = False


class GradientDescent(_Optimizer):
    """One step an epoch, on the gradient of the mean loss over all training images."""

    name: Literal["gd"]
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.0  # heavy ball
    full_batch: ClassVar[bool] = True


class SGD(_Optimizer):
    """Stochastic gradient descent with (Nesterov) momentum."""

    name: Literal["sgd"]
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.0
    nesterov: bool = False

    @model_validator(mode="after")
    def _nesterov_has_momentum(self) -> SGD:
        if self.nesterov and self.momentum == 0:
            raise ValueError("nesterov=true needs a momentum above 0")
        return self


class Adam(_Optimizer):
    """Adam, or AdamW with its decoupled weight decay."""

    name: Literal["adam", "adamw"]
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = (0.9, 0.999)
    eps: PositiveFloat = 1e-8


Optim = GradientDescent | SGD | Adam


class Trainer(Section):
    """How long to train, on which device, and when to stop."""

    name: str = "default"
    max_epochs: PositiveInt = 10
    max_steps: PositiveInt | None = None
    accelerator: Literal["auto", "cpu", "gpu"] = "auto"
    devices: PositiveInt = 1
    precision: Annotated[Literal["32", "64", "bf16-mixed"], BeforeValidator(str)] = "32"
    eval_every_epochs: PositiveInt = 1
    eval_every_steps: PositiveInt | None = None  # in place of eval_every_epochs
    targets: tuple[Annotated[float, Field(gt=0, le=1)], ...] = (0.5, 0.7, 0.9)  # validation accuracy
    stop_at_target: bool = False  # end when the highest target is reached
    progress: Literal["auto", "bar", "lines", "none"] = "auto"
    threads: PositiveInt | None = None
    checkpoint: bool = True
    resume: bool = False  # keep the state after epochs, and go on from it if the run was killed
    compile: bool = False  # by torch.compile
    probe_steps: tuple[NonNegativeInt, ...] = ()  # updates after which curvature and layer statistics are recorded
    probe_images: PositiveInt = 512  # training images that a probe measures on
    shifts: tuple[ShiftName, ...] = ()  # also record the test accuracy under these, at five severities

    @model_validator(mode="after")
    def _target_to_stop_at(self) -> Trainer:
        if self.stop_at_target and not self.targets:
            raise ValueError("stop_at_target=true needs a target in trainer.targets")
        return self


class NoLogger(Section):
    """Only the record and the curve."""

    name: Literal["none"]


class Wandb(Section):
    """Weights & Biases in addition to the record, which stays the source of all tables."""

    name: Literal["wandb"]
    mode: Literal["offline", "online"] = "offline"
    project: str = "normlab"
    entity: str | None = None
    log_model: bool = False  # the checkpoint as an artifact


Logger = NoLogger | Wandb


class Config(Section):
    """One run, completely."""

    data: SerializeAsAny[Data]
    augment: Augment
    norm: SerializeAsAny[Choice]
    arch: SerializeAsAny[Arch]
    optim: Optim
    trainer: Trainer
    logger: Logger
    seed: Annotated[int, Field(ge=0, lt=2**32, strict=True)] = 0
    study: str = "default"
    runs: Path = Path("runs")
    rerun: bool = False
    weights: Path | None = None  # a checkpoint to start from

    @model_validator(mode="after")
    def _fits_together(self) -> Config:
        if self.optim.full_batch and self.trainer.devices > 1:
            raise ValueError("optim=gd sums the gradient over all images in one process: use trainer.devices=1")
        if isinstance(self.logger, Wandb) and self.logger.log_model and not self.trainer.checkpoint:
            raise ValueError("logger.log_model=true sends the checkpoint: leave out trainer.checkpoint=false")
        if self.optim.warmup_epochs > self.trainer.max_epochs:
            raise ValueError(
                f"optim.warmup_epochs={self.optim.warmup_epochs:g} is longer than "
                f"trainer.max_epochs={self.trainer.max_epochs}"
            )
        return self

    def with_rate(self, rate: float) -> Config:
        """The same run with this learning rate."""
        return self.model_copy(update={"optim": self.optim.model_copy(update={"lr": rate})})

    def with_threads(self, threads: int | None) -> Config:
        """The same run with this number of PyTorch threads."""
        return self.model_copy(update={"trainer": self.trainer.model_copy(update={"threads": threads})})

    def plain(self) -> dict[str, Any]:
        """The configuration as nested dicts of JSON types, every default filled in."""
        return self.model_dump(mode="json", by_alias=True)


# The schema of a group, or a schema for each choice by its name.
SCHEMAS: dict[str, type[Section] | dict[str, type[Section]]] = {
    "data": Data,
    "augment": Augment,
    "norm": Choice,
    "arch": Arch,
    "optim": {"gd": GradientDescent, "sgd": SGD, "adam": Adam, "adamw": Adam},
    "trainer": Trainer,
    "logger": {"none": NoLogger, "wandb": Wandb},
}


def schema_of(group: str, name: str, target: str | None = None) -> type[Section]:
    """The schema of a choice, with the options of the class or function behind it.

    Args:
        group: of the choice.
        name: of the choice.
        target: the class or function; None takes the one in the choice's file.

    Raises:
        ConfigError: for an unknown choice.
    """
    schema = SCHEMAS[group]
    if isinstance(schema, dict):
        if name not in schema:
            raise unknown_choice(f"{group}.name", name, list(schema))
        schema = schema[name]
    if issubclass(schema, Choice):
        return _with_options(schema, target or str(defaults(group, name)["_target_"]))
    return schema


def is_path(annotation: Any) -> bool:
    """Whether values of a type are paths.

    >>> is_path(Path | None), is_path(str)
    (True, False)
    """
    return annotation is Path or any(is_path(part) for part in typing.get_args(annotation))


@cache
def is_path_key(key: str) -> bool:
    """Whether the value of a key is a path, by the schema and by the signatures of all choices of its group.

    >>> is_path_key("weights"), is_path_key("data.root"), is_path_key("data.limit"), is_path_key("seed")
    (True, True, False, False)
    """
    group, _, option = key.partition(".")
    if group not in SCHEMAS:
        return key in Config.model_fields and is_path(Config.model_fields[key].annotation)
    schema = SCHEMAS[group]
    for part in schema.values() if isinstance(schema, dict) else [schema]:
        if option in part.model_fields:
            return is_path(part.model_fields[option].annotation)
    if isinstance(schema, dict) or not issubclass(schema, Choice) or not option:
        return False
    return any(is_path(annotation) for annotation in _annotations(group, option))


def _annotations(group: str, option: str) -> list[Any]:
    """The types of an option, in all choices of a group that have it."""
    functions = {target for name in choices(group) if (target := defaults(group, name).get("_target_"))}
    fields = []
    for target in sorted(functions):
        with suppress(ConfigError):  # a library is not installed; the error comes when the choice is used
            fields.append(_option_fields(_locate(target)))
    return [options[option][0] for options in fields if option in options]


def data_label(values: dict[str, Any]) -> str:
    """A label of the data: the name of the folder (also for ``.``) or of the file, else the source's name.

    >>> data_label({"name": "digits"}), data_label({"name": "folder", "root": "shelf/../photos/."})
    ('digits', 'photos')
    """
    root = values.get("root")
    if not root or values["name"] not in ("folder", "table", "text"):
        return values["name"]
    return Path(os.path.abspath(root)).name


def is_place(schema: type[Section], key: str) -> bool:
    """Whether an option may be a path on this machine; False for an unknown option."""
    field = schema.model_fields.get(key)
    return field is not None and (is_path(field.annotation) or _has_place(field.annotation))


def _has_place(annotation: Any) -> bool:
    parts = (*typing.get_args(annotation), *getattr(annotation, "__metadata__", ()))
    return any(isinstance(part, Place) or _has_place(part) for part in parts)


def parse(values: Mapping[str, Any]) -> Config:
    """Check a composed configuration.

    Raises:
        ConfigError: a line for each problem, with the key, the problem and the expected value.
    """
    if values.get("norm") is None:
        raise ConfigError(f"which normalization? Add +norm=NAME, where NAME is one of {', '.join(choices('norm'))}")
    # These two parts describe a sweep, not one of its runs.
    own = {key: value for key, value in values.items() if key not in ("experiment", "confirm")}
    data = own.get("data")
    if isinstance(data, Mapping) and data.get("split_seed") == "seed":
        own["data"] = {**data, "split_seed": own.get("seed", 0)}
    return check(Config, {**own, **{group: parse_group(group, own.get(group)) for group in GROUPS}})


def parse_group(group: str, values: Any) -> Any:
    """Check the part of the configuration that belongs to one group.

    Raises:
        ConfigError: as :func:`parse` does.
    """
    if not isinstance(values, Mapping) or not isinstance(values.get("name"), str):
        raise ConfigError(f"{group}={values}: expected one of these names: {', '.join(choices(group))}")
    schema = SCHEMAS[group]
    if isinstance(schema, type) and issubclass(schema, Choice):
        if values["name"] not in (known := choices(group)):
            raise ConfigError(
                f"{group}={values['name']}: no such choice in {CONFIGS / group}; a file of another folder, as of "
                f"--config-dir, adds no name: put it there{_nearest(values['name'], known)}"
            )
        # The name stands in the record, so it decides what is built; nothing else may, wherever the values come from.
        target = defaults(group, values["name"])["_target_"]
        if values.get("_target_") != target:
            raise ConfigError(
                f"{group}.name={values['name']}: _target_={values.get('_target_')}, expected {target}: choose by "
                f"{group}=NAME, one of {', '.join(choices(group))}"
            )
    return check(schema_of(group, values["name"], values.get("_target_")), values, prefix=f"{group}.")


def choose(group: str, /, name: str, **options: Any) -> Any:
    """A checked choice of a group by name, with some of its options changed.

    Raises:
        ConfigError: for an unknown name, an unknown option or a value out of range.
    """
    return parse_group(group, {**defaults(group, name), **options})


def compose(study: str, seed: int = 0, **groups: str | Mapping[str, Any]) -> Config:
    """The configuration of a run that Python code starts, not the command line.

    >>> config = compose("mine", data="digits", norm="unit", arch={"name": "cnn", "depth": 2}, optim="sgd")
    >>> config.arch.depth, config.trainer.max_epochs == defaults("trainer", "default")["max_epochs"]
    (2, True)

    Args:
        study: that the run belongs to.
        seed: of the run.
        groups: the choice of each group: its name, or its name and the options that differ from the defaults. The
            default is no augmentation, no logger, and the default trainer.

    Raises:
        ConfigError: as :func:`parse` does.
    """
    values: dict[str, Any] = {"study": study, "seed": seed}
    for group, choice in {"augment": "none", "trainer": "default", "logger": "none", **groups}.items():
        options = {"name": choice} if isinstance(choice, str) else choice
        values[group] = {**defaults(group, options["name"]), **options}
    return parse(values)


def check(schema: type[S], values: Any, prefix: str = "") -> S:
    """Validate ``values``; messages put ``prefix`` before each key.

    Raises:
        ConfigError: a line for each problem.
    """
    try:
        return schema.model_validate(values)
    except ValidationError as error:
        # For a value of several possible types, pydantic reports each type; the first message of a field is enough.
        problems: dict[str, str] = {}
        for problem in error.errors(include_url=False):
            path = [part for place, part in enumerate(problem["loc"]) if place == 0 or isinstance(part, int)]
            key = prefix + ".".join(map(str, path))
            problems.setdefault(key, _line(key, problem, schema))
        # A number in a list says more than the list that it makes wrong.
        whole = {key for key in problems if any(other.startswith(f"{key}.") for other in problems)}
        raise ConfigError(*(line for key, line in problems.items() if key not in whole)) from None


def _line(key: str, problem: Any, schema: type[Section]) -> str:
    if problem["type"] == "extra_forbidden":
        known = [name for name in schema.model_fields if name not in ("name", "address")]
        return f"{key}: unknown key{_nearest(str(problem['loc'][-1]), known)}"
    if problem["type"] == "missing":
        return f"{key}: missing, and it has no default"
    if problem["type"] == "value_error":
        return f"{key.rstrip('.')}: {problem['msg'].removeprefix('Value error, ')}".lstrip(": ")
    return f"{key}={_short(problem['input'])}: {problem['msg'].removeprefix('Input ')}"


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else text[:57] + "..."
