"""Time to fit and to apply schemes, by the type of the inputs: python benchmarks/schemes.py [TYPE ...] [SCHEME ...].

Processor milliseconds for a batch of 256 images of 3 x 32 x 32, the smallest of many repetitions, with one thread. To
compare two versions, run the same file under both (PYTHONPATH=...) in turns: it only uses normlab.normalization.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import torch

from normlab import normalization
from normlab.config import choices

REPETITIONS = 30
SKIPPED = ("adaptive", "power")  # whose fit is a search, not a pass


def milliseconds(call: Callable[[], object], repetitions: int = REPETITIONS) -> float:
    """Processor time of the fastest of some calls."""
    times = []
    for _ in range(repetitions):
        start = time.process_time()
        call()
        times.append(time.process_time() - start)
    return 1e3 * min(times)


def main(arguments: list[str]) -> None:
    """Print a row for each scheme and a pair of columns, fit and apply, for each type."""
    chosen = [name for name in arguments if name in choices("norm")]
    types = [name for name in arguments if name not in chosen] or ["uint8"]
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (256, 3, 32, 32), generator=generator)
    batches = {name: images.to(getattr(torch, name)) for name in types}
    print(f"{'scheme':20}" + "".join(f"{name + ' fit':>14}{'apply':>10}" for name in types))
    for scheme in chosen or sorted(set(choices("norm")) - set(SKIPPED)):
        options = {"patch": 4} if scheme in ("pca", "zca") else {}
        row = f"{scheme:20}"
        for batch in batches.values():
            fitted = normalization(scheme, **options).fit([batch])
            fit = milliseconds(lambda: normalization(scheme, **options).fit([batch]), REPETITIONS // 3)  # noqa: B023
            with torch.no_grad():
                row += f"{fit:14.2f}{milliseconds(lambda: fitted(batch)):10.2f}"  # noqa: B023
        print(row, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
