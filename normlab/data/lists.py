"""Splits and labels from lists: one CSV file, or a folder with train.txt, val.txt and test.txt."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from normlab.data.first_bytes import require_text
from normlab.data.layout import alike, printable, resembling, walk
from normlab.errors import DataError, first_line

if TYPE_CHECKING:
    import pandas as pd

PATHS: tuple[str, ...] = ("path", "file", "filename", "file_name", "filepath", "file_path", "image", "image_path")
PATHS += (
    "img",
    "name",
    "id",
    "paths",
    "filepaths",
    "filenames",
    "image_file",
    "image_name",
    "image_id",
    "img_path",
    "img_name",
)
SPLITS = (
    "split",
    "set",
    "subset",
    "fold",
    "partition",
    "phase",
    "usage",
    "data_set",
    "dataset",
    "set_type",
    "data_split",
)
LABELS = ("label", "class", "category", "target", "class_name", "y", "labels", "diagnosis", "dx", "breed", "species")
MOST_SPLITS = 6  # different values of a column, at most, that may be names of splits

Rows = list[tuple[Path, str]]  # file, and the name of its class


def read_lists(where: Path, root: Path) -> tuple[dict[str, Rows], list[str]]:
    """The files of each split, with their classes; and what was not in the list, for the user.

    Args:
        where: a CSV file with a column of paths (``path``, ``file``, ``image``, ...), and columns ``split`` and
            ``label`` if there are any; or a folder with a text file for each split, a path and possibly a class on
            each line. Without a class, it is the name of the file's folder. Without a split, a row is for training.
        root: that relative paths start from; else they start from the folder of the list.

    Raises:
        DataError: if the list cannot be read, names no column of paths, an unknown split or a file that is not there;
            if a label is empty, or a column of another name than ``SPLITS`` looks like splits.
    """
    notes: list[str] = []
    if where.is_dir():
        lists = {path: split for path in sorted(where.glob("*.txt")) if (split := resembling(path.stem)) is not None}
        if "train" not in lists.values():
            raise DataError(
                f"data.splits={where}: expected train.txt in this folder, and val.txt and test.txt if there are any"
            )
        rows: dict[str, Rows] = {}
        for path, split in lists.items():
            if split in rows:
                raise DataError(f"data.splits={where}: two lists of the {split} split; remove {path.name}")
            lines = [line.strip() for line in path.read_text(encoding="utf-8", errors="surrogateescape").splitlines()]
            rows[split] = [_row(line, root, path, number) for number, line in enumerate(lines, 1) if line]
    else:
        rows = _read_table(where, root, notes)
    for split, listed in rows.items():
        known: set[Path] = set()
        for file, _ in listed:
            if file in known:
                raise DataError(f"data.splits={where}: {file} is listed twice for {split}; list each image once")
            known.add(file)
    return rows, [*notes, *alike(sorted({label for listed in rows.values() for _, label in listed}))]


def unlisted(lists: dict[str, Rows], root: Path) -> list[str]:
    """A sentence on the images below a folder that are in no list, if there are any."""
    listed = {os.path.realpath(file) for rows in lists.values() for file, _ in rows}
    others = [path for path in walk(root).images if os.path.realpath(path) not in listed]
    if not others:
        return []
    return [
        f"left out {len(others):,} image{'s' * (len(others) != 1)} in {printable(str(root))} that no list names (such "
        f"as {printable(str(others[0].relative_to(root)))})"
    ]


def _row(line: str, root: Path, where: Path, number: int) -> tuple[Path, str]:
    found = re.fullmatch(r"(.*[^\s,])[\s,]+([^\s,]+)", line)
    if (whole := _file(line, root, where.parent)) is not None:  # without a class; there may be a space in the path
        return whole, whole.parent.name
    file = _file(found[1], root, where.parent) if found else None
    if found is None or file is None:
        raise DataError(
            f"{where}, line {number}: no such file {line.split()[0]}, neither in {root} nor in {where.parent}"
        )
    return file, found[2]


def _read_table(where: Path, root: Path, notes: list[str]) -> dict[str, Rows]:
    import pandas as pd  # here, because the import is slow

    require_text(where)
    try:
        with where.open(encoding="utf-8-sig", errors="surrogateescape") as file:
            header = file.readline()
        separator = max(",;\t|", key=header.count)  # the comma where there is one column
        # object: the strings of pandas 3 take no surrogates. Lines that end early have missing fields: "".
        options: Any = {"encoding": "utf-8-sig", "encoding_errors": "surrogateescape"}
        frame = pd.read_csv(where, sep=separator, dtype=object, keep_default_na=False, **options).fillna("")
    except Exception as error:  # pandas raises many kinds
        raise DataError(f"data.splits={where}: not readable as a table ({first_line(error)})") from None
    columns = {"_".join(re.split(r"[\s_-]+", str(name).strip().casefold())): name for name in frame.columns}
    path, split, label = (
        next((columns[name] for name in names if name in columns), None) for names in (PATHS, SPLITS, LABELS)
    )
    if path is None:
        raise DataError(
            f"data.splits={where}: expected a column of paths ({', '.join(PATHS[:6])}), and columns split and label; "
            f"it has {', '.join(map(str, frame.columns))}"
        )
    others = [str(name) for name in frame.columns if name not in (path, split, label)]
    if split is None:
        for name in others:
            _refuse_splits(frame[name], where)
        known = ", ".join(SPLITS[:4])
        notes.append(f"{printable(where.name)}: no column of splits ({known}, ...), so every row is for training")
    if label is None and others:
        notes.append(
            f"{printable(where.name)}: no column of classes ({', '.join(LABELS[:4])}, ...), so the names of the "
            f"folders are the classes; not used: {printable(', '.join(others))}"
        )
    rows: dict[str, Rows] = {}
    for number, row in enumerate(frame.to_dict("records"), 2):
        part = "train" if split is None else resembling(row[split])
        if part is None:
            raise DataError(f"{where}, line {number}: {split} is {row[split]!r}; expected train, val or test")
        image = _file(row[path], root, where.parent)
        if image is None:
            raise DataError(
                f"{where}, line {number}: no such file {row[path]}, neither in {root} nor in {where.parent}"
            )
        name = row[label].strip() if label is not None else image.parent.name
        if not name:
            raise DataError(f"{where}, line {number}: {label} is empty; fill it in, or remove the line")
        rows.setdefault(part, []).append((image, name))
    if "train" not in rows:
        raise DataError(f"data.splits={where}: no row is of the split train")
    return rows


def _refuse_splits(column: pd.Series, where: Path) -> None:
    """Refuse a column of another name than ``SPLITS`` that says which rows are for training and which for test."""
    values = sorted(set(column))
    is_flag = re.match(r"(?i:is)([\s_-]|(?=[A-Z]))", str(column.name)) and resembling(str(column.name))
    if is_flag or (0 < len(values) <= MOST_SPLITS and all(resembling(value) for value in values)):
        raise DataError(
            f"data.splits={where}: the column {column.name!r} ({', '.join(values[:3])}) looks like splits; call it "
            f"split, with the values train, val and test, or remove it if every row is for training"
        )


def _file(name: str, root: Path, beside: Path) -> Path | None:
    names = (name, name.replace("\\", "/"))  # the latter of a list that Windows wrote
    return next((path for one in names for path in (root / one, beside / one) if path.is_file()), None)
