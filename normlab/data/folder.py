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


def folder(*, root: Path | None = None, on_corrupt: Literal["error", "skip"] = "error") -> Source:
    """Images of a folder: ROOT/CLASS/IMAGE, or ROOT/train/CLASS/IMAGE with ROOT/test and ROOT/val.

    If there is a folder ``val`` but no ``test``, then ``val`` is the test set (as in ImageNet). A missing split is
    taken from the training images.

    Args:
        root: the folder; a relative path is looked up in the working directory, then below NORMLAB_DATA.
        on_corrupt: ``error`` stops at a file or sub-folder that cannot be read and names it; ``skip`` leaves it out and
            reports how many files were left out.

    Raises:
        DataError: if the folder, its classes or its images are missing.
    """
    if root is None:
        raise DataError("data=folder needs data.root=FOLDER, with one sub-folder of images for each class")
    return from_folder(find(root, "data=folder"), on_corrupt == "skip")


def from_folder(root: Path, skip_corrupt: bool) -> Source:
    """Images of a folder that exists; see :func:`folder`."""
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
    names = sub_folders(root)
    if not names:
        loose = sum(entry.suffix.lower() in SUFFIXES for entry in root.iterdir())
        why = f"{loose} images lie in it directly" if loose else "it is empty"
        raise DataError(f"{root}: expected one sub-folder of images for each class, but {why}")
    if classes is None:
        classes = names
        if len(classes) < 2:
            raise DataError(f"{root}: only one class, {classes[0]!r}; a classifier needs at least two sub-folders")
    elif not set(names) <= set(classes):
        extra = sorted(set(names) - set(classes))
        raise DataError(f"{root}: class {extra[0]!r} does not occur among the training images")
    paths: list[Path] = []
    labels: list[int] = []
    for name in names:
        images = all_images(root / name, skip_corrupt)
        paths += images
        labels += [classes.index(name)] * len(images)
    return classes, Part(Files(tuple(paths), skip_corrupt), torch.tensor(labels))


def sub_folders(root: Path) -> tuple[str, ...]:
    """Names of the sub-folders, sorted, without names that begin with a dot.

    Raises:
        DataError: if the folder cannot be read.
    """
    try:
        return tuple(sorted(entry.name for entry in root.iterdir() if entry.is_dir() and entry.name[0] != "."))
    except OSError as error:
        raise DataError(unreadable_folder(error)) from None


def all_images(root: Path, skip_corrupt: bool) -> list[Path]:
    """Every image below a folder, in the order of :func:`images_below`.

    Args:
        root: the folder.
        skip_corrupt: leave out, with a warning, a sub-folder that cannot be read.

    Raises:
        DataError: if there is no image, or (without ``skip_corrupt``) a sub-folder cannot be read.
    """
    images = images_below(root, _warn if skip_corrupt else _refuse)
    if not images:
        raise DataError(f"{root}: no images in it ({', '.join(sorted(SUFFIXES))})")
    return images


def images_below(root: Path, on_error: Callable[[OSError], object] | None = None) -> list[Path]:
    """Every file below a folder with the ending of an image, in the order of names.

    Names that begin with a dot are left out. Links to folders are followed. A folder that is linked several times
    counts once. A link to a folder above ``root`` is ignored, because it would add the images of other classes.

    Args:
        root: the folder.
        on_error: called for each folder that cannot be read, with the error, whose ``filename`` is the folder.
    """
    images: list[Path] = []
    seen = {str(above) for above in Path(os.path.realpath(root)).parents}
    for parent, folders, names in os.walk(root, onerror=on_error, followlinks=True):
        if (real := os.path.realpath(parent)) in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if name[0] != ".")
        images += [Path(parent, n) for n in sorted(names) if n[0] != "." and Path(n).suffix.lower() in SUFFIXES]
    return images


def unreadable_folder(error: OSError) -> str:
    """The message about a folder that cannot be read."""
    return f"{error.filename}: a folder that cannot be read ({error.strerror})"


def _warn(error: OSError) -> None:
    log.warning("skipped %s", unreadable_folder(error))


def _refuse(error: OSError) -> None:
    raise DataError(unreadable_folder(error))
