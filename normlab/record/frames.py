"""Records and curves as tables."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from normlab.errors import NormlabError
from normlab.process import without_collection
from normlab.record.curve import COLUMNS, Curve
from normlab.record.folders import CURVE, read_each

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

PART = 1_000  # records that are held as they were read, until they are columns, which take a fifth of the memory


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

    columns: dict[str, list[Any]] = {}
    records, count = iter(records), 0
    while part := list(islice(records, PART)):
        nested = _columns(part)
        read = {name.removeprefix("metrics."): values for name, values in nested.items()}
        assert len(read) == len(nested)
        columns |= {name: [math.nan] * count for name in read if name not in columns}
        for name, values in columns.items():
            values += read.get(name) or [math.nan] * len(part)
        count += len(part)
    return pd.DataFrame({name: _series(values) for name, values in columns.items()})


def _series(values: list[Any]) -> list[Any] | pd.Series:
    """A column as it is, or in less time if it has one text throughout, as most parts of a configuration have."""
    import pandas as pd

    if type(values[0]) is str and values.count(values[0]) == len(values):
        return pd.Series(values[0], range(len(values)))
    return values


_MISSING = object()


def _columns(rows: list[dict[str, Any]], prefix: str = "") -> dict[str, list[Any]]:
    """Nested rows as columns, as ``pandas.json_normalize``, which goes through each row alone and takes longer.

    >>> _columns([{"a": {"b": 1, "c": 2}, "d": 3}, {"a": {"b": 4}}])
    {'d': [3, nan], 'a.b': [1, 4], 'a.c': [2, nan]}

    Args:
        rows: dicts, of dicts and values.
        prefix: of the names.
    """
    shapes = dict.fromkeys(map(tuple, rows))
    if len(shapes) == 1:  # all rows have these names in this order
        by_name = dict(zip(next(iter(shapes)), map(list, zip(*map(dict.values, rows), strict=True)), strict=True))
    else:
        names = dict.fromkeys(name for shape in shapes for name in shape)
        by_name = {name: [row.get(name, _MISSING) for row in rows] for name in names}
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
        result[prefix + name] = [math.nan if value is _MISSING else value for value in values]
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
