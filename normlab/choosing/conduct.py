"""A study from the arguments of the command to its answer."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from normlab import record
from normlab.choosing import answer, page
from normlab.choosing.data import IMAGE_SIZE, KINDS, chosen_norms, data_at, kind_of, lines_for, look_at
from normlab.choosing.plan import (
    MOST_SEEDS,
    SPREAD,
    Size,
    duration,
    last_level,
    read_budget,
    usual_spread,
    visible,
)
from normlab.choosing.pretrained import without_training
from normlab.choosing.study import Study, alone, folder_of
from normlab.commandline.arguments import key_and_text, parsed
from normlab.config import Config, Section, data_label, defaults, parse, parse_group
from normlab.data import open_source
from normlab.data.splits import Source
from normlab.errors import ConfigError
from normlab.files import write_whole
from normlab.report.origin import made_by

GROUPS = ("data", "augment", "arch", "optim", "trainer", "logger")
# Unlike a run's defaults, the rate decays to zero, so that the last epoch counts, and only records are written.
USUAL = (
    "augment=none",
    "optim=sgd",
    "optim.schedule=cosine",
    "trainer=default",
    "trainer.checkpoint=false",
    "trainer.targets=[]",
    "logger=none",
)
ABOUT = (
    " of held-out test samples, mean over seeds. Learning rates were chosen on validation samples, by a seed "
    "that takes no further part. Intervals cover other seeds and, for classes, other test samples. The chance that the "
    "recommendation is wrong, over all schemes and all looks at the runs, is at most 5%."
)


class Options(Section):
    """What the command takes besides the keys of a run."""

    budget: Annotated[str, BeforeValidator(str)] = "10min"
    norms: tuple[str, ...] | None = None  # None: those that suit the data
    reference: str | None = None  # None: the one that suits the data, or the first of the norms
    margin: Annotated[float, Field(gt=0, lt=100)] = 1.0  # points of accuracy
    seeds: Annotated[int, Field(ge=2, strict=True)] = MOST_SEEDS  # at most; one has no spread
    out: Path | None = None  # None: runs/choose/DATA-ARCH-OPTIM-IDENTITY


@dataclass(frozen=True)
class Request:
    """What a user asks for.

    Attributes:
        groups: values of each group of a run.
        source: of the data; None for a trained network, which reads its images itself.
        norms: two or more schemes.
        reference: one of them.
        budget: seconds.
        options: the command's own.
        fixed_epochs: whether the user has set the number of epochs.
        fixed_batch: whether the user has set the size of a batch.
    """

    groups: dict[str, Any]
    source: Source | None
    norms: tuple[str, ...]
    reference: str
    budget: float
    options: Options
    fixed_epochs: bool
    fixed_batch: bool

    @property
    def margin(self) -> float:
        """The smallest difference of accuracies that matters, in 0..1."""
        return self.options.margin / 100

    def configs(self) -> dict[str, Config]:
        """A run with each scheme.

        Raises:
            ConfigError: for a value that a run refuses.
        """
        common = {**self.groups, "seed": 0, "study": "choose"}
        return {norm: parse({**common, "norm": defaults("norm", norm)}) for norm in self.norms}


def read_request(arguments: Sequence[str]) -> Request:
    """The request that the arguments of the command make; the data are opened, not decoded.

    Raises:
        ConfigError: for two paths, a path and a named data set, an unknown key or a bad value.
        DataError: if nothing that can be read lies at the path.
    """
    paths = [argument for argument in arguments if "=" not in argument or Path(argument).exists()]
    pairs = [argument for argument in arguments if argument not in paths]
    keys = {key_and_text(pair)[0] for pair in pairs}
    if len(paths) + ("data" in keys) > 1:
        raise ConfigError("name one folder, or one data set by data=NAME: python -m normlab.choose FOLDER budget=10min")
    own = () if "data" in keys else data_at(Path(paths[0]).expanduser() if paths else None)
    trained = "arch=pretrained" in {pair.lstrip("+") for pair in pairs}
    if "data=folder" in own and not trained:  # a trained network has a size of its own
        own += (f"data.image_size={IMAGE_SIZE}",)
    options, groups = parsed([*own, *USUAL, "arch=cnn", *pairs], Options, GROUPS)
    budget = read_budget(options.budget)
    source = None if trained else open_source(parse_group("data", groups["data"]))
    kind = kind_of(source) if source else KINDS["images"]
    regression = ("arch.loss=squared_error",) if source and source.task == "regression" else ()
    _, groups = parsed([*own, *USUAL, f"arch={kind.arch}", *regression, *pairs], Options, GROUPS)
    if groups["trainer"]["devices"] != 1:
        raise ConfigError(f"trainer.devices={groups['trainer']['devices']}: runs are compared sample by sample; give 1")
    norms, reference = chosen_norms(options.norms, options.reference, kind)
    fixed_epochs = bool({"trainer.max_epochs", "trainer.max_steps"} & keys)
    return Request(groups, source, norms, reference, budget, options, fixed_epochs, "data.batch_size" in keys)


def conduct(request: Request, started: float, arguments: Sequence[str]) -> dict[str, Any]:
    """Look at the data, plan, train, and answer; or, for a trained network, answer without training.

    Args:
        request: of the user.
        started: when the command began, by time.perf_counter.
        arguments: of the command line, for the report.

    Returns:
        The answer, its table and what led to it, with NaN for what is not known; also written as ``report.html``,
        ``answer.json`` and figures.

    Raises:
        NormlabError: for a mistake of the user.
    """
    label, arch, source = data_label(request.groups["data"]), request.groups["arch"], request.source
    if source is None:
        folder, configs = Path("runs") / "choose" / f"{label}-{arch['model'].replace('/', '-')}", {}
    else:
        configs = request.configs()
        folder = folder_of(configs, source.content, request.reference, request.margin)
    folder = request.options.out or folder
    record.require_writable(folder, "out")
    with alone(folder):
        content = {
            "label": label,
            "margin": request.margin,
            "budget": request.budget,
            "made_by": made_by("python -m normlab.choose", arguments),
            "folder": str(folder),
        }
        if source:
            content |= by_training(request, configs, source, folder, started)
        else:
            content |= without_training(request.groups["data"], arch["model"], request.norms, request.margin)
        content["seconds"] = content.get("seconds", time.perf_counter() - started)
        page.write_report(folder, content, " ".join(["python -m normlab.choose", *arguments]))
        write_whole(folder / "answer.json", json.dumps(plain(content), indent=1))
    return content


def by_training(
    request: Request, configs: dict[str, Config], source: Source, folder: Path, started: float
) -> dict[str, Any]:
    """The part of the content that a study decides.

    Args:
        request: of the user.
        configs: of a run with each scheme.
        source: of the data.
        folder: of the study.
        started: when the command began, by time.perf_counter.

    Raises:
        NormlabError: for a mistake of the user.
    """
    study = Study(configs, source, request.reference, request.margin, folder, say, started, request.fixed_batch)
    looked = look_at(study.data)
    for sentence in looked:
        say(sentence)
    epochs = configs[request.reference].trainer.max_epochs
    size = study.plan(request.budget, epochs, request.fixed_epochs, request.options.seeds)
    planned = sentences_of(request, study, size, epochs)
    for sentence in planned:
        say(sentence)
    race = study.compare(request.budget, request.options.seeds)
    final = answer.answer_of(race, study.state.seconds, study.seconds_of_run)
    rows = answer.rows(race, study.state.rates)
    metric = "accuracy" if source.task == "classification" else "R2"
    return {
        "answer": final.sentence,
        "kind": final.kind,
        "recommended": final.scheme,
        "reference": request.reference,
        "seconds": study.state.seconds,
        "epochs": size.epochs,
        "schemes": rows,
        "metric": metric,
        "table": answer.table(rows, metric=metric),
        "looked": looked,
        "planned": planned,
        "about": f"{metric[0].upper()}{metric[1:]}{ABOUT}",
        "lines": lines_for(configs[final.scheme], study.data),
    }


def plain(content: Any) -> Any:
    """Content as JSON types, with null for NaN and infinity.

    >>> plain({"a": [1.0, float("nan")]})
    {'a': [1.0, None]}
    """
    if isinstance(content, dict):
        return {key: plain(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [plain(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content


def sentences_of(request: Request, study: Study, size: Size, epochs: int) -> list[str]:
    """The plan in words, with its power."""
    spread = usual_spread(len(study.data.test))
    least = visible(size.seeds, spread, last_level(len(request.norms), size.seeds))
    runs = size.seeds * len(request.norms)
    arch, optim = request.groups["arch"]["name"], request.groups["optim"]["name"]
    sentences = [
        f"Compared: {', '.join(request.norms)}; reference {request.reference}; {arch}, {optim}, {size.epochs} epochs",
        f"Plan for {duration(request.budget)}: a search of each scheme's learning rate, then {runs} runs of "
        f"{study.seconds_of_run:.2g} s ({size.seeds} seeds of {len(request.norms)} schemes): differences above "
        f"{100 * least:.1f} points will show (with a chance of 90%, if a difference varies by {100 * SPREAD:g} points "
        f"from seed to seed)",
    ]
    if size.epochs < epochs:
        sentences.append(f"{size.epochs} epochs instead of {epochs}, because of the budget")
    return sentences


def say(text: str) -> None:
    """A line about the progress, on the error stream."""
    print(text, file=sys.stderr, flush=True)


def text_of(content: dict[str, Any]) -> str:
    """The answer as text for people."""
    lines = [content["answer"], "", content["table"], "", f"Ready to paste, for {content['recommended']}:"]
    lines += [f"  {library:15}{line}" for library, line in content["lines"].items()]
    return "\n".join([*lines, "", f"saved in {content['folder']}/: {page.REPORT}, answer.json, figures, runs"])
