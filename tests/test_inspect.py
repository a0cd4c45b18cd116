"""The command for one's own images, and the lines that it gives."""

import json
import sys

import albumentations
import numpy as np
import pytest
import timm.data
import torch
import transformers
from PIL import Image
from torchvision.transforms import v2

import normlab
from normlab import inspect
from normlab.analysis.inspection import inspect_images


@pytest.fixture
def look(here, monkeypatch, capsys):
    """Run the command: its status and what it printed."""

    def run(*arguments):
        try:
            inspect.main(list(arguments))
            status = 0
        except SystemExit as end:
            status = end.code
        return status, *capsys.readouterr()

    return run


@pytest.fixture
def folder(here, photos):
    """Sixty patches of photographs in two sub-folders, and a file that is none."""
    for i, image in enumerate(photos.train.images[::100]):
        path = here / "mine" / "ab"[i % 2] / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(path)
    (here / "mine/a/notes.txt").write_text("no image")
    (here / "mine/.hidden").mkdir()
    Image.new("RGB", (4, 4)).save(here / "mine/.hidden/x.png")
    return photos.train.images[::100]


def test_the_report_is_that_of_the_images(look, folder):
    status, out, _ = look("mine", "--json", "resamples=200", "conditioning=false")
    assert status == 0
    found = json.loads(out)
    assert found["images"] == 60
    mean, std = (value.tolist() for value in inspect_images(folder).sums.statistics("pooled"))
    assert [row["mean_pooled"]["value"] for row in found["channels"]] == pytest.approx(mean)
    assert [row["std_pooled"]["value"] for row in found["channels"]] == pytest.approx(std)
    for row in found["channels"]:
        assert row["mean_pooled"]["low"] < row["mean_pooled"]["value"] < row["mean_pooled"]["high"]
    status, out, _ = look("mine", "conditioning=false")
    assert status == 0
    assert "mine: 60 images of 32x32 pixels" in out
    assert "nearest preset" in out
    assert "condition number" not in out


def test_conditioning_is_that_of_the_small_copies(photos):
    found = inspect_images(photos.train.images[:300], small=100, size=4)
    by_name = {row["scheme"]: row for row in inspect.conditioning(found)}
    assert list(by_name) == list(inspect.SCHEMES)
    for name, row in by_name.items():
        x = normlab.normalization(name).fit([found.small])(found.small).flatten(1).double().numpy()
        x = np.hstack([x, np.ones((100, 1))])
        eigenvalues = np.linalg.eigvalsh(x.T @ x / 100)
        assert row["lambda_max"] == pytest.approx(eigenvalues[-1], rel=1e-5)
        assert row["stable_rate"] == pytest.approx(2 / eigenvalues[-1], rel=1e-5)
        assert row["condition_number"] == pytest.approx(eigenvalues[-1] / eigenvalues[-row["rank"]], rel=1e-3)


def test_a_known_data_set_is_looked_at(look):
    status, out, _ = look("data=digits", "conditioning=false")
    assert status == 0
    assert out.startswith("digits: 1,295 images of 8x8 pixels")
    assert "a preset of three constants would make three channels" in out


def test_the_nearest_preset_and_whether_it_is_inside():
    generator = torch.Generator().manual_seed(0)
    constants = normlab.normalization("imagenet")
    noise = torch.randn(400, 3, 16, 16, generator=generator)
    scaled = noise * constants.std if hasattr(constants, "std") else noise / constants.scale / 255
    u = scaled - constants.shift / constants.scale / 255
    images = (u * 255).round().clamp(0, 255).byte()
    nearest = inspect.presets(inspect_images(images).intervals(300))[0]
    assert nearest["name"] == "imagenet"
    assert nearest["distance"] < 0.02
    far = inspect.presets(inspect_images(images // 2).intervals(300))[0]
    assert not far["inside"]


@pytest.mark.parametrize("channels", [1, 3])
def test_each_line_gives_the_tensor_of_normlab(photos, channels):
    images = photos.train.images[:50, :channels]
    found = inspect_images(images)
    norm = normlab.normalization("dataset").fit([images])
    lines = inspect.lines(*(value.tolist() for value in found.sums.statistics("pooled")))
    expected = norm(images[:1])[0]
    array = images[0].permute(1, 2, 0).numpy() if channels == 3 else images[0, 0].numpy()
    names = {"v2": v2, "torch": torch, "albumentations": albumentations, "normlab": normlab, "timm": timm}

    def evaluated(library):
        return eval(lines[library].replace("input_size=224", "input_size=32, crop_pct=1.0"), names)

    np.testing.assert_allclose(evaluated("torchvision")(array), expected, atol=1e-5)
    augmented = evaluated("albumentations")(image=array if channels == 3 else array[..., None])["image"]
    np.testing.assert_allclose(augmented.transpose(2, 0, 1), expected, atol=1e-5)
    np.testing.assert_allclose(evaluated("normlab")(images[:1])[0], expected, atol=1e-5)
    if channels == 3:
        np.testing.assert_allclose(evaluated("timm")(Image.fromarray(array)), expected, atol=1e-5)
        processor = transformers.ViTImageProcessor
        names["ViTImageProcessor"] = processor
        made = eval(lines["transformers"].replace("(", "(do_resize=False, ", 1), names)
        np.testing.assert_allclose(
            made(Image.fromarray(array), return_tensors="np")["pixel_values"][0], expected, atol=1e-5
        )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "one folder of images is wanted"),
        (("nowhere",), "nowhere: there is no such folder"),
        (("empty",), "empty: no images in it"),
        (("empty", "data=digits"), "one folder of images is wanted"),
        (("empty", "limt=3"), "limt: unknown key; did you mean limit?"),
        (("empty", "limit=0"), "limit=0"),
        (("data=digitz",), "did you mean digits?"),
    ],
)
def test_mistakes_are_named(look, here, arguments, message):
    (here / "empty").mkdir()
    status, out, err = look(*arguments)
    assert (status, out) == (2, "")
    assert message in err
    assert "Traceback" not in err


def test_a_broken_file_is_counted(look, folder, here):
    (here / "mine/a/0.png").write_bytes(b"\x89PNG broken")
    status, out, _ = look("mine", "conditioning=false")
    assert status == 0
    assert "59 images" in out
    assert "1 unreadable" in out
    assert "mine/a/0.png" in out
    assert sys.getsizeof(out) < 5000
