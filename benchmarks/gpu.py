"""Epochs on a GPU: normlab, a bare PyTorch loop and the usual DataLoader; and several runs at once on one GPU.

    python benchmarks/gpu.py                                    # below 8 minutes; writes results/benchmarks/gpu.md
    python benchmarks/gpu.py --device cpu --images 512 --side 64  # whether the script works, where there is no GPU

`bare` is a loop written by hand on the same uint8 tensors, which lie on the GPU; losses are read once an epoch. `usual`
is torchvision's per-sample transforms in a DataLoader of pinned batches under Lightning. All ways take turns in one
process, with noise for images. Validation is left out. A row that has not begun when the time is over is named.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import logging
import os
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from epoch import bare, configuration, noise, ours, usual
from provenance import write

from normlab.data import Dataset

ARCHS = {"cnn": 1.0, "resnet18": 1.0, "vit": 1.0, "pretrained": 0.1}  # and the share of the images that it gets
EPOCHS = 4  # of which the first warms up
JOBS = (1, 2, 4)


def ways(arch: str, data: Dataset, device: str) -> dict[str, Callable[[], list[float]]]:
    """Seconds of each epoch, of each way to train a network."""
    accelerator = "gpu" if device == "cuda" else "cpu"
    folder = Path(tempfile.gettempdir())
    plain, half, compiled = (
        configuration(arch, EPOCHS, folder, accelerator=accelerator, **changes)
        for changes in ({}, {"precision": "bf16-mixed"}, {"compile": True})
    )
    workers = min(8, os.cpu_count() or 1)
    return {
        "bare": lambda: bare(plain, data, EPOCHS, device),
        "normlab": lambda: ours(plain, data),
        "bare, bf16": lambda: bare(half, data, EPOCHS, device),
        "normlab, bf16": lambda: ours(half, data),
        "normlab, compiled": lambda: ours(compiled, data),
        f"usual, {workers} workers": lambda: usual(plain, data, 2, workers, accelerator),
    }


def at_once(jobs: int, accelerator: str, epochs: int) -> float:
    """Seconds of so many runs of the cnn that are started together, on the photographs of the package."""
    with tempfile.TemporaryDirectory() as folder:
        choices = [
            "+norm=imagenet",
            "data=photos",
            "arch=cnn",
            "logger=none",
            "trainer.progress=none",
            f"trainer.max_epochs={epochs}",
        ]
        line = [sys.executable, "-m", "normlab", *choices, f"trainer.accelerator={accelerator}", f"runs={folder}"]
        started = time.perf_counter()
        runs = [subprocess.Popen([*line, f"seed={seed}"], stdout=subprocess.DEVNULL) for seed in range(jobs)]
        if any(run.wait() for run in runs):
            raise RuntimeError(f"one of {jobs} runs failed")
        return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--side", type=int, default=32, help="pixels; 224 for the pretrained network in any case")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--minutes", type=float, default=7.5)
    given = parser.parse_args()
    if given.device == "cuda" and not torch.cuda.is_available():
        parser.error("no GPU here; --device cpu tries the script")
    until = time.perf_counter() + 60 * given.minutes
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore")
    rows: list[dict[str, str | int]] = []
    left_out = []
    seconds = [at_once(jobs, "gpu", 20) if given.device == "cuda" else at_once(jobs, "cpu", 1) for jobs in JOBS]
    for jobs, taken in zip(JOBS, seconds, strict=True):
        share = f"{taken / (jobs * seconds[0]):.2f}"
        rows.append({"network": "cnn", "way": f"{jobs} whole runs at once", "seconds": f"{taken:.1f}", "times": share})
        print(rows[-1], flush=True)
    for arch, share in ARCHS.items():
        data = noise(int(given.images * share), 224 if arch == "pretrained" and given.device == "cuda" else given.side)
        found: dict[str, list[float]] = {}
        ratios: dict[str, list[float]] = {}
        for number in range(given.rounds):
            reference = None
            for name, way in ways(arch, data, given.device).items():
                if time.perf_counter() > until:
                    left_out.append(f"{arch}, {name}, round {number + 1}")
                    continue
                with contextlib.redirect_stdout(io.StringIO()):
                    try:
                        measured = statistics.median(way()[1:])
                    except Exception as error:
                        left_out.append(f"{arch}, {name}, round {number + 1} ({type(error).__name__}: {error})")
                        continue
                reference = measured if name == "bare" else reference
                found.setdefault(name, []).append(measured)
                if reference is not None:
                    ratios.setdefault(name, []).append(measured / reference)
        for name, values in found.items():
            times = f"{statistics.median(ratios[name]):.2f}" if name in ratios else ""
            rate = f"{len(data.train) / statistics.median(values):,.0f}"
            row = {"network": arch, "way": name, "seconds": f"{statistics.median(values):.3f}", "times": times}
            rows.append({**row, "images a second": rate, "rounds": len(values)})
            print(rows[-1], flush=True)
    card = torch.cuda.get_device_name() if given.device == "cuda" else "no GPU"
    conditions = (
        f"{card}; {given.images:,} images of 3x{given.side}x{given.side} (the pretrained network: a tenth of them, of "
        f"224 pixels on a GPU), batches of 128; seconds of an epoch, medians of rounds of {EPOCHS - 1} epochs; times "
        f"the bare loop of the same round in float32; of whole runs times as many one after the other; left out: "
        f"{'; '.join(left_out) or 'nothing'}"
    )
    for line in left_out:
        print("left out:", line, file=sys.stderr)
    if given.device == "cuda":
        write("gpu", f"python benchmarks/gpu.py --rounds {given.rounds}", rows, conditions)


if __name__ == "__main__":
    main()
