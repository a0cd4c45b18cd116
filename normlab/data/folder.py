"""Any folder of images, one sub-folder for each class."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import torch

from normlab.data.splits import Files, Part, Source
from normlab.errors import DataError
from normlab.pictures import SUFFIXES

log = logging.getLogger(__name__)

VALIDATION_NAMES = ("val", "valid", "validation")


def find(root: Path | str | None, what: str) -> Path:
    """The folder that the user means: as given, or below NORMLAB_DATA.

    Raises:
        DataError: if it is not given, or not there.
    """
    base = os.environ.get("NORMLAB_DATA")
    if root is None:
        if base is None:
            raise DataError(f"{what}: say where with data.root=FOLDER, or set the variable NORMLAB_DATA")
        return Path(base).expanduser()
    given = Path(root).expanduser()
    candidates = [given] if given.is_absolute() or base is None else [given, Path(base).expanduser() / given]
    for candidate in candidates:
        if candidate.is_dir():
            return candidate
    places = " or ".join(map(str, candidates))
    raise DataError(f"data.root={root}: there is no folder {places}")


def folder(*, root: Path | None = None, on_corrupt: Literal["error", "skip"] = "error") -> Source:
    """Images of a folder: ROOT/CLASS/IMAGE, or ROOT/train/CLASS/IMAGE beside ROOT/test and ROOT/val.

    A folder ``val`` without a ``test`` beside it is the test set (as in ImageNet); validation images are then cut
    from the training images, as they are wherever a split is missing.

    Args:
        root: the folder; a relative one is looked for here, then below NORMLAB_DATA.
        on_corrupt: ``error`` stops at a file or sub-folder that cannot be read and names it; ``skip`` goes on, and
            counts the files.

    Raises:
        DataError: if the folder, its classes or its images are missing.
    """
    if root is None:
        raise DataError("data=folder needs data.root=FOLDER, with one sub-folder of images for each class")
    return from_folder(find(root, "data=folder"), on_corrupt == "skip")


def from_folder(root: Path, skip_corrupt: bool) -> Source:
    """The same for a folder that is known to exist."""
    if not (root / "train").is_dir():
        classes, train = _part(root, None, skip_corrupt)
        return Source(classes, train)
    classes, train = _part(root / "train", None, skip_corrupt)
    folders = {
        "validation": next((root / name for name in VALIDATION_NAMES if (root / name).is_dir()), None),
        "test": root / "test" if (root / "test").is_dir() else None,
    }
    if folders["test"] is None:
        folders = {"validation": None, "test": folders["validation"]}
    parts = {name: _part(path, classes, skip_corrupt)[1] for name, path in folders.items() if path is not None}
    return Source(classes, train, parts.get("validation"), parts.get("test"))


def _part(root: Path, classes: tuple[str, ...] | None, skip_corrupt: bool) -> tuple[tuple[str, ...], Part]:
    found = sub_folders(root)
    if not found:
        loose = sum(entry.suffix.lower() in SUFFIXES for entry in root.iterdir())
        why = f"{loose} images lie in it directly" if loose else "it is empty"
        raise DataError(f"{root}: expected one sub-folder of images for each class, but {why}")
    if classes is None:
        classes = found
        if len(classes) < 2:
            raise DataError(f"{root}: only one class, {classes[0]!r}; a classifier needs at least two sub-folders")
    elif not set(found) <= set(classes):
        extra = sorted(set(found) - set(classes))
        raise DataError(f"{root}: class {extra[0]!r} does not occur among the training images")
    paths: list[Path] = []
    labels: list[int] = []
    for name in found:
        images = all_images(root / name, skip_corrupt)
        paths += images
        labels += [classes.index(name)] * len(images)
    return classes, Part(Files(tuple(paths), skip_corrupt), torch.tensor(labels))


def sub_folders(root: Path) -> tuple[str, ...]:
    """Names of the folders in a folder, sorted; what begins with a dot is left out.

    Raises:
        DataError: if it cannot be looked into.
    """
    try:
        return tuple(sorted(entry.name for entry in root.iterdir() if entry.is_dir() and entry.name[0] != "."))
    except OSError as error:
        raise DataError(unreadable_folder(error)) from None


def all_images(root: Path, skip_corrupt: bool) -> list[Path]:
    """Every image below a folder, as :func:`images_below` finds them.

    Args:
        root: the folder.
        skip_corrupt: go on, with a warning, where a folder cannot be looked into.

    Raises:
        DataError: if there is none, or a folder cannot be looked into and that is not to be skipped.
    """
    images = images_below(root, _skipped if skip_corrupt else _refused)
    if not images:
        raise DataError(f"{root}: no images in it ({', '.join(sorted(SUFFIXES))})")
    return images


def images_below(root: Path, on_error: Callable[[OSError], object] | None = None) -> list[Path]:
    """Every image below a folder, by its ending, in the order of names; what begins with a dot is left out.

    Links to folders are followed; a folder that several ways lead to is looked into once, and one above ``root``, which
    would bring the images of other classes, not at all.

    Args:
        root: the folder.
        on_error: called for each folder that cannot be looked into; its ``filename`` says which.
    """
    found: list[Path] = []
    seen = {str(above) for above in Path(os.path.realpath(root)).parents}
    for parent, folders, names in os.walk(root, onerror=on_error, followlinks=True):
        if (real := os.path.realpath(parent)) in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if name[0] != ".")
        found += [Path(parent, n) for n in sorted(names) if n[0] != "." and Path(n).suffix.lower() in SUFFIXES]
    return found


def unreadable_folder(error: OSError) -> str:
    """What to say of a folder that :func:`images_below` cannot look into."""
    return f"{error.filename}: a folder that cannot be read ({error.strerror})"


def _skipped(error: OSError) -> None:
    log.warning("skipped %s", unreadable_folder(error))


def _refused(error: OSError) -> None:
    raise DataError(unreadable_folder(error))
