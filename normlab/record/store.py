"""The committed records of studies: RESULTS/STUDY/records.jsonl and curves.csv.gz.

Each run is stored once, with the study that made it first. Every study lists in runs.txt the fingerprints of all runs
that it rests on; some of them may be stored with other studies. A line of records.jsonl is a record. Its configuration
is stored as the differences from the versioned defaults. What many runs share stands once, in a line of its own, and
the record has its name: provenance, what normalized inputs are like, and the parts of the configuration. Curves are
thinned. There are no paths and no host names, and the same runs give the same bytes.
"""

from __future__ import annotations

import functools
import gzip
import hashlib
import json
from collections.abc import Iterable, Mapping
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
DIGITS = 6  # significant digits of a point of a curve
RECORD_DIGITS = 9  # significant digits of a measurement in a record
NAMED = ("provenance", "normalized")  # fields that stand once, in a line of their own
NAMED_PARTS = ("data", "augment", "norm", "arch", "optim", "trainer")  # the same of the configuration
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
        for line in file.read_text().splitlines():
            entry = json.loads(line)
            if "fingerprint" not in entry:
                named |= entry
                continue
            entry |= {field: named[entry[field]] for field in NAMED if field in entry}
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
        table = pd.read_csv(file, dtype={"fingerprint": str})
        return {str(name): part.drop(columns="fingerprint") for name, part in table.groupby("fingerprint", sort=False)}
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
    elsewhere = {
        stored.record["fingerprint"]
        for file in study.parent.glob(f"*/{RECORDS}")
        if file.parent != study
        for stored in read_kept(file.parent)
    }
    mine = {stored.record["fingerprint"]: stored for stored in (*read_kept(study), *runs)}
    kept = [mine[fingerprint] for fingerprint in sorted(mine.keys() - elsewhere)]
    if all(stored.place == study for stored in kept) and len(kept) == len(read_kept(study)):
        write_whole(study / LIST, listed)
        return  # nothing is new
    ordered = sorted(kept, key=lambda stored: key(stored.record["config"]))
    lines: dict[str, None] = {}
    for stored in ordered:
        lines |= dict.fromkeys(_lines(stored.record))
    records = "\n".join(lines) + "\n"
    # In this order every record has its curve, and what is listed has its record, also after a kill in between.
    write_all_whole({study / CURVES: _packed(ordered), study / RECORDS: records, study / LIST: listed})


def _lines(record: Mapping[str, Any]) -> list[str]:
    """A record as it is stored, after the lines that it names.

    Without defaults and durations of stages, measurements to nine digits.
    """
    kept = {name: value for name, value in record.items() if name not in NOT_KEPT and value is not None}
    kept = {**_measured(kept), "config": differences(record["config"])}
    lines = []
    for whole, name in [(kept, field) for field in NAMED] + [(kept["config"], part) for part in NAMED_PARTS]:
        if name in whole:
            text = json.dumps(whole[name], separators=(",", ":"))
            whole[name] = hashlib.blake2b(text.encode(), digest_size=4).hexdigest()
            lines.append(f'{{"{whole[name]}":{text}}}')
    return [*lines, json.dumps(kept, separators=(",", ":"))]


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

    parts = [stored.curve().assign(fingerprint=stored.record["fingerprint"]) for stored in runs]
    table = pd.concat([part[["fingerprint", *COLUMNS]] for part in parts])
    text = table.to_csv(index=False, float_format=f"%.{DIGITS}g")
    return gzip.compress(text.encode(), mtime=0)


def thin(rows: Iterable[Any]) -> pd.DataFrame:
    """A curve as it is stored: fewer points of the training loss, and rounded.

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
    return table.assign(**rounded)
