"""Any folder of images, one sub-folder for each class."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import torch
from pydantic import Field

from normlab.config import Place, PositiveInt
from normlab.data.layout import (
    Walk,
    doubts,
    find_masks,
    find_splits,
    named,
    printable,
    sub_folders,
    unreadable_folder,
    walk,
)
from normlab.data.lists import Rows, read_lists, unlisted
from normlab.data.splits import Files, Part, Source
from normlab.errors import DataError
from normlab.pictures import SUFFIXES, Reading, count_pages, suffix_of

log = logging.getLogger(__name__)

SplitNames = Annotated[dict[str, str] | str, Place()]


def find(root: Path | str | None, what: str) -> Path:
    """The existing folder for ``data.root``: the path as given, or below NORMLAB_DATA.

    Raises:
        DataError: if the path is not given, or there is no such folder.
    """
    base = os.environ.get("NORMLAB_DATA")
    if root is None:
        if base is None:
            raise DataError(f"{what}: name the folder with data.root=FOLDER, or set the variable NORMLAB_DATA")
        return Path(base).expanduser()
    given = Path(root).expanduser()
    candidates = [given] if given.is_absolute() or base is None else [given, Path(base).expanduser() / given]
    for candidate in candidates:
        if candidate.is_dir():
            return candidate
    places = " or ".join(map(str, candidates))
    raise DataError(f"data.root={root}: there is no folder {places}")


def find_file(root: Path | str, expected: str) -> Path:
    """The existing file for ``data.root``: the path as given, or below NORMLAB_DATA.

    Args:
        root: of the file.
        expected: what the file should be, for the message about a folder.

    Raises:
        DataError: if there is no such file.
    """
    base, given = os.environ.get("NORMLAB_DATA"), Path(root).expanduser()
    candidates = [given] if given.is_absolute() or base is None else [given, Path(base).expanduser() / given]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    if any(candidate.is_dir() for candidate in candidates):
        raise DataError(f"data.root={root}: a folder; expected {expected}")
    hint = "" if base else "; or set the variable NORMLAB_DATA to the folder that holds it"
    raise DataError(f"data.root={root}: there is no file {' or '.join(map(str, candidates))}: name it{hint}")


def folder(
    *,
    root: Path | None = None,
    on_corrupt: Literal["error", "skip"] = "error",
    splits: SplitNames | None = None,
    pages: Literal["refuse", "first", "all"] = "refuse",
    bands: Annotated[list[PositiveInt], Field(min_length=1)] | None = None,
    exif: Literal["ignore", "apply"] = "ignore",
    axes: Literal["chw", "hwc"] | None = None,
    mask: Annotated[str, Place()] | None = None,
) -> Source:
    """Images of a folder: ROOT/CLASS/IMAGE, or ROOT/train/CLASS/IMAGE with ROOT/test and ROOT/val.

    The names of the splits are those of :data:`normlab.data.layout.SPLIT_NAMES`, in any case. If there is a folder
    ``val`` but no ``test``, then ``val`` is the test set (as in ImageNet). A missing split is taken from the training
    images.

    Args:
        root: the folder; a relative path is looked up in the working directory, then below NORMLAB_DATA.
        on_corrupt: ``error`` stops at a file or sub-folder that cannot be read and names it; ``skip`` leaves it out and
            reports how many files were left out.
        splits: other names, as ``{train: fold_0, test: fold_1}``; ``none`` if every sub-folder is a class; or a CSV
            file or a folder of lists, see :func:`normlab.data.lists.read_lists`.
        pages: of a file with several pages, frames or slices: refuse the file, take the first, or take all of them as
            images of their own, which stay together in one split. To refuse is the default, because the first page of
            a stack, taken without a word, is a mistake that shows nowhere.
        bands: to take, in this order, counted from 1 as in GDAL and rasterio; None: all.
        exif: ``ignore`` the orientation that a camera wrote, or ``apply`` it. Browsers apply it; torchvision and timm
            do not, and a network with their weights has seen the images as they do. So does this program by default.
        axes: of arrays with three dimensions; None: the shorter of the first and the last axis holds the bands.
        mask: pixels to leave out: ``alpha``, transparent ones; ``nodata=VALUE``, those with this value in all bands; or
            a folder of masks with the names of the images, where 0 leaves a pixel out. They are not in any statistics,
            and 0 after the normalization. Images are then float32, with NaN in these pixels.

    Raises:
        DataError: if the folder, its classes or its images are missing, or its layout has two meanings.
    """
    if root is None:
        raise DataError("data=folder needs data.root=FOLDER, with one sub-folder of images for each class")
    reading = Reading(pages, None if bands is None else tuple(bands), exif, axes, mask)
    return from_folder(find(root, "data=folder"), on_corrupt == "skip", splits, reading)


def split_names(splits: dict[str, str] | str | None) -> dict[str, str] | str | Path | None:
    """What ``data.splits`` says: names by split, ``none``, a path of lists, or None.

    >>> split_names("{train:fold 0, test: b}"), split_names("none"), split_names("splits.csv")
    ({'train': 'fold 0', 'test': 'b'}, 'none', PosixPath('splits.csv'))

    Raises:
        DataError: for a split of another name, or without a training split.
    """
    if splits is None or splits == "none":
        return splits
    if isinstance(splits, str):
        if not splits.startswith("{"):
            return Path(splits).expanduser()
        pairs = [pair.partition(":") for pair in splits.strip("{} ").split(",")]
        splits = {key.strip(): value.strip() for key, _, value in pairs}
    # YAML reads {train:a, test:b}, without spaces, as keys without values.
    whole = (f"{key}:{value}" if value else key for key, value in splits.items())
    splits = {key.strip(): value.strip() for key, _, value in (text.partition(":") for text in whole)}
    names = {"val": "validation"}
    splits = {names.get(key, key): value for key, value in splits.items()}
    if "train" not in splits or not set(splits) <= {"train", "validation", "test"}:
        raise DataError(
            f"data.splits: expected the folders of train, validation and test, as {{train: FOLDER, test: FOLDER}}, "
            f"with train among them; given {', '.join(splits)}"
        )
    return splits


def from_folder(
    root: Path, skip_corrupt: bool, splits: dict[str, str] | str | None = None, reading: Reading | None = None
) -> Source:
    """Images of a folder that exists; see :func:`folder`."""
    source = _from_folder(root, skip_corrupt, splits)
    if reading is None or reading == Reading():
        return source
    return _with_reading(source, reading)


def _with_reading(source: Source, reading: Reading) -> Source:
    """The same files, read in another way."""
    parts: dict[str, Part | None] = {name: part and _with_pages(part, reading) for name, part in _parts(source).items()}
    train = parts["train"]
    assert train is not None
    assert isinstance(train.pictures, Files)
    groups = None  # the pages of one file stay together
    if train.pictures.pages is not None:
        number = {path: n for n, path in enumerate(dict.fromkeys(train.pictures.paths))}
        groups = torch.tensor([number[path] for path in train.pictures.paths])
    files = sum(len(part) for part in _parts(source).values() if part is not None)
    images = sum(len(part) for part in parts.values() if part is not None)
    notes = (*source.notes, f"{images:,} pages in {files:,} files") if images > files else source.notes
    return replace(source, **parts, notes=notes, groups=groups)  # type: ignore[arg-type]


def _parts(source: Source) -> dict[str, Part | None]:
    return {"train": source.train, "validation": source.validation, "test": source.test}


def _with_pages(part: Part, reading: Reading) -> Part:
    files = part.pictures
    assert isinstance(files, Files)
    if reading.pages != "all":
        return Part(replace(files, reading=reading), part.labels)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        counts = list(pool.map(count_pages, files.paths, [reading] * len(files)))
    repeat = torch.repeat_interleave(torch.arange(len(files)), torch.tensor(counts))
    pages = None if max(counts) == 1 else tuple(page for count in counts for page in range(count))
    paths = tuple(files.paths[place] for place in repeat.tolist())
    return Part(replace(files, paths=paths, pages=pages, reading=reading), part.labels[repeat])


def _from_folder(root: Path, skip_corrupt: bool, splits: dict[str, str] | str | None) -> Source:
    names = split_names(splits)
    if isinstance(names, Path):
        where = find_lists(names, root)
        lists, notes = read_lists(where, root)
        return _from_lists(lists, where, skip_corrupt, [*notes, *unlisted(lists, root)])
    _refuse_masks(root, root)
    folders = find_splits(root, names)
    skipped = Walk()
    if not folders:
        classes, train = _part(root, None, skip_corrupt, skipped)
        notes = [*doubts(root, _paths(train), names == "none"), *skipped.notes()]
        return Source(tuple(map(printable, classes)), train, notes=tuple(notes))
    for path in folders.values():
        _refuse_masks(path, root)
    count_beside(root, folders, skipped)
    classes, train = _part(folders["train"], None, skip_corrupt, skipped)
    notes = [f"{where}/ is the {split} split" for split, where in named(root, folders)]
    test, validation = folders.get("test"), folders.get("validation")
    if test is None and validation is not None:
        test, validation = validation, None
        notes = [note for note in notes if "validation split" not in note]
        notes.append(f"{printable(test.name)}/ is the test split, because there is no other folder for it")
    parts = {
        name: _part(path, classes, skip_corrupt, skipped)[1]
        for name, path in (("validation", validation), ("test", test))
        if path is not None
    }
    return Source(
        tuple(map(printable, classes)),
        train,
        parts.get("validation"),
        parts.get("test"),
        notes=(*notes, *doubts(folders["train"], _paths(train), True), *skipped.notes()),
    )


def _refuse_masks(folder: Path, root: Path) -> None:
    if masks := find_masks(folder):
        raise DataError(
            f"{folder}: {masks[0].name}/ and {', '.join(masks[1])}/ are images and their masks; a run trains a "
            f"classifier, so give a folder with one sub-folder for each class, or inspect these with python -m "
            f"normlab.inspect {root}"
        )


def _paths(part: Part) -> tuple[Path, ...]:
    assert isinstance(part.pictures, Files)
    return part.pictures.paths


def find_lists(names: Path, root: Path) -> Path:
    """The lists that ``data.splits`` names: from the working directory, or from the folder of images.

    Raises:
        DataError: if they are in neither.
    """
    for path in (names, root / names):
        if path.exists():
            return path
    raise DataError(f"data.splits={names}: there is no such file or folder, neither here nor in {root}")


def count_beside(
    root: Path, folders: dict[str, Path], skipped: Walk, suffix_of: Callable[[str], str | None] = suffix_of
) -> None:
    """Count what lies beside the folders of the splits.

    Args:
        root: the folder that holds those of the splits.
        folders: of the splits.
        skipped: is added to.
        suffix_of: see :func:`normlab.data.layout.walk`.
    """
    top = walk(root, deep=False, suffix_of=suffix_of)
    skipped.add(top)
    skipped.outside[printable(str(root))] += len(top.images)
    for name in sorted(set(sub_folders(root)) - {path.relative_to(root).parts[0] for path in folders.values()}):
        skipped.outside[printable(str(root / name))] += len(walk(root / name, suffix_of=suffix_of).images)


def _from_lists(lists: dict[str, Rows], where: Path, skip_corrupt: bool, notes: list[str]) -> Source:
    classes = sorted({label for _, label in lists["train"]})
    if len(classes) < 2:
        raise DataError(f"data.splits={where}: only one class, {classes[0]!r}; a classifier needs at least two")
    parts = {}
    for split, rows in lists.items():
        if unknown := {label for _, label in rows} - set(classes):
            raise DataError(
                f"data.splits={where}: class {min(unknown)!r} of {split} does not occur among the training images"
            )
        if wrong := [path for path, _ in rows if suffix_of(path.name) is None]:
            raise DataError(f"data.splits={where}: {wrong[0]} does not have the ending of an image")
        labels = torch.tensor([classes.index(label) for _, label in rows])
        parts[split] = Part(Files(tuple(path for path, _ in rows), skip_corrupt), labels)
    counts = ", ".join(f"{len(rows):,} {split}" for split, rows in lists.items())
    notes = [f"splits from {printable(where.name)}: {counts}", *notes]
    if "test" not in parts and "validation" in parts:
        parts["test"] = parts.pop("validation")
        notes.append("the validation images are the test split, because there are no others for it")
    return Source(
        tuple(map(printable, classes)),
        parts["train"],
        parts.get("validation"),
        parts.get("test"),
        notes=tuple(notes),
    )


def _part(
    root: Path, classes: tuple[str, ...] | None, skip_corrupt: bool, skipped: Walk
) -> tuple[tuple[str, ...], Part]:
    names = sub_folders(root)
    top = walk(root, deep=False)
    skipped.add(top)
    if not names:
        why = f"{len(top.images)} images lie in it directly" if top.images else "it is empty"
        if top.images:
            why += " (data.splits=FILE.csv gives classes to files)"
        raise DataError(f"{root}: expected one sub-folder of images for each class, but {why}")
    skipped.outside[printable(str(root))] += len(top.images)
    if classes is None:
        classes = names
        if len(classes) < 2:
            inner = sub_folders(root / names[0])
            hint = f"; if its sub-folders are the classes, give data.root={root / names[0]}" if inner else ""
            if lists := [name for name in skipped.by_ending if name in (".csv", ".tsv")]:
                hint += f"; a {lists[0]} file beside it may have them: data.splits=FILE{lists[0]}"
            raise DataError(
                f"{root}: only one class, {classes[0]!r}; a classifier needs at least two sub-folders{hint}"
            )
    elif not set(names) <= set(classes):
        extra = sorted(set(names) - set(classes))
        raise DataError(f"{root}: class {extra[0]!r} does not occur among the training images")
    paths: list[Path] = []
    labels: list[int] = []
    for name in names:
        images = all_images(root / name, skip_corrupt, skipped)
        paths += images
        labels += [classes.index(name)] * len(images)
    return classes, Part(Files(tuple(paths), skip_corrupt), torch.tensor(labels))


def all_images(root: Path, skip_corrupt: bool, skipped: Walk | None = None) -> list[Path]:
    """Every image below a folder, in the order of :func:`normlab.data.layout.walk`.

    Args:
        root: the folder.
        skip_corrupt: leave out, with a warning, a sub-folder that cannot be read.
        skipped: counts the files that are no images.

    Raises:
        DataError: if there is no image, or (without ``skip_corrupt``) a sub-folder cannot be read.
    """
    below = walk(root, _warn if skip_corrupt else _refuse)
    if not below.images:
        others = "; ".join(below.notes())
        raise DataError(f"{root}: no images in it ({', '.join(sorted(SUFFIXES))}){'; ' + others if others else ''}")
    if skipped is not None:
        skipped.add(below)
    return below.images


def _warn(error: OSError) -> None:
    log.warning("skipped %s", unreadable_folder(error))


def _refuse(error: OSError) -> None:
    raise DataError(unreadable_folder(error))
