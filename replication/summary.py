"""Means, intervals, the table that a script prints and the JSON that it writes."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Mean, and half the width of its 95% interval by Student's t; infinite for fewer than two values."""
    n = len(values)
    if n < 2:
        return float(np.mean(values)), math.inf
    return float(np.mean(values)), float(stats.t.ppf(0.975, n - 1) * np.std(values, ddof=1) / math.sqrt(n))


def percent(values: Sequence[float]) -> str:
    """Mean and half interval of shares, in percent (of differences: in points)."""
    mean, half = interval(values)
    return f"{100 * mean:.1f}" if math.isinf(half) else f"{100 * mean:.1f} +- {100 * half:.1f}"


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Columns of equal width, under the keys of the first row."""
    lines = [list(rows[0]), *([str(value) for value in row.values()] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)) for line in lines)


def write(path: Path, setting: dict[str, Any], runs: Sequence[dict[str, Any]], rows: Sequence[dict[str, Any]]) -> None:
    """Setting, every run and the table's rows, as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"setting": setting, "runs": list(runs), "table": list(rows)}, indent=1) + "\n")
