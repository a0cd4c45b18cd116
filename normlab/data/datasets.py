"""A data set: from a checked configuration to labeled inputs in three splits."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Mapping, Sized
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from normlab.config import Data, choose
from normlab.data import cache
from normlab.data.digests import MISSING
from normlab.data.images import Format, Survey, decode, format_of, resize, survey
from normlab.data.layout import printable
from normlab.data.loader import Batch, MemorySplit, Split, StreamedSplit
from normlab.data.splits import Files, Part, Source, fill_missing, split
from normlab.data.tokens import Texts, encode_splits
from normlab.errors import DataError
from normlab.inputs import (
    Target,
    check_finite,
    check_range,
    comparable,
    evenly_spaced,
    pixels_that_count,
    range_of_type,
    select,
)
from normlab.norms.log_mel import Front
from normlab.pictures import CorruptImageError, Picture, Reading, describe_picture, read_picture

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Dataset:
    """Labeled inputs in three splits.

    Attributes:
        train, validation, test: each with ``inputs`` [N, C, *positions] of a type of :mod:`normlab.inputs`, for images
            also called ``images``, and ``labels`` int64 [N] (of regression float32 [N]).
        classes: names of the classes, a label is an index into them; of a regression, the name of the target.
        content: hash of the source's images and labels, before any split, limit or resizing.
        key: hash of the pixels, labels and splits that a run trains on (of the files, when images stream).
        test_key: hash of the test samples as the source has them: runs with the same were tested on the same.
        notes: how files were changed, such as "3 images: alpha channel, dropped".
        black, white: the values x that stand for u = 0 and u = 1.
        kind: what the inputs are.
        task: whether labels are classes or numbers.
        tokenizer: of texts, as the JSON text of the library ``tokenizers``; a token is an id from 0 to ``white``.
        target: of a regression, mean and standard deviation of the training labels, by which training standardizes
            them; 0 and 1 if it does not.
        forecasts: whether the label is a later value of the input itself.
        columns: names of a table's features.
        front: of recordings, what is done to a waveform before a normalization.
        masked: whether ``data.mask`` leaves out pixels; images are then float32, and these pixels NaN.
    """

    name: str
    train: Split
    validation: Split
    test: Split
    classes: tuple[str, ...]
    content: str
    key: str
    test_key: str = ""
    notes: tuple[str, ...] = ()
    black: float = 0.0
    white: float = 255.0
    kind: Literal["images", "tables", "series", "audio", "text"] = "images"
    task: Literal["classification", "regression"] = "classification"
    tokenizer: str | None = None
    target: Target | None = None
    forecasts: bool = False
    columns: tuple[str, ...] = ()
    front: Front | None = None
    masked: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """C and positions of an input; C, H, W of an image."""
        return self.train.shape

    @property
    def input_type(self) -> torch.dtype:
        """Type of the inputs."""
        return self.train.input_type

    @property
    def tokens(self) -> int:
        """Number of different tokens, of texts."""
        return int(self.white) + 1

    @property
    def splits(self) -> dict[str, Split]:
        """The three splits by name."""
        return {"train": self.train, "validation": self.validation, "test": self.test}

    def require_quantities(self, what: str) -> None:
        """Refuse texts, whose tokens are names, where inputs are to be numbers.

        Args:
            what: is to be computed from them.

        Raises:
            DataError: for texts.
        """
        if self.kind == "text":
            raise DataError(f"data={self.name}: {what} takes numbers, and the tokens of texts are names")

    def training_inputs(self, batch_size: int = 256) -> Iterator[Tensor]:
        """Batches of training inputs, [B, C, *positions], to fit a normalization on."""
        return (inputs for inputs, _ in self.train.batches(batch_size))

    training_images = training_inputs  # the name for images

    def training_batches(self, batch_size: int = 256) -> Iterator[Batch]:
        """Batches of training inputs with the labels that the loss sees: of a regression, the standardized ones."""
        for inputs, labels in self.train.batches(batch_size):
            yield inputs, labels if self.target is None else self.target.standardized(labels.double())


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
    if config.image_size is not None and source.kind != "images":
        raise DataError(f"data.image_size={config.image_size}: data={config.name} holds no images; leave it out")
    parts = split(source, config.validation, config.test, config.limit, config.split_seed, config.test_seed)
    return replace(_loaded(parts, source, config), test_key=parts["test"].content)


def _loaded(parts: dict[str, Part], source: Source, config: Data) -> Dataset:
    if isinstance(parts["train"].pictures, Texts):
        return _encode(parts, source, config)
    if source.fill:
        parts = fill_missing(parts, source.fill, source.columns)
    if isinstance(parts["train"].pictures, Files):
        if config.stream if config.stream is not None else _too_large(parts, config):
            return _stream(parts, source, config)
        splits, notes, format = _decode(parts, config)
        return _dataset(declared(source, format), config, splits, _content_key(splits), notes, format)
    splits = _in_memory(parts, config.image_size)
    return _dataset(source, config, splits, _content_key(splits), [])


def _dataset(
    source: Source,
    config: Data,
    splits: dict[str, MemorySplit] | dict[str, StreamedSplit],
    key: str,
    notes: list[str],
    format: Format | None = None,
) -> Dataset:
    train = splits["train"]
    black, white = _range(source, config, train, format is not None and format.masked)
    notes = [*source.notes, *notes]
    if source.kind == "images" and config.white is None:
        kind = str(train.input_type).removeprefix("torch.") if format is None else format.type
        notes += [unused] if (unused := hardly_used(train, kind, white)) else []
    if source.kind == "images" and isinstance(config.white, int | float):
        notes += [above] if (above := above_white(_largest_of_some(train), black, white)) else []
    if source.task == "classification":
        log.info("data: %s: %s", config.name, counts(source.classes, splits))
    for note in notes:
        log.info("data: %s", note)
    return Dataset(
        config.name,
        **splits,
        classes=source.classes,
        content=source.content,
        key=key,
        notes=tuple(notes),
        black=black,
        white=white,
        kind=source.kind,
        task=source.task,
        target=_target(source, train.labels),
        forecasts=source.forecasts,
        columns=source.columns,
        front=source.front,
        masked=format is not None and format.masked,
    )


def _target(source: Source, labels: Tensor) -> Target | None:
    """The standardization of a regression's labels, by the training labels."""
    if source.task == "classification":
        return None
    if not source.standardize_target:
        return Target(0.0, 1.0)
    y = labels.double()
    if bool((y == y[0]).all()):
        raise DataError(f"the target {source.classes[0]!r} has one value, {y[0].item():g}, in every training row")
    return Target(y.mean().item(), y.std(correction=0).item())


def _range(source: Source, config: Data, train: Split, masked: bool) -> tuple[float, float]:
    """Black and white: the user's, else the files', else by the type."""
    by_type = range_of_type(train.input_type)
    declared = [by_type[i] if value is None else value for i, value in enumerate((source.black, source.white))]
    chosen = [declared[i] if value is None else value for i, value in enumerate((config.black, config.white))]
    if "observed" in chosen:
        low, high = _extremes(train, masked)
        chosen = [end if value == "observed" else value for value, end in zip(chosen, (low, high), strict=True)]
        if chosen[0] == chosen[1]:
            key = "white" if config.white == "observed" else "black"
            raise DataError(f"data.{key}=observed: all training values are {low:g}, which is no range")
    black, white = map(float, chosen)
    check_range(black, white)
    return black, white


def _extremes(train: Split, masked: bool) -> tuple[float, float]:
    low, high = float("inf"), float("-inf")
    for inputs, _ in train.batches(256):
        inputs = pixels_that_count(inputs) if masked else inputs
        check_finite(inputs)
        values = comparable(inputs)
        low, high = min(low, values.min().item()), max(high, values.max().item())
    return low, high


def declared(source: Source, format: Format) -> Source:
    """The source with the range that its files declare, unless it has one; with a mask, else that of their type."""
    ends: list[float | None] = [format.black, format.white]
    if format.masked:  # the type of the images is then another than that of the files
        by_type = range_of_type(getattr(torch, format.type))
        ends = [by_type[i] if end is None else end for i, end in enumerate(ends)]
    black, white = (end if own is None else own for own, end in zip((source.black, source.white), ends, strict=True))
    return replace(source, black=black, white=white)


# The largest value of a type, and the part of it below which a range counts as hardly used.
FULL_RANGES = {"uint8": (255, 4), "uint16": (65535, 2)}


def hardly_used(train: Split, kind: str, white: float) -> str | None:
    """A warning if the training images use less than half of 16 bits, or a quarter of 8; else None.

    Args:
        train: the images.
        kind: type of the pixels in the files.
        white: of the range.
    """
    if kind not in FULL_RANGES:
        return None
    largest = 0
    try:
        for inputs in _some(train):
            largest = max(largest, int(np.nanmax(inputs.numpy())))
            if hardly_used_of(kind, largest, white) is None:
                return None
    except DataError:  # of a stream; training will name the file
        return None
    return hardly_used_of(kind, largest, white)


def hardly_used_of(kind: str, largest: int, white: float) -> str | None:
    """The warning of :func:`hardly_used` for a type and a largest value."""
    full, part = FULL_RANGES.get(kind, (0, 1))
    return unused_range(largest, white) if white == full and largest * part < full else None


def above_white(largest: float, black: float, white: float) -> str | None:
    """A warning about values far above white, which the user gave; else None.

    >>> above_white(255, 0, 1)
    'ABOVE WHITE: the largest value is 255, so that u = (x - black)/(white - black) reaches 255; is data.white=1 meant?'
    """
    u = (largest - black) / (white - black)
    if u <= 2:
        return None
    return (
        f"ABOVE WHITE: the largest value is {largest:g}, so that u = (x - black)/(white - black) reaches {u:g}; is "
        f"data.white={white:g} meant?"
    )


def _largest_of_some(train: Split) -> float:
    try:
        return max(float(np.nanmax(inputs.numpy())) for inputs in _some(train, 64))
    except DataError:  # of a stream; training will name the file
        return float("-inf")


def unused_range(largest: int, white: float) -> str:
    """The warning about a range that is hardly used, with the key to set.

    >>> unused_range(4095, 65535)
    'HARDLY USED RANGE: the largest value is 4,095 of 65,535; if white has 12 bits, set data.white=4095 (or =observed)'
    """
    bits = next((bits for bits in (1, 2, 4, 8, 10, 12, 14, 16) if largest < 2**bits), 16)
    guess = min(2**bits - 1, int(white))
    return (
        f"HARDLY USED RANGE: the largest value is {largest:,} of {white:,.0f}; if white has {bits} bits, set "
        f"data.white={guess} (or =observed)"
    )


def require_spread(data: Dataset) -> None:
    """Refuse training inputs that all have the same value.

    Raises:
        DataError: naming the value.
    """
    first = None
    for inputs in _some(data.train):
        values = inputs.numpy()
        if data.masked:
            values = values[~np.isnan(values)]
        first = values.flat[0] if first is None else first
        if (values != first).any():
            return
    raise DataError(
        f"data={data.name}: all values of the training inputs are {first:g} (standard deviation 0): there is nothing "
        f"to learn; python -m normlab.inspect says what is in the files"
    )


def _some(train: Split, most: int = 2000) -> Iterator[Tensor]:
    """Batches of evenly spaced training inputs."""
    return (inputs for inputs, _ in train.batches(256, evenly_spaced(len(train), most)))


def _in_memory(parts: dict[str, Part], image_size: int | None) -> dict[str, MemorySplit]:
    splits = {}
    for name, part in parts.items():
        assert isinstance(part.pictures, Tensor)
        inputs = part.pictures if image_size is None else resize(part.pictures, image_size)
        splits[name] = MemorySplit(inputs, part.labels)
    return splits


def _encode(parts: dict[str, Part], source: Source, config: Data) -> Dataset:
    """Texts as tokens of the training texts' vocabulary, int32 [N, 1, T]; the range is that of the tokens."""
    if (config.black, config.white) != (None, None):
        raise DataError(f"data.black and data.white: the tokens of data={config.name} have no range; leave them out")
    texts = {name: part.pictures for name, part in parts.items() if isinstance(part.pictures, Texts)}
    encoded, tokenizer, notes = encode_splits(texts)
    splits = {name: MemorySplit(encoded[name].ids, part.labels) for name, part in parts.items()}
    data = _dataset(source, config, splits, _content_key(splits), notes)
    return replace(data, black=0.0, white=tokenizer.get_vocab_size() - 1.0, tokenizer=tokenizer.to_str())


def _files(part: Part) -> Files:
    assert isinstance(part.pictures, Files)
    return part.pictures


def _decode(parts: dict[str, Part], config: Data) -> tuple[dict[str, MemorySplit], list[str], Format]:
    """Decode all splits together, so that they agree on size, type and bands, or take them from the cache."""
    first = _files(parts["train"])
    skip, reading, of_range = first.skip_corrupt, first.reading, _of_range(config)
    # Sorted, so that another split of the same files gets the same key of the cache.
    all_files = [_files(part) for part in parts.values()]
    contents = {item: one for files in all_files for item, one in zip(files.items, files.content, strict=True)}
    items = sorted(contents)

    def make() -> dict[str, Any]:
        decoded = decode(items, config.image_size, skip, reading, **of_range)
        return {
            "images": decoded.images,
            "kept": torch.tensor(decoded.kept),
            "notes": decoded.notes,
            "format": asdict(decoded.format),
        }

    if config.cache:
        options = {"image_size": config.image_size, "skip_corrupt": skip, **reading.options, **of_range}
        kinds = {"images": Tensor, "kept": Tensor, "notes": dict, "format": dict}
        entry = cache.remember(cache.key([contents[item] for item in items], **options), make, kinds)
    else:
        entry = make()
    place = {items[position]: row for row, position in enumerate(entry["kept"].tolist())}
    splits, kept = {}, {}
    for name, part in parts.items():
        rows = torch.tensor([place.get(item, -1) for item in _files(part).items])
        if (rows < 0).all():
            raise DataError(f"none of the {len(part)} {name} images could be read")
        splits[name] = MemorySplit(select(entry["images"], rows[rows >= 0]), part.labels[rows >= 0])
        kept[name] = part.take((rows >= 0).nonzero().flatten())
    notes = [_note(count, what) for what, count in entry["notes"].items()]
    return splits, [*notes, *repeated(kept)], Format(**entry["format"])


def _of_range(config: Data) -> dict[str, bool]:
    """What the user's range changes when files are decoded; empty without one, as are the keys of the cache."""
    return {} if config.white is None else {"one_range": True}


def _note(count: int, what: str) -> str:
    return f"{count:,} image{'s' * (count != 1)}: {what}"


def _too_large(parts: dict[str, Part], config: Data) -> bool:
    """Whether the decoded images would exceed data.memory_gb, judged by the first image."""
    first = _first_readable(_files(parts["train"]), whole=config.image_size is None)
    width, height = first.size if config.image_size is None else (config.image_size, config.image_size)
    format = format_of(first, _files(parts["train"]).reading)
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
    splits, kept, format = {}, {}, known.format
    digest = hashlib.blake2b(repr(size).encode(), digest_size=8)
    rows = iter(known.is_kept)
    for name, part in parts.items():
        is_kept = torch.tensor([next(rows) for _ in range(len(part))])
        if not is_kept.any():
            raise DataError(f"none of the {len(part)} {name} images could be read")
        kept[name] = part = part.take(is_kept.nonzero().flatten())
        splits[name] = StreamedSplit(_files(part), part.labels, size, config.workers, config.memory_gb * 2**30, format)
        for path in _files(part).paths:
            if not path.is_file():
                raise DataError(f"{path}: no such file")
        digest.update(f"{name} {part.content}\n".encode())
    if (reading := _files(parts["train"]).reading) != Reading():
        digest.update(repr(sorted(reading.options.items())).encode())
    notes = [*notes, *repeated(kept)]
    return _dataset(declared(source, format), config, splits, digest.hexdigest(), notes, format)


def _survey(parts: dict[str, Part], config: Data) -> tuple[Survey, list[str]]:
    """The format of all images, in one pass over the files before training, or from the cache."""
    all_files = [_files(part) for part in parts.values()]
    skip, reading, of_range = all_files[0].skip_corrupt, all_files[0].reading, _of_range(config)
    items = [item for files in all_files for item in files.items]

    def make() -> dict[str, Any]:
        return asdict(survey(items, skip, reading, config.image_size, **of_range))

    if config.cache:
        kinds = {"is_kept": list, "notes": dict, "format": dict}
        contents = [content for files in all_files for content in files.content]
        options = {"skip_corrupt": skip, **reading.options, **of_range}
        if reading.mask is not None:  # whose pixels are counted at this size
            options["image_size"] = config.image_size
        entry = cache.remember("survey-" + cache.key(contents, **options), make, kinds)
    else:
        entry = make()
    known = Survey(**{**entry, "format": Format(**entry["format"])})
    return known, [_note(count, what) for what, count in known.notes.items()]


def repeated(parts: dict[str, Part]) -> list[str]:
    """A sentence on the files of equal bytes that are in two splits: test in the others, validation in training."""
    files = {name: part.pictures for name, part in parts.items() if isinstance(part.pictures, Files)}
    sentences: list[str] = []
    known: dict[str, Path] = {}
    for name in ("train", "validation", "test"):
        if name not in files:
            continue
        pairs = [pair for pair in zip(files[name].digests, files[name].paths, strict=True) if pair[0] != MISSING]
        if same := [(path, known[digest]) for digest, path in pairs if digest in known]:
            one, other = (printable(str(path)) for path in same[0])
            sentences.append(
                f"DUPLICATES: {len(same):,} of {len(pairs):,} {name} images are also among the training "
                f"{'images' if name == 'validation' else 'or validation images'}, with equal bytes (such as {one} and "
                f"{other}): results on them say nothing about new images"
            )
        known.update(pairs)
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
        of_type = "" if part.input_type == torch.uint8 else f" {part.input_type}"
        digest.update(f"{name} {list(part.inputs.shape)}{of_type}\n".encode())
        for tensor in (part.inputs, part.labels):
            digest.update(tensor.contiguous().numpy().data)
    return digest.hexdigest()
