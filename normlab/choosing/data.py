"""What lies at a path: the source that reads it, the schemes that are compared on it, and how it is looked at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from normlab.config import Config
from normlab.data import Dataset
from normlab.data.loader import Split
from normlab.errors import ConfigError, DataError
from normlab.inspection.advice import lines
from normlab.inspection.images import Inspection, inspect_images
from normlab.norms import Affine

LOOKED_AT = 2000  # images of a split, at most
HARDLY_USED = 0.5  # share of the range of values below which it is said
SHIFT = 0.05  # change of the mean brightness between training and test images that is said, in units of u


@dataclass(frozen=True)
class Kind:
    """A kind of data.

    Attributes:
        arguments: that choose the source, as on the command line.
        resized: the size of images, where the user and the network name none.
        norms: that are compared unless the user names others.
        reference: of these, which the others have to be better than.
    """

    arguments: tuple[str, ...]
    resized: tuple[str, ...] = ()
    norms: tuple[str, ...] = ("unit", "imagenet", "dataset", "per_image")
    reference: str = "unit"


IMAGE_SIZE = 32  # pixels, for a folder of images of which the user names no size


def data_of(path: Path | None) -> Kind:
    """The kind of data at a path; without one, the photographs that ship with the dependencies.

    Raises:
        DataError: if there is nothing, or nothing that a run can read.
    """
    if path is None:
        return Kind(("data=photos",))
    if path.is_dir():
        return Kind(("data=folder", f"data.root={path.absolute()}"), (f"data.image_size={IMAGE_SIZE}",))
    if path.exists():
        raise DataError(f"{path}: a file; expected a folder with one sub-folder of images for each class")
    raise DataError(f"{path}: there is no such folder")


def chosen_norms(named: Sequence[str] | None, reference: str | None, kind: Kind) -> tuple[tuple[str, ...], str]:
    """The schemes, and the one that the others have to be better than.

    Raises:
        ConfigError: for fewer than two schemes, one that is named twice, or a reference that is none of them.
    """
    norms = tuple(named or kind.norms)
    if len(norms) < 2:
        raise ConfigError(f"norms={','.join(norms)}: one scheme; name two or more to compare")
    if twice := [norm for norm in norms if norms.count(norm) > 1]:
        raise ConfigError(f"norms={','.join(norms)}: {twice[0]} is named twice")
    if reference is None:
        reference = kind.reference if kind.reference in norms else norms[0]
    if reference not in norms:
        raise ConfigError(f"reference={reference}: expected one of the norms, {', '.join(norms)}")
    return norms, reference


def look_at(data: Dataset) -> list[str]:
    """What can be said of the data without training, of at most 2,000 training and test images each."""
    train, test = (_some(split) for split in (data.train, data.test))
    count, size = len(data.train), "x".join(map(str, data.shape))
    first = f"{count:,} training images of {size} in {len(data.classes)} classes, {len(data.test):,} test images"
    return [first, *data.notes, *_sentences(inspect_images(train), train, test)]


def lines_for(config: Config, data: Dataset) -> dict[str, str]:
    """A scheme, fitted on the training images, ready to paste, by library.

    Args:
        config: of a run with the scheme.
        data: of the study.

    Returns:
        Only normlab's own line for a scheme that is no fixed scale and shift of each channel.
    """
    norm = config.norm.build().fit(data.training_images())
    own = {"normlab": f'normlab.normalization("{config.norm.name}")'}
    if not isinstance(norm, Affine) or norm.mean.shape[-2:] != (1, 1):
        return own
    channels = max(norm.mean.shape[0], data.shape[0])
    mean, std = ((0.0 + values.flatten()).expand(channels).tolist() for values in (norm.mean, norm.std))
    return lines(mean, std) | own


def _some(split: Split) -> Tensor:
    """Evenly spaced images of a split, uint8 [N, C, H, W]."""
    count = len(split)
    order = torch.linspace(0, count - 1, min(count, LOOKED_AT)).round().long()
    return torch.cat([images for images, _ in split.batches(256, order)])


def _sentences(inspection: Inspection, train: Tensor, test: Tensor) -> list[str]:
    """What stands out."""
    low, high = inspection.range()
    black, white = inspection.clipped()
    used = ((high - low).max() / 255).item()
    sentences = []
    if inspection.channels == 1 and train.shape[1] == 3:
        sentences.append("All images are gray, stored as three equal channels.")
    if constant := [c for c in range(len(low)) if low[c] == high[c]]:
        sentences.append(f"Channel {', '.join(map(str, constant))}: the same value in all pixels.")
    elif used < HARDLY_USED:
        sentences.append(
            f"Pixels lie between {low.min()} and {high.max()}: {used:.0%} of the range. A scheme with fixed constants "
            "sees them in a corner; data's own statistics do not."
        )
    if max(black.max(), white.max()) > 0.2:
        sentences.append("Over a fifth of the pixels are black or white.")
    before, after = (images.float().mean((1, 2, 3)) / 255 for images in (train, test))
    difference = (after.mean() - before.mean()).item()
    error = (before.var() / len(before) + after.var() / len(after)).sqrt().item()
    if len(after) > 1 and abs(difference) > max(SHIFT, 4 * error):
        kind = "brighter" if difference > 0 else "darker"
        sentences.append(
            f"Test images are {kind} than training images, by {abs(difference):.2f} of the range: schemes with "
            "statistics of each image do not see such a change, all others do."
        )
    return sentences
