"""Figures, each saved as PNG and SVG; a scheme has the same colour, line and marker in all of them."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from normlab.config import choices
from normlab.record import SCORES
from normlab.report.study import Picture

FEW_RATES = 6  # on an axis, each with its own label

# Colours that colour-blind readers tell apart (Okabe & Ito 2008, and two of Tol's). Schemes of one formula or family
# share a colour and differ in line and marker, so that a print without colour can be read too.
FAMILIES = {
    "#000000": ("raw",),
    "#0072B2": ("unit", "yolo"),
    "#56B4E9": ("centered", "inception", "vit"),
    "#D55E00": ("imagenet", "clip"),
    "#CC79A7": ("dataset", "dataset_mean", "standard", "dataset_all", "per_channel"),
    "#E69F00": ("feature", "mean_image"),
    "#009E73": ("per_image", "per_image_channel", "min_max", "min_max_channel"),
    "#882255": ("zca", "pca"),
    "#777777": ("learned", "adaptive", "per_region"),
    "#332288": ("robust", "percentile", "quantile", "power"),
    "#999933": ("min_max_dataset", "max_abs", "normalizer"),
    "#661100": ("peak", "rms", "cmn", "cmvn"),
    "#DDAA33": ("revin", "difference"),
}
LINES = ("-", "--", ":", "-.")
MARKERS = "osD^v>P"
OTHER = "#AAAAAA"  # a scheme that a user added


@cache
def look(scheme: str) -> dict[str, Any]:
    """Colour, linestyle and marker of a scheme."""
    for family, (colour, members) in enumerate(FAMILIES.items()):
        if scheme in members:
            place = members.index(scheme)
            return {
                "color": colour,
                "linestyle": LINES[place % len(LINES)],
                "marker": MARKERS[(family + 3 * place) % len(MARKERS)],
            }
    place = choices("norm").index(scheme) if scheme in choices("norm") else 0
    return {"color": OTHER, "linestyle": LINES[place % len(LINES)], "marker": MARKERS[place % len(MARKERS)]}


@contextmanager
def figure(
    path: Path, columns: int = 1, rows: int = 1, size: tuple[float, float] = (7.0, 4.6), shared: bool = False
) -> Iterator[Any]:
    """An Axes, or an array of them, saved at the end as ``path`` with .png and .svg.

    Args:
        path: without ending.
        columns: of axes.
        rows: of axes.
        size: of one axes, in inches.
        shared: whether all axes have the same limits.
    """
    # The same bytes for the same figure: no date, and no random identifiers.
    with mpl.rc_context(
        {"svg.hashsalt": "normlab", "svg.fonttype": "none", "font.size": 9, "axes.grid": True, "grid.alpha": 0.25,
         "axes.spines.top": False, "axes.spines.right": False, "legend.frameon": False, "legend.fontsize": 7.5}
    ):  # fmt: skip
        drawn = Figure(figsize=(size[0] * columns, size[1] * rows), layout="constrained")
        yield drawn.subplots(rows, columns, sharex=shared, sharey=shared)
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = BytesIO()
        drawn.savefig(pixels, format="png", dpi=110, metadata={"Software": None})
        # 64 colors are a sixth of the bytes. By coverage, because the median cut makes rare colors gray.
        whole = Image.open(pixels).convert("RGB")
        few = whole.quantize(64, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
        few.save(path.with_suffix(".png"), optimize=True)
        drawn.set_layout_engine("none")  # the layout is that of the first drawing, and half of the time
        drawn.savefig(path.with_suffix(".svg"), metadata={"Date": None, "Creator": None})


def spectra(path: Path, spectra: Mapping[str, Sequence[float]], thresholds: Mapping[str, float], title: str) -> None:
    """Eigenvalues of the Hessian against their rank, a line a scheme; those that count as zero are left out."""
    with figure(path, size=(8.6, 5.2)) as axes:
        for name, values in spectra.items():
            shown = np.asarray(values)[np.asarray(values) > thresholds[name]]
            axes.plot(np.arange(1, len(shown) + 1), shown, label=name, lw=1.3, **(look(name) | {"marker": None}))
        axes.set(xscale="log", yscale="log", xlabel="rank of the eigenvalue", ylabel="eigenvalue", title=title)
        beside(axes)


def predicted_curves(path: Path, curves: Mapping[str, pd.DataFrame], title: str) -> None:
    """Predicted excess loss as lines, measured as markers.

    Args:
        path: without ending.
        curves: by scheme, with columns step, predicted and measured: relative excess losses.
        title: of the figure.
    """
    with figure(path, size=(8.6, 5.2)) as axes:
        for name, frame in curves.items():
            style = look(name)
            axes.plot(frame.step + 1, frame.predicted, label=name, lw=1, **(style | {"marker": None}))
            # As many markers in every decade.
            wanted = np.unique(np.geomspace(1, len(frame), 14).round().astype(int)) - 1
            points = frame.iloc[wanted]
            axes.plot(points.step + 1, points.measured, style["marker"], color=style["color"], ms=3.5, mfc="none")
        axes.set(
            xscale="log", yscale="log", xlabel="step + 1", ylabel="excess loss / initial excess loss",
            ylim=(1e-7, 2),  # below, float32 has no digits of the measured loss left
            title=f"{title}: lines predicted, markers measured",
        )  # fmt: skip
        beside(axes)


def equality(path: Path, frame: pd.DataFrame, label: str, title: str, group: str | None = None) -> None:
    """Measured against predicted on log axes, with the line of equality.

    Args:
        path: without ending.
        frame: with columns scheme, predicted, measured.
        label: what is predicted and measured.
        title: of the figure.
        group: a column whose values are drawn side by side.
    """
    parts = list(frame.groupby(group, sort=False)) if group else [("", frame)]
    with figure(path, columns=len(parts), size=(5.2, 4.6)) as drawn:
        for axes, (name, part) in zip(np.atleast_1d(drawn), parts, strict=True):
            values = part[["predicted", "measured"]].to_numpy()
            ends = np.array([values.min() / 1.5, values.max() * 1.5])
            axes.plot(ends, ends, color="0.6", lw=1, zorder=0)
            for scheme, rows in part.groupby("scheme", sort=False):
                style = look(str(scheme))
                axes.plot(
                    rows.predicted, rows.measured, style["marker"], color=style["color"], ms=6, mfc="none", label=scheme
                )
            heading = f"{title}, {group} {name!s}" if group else title
            axes.set(xscale="log", yscale="log", xlabel=f"predicted {label}", ylabel=f"measured {label}", title=heading)
        beside(np.atleast_1d(drawn)[-1])


def densities(path: Path, densities: Mapping[str, tuple[Sequence[float], Sequence[float]]], title: str) -> None:
    """Spectral densities, one above the other.

    Args:
        path: without ending.
        densities: eigenvalues and density by scheme.
        title: of the figure.
    """
    with figure(path, rows=len(densities), size=(7.5, 1.5)) as drawn:
        for axes, (name, (grid, density)) in zip(np.atleast_1d(drawn), densities.items(), strict=True):
            shown = np.maximum(np.asarray(density), 1e-8)
            axes.fill_between(grid, 1e-8, shown, color=look(name)["color"], alpha=0.35, lw=0)
            axes.plot(grid, shown, color=look(name)["color"], lw=1)
            axes.set(yscale="log", ylim=(1e-6, None), ylabel=name)
        np.atleast_1d(drawn)[0].set_title(title)
        np.atleast_1d(drawn)[-1].set_xlabel("eigenvalue of the Hessian")


def descent_paths(path: Path, surfaces: Mapping[str, tuple[np.ndarray, np.ndarray, np.ndarray]], title: str) -> None:
    """Loss over two weights, with the path of gradient descent.

    Args:
        path: without ending.
        surfaces: by scheme: Hessian [2, 2], optimum [2] and path [steps, 2].
        title: of the figure.
    """
    columns = min(4, len(surfaces))
    with figure(path, columns=columns, rows=-(-len(surfaces) // columns), size=(4.2, 3.9)) as drawn:
        for axes in np.ravel(drawn)[len(surfaces) :]:
            axes.remove()
        for axes, (name, (hessian, optimum, steps)) in zip(np.ravel(drawn), surfaces.items(), strict=False):
            points = np.vstack([steps, optimum])
            middle = (points.max(0) + points.min(0)) / 2
            reach = np.maximum(np.ptp(points, 0), 1e-3 * np.ptp(points, 0).max()) * 0.8 + 1e-12
            first, second = np.meshgrid(*(np.linspace(m - r, m + r, 200) for m, r in zip(middle, reach, strict=True)))
            away = np.stack([first - optimum[0], second - optimum[1]], -1)
            excess = 0.5 * np.einsum("...i,ij,...j", away, hessian, away)
            axes.contour(first, second, np.sqrt(excess), levels=14, colors="0.75", linewidths=0.7)
            axes.plot(*steps.T, "-o", color=look(name)["color"], lw=1, ms=2.5, label=f"{len(steps) - 1} steps")
            axes.plot(*optimum, "*", color="#D55E00", ms=11, label="optimum")
            smallest, largest = np.linalg.eigvalsh(hessian)
            shape = f"condition number {largest / smallest:.4g}" if smallest > 1e-12 * largest else "singular"
            axes.set(
                xlabel="weight of feature 1", ylabel="weight of feature 2",
                title=f"{name}: {shape}",
            )  # fmt: skip
            axes.legend(loc="best")
        np.ravel(drawn)[0].figure.suptitle(title)


COLOURS = [*FAMILIES, OTHER]


def picture(path: Path, frame: pd.DataFrame, spec: Picture) -> None:
    """Measured rows as a study's file describes them.

    Args:
        path: without ending.
        frame: rows of one measuring function.
        spec: what is drawn.
    """
    parts = frame.groupby(spec.panel, sort=False) if spec.panel else [("", frame)]
    cells = [(str(name), part) for name, part in parts]
    groups = list(dict.fromkeys(frame[spec.by]))
    schemes = spec.by == "norm"
    words = not pd.api.types.is_numeric_dtype(frame[spec.x])
    with panels(path, cells, shared=False) as drawn:
        for axes, _, part in drawn:
            places = {value: place for place, value in enumerate(dict.fromkeys(part[spec.x]))}
            for place, group in enumerate(groups):
                rows = part[part[spec.by] == group].dropna(subset=[spec.y])
                style = look(str(group)) if schemes else {
                    "color": COLOURS[place % len(COLOURS)], "marker": MARKERS[place % len(MARKERS)], "linestyle": "-"
                }  # fmt: skip
                # Words stand side by side, with the groups next to each other; numbers make a line.
                x = (
                    rows[spec.x].map(places) + 0.6 * (place - (len(groups) - 1) / 2) / len(groups)
                    if words
                    else rows[spec.x]
                )
                y = rows[spec.y]
                error = None
                if spec.interval:
                    low, high = (rows[column] for column in spec.interval)
                    error = np.maximum(0, np.array([y - low, high - y]))
                line = "none" if words else style["linestyle"]
                axes.errorbar(
                    x,
                    y,
                    yerr=error,
                    fmt=style["marker"],
                    color=style["color"],
                    ls=line,
                    lw=1,
                    ms=4,
                    capsize=2,
                    label=group,
                )
                if spec.beside and words:
                    axes.plot(x, rows[spec.beside], "_", color="0.2", ms=12, mew=1.5)
                elif spec.beside:
                    axes.plot(x, rows[spec.beside], color=style["color"], ls="--", lw=0.8)
            axes.set(
                xlabel=spec.x.replace("_", " "), ylabel=spec.y.replace("_", " "),
                xscale="log" if spec.log[0] else "linear", yscale="log" if spec.log[1] else "linear",
            )  # fmt: skip
            if words:
                turned = 0 if len(places) <= 3 else 25 if len(places) <= 8 else 90
                axes.set_xticks(list(places.values()), list(map(str, places)), rotation=turned)


def beside(axes: Axes) -> None:
    """The legend, right of the axes."""
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))


Panel = tuple[Axes, str, pd.DataFrame]


@contextmanager
def panels(path: Path, cells: Sequence[tuple[str, pd.DataFrame]], shared: bool = True) -> Iterator[list[Panel]]:
    """One axes for each cell of a study, with the cell's name as its title and one legend at the right.

    The more cells there are, the smaller each is drawn.

    Args:
        path: without ending.
        cells: name, and rows.
        shared: whether all panels have the same axes, so that they can be compared.
    """
    columns = 2 if len(cells) in (2, 4) else min(3 if len(cells) <= 6 else 4, len(cells))
    width, height = (5.2, 3.8) if len(cells) <= 4 else (4.2, 3.0) if len(cells) <= 6 else (3.0, 2.2)
    with figure(path, columns, -(-len(cells) // columns), (width, height), shared) as drawn:
        axes = np.ravel(drawn)
        yield [(one, name, frame) for one, (name, frame) in zip(axes, cells, strict=False)]
        for number, (one, (name, _)) in enumerate(zip(axes, cells, strict=False)):
            one.set_title(textwrap.fill(name, int(12 * width)), fontsize=9 if len(cells) <= 6 else 7.5)
            if shared:  # a label at the border speaks for the whole row or column
                below = number + columns >= len(cells)
                one.set(xlabel=one.get_xlabel() if below else "", ylabel=one.get_ylabel() * (number % columns == 0))
                one.xaxis.set_tick_params(labelbottom=below)
        for one in axes[len(cells) :]:
            one.remove()
        handles: dict[str, Any] = {}
        for one in axes[: len(cells)]:
            found, labels = one.get_legend_handles_labels()
            handles |= dict(zip(labels, found, strict=True))
        if handles:
            axes[0].figure.legend(handles.values(), handles.keys(), loc="outside right center")


def convergence(path: Path, cells: Sequence[tuple[str, pd.DataFrame]], label: str, score: str = "accuracy") -> None:
    """Validation score against epochs: mean over seeds, with the band of its 95% t interval.

    Args:
        path: without ending.
        cells: name, and rows with norm, seed, epoch, value.
        label: of the learning rates that are shown.
        score: name of the score.
    """
    from normlab.statistics import mean_interval

    with panels(path, cells) as drawn:
        for axes, _, frame in drawn:
            for scheme, rows in frame.groupby("norm", sort=False):
                by_epoch = rows.dropna(subset="value").groupby("epoch").value
                found = pd.DataFrame(
                    {epoch: vars(mean_interval(values.to_numpy())) for epoch, values in by_epoch}
                ).T  # fmt: skip
                if not len(found):
                    continue
                style = look(str(scheme))
                axes.plot(found.index, found.estimate, label=scheme, lw=1.3, ms=3, **(style | {"markevery": 2}))
                low, high = found.low.astype(float), found.high.astype(float)
                axes.fill_between(found.index, low, high, color=style["color"], alpha=0.12, lw=0)
            axes.set(xlabel="epoch", ylabel=f"validation {score}")
        if score == "accuracy":
            drawn[0][0].set_ylim(top=min(1.02, drawn[0][0].get_ylim()[1]))
        drawn[0][0].figure.suptitle(label, fontsize=10)


def probes(path: Path, cells: Sequence[tuple[str, pd.DataFrame]], label: str) -> None:
    """The Hessian's largest eigenvalue along training: each run a thin line, their geometric mean a marked one.

    Args:
        path: without ending.
        cells: name, and rows with norm, fingerprint, step, value.
        label: of the quantity.
    """
    with panels(path, cells) as drawn:
        for axes, _, frame in drawn:
            frame = frame[frame.value > 0]
            for scheme, rows in frame.groupby("norm", sort=False):
                style = look(str(scheme))
                for _, run in rows.groupby("fingerprint"):
                    axes.plot(run.step + 1, run.value, color=style["color"], lw=0.5, alpha=0.4)
                mean = np.exp(np.log(rows.set_index("step").value).groupby(level=0).mean())
                axes.plot(mean.index + 1, mean, label=scheme, lw=1.4, ms=4, **style)
            axes.set(xscale="log", yscale="log", xlabel="step + 1", ylabel=label)


def rates(
    path: Path,
    cells: Sequence[tuple[str, pd.DataFrame]],
    limits: Mapping[tuple[str, str], float],
    score: str = "accuracy",
) -> None:
    """Test score against learning rate; a rate at which runs diverged is marked at the bottom.

    All panels have one scale.

    Args:
        path: without ending.
        cells: name, and rows with norm, lr, status, and the test score.
        limits: predicted largest stable rate by cell and scheme, where theory has one; drawn as a vertical line.
        score: ``accuracy`` or ``r2``.
    """
    column = f"test_{score}"
    means = [frame[frame.status == "finished"].groupby(["norm", "lr"])[column].mean() for _, frame in cells]
    highest = max((part.max() for part in means if len(part)), default=1.0)
    lowest = min((part.min() for part in means if len(part)), default=0.0)  # R2 may be below 0
    diverged = any((frame.status == "diverged").any() for _, frame in cells)
    tried = sorted({rate for _, frame in cells for rate in frame.lr})
    with panels(path, cells) as drawn:
        for axes, name, frame in drawn:
            for scheme, rows in frame.groupby("norm", sort=False):
                style = look(str(scheme))
                line = rows[rows.status == "finished"].groupby("lr")[column].mean()
                axes.plot(line.index, line, label=scheme, lw=1.2, ms=4, **style)
                lost = rows[rows.status == "diverged"].lr.unique()
                if len(lost):  # an empty line that is not clipped would stretch to the figure's corner
                    axes.plot(lost, np.zeros(len(lost)), "x", color=style["color"], ms=6, clip_on=False)
                if (name, scheme) in limits:
                    axes.axvline(
                        limits[name, str(scheme)], color=style["color"], lw=0.8, ls=style["linestyle"], alpha=0.7
                    )
            axes.set(
                xscale="log",
                xlabel="learning rate" + "\n(crosses: runs diverged)" * diverged,
                ylabel=f"test {SCORES[score]}",
                ylim=(max(-1.0, min(0.0, 1.15 * lowest)), min(1.0, 1.15 * highest)),
            )
            if len(tried) <= FEW_RATES and tried[-1] < 30 * tried[0]:  # labels between two decades would overlap
                axes.set_xticks(tried, [f"{rate:g}" for rate in tried])
                axes.minorticks_off()


def reached(path: Path, cells: Sequence[tuple[str, pd.DataFrame]], target: float) -> None:
    """Share of the runs that have reached the target, against epochs.

    Args:
        path: without ending.
        cells: name, and rows with norm and epochs (infinite for a miss).
        target: validation accuracy.
    """
    with panels(path, cells) as drawn:
        for axes, _, frame in drawn:
            for scheme, rows in frame.groupby("norm", sort=False):
                times = np.sort(rows.epochs.to_numpy(dtype=float))
                hit = times[np.isfinite(times)]
                steps = np.concatenate([[0.0], hit, [frame.horizon.max()]])
                share = np.concatenate([[0], np.arange(1, len(hit) + 1), [len(hit)]]) / max(1, len(times))
                axes.step(steps, share, where="post", label=scheme, lw=1.3, **(look(str(scheme)) | {"marker": None}))
            axes.set(
                xlabel="epochs",
                ylabel=f"share of runs at {target:g}",
                ylim=(-0.02, 1.02),
            )


def forest(
    path: Path, frame: pd.DataFrame, names: Sequence[str], reference: str, margin: float, score: str = "accuracy"
) -> None:
    """Paired differences with their intervals, and the margin within which a difference does not matter.

    Args:
        path: without ending.
        frame: with norm, difference, low, high.
        names: of the rows.
        reference: what is subtracted.
        margin: of equivalence.
        score: name of the score.
    """
    with figure(path, size=(7.0, 1.2 + 0.28 * len(frame))) as axes:
        axes.axvspan(-100 * margin, 100 * margin, color="0.92", lw=0)
        axes.axvline(0, color="0.5", lw=0.8)
        points = 100 * frame[["difference", "low", "high"]].to_numpy(dtype=float)
        for place, (norm, name, (middle, low, high)) in enumerate(zip(frame.norm, names, points, strict=True)):
            style = look(norm)
            half = [[middle - low], [high - middle]]
            axes.errorbar(middle, -place, xerr=half, fmt=style["marker"], color=style["color"], capsize=2, ms=4)
            axes.annotate(
                name, (0, -place), xycoords=("axes fraction", "data"), xytext=(-6, 0), textcoords="offset points",
                ha="right", va="center", fontsize=8,
            )  # fmt: skip
        axes.set(
            yticks=[], ylim=(-len(frame) + 0.4, 0.6),
            xlabel=f"test {score} minus that of {reference}, points (gray: at most {100 * margin:g} apart)",
        )  # fmt: skip
