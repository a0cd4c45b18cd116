"""Figures: that each panel has its room."""

import warnings

import pandas as pd
import pytest
from PIL import Image

from normlab.report import figures


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
