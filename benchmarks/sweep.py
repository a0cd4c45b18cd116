"""Sweeps: killed and continued, two jobs at once, a thousand that are done.

    python benchmarks/sweep.py kill      40 runs, kill -9 at five random moments, versus an undisturbed sweep
    python benchmarks/sweep.py parallel  the same jobs one after the other, and two at once, in turn
    python benchmarks/sweep.py skip      1,000 jobs that have a record
    python benchmarks/sweep.py usual     200 linear runs on digits, versus benchmarks/template/train.py, in turn

`parallel` reads 10,000 CIFAR-10 images from a folder (`--root`, below NORMLAB_DATA).
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from provenance import write

from normlab import record
from normlab.config import GROUPS, choices, defaults, parse

QUICK = ["data=digits", "data.limit=200", "trainer.max_epochs=2", "logger=none"]
HERE = Path(__file__).resolve().parent
USUAL = HERE / "template" / "train.py"
GOAL = 5  # times as fast as the usual way
TWO = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "normlab", "-m", *arguments]


def seconds(folder: str | Path, *arguments: str) -> float:
    return seconds_of(folder, command(*arguments))


def seconds_of(folder: str | Path, line: list[str]) -> float:
    environment = {**os.environ, "PYTHONPATH": str(HERE.parent)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # as users have it
    started = time.perf_counter()
    subprocess.run(line, cwd=folder, env=environment, check=True, capture_output=True)
    return time.perf_counter() - started


def stored(folder: Path) -> dict[str, dict]:
    paths = [path for path in (folder / "runs").glob("*/record.json") if path.parent.suffix != ".partial"]
    return {path.parent.name: json.loads(path.read_text()) for path in paths}


def kill(rounds: int) -> list[dict]:
    grid = ["+norm=raw,unit,imagenet,zca", "seed=range(0,10)", *QUICK, *TWO]
    chance = random.Random(0)
    with tempfile.TemporaryDirectory() as calm_name, tempfile.TemporaryDirectory() as killed_name:
        calm, killed = Path(calm_name), Path(killed_name)
        whole = seconds(calm, *grid)
        kept = []
        for _ in range(rounds):
            process = subprocess.Popen(
                command(*grid), cwd=killed, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
            )
            before = len(stored(killed))
            while len(stored(killed)) == before and process.poll() is None:  # starting takes longer than a job
                time.sleep(0.05)
            time.sleep(chance.uniform(0, 0.1 * whole))
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            kept.append(len(stored(killed)))
        subprocess.run(command(*grid), cwd=killed, check=True, capture_output=True)
        undisturbed, continued = stored(calm), stored(killed)
        same = sum(
            name in continued and continued[name]["metrics"]["test_loss"] == one["metrics"]["test_loss"]
            for name, one in undisturbed.items()
        )
        return [
            {
                "jobs": 40,
                "records after each kill": ", ".join(map(str, kept)),
                "records at the end": len(continued),
                "with the test loss of the undisturbed sweep": same,
                "folders of unfinished runs left": len(list((killed / "runs").glob("*.partial"))),
            }
        ]


def parallel(rounds: int, root: str, epochs: int) -> list[dict]:
    jobs = ["+norm=unit,imagenet", "seed=0,1", "data=folder", f"data.root={root}", "data.limit=10000"]
    jobs += [f"trainer.max_epochs={epochs}", "logger=none", "trainer.checkpoint=false"]
    times: dict[str, list[float]] = {"one after the other": [], "two at once": []}
    for _ in range(rounds):
        for name, more in (("one after the other", ["trainer.threads=1"]), ("two at once", TWO)):
            with tempfile.TemporaryDirectory() as folder:
                times[name].append(seconds(folder, *jobs, *more))
    medians = {name: statistics.median(values) for name, values in times.items()}
    return [
        {
            "4 jobs": name,
            "seconds": f"{medians[name]:.1f} ({', '.join(f'{v:.1f}' for v in values)})",
            "share": f"{medians[name] / medians['one after the other']:.2f}",
        }
        for name, values in times.items()
    ]


def usual(rounds: int, runs: int) -> list[dict]:
    grid = ["+norm=unit", "data=digits", "arch=linear", "arch.loss=cross_entropy", f"seed=range(0,{runs})"]
    ways = {
        "Lightning and Hydra, as in lightning-hydra-template": [sys.executable, str(USUAL), "-m", grid[-1]],
        "normlab, one after the other": command(*grid, "logger=none"),
        "normlab, two at once": command(*grid, "logger=none", *TWO),
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds):
        for name, line in ways.items():
            with tempfile.TemporaryDirectory() as folder:
                times[name].append(seconds_of(folder, line))
                done = len(
                    list(
                        Path(folder).glob(
                            "logs/multiruns/*/*/checkpoints/last.ckpt"
                            if line[1] == str(USUAL)
                            else "runs/*/checkpoint.ckpt"
                        )
                    )
                )
                assert done == runs, (name, done)
        print(number, {name: round(values[-1], 1) for name, values in times.items()}, flush=True)
    bare = next(iter(times.values()))
    ratios = {
        name: statistics.median(b / v for b, v in zip(bare, values, strict=True)) for name, values in times.items()
    }
    return [
        {
            f"{runs} runs": name,
            "median s": f"{statistics.median(values):.1f}",
            "min s": f"{min(values):.1f}",
            "max s": f"{max(values):.1f}",
            "times as fast, median of rounds": f"{ratios[name]:.2f}",
            f"goal of {GOAL}": ""
            if values is bare
            else "met"
            if ratios[name] >= GOAL
            else f"missed by {1 - ratios[name] / GOAL:.0%}",
        }
        for name, values in times.items()
    ]


def skip(rounds: int) -> list[dict]:
    names = {"data": "digits", "augment": "none", "arch": "cnn", "optim": "sgd", "trainer": "default", "logger": "none"}
    schemes = choices("norm")[:20]
    with tempfile.TemporaryDirectory() as folder:
        seconds(folder, "+norm=unit", "seed=0", "data=digits", "logger=none")
        (one,) = stored(Path(folder)).values()
        for norm in schemes:
            for seed in range(50):
                values = {group: defaults(group, names.get(group, norm)) for group in GROUPS}
                config = parse({**values, "seed": seed, "runs": Path(folder) / "runs"})
                path = record.folder(config)
                path.mkdir(exist_ok=True)
                (path / record.RECORD).write_text(json.dumps(one | record.describe(config)))
        measured = [
            seconds(folder, f"+norm={','.join(schemes)}", "seed=range(0,50)", "data=digits", "logger=none")
            for _ in range(rounds)
        ]
        assert len(stored(Path(folder))) == 1000
    return [{"jobs with a record": 1000, "seconds in all": f"{statistics.median(measured):.1f}"}]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=("kill", "parallel", "skip", "usual"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--root", default="cifar10", help="of the images of `parallel`")
    parser.add_argument("--epochs", type=int, default=20, help="of each job of `parallel`")
    parser.add_argument("--runs", type=int, default=200, help="of `usual`")
    given = parser.parse_args()
    if given.what == "parallel":
        rows = parallel(given.rounds, given.root, given.epochs)
    elif given.what == "usual":
        rows = usual(given.rounds, given.runs)
    else:
        rows = {"kill": kill, "skip": skip}[given.what](given.rounds)
    print(rows)
    conditions = {
        "kill": f"{given.rounds} times kill -9 of the whole process group at a random moment, two jobs at once",
        "parallel": f"medians of {given.rounds} rounds in turn; cnn on 10,000 images, "
        f"{given.epochs} epochs, a thread for each job; whole commands",
        "usual": f"{given.rounds} rounds in turn; linear model on digits, 10 epochs of 11 steps, whole commands",
        "skip": f"median of {given.rounds} commands, start of the interpreter and the table at the end included",
    }
    write(
        f"sweep_{given.what}",
        f"python benchmarks/sweep.py {given.what} --rounds {given.rounds}"
        + f" --epochs {given.epochs}" * (given.what == "parallel")
        + f" --runs {given.runs}" * (given.what == "usual"),
        rows,
        conditions[given.what],
    )


if __name__ == "__main__":
    main()
