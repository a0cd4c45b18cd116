"""Records and curves as tables."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable
from contextlib import suppress
from itertools import chain, islice
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from normlab.errors import NormlabError
from normlab.process import without_collection
from normlab.record.curve import COLUMNS, Curve
from normlab.record.folders import CURVE, read_each

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

PART = 64  # records that are held as they were read, until they are columns; so few stay in the cache of a processor
Column = list[Any] | NDArray[Any]


def records(path: str | Path = "runs") -> pd.DataFrame:
    """All records below a folder, a row for each run.

    A damaged record is left out, with a warning that names it.

    Columns: ``path`` of the run's folder and the fields of :class:`normlab.record.Record`; of
    :class:`normlab.record.Metrics` each by its own name (``test_accuracy``), nested fields with a dot
    (``epochs_to.0.7``, ``config.optim.lr``, ``normalized.mean``, ``provenance.commit``). A missing number is NaN.
    """
    with without_collection():
        return frame(read_each(Path(path)))


def frame(records: Iterable[dict[str, Any]]) -> pd.DataFrame:
    """Records as a table; see :func:`records` for its columns."""
    import pandas as pd

    columns: dict[str, list[Column]] = {}
    records, sizes = iter(records), list[int]()
    while part := list(islice(records, PART)):
        nested = _columns(part)
        read = {name.removeprefix("metrics."): values for name, values in nested.items()}
        assert len(read) == len(nested)
        columns |= {name: [np.full(size, np.nan) for size in sizes] for name in read if name not in columns}
        sizes.append(len(part))
        for name, parts in columns.items():
            parts.append(_compact(read[name]) if name in read else np.full(len(part), np.nan))
    return pd.DataFrame({name: _joined(parts) for name, parts in columns.items()})


def _compact(values: list[Any]) -> Column:
    """An array where the values are numbers of one type, which takes a fifth of the memory."""
    kinds = set(map(type, values))
    if len(kinds) == 1 and (kind := kinds.pop()) in (float, int, bool):
        with suppress(OverflowError):  # of a whole number that no array holds
            return np.array(values, {float: np.float64, int: np.int64, bool: np.bool_}[kind])
    return values


def _joined(parts: list[Column]) -> Column:
    """The parts of a column as one: an array if all are of one type."""
    if all(isinstance(part, np.ndarray) and part.dtype == parts[0].dtype for part in parts):  # type: ignore[union-attr]
        return np.concatenate(parts)
    return [value for part in parts for value in (part.tolist() if isinstance(part, np.ndarray) else part)]


_MISSING = object()


def _columns(rows: list[dict[str, Any]], prefix: str = "") -> dict[str, list[Any]]:
    """Nested rows as columns, as ``pandas.json_normalize``, which goes through each row alone and takes longer.

    >>> _columns([{"a": {"b": 1, "c": 2}, "d": 3}, {"a": {"b": 4}}])
    {'d': [3, nan], 'a.b': [1, 4], 'a.c': [2, nan]}

    Args:
        rows: dicts, of dicts and values.
        prefix: of the names.
    """
    every = dict.fromkeys(chain.from_iterable(rows))
    if set(map(len, rows)) <= {len(every)}:  # each has all names
        by_name = {name: list(map(itemgetter(name), rows)) for name in every}
    else:
        by_name = {name: [row.get(name, _MISSING) for row in rows] for name in every}
    result: dict[str, list[Any]] = {}
    nested: dict[str, list[Any]] = {}
    for name, values in by_name.items():
        kinds = set(map(type, values))
        if dict in kinds:
            inner = [value if type(value) is dict else {} for value in values]
            (nested if not prefix else result).update(_columns(inner, f"{prefix}{name}."))
            if kinds <= {dict, object}:
                continue
            values = [_MISSING if type(value) is dict else value for value in values]
            kinds.add(object)
        result[prefix + name] = (
            [math.nan if value is _MISSING else value for value in values] if object in kinds else values
        )
    return result | nested


def curves(path: str | Path = "runs") -> pd.DataFrame:
    """All curves below a folder, a row for each measurement.

    Columns: path, fingerprint, study, norm, arch, data, optim, lr, seed of the run; then step, epoch, split, metric
    and value.
    """
    import pandas as pd

    keys = ("fingerprint", "study", "norm", "arch", "data", "optim", "lr", "seed")
    frames = []
    for record in read_each(Path(path)):
        curve = Path(record["path"], CURVE)
        if curve.is_file():
            try:
                rows = Curve.read(curve)
            except NormlabError as error:
                log.warning("left out: %s", error)
                continue
            frame = pd.DataFrame(rows, columns=list(COLUMNS))
            for place, key in enumerate(keys):
                frame.insert(place, key, record[key])
            frame.insert(0, "path", record["path"])
            frames.append(frame)
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=["path", *keys, *COLUMNS])
