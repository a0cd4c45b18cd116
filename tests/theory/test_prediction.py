"""What a run of the linear model is told by the theory, by way of the cache."""

import pytest

from normlab.archs import Network
from normlab.config import compose
from normlab.data.datasets import load
from normlab.norms import OneSample, build_scheme
from normlab.theory.descent import descent
from normlab.theory.prediction import dataset_moments, predict

TONES = {"name": "tones", "per_class": 4, "mels": 4, "window_ms": 64.0, "hop_ms": 64.0}


def of_a_run(data, norm):
    """The largest eigenvalue that a run is told, and the one that is computed now."""
    optim = {"name": "gd", "lr": "auto"}
    config = compose("mine", data=data, norm=norm, arch={"name": "linear", "loss": "squared_error"}, optim=optim)
    data = load(config.data)
    scheme = build_scheme(config.norm, data.front).set_range(data.black, data.white).fit(data.training_inputs())
    found = predict(config, data, Network.for_data(scheme, config.arch, data))
    assert found is not None
    now = descent(dataset_moments(data, scheme), config.arch.bias).spectrum.lambda_max
    assert found.rate == 1 / found.descent.spectrum.lambda_max
    return found.descent.spectrum.lambda_max, now


def test_another_front_end_has_another_theory(here):
    changes = ({}, {"level": "rms"}, {"front": "kaldi"}, {"hop_ms": 32.0}, {})
    told = []
    for change in changes:
        found, now = of_a_run(TONES | change, "raw")
        assert found == pytest.approx(now, rel=1e-9)
        told.append(found)
    assert told[0] == told[-1]
    assert len(set(told)) == len(changes) - 1
    assert len(list((here / "cache").glob("theory-*"))) == len(changes) - 1


def test_an_edited_formula_has_another_theory(here, monkeypatch):
    before, _ = of_a_run("digits", "per_image")
    original = OneSample._normalize
    monkeypatch.setattr(OneSample, "_normalize", lambda scheme, inputs: original(scheme, inputs) / 2)
    found, now = of_a_run("digits", "per_image")
    assert found == pytest.approx(now, rel=1e-9)
    assert found < 0.5 * before or before == pytest.approx(1)  # the bias keeps an eigenvalue of 1
