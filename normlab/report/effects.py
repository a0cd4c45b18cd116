"""Effects: the accuracy of every scheme minus that of ``dataset``, in each cell of each study, with its conditions.

All of them stand in one figure, :func:`draw`, and in one table, so that a reader sees first where a scheme matters.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from normlab.files import write_whole
from normlab.report.figures import figure
from normlab.report.study import Study
from normlab.report.tables import differences, kind_of, pairs_shown, render

REFERENCE = "dataset"
SAME = (REFERENCE, "standard", "per_channel")  # one formula, under the names of images, tables and series
MATTERS = 1.0  # points; a difference within them is drawn in the band "does not matter"
# In the figure, from top to bottom. A scheme that fewer than two panels have stands in the studies' own tables.
SCHEMES = {  # in the figure, from above, and how a reader calls them
    "raw": "raw, 0 to 255", "unit": "[0, 1]", "centered": "[-0.5, 0.5]", "inception": "[-1, 1]",
    "imagenet": "ImageNet's constants", "dataset_mean": "minus the mean alone", "per_image": "each image by itself",
    "per_image_channel": "each channel of it", "zca": "whitened (ZCA)", "pca": "principal components",
}  # fmt: skip
DATA = {"CIFAR-10": "#0072B2", "flowers": "#E69F00", "photos": "#009E73", "digits": "#CC79A7"}
OTHER_DATA = "#777777"
PANELS = (
    "convolutional, nothing inside,\nHe's initial weights",
    "convolutional, nothing inside,\ntorch's initial weights",
    "convolutional,\nbatch norm inside",
    "convolutional,\nlayer or group norm inside",
    "vision transformer",
    "linear model",
    "pretrained, fine-tuned",
)
LEFT, RIGHT = -40.0, 6.0  # points: effects beyond are drawn at the edge, with an arrow
NARROW = -8.0  # points: no panel is narrower to the left
MANY, FEW = 10_000, 3_000  # training images from which a mark is large, and below which it is small
PALE = 0.35  # opacity of runs with a constant rate, which a decaying one has overturned
MARKERS = {"sgd": "o", "gd": "o", "adam": "D"}
LINE = 0.4  # height of a mark, where the line of a scheme without marks has 1
# What normalizes inside the networks that have no choice of it.
INSIDE = {"vit": "layer", "pretrained": "batch"}
FACTORS_SHOWN = ("arch", "data", "optim", "config.arch.internal_norm", "config.arch.init", "config.data.root")


def effects(studies: Sequence[Study]) -> pd.DataFrame:
    """A row for each scheme in each cell of each study that has ``dataset``; each scheme at its own best rate.

    Columns: study (names, of all that share the runs), kind (images, table, series or recordings), network, inside
    (normalization inside the network), init, optimizer, schedule, data, images (of training), epochs, other (the
    cell's other factors), scheme; difference, low and high in points of test accuracy; covers (what the interval
    covers), n (pairs of runs), lost (pairs that a divergence takes away), tuned (whether each scheme has a rate of its
    own).
    """
    rows = []
    for study in studies:
        reference = next((name for name in SAME if study.records and name in set(study.runs.norm)), None)
        if reference is None or study.score != "accuracy":
            continue
        runs = study.at_rates["best"]
        cells = list(runs.groupby(study.factors, sort=False)) if study.factors else [((), runs)]
        for values, cell in cells:
            about = conditions(cell, dict(zip(study.factors, map(str, values), strict=True)))
            for _, row in differences(study, cell, reference).iterrows():
                if row.n < 2 or row.norm == reference:
                    continue
                rows.append(
                    {
                        "study": study.name,
                        **about,
                        "scheme": row.norm,
                        **{name: 100 * float(row[name]) for name in ("difference", "low", "high")},
                        "covers": row.covers,
                        "n": row.n,
                        "lost": row.lost,
                        "tuned": study.sweeps_rates,
                    }
                )
    return once(pd.DataFrame(rows))


def once(frame: pd.DataFrame) -> pd.DataFrame:
    """One row for runs that several studies share, with the names of all of these studies."""
    if frame.empty:
        return frame
    keys = [name for name in frame if name != "study"]
    return frame.groupby(keys, sort=False, dropna=False).study.agg(tuple).reset_index()


def conditions(cell: pd.DataFrame, factors: dict[str, str]) -> dict[str, str]:
    """What a cell of a study was run under, in words: network, data, optimizer and what else decides."""

    def one(column: str, missing: str = "-") -> str:
        values = [str(value) for value in cell[column].dropna().unique()] if column in cell else []
        return " and ".join(values) or missing

    data = one("data")
    if data == "folder":
        data = one("config.data.root").rsplit("/", 1)[-1]
    other = {
        key.removeprefix("config.").removesuffix(".name").rsplit(".", 1)[-1]: value
        for key, value in factors.items()
        if key not in FACTORS_SHOWN
    }
    return {
        "kind": kind_of(cell),
        "network": one("arch"),
        "inside": INSIDE.get(one("arch")) or one("config.arch.internal_norm", "nothing").replace("none", "nothing"),
        "init": one("config.arch.init"),
        "optimizer": one("optim"),
        "schedule": one("config.optim.schedule"),
        "data": {"cifar10": "CIFAR-10", "flower_photos": "flowers"}.get(data, data),
        "images": _numbers(cell, "provenance.images.train"),
        "epochs": _numbers(cell, "config.trainer.max_epochs"),
        "other": ", ".join(f"{key} {value}" for key, value in other.items()),
    }


def _numbers(cell: pd.DataFrame, column: str) -> str:
    values = sorted(cell[column].dropna().unique()) if column in cell else []
    return " and ".join(f"{int(value):,}" for value in values) or "-"


def panel(row: pd.Series) -> str:
    """The panel of the figure that an effect stands in: the network, and what it normalizes inside."""
    if row.network == "pretrained":
        return "pretrained, fine-tuned"
    if row.network == "linear":
        return "linear model"
    if row.network == "vit":
        return "vision transformer"
    if row.inside == "nothing":
        return f"convolutional, nothing inside,\n{'torch' if row.init == 'torch' else 'He'}'s initial weights"
    return f"convolutional,\n{'batch norm' if row.inside == 'batch' else 'layer or group norm'} inside"


def place(frame: pd.DataFrame) -> dict[str, pd.Series]:
    """The columns of a table that say under which :func:`conditions` a row was measured, and of which scheme it is."""
    return {
        "network": frame.network + ", " + frame.inside + " inside",
        "initial weights": frame.init,
        "optimizer, rate": frame.optimizer + ", " + frame.schedule,
        "data": frame.data + ", " + frame.images + " " + frame.kind.replace({"table": "rows"}),
        "other": frame.other,
        "scheme": frame.scheme,
    }


def write_effects(studies: Sequence[Study], results: Path, draw_it: bool = True) -> Path | None:
    """Write ``effects.md``, the table, and ``effects.png``, the figure, into the folder of all results.

    Returns:
        The path of the table; None if no study has an effect.
    """
    frame = effects(studies)
    if frame.empty:
        return None
    if draw_it:
        draw(frame, results / "effects")
    path = results / "effects.md"
    columns: dict[str, Any] = {
        **place(frame),
        f"minus {REFERENCE}, points": [
            f"{row.difference:+.1f} [{row.low:+.1f}, {row.high:+.1f}]" for row in frame.itertuples()
        ],
        "pairs": list(map(pairs_shown, frame.n, frame.lost, frame.covers)),
        "best rate of each": ["yes" if tuned else "no, one rate" for tuned in frame.tuned],
        "study": [", ".join(f"[{name}]({name}/README.md)" for name in names) for names in frame.study],
    }  # fmt: skip
    text = [
        "# Effects",
        "",
        f"Test accuracy of each scheme minus that of `{REFERENCE}`, called `standard` in tables and `per_channel` in",
        "series, in each cell of each study that has both; 95% intervals over pairs of runs.",
        "[One figure](effects.png) shows those on images with a best rate for each scheme (fine-tuned: one rate for",
        "all); epochs are in [speeds](speeds.md).",
        "",
        render({name: [str(value) for value in values] for name, values in columns.items()}, "github"),
        "",
    ]
    write_whole(path, "\n".join(text))
    return path


def draw(frame: pd.DataFrame, path: Path) -> None:
    """The one figure: a panel for each kind of network, a line for each scheme, a mark with its interval for each cell.

    Filled marks are runs whose rate decayed to zero; open, pale ones had a constant rate. The more training images, the
    larger a mark. Drawn are cells in which each scheme has a rate of its own, or where the network was pretrained; in a
    line the largest loss stands first. Each panel has a scale of its own, to which the gray band of one point belongs.

    Args:
        frame: from :func:`effects`.
        path: without ending.
    """
    frame = frame[frame.kind == "images"]
    shown = frame.assign(panel=frame.apply(panel, axis=1)).sort_values("difference", kind="stable")
    shown = shown[(shown.tuned | (shown.network == "pretrained")) & shown.scheme.isin(list(SCHEMES))]
    panels = [name for name in PANELS if name in set(shown.panel)]
    schemes = [name for name in SCHEMES if name in set(shown.scheme)]
    if not panels:
        return
    marks = shown.groupby(["scheme", "panel"]).size().groupby("scheme").max()
    heights = np.array([max(1.0, LINE * (marks[scheme] + 1)) for scheme in schemes])
    ends = np.cumsum(heights)  # downwards
    columns = 4
    with figure(path, columns=columns, rows=-(-len(panels) // columns), size=(3.4, 3.9)) as drawn:
        for axes in np.ravel(drawn)[len(panels) :]:
            axes.axis("off")
        for place, (axes, name) in enumerate(zip(np.ravel(drawn), panels, strict=False)):
            axes.axvspan(-MATTERS, MATTERS, color="0.9", lw=0, zorder=0)
            axes.axvline(0, color="0.5", lw=0.8, zorder=0)
            for scheme, end, height in zip(schemes, ends, heights, strict=True):
                axes.axhline(end, color="0.9", lw=0.8, zorder=0)
                cells = shown[(shown.panel == name) & (shown.scheme == scheme)]
                first = end - height / 2 - LINE * (len(cells) - 1) / 2
                for number, cell in enumerate(cells.itertuples()):
                    _mark(axes, cell, first + LINE * number)
            farthest = max(LEFT, min(NARROW, shown.low[shown.panel == name].min()))
            axes.set(xlim=(farthest - 1, RIGHT + 1), ylim=(ends[-1], 0), xlabel="points of test accuracy")
            axes.set_title(name, fontsize=10)
            words = [SCHEMES[scheme] for scheme in schemes]
            axes.set_yticks(ends - heights / 2, words if place % columns == 0 else [""] * len(schemes))
            axes.tick_params(axis="y", length=0)
            axes.grid(visible=False)
        _explain(np.ravel(drawn)[0].figure, list(np.ravel(drawn)[len(panels) :]), shown)


def _mark(axes: Axes, cell: Any, height: float) -> None:
    color, decays = DATA.get(cell.data, OTHER_DATA), cell.schedule == "cosine"
    style: dict[str, Any] = {
        "color": color, "mfc": color if decays else "white", "alpha": 1 if decays else PALE,
        "ms": diameter(cell.images), "lw": 1,
    }  # fmt: skip
    if not LEFT <= cell.difference <= RIGHT:
        edge, arrow, inward = (LEFT, "<", 0.8) if cell.difference < LEFT else (RIGHT, ">", -0.8)
        axes.plot(edge, height, arrow, **style)
        axes.annotate(
            f"{cell.difference:+.0f}", (edge + inward, height), va="center", ha="left" if inward > 0 else "right",
            fontsize=6.5, color=color,
        )  # fmt: skip
        return
    ends = (max(cell.low, LEFT), min(cell.high, RIGHT))
    axes.plot(ends, (height, height), color=color, lw=1, alpha=style["alpha"])
    axes.plot(cell.difference, height, MARKERS.get(cell.optimizer, "o"), **style)


def diameter(training: str) -> float:
    """Of a mark, in typographic points, by the number of training images: ``45,000``; of several the largest counts.

    >>> diameter("45,000"), diameter("1,295 or 2,000"), diameter("")
    (6.5, 3.2, 3.2)
    """
    images = max((int(number.replace(",", "")) for number in re.findall(r"[\d,]+", training)), default=0)
    return 6.5 if images >= MANY else 4.5 if images >= FEW else 3.2


def _explain(drawn: Any, free: Sequence[Axes], shown: pd.DataFrame) -> None:
    """The legend, in a place without a panel or below all: data by color, optimizer by shape, schedule by filling."""
    from matplotlib.lines import Line2D

    def key(label: str, marker: str = "o", color: str = "0.3", filled: bool = True, size: float = 5) -> Line2D:
        fill, opacity = (color, 1.0) if filled else ("white", PALE)
        return Line2D([], [], marker=marker, color=color, ls="none", ms=size, mfc=fill, alpha=opacity, label=label)

    keys = [key(name, color=color) for name, color in DATA.items() if name in set(shown.data)]
    keys += [key("other data", color=OTHER_DATA)] * bool(set(shown.data) - set(DATA))
    keys += [key("SGD"), key("Adam", "D")]
    keys += [key("rate decays to zero"), key("rate constant", filled=False)]
    keys += [key(f"{MANY:,} images and more", size=diameter(str(MANY))), key(f"fewer than {FEW:,}", size=diameter("1"))]
    if len(free):
        free[0].legend(handles=keys, loc="center", fontsize=9, handletextpad=0.3, frameon=False)
    else:
        drawn.legend(handles=keys, loc="outside lower center", ncols=len(keys), fontsize=7.5, handletextpad=0.1)
    drawn.suptitle(
        "Against standardizing by the data set's own statistics, each at its best rate (fine-tuned: one for all): "
        "left is worse (95% intervals; gray band: within one point)",
        fontsize=11,
    )
