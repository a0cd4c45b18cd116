"""Exported networks, read back by other programs."""

import copy
import json

import numpy as np
import pytest
import torch

import normlab
from normlab.archs import Network
from normlab.archs.folding import Folded, folded
from normlab.archs.layers import first_layer
from normlab.data import load
from normlab.errors import CheckpointError, ConfigError, DataError
from normlab.run import run

FOLDS = ["unit", "raw", "imagenet", "dataset", "dataset_mean", "inception", "learned"]


def fitted(make, **changes):
    config = make(data="photos", **{"data.limit": 60}, **changes)
    data = load(config.data)
    torch.manual_seed(0)
    norm = config.norm.build().fit(data.training_images())
    if config.norm.name == "learned":
        norm.mu.data += 0.3
        norm.log_sigma.data -= 1.2
    network = Network(norm, config.arch, data.shape, data.classes).eval()
    for parameter in network.body.parameters():  # biases start at 0
        parameter.data += 0.05 * torch.randn_like(parameter)
    return network, data.test.images


@pytest.mark.slow
@pytest.mark.parametrize("norm", FOLDS)
@pytest.mark.parametrize(
    "arch",
    [
        {"arch": "linear", "arch.init": "he"},
        {"arch": "mlp", "arch.width": 16},
        {"arch": "cnn"},
        {"arch": "cnn", "arch.padding": "reflect", "arch.internal_norm": "batch"},
        {"arch": "resnet"},
        {"arch": "allconv"},
        {"arch": "allconv", "arch.padding": "reflect"},  # the first layer has no bias before it is folded
        {"arch": "vit", "arch.depth": 1},
    ],
)
def test_a_folded_network_is_the_same_function(make, norm, arch):
    network, images = fitted(make, norm=norm, **arch)
    before = copy.deepcopy(network.state_dict())
    result, what = folded(network)
    assert isinstance(result, Folded), what
    assert "folded into the weights" in what
    zeros = arch["arch"] in ("cnn", "resnet", "allconv") and arch.get("arch.padding") != "reflect"
    padded = zeros and norm not in ("unit", "raw")
    assert (result.mean is not None) == padded
    with torch.no_grad():
        # In float64, so that nothing but the folded weights' own rounding is left.
        expected, found = copy.deepcopy(network).double()(images), copy.deepcopy(result).double()(images)
    np.testing.assert_allclose(found, expected, atol=1e-5 * expected.abs().max().item())
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())
    if norm != "raw":
        assert not torch.equal(first_layer(network.body).weight, first_layer(result.body).weight)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"norm": "per_image"}, "OneSample is not a fixed scale and shift"),
        ({"norm": "zca", "norm.eps": 1e-3}, "is not a fixed scale and shift"),
        ({"norm": "feature"}, "its scale differs from pixel to pixel"),
    ],
)
def test_what_cannot_be_folded_is_kept(make, changes, reason):
    if changes["norm"] == "zca":
        changes = {**changes, "data.image_size": 4, "arch": "linear"}
    network, _ = fitted(make, **changes)
    result, what = folded(network)
    assert result is network
    assert reason in what


@pytest.mark.parametrize("norm", ["feature", "mean_image"])
def test_a_scale_for_each_pixel_folds_into_a_linear_layer(make, norm):
    network, images = fitted(make, norm=norm, arch="mlp", **{"arch.width": 16})
    result, _ = folded(network)
    assert isinstance(result, Folded)
    with torch.no_grad():
        np.testing.assert_allclose(result(images), network(images), atol=1e-4)


@pytest.mark.parametrize("arch", ["cnn", "vit"])
def test_a_mean_image_before_a_convolution_is_subtracted(make, arch):
    network, images = fitted(make, norm="mean_image", arch=arch)
    result, what = folded(network)
    assert isinstance(result, Folded)
    assert what.endswith("except the mean, which is subtracted: it differs from pixel to pixel")
    with torch.no_grad():
        np.testing.assert_allclose(result(images), network(images), atol=1e-4)
    assert not torch.equal(first_layer(network.body).weight, first_layer(result.body).weight)


class Twice(torch.nn.Module):
    """Scores from a convolution, and from the images themselves."""

    def __init__(self, body):
        super().__init__()
        self.body = body

    def forward(self, x):
        return self.body(x) + x.mean((1, 2, 3))[:, None]


@pytest.mark.parametrize("norm", ["unit", "inception"])
def test_a_network_that_uses_the_images_twice_is_kept(make, norm):
    network, _ = fitted(make, norm=norm, arch="cnn", **{"arch.padding": "reflect"})
    network.body = Twice(network.body)
    result, what = folded(network)
    assert result is network
    assert what == "kept as a layer: in the first layer's weights it would change the scores"


def test_a_convolution_that_pads_in_its_own_way_keeps_the_mean_as_a_subtraction(make):
    network, images = fitted(make, norm="imagenet", arch="pretrained")  # EfficientNet-Lite0
    images = images[:8]
    result, what = folded(network)
    why = "except the mean, which is subtracted: in the weights it would change the scores"
    assert what == f"folded into the weights of the first layer, {why}"
    torch.testing.assert_close(result.mean, 255 * network.norm.mean.float())
    with torch.no_grad():
        expected, found = copy.deepcopy(network).double()(images), copy.deepcopy(result).double()(images)
    np.testing.assert_allclose(found, expected, atol=1e-5 * expected.abs().max().item())
    assert not torch.equal(first_layer(network.body).weight, first_layer(result.body).weight)


def test_a_repeated_gray_channel_is_kept(make):
    config = make(norm="imagenet")
    data = load(config.data)
    network = Network(config.norm.build(), config.arch, data.shape, data.classes).eval()
    assert "repeats the gray channel" in folded(network)[1]


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {"norm": "imagenet"},
        {"norm": "per_image"},
        {"norm": "dataset", "arch": "vit"},
        {"norm": "inception", "arch": "pretrained"},
    ],
)
def test_another_program_gives_the_same_scores(here, make, changes):
    import onnxruntime

    result = run(make(data="photos", **{"data.limit": 60, "data.batch_size": 30, "trainer.max_epochs": 1}, **changes))
    path = f"{result['path']}/checkpoint.ckpt"
    images = normlab.dataset("photos", limit=37).test.images  # another batch size than the one it was traced with
    with torch.no_grad():
        expected = normlab.load(path)(images)
    for out in (here / "model.onnx", here / "model.pt2"):
        what = normlab.export(path, out)
        assert ("folded" in what) == (changes["norm"] != "per_image")
        if out.suffix == ".pt2":
            found = torch.export.load(out).module()(images).detach()
        else:
            session = onnxruntime.InferenceSession(str(out), providers=["CPUExecutionProvider"])
            found = session.run(None, {"images": images.numpy()})[0]
        np.testing.assert_allclose(found, expected, atol=1e-5 * max(1, expected.abs().max().item()))


def test_mistakes_are_named(here, make):
    with pytest.raises(ConfigError, match=r"expected a name that ends in \.onnx or \.pt2"):
        normlab.export("x.ckpt", here / "model.tflite")
    with pytest.raises(CheckpointError, match="no such checkpoint"):
        normlab.export("x.ckpt", here / "model.onnx")
    (here / "folder.pt2").mkdir()
    for name, message in (
        ("nodir/model.pt2", "nodir/model.pt2: cannot be written"),
        ("nodir/model.onnx", "nodir/model.onnx: cannot be written"),
        ("folder.pt2", "folder.pt2: this is a folder"),
    ):
        with pytest.raises(ConfigError, match=message):
            normlab.export("x.ckpt", name)  # before the checkpoint is read
    assert [path.name for path in here.iterdir()] == ["folder.pt2"]


@pytest.fixture
def checkpoint(here, make):
    """Of a short run, made by ``checkpoint(norm)``."""
    options = {"data": "photos", "data.limit": 60, "data.batch_size": 30, "trainer.max_epochs": 1}
    return lambda norm: f"{run(make(norm=norm, **options))['path']}/checkpoint.ckpt"


def test_a_failed_export_leaves_what_was_there(here, checkpoint, monkeypatch):
    path = checkpoint("unit")
    monkeypatch.setenv("HOME", str(here))
    normlab.export(path, "~/model.pt2")
    assert (here / "model.pt2").stat().st_size > 1000
    (here / "model.pt2").write_bytes(b"good")  # no export of this checkpoint could be taken for it
    monkeypatch.setattr("normlab.training.export.TOLERANCE", -1.0)
    with pytest.raises(CheckpointError, match="its scores differ"):
        normlab.export(path, here / "model.pt2")
    assert (here / "model.pt2").read_bytes() == b"good"
    assert not list(here.glob(".export-*"))


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["onnx", "pt2"])
def test_what_torch_cannot_export_ends_in_one_line(here, checkpoint, suffix):
    with pytest.raises(CheckpointError, match=rf"model.{suffix}: cannot be exported: Constraints violated") as caught:
        normlab.export(checkpoint("adaptive"), here / f"model.{suffix}")
    assert len(str(caught.value).splitlines()) == 1
    assert not list(here.glob("model*"))


@pytest.mark.slow
def test_an_export_prints_nothing(here, checkpoint, capsys):
    path = checkpoint("unit")
    capsys.readouterr()
    normlab.export(path, here / "model.onnx")
    assert capsys.readouterr().out == ""


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".pt2", ".onnx"])
def test_an_export_carries_what_a_program_has_to_know(here, make, suffix):
    if suffix == ".onnx":
        pytest.importorskip("onnxscript"), pytest.importorskip("onnxruntime")
    options = {"data.limit": 60, "data.image_size": 8, "arch": "linear", "trainer.max_epochs": 1, "data.batch_size": 20}
    folder = run(make(data="photos", norm="dataset", **options))["path"]
    network = normlab.load(f"{folder}/checkpoint.ckpt")
    normlab.export(f"{folder}/checkpoint.ckpt", f"net{suffix}")
    loaded = normlab.load(f"net{suffix}")
    about = loaded.metadata
    assert about["classes"] == list(loaded.classes) == list(network.classes)
    assert about["input"] == {"shape": [3, 8, 8], "type": "uint8", "black": 0.0, "white": 255.0}
    assert about["resize"].startswith("shorter side to 8 pixels")
    np.testing.assert_allclose(about["mean"], network.norm.mean.flatten())
    np.testing.assert_allclose(about["std"], network.norm.std.flatten())
    images = torch.randint(0, 256, (5, 3, 8, 8), dtype=torch.uint8)
    with torch.no_grad():
        np.testing.assert_allclose(loaded(images), network(images), atol=1e-4)
    with pytest.raises(DataError, match=r"takes uint8 \[B, 3, 8, 8\], given float32 \[5, 3, 8, 8\]"):
        loaded(images.float())
    if suffix == ".pt2":
        assert json.loads((here / "net.json").read_text()) == about
    else:
        import onnx

        properties = {entry.key: entry.value for entry in onnx.load("net.onnx").metadata_props}
        assert json.loads(properties["mean"]) == about["mean"]
        assert json.loads(properties["classes"]) == about["classes"]


def test_files_that_are_no_exports_are_named(here):
    with pytest.raises(CheckpointError, match=r"net\.pt2: no such file"):
        normlab.load("net.pt2")
    for name in ("net.pt2", "net.onnx"):
        (here / name).write_bytes(b"no network")
        with pytest.raises(CheckpointError, match=f"{name}: not readable as an exported network"):
            normlab.load(name)


@pytest.mark.parametrize("norm", ["dataset", "per_image", "raw"])
def test_checkpoints_from_before_the_range_are_read(here, checkpoint, norm):
    """The names of classes then, no range, no type of inputs: the same scores on 8 bits."""
    path = here / "old.ckpt"
    saved = torch.load(checkpoint(norm))
    now = normlab.load(checkpoint(norm))
    about = saved["normlab"]
    del about["input_type"]
    old = {"dataset": "ChannelStatistics", "per_image": "PerImage", "raw": "Fixed"}
    about["norm"]["_target_"] = f"normlab.norms.{old[norm]}"
    if norm == "raw":
        about["norm"] |= {"mean": 0.0, "std": 1 / 255}
    saved["state_dict"] = {k: v for k, v in saved["state_dict"].items() if not k.endswith(("norm.black", "norm.white"))}
    torch.save(saved, path)
    images = torch.randint(0, 256, (5, *now.input_shape), dtype=torch.uint8)
    torch.testing.assert_close(normlab.load(path)(images), now(images))
