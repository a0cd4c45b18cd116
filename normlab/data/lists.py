"""Splits and labels from lists: one CSV file, or a folder with train.txt, val.txt and test.txt."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from normlab.data.layout import SPLIT_OF
from normlab.errors import DataError, first_line

PATHS = ("path", "file", "filename", "file_name", "filepath", "file_path", "image", "image_path", "img", "name", "id")
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
        lists = {
            path: SPLIT_OF[path.stem.casefold()]
            for path in sorted(where.glob("*.txt"))
            if path.stem.casefold() in SPLIT_OF
        }
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
        return rows
    return _read_table(where, root)


def _row(line: str, root: Path, where: Path, number: int) -> tuple[Path, str]:
    name, _, label = line.rpartition(" ")
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
    columns = {str(name).strip().casefold(): name for name in frame.columns}
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
        part = "train" if split is None else SPLIT_OF.get(row[split].strip().casefold())
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
    return next((path for path in (root / name, beside / name) if path.is_file()), None)
