"""A network of recordings, from the command to an exported file: the front end goes with it."""

import json
from pathlib import Path

import pytest
import torch

import normlab
from normlab.norms.log_mel import LogMel

SMALL = ["data.per_class=6", "data.batch_size=12", "trainer.max_epochs=1", "logger=none", "trainer.progress=none"]


@pytest.fixture
def trained(call):
    """Arguments to the record and the network of a small run."""

    def run(*arguments):
        status, _, errors = call(*arguments, *SMALL)
        assert status == 0, errors
        (path,) = Path("runs").glob("*/record.json")
        return json.loads(path.read_text()), normlab.load(path.with_name("checkpoint.ckpt"))

    return run


@pytest.mark.slow
@pytest.mark.parametrize("arch", ["cnn", "vit"])
def test_the_front_end_is_saved_and_exported(trained, arch):
    """cmvn of log-mel by the formula, then the body of the checkpoint: the scores of the loaded network."""
    record, network = trained("+norm=cmvn", "data=tones", f"arch={arch}", "data.mels=32", "trainer.shifts=[gain]")
    assert record["status"] == "finished"
    assert record["config"]["data"]["mels"] == 32
    under = record["metrics"]["accuracy_under"]
    assert all(under[f"gain.{s}"] == pytest.approx(record["metrics"]["test_accuracy"]) for s in range(1, 6))
    waveforms = normlab.dataset("tones", per_class=6).test.inputs
    x = LogMel(8000, 32, 32.0, 16.0)(waveforms)
    x = (x - x.mean(2, keepdim=True)) / x.std(2, correction=0, keepdim=True)
    with torch.no_grad():
        torch.testing.assert_close(network(waveforms), network.body(x), rtol=1e-4, atol=1e-4)
    if arch == "vit":  # one export says it
        return
    (checkpoint,) = Path("runs").glob("*/checkpoint.ckpt")
    assert "kept as a layer" in normlab.export(checkpoint, "network.pt2")  # compares the scores itself
    assert torch.export.load("network.pt2").module()(waveforms).shape == (12, 6)


def test_a_waveform_goes_into_a_network_of_series(trained):
    record, network = trained("+norm=rms", "data=tones", "arch=cnn1d", "data.front=none")
    assert record["normalized"]["shape"] == [1, 4000]
    assert record["normalized"]["std"] == pytest.approx(0.1, rel=1e-3)  # -20 dBFS
    assert network.front.name == "none"


@pytest.mark.slow
def test_a_level_and_training_statistics(trained):
    record, network = trained("+norm=dataset", "data=tones", "arch=linear", "data.level=peak")
    assert record["normalized"]["std"] == pytest.approx(1, rel=1e-3)
    waveforms = normlab.dataset("tones", per_class=6).test.inputs
    torch.testing.assert_close(network(waveforms * 2), network(waveforms), rtol=0, atol=1e-4)
