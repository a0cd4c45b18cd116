"""Writes a benchmark's table and its provenance into a folder of results/."""

from __future__ import annotations

import datetime
import os
from pathlib import Path

import torch
from tabulate import tabulate

from normlab import record


def write(
    name: str, command: str, rows: list[dict[str, str | int]], conditions: str, folder: str = "benchmarks"
) -> None:
    """Write one Markdown file: the table, then command, commit, versions and machine."""
    about = record.provenance()
    versions = ", ".join(f"{package} {version}" for package, version in about["versions"].items())
    dirty = " with uncommitted changes" if about["dirty"] else ""
    lines = [
        f"# {name}",
        "",
        tabulate(rows, headers="keys", tablefmt="github", disable_numparse=True),
        "",
        f"Conditions: {conditions}.",
        "",
        f"Made by `{command}` on {datetime.date.today()}, commit {about['commit']}{dirty}; {versions}; "
        f"{about['processor']}, {about['cores']} cores, {torch.get_num_threads()} threads, load average at the end "
        f"{os.getloadavg()[1]:.1f}.",
        "",
    ]
    path = Path(__file__).parent.parent / "results" / folder / f"{name}.md"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines))
