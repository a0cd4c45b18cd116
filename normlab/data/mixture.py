"""Two or more data sets as one: images of different domains, which only the classes distinguish."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from normlab.config import Place, PositiveInt, choices
from normlab.data.splits import Part, Source
from normlab.errors import ConfigError, DataError
from normlab.inputs import evenly_spaced, range_of_type


def mixture(
    *,
    parts: Annotated[list[Annotated[str, Place()]], Field(min_length=2)],
    size: PositiveInt = 32,
    per_part: PositiveInt = 5000,
) -> Source:
    """The classes of all parts side by side, as color images of one size.

    Grayscale images repeat their channel. Every part keeps its own splits, and all parts give the same
    number of images: that of the smallest part.

    Args:
        parts: data sets by name; a folder of images by its path with a slash in it, such as ``flowers/``.
        size: pixels of a side; see ``data.image_size``.
        per_part: largest number of images of a part in each split.

    Raises:
        ConfigError: for a name that is not a data set, or cannot be part of a mixture.
        DataError: if its images are missing or are not grayscale or color.
    """
    from normlab.data import dataset  # here, because the choice of a source imports this module

    loaded = []
    for name in parts:
        if "/" not in name and name not in set(choices("data")) - {"mixture", "folder"}:
            raise ConfigError(f"data.parts: {name}: no such data set; a folder is written with a slash, as {name}/")
        options = {"root": name} if "/" in name else {}
        loaded.append(dataset("folder" if options else name, image_size=size, limit=per_part, **options))
    ranges = {(part.input_type, part.black, part.white) for part in loaded}
    if len(ranges) > 1:
        listed = ", ".join(
            f"{name}: {part.black:g} to {part.white:g}" for name, part in zip(parts, loaded, strict=True)
        )
        raise DataError(f"data.parts: one mixture needs one type and range of values, not {listed}")
    splits: dict[str, Part] = {}
    for split in ("train", "validation", "test"):
        fewest = min(len(part.splits[split]) for part in loaded)
        pictures, labels, offset = [], [], 0
        for name, part in zip(parts, loaded, strict=True):
            images, label = next(iter(part.splits[split].batches(len(part.splits[split]))))
            evenly = evenly_spaced(len(images), fewest)
            pictures.append(_repeat_channel(images, name)[evenly])
            labels.append(label[evenly] + offset)
            offset += len(part.classes)
        splits[split] = Part(torch.cat(pictures), torch.cat(labels))
    pairs = zip(parts, loaded, strict=True)
    classes = tuple(f"{name.rstrip('/')}: {label}" for name, part in pairs for label in part.classes)
    ((dtype, *ends),) = ranges
    black, white = (None, None) if tuple(ends) == range_of_type(dtype) else ends
    return Source(classes, splits["train"], splits["validation"], splits["test"], black=black, white=white)


def _repeat_channel(images: Tensor, name: str) -> Tensor:
    channels = images.shape[1]
    if channels not in (1, 3):
        raise DataError(f"data.parts: {name} has images of {channels} channels, a mixture takes 1 or 3")
    return images if channels == 3 else images.repeat(1, 3, 1, 1)
