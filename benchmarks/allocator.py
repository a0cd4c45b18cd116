"""Processor time and memory with glibc's own thresholds, and with those that commands set.

    NORMLAB_DATA=FOLDER python benchmarks/allocator.py --rounds 3

glibc gives large tensors back to the kernel when they are freed, and the kernel fills their pages with zeros at the
next use. `normlab.process.keep_memory` makes it keep them. Both settings are measured in turn, each in a process of its
own: a trained network on 32 photographs of 224 pixels (flower_photos below NORMLAB_DATA), and 40 steps of cnn at batch
128 on 64 pixels. Processor times hardly depend on what else the machine does.
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

from normlab.config import ROOT

PROGRAM = """
import json, resource, runpy, sys
import normlab.process
if {usual}:
    normlab.process.keep_memory = lambda: None
sys.argv = {arguments}
try:
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
except SystemExit as end:
    assert not end.code, end.code
used = resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps([used.ru_utime, used.ru_stime, used.ru_maxrss / 2**20]), file=open("used", "w"))
"""
COMMANDS = {
    "normlab.mismatch, 32 photographs, 5 schemes": [
        "normlab.mismatch", "data=folder", "data.root=flower_photos", "data.limit=32",
        "norms=unit,yolo,imagenet,dataset,zca",
    ],
    "cnn, batch 128, 64 pixels, 40 steps": [
        "normlab", "+norm=unit", "data=photos", "arch=cnn", "data.image_size=64", "trainer.max_steps=40",
        "trainer.eval_every_steps=40", "data.limit=2000", "trainer.threads=1", "logger=none", "trainer.progress=none",
    ],
}  # fmt: skip


def measure(arguments: list[str], usual: bool) -> list[float]:
    """Seconds in user and in system mode, and the peak of memory in GiB."""
    with tempfile.TemporaryDirectory() as folder:
        program = PROGRAM.format(usual=usual, arguments=arguments)
        subprocess.run([sys.executable, "-c", program], cwd=folder, check=True, capture_output=True)
        return json.loads((Path(folder) / "used").read_text())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    assert ROOT.is_dir()
    rows: list[dict[str, str | int]] = []
    for name, arguments in COMMANDS.items():
        measured: dict[bool, list[list[float]]] = {True: [], False: []}
        for _ in range(options.rounds):
            for usual in measured:
                measured[usual].append(measure(arguments, usual))
        for usual, values in measured.items():
            shown = [
                f"{statistics.median(column):.1f} ({min(column):.1f} to {max(column):.1f})"
                for column in zip(*values, strict=True)
            ]
            thresholds = "glibc's own" if usual else "kept memory"
            rows.append(
                {
                    "command": name,
                    "thresholds": thresholds,
                    "user s": shown[0],
                    "system s": shown[1],
                    "peak GiB": shown[2],
                }
            )
    conditions = f"medians (and ranges) of {options.rounds} rounds in turn; whole commands, with imports"
    write("allocator", f"python benchmarks/allocator.py --rounds {options.rounds}", rows, conditions)


if __name__ == "__main__":
    main()
