"""CPU time of ``python -m normlab.inspect`` on TIFF of 16 bits versus a bare loop that computes the same statistics.

    python benchmarks/inspect_deep.py

Writes up to 300 files of each kind into a temporary folder. The loop reads with tifffile and sums x and x^2 of each
band in float64; inspect reads with its own reader, and also counts how often each value occurs, for levels, percentiles
and clipping. So a second loop counts too, by numpy.bincount. Each runs in a process of its own, as the processes of
inspect do.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import tifffile
from provenance import write

FILES, ROUNDS = 300, 7
TIMED = """
for _ in range(2):  # the first look fills the page cache and starts the libraries
    started = time.process_time()
    mean, deviation = look()
    seconds = time.process_time() - started
print(seconds, *mean, *deviation)
"""
BARE = (
    """
import sys, time
from pathlib import Path
import numpy as np, tifffile
paths = sorted(Path(sys.argv[1]).iterdir())
def look():
    count, total, squares, occurs = 0, 0.0, 0.0, 0
    for path in paths:
        x = tifffile.imread(path)
        x = x.reshape(-1, *x.shape[-2:])
        COUNT
        x = x.astype(np.float64)
        count, total, squares = count + x[0].size, total + x.sum((1, 2)), squares + (x * x).sum((1, 2))
    mean = total / count
    return mean, np.sqrt(squares / count - mean**2)
"""
    + TIMED
)
COUNTING = BARE.replace(
    "COUNT", "occurs = occurs + np.stack([np.bincount(band.ravel(), minlength=65536) for band in x])"
)
BARE = BARE.replace("COUNT", "")
INSPECT = (
    """
import sys, time
from pathlib import Path
import numpy as np
from normlab.inspection.tally import tally_files
files = [(path, 0, False) for path in sorted(Path(sys.argv[1]).iterdir())]
def look():
    [tally] = tally_files(files, 32, None).tallies
    mean = tally.total.sum(0) / tally.pixels.sum()
    return mean, np.sqrt(tally.squares.sum(0) / tally.pixels.sum() - mean**2)
"""
    + TIMED
)
KINDS = {  # side and bands
    "16 bits, 256x256": (256, 1),
    "16 bits, 1024x1024": (1024, 1),
    "16 bits, 13 bands, 256x256": (256, 13),
}


def make(folder: Path, side: int, bands: int) -> list[Path]:
    """Smooth scenes with noise of 300 levels."""
    generator = np.random.default_rng(0)
    paths = []
    for number in range(FILES if side < 1000 else FILES // 10):
        scene = np.kron(generator.uniform(200, 60000, (bands, 8, 8)), np.ones((1, side // 8, side // 8)))
        noisy = (scene + generator.normal(0, 300, scene.shape)).clip(0, 65535).astype(np.uint16)
        paths.append(folder / f"{number:03}.tif")
        planes = {"planarconfig": "separate"} if bands > 1 else {}
        tifffile.imwrite(paths[-1], noisy if bands > 1 else noisy[0], photometric="minisblack", **planes)
    return paths


def measured(program: str, folder: Path) -> tuple[float, np.ndarray]:
    """CPU seconds of a program's second look, and the statistics that it found."""
    command = [sys.executable, "-c", program, str(folder)]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    seconds, *found = map(float, out.split())
    return seconds, np.array(found)


def spread(ratios: Iterable[float]) -> str:
    """The median, and the smallest and largest."""
    ordered = sorted(ratios)
    return f"{statistics.median(ordered):.2f} ({ordered[0]:.2f} to {ordered[-1]:.2f})"


def main() -> None:
    rows = []
    for name, (side, bands) in KINDS.items():
        with tempfile.TemporaryDirectory() as folder:
            paths = make(Path(folder), side, bands)
            np.testing.assert_allclose(measured(INSPECT, Path(folder))[1], measured(BARE, Path(folder))[1], rtol=1e-9)
            rounds = [
                [measured(program, Path(folder))[0] for program in (BARE, COUNTING, INSPECT)] for _ in range(ROUNDS)
            ]
        moments, counting, ours = (
            1000 * statistics.median(column) / len(paths) for column in zip(*rounds, strict=True)
        )
        rows.append(
            {
                "files": name,
                "images": len(paths),
                "loop of moments, ms an image": f"{moments:.2f}",
                "loop that counts too, ms": f"{counting:.2f}",
                "inspect, ms": f"{ours:.2f}",
                "inspect / moments": spread(round_[2] / round_[0] for round_ in rounds),
                "inspect / loop that counts": spread(round_[2] / round_[1] for round_ in rounds),
            }
        )
        print(rows[-1])
    write(
        "inspect_deep",
        "python benchmarks/inspect_deep.py",
        rows,
        f"CPU time of a process, medians of {ROUNDS} rounds in turn, of the ratios too; files in the page cache; "
        "inspect without small copies of the images, as with conditioning=false",
    )


if __name__ == "__main__":
    main()
