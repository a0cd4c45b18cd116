"""Images a second of ``python -m normlab.inspect`` against a bare loop that only decodes, and the memory that it takes.

    python benchmarks/inspect_folder.py FOLDER [FOLDER ...]

Each is timed in a process of its own, in turn, after the files have been read once.
"""

from __future__ import annotations

import statistics
import subprocess
import sys

from provenance import write

LOOK = """
import resource, sys, time
from pathlib import Path
import joblib
from joblib.externals.loky import get_reusable_executor
from normlab.analysis.inspection import inspect_files
from normlab.inspect import files_below
paths = files_below(Path(sys.argv[1]))
before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
found = inspect_files(paths)
seconds = time.perf_counter() - started
grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
get_reusable_executor().shutdown()  # a process counts among the children once it has ended
workers = joblib.cpu_count() * resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
print(len(paths), seconds, (grown + workers) / 1024)
"""
BARE = """
import sys, time
from pathlib import Path
from PIL import Image
from normlab.inspect import files_below
paths = files_below(Path(sys.argv[1]))
started = time.perf_counter()
for path in paths:
    with Image.open(path) as image:
        image.load()
print(len(paths), time.perf_counter() - started, 0)
"""


def timed(program: str, folder: str) -> tuple[int, float, float]:
    out = subprocess.run([sys.executable, "-c", program, folder], check=True, capture_output=True, text=True).stdout
    count, seconds, megabytes = out.split()
    return int(count), float(seconds), float(megabytes)


def main() -> None:
    rounds, rows = 3, []
    for folder in sys.argv[1:]:
        measured: dict[str, list[tuple[int, float, float]]] = {"look": [], "bare": []}
        timed(BARE, folder)
        for _ in range(rounds):
            measured["bare"].append(timed(BARE, folder))
            measured["look"].append(timed(LOOK, folder))
        bare, look = (statistics.median(one[1] for one in measured[name]) for name in ("bare", "look"))
        count = measured["look"][0][0]
        rows.append(
            {
                "folder": folder.rstrip("/").rsplit("/", 1)[-1],
                "images": count,
                "images a second": f"{count / look:,.0f}",
                "bare PIL loop": f"{count / bare:,.0f}",
                "ratio": f"{bare / look:.2f}",
                "memory, MB": f"{max(one[2] for one in measured['look']):.0f}",
            }
        )
        print(rows[-1])
    write(
        "inspect_folder",
        "python benchmarks/inspect_folder.py FOLDER ...",
        rows,
        f"medians of {rounds} rounds in turn; files in the page cache; the loop decodes on one core, inspect on all; "
        "memory at the peak: what the look adds to its process, and "
        "as many times the largest of the processes that help as there are cores",
    )


if __name__ == "__main__":
    main()
