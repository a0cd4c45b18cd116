"""The training images for a measurement, and the exact sums of their pixels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from normlab.config import Data, choose, data_label
from normlab.data import Files, Source, cache
from normlab.data.images import Format, read, resize
from normlab.data.tokens import Texts
from normlab.errors import DataError
from normlab.inputs import draw_positions
from normlab.norms.moments import image_sums
from normlab.statistics.channels import ImageSums


def training_images(data: dict[str, Any], crop: int | None = None) -> Iterator[Tensor]:
    """All training images of a source, none held back for validation: uint8 [B, C, H, W], one by one from files.

    Args:
        data: options of a data source, as for :func:`normlab.dataset`. Of these, ``image_size`` resizes the shorter
            side and cuts out the center, and ``limit`` is the number of images that are drawn at random by
            ``split_seed``. Without ``image_size``, files may differ in size. Files become RGB.
        crop: side in pixels of the center that is cut out after the resizing; None: nothing is cut out.

    Raises:
        DataError: if the images are missing, or smaller than the crop.
    """
    config = choose("data", **data)
    return _images(config, config.build(), crop)


def images_of_one_size(data: dict[str, Any]) -> Iterator[Tensor]:
    """All training images, as :func:`training_images` gives them, refusing images that differ in size.

    Raises:
        DataError: if the images differ in size.
    """
    shape = None
    for images in training_images(data):
        shape = shape or images.shape[1:]
        if images.shape[1:] != shape:
            raise DataError(f"{data_label(data)}: images of different sizes; give image_size")
        yield images


def _images(config: Data, source: Source, crop: int | None) -> Iterator[Tensor]:
    pictures, chosen = source.train.pictures, _chosen(config, len(source.train))
    if isinstance(pictures, Files):
        for position in chosen.tolist():
            yield _cropped(read(pictures.paths[position], config.image_size, Format(), pictures.reading)[0][None], crop)
    elif isinstance(pictures, Texts):
        raise DataError(f"data={config.name}: holds texts, not images")
    else:
        for index in chosen.split(1024):
            images = pictures[index]
            yield _cropped(images if config.image_size is None else resize(images, config.image_size), crop)


def _chosen(config: Data, count: int) -> Tensor:
    return draw_positions(count, config.limit, config.split_seed)


def _cropped(images: Tensor, crop: int | None) -> Tensor:
    if crop is None:
        return images
    height, width = images.shape[2:]
    if crop > min(height, width):
        raise DataError(f"crop={crop}: an image has {width}x{height} pixels; give image_size={crop} or more")
    top, left = (height - crop) // 2, (width - crop) // 2
    return images[..., top : top + crop, left : left + crop]


def sums(data: dict[str, Any], crop: int | None = None) -> ImageSums:
    """Exact sums of all training images, in one pass; sums of files are cached. See :func:`training_images`."""
    config = choose("data", **data)
    source: Source = config.build()

    def make() -> dict[str, Any]:
        parts = []
        for images in _images(config, source, crop):
            pixels = torch.full((len(images),), images[0, 0].numel(), dtype=torch.int64)
            parts.append((pixels, *image_sums(images)))
        return dict(zip(("pixels", "total", "squares"), map(torch.cat, zip(*parts, strict=True)), strict=True))

    if isinstance(source.train.pictures, Files) and config.cache:
        about = {"image_size": config.image_size, "crop": crop, "limit": config.limit, "split_seed": config.split_seed}
        kinds = dict.fromkeys(("pixels", "total", "squares"), Tensor)
        return ImageSums(**cache.remember("sums-" + cache.key(source.train.pictures.digests, **about), make, kinds))
    return ImageSums(**make())


def preparation(data: dict[str, Any], crop: int | None) -> str:
    """A label for the size of the images, such as "shorter side 256, centre 224"; recorded, so its spelling stays."""
    size = data.get("image_size")
    cut = crop or size
    return ("as stored" if size is None else f"shorter side {size}") + (f", centre {cut}" if cut else "")
