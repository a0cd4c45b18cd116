"""Time series with a label each: .ts files, NumPy arrays, long CSV tables, and sets inside the package aeon."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from normlab.config import PositiveInt
from normlab.data.first_bytes import require_text
from normlab.data.folder import find
from normlab.data.lengths import TooLong, TooShort, equal_lengths
from normlab.data.splits import Part, Source, require_unlike
from normlab.data.tables import read_fields, row_identifier
from normlab.errors import DataError, first_line

if TYPE_CHECKING:
    import pandas as pd

TRAIN, TEST = "_TRAIN", "_TEST"  # in the names of the archive at timeseriesclassification.com


# Forms of ISO 8601, of which a column of times has one: a clock, a day, a day with a time zone.
CLOCK = r"\d\d:\d\d(:\d\d(\.\d+)?)?"
DAY = rf"\d{{4}}-\d\d(-\d\d([T ]{CLOCK})?)?"
ZONED = rf"\d{{4}}-\d\d-\d\d[T ]{CLOCK}(Z|[+-]\d\d:?\d\d)"

UNEVEN = 1e-3  # of the longest step of a series: a larger difference to its shortest is no rounding


@dataclass(frozen=True)
class Listing:
    """Series of one file: float64 [C, T] each, their labels, their names for messages, and notes for the user."""

    series: list[NDArray[np.float64]]
    labels: list[str]
    names: list[str]
    notes: list[str] = field(default_factory=list)


def series(
    *,
    root: Path | None = None,
    labels: Path | None = None,
    length: PositiveInt | None = None,
    too_short: TooShort = "error",
    too_long: TooLong = "error",
    id: str = "id",
    time: str = "time",
    label: str = "label",
) -> Source:
    """Series of a file, or of two files NAME_TRAIN.ts and NAME_TEST.ts.

    - ``.ts``: the format of the archive at timeseriesclassification.com. ``data.root`` is one file, or a folder or
      either file of a pair NAME_TRAIN and NAME_TEST.
    - ``.npy``: an array [N, C, T], with the labels [N] in NAME_labels.npy beside it or in ``data.labels``.
    - ``.csv``: a row for each id and time; every column but id, time and label is a channel.

    Args:
        root: the file or folder; a relative path is looked up in the working directory, then below NORMLAB_DATA.
        labels: of a .npy file.
        length: of all series; None: of the longest.
        too_short: ``zeros`` at the end, ``repeat`` from the beginning, or ``error``.
        too_long: ``crop`` keeps the beginning, or ``error``.
        id: name of the column of a CSV file that tells the series apart.
        time: name of the column by which a series is ordered: numbers, or dates and times of ISO 8601.
        label: name of the column with the class.

    Raises:
        DataError: if a file is missing or cannot be read, has a value that is missing or not finite, no labels, or one
            class only; or for unequal lengths, unless they are chosen to be changed.
    """
    if root is None:
        raise DataError("data=series needs data.root=FILE, a .ts, .npy or .csv file, or a folder with NAME_TRAIN.ts")
    path = _find(root)
    ending = path.suffix.lower()
    if labels is not None and ending != ".npy":
        raise DataError(f"data.labels={labels}: labels of their own belong to a .npy file, not to {path.name}")
    if ending == ".npy":
        parts = {"train": read_npy(path, labels)}
    elif ending == ".csv":
        parts = {"train": read_csv(path, id, time, label)}
    elif ending == ".ts" or path.is_dir():
        parts = {name: read_ts(file) for name, file in _pair(path).items()}
    else:
        raise DataError(f"{path}: expected a file that ends in .ts, .npy or .csv, or a folder with NAME_TRAIN.ts")
    return from_listings(parts, path, length, too_short, too_long)


def from_aeon(
    *,
    problem: str,
    length: PositiveInt | None = None,
    too_short: TooShort = "repeat",
    too_long: TooLong = "error",
) -> Source:
    """Series inside the package aeon: ``pip install 'normlab[series]'``. The package is not imported.

    Args:
        problem: such as BasicMotions, JapaneseVowels, GunPoint, ItalyPowerDemand, ArrowHead, OSULeaf.
        length: of all series; None: of the longest.
        too_short: ``zeros`` at the end, ``repeat`` from the beginning, or ``error``.
        too_long: ``crop`` keeps the beginning, or ``error``.

    Raises:
        DataError: if aeon is not installed, or does not have the set.
    """
    spec = importlib.util.find_spec("aeon")
    if spec is None or not spec.submodule_search_locations:
        raise DataError(f"{problem} needs the package aeon: pip install 'normlab[series]'")
    folder = Path(spec.submodule_search_locations[0], "datasets", "data")
    files = {"train": folder / problem / f"{problem}{TRAIN}.ts", "test": folder / problem / f"{problem}{TEST}.ts"}
    if not all(file.is_file() for file in files.values()):
        known = sorted(
            path.parent.name for path in folder.glob(f"*/*{TRAIN}.ts") if path.stem == path.parent.name + TRAIN
        )
        raise DataError(f"data.problem={problem}: aeon has no such set; it has {', '.join(known)}")
    parts = {name: read_ts(file) for name, file in files.items()}
    return from_listings(parts, folder / problem, length, too_short, too_long)


def from_listings(
    parts: dict[str, Listing], place: Path, length: int | None, too_short: TooShort, too_long: TooLong
) -> Source:
    """A source from the series of one or two splits, all of one number of channels.

    Raises:
        DataError: as :func:`series`.
    """
    every = [one for listing in parts.values() for one in listing.series]
    names = [name for listing in parts.values() for name in listing.names]
    channels = len(every[0])
    for name, one in zip(names, every, strict=True):
        if len(one) != channels:
            raise DataError(f"{name}: has {len(one)} channels, others {channels}")
        if one.shape[1] == 0:
            raise DataError(f"{name}: a series of no values; remove it")
        if not np.isfinite(one).all():
            channel, step = np.argwhere(~np.isfinite(one))[0]
            raise DataError(
                f"{name}: the value of channel {channel + 1} at step {step + 1} is missing or not finite; fill it in, "
                f"or remove the series"
            )
    classes = tuple(sorted(set(parts["train"].labels), key=_order))
    if len(classes) < 2:
        raise DataError(f"{place}: only one class, {classes[0]!r}; a classifier needs at least two")
    require_unlike(classes)
    for name, listing in parts.items():
        if extra := sorted(set(listing.labels) - set(classes)):
            raise DataError(f"{place}: class {extra[0]!r} of the {name} file does not occur among the training series")
    longest = max(one.shape[1] for one in every)
    inputs, changed = equal_lengths(
        [torch.from_numpy(one) for one in every], names, length or longest, too_short, too_long, "data.length"
    )
    notes = [f"series of {channels} channels and {length or longest} steps", *(f"series {note}" for note in changed)]
    notes += [note for listing in parts.values() for note in listing.notes]
    values, lost = _to_float32(inputs)
    if lost:
        notes.append(f"channel {lost[0]}: rounding to 32 bits changes it by {lost[1]:.1%} of its standard deviation")
    splits, start = {}, 0
    for name, listing in parts.items():
        labels = torch.tensor([classes.index(label) for label in listing.labels])
        splits[name] = Part(values[start : start + len(labels)], labels)
        start += len(labels)
    return Source(classes, splits["train"], None, splits.get("test"), notes=tuple(notes), kind="series")


def _to_float32(inputs: Tensor) -> tuple[Tensor, tuple[int, float] | None]:
    """[N, C, T] as float32; and the channel that rounding changes most with the change, if it exceeds a thousandth."""
    values = inputs.float()
    spread = inputs.std((0, 2), correction=0)
    change = (values.double() - inputs).abs().amax((0, 2)) / torch.where(spread == 0, 1.0, spread)
    worst = int(change.argmax())
    return values, (worst + 1, change[worst].item()) if change[worst] > 1e-3 else None


def _order(label: str) -> tuple[int, float, str]:
    """Numbers by their value, then other labels by the alphabet."""
    try:
        return 0, float(label), label
    except ValueError:
        return 1, 0.0, label


def _find(root: Path) -> Path:
    """The existing file or folder."""
    given = Path(root).expanduser()
    if given.exists():
        return given
    if given.suffix:  # a file: only its folder is looked up
        return find(given.parent, "data=series") / given.name
    return find(root, "data=series")


def _pair(path: Path) -> dict[str, Path]:
    """The training file of a set, and its test file where there is one."""
    if path.is_dir():
        files = sorted(path.glob(f"*{TRAIN}.ts"))
        if len(files) != 1:
            raise DataError(f"{path}: expected one file NAME_TRAIN.ts in it, not {len(files)}; name the file")
        path = files[0]
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    if path.stem.endswith(TEST):
        train = path.with_name(path.name.replace(TEST, TRAIN))
        if not train.is_file():
            raise DataError(f"{path}: a test file; its training file {train.name} is missing")
        path = train
    test = path.with_name(path.name.replace(TRAIN, TEST))
    return {"train": path, "test": test} if test != path and test.is_file() else {"train": path}


def read_ts(path: Path) -> Listing:
    """Series of a .ts file: a line each, channels separated by colons, the label last.

    The format of "The UEA multivariate time series classification archive" (Bagnall et al. 2018).

    Raises:
        DataError: naming the line that cannot be read; for a file without labels or with time stamps.
    """
    require_text(path)
    header: dict[str, str] = {}
    listing = Listing([], [], [])
    in_data = False
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise DataError(f"{path}: not a text file, and so not in the .ts format") from None
    for number, raw in enumerate(lines, 1):
        line, name = raw.strip(), f"{path}, line {number}"
        if not line or line.startswith(("#", "%")):
            continue
        if not in_data:
            if not line.startswith("@"):
                raise DataError(f"{name}: expected a line @KEY VALUE or @data, got {line[:40]!r}")
            key, _, value = line[1:].partition(" ")
            header[key.lower()] = value.strip()
            if in_data := key.lower() == "data":
                _check_header(path, header)
            continue
        *channels, label = line.split(":")
        if not channels or not label.strip():
            raise DataError(f"{name}: expected channels separated by colons and a label last, got {line[:40]!r}")
        try:
            rows = [[float("nan") if v.strip() == "?" else float(v) for v in c.split(",")] for c in channels]
        except ValueError as error:
            raise DataError(f"{name}: {first_line(error)}") from None
        if len({len(row) for row in rows}) > 1:
            raise DataError(f"{name}: its channels have {' and '.join(sorted({str(len(r)) for r in rows}))} values")
        listing.series.append(np.array(rows))
        listing.labels.append(label.strip())
        listing.names.append(name)
    if not listing.series:
        raise DataError(f"{path}: no series in it; expected the line @data, and below it a line for each series")
    return listing


def _check_header(path: Path, header: dict[str, str]) -> None:
    if header.get("timestamps", "false").lower() == "true":
        raise DataError(f"{path}: series with time stamps; interpolate them to equal steps first")
    if header.get("targetlabel", "false").lower().startswith("true"):
        raise DataError(f"{path}: has numbers to predict (@targetLabel true); only series with classes are taken")
    if header.get("classlabel", "true").lower().startswith("false"):
        raise DataError(
            f"{path}: has no labels (@classLabel false); a classifier needs @classLabel true and the classes"
        )


def read_npy(path: Path, labels: Path | None) -> Listing:
    """Series of an array [N, C, T], with labels [N] in another file.

    Raises:
        DataError: naming the shape or type that is not as expected.
    """
    array = _load(path)
    if array.ndim != 3:
        hint = "; series of one channel are x[:, None]" if array.ndim == 2 else ""
        raise DataError(f"{path}: expected an array [N, C, T], got {list(array.shape)}{hint}")
    if array.dtype.kind not in "iuf":
        raise DataError(f"{path}: expected numbers, got an array of {array.dtype}")
    beside = labels or path.with_name(f"{path.stem}_labels.npy")
    if not beside.is_file():
        raise DataError(f"{path}: its labels are missing; expected {beside}, or data.labels=FILE.npy")
    names = _load(beside)
    if names.shape != (len(array),):
        raise DataError(f"{beside}: expected one label for each of {len(array)} series, got {list(names.shape)}")
    if names.dtype.kind == "f" and (names != names.round()).any():
        raise DataError(f"{beside}: expected labels, got numbers that are not whole")
    text = [str(int(name)) if names.dtype.kind in "iufb" else str(name) for name in names]
    listing = Listing(list(array.astype(np.float64)), text, [f"{path}, series {i}" for i in range(len(array))])
    if array.shape[1] > array.shape[2]:
        listing.notes.append(
            f"{path.name}: {list(array.shape)} is taken as [N, C, T], so with more channels than steps; an array "
            f"[N, T, C] needs x.transpose(0, 2, 1)"
        )
    return listing


def _load(path: Path) -> NDArray[np.generic]:
    try:
        return np.load(path, allow_pickle=False)  # a pickle could run code
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or first_line(error)})") from None
    except ValueError as error:
        raise DataError(f"{path}: cannot be read as a NumPy array ({first_line(error)})") from None


def read_csv(path: Path, id: str, time: str, label: str) -> Listing:
    """Series of a long table: a row for each series and time.

    Raises:
        DataError: for a missing column, a column without a name, one of text or one that numbers the rows, times of
            another form than :func:`_times` reads, a time that occurs twice, or two labels in a series.
    """
    import pandas as pd

    require_text(path)
    try:
        table = read_fields(path, ",", as_text=(id, label))
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None
    except (ValueError, pd.errors.ParserError, pd.errors.ParserWarning) as error:
        raise DataError(f"{path}: cannot be read as a CSV table ({first_line(error)})") from None
    for option, column in (("id", id), ("time", time), ("label", label)):
        if column not in table:
            raise DataError(
                f"{path}: no column {column!r} (data.{option}); its columns are {', '.join(map(str, table.columns))}"
            )
    if table.empty:
        raise DataError(f"{path}: a table without rows")
    channels = [column for column in table.columns if column not in (id, time, label)]
    if not channels:
        raise DataError(f"{path}: no column besides {id}, {time} and {label}; each channel needs one")
    if text := [column for column in channels if table[column].dtype.kind not in "iuf"]:
        raise DataError(f"{path}: the column {text[0]!r} is not numeric; remove it, or turn it into numbers")
    if numbering := [column for column in channels if row_identifier(table[column])]:
        raise DataError(f"{path}: the column {numbering[0]!r} numbers or names the rows and is no channel; remove it")
    table[id] = table[id].str.strip()  # a space behind a name would make another series of it
    for column in (id, time):
        if (empty := table[column].isna()).any():
            raise DataError(f"{path}, row {int(empty.argmax()) + 2}: no {column}; fill it in, or remove the row")
    times = _times(table[time], path)
    listing = Listing([], [], [])
    uneven: list[str] = []
    for key, rows in table.groupby(id, sort=False):
        name, own = f"{path}, {id} {key}", times[rows.index]
        if (twice := own.duplicated()).any():
            raise DataError(f"{name}: the time {rows[time][twice].iloc[0]} occurs twice")
        if rows[label].nunique(dropna=False) != 1 or rows[label].isna().any():
            raise DataError(f"{name}: expected one label in all of its rows, got {rows[label].unique().tolist()}")
        listing.series.append(rows.loc[own.sort_values().index, channels].to_numpy(np.float64, copy=True).T)
        listing.labels.append(rows[label].iloc[0])
        listing.names.append(name)
        steps = own.sort_values().diff().dropna()
        if len(steps) and steps.max() - steps.min() > UNEVEN * steps.max():
            uneven.append(f"{id} {key}: from {_step(steps.min())} to {_step(steps.max())}")
    if uneven:
        listing.notes.append(
            f"{path.name}: the steps of time are uneven in {len(uneven):,} of {len(listing.names):,} series "
            f"({uneven[0]}); rows follow each other as if they were even, and nothing is filled in"
        )
    return listing


def _step(step: object) -> str:
    return f"{step:g}" if isinstance(step, float | int | np.number) else str(step)


def _times(column: pd.Series, path: Path) -> pd.Series:
    """Times that can be sorted: numbers as they are, texts as dates.

    By the alphabet, 10:00 would come before 8:00, and t10 before t2; and 3/4/2024 is a day in March or in April.

    Raises:
        DataError: naming the first text that is no time of ISO 8601, or has another of its forms than most.
    """
    import pandas as pd

    if column.dtype.kind in "iuf":
        return column
    texts = column.astype(str).str.strip()
    fits = max((texts.str.fullmatch(form) for form in (CLOCK, DAY, ZONED)), key=lambda one: one.sum())
    start = "1970-01-01 " if texts[fits].str.fullmatch(CLOCK).all() else ""  # of a clock: any day will do
    times = pd.to_datetime((start + texts).where(fits), format="ISO8601", utc=True, errors="coerce")
    if (wrong := times.isna()).any():
        row = int(wrong.argmax())
        raise DataError(
            f"{path}, row {row + 2}: the time {texts.iloc[row]!r} cannot be sorted; write all times as numbers, or "
            f"in one of the forms 2024-01-31, 2024-01-31 08:00 and 08:00"
        )
    return times
