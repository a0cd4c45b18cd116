"""Pixels that a mask leaves out: in no statistics, 0 after every scheme, and without influence on a run."""

import numpy as np
import pandas as pd
import pytest
import tifffile
import torch
from PIL import Image

import normlab
from normlab import conditioning
from normlab.config import choices, choose
from normlab.data import dataset, open_source
from normlab.errors import CheckpointError, ConfigError, DataError
from normlab.norms import Masked, build_scheme, normalization
from normlab.pictures import Reading, read_picture, resized
from normlab.run import run

SIDE, PER_CLASS = 12, 12
OF_PIXELS = ["raw", "unit", "imagenet", "dataset", "dataset_mean", "dataset_all", "robust", "min_max_dataset"]
OF_PIXELS += ["max_abs", "percentile", "quantile", "power", "learned"]
OF_SAMPLES = ["per_image", "per_image_channel", "min_max", "min_max_channel", "normalizer", "rms"]
REFUSED = ["zca", "pca", "feature", "mean_image", "adaptive", "per_region"]


def disc(generator):
    """True inside of a disc at a random place."""
    y, x = np.mgrid[:SIDE, :SIDE]
    return (y - generator.uniform(3, 9)) ** 2 + (x - generator.uniform(3, 9)) ** 2 < 16


def write(root, kind, under=0, bands=3):
    """Two classes of images, each with a disc that counts; `under` is what lies in the pixels that do not."""
    generator = np.random.default_rng(5)
    top = 255 if kind == "alpha" else 60000
    stored = []
    for place in range(2 * PER_CLASS):
        name = "ab"[place % 2]
        inside = disc(generator)
        pixels = generator.integers(20, top - 10, (SIDE, SIDE, bands)) // (1 + place % 2)
        pixels = np.where(inside[..., None], pixels, under)
        folder = root / "images" / name
        folder.mkdir(parents=True, exist_ok=True)
        if kind == "alpha":
            both = np.dstack([pixels, inside * 255]).astype(np.uint8)
            Image.fromarray(both).save(folder / f"{place}.png")
        else:
            pixels = pixels.astype(np.float32 if kind == "nan" else np.uint16)
            if kind == "nan":
                pixels[~inside] = np.nan
            tifffile.imwrite(folder / f"{place}.tif", pixels, photometric="rgb")
        if kind == "folder":
            masks = root / "masks" / name
            masks.mkdir(parents=True, exist_ok=True)
            Image.fromarray(inside).save(masks / f"{place}.png")
        stored.append((pixels, inside))
    return root / "images", stored


MASKS = {"alpha": "alpha", "nodata": "nodata=0", "nan": "nodata=nan", "folder": "{root}/masks"}
RANGES = {"alpha": 255, "nodata": 65535, "nan": 1, "folder": 65535}


def opened(tmp_path, kind, **options):
    root, stored = write(tmp_path, kind)
    return dataset("folder", root=root, mask=MASKS[kind].format(root=tmp_path), **options), stored


def rows(images):
    """The pixels that count, [P, C], in units of x."""
    return np.moveaxis(images, 1, -1)[~np.isnan(images[:, 0])].astype(np.float64)


@pytest.mark.parametrize("kind", MASKS)
def test_images_hold_nan_where_a_pixel_does_not_count(tmp_path, kind):
    data, stored = opened(tmp_path, kind)
    assert data.masked
    assert data.input_type == torch.float32
    assert (data.black, data.white) == (0, RANGES[kind])
    found = torch.cat([part.images for part in data.splits.values()]).numpy()
    expected = {
        np.where(inside[..., None], x, np.nan).astype(np.float32).transpose(2, 0, 1).tobytes() for x, inside in stored
    }
    assert {image.tobytes() for image in found} == expected
    share = 1 - np.mean([inside for _, inside in stored])
    assert f"{len(stored)} images: pixels left out by data.mask, {share:.1%} of all pixels" in data.notes


@pytest.mark.slow
@pytest.mark.parametrize("kind", MASKS)
@pytest.mark.parametrize("workers", [0, 1])
def test_streaming_gives_the_same_images_and_statistics(tmp_path, kind, workers):
    if workers and kind != "folder":
        pytest.skip("one kind is enough with a process")
    whole, _ = opened(tmp_path, kind, image_size=8)
    root = tmp_path / "images"
    mask = MASKS[kind].format(root=tmp_path)
    stream = dataset("folder", root=root, mask=mask, image_size=8, stream=True, workers=workers)
    assert (stream.black, stream.white, stream.notes) == (whole.black, whole.white, whole.notes)
    assert torch.equal(stream.train.images.nan_to_num(-1), whole.train.images.nan_to_num(-1))
    one, other = (scheme("dataset", data) for data in (whole, stream))
    assert torch.equal(one.scheme.mean, other.scheme.mean)


def scheme(name, data, **options):
    norm = build_scheme(choose("norm", name, **options), data.front, data.masked).set_range(data.black, data.white)
    return norm.double().fit(data.training_inputs(7))


def test_every_scheme_is_tested_here():
    tried = {*OF_PIXELS, *OF_SAMPLES, *REFUSED}
    kinds = {type(normalization(name)).__name__: normalization(name).looks_at for name in tried}
    others = [name for name in choices("norm") if name not in tried]
    assert {type(normalization(name)).__name__ for name in others} <= {
        *kinds,
        "RevIN",
        "Difference",
    }  # the last two are for series


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["alpha", "nodata", "nan"])
@pytest.mark.parametrize("name", OF_PIXELS)
def test_schemes_of_pixels_do_to_those_that_count_what_they_do_without_others(tmp_path, kind, name):
    """The scheme by itself, fitted on a table of the pixels that count, is the independent way."""
    data, _ = opened(tmp_path, kind)
    norm = scheme(name, data)
    inside = torch.from_numpy(rows(data.train.images.numpy())).float()[:, :, None, None]
    alone = normalization(name).set_range(data.black, data.white).double().fit([inside])
    images = data.test.images
    counts = ~images.isnan()[:, 0]
    output = norm(images)
    assert (output.movedim(1, -1)[~counts] == 0).all()
    pixels = torch.from_numpy(rows(images.numpy())).float()[:, :, None, None]
    torch.testing.assert_close(output.movedim(1, -1)[counts], alone(pixels).flatten(1), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("kind", ["alpha", "nodata", "nan"])
def test_statistics_are_those_of_numpy_over_the_pixels_that_count(tmp_path, kind):
    data, _ = opened(tmp_path, kind)
    u = rows(data.train.images.numpy()) / RANGES[kind]
    dataset_ = scheme("dataset", data).scheme
    np.testing.assert_allclose(dataset_.mean.flatten(), u.mean(0), rtol=1e-11)
    np.testing.assert_allclose(dataset_.std.flatten(), u.std(0), rtol=1e-11)
    robust = scheme("robust", data).scheme
    np.testing.assert_allclose(robust.mean.flatten(), np.median(u, 0), rtol=1e-11)
    low_to_high = np.subtract(*np.percentile(u, (75, 25), axis=0))
    np.testing.assert_allclose(robust.std.flatten(), low_to_high, rtol=1e-11)
    limits = scheme("percentile", data).scheme.limits.reshape(2, -1)
    np.testing.assert_allclose(limits, np.percentile(u, (0.5, 99.5), axis=0), rtol=1e-11)


@pytest.mark.parametrize("name", OF_SAMPLES)
def test_schemes_of_one_image_take_its_own_pixels(tmp_path, name):
    data, _ = opened(tmp_path, "nodata")
    output = scheme(name, data)(data.test.images).numpy()
    over = (0,) if name.endswith("_channel") else (0, 1)
    for image, found in zip(data.test.images.numpy(), output, strict=True):
        x = rows(image[None]) / 65535
        expected = {
            "per_image": lambda x: (x - x.mean(over)) / (x.std(over) + 1e-6),
            "min_max": lambda x: (x - x.min(over)) / (np.ptp(x, over) + 1e-6),
            "normalizer": lambda x: x / np.sqrt((x**2).sum()),
            "rms": lambda x: x / np.sqrt((x**2).mean()) * 0.1,
        }[name.removesuffix("_channel")](x)
        counts = ~np.isnan(image[0])
        np.testing.assert_allclose(np.moveaxis(found, 0, -1)[counts], expected, rtol=1e-9, atol=1e-12)
        assert not found[:, ~counts].any()


@pytest.mark.parametrize("name", REFUSED)
def test_schemes_of_whole_images_are_refused_in_one_line(name):
    with pytest.raises(ConfigError, match=f"norm={name} with data.mask: .* use a scheme of channels") as caught:
        build_scheme(choose("norm", name), None, masked=True)
    assert len(str(caught.value).splitlines()) == 1
    with pytest.raises(ConfigError, match=r"data\.mask"):
        build_scheme(choose("norm", "dataset", estimator="per_image"), None, masked=True)


def test_a_scheme_without_the_mask_refuses_the_images(tmp_path):
    data, _ = opened(tmp_path, "alpha")
    with pytest.raises(DataError, match="is nan: statistics need finite values"):
        normalization("dataset").fit(data.training_inputs())
    norm = Masked(normalization("dataset")).set_range(data.black, data.white).fit(data.training_inputs())
    assert norm(data.train.images).isfinite().all()


def trained(make, root, mask, **changes):
    options = {"data": "folder", "data.root": str(root), "data.mask": mask, "norm": "dataset", "arch": "mlp"}
    return run(make(**options | {"data.batch_size": 8, "arch.width": 8} | changes))


@pytest.mark.slow
@pytest.mark.parametrize("norm", ["dataset", "percentile", "per_image"])
def test_what_lies_under_a_mask_changes_nothing_in_a_run(make, tmp_path, norm):
    """Two folders that differ only there: the same losses and answers. Without the mask they differ."""
    results = {}
    for name, under in (("zero", 0), ("much", 51234)):
        root, _ = write(tmp_path / name, "folder", under=under)
        results[name] = trained(make, root, str(tmp_path / name / "masks"), norm=norm, runs=tmp_path / name / "runs")
        results[name, "whole"] = trained(make, root, None, norm=norm, runs=tmp_path / name / "runs")
    kept = ("test_loss", "test_accuracy", "validation_loss")
    one, other = (
        {key: value for key, value in results[name]["metrics"].items() if key in kept} for name in ("zero", "much")
    )
    assert one
    assert one == other
    assert results["zero"]["normalized"] == results["much"]["normalized"]
    whole = results["zero", "whole"]["metrics"], results["much", "whole"]["metrics"]
    assert whole[0]["test_loss"] != whole[1]["test_loss"]


def test_the_record_names_the_mask_and_its_content_is_part_of_the_data(make, tmp_path):
    root, _ = write(tmp_path, "folder")
    first = trained(make, root, str(tmp_path / "masks"))
    assert first["config"]["data"]["mask"].endswith("masks")
    contents = {"folder": open_source(choose("data", "folder", root=root, mask=str(tmp_path / "masks"))).content}
    for mask in (None, "alpha", "nodata=0", "nodata=1"):
        contents[mask] = open_source(choose("data", "folder", root=root, mask=mask)).content
    assert len({*contents.values()}) == 5
    moved = tmp_path / "moved"
    (tmp_path / "masks").rename(moved)
    assert open_source(choose("data", "folder", root=root, mask=str(moved))).content == contents["folder"]
    Image.fromarray(np.eye(SIDE) > 0).save(moved / "a" / "0.png")
    assert open_source(choose("data", "folder", root=root, mask=str(moved))).content != contents["folder"]


@pytest.mark.slow
def test_a_checkpoint_and_an_exported_file_take_images_with_gaps(make, tmp_path):
    root, _ = write(tmp_path, "nan")
    path = trained(make, root, "nodata=nan")["path"] + "/checkpoint.ckpt"
    network = normlab.load(path)
    images = dataset("folder", root=root, mask="nodata=nan").test.images
    scores = network(images)
    assert scores.isfinite().all()
    normlab.export(path, tmp_path / "network.pt2")
    file = normlab.load(tmp_path / "network.pt2")
    torch.testing.assert_close(file(images), scores.detach(), rtol=1e-5, atol=1e-5)
    assert file.metadata["input"]["left_out"] == "NaN"
    assert file.metadata["normalization"] == "TrainingSet"
    path = trained(make, root, "nodata=nan", norm="per_image")["path"] + "/checkpoint.ckpt"
    assert normlab.load(path)(images).isfinite().all()
    with pytest.raises(CheckpointError, match="cannot be exported: its normalization gathers the pixels"):
        normlab.export(path, tmp_path / "network.pt2")


def test_conditioning_is_that_of_the_images_with_zeros(here, tmp_path, capsys):
    root, _ = write(tmp_path, "alpha")
    conditioning.main(["data=folder", f"data.root={root}", "data.mask=alpha", "norms=dataset,zca"])
    text = capsys.readouterr().out
    assert "zca: norm=zca with data.mask" in text
    data = dataset("folder", root=root, mask="alpha")
    images = data.train.images.double().numpy()
    x = rows(images)
    z = np.nan_to_num((images - x.mean(0)[:, None, None]) / x.std(0)[:, None, None]).reshape(len(images), -1)
    z = np.column_stack([z, np.ones(len(z))])
    largest = np.linalg.eigvalsh(z.T @ z / len(z))[-1]
    table = pd.read_csv(next(here.rglob("conditioning.csv")))
    assert table.lambda_max[0] == pytest.approx(largest, rel=1e-9)


def test_a_value_for_no_data_does_not_leak_when_images_are_resized(tmp_path):
    """A constant scene stays constant, whatever lies outside of it."""
    inside = np.zeros((40, 40), bool)
    inside[7:30, 5:33] = True
    for dtype, value, gap in (
        ("f4", 3.5, -9999),
        ("f4", 3.5, np.nan),
        ("u2", 1234, 65535),
        ("u1", 77, 255),
        ("i2", -5, 0),
    ):
        path = tmp_path / "x.npy"
        np.save(path, np.where(inside, value, gap).astype(dtype))
        small = resized(read_picture(path, Reading(mask=f"nodata={gap}")), 16)
        assert small.mask is not None
        assert 0 < small.mask.sum() < 256
        np.testing.assert_allclose(small.array[0][small.mask], value, rtol=1e-6)


@pytest.mark.slow
def test_a_mask_that_leaves_nothing_is_named_or_skipped(tmp_path):
    root, _ = write(tmp_path, "folder")
    Image.fromarray(np.zeros((SIDE, SIDE), bool)).save(tmp_path / "masks" / "a" / "0.png")
    mask = str(tmp_path / "masks")
    for stream in (False, True):
        with pytest.raises(DataError, match=r"a/0\.tif: its mask leaves out every pixel"):
            list(dataset("folder", root=root, mask=mask, image_size=8, stream=stream, test=0.1).train.batches(99))
        kept = dataset("folder", root=root, mask=mask, image_size=8, stream=stream, on_corrupt="skip")
        assert sum(map(len, kept.splits.values())) == 2 * PER_CLASS - 1
    (tmp_path / "other").mkdir()
    with pytest.raises(DataError, match=r"a/0\.tif: no mask 0 in"):
        dataset("folder", root=root, mask=str(tmp_path / "other"))


def test_what_changes_values_of_8_bits_is_refused(make, tmp_path):
    root, _ = write(tmp_path, "alpha")
    with pytest.raises(
        ConfigError, match=r"augment\.brightness: for images of 8 bits; these are float32, by data\.mask"
    ):
        trained(make, root, "alpha", **{"augment.brightness": 0.2})
    trained(make, root, "alpha", **{"augment.flip": True, "augment.crop_padding": 2})


def test_the_command_takes_a_value_with_an_equals_sign(call, tmp_path):
    root, _ = write(tmp_path, "nodata")
    command = ["data=folder", f"data.root={root}", "data.mask=nodata=0", "data.batch_size=8", "arch=mlp", "logger=none"]
    status, out, err = call("+norm=dataset", *command, "trainer.max_epochs=1")
    assert status == 0, err
    assert "pixels left out by data.mask" in out + err
    status, _, err = call("+norm=zca", *command)
    assert status == 2
    assert "norm=zca with data.mask: its statistics need whole images" in err
    assert "Traceback" not in err
