"""The report of a study: one figure, and one file of HTML that opens from the disk."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Template

from normlab.files import write_whole
from normlab.report.figures import figure, look

FIGURE = "effects"
REPORT = "report.html"


def draw(path: Path, rows: Sequence[dict[str, Any]], reference: str, margin: float, metric: str) -> None:
    """The differences to the reference with their intervals, and the margin as a band.

    Args:
        path: of the figure, without ending.
        rows: see :func:`normlab.choosing.answer.rows`.
        reference: the scheme at 0.
        margin: in 0..1.
        metric: of the test samples.
    """
    drawn = [row for row in rows if not math.isnan(row["low"])]
    with figure(path, size=(7.0, 1.2 + 0.45 * max(1, len(drawn)))) as axes:
        axes.axvspan(-100 * margin, 100 * margin, color="0.92", lw=0, label="too small to matter")
        axes.axvline(0, color="0.4", lw=1)
        for place, row in enumerate(drawn):
            style = look(row["norm"])
            low, middle, high = (100 * row[key] for key in ("low", "difference", "high"))
            axes.plot([low, high], [place, place], color=style["color"], lw=2)
            axes.plot([middle], [place], style["marker"], color=style["color"], ms=7)
        axes.set_yticks(range(len(drawn)), [row["norm"] for row in drawn])
        axes.set_ylim(len(drawn) - 0.5, -0.5)
        axes.set_xlabel(f"test {metric} minus that of {reference}, in points (gray: too small to matter)")


def write_report(folder: Path, content: dict[str, Any], command: str) -> Path:
    """Draw the figure, if there are intervals, write ``report.html``, and say where it is.

    Args:
        folder: of the study.
        content: the answer as JSON types.
        command: that made it.
    """
    picture = None
    if any(not math.isnan(row["low"]) for row in content["schemes"]):
        draw(folder / FIGURE, content["schemes"], content["reference"], content["margin"], content["metric"])
        picture = base64.b64encode((folder / f"{FIGURE}.png").read_bytes()).decode()
    template = Template(Path(__file__).with_name("report.html").read_text(), autoescape=True, trim_blocks=True)
    rows = []
    for row in content["schemes"]:
        ends = {key: f"{100 * row[key]:+.1f}" for key in ("difference", "low", "high")}
        texts = {"rate": f"{row['lr']:.3g}", "accuracy": f"{row['accuracy']:.1%}"}
        texts = {key: "-" if "nan" in text else text for key, text in texts.items()}
        rows.append({**row, **ends, **texts, "known": not math.isnan(row["low"])})
    write_whole(folder / REPORT, template.render(content | {"rows": rows, "picture": picture, "command": command}))
    return folder / REPORT
