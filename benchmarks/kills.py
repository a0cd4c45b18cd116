"""kill -9 at random moments, and the same command again: what is lost, double, broken or left behind.

    python benchmarks/kills.py --kills 100 --minutes 10

Each command runs in a process that is forked from one with all imports, so that the moments fall into its work and not
into the imports; a sweep with joblib starts its workers itself. Half of the moments are drawn from the whole time that
the command takes when it is left alone, half from its last fifth, in which it writes. The process and all of its
children are killed together. Counted after the kill: records and files of an earlier call that are gone (lost), files
that cannot be read (broken). After the same command again, which must end with status 0: results that differ from those
of the undisturbed command (broken), finished jobs that were made again (double), locks that are still held, and
temporary files that are left.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
import torch
from filelock import FileLock, Timeout
from PIL import Image
from provenance import write

import normlab.__main__
import normlab.inspect
import normlab.measure
import normlab.report.advice
import normlab.run
import normlab.tables
from normlab import record
from normlab.config import ROOT
from normlab.training.export import export

QUICK = ["data=digits", "data.limit=60", "data.batch_size=16", "arch.width=4", "logger=none", "trainer.progress=none"]
GRID = ["-m", "+norm=raw,unit", "seed=range(0,3)", *QUICK, "trainer.max_epochs=3"]
RUN = ["+norm=unit", *QUICK, "trainer.max_epochs=20"]
TEMPORARY = (".partial", ".earlier", ".tmp")


@dataclass
class Case:
    """A command, and what it must leave.

    Attributes:
        name: in the table.
        call: makes the command, in the working folder.
        prepare: what is there before, made once.
        before: what is there before is a result, too, which must not be lost.
        results: the parts of its results that must be the same after each kill, by name.
        share: of the kills, relative to the others.
        finished: counts as double if it is made again.
    """

    name: str
    call: Callable[[], object]
    prepare: Callable[[], object] = lambda: None
    results: Callable[[], dict[str, object]] = dict
    before: bool = False
    share: float = 1.0
    finished: Callable[[], dict[str, int]] = dict
    counts: dict[str, int] = field(default_factory=dict)


def main_command(*arguments: str) -> Callable[[], None]:
    def call() -> None:
        sys.argv = ["normlab", *arguments]
        normlab.__main__.main()

    return call


def records() -> dict[str, object]:
    """Status and numbers of every record, without times; fails on a broken one."""
    found: dict[str, object] = {}
    for path in sorted(Path("runs").glob("*/record.json")):
        if path.parent.name.endswith(TEMPORARY):
            continue
        stored = record.read(path.parent)
        rows = [] if stored["status"] == "failed" else record.Curve.read(path.parent / "curve.csv")
        numbers = {key: value for key, value in stored["metrics"].items() if "second" not in key}
        found[path.parent.name] = stored["status"], str(numbers), hash(tuple(rows))
        if (checkpoint := path.parent / "checkpoint.ckpt").is_file():
            torch.load(checkpoint, weights_only=True)
    return found


def finished_runs() -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in Path("runs").glob("*/record.json")}


def tree(folder: str) -> Callable[[], dict[str, object]]:
    """The content of every file below a folder."""
    return lambda: {
        str(path.relative_to(folder)): path.read_bytes() for path in sorted(Path(folder).rglob("*")) if path.is_file()
    }


def measured() -> dict[str, object]:
    file = Path("results/feature_scales/measurements.jsonl")
    lines = [json.loads(line) for line in file.read_text().splitlines()] if file.is_file() else []
    return {json.dumps([line["measure"], line["with"]]): str(line["rows"]) for line in lines}


def make_images() -> None:
    generator = torch.Generator().manual_seed(0)
    for place in range(60):
        folder = Path("images") / ("cat", "dog")[place % 2]
        folder.mkdir(parents=True, exist_ok=True)
        pixels = torch.randint(0, 256, (96, 96, 3), generator=generator, dtype=torch.uint8)
        Image.fromarray(pixels.numpy()).save(folder / f"{place}.png")


def cached() -> dict[str, object]:
    entries = {}
    for path in Path("cache").glob("*.pt"):
        entries[path.name] = str({key: str(value) for key, value in torch.load(path, weights_only=True).items()})
    return entries


def copy_results() -> None:
    for name in ("input_ranges", "ordering_linear"):
        shutil.copytree(ROOT / "results" / name, Path("results") / name)
    tables()


def tables() -> None:
    normlab.tables.main(["input_ranges"])


def exported() -> dict[str, object]:
    if not Path("network.pt2").exists():
        return {}
    return {"scores": torch.export.load("network.pt2").module()(torch.zeros(1, 1, 8, 8).byte()).tolist()}


FOLDER = ["+norm=dataset", "data=folder", "data.root=images", "data.image_size=32", "data.batch_size=16", *QUICK[3:]]
JOBLIB = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]


def cases() -> list[Case]:
    once, again = main_command(*RUN), main_command(*RUN, "trainer.checkpoint=true")
    resumed = main_command(*RUN, "trainer.resume=true", "augment=jitter")
    decode = main_command(*FOLDER)
    sweep, parallel = main_command(*GRID), main_command(*GRID, *JOBLIB)
    return [
        Case("run", once, results=records),
        Case("run that replaces a record", again, prepare=again, before=True, results=records),
        Case("run with trainer.resume=true", resumed, results=records),
        Case("sweep of 6 jobs", sweep, results=records, finished=finished_runs, share=2),
        Case("sweep, joblib, two at once", parallel, results=records, finished=finished_runs, share=0.2),
        Case("decoding into the cache", decode, prepare=make_images, results=lambda: records() | cached()),
        Case(
            "inspect",
            lambda: normlab.inspect.main(["images", "conditioning=false", "resamples=20"]),
            prepare=make_images,
            results=tree("images"),
            share=0.4,
        ),
        Case(
            "tables with figures",
            tables,
            prepare=copy_results,
            before=True,
            results=tree("results"),
            share=0.6,
        ),
        Case("measure", lambda: normlab.measure.main(["feature_scales"]), results=measured, share=0.6),
        Case(
            "export to .pt2",
            lambda: export(next(Path("runs").glob("*/checkpoint.ckpt")), "network.pt2"),
            prepare=once,
            results=exported,
            share=0.4,
        ),
    ]


def start(call: Callable[[], object]) -> int:
    """The number of a new process, the leader of its own group, that makes the call in this folder."""
    process = os.fork()
    if process:
        return process
    status = 1
    try:
        os.setsid()
        quiet = os.open(os.devnull, os.O_RDWR)
        log = os.open("log", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
        for number, target in ((0, quiet), (1, log), (2, log)):
            os.dup2(target, number)
        call()
        status = 0
    except SystemExit as end:
        status = int(end.code or 0)
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        os._exit(status)


def finish(process: int) -> tuple[int, float]:
    """The status of a process, 0 if it was right, and the seconds that it took from now."""
    started = time.perf_counter()
    _, status = os.waitpid(process, 0)
    return os.waitstatus_to_exitcode(status), time.perf_counter() - started


def temporary_files() -> list[str]:
    return [
        str(path)
        for path in Path().rglob("*")
        if path.name.endswith(TEMPORARY) or (path.name.startswith(".") and path.name != ".locks")
    ]


def held_locks() -> int:
    held = 0
    for path in Path("runs").glob(".locks/*"):
        try:
            with FileLock(path, timeout=0):
                pass
        except Timeout:
            held += 1
    return held


def kill_once(case: Case, calm: Path, seconds: float, expected: dict[str, object], chance: random.Random) -> None:
    """Kill the command at a random moment in a copy of the prepared folder, call it again, and count."""
    counts = case.counts
    with tempfile.TemporaryDirectory() as name:
        shutil.copytree(calm, name, dirs_exist_ok=True, symlinks=True)
        os.chdir(name)
        os.environ["NORMLAB_CACHE"] = str(Path(name) / "cache")
        before = set(case.results()) if case.before else set()
        process = start(case.call)
        time.sleep(seconds * (chance.uniform(0.8, 1) if chance.random() < 0.5 else chance.uniform(0, 1)))
        alive, _ = os.waitpid(process, os.WNOHANG)
        try:
            os.killpg(process, signal.SIGKILL)
            if not alive:
                os.waitpid(process, 0)
        except (ProcessLookupError, ChildProcessError):
            pass
        counts["kills"] += 1
        counts["while it ran"] += not alive
        try:
            after = case.results()
            counts["lost"] += len(before - set(after))
        except Exception as error:
            counts["broken"] += 1
            report(case, f"broken after the kill: {error!r}")
        done = case.finished()
        counts["held locks"] += held_locks()
        status, _ = finish(start(case.call))
        try:
            results = case.results()
        except Exception as error:
            results = {"error": repr(error)}
        if status != 0 or results != expected:
            counts["broken"] += 1
            differing = [key for key in results.keys() | expected.keys() if results.get(key) != expected.get(key)]
            report(case, f"status {status}, differing: {differing[:5]}\n{Path('log').read_text()[-1500:]}")
        counts["double"] += sum(case.finished().get(path) != moment for path, moment in done.items())
        if left := temporary_files():
            counts["temporary files"] += len(left)
            report(case, f"left: {left[:5]}")
        os.chdir("/")


def report(case: Case, text: str) -> None:
    print(f"{case.name}: {text}", file=sys.stderr, flush=True)


def spent() -> float:
    """Seconds of processors that this process and its children have used."""
    return sum(
        usage.ru_utime + usage.ru_stime
        for usage in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--minutes", type=float, default=10.0, help="most minutes of processor time")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    chance, begun = random.Random(options.seed), spent()
    known = cases()
    prepared: dict[str, tuple[Path, float, dict[str, object]]] = {}
    with tempfile.TemporaryDirectory() as work:
        for case in known:
            case.counts |= dict.fromkeys(
                ("kills", "while it ran", "lost", "double", "broken", "held locks", "temporary files"), 0
            )
            before, undisturbed = Path(work) / case.name / "before", Path(work) / case.name / "undisturbed"
            before.mkdir(parents=True)
            os.chdir(before)
            os.environ["NORMLAB_CACHE"] = str(before / "cache")
            finish(start(case.prepare))
            shutil.copytree(before, undisturbed)
            os.chdir(undisturbed)
            os.environ["NORMLAB_CACHE"] = str(undisturbed / "cache")
            status, seconds = finish(start(case.call))
            assert status == 0, Path("log").read_text()
            prepared[case.name] = before, seconds, case.results()
            report(case, f"{seconds:.1f} s undisturbed")
        turns = [case for case in known for _ in range(round(case.share * 10))]
        chance.shuffle(turns)
        done = 0
        while done < options.kills and spent() - begun < 60 * options.minutes:
            case = turns[done % len(turns)]
            kill_once(case, *prepared[case.name], chance)
            done += 1
        os.chdir(ROOT)
    rows = pd.DataFrame([{"command": case.name, **case.counts} for case in known])
    total = {"command": "all", **{name: int(rows[name].sum()) for name in rows if name != "command"}}
    minutes = (spent() - begun) / 60
    write(
        "kills",
        " ".join(["python benchmarks/kills.py", *sys.argv[1:]]),
        [*rows.to_dict("records"), total],
        f"{done} times kill -9 of the process with all its children, {minutes:.1f} minutes of processor time; half of "
        "the moments from the whole time of the undisturbed command, half from its last fifth; counted after the same "
        "command again",
        "reliability",
    )
    print(rows.to_string())


if __name__ == "__main__":
    main()
