"""Windows of a real series, and the normalization that is undone on the output."""

import importlib.util
from pathlib import Path

import pandas as pd
import pytest
import torch

import normlab
from normlab.config import compose
from normlab.errors import DataError
from normlab.run import run

pytestmark = pytest.mark.skipif(importlib.util.find_spec("statsmodels") is None, reason="needs normlab[series]")


def test_windows_and_what_follows_them():
    data = normlab.dataset("forecast", series="sunspots", window=11, horizon=2)
    values = torch.tensor(pd.read_csv(_file("sunspots/sunspots.csv"))["SUNACTIVITY"].to_numpy()).float()
    splits = [data.train, data.validation, data.test]
    windows = torch.cat([split.inputs for split in splits])
    labels = torch.cat([split.labels for split in splits])
    assert len(windows) == len(values) - 12
    for i in (0, 5, len(windows) - 1):
        assert torch.equal(windows[i, 0], values[i : i + 11])
        assert labels[i] == values[i + 12]
    assert [len(split) for split in splits] == [179, 59, 59]  # in time, not drawn


def test_what_is_missing_is_told():
    notes = normlab.dataset("forecast", series="co2").notes
    assert any("are missing in co2, and filled in" in note for note in notes)


def test_a_window_that_is_too_long_is_refused():
    with pytest.raises(DataError, match="sunspots has 309 values, which leave 1 windows, too few"):
        normlab.dataset("forecast", series="sunspots", window=308)


@pytest.mark.parametrize("norm", ["raw", "per_channel", "revin"])
def test_the_normalization_is_undone_on_the_output(here, norm):
    config = compose(
        "mine",
        data={"name": "forecast", "series": "sunspots", "window": 11},
        norm=norm,
        arch={"name": "linear", "loss": "squared_error", "init": "torch"},
        optim="sgd",
        trainer={"name": "default", "max_epochs": 1, "max_steps": 1, "progress": "none"},
    )
    result = run(config)
    assert result["status"] == "finished"
    checkpoint = f"{result['path']}/checkpoint.ckpt"
    network = normlab.load(checkpoint).double()
    x = normlab.dataset("forecast", series="sunspots", window=11).test.inputs
    with torch.no_grad():
        answer = network(x)
        if norm == "raw":
            assert torch.equal(answer, network.target.restored(network.target.standardized(network.body(x.double()))))
        if norm == "revin":  # a level and a scale of the window are those of the forecast
            torch.testing.assert_close(network(3 * x + 500), 3 * answer + 500, rtol=1e-5, atol=1e-2)
        if norm == "per_channel":
            mean, std = network.norm.mean.squeeze(), network.norm.std.squeeze()
            torch.testing.assert_close(
                answer, network.body((x.double() - mean) / std) * std + mean, rtol=1e-6, atol=1e-6
            )
    assert "undone on the output" in normlab.export(checkpoint, "network.pt2")  # compares the answers itself


def _file(name):
    return Path(importlib.util.find_spec("statsmodels").submodule_search_locations[0], "datasets", name)
