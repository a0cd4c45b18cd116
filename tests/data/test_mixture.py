"""Several data sets as one."""

import pytest
import torch
from PIL import Image

import normlab
from normlab.errors import ConfigError, DataError


def test_the_parts_keep_their_images_splits_and_classes(here):
    mixed = normlab.dataset("mixture", parts=["digits", "photos"], per_part=300, size=16)
    digits, photos = (normlab.dataset(name, image_size=16, limit=300) for name in ("digits", "photos"))
    assert mixed.classes == tuple(f"digits: {c}" for c in digits.classes) + tuple(
        f"photos: {c}" for c in photos.classes
    )
    for split in ("train", "validation", "test"):
        part = mixed.splits[split]
        count = min(len(digits.splits[split]), len(photos.splits[split]))
        assert len(part) == 2 * count
        first, second = part.images[:count], part.images[count:]
        assert torch.equal(first[:, 0], first[:, 1])  # greyscale, repeated
        known = {bytes(image.numpy()) for image in photos.splits[split].images}
        assert {bytes(image.numpy()) for image in second} <= known
        assert part.labels[:count].max() < 10 <= part.labels[count:].min()
    assert mixed.train.labels.bincount().min() > 0


def test_a_folder_is_a_part_and_mistakes_are_named(here):
    for split in ("train", "test"):
        for name, colour in (("dark", 10), ("light", 240)):
            (here / "shades" / split / name).mkdir(parents=True)
            for i in range(6):
                Image.new("RGB", (8, 8), (colour + i, colour, colour)).save(here / "shades" / split / name / f"{i}.png")
    mixed = normlab.dataset("mixture", parts=["shades/", "digits"], size=8)
    assert mixed.classes[:2] == ("shades: dark", "shades: light")
    assert len(mixed.train) == 2 * 10  # two of twelve are validation images
    with pytest.raises(ConfigError, match=r"data\.parts: shades: no such data set; a folder is written with a slash"):
        normlab.dataset("mixture", parts=["shades", "digits"])
    with pytest.raises(DataError, match="there is no folder"):
        normlab.dataset("mixture", parts=["nowhere/", "digits"])
    with pytest.raises(ConfigError, match="at least 2"):
        normlab.dataset("mixture", parts=["digits"])
