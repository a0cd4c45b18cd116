"""The committed records of studies: RESULTS/STUDY/records.jsonl and curves.csv.gz.

Each run is stored once, with the study that made it first; once more where that study only chose a rate by it, and
another decides by it, for which ``correct`` is needed. Every study lists in runs.txt the fingerprints of all runs that
it rests on; some of them may be stored with other studies. Curves are thinned. There are no paths and no host names,
and the same runs give the same bytes.

records.jsonl is a table, whose lines are JSON:

    {"9b1c05fe": {"commit": ..., "versions": ...}}                      what many runs share, by a name
    {"columns": ["fingerprint", "norm", "metrics/test_accuracy", ...]}  of the runs after it, until the next such line
    ["0f3a...", "unit", 0.8912, ...]                                    a run

A configuration is stored as its differences from the versioned defaults. Provenance, what normalized inputs are like,
and the parts of the configuration stand once, and runs have their names.

curves.csv.gz has a row for each moment and split of a run, and a column for each metric; an empty field: not measured.
The fingerprint stands in the first row of a run; where it is empty, it is that of the row above.
"""

from __future__ import annotations

import functools
import gzip
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from normlab.errors import DataError, NormlabError
from normlab.files import write_all_whole, write_whole
from normlab.record.curve import COLUMNS, Curve
from normlab.record.folders import CURVE, DONE, read_all
from normlab.record.identity import differences, with_defaults
from normlab.record.schema import upgrade

if TYPE_CHECKING:
    import pandas as pd

RECORDS, CURVES, LIST = "records.jsonl", "curves.csv.gz", "runs.txt"
LONG = ("train", "theory")  # splits with a point for every step
TRAIN_POINTS = 12  # of which so many points are kept in each run
DIGITS = 4  # significant digits of a point of a curve; the measurements that tables rest on stand in the records
RECORD_DIGITS = 9  # significant digits of a measurement in a record
NAMED = ("provenance", "normalized")  # fields that stand once, in a line of their own
NAMED_PARTS = ("data", "augment", "norm", "arch", "optim", "trainer")  # the same of the configuration
MOMENT = ["fingerprint", "step", "epoch", "split"]  # of a row of stored curves
NOT_KEPT = ("schema", "path", "study", "seconds")


@dataclass(frozen=True)
class Stored:
    """A record, and the folder of its curve.

    Attributes:
        record: with the fields of :class:`normlab.record.Record` and the whole configuration.
        place: the folder of the run, or of a study's results.
    """

    record: dict[str, Any]
    place: Path

    def curve(self) -> pd.DataFrame:
        """Step, epoch, split, metric and value; thinned."""
        import pandas as pd

        if (self.place / CURVE).is_file():
            return thin(Curve.read(self.place / CURVE))
        curves = _kept_curves(*_version(self.place / CURVES))
        return curves.get(self.record["fingerprint"], pd.DataFrame(columns=COLUMNS))


def key(config: Mapping[str, Any]) -> str:
    """The key of a run among the records of a study: its whole identity but for the content of the data.

    Args:
        config: a whole configuration, or its differences from the versioned defaults.
    """
    return json.dumps(differences(config), sort_keys=True)


def find_runs(runs: Path) -> dict[str, list[Stored]]:
    """Runs that finished or diverged below a folder of runs, by :func:`key`."""
    return _find_runs(runs, runs.stat().st_mtime_ns) if runs.is_dir() else {}


@functools.lru_cache(maxsize=2)
def _find_runs(runs: Path, _changed: int) -> dict[str, list[Stored]]:
    # Rounded as they are stored, so that no table depends on where a run lies.
    return _by_key(Stored(_measured(one), Path(one["path"])) for one in read_all(runs) if one["status"] in DONE)


def find_kept(results: Path) -> dict[str, list[Stored]]:
    """Runs that are stored with the results of any study, by :func:`key`.

    Args:
        results: the folder of all studies' results.

    Raises:
        DataError: if a file is damaged, with its name.
    """
    return _find_kept(*(_version(file) for file in sorted(results.glob(f"*/{RECORDS}"))))


@functools.lru_cache(maxsize=2)
def _find_kept(*versions: tuple[Path, int, int]) -> dict[str, list[Stored]]:
    return _by_key(stored for version in versions for stored in _read_kept(*version))


def rests_on(study: Path) -> list[Stored]:
    """The runs that a study's results rest on, wherever they are stored.

    Args:
        study: folder of its results, next to the folders of the other studies.
    """
    if not (study / LIST).is_file():
        return []
    listed = set((study / LIST).read_text().split())
    every = (stored for file in sorted(study.parent.glob(f"*/{RECORDS}")) for stored in read_kept(file.parent))
    return [stored for stored in every if stored.record["fingerprint"] in listed]


def _by_key(runs: Iterable[Stored]) -> dict[str, list[Stored]]:
    grouped: dict[str, list[Stored]] = {}
    for stored in runs:
        grouped.setdefault(key(stored.record["config"]), []).append(stored)
    return grouped


def read_kept(study: Path) -> tuple[Stored, ...]:
    """The runs that are stored in the folder of one study's results.

    Raises:
        DataError: if the file is damaged.
    """
    return _read_kept(*_version(study / RECORDS)) if (study / RECORDS).is_file() else ()


@functools.lru_cache(maxsize=256)
def _read_kept(file: Path, _changed: int, _size: int) -> tuple[Stored, ...]:
    kept: list[Stored] = []
    named: dict[str, Any] = {}
    try:
        columns: list[str] = []
        for line in file.read_text().splitlines():
            entry = json.loads(line)
            if isinstance(entry, list):
                entry = _nested(dict(zip(columns, entry, strict=True)))
            elif "columns" in entry:
                columns = entry["columns"]
                continue
            elif "fingerprint" not in entry:
                named |= entry
                continue
            entry |= {field: named[entry[field]] for field in NAMED if isinstance(entry.get(field), str)}
            config = entry["config"]
            parts = {part: named[config[part]] for part in NAMED_PARTS if isinstance(config.get(part), str)}
            entry["config"] = with_defaults(config | parts)
            kept.append(Stored(upgrade({"schema": 2, "study": file.parent.name, **entry}), file.parent))
    except (OSError, ValueError, KeyError, TypeError, NormlabError) as error:
        raise DataError(f"{file} is damaged ({error}): restore it, or delete it and make its runs again") from None
    return tuple(kept)


def _version(file: Path) -> tuple[Path, int, int]:
    try:
        status = file.stat()
    except OSError:
        return file, 0, 0
    return file, status.st_mtime_ns, status.st_size


@functools.lru_cache(maxsize=64)
def _kept_curves(file: Path, _changed: int, _size: int) -> dict[str, pd.DataFrame]:
    import pandas as pd

    try:
        table = pd.read_csv(file, dtype=str, keep_default_na=False)
        table["fingerprint"] = table["fingerprint"].mask(table["fingerprint"] == "").ffill()
        if table["fingerprint"].isna().any():
            raise ValueError("its first row has no fingerprint")
        if "metric" not in table:  # until November 2026 a row was one value of a metric
            table = table.melt(MOMENT, var_name="metric")
        table = table[table["value"] != ""].astype({"step": int, "epoch": float, "value": float})
        return {str(name): _sorted(part[[*COLUMNS]]) for name, part in table.groupby("fingerprint", sort=False)}
    except (OSError, ValueError, EOFError, KeyError) as error:
        raise DataError(
            f"{file} is damaged ({error}): restore it, or delete it and {RECORDS} in the same folder"
        ) from None


def keep(study: Path, runs: Iterable[Stored]) -> None:
    """Write a study's runs compactly into its folder, without runs that are stored with another study.

    Records in the folder stay, even if they are not part of the current grid.

    Args:
        study: folder of the study's results.
        runs: of the study, wherever they are stored.
    """
    study.mkdir(parents=True, exist_ok=True)
    runs = list(runs)
    listed = "".join(f"{name}\n" for name in sorted(stored.record["fingerprint"] for stored in runs))
    here = {stored.record["fingerprint"]: stored for stored in read_kept(study)}
    # A run that is here already stays as it is: what was added to its record afterwards is not in the run's own folder.
    new = {one.record["fingerprint"]: one for one in runs}
    mine = here | {name: one for name, one in new.items() if name not in here or _replaces(one, here[name])}
    stored_elsewhere, decides_elsewhere = set(), set()
    for file in study.parent.glob(f"*/{RECORDS}"):
        if file.parent != study:
            stored_elsewhere |= {one.record["fingerprint"] for one in read_kept(file.parent)}
            decides_elsewhere |= {one.record["fingerprint"] for one in read_kept(file.parent) if _decides(one)}
    needed = [
        one
        for name, one in mine.items()
        if name in here or name not in stored_elsewhere or (_decides(one) and name not in decides_elsewhere)
    ]
    ordered = sorted(needed, key=lambda one: (key(one.record["config"]), one.record["fingerprint"]))
    if all(one.place == study for one in ordered) and len(ordered) == len(here):
        write_whole(study / LIST, listed)
        return  # nothing is new
    records = "".join(f"{line}\n" for line in _lines(stored.record for stored in ordered))
    # In this order every record has its curve, and what is listed has its record, also after a kill in between.
    write_all_whole({study / CURVES: _packed(ordered), study / RECORDS: records, study / LIST: listed})


def _decides(one: Stored) -> bool:
    """Whether a verdict can ask on which test images the run was right; of a run that only chooses a rate it cannot."""
    return one.record["correct"] is not None


def _replaces(one: Stored, other: Stored) -> bool:
    """Whether a run was made again (its times differ, as all that was measured may), or has ``correct`` to add."""
    if _decides(one) and not _decides(other):
        return True
    return _json(_measured(one.record)["metrics"]) != _json(_measured(other.record)["metrics"])


def _lines(records: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Records as they are stored: those with the same columns one after the other."""
    tables: dict[tuple[str, ...], list[list[Any]]] = {}
    shared: dict[str, Any] = {}
    for record in records:
        flat = _flat(_compact(record, shared))
        tables.setdefault(tuple(flat), []).append([*flat.values()])
    for name, content in shared.items():
        yield _json({name: content})
    for columns, rows in tables.items():
        yield _json({"columns": columns})
        yield from map(_json, rows)


def _compact(record: Mapping[str, Any], shared: dict[str, Any]) -> dict[str, Any]:
    """A record without defaults and durations of stages, its measurements to nine digits.

    What it has in common with other records goes to ``shared``, and its name is left.
    """
    kept = {name: value for name, value in record.items() if name not in NOT_KEPT and value is not None}
    kept = {**_measured(kept), "config": differences(record["config"])}
    for whole, name in [(kept, field) for field in NAMED] + [(kept["config"], part) for part in NAMED_PARTS]:
        if name in whole:
            hashed = hashlib.blake2b(_json(whole[name]).encode(), digest_size=4).hexdigest()
            shared[hashed] = whole[name]
            whole[name] = hashed
    return kept


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


def _flat(values: Mapping[str, Any], place: str = "") -> dict[str, Any]:
    """Nested values by their whole names.

    >>> _flat({"seed": 0, "metrics": {"epochs_to": {"0.5": 3.0}, "layers": {}}})
    {'seed': 0, 'metrics/epochs_to/0.5': 3.0, 'metrics/layers': {}}
    """
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, dict) and value and not any("/" in key for key in value):
            flat |= _flat(value, f"{place}{name}/")
        else:
            flat[place + name] = value
    return flat


def _nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Flat values as they were nested."""
    nested: dict[str, Any] = {}
    for name, value in flat.items():
        *path, last = name.split("/")
        part = nested
        for key_ in path:
            part = part.setdefault(key_, {})
        part[last] = value
    return nested


def _measured(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record with its measurements to nine digits."""
    return {**record, **{name: _rounded(record[name]) for name in ("metrics", "normalized") if name in record}}


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _rounded(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_rounded(part) for part in value]
    return float(f"{value:.{RECORD_DIGITS}g}") if isinstance(value, float) else value


def _packed(runs: Iterable[Stored]) -> bytes:
    import pandas as pd

    table = pd.concat([stored.curve().assign(fingerprint=stored.record["fingerprint"]) for stored in runs])
    # As text, so that a loss of NaN is told from one that was not measured.
    table = table.assign(**{name: table[name].map(f"{{:.{DIGITS}g}}".format) for name in ("epoch", "value")})
    rows = table[MOMENT].drop_duplicates()  # in the order of the runs, which pivot() would lose
    wide = rows.join(table.pivot(index=MOMENT, columns="metric", values="value"), on=MOMENT)
    wide["fingerprint"] = wide["fingerprint"].mask(wide["fingerprint"].duplicated())
    return gzip.compress(wide.to_csv(index=False, lineterminator="\n").encode(), mtime=0)


def thin(rows: Iterable[Any]) -> pd.DataFrame:
    """A curve as it is stored: fewer points of the training loss, rounded, and sorted.

    A figure therefore does not depend on where a run is stored.
    """
    import pandas as pd

    rows = list(rows)
    kept = [row for row in rows if row.split not in LONG]
    for split in LONG:
        points = [row for row in rows if row.split == split]
        kept += points[:: max(1, -(-len(points) // TRAIN_POINTS))]
    table = pd.DataFrame(kept, columns=list(COLUMNS))
    rounded = {name: [float(f"{value:.{DIGITS}g}") for value in table[name]] for name in ("epoch", "value")}
    return _sorted(table.assign(**rounded))


def _sorted(curve: pd.DataFrame) -> pd.DataFrame:
    return curve.sort_values(["split", "metric", "step"], kind="stable", ignore_index=True)
