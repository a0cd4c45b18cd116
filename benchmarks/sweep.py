"""Sweeps: killed and continued, two jobs at once, a thousand that are done.

    python benchmarks/sweep.py kill      40 runs, kill -9 at five random moments, versus an undisturbed
    sweep python benchmarks/sweep.py parallel  the same jobs one after the other, and two at once, in turn
    python benchmarks/sweep.py skip      1,000 jobs that have a record

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
TWO = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "normlab", "-m", *arguments]


def seconds(folder: str | Path, *arguments: str) -> float:
    started = time.perf_counter()
    subprocess.run(command(*arguments), cwd=folder, check=True, capture_output=True)
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
    parser.add_argument("what", choices=("kill", "parallel", "skip"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--root", default="cifar10", help="of the images of `parallel`")
    parser.add_argument("--epochs", type=int, default=20, help="of each job of `parallel`")
    given = parser.parse_args()
    if given.what == "parallel":
        rows = parallel(given.rounds, given.root, given.epochs)
    else:
        rows = {"kill": kill, "skip": skip}[given.what](given.rounds)
    print(rows)
    conditions = {
        "kill": f"{given.rounds} times kill -9 of the whole process group at a random moment, two jobs at once",
        "parallel": f"medians of {given.rounds} rounds in turn; cnn on 10,000 images, "
        f"{given.epochs} epochs, a thread for each job; whole commands",
        "skip": f"median of {given.rounds} commands, start of the interpreter and the table at the end included",
    }
    write(
        f"sweep_{given.what}",
        f"python benchmarks/sweep.py {given.what} --rounds {given.rounds}"
        + f" --epochs {given.epochs}" * (given.what == "parallel"),
        rows,
        conditions[given.what],
    )


if __name__ == "__main__":
    main()
