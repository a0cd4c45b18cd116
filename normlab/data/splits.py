"""Which samples belong to training, validation and test: seeded, stratified, and the same for every scheme."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Literal
from unicodedata import normalize

import numpy as np
import torch
from torch import Tensor

from normlab.data.digests import digest_files
from normlab.data.tokens import Texts
from normlab.errors import DataError
from normlab.inputs import select
from normlab.norms.log_mel import Front
from normlab.pictures import Reading, mask_file


@dataclass(frozen=True)
class Files:
    """Image files that are not decoded yet.

    Attributes:
        paths: a file occurs once for each of its pages that is an image.
        skip_corrupt: leave out what cannot be read.
        reading: how the files become images.
        pages: the page of each path; None: the first of all.
    """

    paths: tuple[Path, ...]
    skip_corrupt: bool = False
    reading: Reading = field(default_factory=Reading)
    pages: tuple[int, ...] | None = None

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def items(self) -> list[tuple[Path, int]]:
        """Each file with the number of its page."""
        return list(zip(self.paths, self.pages or (0,) * len(self), strict=True))

    @cached_property
    def digests(self) -> list[str]:
        """The hash of each file's bytes, with the number of the page if there are several."""
        whole = digest_files(self.paths)
        if self.pages is None:
            return whole
        return [f"{digest}#{page}" for digest, page in zip(whole, self.pages, strict=True)]

    @cached_property
    def content(self) -> list[str]:
        """What decides the pixels of each file, together with ``reading.options``: its hash, and that of its mask."""
        folder = self.reading.mask_folder
        if folder is None:
            return self.digests
        # An image without a mask is an error when it is read.
        masks = [mask_file(folder, path) or folder / "missing" for path in self.paths]
        return [f"{own} {mask}" for own, mask in zip(self.digests, digest_files(masks), strict=True)]

    def take(self, places: list[int]) -> Files:
        """The files at these positions."""
        part = replace(
            self,
            paths=tuple(self.paths[place] for place in places),
            pages=None if self.pages is None else tuple(self.pages[place] for place in places),
        )
        for name in ("digests", "content"):
            if name in vars(self):  # computed before: do not read the files again
                vars(part)[name] = [getattr(self, name)[place] for place in places]
        return part


@dataclass(frozen=True)
class Part:
    """Labeled samples; of images, decoded or not; texts are not cut into tokens yet."""

    pictures: Tensor | Files | Texts  # [N, C, *positions] of a type of normlab.inputs, or N files, or N texts
    labels: Tensor  # int64 [N], or of regression float32 [N]

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, index: Tensor) -> Part:
        """The images at these positions, int64 [M]."""
        if isinstance(self.pictures, Files | Texts):
            return Part(self.pictures.take(index.tolist()), self.labels[index])
        return Part(select(self.pictures, index), self.labels[index])

    @cached_property
    def content(self) -> str:
        """Hash of the images (of the files' bytes, where they are files), masks and labels, in their order."""
        digest = hashlib.blake2b(digest_size=8)
        if isinstance(self.pictures, Files):
            digest.update("\n".join(self.pictures.content).encode())
            if (rule := self.pictures.reading.mask_rule) is not None:
                digest.update(f"\nmask {rule}\n".encode())
        elif isinstance(self.pictures, Texts):
            digest.update(self.pictures.digest.encode())
        else:
            digest.update(f"{self.pictures.dtype} {list(self.pictures.shape)}\n".encode())
            digest.update(self.pictures.contiguous().numpy().data)
        digest.update(self.labels.contiguous().numpy().data)
        return digest.hexdigest()


def require_unlike(names: Iterable[str]) -> None:
    """Refuse labels that are written in two ways: they would be two classes.

    Raises:
        DataError: if two labels differ only in capital letters, in spaces around them, or in the code points of their
            letters: é is one or two of these, as the system or program that wrote it chooses.
    """
    alike: dict[str, str] = {}
    for name in names:
        other = alike.setdefault(normalize("NFC", name).strip().casefold(), name)
        if other != name:
            if normalize("NFC", other) == normalize("NFC", name):
                where, shown = "the code points of a letter", ascii
            else:
                where, shown = "spaces or capitals", repr
            raise DataError(f"the labels {shown(other)} and {shown(name)} differ only in {where}: write them alike")


@dataclass(frozen=True)
class Source:
    """The content of a data source: classes, training samples, and validation and test samples if it has them.

    Attributes:
        classes: names of the network's outputs: of the classes, or of the target of a regression.
        train: training samples.
        validation, test: None where they are to be taken from the training samples.
        notes: what a user should know, such as how files were changed.
        black, white: the values that stand for u = 0 and u = 1; None: by the type, see :mod:`normlab.inputs`.
        kind: what the inputs are.
        groups: int64 [N], one for each training sample: samples of one group, such as the recordings of one speaker,
            are never split apart. None: any split will do.
        task: ``classification`` with labels int64, or ``regression`` with labels float32.
        columns: names of a table's features.
        fill: what the missing values of a table, NaN, are replaced by: this statistic of the training rows.
        standardize_target: whether a regression is trained on standardized labels.
        forecasts: whether the label is a later value of the input itself, so that its normalization is undone on it.
        front: of recordings, what is done to a waveform before the scheme of ``norm=``.
    """

    classes: tuple[str, ...]
    train: Part
    validation: Part | None = None
    test: Part | None = None
    notes: tuple[str, ...] = ()
    black: float | None = None
    white: float | None = None
    kind: Literal["images", "tables", "series", "audio", "text"] = "images"
    groups: Tensor | None = None
    task: Literal["classification", "regression"] = "classification"
    columns: tuple[str, ...] = ()
    fill: Literal["mean", "median"] | None = None
    standardize_target: bool = True
    forecasts: bool = False
    front: Front | None = None

    @cached_property
    def content(self) -> str:
        """Hash of all samples, labels, groups and the declared range: 16 hexadecimal digits, wherever the files lie.

        Names of files and classes change it only through the order that they give to images and labels.
        """
        parts = {"train": self.train, "validation": self.validation, "test": self.test}
        text = "".join(f"{name} {part.content}\n" for name, part in parts.items() if part is not None)
        digest = hashlib.blake2b(text.encode(), digest_size=8)
        if (self.black, self.white) != (None, None):
            digest.update(f"range {self.black} {self.white}\n".encode())
        if self.groups is not None:
            digest.update(self.groups.contiguous().numpy().data)
        return digest.hexdigest()


def split(
    source: Source, validation: float, test: float, limit: int | None, seed: int, test_seed: int | None = None
) -> dict[str, Part]:
    """Training, validation and test samples; a split that the source lacks is taken from its training samples.

    Every class keeps its share in every split; of a regression, the draw is random. Samples of one group stay together,
    and the shares are then met as closely as whole groups allow.

    Args:
        source: the samples.
        validation: share of the training samples, where the source has no validation split.
        test: share of all samples, where the source has no test split.
        limit: largest number of samples in each split, drawn in proportion to the classes; None: all.
        seed: of the draw; independent of the seed of a run.
        test_seed: of the draw of test samples; None: one draw with the others.

    Raises:
        DataError: if a class has too few samples, or too few groups, to be in every split.
    """
    generator = torch.Generator().manual_seed(seed)
    train, groups = source.train, source.groups
    parts = {"validation": source.validation, "test": source.test}
    of_test = generator if test_seed is None else torch.Generator().manual_seed(test_seed)
    for name, share in (("test", test), ("validation", validation)):
        if parts[name] is None:
            # One sample (or group) of each class must remain for training, and one for each split not taken yet.
            left = sum(part is None for part in parts.values())
            classes, strata = (
                (source.classes, train.labels) if _has_classes(source) else (("all",), _one_stratum(train))
            )
            draw = of_test if name == "test" else generator
            if groups is None:
                _refuse_small_classes(strata, classes, left + 1)
                held_out = _stratified(strata, share, left, draw)
            else:
                held_out = _stratified_groups(strata, groups, classes, share, left, draw)
                groups = groups[~held_out]
            parts[name] = train.take(held_out.nonzero().flatten())
            train = train.take((~held_out).nonzero().flatten())
    result = {"train": train, **{name: part for name, part in parts.items() if part is not None}}
    if limit is not None:
        by_class = _has_classes(source)
        result = {
            name: _limited(part, part.labels if by_class else _one_stratum(part), limit, generator)
            for name, part in result.items()
        }
    return result


def fill_missing(
    parts: dict[str, Part], statistic: Literal["mean", "median"], columns: tuple[str, ...]
) -> dict[str, Part]:
    """Fill a table's missing values in every split by each column's statistic over the TRAINING rows that have a value.

    Args:
        parts: the splits; float32 [N, C], NaN where missing.
        statistic: of a column.
        columns: names, for messages.

    Raises:
        DataError: for a column without a value among the training rows.
    """
    train = _values(parts["train"]).double().numpy()
    empty = np.isnan(train).all(0)
    if empty.any():
        name = columns[int(empty.argmax())]
        raise DataError(f"column {name!r} has no value among the training rows: data.drop='[{name}]' leaves it out")
    filling = np.nanmean(train, axis=0) if statistic == "mean" else np.nanmedian(train, axis=0)
    values = torch.from_numpy(filling).float()
    return {
        name: replace(part, pictures=torch.where(_values(part).isnan(), values, _values(part)))
        for name, part in parts.items()
    }


def _values(part: Part) -> Tensor:
    assert isinstance(part.pictures, Tensor)
    return part.pictures


def _has_classes(source: Source) -> bool:
    return source.task == "classification"


def _one_stratum(part: Part) -> Tensor:
    return torch.zeros(len(part), dtype=torch.int64)


def _refuse_small_classes(labels: Tensor, classes: tuple[str, ...], needed: int) -> None:
    counts = torch.bincount(labels, minlength=len(classes))
    small = (counts < needed).nonzero().flatten().tolist()
    if small:
        more = f" (and {len(small) - 1} more classes)" if len(small) > 1 else ""
        raise DataError(
            f"class {classes[small[0]]!r} has {counts[small[0]].item()} image(s){more}; a split into training, "
            f"validation and test needs at least {needed} of each class: add images, or remove the class"
        )


def _rank_in_class(labels: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """For each image, a random rank 0, 1, ... among those of its class, and the size of its class."""
    order = torch.randperm(len(labels), generator=generator)
    by_class = order[labels[order].argsort(stable=True)]
    counts = torch.bincount(labels)
    starts = counts.cumsum(0) - counts
    rank = torch.empty(len(labels), dtype=torch.int64)
    rank[by_class] = torch.arange(len(labels)) - starts[labels[by_class]]
    return rank, counts[labels]


def _stratified(labels: Tensor, share: float, left: int, generator: torch.Generator) -> Tensor:
    """Mask of a share of each class: at least one image, and all but ``left`` at most."""
    rank, size = _rank_in_class(labels, generator)
    target = (share * size).round().clamp(min=1)
    return rank < torch.minimum(target, (size - left).to(target.dtype))


def _stratified_groups(
    labels: Tensor, groups: Tensor, classes: tuple[str, ...], share: float, left: int, generator: torch.Generator
) -> Tensor:
    """Mask of whole groups that hold about a share of each class.

    The groups are taken in random order. A group is held out if this brings the counts of the classes nearer to their
    targets, in squared distance. Then each class that is still missing gets its first group that leaves enough others.

    Raises:
        DataError: if a class has too few groups.
    """
    names, member = groups.unique(return_inverse=True)
    counts = torch.zeros(len(names), len(classes), dtype=torch.float64)  # [groups, classes]
    counts.index_put_((member, labels), torch.ones(len(labels), dtype=torch.float64), accumulate=True)
    of_class = (counts > 0).sum(0)  # groups that hold each class
    if few := (of_class < left + 1).nonzero().flatten().tolist():
        raise DataError(
            f"class {classes[few[0]]!r} occurs in {of_class[few[0]]} group(s); a split of whole groups needs "
            f"at least {left + 1} of each class: add groups, or remove the class"
        )
    # Plain numbers, because there may be as many groups as samples.
    target, rows, remaining = (share * counts.sum(0)).tolist(), counts.tolist(), of_class.tolist()
    taken, held_out = [0.0] * len(classes), set()

    def leaves_enough(row: list[float]) -> bool:
        return all(groups_left - (count > 0) >= left for groups_left, count in zip(remaining, row, strict=True))

    def hold_out(group: int) -> None:
        held_out.add(group)
        for label, count in enumerate(rows[group]):
            taken[label] += count
            remaining[label] -= count > 0

    order = torch.randperm(len(names), generator=generator).tolist()
    for group in order:
        row = rows[group]
        # |taken + row - target|^2 - |taken - target|^2
        change = sum(
            count * (2 * (t - goal) + count) for count, t, goal in zip(row, taken, target, strict=True) if count
        )
        if change < 0 and leaves_enough(row):
            hold_out(group)
    for label, name in enumerate(classes):
        for group in order:
            if taken[label] == 0 and rows[group][label] > 0 and leaves_enough(rows[group]):
                hold_out(group)
        if taken[label] == 0:
            raise DataError(f"no whole groups can be held out so that class {name!r} is in every split: add groups")
    is_held_out = torch.zeros(len(names), dtype=torch.bool)
    is_held_out[list(held_out)] = True
    return is_held_out[member]


def _limited(part: Part, strata: Tensor, limit: int, generator: torch.Generator) -> Part:
    if len(part) <= limit:
        return part
    rank, size = _rank_in_class(strata, generator)
    # Evenly spread positions in each class: the first `limit` of them hold the classes in proportion.
    chosen = ((rank + 0.5) / size).argsort(stable=True)[:limit]
    return part.take(chosen.sort().values)
