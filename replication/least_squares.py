"""The linear model: does whitening make it worse, or does it only arrive at once at a solution that is bad?

    python -m replication.least_squares FOLDER

Targets are 1 for the class of an image and 0 for the others; the loss is the squared error.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast, get_args

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from replication.images import Images, digits, read
from replication.linear import Scheme, descend, fit
from replication.summary import percent, table, write

SCHEMES = cast(tuple[Scheme, ...], get_args(Scheme))


def inputs(images: Images, side: int) -> Tensor:
    """Pixels in 0..1, averaged to ``side`` x ``side``, float64 [N, C * side^2]."""
    return torch.cat(
        [F.adaptive_avg_pool2d(pixels.float() / 255, side).flatten(1).double() for pixels in images.pixels.split(5000)]
    )


def share(scores: Tensor, labels: Tensor) -> float:
    """Of the images whose class has the highest score."""
    return (scores.argmax(1) == labels).double().mean().item()


def compare(
    sources: tuple[Images, Images], size: int, seed: int, side: int, steps: Sequence[float]
) -> list[dict[str, Any]]:
    """Accuracy of both schemes after so many steps, with ``size`` training images drawn by the seed."""
    train, test = sources
    drawn = torch.randperm(len(train.labels), generator=torch.Generator().manual_seed(seed))[:size]
    train = train.take(drawn)
    x, held_out = inputs(train, side), inputs(test, side)
    targets = F.one_hot(train.labels).double()
    runs = []
    for scheme in SCHEMES:
        transform = fit(scheme, x, train.pixels.shape[1])
        seen, unseen = transform(x), transform(held_out)
        for count, solution in zip(steps, descend(seen, targets, steps), strict=True):
            runs.append(
                {
                    "images": len(drawn),
                    "steps": "infinite" if math.isinf(count) else f"{count:g}",
                    "scheme": scheme,
                    "seed": seed,
                    "train": share(solution(seen), train.labels),
                    "test": share(solution(unseen), test.labels),
                }
            )
    return runs


def main(argv: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """Print the table and write the JSON; a row for each number of images and of steps."""
    parser = argparse.ArgumentParser(
        description="Whitening and standardization for a linear model with squared error.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("folder", type=Path, nargs="?", help="has train/CLASS/IMAGE and test/CLASS/IMAGE")
    parser.add_argument("--quick", action="store_true", help="scikit-learn's digits, 3 seeds; no folder")
    parser.add_argument("--images", type=int, nargs="+", default=[2000, 45000, 50000], help="training images")
    parser.add_argument("--side", type=int, default=16, help="pixels; 16 gives 768 inputs, 32 gives 3,072")
    parser.add_argument("--steps", type=float, nargs="+", default=[10, 100, 1000, math.inf], help="of descent")
    parser.add_argument("--seeds", type=int, default=10, help="draws of the training images")
    parser.add_argument("--json", type=Path, default=Path("least_squares.json"), help="file to write")
    options = parser.parse_args(argv)
    if options.quick:
        options.images, options.side, options.seeds = [100, 1000], 8, 3
    elif options.folder is None:
        raise SystemExit("give the folder with train/ and test/, or --quick")
    sources = digits() if options.quick else read(options.folder)
    most = len(sources[0].labels)
    if max(options.images) > most:
        raise SystemExit(f"--images {max(options.images)}: there are {most} training images")
    runs: list[dict[str, Any]] = []
    for size in options.images:
        for seed in range(options.seeds if size < most else 1):  # of all images there is one draw
            runs += compare(sources, size, seed, options.side, options.steps)
    rows = []
    for size, steps in dict.fromkeys((run["images"], run["steps"]) for run in runs):
        cell = [run for run in runs if (run["images"], run["steps"]) == (size, steps)]
        standardized, whitened = ([run["test"] for run in cell if run["scheme"] == scheme] for scheme in SCHEMES)
        rows.append(
            {
                "images": size,
                "steps": steps,
                "standardized, test %": percent(standardized),
                "whitened, test %": percent(whitened),
                "whitened minus standardized, points": percent(np.subtract(whitened, standardized).tolist()),
                "n": len(whitened),
            }
        )
    print(table(rows))
    setting = {key: str(value) for key, value in vars(options).items()}
    write(options.json, {**setting, "torch": torch.__version__}, runs, rows)
    return rows


if __name__ == "__main__":
    main()
