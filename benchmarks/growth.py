"""How time and memory grow: with images, their pixels, classes, schemes, jobs of a sweep, and records.

    python benchmarks/growth.py --rounds 5

Each measurement is a fresh process, which imports what it needs before the clock starts. Memory is the peak of the
process minus its peak at that moment. The exponent is the slope of log time over log size between the two largest
sizes: 1 is proportional. By it the last column says, on paper, what ten times the largest size would take.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from provenance import write

import normlab
from normlab.config import choices, compose
from normlab.data import Dataset, MemorySplit

IMAGES = 2_000
GOALS = {("records", 100_000): 5.0}  # seconds
# Beyond what is measured, on paper. ImageNet-21k: Ridnik et al. 2021, "ImageNet-21K Pretraining for the Masses".
PAPER = {
    "images": (14_197_122, "ImageNet-21k"),
    "classes": (21_841, "ImageNet-21k"),
    "jobs": (100_000, "one command"),
    "records": (1_000_000, "one folder"),
}


def noise(images: int, side: int, classes: int) -> Dataset:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randint(0, 256, (images, 3, side, side), dtype=torch.uint8, generator=generator)
    split = MemorySplit(inputs, torch.arange(images) % classes)
    small = MemorySplit(inputs[:50], split.labels[:50])
    return Dataset("noise", split, small, small, tuple(map(str, range(classes))), "", "")


def training(images: int = IMAGES, side: int = 16, classes: int = 10) -> Callable[[], object]:
    """Fitting `dataset`, and one epoch of a linear model."""
    from normlab.archs import Network
    from normlab.training import train

    data = noise(images, side, classes)
    config = compose("growth", data="digits", norm="dataset", arch="linear", optim={"name": "sgd", "lr": 1e-6})
    trainer = config.trainer.model_copy(update={"max_epochs": 1, "progress": "none", "checkpoint": False})
    config = config.model_copy(update={"trainer": trainer})

    def run() -> None:
        norm = config.norm.build().fit(data.training_inputs())
        network = Network(norm, config.arch, data.shape, data.classes)
        with tempfile.TemporaryDirectory() as folder:
            train(config, data, network, Path(folder), [])

    return run


def jobs(count: int) -> Callable[[], object]:
    """What a sweep does before its first job: composing the grid, and the fingerprint of each job."""
    from normlab import record
    from normlab.commandline.composing import expand
    from normlab.data import open_source

    def run() -> None:
        _, configs = expand(["+norm=unit", "data=digits", "arch=linear", f"++seed=range(0,{count})"], None)
        content = open_source(configs[0].data).content
        for config in configs:
            record.folder(config, content)

    return run


def schemes(count: int) -> Callable[[], object]:
    """Fitting so many schemes on digits."""
    import sklearn.cluster  # noqa: F401 - of norm=adaptive

    data = normlab.dataset("digits")
    names = [name for name in choices("norm") if name not in ("cmn", "cmvn", "revin", "per_channel", "difference")]
    chosen = [names[place % len(names)] for place in range(count)]

    def run() -> None:
        for name in chosen:
            normlab.normalization(name).fit(data.training_inputs())

    return run


def records(folder: str) -> Callable[[], object]:
    """`normlab.records` of a folder of runs."""
    import pandas  # noqa: F401

    return lambda: normlab.records(folder)


MEASURED: dict[str, tuple[Callable[..., Callable[[], object]], tuple[int, ...]]] = {
    "images": (lambda n: training(images=n), (200, 2_000, 20_000, 200_000)),
    "pixels": (lambda n: training(side=math.isqrt(n), images=500), (8**2, 32**2, 64**2, 256**2)),
    "classes": (lambda n: training(classes=n), (10, 100, 1_000, 10_000)),
    "schemes": (schemes, (1, 10, 100)),
    "jobs": (jobs, (10, 100, 1_000, 10_000)),
    "records": (records, (100, 1_000, 10_000, 100_000)),
}


def measure(what: str, size: str) -> None:
    logging.disable(logging.CRITICAL)
    make, _ = MEASURED[what]
    call = make(size if what == "records" else int(size))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.perf_counter()
    call()
    seconds = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps([seconds, (after - before) / 1024]))


def many_records(folder: Path, count: int) -> None:
    """Copies of one record with other seeds, fingerprints and measurements."""
    if not (folder / "one").is_dir():
        line = [sys.executable, "-m", "normlab", "+norm=unit", "data=digits", "arch=linear", "logger=none"]
        subprocess.run([*line, f"runs={folder / 'one'}"], check=True, capture_output=True)
    (path,) = (folder / "one").glob("*/record.json")
    record = json.loads(path.read_text())
    metrics = record["metrics"]
    for number in range(count):
        record |= {"seed": number, "fingerprint": f"{number:012x}"}
        record["metrics"] = {
            key: value * (1 - number / 1e6) if isinstance(value, float) else value for key, value in metrics.items()
        }
        place = folder / str(count) / f"digits-linear-unit-sgd-seed{number}-{number:012x}"
        place.mkdir(parents=True)
        (place / "record.json").write_text(json.dumps(record, indent=2))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("what", nargs="*")
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    if given.what:
        measure(*given.what)
        return
    rows: list[dict[str, str | int]] = []
    for what, (_, sizes) in MEASURED.items():
        medians, memories = [], []
        with tempfile.TemporaryDirectory() as name:
            for size in sizes:
                argument = str(size)
                if what == "records":
                    many_records(Path(name), size)
                    argument = str(Path(name, argument))
                line = [sys.executable, __file__, what, argument]
                found = []
                for _ in range(given.rounds):
                    answer = subprocess.run(line, check=True, capture_output=True, text=True).stdout
                    found.append(json.loads(answer.splitlines()[-1]))
                seconds, memory = (statistics.median(column) for column in zip(*found, strict=True))
                medians.append(seconds)
                memories.append(memory)
                row = {"grows": what, "size": f"{size:,}", "seconds": f"{seconds:.3f}", "MiB": f"{memory:,.0f}"}
                goal = GOALS.get((what, size))
                verdict = "" if goal is None else "met" if seconds <= goal else f"missed: {seconds / goal:.1f} times"
                rows.append({**row, "exponent": "", "goal": f"{goal:g} s {verdict}" if goal else ""})
                print(rows[-1], flush=True)
                if what == "records":
                    shutil.rmtree(argument)
        decades = math.log10(sizes[-1] / sizes[-2])
        slopes = [math.log10(values[-1] / max(values[-2], 1e-3)) / decades for values in (medians, memories)]
        rows[-1]["exponent"] = f"{slopes[0]:.2f}"
        if what in PAPER:
            size, why = PAPER[what]
            seconds, memory = (
                values[-1] * (size / sizes[-1]) ** slope
                for values, slope in zip((medians, memories), slopes, strict=True)
            )
            rows.append(
                {"grows": what, "size": f"{size:,} ({why})", "seconds": f"{seconds:,.1f}", "MiB": f"{memory:,.0f}"}
                | {"exponent": "on paper", "goal": ""}
            )
    write(
        "growth",
        f"python benchmarks/growth.py --rounds {given.rounds}",
        rows,
        f"medians of {given.rounds} fresh processes; images, pixels, classes: fitting `dataset` and an epoch of a "
        "linear model on noise (2,000 images of 3x16x16 in 10 classes, 500 for pixels, where nothing else is said); "
        "schemes: fitting so many on digits, each of the configured ones in turn; jobs: composing a grid, and the "
        "fingerprint of each job; records: normlab.records of so many runs. MiB: beside the images; those of "
        f"ImageNet-21k would take {PAPER['images'][0] * 3 * 64**2 / 2**30:,.0f} GiB as uint8 of 64 pixels, more than a "
        "memory holds, so that they are streamed from their files. On paper: by the exponent of the last two sizes",
    )


if __name__ == "__main__":
    main()
