"""Splits and labels from lists: one CSV file, or a folder with train.txt, val.txt and test.txt."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from normlab.data.layout import printable, resembling, walk
from normlab.errors import DataError, first_line

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
SPLITS = ("split", "set", "subset", "fold", "partition", "phase", "usage")
LABELS = ("label", "class", "category", "target", "class_name", "y")

Rows = list[tuple[Path, str]]  # file, and the name of its class


def read_lists(where: Path, root: Path) -> dict[str, Rows]:
    """The files of each split, with their classes.

    Args:
        where: a CSV file with a column of paths (``path``, ``file``, ``image``, ...), and columns ``split`` and
            ``label`` if there are any; or a folder with a text file for each split, a path and possibly a class on
            each line. Without a class, it is the name of the file's folder. Without a split, a row is for training.
        root: that relative paths start from; else they start from the folder of the list.

    Raises:
        DataError: if the list cannot be read, names no column of paths, an unknown split or a file that is not there.
    """
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
        rows = _read_table(where, root)
    for split, listed in rows.items():
        known: set[Path] = set()
        for file, _ in listed:
            if file in known:
                raise DataError(f"data.splits={where}: {file} is listed twice for {split}; list each image once")
            known.add(file)
    return rows


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
    name, label = found.groups() if found else ("", line)
    file = _file(line, root, where.parent)  # a path with a space in it
    if file is None and name:
        file = _file(name, root, where.parent)
    if file is None:
        raise DataError(
            f"{where}, line {number}: no such file {line.split()[0]}, neither in {root} nor in {where.parent}"
        )
    return file, (label if name and not file.name.endswith(label) else file.parent.name)


def _read_table(where: Path, root: Path) -> dict[str, Rows]:
    import pandas as pd  # here, because the import is slow

    try:
        with where.open(encoding="utf-8-sig", errors="surrogateescape") as file:
            header = file.readline()
        separator = max(",;\t|", key=header.count)  # the comma where there is one column
        options: Any = {"encoding": "utf-8-sig", "encoding_errors": "surrogateescape"}
        frame = pd.read_csv(where, sep=separator, dtype=str, keep_default_na=False, **options)
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
        rows.setdefault(part, []).append((image, row[label].strip() if label is not None else image.parent.name))
    if "train" not in rows:
        raise DataError(f"data.splits={where}: no row is of the split train")
    return rows


def _file(name: str, root: Path, beside: Path) -> Path | None:
    names = (name, name.replace("\\", "/"))  # the latter of a list that Windows wrote
    return next((path for one in names for path in (root / one, beside / one) if path.is_file()), None)
