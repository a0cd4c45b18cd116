"""The runs of a study on a user's data. It can be killed, and goes on with the same command."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from normlab import record
from normlab.choosing.data import fitted
from normlab.choosing.plan import FEWEST_SEEDS, Size, Timing, size
from normlab.choosing.race import Look, Plan, Race
from normlab.choosing.rates import Score, best_of
from normlab.config import Config, data_label
from normlab.data import Dataset, load
from normlab.data.splits import Source
from normlab.errors import ConfigError, RunningError
from normlab.files import write_whole
from normlab.statistics import Interval

PILOT = 1_000_000  # seed of the runs that choose rates; it takes no further part
PROBED = 512  # training inputs by which the first rate of a scheme is set
NOISE_OF_R2 = 0.02  # differences of R2 on validation samples that do not decide a rate
LONG = 10.0  # seconds of a run whose time is not measured again
STATE = "choose.json"

Say = Callable[[str], None]


class State(BaseModel):
    """What a study remembers between two calls of the command, besides the records of its runs.

    Attributes:
        identity: of what is compared.
        seconds: used so far.
        size: of a run and of the first plan.
        timing: seconds of a run's start, and of an epoch.
        run_seconds: mean duration of the runs of the race; 0 before the first.
        rates: learning rate by scheme; of those whose search has ended.
        plans: done and end of each.
        looks: seeds, level, and for each pair its names and the ends of its interval.
    """

    model_config = ConfigDict(extra="forbid")

    identity: str
    seconds: float = 0.0
    size: tuple[int, int] | None = None
    timing: tuple[float, float] | None = None
    run_seconds: float = 0.0
    rates: dict[str, float] = {}
    plans: list[tuple[int, int]] = []
    looks: list[tuple[int, float, list[tuple[str, str, float, float, float]]]] = []


class Study:
    """A comparison of schemes on one source of data.

    Args:
        configs: of a run with each scheme; their learning rate is where its search starts.
        source: of the data.
        reference: the scheme that the others have to be better than.
        margin: the smallest difference of accuracies that matters, in 0..1.
        folder: of the study.
        say: takes a line about the progress.
        started: by time.perf_counter.
        fixed_batch: whether the user has set the size of a batch; else it is lowered where the training set is smaller.

    Raises:
        ConfigError: if the folder holds another study, or a damaged one.
    """

    def __init__(
        self,
        configs: Mapping[str, Config],
        source: Source,
        reference: str,
        margin: float,
        folder: Path,
        say: Say,
        started: float,
        fixed_batch: bool = True,
    ) -> None:
        self.source, self.reference, self.margin, self._say = source, reference, margin, say
        self.schemes = tuple(configs)
        self.folder = folder
        first = configs[reference]
        self._configs = {
            scheme: one.model_copy(update={"runs": self.folder / "runs"}) for scheme, one in configs.items()
        }
        self.state = read_state(folder, identity_of(configs, source.content, reference, margin))
        self._before, self._started = self.state.seconds, started
        self.data: Dataset = load(first.data, source)
        count = len(self.data.train)
        if not fixed_batch and first.data.batch_size > count:
            batch = 1 << max(1, (count // 4).bit_length() - 1)  # a power of two, and four steps or more in an epoch
            say(f"batches of {batch} in place of {first.data.batch_size}, because there are {count} training samples")
            self._configs = {
                scheme: one.model_copy(update={"data": one.data.model_copy(update={"batch_size": batch})})
                for scheme, one in self._configs.items()
            }
        self._metric = "accuracy" if source.task == "classification" else "r2"
        self._new_runs: list[float] = []
        self._trains = False

    @property
    def seconds(self) -> float:
        """Seconds that the study has taken, over all calls of the command."""
        return self._before + time.perf_counter() - self._started

    @property
    def epochs(self) -> int:
        """Epochs of a run."""
        assert self.state.size
        return self.state.size[0]

    @property
    def seconds_of_run(self) -> float:
        """Seconds of a run, as measured."""
        assert self.state.timing
        return self.state.run_seconds or Timing(*self.state.timing).run(self.epochs)

    def plan(self, budget: float, epochs: int, fixed_epochs: bool, most_seeds: int) -> Size:
        """Measure the time of a run, and say what fits; a study that goes on keeps its epochs.

        Raises:
            ConfigError: if nothing fits, with the budget that would.
        """
        if self.state.size is None:
            self.state.timing = self._measure()
            timing = Timing(*self.state.timing)
            fitting = size(budget, self.seconds, timing, len(self.schemes), epochs, fixed_epochs, most_seeds)
            self.state.size = (fitting.epochs, fitting.seeds)
            self._save()
        return Size(*self.state.size)

    def compare(self, budget: float, most_seeds: int) -> Race:
        """Search the rates and carry out plans until the answer is clear, or the time is over."""
        if not self.state.plans:
            self._search(budget, most_seeds)
        race = Race(
            self.schemes,
            self.reference,
            self.margin,
            self._train,
            lambda schemes: budget - self.seconds > len(schemes) * self.seconds_of_run,
            [Plan(*one) for one in self.state.plans],
            [_read_look(*one) for one in self.state.looks],
        )
        while not race.standing.decided:
            affordable = int((budget - self.seconds) / (len(race.standing.left) * self.seconds_of_run))
            end = min(most_seeds, race.seeds + affordable)
            if not race.unfinished and end < race.seeds + 2:
                break
            before = race.seeds
            race.carry_out(end, lambda: self._remember(race, aloud=True))
            if race.seeds == before:
                break
        self._remember(race)
        return race

    def _measure(self) -> tuple[float, float]:
        """Seconds of a run's start and of an epoch; of a second run if the first was short."""
        for seed in (PILOT, PILOT + 1):
            stages = self._trained(self.reference, 1, seed, None)["seconds"]
            epoch = stages["training"]
            start = sum(value for name, value in stages.items() if name not in ("imports", "to_first_step", "training"))
            if start + epoch > LONG:
                break
        return start, epoch

    def _search(self, budget: float, most_seeds: int) -> None:
        assert self.state.timing
        reserve = len(self.schemes) * min(FEWEST_SEEDS, most_seeds) * Timing(*self.state.timing).run(self.epochs)
        # The standard error of an accuracy near one half, the largest there is.
        noise = 0.5 / math.sqrt(len(self.data.validation)) if self._metric == "accuracy" else NOISE_OF_R2
        for place, scheme in enumerate(self.schemes):
            start = self._configs[scheme].optim.lr
            if scheme in self.state.rates or start == "auto":
                continue
            share = max(0.0, budget - self.seconds - reserve) / (len(self.schemes) - place)
            until = self.seconds + share
            first = start * 2.0 ** self._first_step(scheme)

            def score(step: int, epochs: int, scheme: str = scheme, first: float = first) -> Score:
                one = self._trained(scheme, epochs, PILOT, first * 2.0**step)
                if one["status"] != "finished":
                    return Score(-math.inf, math.inf)
                metrics = one["metrics"]
                return Score(metrics[f"validation_{self._metric}"], metrics["validation_loss"])

            step = best_of(score, self.epochs, noise, lambda until=until: self.seconds < until)  # type: ignore[misc]
            self.state.rates[scheme] = first * 2.0**step
            self._save()
            self._say(f"{self._at()} {scheme}: learning rate {self.state.rates[scheme]:.3g}, by validation samples")

    def _first_step(self, scheme: str) -> int:
        """Where the search starts: with SGD, at a rate as much smaller as the inputs' root mean square is above 1.

        (Raw digits, cnn, He's initialization: the best rate is 2^-8 to 2^-9 of the usual 0.01, and the inputs 2^7.)
        """
        config = self._configs[scheme]
        if config.optim.name not in ("sgd", "gd"):
            return 0
        inputs = next(iter(self.data.train.batches(PROBED)))[0]
        return -round(math.log2(max(1.0, fitted(config, self.data)(inputs).detach().square().mean().sqrt().item())))

    def _train(self, scheme: str, seed: int) -> NDArray[Any]:
        """Whether the run is right on each test sample; of a regression its R2 alone, [1], and 0 where it is below.

        R2 is 0 for a network that always answers with the mean; further below, it only says how far a useless one is
        off. A run that diverged is wrong on all samples, or has R2 0.
        """
        started = time.perf_counter()
        new, one = self._run(scheme, self.epochs, seed, self.state.rates.get(scheme))
        if new:
            self._new_runs.append(time.perf_counter() - started)
            self.state.run_seconds = float(np.mean(self._new_runs))
            self._save()
            finished = one["status"] == "finished"
            value = one["metrics"][f"test_{self._metric}"] if finished else math.nan
            form = ".1%" if self._metric == "accuracy" else ".3f"
            self._say(f"{self._at()} {scheme}, seed {seed}: " + (f"{value:{form}}" if finished else "diverged"))
        if self._metric == "r2":
            return np.array([max(0.0, one["metrics"]["test_r2"]) if one["status"] == "finished" else 0.0])
        images = len(self.data.test)
        return record.unpack(one["correct"], images) if one["correct"] else np.zeros(images, dtype=bool)

    def _trained(self, scheme: str, epochs: int, seed: int, rate: float | None) -> dict[str, Any]:
        return self._run(scheme, epochs, seed, rate)[1]

    def config_of(self, scheme: str, epochs: int, seed: int, rate: float | None) -> Config:
        """The configuration of a run; None takes the rate where the search starts."""
        config = self._configs[scheme]
        config = config if rate is None else config.with_rate(rate)
        trainer = config.trainer.model_copy(update={"max_epochs": epochs, "eval_every_epochs": epochs})
        data = config.data
        if data.limit is None:  # a limit would draw other test samples too, and runs are paired by these
            fixed = 0 if self.source.test is None and data.test_seed is None else data.test_seed
            data = data.model_copy(update={"split_seed": seed, "test_seed": fixed})
        return config.model_copy(update={"seed": seed, "trainer": trainer, "data": data})

    def _run(self, scheme: str, epochs: int, seed: int, rate: float | None) -> tuple[bool, dict[str, Any]]:
        """Whether a run is made now, and its record."""
        from normlab.run import run  # here, because it imports Lightning

        config = self.config_of(scheme, epochs, seed, rate)
        stored = record.existing(config, self.source.content)
        if stored is not None:
            return False, stored
        self._trains = True
        return True, run(config, progress="none", source=self.source)

    def _at(self) -> str:
        minutes, seconds = divmod(round(self.seconds), 60)
        return f"[{minutes}:{seconds:02}]"

    def _remember(self, race: Race, aloud: bool = False) -> None:
        if aloud and len(race.looks) > len(self.state.looks):
            standing = race.standing
            out = [scheme for scheme in race.schemes if scheme not in standing.left]
            self._say(
                f"{self._at()} after {race.seeds} seeds: {', '.join(standing.left)} may be the best"
                + f"; not {', '.join(out)}" * bool(out)
            )
        self.state.plans = [(one.done, one.end) for one in race.plans]
        self.state.looks = [
            (one.seeds, one.level, [(*pair, it.estimate, it.low, it.high) for pair, it in one.intervals.items()])
            for one in race.looks
        ]
        self._save()

    def _save(self) -> None:
        if self._trains:  # a call that only reads an answer again adds no time
            self.state.seconds = self.seconds
        write_whole(self.folder / STATE, self.state.model_dump_json(indent=1))


def folder_of(configs: Mapping[str, Config], content: str, reference: str, margin: float) -> Path:
    """A folder for each study, below ``runs/choose``."""
    one = configs[reference]
    words = [data_label(one.data.model_dump()), one.arch.name, one.optim.name]
    return Path("runs") / "choose" / "-".join([*words, identity_of(configs, content, reference, margin)])


def identity_of(configs: Mapping[str, Config], content: str, reference: str, margin: float) -> str:
    """Hash of what a study compares: its runs minus seeds and rates, its reference and its margin."""
    parts = [record.differences(one.plain(), places=False) for one in configs.values()]
    text = json.dumps([content, parts, reference, margin], sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=4).hexdigest()


def read_state(folder: Path, identity: str) -> State:
    """The state of a study, new if there is none.

    Raises:
        ConfigError: if the folder holds another study, or a damaged one.
    """
    path = folder / STATE
    if not path.is_file():
        return State(identity=identity)
    try:
        state = State.model_validate_json(path.read_text())
    except (ValidationError, UnicodeDecodeError):
        raise ConfigError(f"{path}: damaged; remove it, and the same command reads the runs again") from None
    if state.identity != identity:
        raise ConfigError(f"out={folder}: it holds a study of other schemes, data or options; choose another folder")
    return state


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keep two processes from the same study; the lock of a killed process is released.

    Raises:
        RunningError: if another process is at it.
    """
    try:
        with FileLock(folder / ".lock", timeout=0):
            yield
    except Timeout:
        raise RunningError(f"{folder}: another process is at this study now") from None


def _read_look(seeds: int, level: float, pairs: Sequence[tuple[str, str, float, float, float]]) -> Look:
    return Look(
        seeds, level, {(one, other): Interval(estimate, low, high, seeds) for one, other, estimate, low, high in pairs}
    )
