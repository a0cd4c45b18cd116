"""Labelled images from folders, or from scikit-learn, and their splits."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor


class Images(NamedTuple):
    """uint8 [N, C, H, W] and int64 [N]."""

    pixels: Tensor
    labels: Tensor

    def take(self, index: Tensor) -> Images:
        """The images at these positions, int64 [M]."""
        return Images(self.pixels[index], self.labels[index])


class Split(NamedTuple):
    """What one seed trains on, chooses with, and is judged by."""

    train: Images
    validation: Images
    test: Images


def read(folder: Path) -> tuple[Images, Images]:
    """Training and test images of ``folder/train/CLASS/IMAGE`` and ``folder/test/CLASS/IMAGE``, of one size."""
    from torchvision.datasets import ImageFolder

    parts = []
    for name in ("train", "test"):
        files = ImageFolder(str(folder / name))
        pixels = np.stack([np.asarray(image) for image, _ in files])
        parts.append(Images(torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous(), torch.tensor(files.targets)))
    return parts[0], parts[1]


def digits() -> tuple[Images, Images]:
    """scikit-learn's 1,797 digits of 8x8 pixels, scaled from 0..16 to 0..255; every third is a test image."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    pixels = torch.from_numpy(np.round(bunch.images * (255 / 16)).astype(np.uint8))[:, None]
    labels = torch.from_numpy(bunch.target).long()
    test = torch.arange(len(labels)) % 3 == 0
    return Images(pixels[~test], labels[~test]), Images(pixels[test], labels[test])


def split(train: Images, test: Images, seed: int, size: int | None = None) -> Split:
    """A random tenth of ``size`` training images for validation, the rest for training; all test images.

    Args:
        train: all training images.
        test: all test images.
        seed: of the draw; each seed has its own split.
        size: images drawn before the division; None takes all.
    """
    order = torch.randperm(len(train.labels), generator=torch.Generator().manual_seed(seed))[:size]
    cut = len(order) // 10
    return Split(train.take(order[cut:]), train.take(order[:cut]), test)
