"""Schemes of recordings: closed forms of a gain, and the way from waveform to network."""

import math

import pytest
import torch

import normlab
from normlab.config import choose
from normlab.errors import ConfigError
from normlab.norms import Front, OnFeatures, build_scheme
from normlab.norms.log_mel import LogMel

FRONT = Front("log_mel", 8000)


@pytest.fixture(scope="module")
def waveforms():
    """Tones whose noise keeps every mel bin above the floor, float32 [12, 1, 4000]."""
    return normlab.dataset("tones", per_class=6, noise_db=-45.0).test.inputs


def scheme(name, waveforms, **front):
    return build_scheme(choose("norm", name), Front("log_mel", 8000, **front)).fit([waveforms])


@pytest.mark.parametrize("name", ["cmn", "cmvn", "peak", "rms", "per_image"])
@pytest.mark.parametrize("decibels", [-20, 20])
def test_a_gain_changes_nothing(waveforms, name, decibels):
    """Of log-mel a gain is an offset, which a mean of the sample's own removes; peak and RMS remove the gain itself."""
    layer = scheme(name, waveforms)
    torch.testing.assert_close(layer(waveforms * 10 ** (decibels / 20)), layer(waveforms), rtol=0, atol=2e-3)


@pytest.mark.parametrize("name", ["raw", "dataset"])
def test_a_gain_is_an_offset_under_training_statistics(waveforms, name):
    layer = scheme(name, waveforms)
    offset = layer(waveforms * 10) - layer(waveforms)
    expected = 2 * math.log(10) * (layer.features.scale.float().reshape(-1, 1) if name == "dataset" else 1)
    torch.testing.assert_close(offset, torch.zeros_like(offset) + expected, rtol=1e-3, atol=1e-3)


def test_a_filter_is_an_offset_that_a_mean_removes(waveforms):
    """A response that is flat within each bin adds a constant to each; here it varies by a twentieth of a decibel."""
    spectrum = torch.fft.rfft(waveforms.double())
    decibels = torch.linspace(-2, 2, spectrum.shape[-1])
    filtered = torch.fft.irfft(spectrum * 10 ** (decibels / 20)).float()
    layer, plain = scheme("cmn", waveforms), scheme("raw", waveforms)
    kept = slice(2, -2)  # frames at the ends see the filter wrap around
    removed = (layer(filtered) - layer(waveforms))[..., kept].abs().mean()
    before = (plain(filtered) - plain(waveforms))[..., kept].abs().mean()
    assert removed < 0.15 * before


def test_cmvn_is_the_formula(waveforms):
    x = LogMel(8000, 40, 25, 10)(waveforms).double()
    expected = (x - x.mean(2, keepdim=True)) / x.std(2, correction=0, keepdim=True)
    torch.testing.assert_close(scheme("cmvn", waveforms)(waveforms).double(), expected, rtol=0, atol=1e-4)


def test_training_statistics_are_those_of_the_features(waveforms):
    x = LogMel(8000, 40, 25, 10)(waveforms).double()
    layer = scheme("dataset", waveforms)
    torch.testing.assert_close(layer.features.mean.flatten(), x.mean((0, 2)), rtol=1e-9, atol=1e-9)


def test_a_level_and_a_scheme_of_the_features(waveforms):
    layer = scheme("dataset", waveforms, level="rms")
    torch.testing.assert_close(layer(waveforms * 3), layer(waveforms), rtol=0, atol=2e-3)
    with pytest.raises(ConfigError, match=r"norm=peak and data\.level=rms both act on the waveform"):
        scheme("peak", waveforms, level="rms")


def test_without_a_front_end_a_scheme_takes_the_waveform(waveforms):
    bare = build_scheme(choose("norm", "raw"), Front("none", 8000)).fit([waveforms])
    assert not isinstance(bare, OnFeatures)
    assert torch.equal(bare(waveforms), waveforms)
    assert build_scheme(choose("norm", "raw"), Front("none", 8000, level="peak"))(waveforms).shape == waveforms.shape
