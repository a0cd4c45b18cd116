"""Image data sets of the library ``datasets`` (Hugging Face), by name or from a folder saved on disk."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch

from normlab.config import Place
from normlab.data import cache
from normlab.data.layout import SPLIT_OF
from normlab.data.splits import Files, Part, Source, require_unlike
from normlab.errors import DataError, first_line
from normlab.files import replacing_files

IMAGES = ("image", "img", "picture", "pixel_values")
LABELS = ("label", "labels", "fine_label", "class", "target")
ENDINGS = {b"\x89PNG": ".png", b"\xff\xd8\xff": ".jpg", b"GIF8": ".gif", b"RIFF": ".webp", b"BM": ".bmp"}
ENDINGS |= {b"II*\0": ".tif", b"MM\0*": ".tif"}


def huggingface(
    *,
    path: Annotated[str, Place()] | None = None,
    subset: str | None = None,
    image: str | None = None,
    label: str | None = None,
    on_corrupt: Literal["error", "skip"] = "error",
) -> Source:
    """Labeled images of a data set for ``datasets`` (``pip install 'normlab[huggingface]'``).

    The images' files are written to the cache folder once and read as those of a folder are, at their full depth.

    Args:
        path: a name on the Hub, which is downloaded; or a folder that ``save_to_disk`` wrote.
        subset: its configuration, where it has several.
        image: the column of images; None: the only one, or one of ``IMAGES``.
        label: the column of labels; None: one of ``LABELS``.
        on_corrupt: as for ``data=folder``.

    Raises:
        DataError: if the library is missing, there is no such data set, or it has no training split, images or labels.
    """
    if path is None:
        raise DataError("data=huggingface needs data.path=NAME of a data set, or a folder that save_to_disk wrote")
    splits, notes = _splits(path, subset)
    parts: dict[str, Part] = {}
    train = splits["train"]
    image, label = _column(train, image, IMAGES, "image"), _column(train, label, LABELS, "label")
    for rows in splits.values():
        _require_labels(rows, label)
    classes = _classes(train, label)
    kind = _array_type(splits, image)
    for name, rows in splits.items():
        files = _files(rows, image, kind)
        labels = torch.tensor([_number(value, classes, path) for value in rows[label]])
        parts[name] = Part(Files(tuple(files), on_corrupt == "skip"), labels)
    if "test" not in parts and "validation" in parts:
        parts["test"] = parts.pop("validation")
        notes.append("the validation split is the test split, because there is no other for it")
    return Source(
        tuple(map(str, classes)), parts["train"], parts.get("validation"), parts.get("test"), notes=tuple(notes)
    )


def _splits(path: str, subset: str | None) -> tuple[dict[str, Any], list[str]]:
    """The rows of each split, and a note on those that are left out."""
    try:
        import datasets
    except ImportError:
        raise DataError("data=huggingface needs the package datasets: pip install 'normlab[huggingface]'") from None
    folder = Path(path).expanduser()
    try:
        is_saved = folder.is_dir()
        loaded = datasets.load_from_disk(str(folder)) if is_saved else datasets.load_dataset(path, subset)
    except Exception as error:  # the library raises many kinds
        raise DataError(f"data.path={path}: not loaded ({first_line(error)})") from None
    if isinstance(loaded, datasets.Dataset):
        return {"train": loaded}, []
    names: dict[str, str] = {}
    for name in loaded:
        split = SPLIT_OF.get(name.casefold())
        if split in names:
            raise DataError(f"data.path={path}: {names[split]!r} and {name!r} are both names of the {split} split")
        if split is not None:
            names[split] = name
    if "train" not in names:
        raise DataError(f"data.path={path}: no training split among {', '.join(loaded)}")
    others = [f"{name} ({len(rows):,} images)" for name, rows in loaded.items() if name not in names.values()]
    notes = [f"left out {', '.join(others)}: no name of a split"] * bool(others)
    return {split: loaded[name] for split, name in names.items()}, notes


def _column(rows: Any, given: str | None, usual: tuple[str, ...], what: str) -> str:
    name = given or next((name for name in usual if name in rows.column_names), "")
    if name not in rows.column_names:
        missing = f"no column {given}" if given else f"no column {' or '.join(usual)}"
        raise DataError(f"data.{what}: {missing}; the columns are {', '.join(rows.column_names)}: name one")
    return name


def _require_labels(rows: Any, label: str) -> None:
    """Refuse a column that does not hold one class for each image.

    Raises:
        DataError: with what it holds.
    """
    import datasets

    kind = rows.features[label]
    if not isinstance(kind, datasets.Value | datasets.ClassLabel):
        what = "dictionaries" if isinstance(kind, dict) else f"values of the kind {type(kind).__name__}"
        raise DataError(
            f"data.label={label}: the column holds {what}, not one class for each image; data.label=COLUMN names "
            f"another, of {', '.join(rows.column_names)}"
        )
    missing = [number for number, value in enumerate(rows[label]) if value is None]
    if missing:
        raise DataError(
            f"data.label={label}: {len(missing):,} of {len(rows):,} labels are missing, the first that of row "
            f"{missing[0] + 1}: leave such rows out, as with rows.filter(...), and save the rest with save_to_disk"
        )


def _classes(rows: Any, label: str) -> list[Any]:
    names = getattr(rows.features[label], "names", None)
    classes = list(names) if names else sorted(set(rows[label]))
    if not names:  # those that a set declares are what it means
        require_unlike(map(str, classes))
    if len(classes) < 2:
        raise DataError(f"data.label={label}: only one class; a classifier needs at least two")
    return classes


def _number(value: Any, classes: list[Any], path: str) -> int:
    if isinstance(value, int) and not isinstance(classes[0], int) and 0 <= value < len(classes):
        return value  # an index of ClassLabel
    if value not in classes:
        raise DataError(f"data.path={path}: the label {value!r} does not occur among the training images")
    return classes.index(value)


def _array_type(splits: dict[str, Any], image: str) -> np.dtype[Any] | None:
    """The type of the numbers of a column of arrays or nested lists, one for all of its images; None: image files.

    It is the declared type. Whole numbers that nobody declared are of 32 or 64 bits: those become the smallest type of
    images that holds them all. With a type for each image, white would be 255 in a dark one and 65535 in a bright one.

    Raises:
        DataError: if the column holds neither images nor numbers.
    """
    import datasets

    kind = splits["train"].features[image]
    if isinstance(kind, datasets.Image) or (isinstance(kind, dict) and {"bytes", "path"} <= set(kind)):
        return None
    while isinstance(kind, list) or hasattr(kind, "feature"):
        kind = kind[0] if isinstance(kind, list) else kind.feature
    try:
        declared = np.dtype(kind.dtype)
    except (AttributeError, TypeError):
        what = getattr(kind, "dtype", type(kind).__name__)
        raise DataError(f"data.image={image}: the column holds {what}, not images or numbers: name another") from None
    if declared.kind != "i" or declared.itemsize < 4:
        return declared
    low, high = 0, 0
    for rows in splits.values():
        for row in rows.select_columns([image]):
            values = np.asarray(row[image])
            low, high = min(low, int(values.min(initial=0))), max(high, int(values.max(initial=0)))
    if low < 0 or high >= 2**16:
        return declared
    return np.dtype(np.uint8 if high < 256 else np.uint16)


def _files(rows: Any, image: str, kind: np.dtype[Any] | None) -> list[Path]:
    """Each image as a file in the cache folder, written unless it is there; arrays with numbers of this type."""
    import datasets

    if isinstance(rows.features[image], datasets.Image):
        rows = rows.cast_column(image, datasets.Image(decode=False))
    folder = cache.folder() / "huggingface" / rows._fingerprint
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    with replacing_files(folder) as temporary:  # whole files or none, and one look at the folder for all of them
        for number, row in enumerate(rows.select_columns([image])):
            value = row[image]
            if isinstance(value, dict):
                content = value["bytes"] if value["bytes"] is not None else Path(value["path"]).read_bytes()
                ending = next((ending for start, ending in ENDINGS.items() if content.startswith(start)), None)
                name = f"{number:08}{ending or os.path.splitext(value['path'] or '')[1] or '.png'}"
                if not (folder / name).is_file():
                    (temporary / name).write_bytes(content)
            else:
                name = f"{number:08}.{kind}.npy"  # the type depends on the other images, too
                if not (folder / name).is_file():
                    np.save(temporary / name, np.asarray(value, dtype=kind))
            paths.append(folder / name)
    return paths
