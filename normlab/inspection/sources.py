"""The images to inspect: a folder of any files, or a data source as in a run."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch

from normlab.config import Data
from normlab.data import Files, Part
from normlab.data.datasets import above_white, repeated
from normlab.data.digests import digest_files
from normlab.data.folder import count_beside, find_lists, split_names
from normlab.data.images import Item, resize
from normlab.data.layout import Walk, doubts, find_masks, find_splits, named, printable, unreadable_folder, walk
from normlab.data.lists import read_lists, unlisted
from normlab.data.splits import split
from normlab.data.tokens import Texts
from normlab.errors import DataError
from normlab.inputs import draw_positions
from normlab.inspection.exposure import differences
from normlab.inspection.images import Inspection, inspect_files, inspect_images
from normlab.pictures import SUFFIXES, Reading, count_pages, read_picture


@dataclass(frozen=True)
class Subject:
    """What was inspected.

    Attributes:
        train: statistics of the training images; of all images where there are no splits.
        total: training images before a limit.
        others: statistics of the other splits by name.
        classes: number of training images by class, of those that could be read; of a sample, number of files. Empty
            where the images lie in no classes.
        notes: what was left out, and how the folder was understood.
        warnings: what makes the numbers, or a run on these images, doubtful.
    """

    train: Inspection
    total: int
    others: dict[str, Inspection] = field(default_factory=dict)
    classes: dict[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def inspect_with_progress(
    files: Sequence[Path | Item],
    limit: int | None = None,
    small: int = 4000,
    config: Data | None = None,
    reading: Reading | None = None,
    split: str = "images",
) -> Inspection:
    """Inspect the files, at most ``limit`` of them, with a progress bar in a terminal."""
    from tqdm import tqdm

    chosen = [files[place] for place in draw_positions(len(files), limit).tolist()]
    with tqdm(total=len(chosen), desc=split, unit="", disable=not sys.stderr.isatty(), leave=False) as bar:
        return inspect_files(
            chosen,
            small,
            image_size=config.image_size if config else None,
            progress=bar.update,
            reading=reading,
            black=config.black if config else None,
            white=config.white if config else None,
        )


def reading_of(config: Data) -> Reading:
    """How the files of ``data=folder`` become images."""
    values = {name: getattr(config, name, None) for name in ("pages", "bands", "exif", "axes", "mask")}
    bands = values["bands"]
    return Reading(
        values["pages"] or "refuse",
        None if bands is None else tuple(bands),
        values["exif"] or "ignore",
        values["axes"],
        values["mask"],
    )


def inspect_folder(folder: Path, config: Data, limit: int | None = None, small: int = 4000) -> Subject:
    """Inspect every image below a folder, or at most ``limit`` of them at random; of splits, each one.

    Args:
        folder: any number of levels deep; with or without splits and classes.
        config: of ``data=folder``: how files are read, and which folders are splits.
        limit: largest number of images of each split, drawn at random; None: all.
        small: largest number of images that are kept as small copies.

    Raises:
        DataError: if there is no such folder, no image in it, none can be read, or its layout has two meanings.
    """
    folder = folder.expanduser()
    if folder.is_file():
        raise DataError(
            f"{folder}: a file; inspect describes a folder of images or recordings, a table (.csv, .parquet) or texts "
            f"(.tsv). For series: python -m normlab.choose data=series data.root={folder}"
        )
    if not folder.is_dir():
        raise DataError(f"{folder}: there is no such folder")
    errors: list[OSError] = []
    splits, labels, notes = _listed(folder, getattr(config, "splits", None), errors)
    if not splits:
        skipped = f"; {'; '.join(notes)}" if notes else ""
        raise DataError(
            unreadable_folder(errors[0])
            if errors
            else f"{folder}: no images in it ({', '.join(sorted(SUFFIXES))}){skipped}"
        )
    reading = reading_of(config)
    parts = {
        name: Part(Files(tuple(paths), reading=reading), torch.zeros(len(paths))) for name, paths in splits.items()
    }
    found = {}
    for name, paths in splits.items():
        items = _with_pages(paths, reading)
        if len(items) > len(paths):
            notes.append(f"{len(items):,} pages in {len(paths):,} files" + f" of the {name} split" * (len(splits) > 1))
        label = "images" if len(splits) == 1 else name
        found[name] = (inspect_with_progress(items, limit, small, config, reading, label), len(items))
    inspections = {name: inspection for name, (inspection, _) in found.items()}
    warnings = [*repeated(parts), *copies(parts, inspections)] if len(parts) > 1 else []
    warnings += equal_bytes(next(iter(inspections.values())), reading)
    train, total = found.pop(next(iter(found)))
    classes = _counts(labels, train, is_whole=limit is None or limit >= total)
    train = replace(train, unreadable=(*map(unreadable_folder, errors), *train.unreadable))
    others = {name: inspection for name, (inspection, _) in found.items()}
    return _subject(train, total, others, classes, notes, warnings, config)


def copies(parts: dict[str, Part], found: dict[str, Inspection]) -> list[str]:
    """A sentence for each split with images that another split holds in files of other bytes, such as PNG and BMP.

    Images that have as many pixels, and in each band the same sums of x and of x^2, are read again and compared. Files
    of several pages are left out.

    Args:
        parts: the files of the splits; training first.
        found: their statistics.
    """
    sentences: list[str] = []
    by_sums: dict[tuple[float, ...], list[str]] = {}
    digests: set[str] = set()
    for name, part in parts.items():
        files, inspection = part.pictures, found[name]
        if not isinstance(files, Files) or files.pages is not None or files.reading.pages == "all":
            continue
        with_bytes = zip(files.paths, files.digests, strict=True)
        known = {str(path.absolute()) for path, digest in with_bytes if digest in digests}
        own = list(zip(inspection.names, inspection.sums.rows(), strict=True))
        same = []
        for file, key in own:
            others = () if file in known else by_sums.get(key, ())
            if copy := next((other for other in others if _same_pixels(file, other, files.reading)), None):
                same.append((file, copy))
        if same:
            one, other = map(printable, same[0])
            sentences.append(
                f"COPIES: {len(same):,} of {len(own):,} {name} images have the same pixels as an image of another "
                f"split in a file of other bytes (such as {one} and {other}): results on them say nothing about new "
                f"images"
            )
        for file, key in own:
            by_sums.setdefault(key, []).append(file)
        digests.update(files.digests)
    return sentences


def equal_bytes(found: Inspection, reading: Reading) -> list[str]:
    """A sentence on training images whose files have equal bytes; only files of equal sums are read again."""
    by_sums: dict[tuple[float, ...], list[str]] = {}
    if reading.pages == "all":  # of one file
        return []
    for file, key in zip(found.names, found.sums.rows(), strict=True):
        by_sums.setdefault(key, []).append(file)
    alike = [Path(file) for files in by_sums.values() if len(files) > 1 for file in files]
    by_bytes: dict[str, list[Path]] = {}
    for path, digest in zip(alike, digest_files(alike), strict=True):
        by_bytes.setdefault(digest, []).append(path)
    same = [files for files in by_bytes.values() if len(files) > 1]
    if not same:
        return []
    one, other = (printable(str(file)) for file in same[0][:2])
    return [
        f"REPEATED: {sum(map(len, same)) - len(same):,} images have the same bytes as another training image (such as "
        f"{one} and {other}); if they fall into different splits, results on them say nothing about new images"
    ]


def _same_pixels(one: str, other: str, reading: Reading) -> bool:
    a, b = (read_picture(Path(file), reading).array for file in (one, other))
    if a.shape[1:] != b.shape[1:] or (len(a) != len(b) and 1 not in (len(a), len(b))):
        return False
    a, b = np.broadcast_arrays(a, b)  # a gray image beside color
    return np.array_equal(a, b, equal_nan=a.dtype.kind == "f")


def _subject(
    train: Inspection,
    total: int,
    others: dict[str, Inspection],
    classes: dict[str, int],
    notes: Sequence[str],
    warnings: Sequence[str],
    config: Data,
) -> Subject:
    unused = None if config.white is not None else train.hardly_used()
    found = [*([unused] if unused else []), *differences(train, others), *warnings]
    if isinstance(config.white, int | float) and (
        above := above_white(float(train.largest.max()), train.black, train.white)
    ):
        found.append(above)
    if unit := _of_8_bits(train):
        found.append(unit)
    if not train.sums.statistics("pooled")[1].any():
        found.insert(0, "CONSTANT: all pixels have the same value in each band; a run refuses such training images")
    if (count := train.converted.get("alpha channel, dropped")) and getattr(config, "mask", None) is None:
        notes = [
            *notes,
            f"transparent pixels of {count:,} images count like any other; data.mask=alpha leaves them out",
        ]
    if getattr(config, "mask", None) is not None and not train.left_out:
        notes = [*notes, "data.mask leaves out no pixel of these images"]
    return Subject(train, total, others, classes, tuple(notes), tuple(found))


def _of_8_bits(train: Inspection) -> str | None:
    """A warning about numbers without a declared range that look like those of 8 bits."""
    low, high = (ends.tolist() for ends in train.range())
    if train.is_bounded or min(low) < 0 or not 128 <= max(high) <= 255:
        return None
    return (
        f"NO RANGE: {train.type} from {min(low):g} to {max(high):g} without a declared range, so that u is x itself; "
        f"if these are values of 0..255, set data.white=255"
    )


def _listed(
    root: Path, splits: dict[str, str] | str | None, errors: list[OSError]
) -> tuple[dict[str, list[Path]], dict[Path, str], list[str]]:
    """The files by split (one, ``all``, if there are no splits), training files' classes, notes; training first."""
    names = split_names(splits)
    if isinstance(names, Path):
        where = find_lists(names, root)
        lists, told = read_lists(where, root)
        lists = {split: lists[split] for split in ("train", "validation", "test") if split in lists}
        labels = {path: printable(label) for path, label in lists["train"]}
        notes = [f"splits from {printable(str(where))}", *told, *unlisted(lists, root)]
        return {split: [path for path, _ in rows] for split, rows in lists.items()}, labels, notes
    notes, skipped = [], Walk()
    if masks := find_masks(root):
        root, beside = masks
        notes.append(
            f"images/ and masks: only {root.name}/ is counted; left out {', '.join(f'{name}/' for name in beside)}"
        )
    folders = find_splits(root, names, needs_train=False) if names is not None or _is_readable(root) else {}
    if folders:
        count_beside(root, folders, skipped)
        if "test" not in folders and "validation" in folders:
            folders["test"] = folders.pop("validation")
        notes += [f"{where}/ is the {split} split" for split, where in named(root, folders)]
    found, labels = {}, {}
    for split_name, path in (folders or {"all": root}).items():
        if inner := find_masks(path) if path != root else None:
            path = inner[0]
            notes.append(f"{split_name}: only {path.name}/ is counted; left out {', '.join(f'{n}/' for n in inner[1])}")
        below = walk(path, errors.append)
        skipped.add(below)
        if below.images:
            found[split_name] = below.images
        elif folders:
            notes.append(f"{printable(str(path.relative_to(root)))}/ is the {split_name} split, but holds no images")
        if split_name in ("train", "all"):
            labels = _labels(path, below.images)
            if not errors:
                notes += doubts(path, below.images, split_name == "train" or names == "none")
            loose = sum(image.parent == path for image in below.images)
            if 0 < loose < len(below.images):
                notes.append(
                    f"{loose:,} image{'s' * (loose != 1)} directly in {printable(str(path))}, beside sub-folders: "
                    f"counted here, but of no class in a run"
                )
    return found, labels, [*notes, *skipped.notes()]


def _is_readable(folder: Path) -> bool:
    return os.access(folder, os.R_OK | os.X_OK)


def _labels(root: Path, paths: Sequence[Path]) -> dict[Path, str]:
    """The sub-folder of each image; empty if images lie in the folder itself or there is one sub-folder."""
    parts = {path: path.relative_to(root).parts for path in paths}
    labels = {path: printable(names[0]) for path, names in parts.items() if len(names) > 1}
    return labels if len(labels) == len(paths) and len(set(labels.values())) > 1 else {}


def _counts(labels: Mapping[Path, str], train: Inspection, is_whole: bool) -> dict[str, int]:
    """Number of images by class: of those that were read, or of all files where those are a sample."""
    counts = dict.fromkeys(labels.values(), 0)
    by_name = {str(path.absolute()): label for path, label in labels.items()}
    read: Iterable[str] = train.names if is_whole and labels else by_name
    for name in read:
        counts[by_name[name]] += 1
    return counts


def _with_pages(paths: Sequence[Path], reading: Reading) -> Sequence[Path | Item]:
    if reading.pages != "all":
        return paths
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        counts = list(pool.map(count_pages, paths, [reading] * len(paths)))
    return [(path, page) for path, count in zip(paths, counts, strict=True) for page in range(count)]


def inspect_source(config: Data, limit: int | None = None, small: int = 4000) -> Subject:
    """Inspect the training images of a run, and the validation and test images that the source brings itself.

    Args:
        config: the data source.
        limit: largest number of images; ``config.limit`` comes first if it is given.
        small: largest number of images that are kept as small copies.

    Raises:
        DataError: if there are no images, or none can be read.
    """
    source, limit = config.build(), config.limit or limit
    if source.kind == "series":
        raise DataError(
            f"data={config.name}: series; inspect describes images, tables, recordings and texts. Which normalization "
            f"suits series: python -m normlab.choose data={config.name}"
        )
    whole, parts = (
        split(source, config.validation, config.test, most, config.split_seed, config.test_seed)
        for most in (None, limit)
    )

    def inspected(name: str, part: Part) -> Inspection:
        if isinstance(part.pictures, Files):  # read one by one, because they may not fit into memory
            return inspect_with_progress(
                part.pictures.items, small=small, config=config, reading=part.pictures.reading, split=name
            )
        if isinstance(part.pictures, Texts):
            raise DataError(f"data={config.name}: holds texts, not images")
        images = part.pictures if config.image_size is None else resize(part.pictures, config.image_size)
        black, white = (
            own if own is not None else declared
            for own, declared in ((config.black, source.black), (config.white, source.white))
        )
        return inspect_images(images, small, black=black, white=white)

    own = {"validation": source.validation, "test": source.test}
    others = {name: inspected(name, parts[name]) for name, part in own.items() if part is not None}
    train = inspected("train", parts["train"])
    files, numbers = whole["train"].pictures, whole["train"].labels
    if isinstance(files, Files):
        labels = {path: source.classes[n] for path, n in zip(files.paths, numbers.tolist(), strict=True)}
        read = _counts(labels, train, is_whole=limit is None or limit >= len(numbers))
        classes = dict.fromkeys(source.classes, 0) | read
    else:
        counts = torch.bincount(numbers, minlength=len(source.classes)).tolist()
        classes = dict(zip(source.classes, counts, strict=True))
    given = {name: part for name, part in parts.items() if name == "train" or name in others}
    warnings = [*repeated(given), *copies(given, {"train": train, **others})]
    return _subject(train, len(whole["train"]), others, classes, source.notes, warnings, config)
