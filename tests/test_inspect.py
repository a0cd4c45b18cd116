"""The command for one's own images, and the lines that it gives."""

import json
import os
import re
import subprocess
import sys
from types import SimpleNamespace

import albumentations
import numpy as np
import pytest
import timm.data
import torch
import transformers
from PIL import Image
from torchvision.transforms import v2

import normlab.inspect
from normlab import dataset
from normlab.data.images import resize
from normlab.inspection import advice
from normlab.inspection.images import inspect_files, inspect_images
from normlab.inspection.report import report


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
    assert "mine: 60 images of 32x32 pixels\n" in out
    assert "drawn at random from" not in out
    assert "nearest preset" in out
    assert "condition number" not in out


def test_conditioning_is_that_of_the_small_copies(photos):
    found = inspect_images(photos.train.images[:300], small=100, size=4)
    by_name = {row["scheme"]: row for row in advice.conditioning(found)}
    assert list(by_name) == list(advice.SCHEMES)
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
    assert "a preset of three constants would repeat that channel" in out


@pytest.mark.parametrize("where", [["mine"], ["data=digits"], ["data=folder", "data.root=mine"]])
def test_a_limit_is_a_sample_of_any_images(look, folder, where):
    status, out, _ = look(*where, "limit=20", "conditioning=false", "resamples=10", "--json")
    assert status == 0
    found = json.loads(out)
    assert found["images"] == found["sample"]["drawn"] == 20
    total = {"mine": 60, "data=digits": 1295, "data=folder": 44}[where[0]]
    assert found["sample"]["of"] == total
    _, out, _ = look(*where, "limit=20", "conditioning=false", "resamples=10")
    assert ": 20 images of " in out
    assert f"a sample: 20 drawn at random from {total:,}\n" in out


def test_a_folder_is_seen_as_a_run_sees_it_in_memory_or_not(look, folder):
    Image.new("L", (50, 40), 99).save("mine/a/large.png")
    arguments = ["data=folder", "data.root=mine", "data.image_size=12", "data.limit=20", "conditioning=false", "--json"]
    (status, out, _), streamed = look(*arguments), look(*arguments, "data.memory_gb=1e-9")
    assert (status, out) == streamed[:2]
    found = json.loads(out)
    expected = inspect_images(dataset("folder", root="mine", image_size=12, limit=20).train.images)
    assert found["sizes"] == [[12, 12, 20]]
    mean, std = (value.tolist() for value in expected.sums.statistics("pooled"))
    assert [row["mean_pooled"]["value"] for row in found["channels"]] == pytest.approx(mean, rel=1e-12)
    assert [row["std_pooled"]["value"] for row in found["channels"]] == pytest.approx(std, rel=1e-12)


def test_images_in_memory_are_resized_as_a_run_does(look):
    status, out, _ = look("data=digits", "data.image_size=4", "conditioning=false", "resamples=10")
    assert status == 0
    assert out.startswith("digits: 1,295 images of 4x4 pixels")


def test_too_few_images_are_said_to_be_known_to_what_they_are(look):
    _, out, _ = look("data=digits", "limit=60", "conditioning=false", "--json")
    found = json.loads(out)
    needed = found["images_for_1_percent"]
    assert found["means_known_to"] == pytest.approx(0.01 * (needed / 60) ** 0.5, rel=3e-3)  # needed is rounded up
    _, out, _ = look("data=digits", "limit=60", "conditioning=false")
    assert f"{needed:,} images drawn at random give the means to 1% in 95% of draws; you have 60, " in out
    assert f"which give the means to {100 * found['means_known_to']:.1f}%\n" in out
    _, out, _ = look("data=digits", "conditioning=false", "resamples=10")
    assert "give the means to 1% in 95% of draws\n" in out


def test_one_image_has_no_interval(look):
    status, out, _ = look("data=digits", "limit=1", "resamples=10", "conditioning=false", "--json")
    assert status == 0
    assert "NaN" not in out
    found = json.loads(out)
    assert found["channels"][0]["mean_pooled"]["low"] is found["channels"][0]["std_per_image"]["high"] is None
    assert found["presets"][0]["inside"] is found["images_for_1_percent"] is found["means_known_to"] is None
    _, out, _ = look("data=digits", "limit=1", "conditioning=false")
    assert "digits: 1 image of 8x8 pixels\n" in out
    assert "; no interval from one image\n" in out
    assert "the intervals" not in out
    assert ", 0." not in out.split("nearest preset")[0]


def noise_like(name, images=400, channels=3):
    """Noise with the constants of a preset: uint8 [N, C, 16, 16]."""
    constants = normlab.normalization(name)
    u = torch.randn(images, 3, 16, 16, generator=torch.Generator().manual_seed(0)) / constants.scale / 255
    u = u - constants.shift / constants.scale / 255
    return (u * 255).round().clamp(0, 255).byte()[:, :channels]


def test_a_preset_that_cannot_be_told_apart_is_not_called_as_good():
    def told(images):
        found = inspect_images(images)
        intervals = found.intervals(10)
        rows = advice.presets(intervals)
        wide = {
            key: tuple(torch.stack([v[0], v[0] - 1, v[0] + 1]) for v in values) for key, values in intervals.items()
        }
        return rows[0]["name"], " ".join(advice.advice(found, wide))

    name, text = told(noise_like("imagenet", 30))
    assert f"These 30 images cannot tell {name} from their own statistics." in text
    assert "as good as" not in text
    _, text = told(noise_like("imagenet", 29))
    assert "cannot tell" not in text


def test_both_means_are_printed_where_sizes_differ(look, here):
    for side, level in ((10, 255), (30, 51)):
        Image.fromarray(np.full((side, side), level, np.uint8)).save(here / f"{side}.png")
    _, out, _ = look(".", "conditioning=false", "resamples=10")
    [row] = [line for line in out.splitlines() if line.startswith("grey")]
    assert "mean of all pixels" in out
    assert [cell.split(" [")[0].split()[-1] for cell in row.split("]")[:2]] == ["0.2800", "0.6000"]
    _, out, _ = look("data=digits", "conditioning=false", "resamples=10")
    assert "mean of images' means" not in out


def test_few_images_are_not_said_to_lie_within_or_outside(look):
    assert "the intervals" in look("data=digits", "limit=30", "conditioning=false")[1]
    assert "the intervals" not in look("data=digits", "limit=29", "conditioning=false")[1]


def test_one_channel_is_compared_with_all_three_constants():
    images = noise_like("imagenet", channels=1)
    row = next(row for row in advice.presets(inspect_images(images).intervals(300)) if row["name"] == "imagenet")
    assert not row["inside"]
    mean, std = (value.item() for value in inspect_images(images).sums.statistics("pooled"))
    constants = normlab.config.defaults("norm", "imagenet")
    away = (mean - np.array(constants["mean"])) ** 2 + (std - np.array(constants["std"])) ** 2
    assert row["distance"] == pytest.approx(np.sqrt(away.mean()), rel=1e-6)


def test_grayscale_images_of_three_channels_keep_them():
    grey = noise_like("imagenet", 40, 1)
    one, three = (inspect_images(images) for images in (grey, grey.repeat(1, 3, 1, 1)))
    told, other = (
        " ".join(report(found, 40, with_conditioning=False, resamples=10)["advice"]) for found in (one, three)
    )
    assert "would repeat that channel" in told
    assert "would repeat that channel" not in other
    assert report(one, 40, with_conditioning=False, resamples=10)["lines"]["normlab"].count(",") == 2
    assert report(three, 40, with_conditioning=False, resamples=10)["lines"]["normlab"].count(",") == 6


def test_the_nearest_preset_and_whether_it_is_inside():
    images = noise_like("imagenet")
    nearest = advice.presets(inspect_images(images).intervals(300))[0]
    assert nearest["name"] == "imagenet"
    assert nearest["distance"] < 0.02
    far = advice.presets(inspect_images(images // 2).intervals(300))[0]
    assert not far["inside"]


class Raster:
    """What rasterio.open gives: arrays [C, H, W]."""

    def __init__(self, array):
        self.array = array

    def read(self):
        return self.array


def normalize_intensity(subtrahend, divisor, channel_wise):
    """MONAI's NormalizeIntensity with given constants, as its documentation states it."""
    assert channel_wise
    columns = [np.array(values, np.float32)[:, None, None] for values in (subtrahend, divisor)]
    return lambda array: (array.astype(np.float32) - columns[0]) / columns[1]


def pasted(lines, library, array=None):
    """The line as it is printed, executed."""
    try:
        import monai
    except ImportError:
        monai = SimpleNamespace(transforms=SimpleNamespace(NormalizeIntensity=normalize_intensity))
    names = {"v2": v2, "torch": torch, "albumentations": albumentations, "normlab": normlab, "timm": timm}
    names |= {"monai": monai, "numpy": np, "dataset": Raster(array)}
    return eval(lines[library], names | {"ViTImageProcessor": transformers.ViTImageProcessor})


def given(lines, picture):
    """What each line makes of a picture: [C, H, W]."""
    array = np.array(picture)
    with_channels = array[..., None] if array.ndim == 2 else array
    uint8 = torch.from_numpy(with_channels).permute(2, 0, 1)[None]
    return {
        "torchvision": pasted(lines, "torchvision")(picture),
        "albumentations": pasted(lines, "albumentations")(image=with_channels)["image"].transpose(2, 0, 1),
        "timm": pasted(lines, "timm")(picture),
        "transformers": pasted(lines, "transformers")(picture, return_tensors="np")["pixel_values"][0],
        "monai": pasted(lines, "monai")(uint8[0].numpy()),
        "rasterio": pasted(lines, "rasterio", uint8[0].numpy()),
        "normlab": pasted(lines, "normlab")(uint8)[0],
    }


@pytest.mark.parametrize("channels", [1, 3])
def test_each_line_gives_the_tensor_of_normlab(photos, channels):
    images = resize(photos.train.images[:20, :channels], 224)
    found = inspect_images(images)
    norm = normlab.normalization("dataset").fit([images])
    lines = advice.lines(*(value.tolist() for value in found.sums.statistics("pooled")))
    array = images[0].permute(1, 2, 0).numpy()
    made = given(lines, Image.fromarray(array if channels == 3 else array[..., 0]))
    assert set(made) == set(lines)
    for library, tensor in made.items():
        np.testing.assert_allclose(tensor, norm(images[:1])[0], atol=1e-5, err_msg=library)


@pytest.mark.parametrize("mode", ["P", "RGBA", "L", "LA", "CMYK", "1"])
def test_files_opened_as_the_note_says_are_those_that_were_measured(photos, here, mode):
    """The mean and the deviation of what a line gives are 0 and 1 on the file that they were taken from."""
    picture = Image.fromarray(resize(photos.train.images[:1], 224)[0].permute(1, 2, 0).numpy())
    picture.putalpha(Image.linear_gradient("L").resize((224, 224)))
    suffix = "tiff" if mode == "CMYK" else "png"
    picture.convert("RGB" if mode in ("P", "CMYK", "1") else mode).convert(mode).save(here / f"one.{suffix}")
    found = inspect_files([here / f"one.{suffix}"])
    mean, std = (value.tolist() for value in found.sums.statistics("pooled"))
    [opened] = re.findall(r"Image\.open\(path\)\.convert\(.*?\)", " ".join(advice.lines_notes(found, std)))
    picture = eval(opened, {"Image": Image, "path": here / f"one.{suffix}"})
    for library, tensor in given(advice.lines(mean, std), picture).items():
        tensor = torch.as_tensor(tensor, dtype=torch.float64).flatten(1)
        assert tensor.mean(1).abs().max() < 1e-4, library
        assert (tensor.std(1, correction=0) - 1).abs().max() < 1e-4, library


def test_what_to_know_of_the_lines_stands_above_them(look, here):
    for i in range(3):
        Image.fromarray(np.full((4, 4, 3), (40 * i, 50 * i, 7), np.uint8)).save(here / f"{i}.png")
    _, out, _ = look(".", "conditioning=false", "resamples=10")
    before = out.split("  torchvision")[0]
    assert "all pixels (pooled)" in before
    assert 'Open every file by Image.open(path).convert("RGB")' in before
    assert "A deviation of 0 is written as 1.0, because it is a divisor (blue)." in before
    _, out, _ = look("data=digits", "conditioning=false", "resamples=10")
    assert 'Open every file by Image.open(path).convert("L")' in out
    assert "is written as 1.0" not in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "name one folder of images: python -m normlab.inspect FOLDER"),
        (("nowhere",), "nowhere: there is no such folder"),
        (("empty",), "empty: no images in it"),
        (("empty", "data=digits"), "name one folder of images"),
        (("empty", "limt=3"), "limt: unknown key; did you mean limit?"),
        (("empty", "limit=0"), "limit=0"),
        (("data=digitz",), "did you mean digits?"),
        (("empty", "limit=["), "limit=[: not a value"),
        (("data=digits", "limit=["), "limit=[: not a value"),
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
    assert "2 classes: a 29, b 30\n" in out
    assert "1 unreadable" in out
    assert "1 file or folder cannot be read: data.on_corrupt=skip leaves it out" in out
    assert "mine/a/0.png" in out
    assert sys.getsizeof(out) < 5000


def test_folders_that_cannot_be_read_are_counted(look, folder, monkeypatch):
    real = os.scandir

    def scandir(path):
        if str(path).endswith(("mine/a", "sealed")):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    status, out, _ = look("mine", "conditioning=false", "resamples=10")
    assert status == 0
    assert "30 images" in out
    assert "1 unreadable" in out
    assert "mine/a: a folder that cannot be read (Permission denied)" in out
    os.mkdir("sealed")
    status, _, err = look("sealed")
    assert status == 2
    assert "sealed: a folder that cannot be read" in err


def test_linked_folders_count(look, folder, here):
    (here / "other").mkdir()
    (here / "other/link").symlink_to(here / "mine/a")
    status, out, _ = look("other", "conditioning=false", "resamples=10")
    assert status == 0
    assert "other: 30 images" in out


def test_no_readable_small_copy(look, folder, here):
    first = np.random.default_rng(0).permutation(60)[0]
    sorted((here / "mine").glob("[ab]/*.png"))[first].write_bytes(b"broken")
    status, out, _ = look("mine", "small=1", "resamples=10")
    assert status == 0
    assert "No linear model: none of the images drawn for it can be read" in out
    status, out, _ = look("mine", "resamples=10")
    assert "The linear model has 3,072 inputs and 59 images: its rank and condition number grow" in out


def test_a_linear_model_that_cannot_be_computed_takes_no_statistics_away(look, here, monkeypatch):
    """13 bands at 32 pixels have more features than a dense matrix; too many of such images are told, not refused."""
    for i in range(4):
        np.save(here / f"{i}.npy", np.random.default_rng(i).integers(0, 2000, (13, 40, 40)).astype(np.uint16))
    status, out, _ = look(".", "resamples=10", "--json")
    assert status == 0
    found = json.loads(out)
    assert (found["bands"], len(found["conditioning"])) == (13, len(advice.SCHEMES) - 1)
    monkeypatch.setattr("normlab.theory.spectrum.MAX_FEATURES", 3)
    status, out, _ = look(".", "resamples=10", "--json")
    assert status == 0
    assert json.loads(out)["channels"] == found["channels"]
    assert json.loads(out)["conditioning"] == []
    assert "No linear model: 13312 features: a dense Hessian would take 1 GiB" in " ".join(json.loads(out)["advice"])


def test_images_of_different_sizes_are_in_plain_words(look, here):
    for i, size in enumerate([(30, 20)] * 3 + [(8, 8), (9, 9)]):
        Image.new("RGB", size, (i, 20 * i, 99)).save(here / f"{i}.png")
    _, out, _ = look(".", "conditioning=false", "resamples=10")
    assert out.startswith(".: 5 images, 3 of 30x20 pixels, the rest of 2 other sizes\n")


def test_a_reader_may_leave_early():
    process = subprocess.Popen(
        [sys.executable, "-m", "normlab.inspect", "--help"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    process.stdout.close()
    assert process.stderr.read() == ""
    process.stderr.close()
    assert process.wait() == 0


def test_series_are_sent_to_the_command_that_takes_them(here, capsys):
    np.save("s.npy", np.zeros((4, 1, 5)))
    with pytest.raises(SystemExit):
        normlab.inspect.main(["s.npy"])
    assert "a file; inspect describes a folder" in capsys.readouterr().err
    rows = "".join(f"{series},{step},{series % 2},{series + step}\n" for series in range(4) for step in range(5))
    (here / "long.csv").write_text("id,time,label,a\n" + rows)
    normlab.inspect.main(["long.csv"])
    assert "if a row is a step of a series, these are series" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        normlab.inspect.main(["data=series", "data.root=long.csv"])
    assert "python -m normlab.choose data=series" in capsys.readouterr().err
