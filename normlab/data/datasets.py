"""A data set: from a checked configuration to labeled uint8 images in three splits."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Mapping, Sized
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor

from normlab.config import Data, choose
from normlab.data import cache
from normlab.data.digests import MISSING
from normlab.data.images import Format, Survey, decode, format_of, resize, survey
from normlab.data.layout import printable
from normlab.data.loader import MemorySplit, Split, StreamedSplit
from normlab.data.splits import Files, Part, Source, split
from normlab.errors import DataError
from normlab.pictures import CorruptImageError, Picture, describe_picture, read_picture

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Dataset:
    """Labeled images in three splits.

    Attributes:
        train, validation, test: each with ``images`` uint8 [N, C, H, W] and ``labels`` int64 [N].
        classes: names of the classes; a label is an index into them.
        content: hash of the source's images and labels, before any split, limit or resizing.
        key: hash of the pixels, labels and splits that a run trains on (of the files, when images stream).
        notes: how files were changed, such as "3 images: alpha channel, dropped".
    """

    name: str
    train: Split
    validation: Split
    test: Split
    classes: tuple[str, ...]
    content: str
    key: str
    notes: tuple[str, ...] = ()

    @property
    def shape(self) -> tuple[int, int, int]:
        """C, H, W of an image."""
        return self.train.shape

    @property
    def splits(self) -> dict[str, Split]:
        """The three splits by name."""
        return {"train": self.train, "validation": self.validation, "test": self.test}

    def training_images(self, batch_size: int = 256) -> Iterator[Tensor]:
        """Batches of training images, uint8 [B, C, H, W], to fit a normalization on."""
        return (images for images, _ in self.train.batches(batch_size))


def dataset(name: str, **options: Any) -> Dataset:
    """A data set by its config name.

    >>> digits = dataset("digits", limit=100)
    >>> digits.train.images.shape, digits.train.images.dtype, len(digits.classes)
    (torch.Size([100, 1, 8, 8]), torch.uint8, 10)

    Args:
        name: a file of ``configs/data/``, without its ending.
        options: changes to the file's options, such as ``limit=1000`` or ``root="path"``.

    Raises:
        ConfigError: for an unknown name, an unknown option or a value out of range.
        DataError: if the images are missing or cannot be used.
    """
    return load(choose("data", name, **options))


def open_source(config: Data) -> Source:
    """The source that a checked configuration describes; files are listed, not decoded.

    Raises:
        DataError: if the data are missing or cannot be used.
    """
    return config.build()


def load(config: Data, source: Source | None = None) -> Dataset:
    """The data set that a checked configuration describes.

    Args:
        config: of the data.
        source: from :func:`open_source`; None opens it.
    """
    source = source or open_source(config)
    parts = split(source, config.validation, config.test, config.limit, config.split_seed)
    log.info("data: %s: %s", config.name, counts(source.classes, parts))
    if isinstance(parts["train"].pictures, Files):
        if config.stream if config.stream is not None else _too_large(parts, config):
            return _stream(parts, source, config)
        splits, notes, format = _decode(parts, config)
    else:
        splits, notes = _in_memory(parts, config.image_size), []
    notes = [*source.notes, *notes]
    for note in notes:
        log.info("data: %s", note)
    return Dataset(
        config.name,
        **splits,
        classes=source.classes,
        content=source.content,
        key=_content_key(splits),
        notes=tuple(notes),
    )


def _in_memory(parts: dict[str, Part], image_size: int | None) -> dict[str, MemorySplit]:
    splits = {}
    for name, part in parts.items():
        assert isinstance(part.pictures, Tensor)
        images = part.pictures if image_size is None else resize(part.pictures, image_size)
        splits[name] = MemorySplit(images, part.labels)
    return splits


def _files(part: Part) -> Files:
    assert isinstance(part.pictures, Files)
    return part.pictures


def _decode(parts: dict[str, Part], config: Data) -> tuple[dict[str, MemorySplit], list[str], Format]:
    """Decode all splits together, so that they agree on size, type and bands, or take them from the cache."""
    first = _files(parts["train"])
    skip, reading = first.skip_corrupt, first.reading
    # Sorted, so that another split of the same files gets the same key of the cache.
    all_files = [_files(part) for part in parts.values()]
    digests = {item: one for files in all_files for item, one in zip(files.items, files.digests, strict=True)}
    items = sorted(digests)

    def make() -> dict[str, Any]:
        decoded = decode(items, config.image_size, skip, reading)
        return {
            "images": decoded.images,
            "kept": torch.tensor(decoded.kept),
            "notes": decoded.notes,
            "format": asdict(decoded.format),
        }

    if config.cache:
        options = {"image_size": config.image_size, "skip_corrupt": skip, **reading.options}
        entry = cache.remember(cache.key([digests[item] for item in items], **options), make)
    else:
        entry = make()
    place = {items[position]: row for row, position in enumerate(entry["kept"].tolist())}
    splits = {}
    for name, part in parts.items():
        rows = torch.tensor([place.get(item, -1) for item in _files(part).items])
        if (rows < 0).all():
            raise DataError(f"none of the {len(part)} {name} images could be read")
        splits[name] = MemorySplit(entry["images"][rows[rows >= 0]], part.labels[rows >= 0])
    return splits, [_note(count, what) for what, count in entry["notes"].items()], Format(**entry["format"])


def _note(count: int, what: str) -> str:
    return f"{count:,} image{'s' * (count != 1)}: {what}"


def _too_large(parts: dict[str, Part], config: Data) -> bool:
    """Whether the decoded images would exceed data.memory_gb, judged by the first image."""
    first = _first_readable(_files(parts["train"]), whole=config.image_size is None)
    width, height = first.size if config.image_size is None else (config.image_size, config.image_size)
    format = format_of(first)
    if config.image_size is not None and format.bands == 1:
        format = replace(format, bands=3)  # color images may follow
    return sum(map(len, parts.values())) * format.bytes_per_pixel * width * height > config.memory_gb * 2**30


def _first_readable(files: Files, whole: bool) -> Picture:
    for path, page in files.items:
        try:
            return (read_picture if whole else describe_picture)(path, files.reading, page)
        except CorruptImageError:
            if not files.skip_corrupt:
                raise
    raise DataError(f"none of {len(files)} files could be read as an image")


def _stream(parts: dict[str, Part], source: Source, config: Data) -> Dataset:
    size = config.image_size
    if size is None:
        raise DataError(
            "these images stream from disk (they do not fit into data.memory_gb, or data.stream=true): "
            "give data.image_size=PIXELS, so that all of them have one size"
        )
    known, notes = _survey(parts, config)
    splits, format = {}, known.format
    digest = hashlib.blake2b(repr(size).encode(), digest_size=8)
    rows = iter(known.is_kept)
    for name, part in parts.items():
        is_kept = torch.tensor([next(rows) for _ in range(len(part))])
        if not is_kept.any():
            raise DataError(f"none of the {len(part)} {name} images could be read")
        part = part.take(is_kept.nonzero().flatten())
        splits[name] = StreamedSplit(
            _files(part), part.labels, size, config.workers, config.memory_gb * 2**30, format
        )
        for path in _files(part).paths:
            if not path.is_file():
                raise DataError(f"{path}: no such file")
        digest.update(f"{name} {part.content}\n".encode())
    notes = [*source.notes, *notes]
    return Dataset(
        config.name, **splits, classes=source.classes, content=source.content, key=digest.hexdigest(), notes=tuple(notes)
    )


def _survey(parts: dict[str, Part], config: Data) -> tuple[Survey, list[str]]:
    """The format of all images, in one pass over the files before training, or from the cache."""
    all_files = [_files(part) for part in parts.values()]
    skip, reading = all_files[0].skip_corrupt, all_files[0].reading
    items = [item for files in all_files for item in files.items]

    def make() -> dict[str, Any]:
        return asdict(survey(items, skip, reading))

    if config.cache:
        digests = [digest for files in all_files for digest in files.digests]
        entry = cache.remember("survey-" + cache.key(digests, skip_corrupt=skip, **reading.options), make)
    else:
        entry = make()
    known = Survey(**{**entry, "format": Format(**entry["format"])})
    return known, [_note(count, what) for what, count in known.notes.items()]


def repeated(parts: dict[str, Part]) -> list[str]:
    """A sentence on the files of equal bytes that are in the training split and in another one."""
    files = {name: part.pictures for name, part in parts.items() if isinstance(part.pictures, Files)}
    if "train" not in files:
        return []
    known = dict(zip(files["train"].digests, files["train"].paths, strict=True))
    sentences = []
    for name in [name for name in files if name != "train"]:
        pairs = list(zip(files[name].digests, files[name].paths, strict=True))
        if same := [(path, known[digest]) for digest, path in pairs if digest in known and digest != MISSING]:
            one, other = (printable(str(path)) for path in same[0])
            sentences.append(
                f"{len(same):,} of {len(pairs):,} {name} images are training images, too, with equal bytes (such as {one} "
                f"and {other}): results on them say nothing about new images"
            )
    return sentences


def counts(classes: tuple[str, ...], parts: Mapping[str, Sized]) -> str:
    """Classes and numbers of images of the splits, in one line.

    >>> counts(("a", "b"), {"train": range(6), "test": range(2)})
    '2 classes (a, b); 6 train, 2 test'
    """
    shown = ", ".join(classes[:10]) + f", ... {classes[-1]}" * (len(classes) > 10)
    return f"{len(classes):,} classes ({shown}); " + ", ".join(f"{len(part):,} {name}" for name, part in parts.items())


def _content_key(splits: dict[str, MemorySplit]) -> str:
    digest = hashlib.blake2b(digest_size=8)
    for name, part in splits.items():
        digest.update(f"{name} {list(part.images.shape)}\n".encode())
        for tensor in (part.images, part.labels):
            digest.update(tensor.contiguous().numpy().data)
    return digest.hexdigest()
