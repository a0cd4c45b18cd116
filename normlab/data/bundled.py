"""Data sets that ship with the dependencies: nothing to download."""

from __future__ import annotations

import importlib.util
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from normlab.config import PositiveInt
from normlab.data.splits import Part, Source
from normlab.errors import DataError

# Photographs and micrographs inside the wheels of scikit-learn and scikit-image, one class each.
PHOTOGRAPHS = {
    "astronaut": ("skimage", "data/astronaut.png"),
    "cat": ("skimage", "data/chelsea.png"),
    "coffee": ("skimage", "data/coffee.png"),
    "flower": ("sklearn", "datasets/images/flower.jpg"),
    "galaxies": ("skimage", "data/hubble_deep_field.jpg"),
    "motorcycle": ("skimage", "data/motorcycle_left.png"),
    "retina": ("skimage", "data/retina.jpg"),
    "rocket": ("skimage", "data/rocket.jpg"),
    "temple": ("sklearn", "datasets/images/china.jpg"),
    "tissue": ("skimage", "data/ihc.png"),
}


def digits() -> Source:
    """Handwritten digits of scikit-learn: 1,797 grayscale images of 8x8 pixels in 10 classes.

    Alpaydin & Kaynak 1998, "Optical recognition of handwritten digits", UCI. Their values 0..16 are scaled to 0..255.
    """
    return _digits()


@lru_cache(maxsize=1)  # as of the photographs below
def _digits() -> Source:
    rows = np.loadtxt(_inside("digits", "sklearn", "datasets/data/digits.csv.gz"), delimiter=",")
    images = torch.from_numpy(np.rint(rows[:, :-1].reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8))[:, None]
    return Source(tuple(map(str, range(10))), Part(images, torch.from_numpy(rows[:, -1].astype(np.int64))))


def photos(*, patch: PositiveInt = 32, per_class: PositiveInt = 600) -> Source:
    """Color patches of ten photographs; the class is the photograph that a patch comes from.

    Each photograph is resized to 384 pixels on its shorter side and cut into square cells twice as wide as a patch.
    Three fifths of the cells serve training, one fifth validation, one fifth test, so that no pixel is in two splits;
    the patches of one cell overlap each other.

    Args:
        patch: side of a patch in pixels.
        per_class: training patches of each class; validation and test have a third of this number each.

    Raises:
        DataError: if a photograph is missing from the installed wheels, or too small for such patches.
    """
    return _photos(patch, per_class)


@lru_cache(maxsize=1)  # every job of a sweep asks for it, to know the identity of its run; nothing changes the tensors
def _photos(patch: int, per_class: int) -> Source:
    cells: dict[str, list[Tensor]] = {"train": [], "validation": [], "test": []}
    labels: dict[str, list[int]] = {"train": [], "validation": [], "test": []}
    for label, name in enumerate(PHOTOGRAPHS):
        generator = torch.Generator().manual_seed(label)
        image = _photograph(name)
        squares = image.unfold(1, 2 * patch, 2 * patch).unfold(2, 2 * patch, 2 * patch)  # [3, R, C, 2p, 2p]
        squares = squares.flatten(1, 2).transpose(0, 1)
        if len(squares) < 5:
            raise DataError(f"data.patch={patch}: the photographs hold only {len(squares)} cells of {2 * patch} pixels")
        order = torch.randperm(len(squares), generator=generator)
        fifth = len(squares) // 5
        groups = {"test": order[:fifth], "validation": order[fifth : 2 * fifth], "train": order[2 * fifth :]}
        for split, chosen in groups.items():
            count = per_class if split == "train" else max(1, per_class // 3)
            most = len(chosen) * (patch + 1) ** 2
            if count > most:
                limit = most if split == "train" else 3 * most
                raise DataError(f"data.per_class={per_class}: the photograph {name} has patches for {limit} at most")
            patches = _patches(squares[chosen], patch, count, generator)
            cells[split].append(patches)
            labels[split] += [label] * len(patches)
    parts = {split: Part(torch.cat(cells[split]), torch.tensor(labels[split])) for split in cells}
    return Source(tuple(PHOTOGRAPHS), parts["train"], parts["validation"], parts["test"])


def _patches(cells: Tensor, side: int, count: int, generator: torch.Generator) -> Tensor:
    """``count`` distinct patches, uint8 [count, 3, side, side], at random places of cells [K, 3, 2 side, 2 side]."""
    places = (side + 1) ** 2
    chosen = torch.randperm(len(cells) * places, generator=generator)[:count]
    cell, place = chosen // places, chosen % places
    top, left = place // (side + 1), place % (side + 1)
    rows = top[:, None] + torch.arange(side)
    columns = left[:, None] + torch.arange(side)
    return cells[cell[:, None, None], :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2).contiguous()


def _photograph(name: str, shorter_side: int = 384) -> Tensor:
    with Image.open(_inside("photos", *PHOTOGRAPHS[name])) as opened:
        picture = opened.convert("RGB")
    scale = shorter_side / min(picture.size)
    size = (round(picture.width * scale), round(picture.height * scale))
    return torch.from_numpy(np.array(picture.resize(size, Image.Resampling.BILINEAR))).permute(2, 0, 1)


def _inside(name: str, package: str, path: str) -> Path:
    """A file inside an installed package, which is not imported: that would take a second.

    Args:
        name: of the data, for the message.
        package: that has the file.
        path: of the file in it.

    Raises:
        DataError: if the package or the file is missing.
    """
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise DataError(f"data={name} needs the package {package}: install normlab again")
    file = Path(spec.submodule_search_locations[0]) / path
    if not file.is_file():
        raise DataError(f"data={name}: {package} no longer contains {path}; use other data, and report this as a bug")
    return file
