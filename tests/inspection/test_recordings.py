"""The statistics of a folder of recordings, against the formulas."""

import json
import math

import numpy as np
import pytest
import torch
from scipy.io import wavfile

from normlab.inspection.recordings import AST_FRONT, decibels
from normlab.norms.log_mel import LogMel

RATE = 16000


@pytest.fixture
def folder(here):
    """Eight recordings of known level: one clipped, one silent, one with an offset; and a broken file."""
    time = np.arange(RATE // 4) / RATE
    waves = [10 ** (-(6 + 2 * i) / 20) * np.sign(np.sin(2 * np.pi * 500 * time + 0.1)) for i in range(5)]
    waves += [np.sin(2 * np.pi * 440 * time), np.zeros_like(time), 0.1 * np.sin(2 * np.pi * 440 * time) + 0.05]
    (here / "mine/deep").mkdir(parents=True)
    for i, wave in enumerate(waves):
        path = here / ("mine/deep" if i % 2 else "mine") / f"{i}.wav"
        wavfile.write(path, RATE, np.round(wave * 32767).astype(np.int16))
    (here / "mine/broken.wav").write_text("no recording")
    return [np.round(wave * 32767).astype(np.int16) / 32768 for wave in waves]


def test_the_report_is_that_of_the_recordings(look, folder):
    status, out, _ = look("mine", "--json", "resamples=50")
    assert status == 0
    content = json.loads(out)
    assert content["recordings"] == 8
    assert content["rates"] == [[RATE, 8]]
    assert len(content["unreadable"]) == 1
    assert "broken.wav: cannot be read as a WAV file" in content["unreadable"][0]
    levels = [decibels(math.sqrt(np.mean(wave**2))) for wave in folder]
    assert content["statistics"]["level_dbfs"]["mean"] == pytest.approx(np.mean(levels), abs=1e-3)
    assert content["statistics"]["level_dbfs"]["median"] == pytest.approx(np.median(levels), abs=1e-3)
    assert content["statistics"]["peak_dbfs"]["largest"] == pytest.approx(0, abs=1e-3)
    assert content["clipped_recordings"] == 1
    assert content["silent_recordings"] == 1
    assert content["statistics"]["dc_offset"]["largest"] == pytest.approx(0.05, abs=1e-4)
    assert content["total_seconds"] == pytest.approx(2)


def test_floats_that_hold_integers_are_told(look, folder, here):
    assert "above full scale" not in look("mine", "resamples=20")[1]
    wavfile.write(here / "mine/float.wav", RATE, (folder[0] * 32767).astype(np.float32))
    assert (
        "The loudest recording reaches 84 dB above full scale: if these floats hold" in look("mine", "resamples=20")[1]
    )


def test_log_mel_with_and_without_padding(look, folder):
    content = json.loads(look("mine", "--json", "resamples=50")[1])["log_mel"]
    layer = AST_FRONT.build()
    assert isinstance(layer, LogMel)
    x = torch.cat([layer(torch.tensor(wave, dtype=torch.float32)[None, None]).flatten() for wave in folder]).double()
    assert content["own_length"]["mean"]["value"] == pytest.approx(x.mean().item(), abs=1e-4)
    assert content["own_length"]["std"]["value"] == pytest.approx(x.std(correction=0).item(), abs=1e-4)
    padded = torch.cat([x, x.new_zeros(8 * 128 * 1024 - len(x))])
    assert content["padded"]["mean"]["value"] == pytest.approx(padded.mean().item(), abs=1e-4)
    assert content["padded"]["std"]["value"] == pytest.approx(padded.std(correction=0).item(), abs=1e-4)
    first = content["constants"][0]
    assert (first["mean"], first["std"]) == (-4.2677393, 4.5689974)
    assert first["mean_under_them"] == pytest.approx((x.mean().item() + 4.2677393) / 4.5689974, abs=1e-4)
    assert content["own_length"]["mean"]["low"] < content["own_length"]["mean"]["value"]


def test_the_text_says_it(look, folder):
    status, out, _ = look("mine", "resamples=50")
    assert status == 0
    assert "mine: 8 recordings, 2.0 seconds in all" in out
    assert "1 unreadable" in out
    assert "1 recording at full scale" in out
    assert "1 recording silent throughout" in out
    assert "ASTFeatureExtractor(mean=" in out
    assert look("mine", "limit=3", "resamples=50")[1].count("a sample: 3 drawn at random from 9") == 1


def test_of_splits_the_training_recordings_count_and_the_others_are_told(look, here):
    time = np.arange(RATE // 4) / RATE
    for split, amplitude, count in (("Train Set", 0.5, 3), ("Test Set", 0.05, 2)):
        for name in ("a", "b"):
            (here / f"mine/{split}/{name}").mkdir(parents=True)
            for take in range(count):
                wave = amplitude * np.sin(2 * np.pi * (400 + 50 * take) * time)
                wavfile.write(here / f"mine/{split}/{name}/{take}.wav", RATE, np.round(wave * 32767).astype(np.int16))
    copy = here / "mine/Train Set/a/0.wav"
    (here / "mine/Test Set/a/9.wav").write_bytes(copy.read_bytes())
    (here / "mine/Test Set/a/x.m4a").write_bytes(b"x")
    (here / "mine/@eaDir").mkdir()
    (here / "mine/@eaDir/0.wav").write_bytes(copy.read_bytes())
    content = json.loads(look("mine", "--json", "resamples=20")[1])
    assert content["recordings"] == 6
    assert content["splits"] == {"train": 6, "test": 5}
    assert content["statistics"]["level_dbfs"]["largest"] - content["statistics"]["level_dbfs"]["smallest"] < 0.1
    text = look("mine", "resamples=20")[1]
    for line in (
        "mine: 6 recordings of the training split, 1.5 seconds in all",
        "recordings by split: 6 train, 5 test",
        "Train Set/ is the train split",
        "DUPLICATES: 1 of 5 test recordings are also in another split",
        "left out 1 file without the ending of a recording (1 .m4a)",
        "left out 1 file in hidden or generated folders (1 in @eaDir)",
    ):
        assert line in text
    everything = json.loads(look("mine", "--json", "data.splits=none", "resamples=20")[1])
    assert (everything["recordings"], everything["splits"]) == (11, {})


def test_one_recording_has_no_interval(look, folder):
    status, out, _ = look("mine/0.wav", "--json", "resamples=50")
    assert status == 0
    assert json.loads(out)["log_mel"]["own_length"]["mean"]["low"] is None


def test_what_cannot_be_inspected_ends_in_one_line(look, here, folder):
    (here / "bad").mkdir()
    (here / "bad/x.wav").write_text("no recording")
    status, _, error = look("bad")
    assert (status, error.count("\n")) == (2, 1)
    assert "none of 1 recordings can be read" in error
    status, _, error = look("mine", "limits=3")
    assert status == 2
    assert "limits: unknown key; did you mean limit?" in error
    (here / "mine/photo.png").write_bytes(b"")
    assert "holds 9 recordings and 1 images" in look("mine")[2]
