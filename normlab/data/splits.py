"""Which images belong to training, validation and test: seeded, stratified, and the same for every scheme."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from normlab.data.digests import digest_files
from normlab.errors import DataError
from normlab.pictures import Reading


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

    def take(self, places: list[int]) -> Files:
        """The files at these positions."""
        part = replace(
            self,
            paths=tuple(self.paths[place] for place in places),
            pages=None if self.pages is None else tuple(self.pages[place] for place in places),
        )
        if "digests" in vars(self):  # computed before: do not read the files again
            vars(part)["digests"] = [self.digests[place] for place in places]
        return part


@dataclass(frozen=True)
class Part:
    """Labeled images, decoded or not."""

    pictures: Tensor | Files  # uint8 [N, C, H, W], or N files
    labels: Tensor  # int64 [N]

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, index: Tensor) -> Part:
        """The images at these positions, int64 [M]."""
        if isinstance(self.pictures, Files):
            return Part(self.pictures.take(index.tolist()), self.labels[index])
        return Part(self.pictures[index], self.labels[index])

    @cached_property
    def content(self) -> str:
        """Hash of the images (of the files' bytes, where they are files) and the labels, in their order."""
        digest = hashlib.blake2b(digest_size=8)
        if isinstance(self.pictures, Files):
            digest.update("\n".join(self.pictures.digests).encode())
        else:
            digest.update(f"{self.pictures.dtype} {list(self.pictures.shape)}\n".encode())
            digest.update(self.pictures.contiguous().numpy().data)
        digest.update(self.labels.contiguous().numpy().data)
        return digest.hexdigest()


@dataclass(frozen=True)
class Source:
    """The content of a data source: classes, training images, and validation and test images if it has them."""

    classes: tuple[str, ...]
    train: Part
    validation: Part | None = None
    test: Part | None = None
    notes: tuple[str, ...] = ()

    @cached_property
    def content(self) -> str:
        """Hash of all images and labels: 16 hexadecimal digits, the same wherever the files lie.

        Names of files and classes change it only through the order that they give to images and labels.
        """
        parts = {"train": self.train, "validation": self.validation, "test": self.test}
        text = "".join(f"{name} {part.content}\n" for name, part in parts.items() if part is not None)
        return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def split(source: Source, validation: float, test: float, limit: int | None, seed: int) -> dict[str, Part]:
    """Training, validation and test images; a split that the source lacks is taken from its training images.

    Args:
        source: the images.
        validation: share of the training images, where the source has no validation split.
        test: share of all images, where the source has no test split.
        limit: largest number of images in each split, drawn in proportion to the classes; None: all.
        seed: of the draw; independent of the seed of a run.

    Raises:
        DataError: if a class has too few images to be in every split.
    """
    generator = torch.Generator().manual_seed(seed)
    train = source.train
    parts = {"validation": source.validation, "test": source.test}
    for name, share in (("test", test), ("validation", validation)):
        if parts[name] is None:
            # One image of each class must remain for training, and one for each split that is not taken yet.
            left = sum(part is None for part in parts.values())
            _refuse_small_classes(train, source.classes, left + 1)
            held_out = _stratified(train.labels, share, left, generator)
            parts[name] = train.take(held_out.nonzero().flatten())
            train = train.take((~held_out).nonzero().flatten())
    result = {"train": train, **{name: part for name, part in parts.items() if part is not None}}
    if limit is not None:
        result = {name: _limited(part, limit, generator) for name, part in result.items()}
    return result


def _refuse_small_classes(part: Part, classes: tuple[str, ...], needed: int) -> None:
    counts = torch.bincount(part.labels, minlength=len(classes))
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


def _limited(part: Part, limit: int, generator: torch.Generator) -> Part:
    if len(part) <= limit:
        return part
    rank, size = _rank_in_class(part.labels, generator)
    # Evenly spread positions in each class: the first `limit` of them hold the classes in proportion.
    chosen = ((rank + 0.5) / size).argsort(stable=True)[:limit]
    return part.take(chosen.sort().values)
