"""Two networks, three input ranges and a training loop, in bare PyTorch."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from replication.images import Images, Split

Scheme = Literal["raw", "unit", "dataset"]


class Recipe(NamedTuple):
    """How one run is trained."""

    network: str = "cnn"  # or allconv
    batch_norm: bool = False
    init: str = "he"  # or torch
    optimizer: str = "sgd"  # with momentum 0.9; or adam
    rate: float = 0.03
    schedule: str = "cosine"  # to zero; or constant
    warmup: int = 0  # epochs, linear
    epochs: int = 10
    weight_decay: float = 0.0
    augment: bool = False  # crops behind 4 black pixels of padding, and flips
    batch: int = 128


def scale_and_shift(scheme: Scheme, pixels: Tensor) -> tuple[Tensor, Tensor]:
    """Scale a and shift b of the network's input a x + b, each float32 [C, 1, 1], for pixels x in 0..255.

    ``dataset`` subtracts the mean and divides by the standard deviation of each channel over all training pixels.
    """
    channels = pixels.shape[1]
    if scheme == "raw":
        scale, shift = torch.ones(channels), torch.zeros(channels)
    elif scheme == "unit":
        scale, shift = torch.full((channels,), 1 / 255), torch.zeros(channels)
    else:
        values = pixels.transpose(0, 1).flatten(1).double()
        scale = 1 / values.std(1, correction=0)
        shift = -values.mean(1) * scale
    return scale.float().reshape(-1, 1, 1), shift.float().reshape(-1, 1, 1)


def build(recipe: Recipe, channels: int, classes: int) -> nn.Sequential:
    """A small convolutional network.

    ``cnn`` has three of 3x3 convolution, ReLU and 2x2 maximum; ``allconv`` six 3x3 convolutions with ReLU, the first
    of each pair with stride 2. Both end with the mean over pixels and a linear layer. Batch normalization, if any,
    follows each convolution; in ``allconv`` it takes the place of the bias.
    """
    plan = [(16, 1), (32, 1), (64, 1)]
    if recipe.network == "allconv":
        plan = [(32, 2), (32, 1), (64, 2), (64, 1), (128, 2), (128, 1)]
    layers: list[nn.Module] = []
    for width, stride in plan:
        bias = not (recipe.batch_norm and recipe.network == "allconv")
        layers.append(nn.Conv2d(channels, width, 3, stride, padding=1, bias=bias))
        layers += [nn.BatchNorm2d(width)] if recipe.batch_norm else []
        layers.append(nn.ReLU())
        layers += [nn.MaxPool2d(2)] if recipe.network == "cnn" else []
        channels = width
    network = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes))
    if recipe.init == "he":
        for layer in network:
            if isinstance(layer, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)
    return network


def factor(recipe: Recipe, step: int, per_epoch: int) -> float:
    """Of the rate at a step, counted from 0: a linear warm-up, then constant or half a cosine to zero."""
    warmup = recipe.warmup * per_epoch
    if step < warmup:
        return (step + 1) / warmup
    if recipe.schedule == "constant":
        return 1.0
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, recipe.epochs * per_epoch - warmup)))


def crop_and_flip(pixels: Tensor, generator: torch.Generator) -> Tensor:
    """Each image behind 4 black pixels of padding, cut at a random place, and mirrored half of the time."""
    height, width = pixels.shape[2:]
    windows = F.pad(pixels, (4, 4, 4, 4)).unfold(2, height, 1).unfold(3, width, 1)
    top, left = torch.randint(9, (2, len(pixels)), generator=generator)
    cut = windows[torch.arange(len(pixels)), :, top, left]
    mirrored = torch.rand(len(pixels), 1, 1, 1, generator=generator) < 0.5
    return torch.where(mirrored, cut.flip(3), cut)


def accuracy(network: nn.Module, scale: Tensor, shift: Tensor, images: Images) -> float:
    """Share of the images whose class has the highest score."""
    network.eval()
    with torch.no_grad():
        scores = torch.cat([network(pixels * scale + shift) for pixels in images.pixels.split(1000)])
    return (scores.argmax(1) == images.labels).double().mean().item()


def train(recipe: Recipe, scheme: Scheme, parts: Split, seed: int) -> dict[str, float | bool]:
    """Validation and test accuracy after the last epoch.

    The seed decides the initial weights, the order of images and their crops, so that two schemes with one seed
    differ in nothing else. A run whose loss stops being finite ends there: diverged, with the accuracy of a guess.
    """
    torch.manual_seed(seed)
    classes = int(parts.test.labels.max()) + 1
    network = build(recipe, parts.train.pixels.shape[1], classes).to(memory_format=torch.channels_last)
    scale, shift = scale_and_shift(scheme, parts.train.pixels)
    if recipe.optimizer == "adam":
        optimizer: torch.optim.Optimizer = torch.optim.Adam(network.parameters(), weight_decay=recipe.weight_decay)
    else:
        optimizer = torch.optim.SGD(network.parameters(), momentum=0.9, weight_decay=recipe.weight_decay)
    generator = torch.Generator().manual_seed(seed)
    per_epoch = len(parts.train.labels) // recipe.batch
    for step in range(recipe.epochs * per_epoch):
        if step % per_epoch == 0:
            order = torch.randperm(len(parts.train.labels), generator=generator)
        position = step % per_epoch * recipe.batch
        pixels, labels = parts.train.take(order[position : position + recipe.batch])
        if recipe.augment:
            pixels = crop_and_flip(pixels, generator)
        inputs = (pixels * scale + shift).contiguous(memory_format=torch.channels_last)
        for group in optimizer.param_groups:
            group["lr"] = recipe.rate * factor(recipe, step, per_epoch)
        network.train()
        loss = F.cross_entropy(network(inputs), labels)
        if not loss.isfinite():
            return {"validation": 1 / classes, "test": 1 / classes, "diverged": True}
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    judged = {name: accuracy(network, scale, shift, getattr(parts, name)) for name in ("validation", "test")}
    return {**judged, "diverged": False}
