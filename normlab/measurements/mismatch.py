"""A trained network under other normalizations than its own, without training: claim C13.

Schemes are fitted on these images, without their labels. pca and zca whiten patches of 8 pixels, because the matrix for
whole images is too large. learned is not trained here, so it equals unit.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from normlab.archs.pretrained import Weights, weights
from normlab.config import Data, choices, data_label, defaults, parse_group
from normlab.data import Files, Source
from normlab.data.folder import all_images, find, split_names
from normlab.data.images import decode
from normlab.data.layout import find_splits, sub_folders
from normlab.errors import ConfigError, DataError, NormlabError
from normlab.inputs import draw_positions
from normlab.measurements.registry import measurement
from normlab.norms import Affine, Learned, Normalization, normalization
from normlab.pictures import crop_margin
from normlab.statistics import Interval, bootstrap_interval, share_interval

EXPECTED = "expected"  # the row of the network's own normalization
SYNSET = re.compile(r"n\d{8}")
UNKNOWN = Interval(math.nan, math.nan, math.nan, 0)
# Keys of data that have no effect: those that only a run uses, and how files are read, which is the network's matter.
UNUSED: tuple[str, ...] = ("batch_size", "validation", "test", "test_seed", "stream", "memory_gb", "workers", "cache")
UNUSED += ("pages", "bands", "exif", "axes", "mask", "black", "white")
NO_CLASSES = (
    "the classes are not ImageNet's: no accuracy (folders are its classes by synsets, by all of its numbers, or with "
    "classes=imagenet)"
)
# Whether folders are classes of the network; auto: by their names.
Which = Literal["auto", "imagenet", "own"]
PATCHES = {"pca": 8, "zca": 8}  # pixels; whole images of 224 pixels would take a matrix of 169 GiB


@measurement
def mismatches(
    *, data: dict[str, Any], model: str = "efficientnet_lite0", norms: Sequence[str]
) -> list[dict[str, Any]]:
    """A trained network under every normalization: a row for each scheme, and one for the network's own.

    Columns: ``model``, ``data``, ``norm``, ``images``; ``accuracy``, ``confidence`` (mean of the largest probability),
    ``agreement`` (share of images with the same answer as under the expected scheme) and ``difference`` (accuracy minus
    the expected scheme's accuracy), each with the ends of its 95% interval over images. Accuracy and difference are NaN
    if the images' classes are not classes of the network.

    Args:
        data: options of a folder.
        model: see :func:`normlab.archs.pretrained.weights`.
        norms: schemes.

    Raises:
        DataError: if the images are missing, or only some of their classes are classes of the network.
    """
    try:
        trained = weights(model)
    except NormlabError as error:  # a missing package is treated like missing data
        raise DataError(str(error)) from None
    rows, notes = under_each({**defaults("data", data["name"]), **data}, trained, norms)
    for note in notes:
        print(note, file=sys.stderr)
    return [{"model": model, "data": data_label(data), **row} for row in rows]


def under_each(
    data: dict[str, Any],
    trained: Weights,
    norms: Sequence[str] | None = None,
    batch: int = 50,
    resamples: int = 2000,
    which: Which = "auto",
) -> tuple[list[dict[str, Any]], list[str]]:
    """A row for each scheme; and notes on schemes without a row, or without a result of their own.

    Args:
        data: all values of the group.
        trained: the network and the input that it expects.
        norms: schemes; None: all.
        batch: number of images at once.
        resamples: of the bootstrap.
        which: see :func:`class_numbers`.

    Raises:
        ConfigError: as :func:`pictures`.
        DataError: as :func:`pictures`.
    """
    from tqdm import tqdm

    images, labels = pictures(data, trained, which)
    notes = [NO_CLASSES] if labels is None else []
    network = trained.network.eval().to(memory_format=torch.channels_last)  # takes 0.7 of the time on a CPU
    expected = fixed(trained)
    reference = answers(network, expected, images, batch)
    rows = [row(EXPECTED, reference, reference, labels, resamples)]
    known = {formula(expected): reference}  # two names of one formula, such as unit and yolo, take one pass
    names = norms or choices("norm")
    for name in tqdm(names, desc="schemes", disable=not sys.stderr.isatty(), leave=False):
        patch = PATCHES.get(name)
        label = f"{name}, patches of {patch}" if patch else name
        try:
            norm = normalization(name, **({"patch": patch} if patch else {})).fit(images.split(batch))
            if (same := known.get(formula(norm))) is None:
                same = known[formula(norm)] = answers(network, norm, images, batch)
            rows.append(row(label, same, reference, labels, resamples))
            if isinstance(norm, Learned):
                notes.append(f"{label}: not trained here, so it is at its start, {norm.start}")
        except NormlabError as error:
            notes.append(f"{label}: {error}")
    return rows, notes


def formula(norm: Normalization) -> object:
    """What two schemes share if they do the same to every image; a scheme that is no scale and shift shares nothing."""
    if not isinstance(norm, Affine):
        return norm
    return tuple(tuple(values.flatten().tolist()) for values in (norm.scale, norm.shift))


def fixed(trained: Weights) -> Normalization:
    """The normalization that a network expects."""
    return normalization("imagenet", mean=list(trained.expectation.mean), std=list(trained.expectation.std))


def pictures(data: dict[str, Any], trained: Weights, which: Which = "auto") -> tuple[Tensor, Tensor | None]:
    """All images as the network takes them, uint8 [N, 3, S, S], and the numbers of their classes, int64 [N].

    All splits of the source form one split; ``data.limit`` is the largest number of images, drawn at random but the
    same at each call. The classes are None if they are not classes of the network.

    Raises:
        ConfigError: for ``data.image_size``, or another key that has no effect here.
        DataError: for a source that is not a folder, or if only some of the classes are classes of the network.
    """
    config: Data = parse_group("data", data)
    size = trained.expectation.image_size
    if config.image_size is not None:
        raise ConfigError(f"data.image_size={config.image_size}: leave it out; the network's own size, {size}, is used")
    usual = defaults("data", config.name)
    if given := [key for key in UNUSED if data.get(key) != usual.get(key)]:
        raise ConfigError(f"data.{given[0]}={data[given[0]]}: leave it out; it has no effect here")
    paths, labels, skip = files(config, trained.classes, which)
    chosen = draw_positions(len(paths), config.limit, config.split_seed)
    decoded = decode([paths[place] for place in chosen.tolist()], trained.expectation.resize, skip)
    kept, format = decoded.kept, decoded.format
    if format.type != "uint8" or format.bands not in (1, 3) or format.white is not None:
        raise DataError(
            f"{paths[0].parent}: {format.bands} bands of {format.type}; this network takes gray or RGB images of 8 bits"
        )
    images = decoded.images.repeat(1, 3 // format.bands, 1, 1)
    margin = crop_margin(images.shape[2], size)
    images = images[..., margin : margin + size, margin : margin + size].contiguous()
    return images, None if labels is None else labels[chosen[kept]]


def files(config: Data, classes: int, which: Which = "auto") -> tuple[list[Path], Tensor | None, bool]:
    """The image files, the numbers of their classes, int64 [N], and whether to skip those that cannot be read.

    Raises:
        DataError: as :func:`pictures`.
    """
    given, skip = getattr(config, "root", None), getattr(config, "on_corrupt", None) == "skip"
    if config.name == "folder" and given is not None:
        root = find(given, "data=folder")
        top = _training_folder(root, config)
        if class_numbers(sub_folders(top), classes, which) is None:  # the folders are not classes
            paths = all_images(root, skip)
            if deep := {path.parent for path in paths if SYNSET.fullmatch(path.parent.name)} - {root}:
                synset = min(deep)
                raise DataError(f"{synset}: a synset, but not directly in {top}: give data.root={synset.parent}")
            return paths, None, skip
    source: Source = config.build()
    parts = [part for part in (source.train, source.validation, source.test) if part is not None]
    groups = [part.pictures for part in parts if isinstance(part.pictures, Files)]
    if len(groups) < len(parts):
        raise DataError(f"data={config.name}: image files are required: use data=folder data.root=FOLDER")
    numbers = class_numbers(source.classes, classes, which)
    labels = None if numbers is None else numbers[torch.cat([part.labels for part in parts])]
    return [path for part in groups for path in part.paths], labels, skip


def _training_folder(root: Path, config: Data) -> Path:
    """The folder of the training split; the folder itself where there are no splits, or it is not clear which."""
    names = split_names(getattr(config, "splits", None))
    try:
        return root if isinstance(names, Path) else find_splits(root, names, needs_train=False).get("train", root)
    except DataError:
        return root


def class_numbers(names: Sequence[str], classes: int, which: Which = "auto") -> Tensor | None:
    """Numbers of the network's classes, int64, from ImageNet's synsets or from numbers; None if no name is either.

    ImageNet-1k counts its synsets in the order of their names. Numbers are the network's classes only if all of them
    are there, or if ``which`` is ``imagenet``: folders 0 to 4 are more likely someone's own grades.

    Raises:
        DataError: if only some names are synsets or numbers, or for synsets if the classes are not ImageNet-1k's.
    """
    synsets = {name for name in names if SYNSET.fullmatch(name)}
    numbers = {name for name in names if name.isdecimal() and int(name) < classes}
    if which == "own" or (which == "auto" and not synsets and len(numbers) < classes):
        return None
    if which == "imagenet" and names and not synsets | numbers:
        raise DataError(
            f"classes=imagenet: class {names[0]!r} is neither a synset of ImageNet (n01440764) nor a number below "
            f"{classes}"
        )
    if not synsets | numbers:
        return None
    if len(numbers) == len(names):
        return torch.tensor([int(name) for name in names])
    if len(synsets) < len(names):
        odd = next(name for name in names if name not in (synsets or numbers))
        raise DataError(
            f"class {odd!r}: other sub-folders are classes of ImageNet, so name all of them by its synsets "
            f"(n01440764), or all by numbers below {classes}"
        )
    if classes != 1000:  # such as 1001 with a background first, or the classes of a fine-tuned network
        raise DataError(
            f"class {names[0]}: the network has {classes:,} classes, not the 1,000 of ImageNet-1k, so the class "
            f"numbers of synsets are unknown: name the sub-folders by numbers below {classes}"
        )
    try:
        from timm.data import ImageNetInfo
    except ImportError:
        raise DataError("synsets need the list in the package timm: pip install 'normlab[timm]'") from None
    place = {synset: number for number, synset in enumerate(ImageNetInfo().label_names())}
    if unknown := [name for name in names if name not in place]:
        raise DataError(f"class {unknown[0]} is none of ImageNet-1k's classes")
    return torch.tensor([place[name] for name in names])


def answers(network: torch.nn.Module, norm: Normalization, images: Tensor, batch: int) -> Tensor:
    """Probabilities of the classes for each image, [N, classes]."""

    def parts() -> Iterator[Tensor]:
        with torch.inference_mode():
            for part in images.split(batch):
                yield network(norm(part).contiguous(memory_format=torch.channels_last)).softmax(1)

    return torch.cat(list(parts()))


def row(name: str, probabilities: Tensor, reference: Tensor, labels: Tensor | None, resamples: int) -> dict[str, Any]:
    """One scheme's numbers with their intervals; the expected scheme agrees with itself by definition."""
    confidence, answer = (value.numpy() for value in probabilities.max(1))
    usual = reference.argmax(1).numpy()
    same = answer == usual
    generator = np.random.default_rng(0)

    def mean(values: np.ndarray) -> Interval:
        return bootstrap_interval(values.astype(np.float64), generator, resamples=resamples)

    numbers: dict[str, Any] = {"norm": name, "images": len(answer)}
    intervals = {
        "accuracy": UNKNOWN,
        "confidence": mean(confidence),
        "agreement": share_interval(int(same.sum()), len(same)),
        "difference": UNKNOWN,
    }
    if labels is not None:
        right, before = answer == labels.numpy(), usual == labels.numpy()
        intervals["accuracy"] = share_interval(int(right.sum()), len(right))
        intervals["difference"] = mean(right.astype(np.float64) - before)
    for key, interval in intervals.items():
        low, high = interval.low, interval.high
        if name == EXPECTED and key in ("agreement", "difference"):  # 1 and 0 by definition
            low = high = math.nan
        numbers |= {key: interval.estimate, f"{key}_low": low, f"{key}_high": high}
    return numbers
