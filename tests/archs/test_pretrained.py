"""Networks with trained weights: what they expect, and what a run makes of it."""

import json
import logging

import pytest
import timm
import torch
import transformers
from PIL import Image
from torchvision.models import MobileNet_V3_Small_Weights, get_model, squeezenet1_0
from torchvision.models._api import WeightsEnum

from normlab.archs.pretrained import LITE0, Expectation, Weights, from_processor, pretrained, weights
from normlab.errors import ConfigError
from normlab.measurements.mismatch import fixed
from normlab.norms import normalization
from normlab.run import run
from normlab.training import load

HALF = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}


def test_an_expectation_is_compared_at_both_ends():
    own = Expectation((0.5,) * 3, (0.25,) * 3, 224, 224, "here")
    half = torch.full((3, 1, 1), 0.5, dtype=torch.float64)
    assert own.differs(half, half / 2) == 0
    assert own.differs(half, half) == pytest.approx(1)  # 2 against 1 at both ends
    unit = normalization("unit")
    assert own.differs(unit.mean, unit.std) == pytest.approx(2)  # -2 against 0 at black


@pytest.mark.parametrize(
    ("content", "mean", "std", "size", "resize"),
    [
        ({"image_mean": [0.5, 0.4, 0.3], "image_std": [0.2] * 3, "size": 384}, 0.5, 0.2, 384, 384),
        ({"image_mean": [0.5] * 3, "image_std": [0.5] * 3, "size": {"height": 224, "width": 224}}, 0.5, 0.5, 224, 224),
        (
            {"image_mean": [0.48] * 3, "image_std": [0.27] * 3, "size": {"shortest_edge": 256}, "crop_size": 224},
            0.48, 0.27, 224, 256,
        ),
        ({**HALF, "size": {"shortest_edge": 256}, "crop_size": 224, "do_center_crop": False}, 0.5, 0.5, 256, 256),
        ({**HALF, "size": {"shortest_edge": 256}, "crop_size": None}, 0.5, 0.5, 256, 256),
        ({**HALF, "size": None}, 0.5, 0.5, 224, 224),
        ({"image_mean": 0.5, "image_std": 0.25}, 0.5, 0.25, 224, 224),
        ({"image_mean": [127.5] * 3, "image_std": [127.5] * 3, "do_rescale": False}, 0.5, 0.5, 224, 224),
        ({"image_mean": [1.0] * 3, "image_std": [1.0] * 3, "rescale_factor": 1 / 127.5}, 0.5, 0.5, 224, 224),
        ({"do_normalize": False}, 0.0, 1.0, 224, 224),
    ],
)  # fmt: skip
def test_a_processors_file_is_read(tmp_path, content, mean, std, size, resize):
    path = tmp_path / "preprocessor_config.json"
    path.write_text(json.dumps(content))
    found = from_processor(path)
    assert found.mean[0] == pytest.approx(mean)
    assert found.std[0] == pytest.approx(std)
    assert (found.image_size, found.resize) == (size, resize)
    # And it is what that file's own library would do to a picture.
    if "crop_size" not in content and size == 224:
        processor = transformers.ViTImageProcessor(**{**content, "do_resize": False})
        picture = torch.randint(0, 256, (3, 224, 224), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
        made = processor(picture, return_tensors="pt", input_data_format="channels_first")["pixel_values"][0]
        own = normalization("imagenet", mean=list(found.mean), std=list(found.std))(picture[None])[0]
        torch.testing.assert_close(made.float(), own, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("kind", "size", "crop_pct", "resize"),
    [
        (transformers.ConvNextImageProcessor, 224, 0.875, 256),
        (transformers.ConvNextImageProcessor, 224, 0.9, 248),
        (transformers.ConvNextImageProcessor, 96, 1.0, 96),
        (transformers.ConvNextImageProcessor, 382, 0.95, 402),
        (transformers.ConvNextImageProcessor, 384, 0.95, 384),
        (transformers.PoolFormerImageProcessor, 224, 0.9, 248),
        (transformers.PoolFormerImageProcessor, 384, 0.9, 426),
        (transformers.LevitImageProcessor, 224, None, 256),
        (transformers.LevitImageProcessor, 96, None, 109),
    ],
)
def test_what_is_cropped_is_resized_to_more_as_by_transformers(tmp_path, kind, size, crop_pct, resize):
    keys = {"size": {"shortest_edge": size}, "image_mean": [0.4] * 3, "image_std": [0.2] * 3}
    if crop_pct:
        keys["crop_pct"] = crop_pct
    if kind is not transformers.ConvNextImageProcessor:
        keys["crop_size"] = {"height": size, "width": size}
    processor = kind(**keys)
    processor.save_pretrained(tmp_path)
    found = from_processor(tmp_path / "preprocessor_config.json")
    assert (found.image_size, found.resize) == (size, resize)
    # Of a picture whose sides are those before the cut already, so that only what is cut out is compared.
    picture = torch.randint(0, 256, (3, resize, resize), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    made = processor(picture, return_tensors="pt", input_data_format="channels_first")["pixel_values"][0]
    start = (resize - size) // 2
    own = normalization("imagenet", mean=list(found.mean), std=list(found.std))(picture[None])[0]
    own = own[:, start : start + size, start : start + size]
    torch.testing.assert_close(made.float(), own, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "more",
    [
        {"feature_extractor_type": "ConvNextFeatureExtractor", "crop_pct": 0.875},
        {"feature_extractor_type": "LevitFeatureExtractor", "crop_size": 224},
    ],
)
def test_the_old_form_of_a_file_is_read(tmp_path, more):
    content = {**HALF, "size": 224, **more}
    (tmp_path / "x.json").write_text(json.dumps(content))
    found = from_processor(tmp_path / "x.json")
    assert (found.image_size, found.resize) == (224, 256)


def test_a_file_without_numbers_is_refused(tmp_path):
    (tmp_path / "x.json").write_text("{}")
    with pytest.raises(ConfigError, match="has no image_mean"):
        from_processor(tmp_path / "x.json")
    with pytest.raises(ConfigError, match="nowhere"):
        from_processor(tmp_path / "nowhere.json")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], "expected keys and values"),
        (None, "expected keys and values"),
        ({**HALF, "image_mean": None}, "image_mean=None"),
        ({**HALF, "image_mean": [0.5]}, "image_mean=.0.5."),
        ({**HALF, "image_std": [0.5, 0.0, 0.5]}, "must be above 0"),
        ({**HALF, "rescale_factor": None}, "rescale_factor=None"),
        ({**HALF, "rescale_factor": 0}, "rescale_factor=0"),
        ({**HALF, "rescale_offset": True}, "rescale_offset=true"),
        ({**HALF, "include_top": True}, "include_top=true"),
        ({**HALF, "size": {"longest_edge": 224}}, "size=.*longest_edge"),
        ({**HALF, "size": {"height": 224, "width": 200}}, "expected the side of a square"),
        ({**HALF, "size": 224, "crop_size": 256}, "crop_size=256 is larger"),
        ({**HALF, "crop_pct": 0}, "crop_pct=0 is no share"),
        ({**HALF, "crop_pct": 1.5}, "crop_pct=1.5 is no share"),
        ({**HALF, "crop_pct": "0.9"}, "crop_pct=0.9 is no share"),
    ],
)
def test_a_file_that_tells_of_something_else_is_refused(tmp_path, content, message):
    path = tmp_path / "preprocessor_config.json"
    path.write_text(json.dumps(content))
    with pytest.raises(ConfigError, match=f"preprocessor_config.json: .*{message}"):
        from_processor(path)


def test_the_side_before_the_crop_is_rounded_down_as_by_timm(monkeypatch):
    made = timm.create_model("test_vit", pretrained=False)
    made.pretrained_cfg |= {"input_size": (3, 224, 224), "crop_pct": 0.9}
    monkeypatch.setattr(timm, "create_model", lambda *_, **__: made)
    assert weights("timm/test_vit").expectation.resize == 248
    theirs = timm.data.create_transform(224, crop_pct=0.9).transforms[0].size
    assert theirs == 248


def test_a_network_without_a_linear_layer_is_refused(monkeypatch):
    network = squeezenet1_0(weights=None)
    monkeypatch.setattr("normlab.archs.pretrained.weights", lambda model: Weights(network, 1000, LITE0))
    with pytest.raises(ConfigError, match="model=torchvision/squeezenet1_0: has no linear last layer"):
        pretrained((3, 64, 64), 5, model="torchvision/squeezenet1_0")


@pytest.fixture
def undownloaded(monkeypatch):
    """timm and torchvision with random weights where they would be downloaded."""
    create = timm.create_model
    monkeypatch.setattr(timm, "create_model", lambda name, pretrained: create(name, pretrained=False))

    def drawn(chosen, **_):
        options = {"init_weights": False} if type(chosen).__name__ in INCEPTIONS else {}  # theirs takes seconds
        builder = type(chosen).__name__.removesuffix("_Weights").lower()
        return get_model(builder, weights=None, **options).state_dict()

    monkeypatch.setattr(WeightsEnum, "get_state_dict", drawn)


INCEPTIONS = ("Inception_V3_Weights", "GoogLeNet_Weights")


def forward_and_backward(network, size):
    """Scores of two images in training, whose loss reaches every parameter."""
    assert all(module.training for module in network.modules())
    scores = network(torch.randn(2, 3, size, size))
    torch.nn.functional.cross_entropy(scores, torch.tensor([0, 4])).backward()
    assert all(parameter.grad is not None for parameter in network.parameters())
    return scores


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "size"),
    [
        ("timm/deit_tiny_distilled_patch16_224", 224),
        ("timm/crossvit_tiny_240", 240),
        ("timm/levit_128s", 224),
        ("timm/test_efficientnet", 64),
        ("torchvision/inception_v3", 96),
        ("torchvision/googlenet", 64),
        ("torchvision/mobilenet_v3_small", 32),
    ],
)
@pytest.mark.filterwarnings("ignore:auxiliary heads in the pretrained googlenet")
def test_every_head_gets_the_new_classes(undownloaded, model, size):
    torch.manual_seed(0)
    network = pretrained((3, size, size), 5, model=model)
    assert forward_and_backward(network, size).shape == (2, 5)
    heads = [m for m in network.modules() if isinstance(m, torch.nn.Linear) and m.out_features in (5, 1000)]
    assert {head.out_features for head in heads} == {5}
    assert not getattr(network, "distilled_training", False)
    with torch.no_grad():
        assert network.eval()(torch.randn(1, 3, size, size)).shape == (1, 5)


def test_a_network_of_torchvision_keeps_its_weights_and_says_what_it_expects(undownloaded, make, caplog):
    model, published = "torchvision/mobilenet_v3_small", MobileNet_V3_Small_Weights.DEFAULT
    torch.manual_seed(0)
    found = weights(model)
    torch.manual_seed(0)
    network = pretrained((3, 32, 32), 5, model=model)
    own, new = found.network.state_dict(), network.state_dict()
    different = {name for name in own if own[name].shape != new[name].shape or not torch.equal(own[name], new[name])}
    assert different == {"classifier.3.weight", "classifier.3.bias"}
    assert (found.classes, found.expectation.image_size, found.expectation.resize) == (1000, 224, 256)
    # What torchvision's own transforms make of a picture of that size, which they need not resize.
    picture = torch.randint(0, 256, (3, 256, 256), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    made = fixed(found)(picture[None, :, 16:-16, 16:-16])[0]
    torch.testing.assert_close(made, published.transforms()(picture), rtol=1e-5, atol=1e-5)

    options = {"data": "photos", "arch": "pretrained", "arch.model": model, "data.limit": 40, "data.batch_size": 20}
    with caplog.at_level(logging.WARNING):
        result = run(make(norm="imagenet", **options, **{"trainer.max_epochs": 1}))
    assert result["status"] == "finished"
    assert "trained with" not in caplog.text
    trained = load(f"{result['path']}/checkpoint.ckpt")
    assert trained.body.classifier[3].out_features == len(trained.classes)
    assert not torch.equal(trained.body.features[0][0].weight, network.features[0][0].weight)


@pytest.mark.parametrize("name", ["fcn_resnet50", "r3d_18", "fasterrcnn_resnet50_fpn", "no_such_net"])
def test_what_torchvision_has_besides_image_classifiers_is_refused(monkeypatch, name):
    monkeypatch.setattr(WeightsEnum, "get_state_dict", lambda *_, **__: pytest.fail("downloaded"))
    with pytest.raises(ConfigError, match=f"^model=torchvision/{name}: is none of the image classifiers of torchvis"):
        weights(f"torchvision/{name}")


def test_the_weights_are_those_of_the_package_and_the_last_layer_is_new():
    found = weights("efficientnet_lite0")
    assert found.expectation is LITE0
    torch.manual_seed(0)
    network = pretrained((3, 64, 64), 5).eval()
    torch.manual_seed(0)
    again = pretrained((3, 64, 64), 5).eval()
    own, new = found.network.state_dict(), network.state_dict()
    different = {name for name in own if own[name].shape != new[name].shape or not torch.equal(own[name], new[name])}
    assert different == {"_fc.weight", "_fc.bias"}
    x = torch.randn(2, 3, 64, 64)
    assert network(x).shape == (2, 5)
    torch.testing.assert_close(network(x), again(x))


@pytest.fixture
def saved(tmp_path):
    """A small classifier as Hugging Face keeps it, with a processor of its own."""
    torch.manual_seed(0)
    options = {"num_hidden_layers": 1, "hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 16}
    config = transformers.ViTConfig(image_size=32, patch_size=8, num_labels=7, **options)
    transformers.ViTForImageClassification(config).save_pretrained(tmp_path / "vit")
    processor = transformers.ViTImageProcessor(
        size={"height": 32, "width": 32}, image_mean=[0.1, 0.2, 0.3], image_std=[0.4, 0.5, 0.6]
    )
    processor.save_pretrained(tmp_path / "vit")
    return tmp_path / "vit"


def test_a_classifier_of_hugging_face_says_what_it_expects(saved):
    found = weights(f"huggingface/{saved}")
    assert found.expectation.mean == pytest.approx((0.1, 0.2, 0.3))
    assert found.expectation.std == pytest.approx((0.4, 0.5, 0.6))
    assert (found.classes, found.expectation.image_size) == (7, 32)
    pixels = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    own = found.network.eval()(fixed(found)(pixels))
    classify = transformers.pipeline("image-classification", model=str(saved), top_k=7, function_to_apply="softmax")
    picture = Image.fromarray(pixels[0].permute(1, 2, 0).numpy())
    theirs = {answer["label"]: answer["score"] for answer in classify(picture)}
    ours = {f"LABEL_{place}": share for place, share in enumerate(own[0].softmax(0).tolist())}
    assert ours == pytest.approx(theirs, abs=1e-5)
    assert pretrained((3, 32, 32), 5, model=f"huggingface/{saved}")(fixed(found)(pixels)).shape == (2, 5)


def test_a_second_head_that_cannot_be_replaced_is_named(saved):
    options = {"num_hidden_layers": 1, "hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 16}
    config = transformers.DeiTConfig(image_size=32, patch_size=8, num_labels=7, **options)
    transformers.DeiTForImageClassificationWithTeacher(config).save_pretrained(saved)
    assert weights(f"huggingface/{saved}").classes == 7
    with pytest.raises(
        ConfigError, match=r"model=huggingface/.*: its head cannot be replaced: .*size of tensor"
    ) as error:
        pretrained((3, 32, 32), 5, model=f"huggingface/{saved}")
    assert len(str(error.value).splitlines()) == 1


def test_a_folder_without_a_processor_is_refused(saved):
    (saved / "preprocessor_config.json").unlink()
    with pytest.raises(ConfigError, match=r"model=huggingface/.*preprocessor_config"):
        weights(f"huggingface/{saved}")


@pytest.mark.parametrize("name", ["efficientnet_b9", "keras/resnet50", "timm/no_such_net", "timm", "huggingface/"])
def test_unknown_networks_are_refused(name):
    with pytest.raises(ConfigError, match="model="):
        weights(name)


def test_greyscale_is_refused():
    with pytest.raises(ConfigError, match="take 3 channels, not 1"):
        pretrained((1, 32, 32), 5)


@pytest.mark.slow
def test_a_run_says_when_the_normalization_is_another(make, caplog):
    options = {"data": "photos", "arch": "pretrained", "data.limit": 40, "data.batch_size": 20, "trainer.max_epochs": 1}
    told = {}
    for norm in ("unit", "inception", "per_image"):
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            assert run(make(norm=norm, **options))["status"] == "finished"
        told[norm] = caplog.text
    assert (
        "norm=unit is not the normalization that the weights were trained with: mean 0.498 and std 0.502"
        in told["unit"]
    )
    assert "this run has mean 0.000 and std 1.000 in the first channel" in told["unit"]
    assert "norm=per_image is not the normalization that the weights were trained with" in told["per_image"]
    assert "this run has a normalization that is not a fixed scale" in told["per_image"]
    assert "trained with" not in told["inception"]  # (x - 127.5)/127.5, almost its own
