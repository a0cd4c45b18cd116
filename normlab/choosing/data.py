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
from normlab.norms import Affine

LOOKED_AT = 2000  # images of a split, at most
HARDLY_USED = 0.5  # share of the range below which it is said
CLIPPED = 0.2  # share of black or white pixels above which it is said
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
    """What can be said of the data without training, of at most 2,000 training and test inputs each."""
    train, test = (
        (_some(split).double() - data.black) / (data.white - data.black) for split in (data.train, data.test)
    )
    count, size = len(data.train), "x".join(map(str, data.shape))
    what = {"images": "images"}.get(data.kind, "samples")
    first = f"{count:,} training {what} of {size} in {len(data.classes)} classes, {len(data.test):,} test {what}"
    sentences = [first, *data.notes, *_of_channels(train)]
    if data.kind == "images":
        sentences += _of_range(train) + _of_brightness(train, test)
    return sentences


def lines_for(config: Config, data: Dataset) -> dict[str, str]:
    """A scheme, fitted on the training images, ready to paste, by library.

    Args:
        config: of a run with the scheme.
        data: of the study.

    Returns:
        Only normlab's own line for a scheme that is no fixed scale and shift of each channel, and for no images.
    """
    norm = config.norm.build().set_range(data.black, data.white).fit(data.training_inputs())
    own = {"normlab": f'normlab.normalization("{config.norm.name}")'}
    if data.kind != "images" or not isinstance(norm, Affine) or norm.mean.numel() not in (1, norm.mean.shape[0]):
        return own
    channels = max(norm.mean.shape[0], data.shape[0])
    mean, std = ((0.0 + values.flatten()).expand(channels).tolist() for values in (norm.mean, norm.std))
    return lines(mean, std) | own


def _some(split: Split) -> Tensor:
    """Evenly spaced inputs of a split, [N, C, *positions]."""
    count = len(split)
    order = torch.linspace(0, count - 1, min(count, LOOKED_AT)).round().long()
    return torch.cat([inputs for inputs, _ in split.batches(256, order)])


def _of_channels(train: Tensor) -> list[str]:
    """Constant and equal channels of u, [N, C, *positions]."""
    flat = train.transpose(0, 1).flatten(1)
    constant = (flat.amin(1) == flat.amax(1)).nonzero().flatten().tolist()
    if constant:
        many = f" and {len(constant) - 5} more" * (len(constant) > 5)
        return [f"Constant: channel {', '.join(map(str, constant[:5]))}{many} has one value everywhere."]
    if train.shape[1] == 3 and (flat[0] == flat[1]).all() and (flat[0] == flat[2]).all():
        return ["All images are gray, stored as three equal channels."]
    return []


def _of_range(train: Tensor) -> list[str]:
    """A range of u that is hardly used, or clipped."""
    low, high = train.min().item(), train.max().item()
    if high - low < HARDLY_USED and 0 <= low <= high <= 1:
        return [
            f"Pixels lie between {low:.3g} and {high:.3g} of the range: schemes with fixed constants see them in a "
            "corner, statistics of the data do not."
        ]
    if max((train <= 0).double().mean(), (train >= 1).double().mean()) > CLIPPED:
        return ["Over a fifth of the pixels are black or white."]
    return []


def _of_brightness(train: Tensor, test: Tensor) -> list[str]:
    """Another exposure of the test images."""
    before, after = train.flatten(1).mean(1), test.flatten(1).mean(1)
    difference = (after.mean() - before.mean()).item()
    error = (before.var() / len(before) + after.var() / len(after)).sqrt().item()
    if len(after) < 2 or abs(difference) <= max(SHIFT, 4 * error):
        return []
    kind = "brighter" if difference > 0 else "darker"
    return [
        f"Test images are {kind} than training images, by {abs(difference):.2f} of the range: schemes with statistics "
        "of each image do not see such a change, all others do."
    ]
