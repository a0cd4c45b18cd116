"""Changes of light, against scikit-image and numpy, and in a whole run."""

import numpy as np
import pytest
import torch
from skimage.color import hsv2rgb, rgb2hsv

import normlab
from normlab.data import load
from normlab.errors import DataError
from normlab.run import run
from normlab.shifts import CONSTANTS, SEVERITIES, shifted


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


@pytest.mark.parametrize("name", CONSTANTS)
@pytest.mark.parametrize("severity", SEVERITIES)
def test_against_another_implementation(random_images, photos, name, severity):
    images = torch.cat([random_images, photos.train.images[:4, :, :12, :12]])
    changed = shifted(images, name, severity)
    assert changed.dtype == torch.uint8
    for before, after in zip(images, changed, strict=True):
        expected = np.clip(reference(before.permute(1, 2, 0).numpy() / 255, name, severity), 0, 1) * 255
        # Halves may be rounded either way.
        assert np.abs(after.permute(1, 2, 0).numpy() - expected).max() <= 0.5 + 1e-3


@pytest.mark.parametrize("name", CONSTANTS)
def test_a_higher_severity_changes_more(photos, name):
    images = photos.train.images[:200]
    change = [(shifted(images, name, s).float() - images.float()).abs().mean().item() for s in SEVERITIES]
    assert change[0] > 0
    assert change == sorted(change)


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
