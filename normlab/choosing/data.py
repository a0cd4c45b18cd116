"""What lies at a path, what is compared on it, and what can be said of it without training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from normlab.config import Config
from normlab.data import Dataset, tables
from normlab.data.layout import walk
from normlab.data.loader import Split
from normlab.data.recordings import recordings_below
from normlab.data.splits import Source
from normlab.errors import ConfigError, DataError
from normlab.inputs import evenly_spaced, pixels_that_count
from normlab.inspection.advice import lines, lines_of_any_type
from normlab.norms import Affine, Masked, Normalization, build_scheme

LOOKED_AT = 2000  # images of a split, at most
HARDLY_USED = 0.5  # share of the range below which it is said
CLIPPED = 0.2  # share of black or white pixels above which it is said
FAR_APART = 100.0  # ratio of the columns' deviations above which it is said
SHIFT = 0.05  # change of the mean brightness between training and test images that is said, in units of u


@dataclass(frozen=True)
class Kind:
    """What is compared on a kind of data, unless the user says otherwise.

    Attributes:
        norms: schemes.
        reference: of these, which the others have to be better than.
        arch: network.
    """

    norms: tuple[str, ...]
    reference: str
    arch: str


KINDS = {
    "images": Kind(("unit", "imagenet", "dataset", "per_image"), "unit", "cnn"),
    "tables": Kind(("raw", "standard", "min_max_dataset", "robust"), "raw", "mlp"),
    "series": Kind(("raw", "per_channel", "dataset_all", "revin"), "raw", "cnn1d"),
    "audio": Kind(("raw", "dataset_all", "per_channel", "cmvn"), "raw", "cnn1d"),
}
SCIKIT_LEARN = {
    "standard": "StandardScaler",
    "dataset": "StandardScaler",
    "min_max_dataset": "MinMaxScaler",
    "robust": "RobustScaler",
    "max_abs": "MaxAbsScaler",
}
IMAGE_SIZE = 32  # pixels, for a folder of images of which the user names no size


def data_at(path: Path | None) -> tuple[str, ...]:
    """The arguments that choose the data at a path; without one, the photographs that ship with the dependencies.

    Raises:
        DataError: if there is nothing, or nothing that a run can read.
    """
    if path is None:
        return ("data=photos",)
    root = f"data.root={path.absolute()}"
    if path.is_dir():
        if recordings_below(path, lambda error: None) and not walk(path).images:
            return ("data=audio", root)
        return ("data=folder", root)
    if path.name.lower().endswith(tables.SUFFIXES):
        if path.exists():
            return ("data=table", root)
        raise DataError(f"{path}: there is no such file")
    if path.exists():
        raise DataError(
            f"{path}: expected a folder with one sub-folder of images or recordings for each class, or a table "
            f"({', '.join(tables.SUFFIXES)})"
        )
    raise DataError(f"{path}: there is no such folder")


def kind_of(source: Source) -> Kind:
    """What is compared on a source.

    Raises:
        DataError: for text, of which a scheme would change the tokens.
    """
    if source.kind not in KINDS:
        raise DataError(f"data of the kind {source.kind}: no schemes to choose from; expected {', '.join(KINDS)}")
    return KINDS[source.kind]


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
    what = {"images": "images", "tables": "rows", "audio": "recordings"}.get(data.kind, "samples")
    target = f"{len(data.classes)} classes" if data.task == "classification" else f"numbers: {data.classes[0]}"
    sentences = [f"{count:,} training {what} of {size} ({target}), {len(data.test):,} test {what}", *data.notes]
    pixels = pixels_that_count(train) if data.masked else train
    sentences += _of_channels(pixels)
    if data.kind == "tables":
        sentences += _of_scales(train)
    if data.kind == "images":
        sentences += _of_range(pixels) + _of_brightness(train, test)
    return sentences


def fitted(config: Config, data: Dataset) -> Normalization:
    """The scheme of a run, fitted on the training samples."""
    norm = build_scheme(config.norm, data.front, data.masked).set_range(data.black, data.white)
    return norm.fit(data.training_inputs())


def lines_for(config: Config, data: Dataset) -> dict[str, str]:
    """A scheme, fitted on the training images, ready to paste, by library.

    Args:
        config: of a run with the scheme.
        data: of the study.

    Returns:
        Only normlab's own line for a scheme that is no fixed scale and shift of each channel; for tables also the class
        of scikit-learn that computes the same.
    """
    norm = fitted(config, data)
    own = {"normlab": f'normlab.normalization("{config.norm.name}")'}
    if isinstance(norm, Masked):
        norm, own = norm.scheme, {"normlab": f"normlab.norms.Masked({own['normlab']})"}
    if data.kind == "tables" and config.norm.name in SCIKIT_LEARN:
        return {"scikit-learn": f"sklearn.preprocessing.{SCIKIT_LEARN[config.norm.name]}()"} | own
    if data.kind != "images" or not isinstance(norm, Affine) or norm.mean.numel() not in (1, norm.mean.shape[0]):
        return own
    channels = max(norm.mean.shape[0], data.shape[0])
    mean, std = ((0.0 + values.flatten()).expand(channels).tolist() for values in (norm.mean, norm.std))
    if data.input_type != torch.uint8 or (data.black, data.white) != (0, 255) or channels not in (1, 3):
        return lines_of_any_type(mean, std, data.black, data.white) | own
    return lines(mean, std) | own


def _some(split: Split) -> Tensor:
    """Evenly spaced inputs of a split, [N, C, *positions]."""
    return torch.cat([inputs for inputs, _ in split.batches(256, evenly_spaced(len(split), LOOKED_AT))])


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


def _of_scales(train: Tensor) -> list[str]:
    """Columns whose deviations differ by orders of magnitude."""
    spreads = train.std(0)
    spreads = spreads[spreads > 0]
    ratio = (spreads.max() / spreads.min()).item() if len(spreads) else 1.0
    if ratio < FAR_APART:
        return []
    return [
        f"Standard deviations of the columns differ by a factor of {ratio:.2g}: without a scale for each column, the "
        "largest ones decide the learning rate."
    ]


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
    before, after = train.flatten(1).nanmean(1), test.flatten(1).nanmean(1)  # NaN: left out by a mask
    difference = (after.mean() - before.mean()).item()
    error = (before.var() / len(before) + after.var() / len(after)).sqrt().item()
    if len(after) < 2 or abs(difference) <= max(SHIFT, 4 * error):
        return []
    kind = "brighter" if difference > 0 else "darker"
    return [
        f"Test images are {kind} than training images, by {abs(difference):.2f} of the range: schemes with statistics "
        "of each image do not see such a change, all others do."
    ]
