"""Histograms of the bands, and some images before and after normalization, in one PNG."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from normlab.errors import ConfigError
from normlab.inspection.images import Inspection
from normlab.statistics.channels import channel_names

SHOWN = 8  # images of the contact sheet
BINS = 128
COLORS = {"red": "tab:red", "green": "tab:green", "blue": "tab:blue", "grey": "black"}


def draw(path: Path, label: str, inspection: Inspection) -> None:
    """Draw the histograms and the contact sheet.

    The histogram is of u; of int32 and float32 images, of their small copies. The upper row of images shows u between
    its smallest and largest value, the lower row (u - mean)/std between -2.5 and 2.5; of more than three bands, the
    first.

    Raises:
        ConfigError: if the file cannot be written.
    """
    from matplotlib.figure import Figure  # without pyplot, which would look for a screen

    figure = Figure(figsize=(12, 7), layout="constrained")
    grid = figure.add_gridspec(3, SHOWN, height_ratios=(2, 1, 1))
    axes = figure.add_subplot(grid[0, :])
    names = channel_names(inspection.channels)
    for band, name in enumerate(names):
        edges, heights = histogram(inspection, band)
        axes.stairs(heights, edges, label=name, color=COLORS.get(name))
    axes.set(xlabel="u", ylabel="share of pixels", title=label)
    axes.legend(ncols=4)
    mean, std = (values.numpy()[:, None, None] for values in inspection.sums.statistics("pooled"))
    u = (inspection.small[:SHOWN].numpy().astype(np.float64) - inspection.black) / (inspection.white - inspection.black)
    low, high = (float(u.min()), float(u.max())) if len(u) else (0.0, 1.0)
    for place, image in enumerate(u):
        normalized = (image - mean) / np.where(std == 0, 1, std)
        for row, values, ends in ((1, image, (low, high)), (2, normalized, (-2.5, 2.5))):
            cell = figure.add_subplot(grid[row, place])
            cell.imshow(_picture(values, *ends), cmap="gray", vmin=0, vmax=1)
            cell.set_xticks([]), cell.set_yticks([])
            if place == 0:
                cell.set_ylabel("as stored" if row == 1 else "normalized")
    try:
        figure.savefig(path, dpi=100)
    except OSError as error:
        raise ConfigError(f"--plot {path}: cannot be written ({error.strerror})") from None


def histogram(inspection: Inspection, band: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Edges in units of u and shares of a band, in at most ``BINS`` bins of equal width."""
    span = inspection.white - inspection.black
    if inspection.histogram is None:
        values = (inspection.small[:, band].numpy().astype(np.float64) - inspection.black) / span
        counts, edges = np.histogram(values, bins=BINS)
        return edges.astype(np.float64), counts.astype(np.float64) / max(1, counts.sum())
    counts = inspection.histogram[band].numpy()
    width = -(-len(counts) // BINS)
    padded = np.concatenate([counts, np.zeros(-len(counts) % width, dtype=np.int64)]).reshape(-1, width).sum(1)
    edges = (inspection.lowest + width * np.arange(len(padded) + 1) - 0.5 - inspection.black) / span
    return np.asarray(edges, dtype=np.float64), padded.astype(np.float64) / padded.sum()


def _picture(values: NDArray[np.float64], low: float, high: float) -> NDArray[np.float64]:
    scaled = np.clip((values - low) / ((high - low) or 1.0), 0, 1)
    return scaled.transpose(1, 2, 0) if len(scaled) == 3 else scaled[0]
