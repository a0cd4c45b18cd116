"""Random changes to a batch of images, each image its own, computed on the batch's device.

Crops and flips move pixels, of any type. What computes with their values is for uint8, where black is 0 and white 255.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from normlab.config import Augment as Options


class Augment:
    """Random crop, resized crop, flip, brightness and contrast, in this order; output has the input's shape and type.

    Args:
        options: the changes; all are off by default.
        seed: of the random draws, which :meth:`start_epoch` makes different in each epoch.
        padding: the value x of the pixels that a random crop adds: black, or NaN where a mask leaves pixels out, so
            that those count as little.
    """

    def __init__(self, options: Options, seed: int = 0, padding: float = 0.0) -> None:
        self.options, self.seed, self.padding = options, seed, padding
        self._generator: torch.Generator | None = None
        self.start_epoch(0)

    def start_epoch(self, epoch: int, rank: int = 0) -> None:
        """Begin the draws of an epoch; the same seed, epoch and process rank give the same draws."""
        self._state = (self.seed * 1_000_003 + epoch) * 1_009 + rank + 1
        self._generator = None

    def __call__(self, images: Tensor) -> Tensor:
        """[B, C, H, W] to the same type and shape: uint8, or for crops with padding and flips any type of inputs."""
        options = self.options
        if not options.changes_images:
            return images
        if self._generator is None or self._generator.device != images.device:
            self._generator = torch.Generator(images.device).manual_seed(self._state)
        if options.crop_padding:
            images = random_crop(images, options.crop_padding, self._generator, self.padding)
        if options.resized_crop:
            images = random_resized_crop(images, options.resized_crop, self._generator)
        if options.flip:
            flipped = self._uniform(images) < 0.5
            images = torch.where(flipped, images.flip(3), images)
        if options.brightness:
            images = adjust_brightness(images, 1 + options.brightness * (2 * self._uniform(images) - 1))
        if options.contrast:
            images = adjust_contrast(images, 1 + options.contrast * (2 * self._uniform(images) - 1))
        return images

    def _uniform(self, images: Tensor) -> Tensor:
        return torch.rand(len(images), 1, 1, 1, generator=self._generator, device=images.device)


def random_crop(images: Tensor, padding: int, generator: torch.Generator, value: float = 0.0) -> Tensor:
    """Pad each side with black, then cut out the original size at a random place (He et al. 2016, section 4.2).

    Args:
        images: [B, C, H, W] of any type of inputs.
        padding: pixels.
        generator: of the places, on the device of the images.
        value: of the padding, in the units of the images: their black; of integers a whole number.
    """
    batch, _, height, width = images.shape
    padded = F.pad(images, (padding,) * 4, value=value if images.is_floating_point() else int(value))
    offsets = torch.randint(2 * padding + 1, (2, batch, 1), generator=generator, device=images.device)
    rows = offsets[0] + torch.arange(height, device=images.device)  # [B, H]
    columns = offsets[1] + torch.arange(width, device=images.device)  # [B, W]
    image = torch.arange(batch, device=images.device)[:, None, None]
    return padded[image, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2).contiguous()


def random_resized_crop(images: Tensor, area: tuple[float, float], generator: torch.Generator) -> Tensor:
    """Cut out a random share of the area at an aspect ratio of 3/4 to 4/3, resized to the original size.

    Szegedy et al. 2015, "Going deeper with convolutions", section 6; the ratio is drawn log-uniformly, as in
    torchvision. A side that would exceed the image is shortened to the image's side. Bilinear, without a filter against
    aliasing, because a crop is never larger than the image and so is never shrunk.

    Args:
        images: uint8 [B, C, H, W].
        area: smallest and largest share of the area.
        generator: of the draws, on the device of the images.
    """
    batch, _, height, width = images.shape
    draw = torch.rand(4, batch, generator=generator, device=images.device)
    share = area[0] + (area[1] - area[0]) * draw[0]
    ratio = torch.exp((2 * draw[1] - 1) * math.log(4 / 3))
    # In grid_sample's coordinates the image is the square from -1 to 1.
    half_width = (share * ratio * height / width).sqrt().clamp(max=1)
    half_height = (share / ratio * width / height).sqrt().clamp(max=1)
    center_x = (2 * draw[2] - 1) * (1 - half_width)
    center_y = (2 * draw[3] - 1) * (1 - half_height)
    zero = torch.zeros_like(share)
    theta = torch.stack(
        [torch.stack([half_width, zero, center_x], 1), torch.stack([zero, half_height, center_y], 1)], 1
    )
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    sampled = F.grid_sample(images.float(), grid, mode="bilinear", padding_mode="border", align_corners=False)
    return sampled.round_().clamp_(0, 255).to(torch.uint8)


def adjust_brightness(images: Tensor, factor: Tensor) -> Tensor:
    """Multiply by the factor and cut off at 255, as torchvision.transforms.v2.functional.adjust_brightness.

    Args:
        images: uint8 [B, C, H, W].
        factor: [B, 1, 1, 1], 0 or more.
    """
    return images.float().mul(factor).clamp_(0, 255).to(torch.uint8)


def adjust_contrast(images: Tensor, factor: Tensor) -> Tensor:
    """Blend with the image's mean gray, as torchvision.transforms.v2.functional.adjust_contrast.

    Gray is 0.2989 R + 0.587 G + 0.114 B (ITU-R BT.601), rounded down before the mean is taken.

    Args:
        images: uint8 [B, C, H, W].
        factor: [B, 1, 1, 1]; 0 gives plain gray, 1 the image.
    """
    x = images.float()
    if images.shape[1] == 3:
        weights = torch.tensor([0.2989, 0.587, 0.114], device=images.device).reshape(3, 1, 1)
        gray = (x * weights).sum(1, keepdim=True).floor()
    else:
        gray = x
    mean = gray.mean((1, 2, 3), keepdim=True)
    return x.mul(factor).add_(mean * (1 - factor)).clamp_(0, 255).to(torch.uint8)
