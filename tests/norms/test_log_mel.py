"""The front end of recordings against librosa and transformers, and what a gain does to it."""

import json
import math
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from normlab.errors import ConfigError, DataError
from normlab.norms.log_mel import Front, LogMel

LIBROSA = json.loads(Path(__file__).with_name("librosa_log_mel.json").read_text())


def waveform(rate, count):
    """A rising tone, a steady one and a little noise, by formula: what librosa was given."""
    t = np.arange(count) / rate
    noise = 0.001 * ((np.arange(count) * 7919 % 101) / 50 - 1)
    return 0.3 * np.sin(2 * np.pi * (200 * t + 1500 * t**2)) + 0.02 * np.cos(2 * np.pi * 0.31 * rate * t) + noise


@pytest.mark.parametrize("case", LIBROSA["cases"], ids=lambda case: f"{case['rate']}")
def test_equals_librosa(case):
    layer = LogMel(case["rate"], case["mels"], case["window_ms"] + 1e-9, case["hop_ms"] + 1e-9)
    y = torch.from_numpy(waveform(case["rate"], case["samples"]))
    expected = torch.tensor(case["decibels"]) * math.log(10) / 10
    torch.testing.assert_close(layer(y[None, None])[0], expected, rtol=0, atol=1e-5)


def test_equals_the_filter_bank_of_ast():
    transformers = pytest.importorskip("transformers")
    y = waveform(16000, 8000).astype(np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a bin of the mel scale has no frequency in it: see below
        extractor = transformers.ASTFeatureExtractor(do_normalize=False, max_length=40)
        expected = extractor(y, sampling_rate=16000, return_tensors="pt")["input_values"][0]
    layer = LogMel(16000, 128, 25, 10, kaldi=True)
    torch.testing.assert_close(layer(torch.from_numpy(y)[None, None])[0].T[:40], expected, rtol=0, atol=1e-5)
    assert layer.empty >= 1  # AST's own 128 bins: some lie between two frequencies, and are constant
    assert (expected == expected.min()).all(0).sum() == layer.empty


def test_a_gain_is_an_offset():
    y = torch.from_numpy(waveform(8000, 4000))[None, None]
    layer = LogMel(8000, 40, 25, 10)
    quiet, loud = layer(y), layer(y * 10)
    above = quiet > math.log(1e-10) + 0.1
    assert above.float().mean() > 0.9
    torch.testing.assert_close(loud[above], quiet[above] + 2 * math.log(10), rtol=0, atol=1e-5)


def test_silence_lies_at_the_floor():
    assert (LogMel(8000, 40, 25, 10)(torch.zeros(1, 1, 800)) == math.log(1e-10)).all()


def test_what_does_not_fit_is_refused():
    with pytest.raises(ConfigError, match="a frame has 1 samples"):
        LogMel(8000, 40, 0.2, 10)
    with pytest.raises(ConfigError, match="a hop 0"):
        LogMel(8000, 40, 25, 0.1)
    with pytest.raises(DataError, match="shorter than a frame of 400"):
        Front("kaldi", 16000).build()(torch.zeros(1, 1, 300))
    with pytest.raises(DataError, match=r"waveforms \[B, 1, T\], not \[1, 2, 300\]"):
        Front("log_mel", 16000).build()(torch.zeros(1, 2, 300))
