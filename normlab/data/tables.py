"""Tables: a row a sample, a column a feature, from scikit-learn or from a CSV or Parquet file."""

from __future__ import annotations

import csv
import difflib
import re
import warnings
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from normlab.config import NonNegativeInt, PositiveFloat, PositiveInt
from normlab.data import cache
from normlab.data.first_bytes import likely_encoding, require_text
from normlab.data.folder import find_file
from normlab.data.splits import Part, Source, require_unlike
from normlab.errors import DataError, first_line

if TYPE_CHECKING:
    import pandas as pd

SUFFIXES = (".csv", ".tsv", ".csv.gz", ".tsv.gz", ".parquet")
Missing = Literal["error", "mean", "median", "drop"]
Task = Literal["auto", "classification", "regression"]
Share = Annotated[float, Field(ge=0, lt=1)]

MOST_CLASSES = 20  # distinct whole numbers in a target that still count as classes
MOSTLY = 0.5  # share of numbers from which a column of text is a column of numbers with mistakes in it
FEWEST_ROWS = 10  # of which consecutive whole numbers count as numbers of the rows
COARSEST = 0.01  # largest rounding by float32, in standard deviations of a column
FRACTION = re.compile(r"[-+]?\d*[.,]\d+(e[-+]?\d+)?", re.IGNORECASE)
WITH_COMMAS = r"[-+]?(\d+(,\d+)+(\.\d+)?|\d{1,3}(\.\d{3})+,\d+)"
DATE = re.compile(r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}([ T]\d.*)?")


def bundled(
    *,
    table: Literal["wine", "breast_cancer", "diabetes"],
    standardize_target: bool = True,
    outliers: Share = 0.0,
    outlier_size: PositiveFloat = 30.0,
    outlier_seed: NonNegativeInt = 0,
) -> Source:
    """A table that ships with scikit-learn, in its original units.

    ``wine``: 178 wines, 13 chemical measurements, 3 growers (Aeberhard & Forina 1991, UCI). ``breast_cancer``: 569
    tumors, 30 measurements, 2 diagnoses (Wolberg et al. 1995, UCI). ``diabetes``: 442 patients, 10 measurements, and
    the progression of the disease after a year, a number of 25 to 346 (Efron et al. 2004).

    Args:
        table: which one.
        standardize_target: for regression, train on (y - mean)/std of the training split's targets.
        outliers: share of the values that :func:`plant_outliers` replaces.
        outlier_size: their distance from the median.
        outlier_seed: of the draw.
    """
    from sklearn import datasets  # here, because the import is slow

    options = {"scaled": False} if table == "diabetes" else {}
    bunch = getattr(datasets, f"load_{table}")(**options)
    planted, notes = plant_outliers(bunch.data, outliers, outlier_size, outlier_seed)
    if table == "diabetes":
        return regression(planted, bunch.target, bunch.feature_names, "progression", standardize_target, notes=notes)
    labels = torch.from_numpy(bunch.target.astype(np.int64))
    return Source(
        tuple(map(str, bunch.target_names)),
        Part(as_inputs(planted, bunch.feature_names), labels),
        notes=notes,
        kind="tables",
        columns=tuple(map(str, bunch.feature_names)),
    )


def california_housing(*, root: Path | None = None, standardize_target: bool = True) -> Source:
    """20,640 districts of California, 8 columns, and the median value of a house in $100,000 (Pace & Barry 1997).

    Downloaded by scikit-learn, 0.4 MB, into ``root`` or a folder of the cache.

    Args:
        root: folder of the file.
        standardize_target: train on (y - mean)/std of the training split's targets.

    Raises:
        DataError: if the file is not there and cannot be downloaded.
    """
    from sklearn.datasets import fetch_california_housing

    home = Path(root).expanduser() if root else cache.folder() / "scikit-learn"
    try:
        bunch = fetch_california_housing(data_home=str(home))
    except Exception as error:  # the network's errors are of many types
        raise DataError(
            f"data=california_housing: neither in {home} nor downloadable ({first_line(error)}); data=diabetes is a "
            f"regression that needs no network"
        ) from None
    return regression(bunch.data, bunch.target, bunch.feature_names, "house value", standardize_target)


def table(
    *,
    root: Path | None = None,
    target: str | None = None,
    task: Task = "auto",
    missing: Missing = "error",
    drop: tuple[str, ...] = (),
    keep: tuple[str, ...] = (),
    group: str | None = None,
    delimiter: str | None = None,
    decimal: str = ".",
    encoding: str = "utf-8",
    most_categories: PositiveInt = 20,
    standardize_target: bool = True,
    outliers: Share = 0.0,
    outlier_size: PositiveFloat = 30.0,
    outlier_seed: NonNegativeInt = 0,
) -> Source:
    """A CSV or Parquet file: numbers as they are, a category as one column of 0 and 1 for each of its values.

    A column that is no feature is refused and named, until ``drop`` leaves it out: dates, texts, and columns that
    number or name the rows, as :func:`row_identifier` decides.

    Args:
        root: the file; a relative path is looked up in the working directory, then below NORMLAB_DATA.
        target: the column to predict.
        task: ``auto`` takes text, truth values and up to 20 different whole numbers as classes, other numbers as a
            target of regression.
        missing: ``error`` names the columns with missing values; ``mean`` and ``median`` fill each column by the
            statistic of its training rows alone; ``drop`` leaves such rows out. The last three also leave out rows
            without a target. All are counted.
        drop: columns to leave out.
        keep: columns that look like identifiers and are features.
        group: a column whose equal values must not be split apart, such as a patient; not a feature.
        delimiter: between fields, a tab also as a backslash and t; None: a comma, or in ``.tsv`` a tab.
        decimal: mark of decimals.
        encoding: of the text.
        most_categories: values of a category, at most.
        standardize_target: for regression, train on (y - mean)/std of the training split's targets.
        outliers: share of the values that :func:`plant_outliers` replaces.
        outlier_size: their distance from the median.
        outlier_seed: of the draw.

    Raises:
        DataError: if the file or a column is missing or cannot be used; names it and says what to do.
    """
    if root is None:
        raise DataError("data=table needs data.root=FILE.csv or FILE.parquet, and data.target=COLUMN")
    path = find_file(root, f"one file of a table ({', '.join(SUFFIXES)})")
    frame = read_frame(path, delimiter=delimiter, decimal=decimal, encoding=encoding)
    if target is None:
        raise DataError(f"{path.name}: which column is to be predicted? data.target=COLUMN, one of {_some(frame)}")
    for key, names in (("target", [target]), ("drop", drop), ("keep", keep), ("group", [group] if group else [])):
        for name in names:
            require_column(frame, name, f"data.{key}", path.name)
    if group == target:
        raise DataError(f"data.group={group}: the column to predict; name the column whose rows belong together")
    whole, frame = frame, frame.drop(columns=[name for name in drop if name not in (target, group)])
    require_values(frame, path.name)
    notes: list[str] = [f"left out by data.drop: {', '.join(drop)}"] if drop else []
    if group is None:
        notes += possible_groups(whole.drop(columns=target))
    frame, groups = _without_group(frame, group, path.name)
    frame = _without_missing(frame, target, missing, path.name, notes)
    if len(frame) < 2:
        raise DataError(f"{path.name}: {len(frame)} row(s) with values; training needs at least a few of each class")
    groups = None if groups is None else groups[torch.from_numpy(frame.index.to_numpy().copy())]
    goal, features = frame[target], frame.drop(columns=target)
    if features.shape[1] == 0:
        raise DataError(f"{path.name}: no column but the target {target!r}: there is nothing to predict it from")
    is_class = is_classification(goal, task, path.name, notes)
    values, names = encode(features, keep, most_categories, path.name, notes)
    values, planted = plant_outliers(values, outliers, outlier_size, outlier_seed)
    notes += planted
    if not is_class:
        source = regression(values, _numbers(goal, path.name), names, target, standardize_target, notes=tuple(notes))
        return replace(source, groups=groups, fill=_fill(missing))
    classes, labels = np.unique(_class_values(goal), return_inverse=True)
    if len(classes) < 2:
        raise DataError(
            f"{path.name}: only one class, {str(classes[0])!r}, in column {target!r}: nothing to tell apart"
        )
    require_unlike(map(str, classes))
    return Source(
        tuple(map(str, classes)),
        Part(as_inputs(values, names, path.name), torch.from_numpy(labels.astype(np.int64))),
        notes=tuple(notes),
        kind="tables",
        groups=groups,
        columns=tuple(names),
        fill=_fill(missing),
    )


def regression(
    values: NDArray[np.float64],
    target: NDArray[Any],
    columns: Sequence[str],
    name: str,
    standardize: bool,
    notes: tuple[str, ...] = (),
) -> Source:
    """A source with one number to predict.

    Args:
        values: [N, C].
        target: [N].
        columns: C names.
        name: of the target.
        standardize: whether training standardizes the target.
        notes: what was changed.

    Raises:
        DataError: if all targets are equal.
    """
    labels = torch.from_numpy(np.asarray(target, dtype=np.float32))
    if bool((labels == labels[0]).all()):
        raise DataError(f"the target {name!r} has one value, {labels[0].item():g}, in every row: nothing to predict")
    return Source(
        (name,),
        Part(as_inputs(values, columns), labels),
        notes=notes,
        kind="tables",
        task="regression",
        columns=tuple(map(str, columns)),
        standardize_target=standardize,
    )


# Files


def is_table(path: Path) -> bool:
    """Whether a file's name ends as that of a table."""
    return path.name.lower().endswith(SUFFIXES)


def read_frame(
    path: Path, *, delimiter: str | None = None, decimal: str = ".", encoding: str = "utf-8"
) -> pd.DataFrame:
    """The rows of a CSV or Parquet file, with the index 0, 1, ...

    Raises:
        DataError: if the file is empty, has no names of columns or the same name twice, has another delimiter or
            encoding, has rows of different lengths, or is no table.
    """
    import pandas as pd

    if not is_table(path):
        raise DataError(f"{path.name}: a table ends in {', '.join(SUFFIXES)}")
    if path.stat().st_size == 0:
        raise DataError(f"{path.name}: the file is empty")
    require_text(path)
    if path.suffix.lower() == ".parquet":
        return _read_parquet(path)
    separator = "\t" if delimiter == r"\t" else delimiter or ("\t" if ".tsv" in path.name.lower() else ",")
    try:
        frame = read_fields(path, separator, encoding=encoding, decimal=decimal)
    except UnicodeDecodeError as error:
        byte = error.object[error.start]
        raise DataError(
            f"{path.name}: byte 0x{byte:02x} is no {encoding}: give the file's encoding, such as "
            f"data.encoding={likely_encoding(path)}"
        ) from None
    except LookupError:
        raise DataError(f"data.encoding={encoding}: no such encoding; for example utf-8, latin-1, cp1252") from None
    except pd.errors.EmptyDataError:
        raise DataError(f"{path.name}: no columns in it; the file is empty") from None
    except (pd.errors.ParserError, pd.errors.ParserWarning, csv.Error, ValueError, OSError) as error:
        raise DataError(f"{path.name}: not readable as a table: {first_line(error)}") from None
    _refuse_values_as_names(frame, path.name)
    return _require_rows(frame, path.name)


def read_fields(
    path: Path, separator: str, *, encoding: str = "utf-8", decimal: str = ".", as_text: Collection[str] = ()
) -> pd.DataFrame:
    """The rows of a file with a line of names, before anything is required of them; spaces around names are left out.

    Args:
        path: of the file.
        separator: between fields.
        encoding: of the text.
        decimal: mark of decimals.
        as_text: columns whose values stay texts, also where they look like numbers.

    Raises:
        DataError: for a first line of numbers, and for a name that is missing or occurs twice.
        ValueError: of pandas, and its other errors, where the file is no table or has rows of different lengths.
    """
    import pandas as pd

    options: dict[str, Any] = {"sep": separator, "encoding": encoding, "skipinitialspace": True}
    head = pd.read_csv(path, header=None, nrows=1, dtype=str, keep_default_na=False, **options).iloc[0]
    names = [str(name).strip() for name in head]
    _require_header(names, path.name, separator)
    types = {written: str for written, name in zip(head, names, strict=True) if name in as_text}
    with warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.ParserWarning)  # longer rows would lose their last fields
        frame = pd.read_csv(path, decimal=decimal, low_memory=False, index_col=False, dtype=types, **options)
    frame.columns = pd.Index(names)
    return frame


def _read_parquet(path: Path) -> pd.DataFrame:
    import pandas as pd

    try:
        frame = pd.read_parquet(path)
    except ImportError:
        raise DataError(f"{path.name}: Parquet needs the package pyarrow: pip install 'normlab[parquet]'") from None
    except Exception as error:  # pyarrow's errors are of many types
        raise DataError(f"{path.name}: not readable as Parquet: {first_line(error)}") from None
    frame.columns = pd.Index([str(name) for name in frame.columns])
    if not (isinstance(frame.index, pd.RangeIndex) and frame.index.name is None):
        frame = _with_index(frame, path.name)
    _require_names(list(frame.columns), path.name)
    for name in frame:
        if pd.api.types.infer_dtype(frame[name]) == "decimal":  # exact decimals of a database
            frame[name] = frame[name].map(float, na_action="ignore").astype(float)
    return _require_rows(frame, path.name)


def _with_index(frame: pd.DataFrame, file: str) -> pd.DataFrame:
    """The frame with its index as columns, because it may be a feature, the target or a group."""
    import pandas as pd

    if any(name is None for name in frame.index.names) and not frame.index.is_unique:  # of frames that were joined
        raise DataError(
            f"{file}: its index has no name and holds a value twice; write it with reset_index(drop=True), or "
            f"give the index a name"
        )
    index = frame.index.to_frame(index=False)
    index.columns = pd.Index(
        [
            str(name) if name is not None else "index" if len(index.columns) == 1 else f"level_{level}"
            for level, name in enumerate(frame.index.names)
        ]
    )
    return pd.concat([index, frame.reset_index(drop=True)], axis=1)


def _require_header(names: list[str], file: str, separator: str) -> None:
    """Refuse a first line that is no line of names: whole numbers among names are legal, such as years."""
    if len(names) == 1:
        other = next((mark for mark in (";", "\t", "|", ",") if mark != separator and mark in names[0]), None)
        if other:
            shown = r"\t" if other == "\t" else other
            raise DataError(f"{file}: one column, whose name holds {shown!r}: data.delimiter='{shown}' splits it")
    number = next((name for name in names if FRACTION.fullmatch(name)), None)
    if number is not None or (names and all(_is_number(name) for name in names)):
        raise DataError(
            f"{file}: the first line holds numbers, such as {number or names[0]}: add a line with the names of the "
            f"columns (a name that is a number needs a letter, as in x{number or names[0]})"
        )
    _require_names(names, file)


def _refuse_values_as_names(frame: pd.DataFrame, file: str) -> None:
    """Refuse a column of text whose name is one of its values: the first line was a row."""
    for name, column in frame.items():
        texts = column.dropna()
        if is_numeric(texts):
            continue
        same = texts.astype(str).str.strip() == name
        if same.any():
            raise DataError(
                f"{file}: {name!r} is the name of a column and its value in row {_first(texts, same)[0]}: if the "
                f"first line is a row, add a line with the names of the columns; else rename the column, or remove "
                f"that row"
            )


def _require_names(names: list[str], file: str) -> None:
    twice = sorted({name for name in names if names.count(name) > 1 and name})
    if twice:
        raise DataError(f"{file}: {names.count(twice[0])} columns are called {twice[0]!r}: give each its own name")
    if "" in names:
        place = names.index("") + 1
        raise DataError(
            f"{file}: column {place} has no name; if it numbers the rows, write the file without it "
            f"(pandas: to_csv(index=False))"
        )


def _require_rows(frame: pd.DataFrame, file: str) -> pd.DataFrame:
    if len(frame) == 0:
        raise DataError(f"{file}: names of columns, but no rows")
    if len(frame) == 1:
        raise DataError(f"{file}: one row only; training, validation and test each need some")
    return frame


def require_column(frame: pd.DataFrame, name: str, key: str, file: str) -> None:
    """Refuse the name of a column that is not there.

    Raises:
        DataError: with the nearest name and some of the names.
    """
    if name not in frame:
        near = difflib.get_close_matches(name, list(frame.columns), n=1)
        hint = f"; did you mean {near[0]!r}? It has " if near else "; it has "
        raise DataError(f"{key}={name}: {file} has no such column{hint}{_some(frame)}")


def require_values(frame: pd.DataFrame, file: str) -> None:
    """Refuse a column whose fields are no single values: images, embeddings and lists of a Parquet file.

    Raises:
        DataError: with the name of the column, and what it holds.
    """
    from pandas.api import types

    for name in frame:
        column = frame[name].dropna()
        if not types.is_object_dtype(column):
            continue
        whole = column.map(lambda value: not isinstance(value, dict | list | tuple | set | bytes | np.ndarray))
        if len(column) == 0 or whole.all():
            continue
        row, value = _first(column, ~whole)
        if isinstance(value, dict) and {"bytes", "path"} <= set(value):
            what = "images or recordings"
        else:
            kinds = {dict: "fields of their own", bytes: "bytes", np.ndarray: f"arrays of {len(value)} values"}
            what = next((words for kind, words in kinds.items() if isinstance(value, kind)), "lists")
        raise DataError(
            f"{file}: column {name!r} holds {what} (row {row - 1}), and a table has one value in each field: "
            f"data.drop='[{name}]' leaves it out"
        )


def _some(frame: pd.DataFrame, most: int = 12) -> str:
    names = ", ".join(map(str, frame.columns[:most]))
    return names + (f" and {len(frame.columns) - most} more" if len(frame.columns) > most else "")


# Columns


def is_numeric(column: pd.Series) -> bool:
    """Whether a column holds numbers or truth values."""
    from pandas.api import types

    return types.is_numeric_dtype(column) or types.is_bool_dtype(column)


def is_date(column: pd.Series) -> bool:
    """Whether a column holds dates: of that type, or texts that all look like 2024-01-31 or 31.1.2024."""
    from pandas.api import types

    if types.is_datetime64_any_dtype(column):
        return True
    if is_numeric(column):
        return False
    texts = column.dropna().astype(str)
    return len(texts) > 0 and bool(texts.map(lambda text: DATE.fullmatch(text.strip()) is not None).all())


def row_identifier(column: pd.Series) -> bool:
    """Whether a column numbers or names the rows instead of describing them.

    All its values differ, and they are consecutive whole numbers (of ten rows at least), or the column is called id,
    index, uuid, ..._id, ...Id or the like.
    """
    values = column.dropna()
    if len(values) < 2 or not values.is_unique:
        return False
    name = _words(column.name)
    if re.fullmatch(r"(.*[_ .-])?(id|identifier|index|uuid|guid|key|row|rowid|row_?number|no)|unnamed: \d+", name):
        return not is_numeric(values) or bool((values.astype(float) % 1 == 0).all())
    if not is_numeric(values) or len(values) < FEWEST_ROWS:
        return False
    numbers = values.astype(float)
    return bool((numbers % 1 == 0).all() and numbers.max() - numbers.min() == len(numbers) - 1)


def _words(name: object) -> str:
    """A name in small letters and with its words apart: of CustomerID, customer_id."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", str(name)).lower()


def possible_groups(frame: pd.DataFrame) -> list[str]:
    """A sentence on each column whose name is that of an identifier, and whose values occur several times.

    Several rows of one patient or device are alike: a random split puts some into training and others into the test.
    """
    sentences = []
    for name in frame:
        values = frame[name].dropna()
        if not re.fullmatch(r"(.*[_ .-])?(id|identifier|uuid|guid|patient|participant)", _words(name)):
            continue
        if 2 < (distinct := values.astype(str).nunique()) < len(values):
            sentences.append(
                f"GROUPS: column {name!r} has {distinct:,} values in {len(values):,} rows, and a split may put rows of "
                f"one value into training and test; data.group={name} keeps them together"
            )
    return sentences


def first_word(column: pd.Series) -> tuple[int, str] | None:
    """Row in the file and text of the first value that is no number, in a column most of whose values are numbers.

    Numbers with commas that were not read, such as 1,000 and 0,5, count among them.
    """
    import pandas as pd

    texts = column.dropna().astype(str)
    numbers = pd.to_numeric(texts, errors="coerce").notna()
    meant = numbers | texts.str.strip().str.fullmatch(WITH_COMMAS)
    if len(texts) == 0 or meant.mean() <= MOSTLY or numbers.all():
        return None
    row, text = _first(texts, ~numbers)
    return row, str(text)


def _first(column: pd.Series, where: pd.Series) -> tuple[int, Any]:
    """Row in the file, whose first line has the names, and value of the first place that is marked."""
    place = int(where.to_numpy(dtype=bool).argmax())
    return int(column.index.to_numpy()[place]) + 2, column.iloc[place]


def encode(
    features: pd.DataFrame, keep: Sequence[str], most_categories: int, file: str, notes: list[str]
) -> tuple[NDArray[np.float64], list[str]]:
    """The features as numbers; a missing value is NaN, in each column of a category.

    Args:
        features: a row a sample.
        keep: columns that are features though they look like identifiers.
        most_categories: values of a category, at most.
        file: name of the file, for messages.
        notes: receives what was done.

    Returns:
        Values [N, C], and the names of their columns.

    Raises:
        DataError: for a column that is no feature.
    """
    parts: list[NDArray[np.float64]] = []
    names: list[str] = []
    for name, column in features.items():
        key = str(name)
        say = f"data.drop='[{key}]' leaves it out"
        if is_date(column):
            raise DataError(f"{file}: column {key!r} holds dates, which are no numbers: {say}")
        if key not in keep and row_identifier(column):
            raise DataError(f"{file}: column {key!r} numbers or names the rows: {say}, data.keep='[{key}]' keeps it")
        if is_numeric(column):
            parts.append(_numbers(column, file)[:, None])
            names.append(key)
            continue
        if word := first_word(column):
            how = (
                "write numbers without a mark of thousands (data.decimal=',' reads decimal commas)"
                if "," in word[1]
                else "leave missing values empty"
            )
            raise DataError(
                f"{file}: column {key!r}: {word[1]!r} in row {word[0]} is no number, though most values are: {how}, "
                f"or {say}"
            )
        texts = column.map(lambda value: str(value).strip(), na_action="ignore")
        kinds = sorted(texts.dropna().unique())
        if len(kinds) > most_categories:
            raise DataError(
                f"{file}: column {key!r} is text with {len(kinds)} different values, more than "
                f"data.most_categories={most_categories}: {say}"
            )
        lacks = texts.isna().to_numpy()
        one_hot = np.stack([(texts == kind).to_numpy(dtype=bool) for kind in kinds], 1).astype(np.float64)
        one_hot[lacks] = np.nan
        parts.append(one_hot)
        names += [f"{key}={kind}" for kind in kinds]
        notes.append(f"column {key!r}: {len(kinds)} categories, a column of 0 and 1 for each")
    values = np.concatenate(parts, 1)
    spread = np.nanmax(values, 0) == np.nanmin(values, 0)
    if spread.any():
        notes.append(f"constant: {', '.join(name for name, flat in zip(names, spread, strict=True) if flat)}")
    return values, names


def _numbers(column: pd.Series, file: str) -> NDArray[np.float64]:
    """A column of numbers, float64 [N].

    Raises:
        DataError: for a text among them, and for infinite values.
    """
    import pandas as pd

    if not is_numeric(column):
        numbers = pd.to_numeric(column, errors="coerce")
        row, text = _first(column, numbers.isna() & column.notna())
        raise DataError(f"{file}: column {column.name!r}: {text!r} in row {row} is no number")
    values = column.to_numpy(dtype=np.float64, na_value=np.nan)
    if np.isinf(values).any():
        row = int(column.index[np.isinf(values).argmax()]) + 2
        raise DataError(f"{file}: column {column.name!r} is infinite in row {row}: correct it, or leave it empty")
    return values


def _class_values(goal: pd.Series) -> NDArray[Any]:
    if is_numeric(goal):
        values = goal.to_numpy()
        whole = goal.dtype.kind == "f" and bool((values % 1 == 0).all())
        return values.astype(np.int64) if whole else values
    return goal.astype(str).str.strip().to_numpy(dtype=str)


def is_classification(goal: pd.Series, task: Task, file: str, notes: list[str]) -> bool:
    """Whether the target names classes; see ``task`` of :func:`table`.

    Raises:
        DataError: for a target of dates, or of texts where numbers are asked for.
    """
    if is_date(goal):
        raise DataError(f"{file}: the target {goal.name!r} holds dates: choose another data.target")
    word = None if is_numeric(goal) else first_word(goal)
    if word and task != "classification":
        raise DataError(f"{file}: the target {goal.name!r}: {word[1]!r} in row {word[0]} is no number, most values are")
    if task == "regression" and not is_numeric(goal):
        raise DataError(f"{file}: the target {goal.name!r} is text: data.task=classification takes it as classes")
    distinct = goal.nunique()
    few = distinct <= MOST_CLASSES and (not is_numeric(goal) or bool((goal.astype(float) % 1 == 0).all()))
    result = task == "classification" or (task == "auto" and (not is_numeric(goal) or few))
    what = f"{distinct} classes" if result else "a number"
    other = "regression takes it as a number" if result else "classification takes it as classes"
    asked = f" (data.task={other})" if task == "auto" and is_numeric(goal) else ""
    notes.append(f"target {goal.name!r}: {what}{asked}")
    return result


def _without_group(frame: pd.DataFrame, group: str | None, file: str) -> tuple[pd.DataFrame, Tensor | None]:
    if group is None:
        return frame, None
    # In CSV, spaces before a value are left out; those behind it would make another group of it.
    column = frame[group].map(lambda value: value.strip() if isinstance(value, str) else value, na_action="ignore")
    codes, names = column.factorize(sort=True)
    if (codes < 0).any():
        raise DataError(f"{file}: data.group={group}: missing in row {int((codes < 0).argmax()) + 2}")
    if len(names) < 3:
        raise DataError(f"{file}: data.group={group}: {len(names)} different values; three splits need three at least")
    return frame.drop(columns=group), torch.from_numpy(codes.astype(np.int64))


def _without_missing(frame: pd.DataFrame, target: str, how: Missing, file: str, notes: list[str]) -> pd.DataFrame:
    """Refuse, count or drop missing values; what is to be filled stays missing."""
    empty = [str(name) for name in frame if frame[name].isna().all()]
    if empty:
        raise DataError(f"{file}: column {empty[0]!r} has no values at all: data.drop='[{empty[0]}]' leaves it out")
    counts = frame.isna().sum()
    lacking = {str(name): int(count) for name, count in counts.items() if count}
    if not lacking:
        return frame
    shown = ", ".join(f"{name} ({count})" for name, count in list(lacking.items())[:5])
    more = f" and {len(lacking) - 5} more columns" if len(lacking) > 5 else ""
    if how == "error":
        raise DataError(f"{file}: missing values in {shown}{more}: choose data.missing=mean, median or drop")
    if how == "drop":
        kept = frame.dropna()
        if len(kept) == 0:
            raise DataError(f"{file}: data.missing=drop leaves no row; missing values in {shown}{more}")
        notes.append(f"{len(frame) - len(kept):,} of {len(frame):,} rows left out for missing values in {shown}{more}")
        return kept
    kept = frame[frame[target].notna()]
    if len(kept) < len(frame):
        notes.append(f"{len(frame) - len(kept):,} of {len(frame):,} rows left out, because they have no target")
    lacking.pop(target, None)
    if lacking:
        notes.append(f"missing values filled by the training rows' {how}: {shown}{more}")
    return kept


# Values


def as_inputs(values: NDArray[np.float64], names: Sequence[str], file: str = "the table") -> Tensor:
    """The values as float32 [N, C].

    Raises:
        DataError: for values that float32 cannot hold, or rounds by more than a hundredth of the column's deviation.
    """
    with np.errstate(over="ignore"):
        rounded = values.astype(np.float32)
    large = np.isinf(rounded) & np.isfinite(values)
    if large.any():
        raise DataError(f"{file}: column {names[int(large.any(0).argmax())]!r} has values above 3e38: give other units")
    with np.errstate(invalid="ignore"):
        error, deviation = np.nanmax(np.abs(rounded - values), 0), np.nanstd(values, 0)
    coarse = (error > COARSEST * deviation) & (deviation > 0)
    if coarse.any():
        place = int(coarse.argmax())
        raise DataError(
            f"{file}: column {names[place]!r} varies by {deviation[place]:.3g} around "
            f"{np.nanmean(values[:, place]):.6g}, which single precision rounds away: subtract an offset first"
        )
    return torch.from_numpy(rounded)


def plant_outliers(
    values: NDArray[np.float64], share: float, size: float, seed: int
) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """Replace values at random by the column's median plus or minus ``size`` interquartile ranges.

    Args:
        values: [N, C].
        share: of all values.
        size: in interquartile ranges of the column (in its standard deviations, where that range is 0).
        seed: of the draw.

    Returns:
        The values, and a note on how many were replaced.
    """
    if share == 0:
        return values, ()
    generator = np.random.default_rng(seed)
    chosen = np.zeros(values.size, dtype=bool)
    chosen[generator.permutation(values.size)[: max(1, round(share * values.size))]] = True
    chosen = chosen.reshape(values.shape) & ~np.isnan(values)
    sign = generator.choice([-1.0, 1.0], values.shape)
    low, middle, high = np.nanquantile(values, [0.25, 0.5, 0.75], axis=0)
    scale = np.where(high > low, high - low, np.nanstd(values, 0))
    planted = np.where(chosen, middle + sign * size * scale, values)
    rows = int(chosen.any(1).sum())
    return planted, (f"{int(chosen.sum())} outliers planted, {size:g} interquartile ranges off, in {rows} rows",)


def _fill(missing: Missing) -> Literal["mean", "median"] | None:
    return missing if missing == "mean" or missing == "median" else None


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
