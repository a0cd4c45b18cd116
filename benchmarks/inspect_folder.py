"""Images a second of ``python -m normlab.inspect`` versus a bare loop that only decodes, and the memory of the command.

    python benchmarks/inspect_folder.py FOLDER [FOLDER ...]

Each way is timed in its own process, in turn, after the files were read once.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

from provenance import write

LOOK = """
import sys, time
from pathlib import Path
from normlab.inspection.images import inspect_files
from normlab.inspection.sources import files_below

def peak(process):  # not getrusage: that of a child counts what its parent held when it was forked
    [line] = [line for line in Path(f"/proc/{process}/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) / 1024

def look():
    started = time.perf_counter()
    inspect_files(paths)
    return time.perf_counter() - started

paths = files_below(Path(sys.argv[1]))
before, first = peak("self"), look()
grown, again = peak("self") - before, look()
children = {child for own in Path("/proc/self/task").glob("*/children") for child in own.read_text().split()}
print(len(paths), first, again, grown, sum(map(peak, children)))
"""
BARE = """
import sys, time
from pathlib import Path
from PIL import Image
from normlab.inspection.sources import files_below
paths = files_below(Path(sys.argv[1]))
started = time.perf_counter()
for path in paths:
    with Image.open(path) as image:
        image.load()
print(len(paths), time.perf_counter() - started)
"""


def timed(program: str, folder: str) -> list[float]:
    out = subprocess.run([sys.executable, "-c", program, folder], check=True, capture_output=True, text=True).stdout
    return [float(number) for number in out.split()]


def whole(folder: str, *options: str) -> float:
    """Seconds of the whole command, with imports."""
    started = time.perf_counter()
    command = [sys.executable, "-m", "normlab.inspect", folder, *options]
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - started


def main() -> None:
    rounds, rows = 3, []
    for folder in sys.argv[1:]:
        timed(BARE, folder)  # fills the page cache
        bare, look = zip(*((timed(BARE, folder), timed(LOOK, folder)) for _ in range(rounds)), strict=True)
        (count, loop), (_, first, again, grown, workers) = (
            [statistics.median(column) for column in zip(*measured, strict=True)] for measured in (bare, look)
        )
        rows.append(
            {
                "folder": folder.rstrip("/").rsplit("/", 1)[-1],
                "images": f"{count:,.0f}",
                "bare PIL loop": f"{count / loop:,.0f}",
                "inspect": f"{count / first:,.0f}",
                "processes running": f"{count / again:,.0f}",
                "seconds to start them": f"{first - again:.2f}",
                "memory, MB": f"{grown:.0f}",
                "of the processes, MB": f"{workers:.0f}",
                "whole command, s": f"{whole(folder, 'conditioning=false'):.1f}",
                "with the linear model, s": f"{whole(folder):.1f}",
            }
        )
        print(rows[-1])
    write(
        "inspect_folder",
        "python benchmarks/inspect_folder.py FOLDER ...",
        rows,
        f"images a second; medians of {rounds} rounds in turn; files in the page cache; the loop decodes on one core, "
        "inspect with a process for each; a second look in the same process finds them running; memory at the peak, "
        "what the look adds, and all that the processes hold; the command once, with imports, the bootstrap and the "
        "report, without and with the linear model, whose eigenproblems do not grow beyond 4,000 files",
    )


if __name__ == "__main__":
    main()
