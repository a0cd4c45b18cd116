"""From the command to the first training step: where the time goes.

    python benchmarks/start.py --rounds 5

Each line is a fresh process of `python -m normlab`; the seconds are those of its record. `to first step` counts from
the first line of normlab to the first batch; the interpreter's own start (about 0.02 s) comes before.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from provenance import write

COMMANDS = [
    "+norm=imagenet",
    "+norm=imagenet logger=none",
    "+norm=dataset logger=none arch=linear data=digits",
    "+norm=zca logger=none",
]
STAGES = ("imports", "data", "fit", "model", "logger", "description")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    rows = []
    for command in COMMANDS:
        measured = []
        for _ in range(rounds + 1):
            with tempfile.TemporaryDirectory() as folder:
                line = [sys.executable, "-m", "normlab", *command.split(), "trainer.max_epochs=1"]
                subprocess.run(line, cwd=folder, check=True, capture_output=True)
                (record,) = Path(folder).glob("runs/*/record.json")
                measured.append(json.loads(record.read_text())["seconds"])
        measured = measured[1:]  # the first fills the disk cache
        row = {"python -m normlab": command}
        row |= {stage: f"{statistics.median(m[stage] for m in measured):.2f}" for stage in STAGES}
        total = statistics.median(m["imports"] + m["to_first_step"] for m in measured)
        rows.append(row | {"to first step": f"{total:.2f}"})
        print(rows[-1], flush=True)
    write(
        "start", f"python benchmarks/start.py --rounds {rounds}", rows, f"seconds, medians of {rounds} fresh processes"
    )


if __name__ == "__main__":
    main()
