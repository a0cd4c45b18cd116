"""The table of a trained network under other normalizations: what ``python -m normlab.mismatch`` shows."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from tabulate import tabulate

from normlab.archs.pretrained import Weights
from normlab.measurements.mismatch import EXPECTED
from normlab.report.origin import made_by
from normlab.report.tables import percent


def table(frame: pd.DataFrame, form: str = "simple") -> str:
    """The table for people."""
    keys = {
        "accuracy": "top-1 accuracy",
        "difference": "minus expected, in points",
        "confidence": "confidence",
        "agreement": "same answer",
    }
    shown: dict[str, list[str]] = {"scheme": frame.norm.tolist()}
    for key, heading in keys.items():
        columns = zip(frame[key], frame[f"{key}_low"], frame[f"{key}_high"], strict=True)
        points = key == "difference"  # a difference of shares is no percentage of anything
        shown[heading] = [percent(value, low, high, sign=points) for value, low, high in columns]
    return tabulate(shown, "keys", tablefmt=form, disable_numparse=True)


def document(
    label: str, model: str, found: Weights, frame: pd.DataFrame, notes: list[str], arguments: Sequence[str]
) -> str:
    """The table as Markdown, with what made it."""
    about = found.expectation
    count = int(frame.images.iloc[0])
    parts = [
        f"# {model} on {label}, under other normalizations than its own",
        f"{count:,} images, no training. The network expects mean {numbers(about.mean)} and standard deviation\n"
        f"{numbers(about.std)} ({about.source}), at {about.image_size} pixels. Intervals are 95% over images: score\n"
        "intervals of shares, bootstrap of the rest.",
        f"Each image's shorter side was resized to {about.resize} pixels, bilinearly with antialiasing, and the\n"
        "centre cut out. The network's own preprocessing may resize otherwise (bicubic, squashed to a square), so the\n"
        f"row {EXPECTED!r} is not what was published of it. All rows are of the same pixels.",
        table(frame, "github"),
        *["\n".join(f"- {note}" for note in notes)] * bool(notes),
        made_by("python -m normlab.mismatch", arguments),
    ]
    return "\n\n".join(parts) + "\n"


def numbers(values: Sequence[float]) -> str:
    """Of each channel, with three digits."""
    return " ".join(f"{value:.3f}" for value in values)
