"""From the command to the first training step, and the start of other commands, versus `import torch`.

    python benchmarks/start.py --rounds 5
    python benchmarks/start.py --rounds 5 --before FOLDER    # a checkout of an earlier commit, in turn with this one

Each measurement is a fresh process. `to the first step` is the time of an empty process of Python, plus the seconds
from the first line of normlab to the first batch, which stand in the run's record; other lines are whole processes. The
plain PyTorch program makes one step of SGD: torch.optim imports torch._dynamo, so no training starts sooner.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from provenance import write

HERE = Path(__file__).resolve().parent.parent
STEP = (
    "import torch; p = torch.nn.Parameter(torch.ones(3)); o = torch.optim.SGD([p], 0.1); p.sum().backward(); o.step()"
)
PLAIN = {"import torch": "import torch", "a step of SGD in plain PyTorch": STEP}
LINEAR = "+norm=unit data=digits arch=linear trainer.max_epochs=1"
RUNS = [LINEAR]
STUDY = "learning_rates"
COMMANDS = [
    "normlab --help",
    "normlab.inspect data=digits conditioning=false",
    f"normlab.tables {STUDY} figures=false",
]
GOAL = 1.5  # times `import torch`, to the first step of the linear model


def seconds(code: Path, folder: Path, *arguments: str) -> float:
    environment = {**os.environ, "PYTHONPATH": str(code)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # as users have it
    started = time.perf_counter()
    subprocess.run([sys.executable, *arguments], cwd=folder, env=environment, check=True, capture_output=True)
    return time.perf_counter() - started


def to_first_step(code: Path, folder: Path, command: str) -> float:
    seconds(code, folder, "-m", "normlab", *command.split(), "rerun=true", "runs=runs")
    (record,) = folder.glob("runs/*/record.json")
    stages = json.loads(record.read_text())["seconds"]
    shutil.rmtree(folder / "runs")
    return seconds(code, folder, "-c", "pass") + stages["imports"] + stages["to_first_step"]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--before", type=Path, help="a checkout of an earlier commit")
    given = parser.parse_args()
    checkouts = ({"before": given.before.resolve()} if given.before else {}) | {"seconds": HERE}
    measured: dict[tuple[str, str], list[float]] = {}
    for round_ in range(given.rounds + 1):
        found: dict[tuple[str, str], float] = {}
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            shutil.copytree(HERE / "results" / STUDY, folder / "results" / STUDY)
            for what, code in PLAIN.items():
                found[what, "seconds"] = seconds(HERE, folder, "-c", code)
            for checkout, code in checkouts.items():
                for command in RUNS:
                    found[f"python -m normlab {command}: to the first step", checkout] = to_first_step(
                        code, folder, command
                    )
                for command in COMMANDS:
                    found[f"python -m {command}", checkout] = seconds(code, folder, "-m", *command.split())
        if round_:  # the first fills the disk cache
            for key, value in found.items():
                measured.setdefault(key, []).append(value)
            print(round_, flush=True)
    rows = []
    torch = measured["import torch", "seconds"]
    for what in dict.fromkeys(what for what, _ in measured):
        row: dict[str, str | int] = {"process": what}
        for checkout in checkouts:
            row[checkout] = f"{statistics.median(measured.get((what, checkout), [float('nan')])):.2f}"
        ratios = [value / one for value, one in zip(measured[what, "seconds"], torch, strict=True)]
        row["times import torch"] = f"{statistics.median(ratios):.2f}"
        rows.append({key: "" if value == "nan" else value for key, value in row.items()})
    first = float(rows[len(PLAIN)]["times import torch"])
    verdict = f"the goal of {GOAL} times `import torch` for the first run is " + (
        "met" if first <= GOAL else f"missed by {first / GOAL - 1:.0%}"
    )
    before = f"; `before` is commit {commit(given.before)}, in turn" if given.before else ""
    write(
        "start",
        f"python benchmarks/start.py --rounds {given.rounds}",
        rows,
        f"seconds, medians of {given.rounds} fresh processes; ratios are medians of rounds; {verdict}{before}",
    )


def commit(checkout: Path) -> str:
    line = ["git", "-C", str(checkout), "rev-parse", "--short", "HEAD"]
    return subprocess.run(line, capture_output=True, text=True, check=True).stdout.strip()


if __name__ == "__main__":
    main()
