"""What a gain changes in log-mel: an offset, which some schemes remove."""

import math

import pytest

from normlab.config import choose
from normlab.data import load
from normlab.measurements.audio import gain_changes
from normlab.measurements.starts import fitted, normalized


def test_a_gain_is_an_offset_that_a_mean_of_the_recording_removes():
    tones = {"name": "tones", "limit": 40}
    norms = ["raw", "peak", "rms", "per_image", "cmn", "cmvn"]
    changes = {row["norm"]: row for row in gain_changes(data=tones, decibels=[20], norms=norms)}
    loaded = load(choose("data", **tones))
    features = normalized(fitted(loaded, "raw"), loaded.test.inputs)
    offset = 2 * math.log(10) / features.std(correction=0).item()  # 20 dB are a factor of 10, of power 100
    assert changes["raw"]["change"] == pytest.approx(offset, rel=1e-4)
    assert changes["raw"]["largest"] == pytest.approx(offset, rel=1e-4)  # the same everywhere
    for name in norms[1:]:
        assert changes[name]["largest"] < 1e-4, name
