"""Changes of light, against scikit-image and numpy, and in a whole run."""

import numpy as np
import pytest
import torch
from skimage.color import hsv2rgb, rgb2hsv

import normlab
from normlab.data import load
from normlab.errors import DataError
from normlab.run import run
from normlab.shifts import CONSTANTS, KINDS, SEVERITIES, shifted


def of_kind(kind):
    return [name for name in CONSTANTS if KINDS[name] == kind]


def reference(image, name, severity):
    """One image [H, W, 3] in 0..1, by other means."""
    c = CONSTANTS[name][severity - 1]
    if name == "brightness":
        hsv = rgb2hsv(image)
        hsv[..., 2] = np.clip(hsv[..., 2] + c, 0, 1)
        return hsv2rgb(hsv)
    if name == "contrast":
        mean = image.mean((0, 1))
        return mean + c * (image - mean)
    if name == "color_cast":
        return np.stack([image[..., 0] * (1 - c), image[..., 1], image[..., 2] * (1 + c)], -1)
    width = image.shape[1]
    return image * np.array([1 + c * (2 * x / (width - 1) - 1) for x in range(width)])[None, :, None]


@pytest.mark.parametrize("name", of_kind("images"))
@pytest.mark.parametrize("severity", SEVERITIES)
def test_against_another_implementation(random_images, photos, name, severity):
    images = torch.cat([random_images, photos.train.images[:4, :, :12, :12]])
    changed = shifted(images, name, severity)
    assert changed.dtype == torch.uint8
    for before, after in zip(images, changed, strict=True):
        expected = np.clip(reference(before.permute(1, 2, 0).numpy() / 255, name, severity), 0, 1) * 255
        # Halves may be rounded either way.
        assert np.abs(after.permute(1, 2, 0).numpy() - expected).max() <= 0.5 + 1e-3


@pytest.mark.parametrize("name", of_kind("images"))
def test_a_higher_severity_changes_more(photos, name):
    images = photos.train.images[:200]
    change = [(shifted(images, name, s).float() - images.float()).abs().mean().item() for s in SEVERITIES]
    assert change[0] > 0
    assert change == sorted(change)


@pytest.fixture(scope="module")
def waveforms():
    """Tones and noise, float32 [8, 1, 2048]."""
    time = torch.arange(2048) / 8000
    noise = torch.randn(8, 1, 2048, generator=torch.Generator().manual_seed(0))
    return 0.1 * torch.sin(2 * torch.pi * 250 * time) + 0.03 * noise


def decibels(ratio):
    return 20 * torch.log10(ratio)


@pytest.mark.parametrize("severity", SEVERITIES)
def test_a_gain_is_one_factor_for_each_recording(waveforms, severity):
    ratio = shifted(waveforms, "gain", severity) / waveforms
    torch.testing.assert_close(ratio, ratio[..., :1].expand_as(ratio))
    gains = decibels(ratio[:, 0, 0])
    assert gains.abs().max() <= CONSTANTS["gain"][severity - 1]
    assert len(set(gains.tolist())) == 8
    assert torch.equal(shifted(waveforms, "gain", severity), shifted(waveforms, "gain", severity))


@pytest.mark.parametrize("severity", SEVERITIES)
def test_a_microphone_is_a_straight_line_in_decibels(waveforms, severity):
    response = (
        torch.fft.rfft(shifted(waveforms, "microphone", severity)[0, 0]).abs() / torch.fft.rfft(waveforms[0, 0]).abs()
    )
    c = CONSTANTS["microphone"][severity - 1]
    torch.testing.assert_close(decibels(response), torch.linspace(-c, c, 1025), rtol=0, atol=0.05)


@pytest.mark.parametrize("severity", SEVERITIES)
def test_noise_lies_below_the_recording(waveforms, severity):
    noise = shifted(waveforms, "noise", severity) - waveforms
    below = decibels(waveforms.square().mean((1, 2)).sqrt() / noise.square().mean((1, 2)).sqrt())
    assert below.tolist() == pytest.approx([CONSTANTS["noise"][severity - 1]] * 8, abs=0.5)


def test_level_and_scale_of_series():
    series = torch.randn(16, 3, 20, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0, 5, 9])[:, None]
    spread = series.double().std((0, 2), correction=0)
    moved = (shifted(series, "level", 5) - series).double()
    torch.testing.assert_close(moved, (5 * spread)[None, :, None].expand_as(moved), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(shifted(series, "scale", 4), 3 * series)


@pytest.mark.slow
@pytest.mark.parametrize(("data", "name"), [("tones", "brightness"), ("digits", "gain"), ("tones", "scale")])
def test_a_shift_of_another_kind_is_refused(here, make, data, name):
    with pytest.raises(DataError, match=f"trainer.shifts: {name} is for .*; the inputs are .*: choose from "):
        run(make(data=data, **{"trainer.shifts": (name,)}))


def test_a_color_cast_requires_color():
    with pytest.raises(DataError, match="three channels; the images have 1"):
        shifted(torch.zeros(1, 1, 4, 4, dtype=torch.uint8), "color_cast", 1)


@pytest.mark.parametrize("norm", ["unit", "imagenet"])  # imagenet makes three channels of one, but not of the pixels
def test_a_run_refuses_a_color_cast_of_gray_images_before_it_trains(here, make, monkeypatch, norm):
    trained = []
    monkeypatch.setattr("normlab.run.train", lambda *_: trained.append(1))
    with pytest.raises(DataError, match="three channels; the images have 1"):
        run(make(norm=norm, **{"trainer.shifts": ("contrast", "color_cast")}))
    assert not trained


# So that rounding, which threads and processors decide, tips no image over.
DOUBLE = {"trainer.precision": "64"}


@pytest.mark.slow
def test_a_run_records_the_accuracy_of_its_network_under_each(here, make):
    config = make(data="photos", **{**DOUBLE, "data.limit": 200, "trainer.shifts": ("contrast", "color_cast")})
    result = run(config)
    under = result["metrics"]["accuracy_under"]
    assert set(under) == {f"{n}{s}" for n in ("contrast", "color_cast") for s in ("", ".1", ".2", ".3", ".4", ".5")}
    data, network = load(config.data), normlab.load(f"{result['path']}/checkpoint.ckpt")
    for name in ("contrast", "color_cast"):
        expected = [
            (network(shifted(data.test.images, name, s)).argmax(1) == data.test.labels).double().mean().item()
            for s in SEVERITIES
        ]
        assert [under[f"{name}.{s}"] for s in SEVERITIES] == pytest.approx(expected)
        assert under[name] == pytest.approx(np.mean(expected))
    # The plain test is not touched by them.
    plain = run(make(data="photos", **{**DOUBLE, "data.limit": 200}))
    assert plain["metrics"]["test_accuracy"] == pytest.approx(result["metrics"]["test_accuracy"])
    assert "accuracy_under" not in plain["metrics"]
