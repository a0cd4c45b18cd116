"""Figures: that each panel has its room."""

import warnings
from contextlib import contextmanager

import matplotlib.image
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from normlab.report import figures


@pytest.mark.slow
@pytest.mark.parametrize("diverged", [False, True])
def test_panels_of_rates_have_room(tmp_path, diverged):
    """Matplotlib gives up the layout, with a warning, if something reaches into the figure's corner."""
    frame = pd.DataFrame(
        {"norm": norm, "lr": rate, "status": "finished", "test_accuracy": 0.5} for norm in "ab" for rate in (1e-3, 1e-1)
    )
    if diverged:
        frame.loc[(frame.norm == "a") & (frame.lr == 0.1), "status"] = "diverged"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figures.rates(tmp_path / "rates", [("one", frame), ("two", frame), ("three", frame)], {("one", "a"): 0.01})
    with Image.open(tmp_path / "rates.png") as image:
        assert image.width > 1500


def test_a_few_rates_within_a_decade_are_labeled_each_and_nothing_else(tmp_path, monkeypatch):
    """The labels that Matplotlib sets between two decades overlap in a panel."""
    plain, shown = figures.panels, []

    @contextmanager
    def watched(*arguments, **options):
        with plain(*arguments, **options) as panels:
            drawn = list(panels)
            yield drawn
            for axes, *_ in drawn:
                shown.append([label.get_text() for label in axes.get_xticklabels(which="both")])

    monkeypatch.setattr(figures, "panels", watched)
    rates = (0.05, 0.1, 0.2, 0.4, 0.8)
    frame = pd.DataFrame({"norm": "a", "lr": rate, "status": "finished", "test_accuracy": 0.5} for rate in rates)
    figures.rates(tmp_path / "rates", [("one", frame)], {})
    assert shown == [["0.05", "0.1", "0.2", "0.4", "0.8"]]


def test_a_rare_color_stays_as_it_is(tmp_path):
    """A file has few colors; the one mark of a scheme among many of another must not turn gray."""
    with figures.figure(tmp_path / "marks", columns=3) as drawn:
        for axes in drawn:
            for place in range(60):
                axes.plot(place, place % 7, "o", color="#0072B2", alpha=0.2 + 0.01 * place)
        drawn[0].plot(3, 8, "v", color="#CC79A7", ms=4)
    pixels = matplotlib.image.imread(tmp_path / "marks.png")[..., :3]
    assert abs(pixels - np.array([0xCC, 0x79, 0xA7]) / 255).max(-1).min() < 0.06
