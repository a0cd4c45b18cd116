"""`normlab.mismatch` against a bare loop over the same forward passes.

    NORMLAB_DATA=FOLDER python benchmarks/mismatch.py                    # 100 photographs, 5 rounds
    NORMLAB_DATA=FOLDER python benchmarks/mismatch.py --images 500 --rounds 1

Photographs of flower_photos below NORMLAB_DATA at 224 pixels through a trained network, under every scheme. The loop
has the images decoded and the schemes fitted, normalizes and classifies, once for each formula, and keeps the answers;
`mismatch` decodes, fits, and computes all intervals by the bootstrap too. Both take turns in one process.
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch
from provenance import write

from normlab.archs.pretrained import weights
from normlab.config import choices, defaults
from normlab.errors import NormlabError
from normlab.measurements.mismatch import PATCHES, fixed, formula, pictures, under_each
from normlab.norms import normalization
from normlab.process import keep_memory

BATCH = 50


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    keep_memory()  # as the command does
    data = {**defaults("data", "folder"), "root": "flower_photos", "limit": given.images}
    trained = weights("efficientnet_lite0")
    network = trained.network.eval().to(memory_format=torch.channels_last)
    images, _ = pictures(data, trained)
    schemes = {formula(expected): expected for expected in [fixed(trained)]}
    for name in choices("norm"):
        try:
            options = {"patch": PATCHES[name]} if name in PATCHES else {}
            norm = normalization(name, **options).fit(images.split(BATCH))
            norm(images[:1])
        except NormlabError:
            continue
        schemes.setdefault(formula(norm), norm)

    def loop() -> None:
        for norm in schemes.values():
            answers = []
            with torch.inference_mode():
                for part in images.split(BATCH):
                    x = norm(part).contiguous(memory_format=torch.channels_last)
                    answers.append(network(x).softmax(1))

    def harness() -> None:
        under_each(data, trained)

    seconds: dict[str, list[float]] = {"a bare loop": [], "normlab.mismatch": []}
    ratios = []
    for _ in range(given.rounds):
        for name, way in zip(seconds, (loop, harness), strict=True):
            started = time.perf_counter()
            way()
            seconds[name].append(time.perf_counter() - started)
        ratios.append(seconds["normlab.mismatch"][-1] / seconds["a bare loop"][-1])
    rows: list[dict[str, str | int]] = [
        {
            "way": name,
            "median s": f"{statistics.median(values):.1f}",
            "min s": f"{min(values):.1f}",
            "max s": f"{max(values):.1f}",
            "times the loop, median of rounds": "1.00" if name == "a bare loop" else f"{statistics.median(ratios):.2f}",
        }
        for name, values in seconds.items()
    ]
    print(rows)
    conditions = (
        f"{len(images)} photographs of 224 pixels, {len(schemes)} different formulas of {len(choices('norm'))} "
        f"schemes, efficientnet_lite0, {given.rounds} rounds in turn"
    )
    write(
        "mismatch", f"python benchmarks/mismatch.py --images {given.images} --rounds {given.rounds}", rows, conditions
    )


if __name__ == "__main__":
    main()
