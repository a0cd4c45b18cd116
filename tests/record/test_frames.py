"""Records as a table: the same as pandas.json_normalize, in less time."""

import json
import math
from pathlib import Path

import pandas as pd
import pytest

import normlab
from normlab import record
from normlab.record import folders, frames
from normlab.record.store import read_kept

ROWS = [
    {"path": "a", "seed": 0, "config": {"optim": {"lr": 0.1, "name": "sgd"}, "seed": 0}, "metrics": {"epochs_to": {}}},
    {"path": "b", "seed": 1, "config": {"optim": {"lr": 0.2, "name": "sgd"}, "seed": 1}, "metrics": {"loss": math.nan}},
    {"path": "c", "config": {"optim": None}, "target": {"mean": 1.0}, "metrics": {"epochs_to": {"0.5": math.inf}}},
    {"path": "d", "config": {}, "target": None, "names": ["x", "y"], "metrics": {"loss": 1}},
]


@pytest.mark.parametrize("rows", [ROWS, ROWS[:2], ROWS[:1], [], list(reversed(ROWS))])
def test_a_frame_is_what_pandas_makes_of_the_nested_records(rows):
    flat = [{**{key: value for key, value in row.items() if key != "metrics"}, **row["metrics"]} for row in rows]
    pd.testing.assert_frame_equal(record.frame(rows), pd.json_normalize(flat), check_like=True)


def test_committed_records_as_pandas_makes_them():
    results = Path(__file__).parent.parent.parent / "results"
    for path in sorted(results.glob("*/records.jsonl"))[:5]:
        rows = [stored.record for stored in read_kept(path.parent)]
        flat = [
            {**{key: value for key, value in row.items() if key != "metrics"}, **row.get("metrics", {})} for row in rows
        ]
        pd.testing.assert_frame_equal(record.frame(rows), pd.json_normalize(flat), check_like=True)


def put(place, **changes):
    place.mkdir(parents=True)
    stored = {"fingerprint": "f", "status": "finished", "config": {}, "seed": 0, "norm": "unit", "arch": "linear"}
    stored |= {"data": "digits", "metrics": {"test_accuracy": 0.1 + 0.2, "test_loss": math.nan, "far": -math.inf}}
    (place / "record.json").write_text(json.dumps(stored | changes))


def test_numbers_and_names_come_back_as_they_were_written(tmp_path):
    """NaN and infinities; a name that is no UTF-8, as Python reads it from the file system."""
    put(tmp_path / "runs/one", study="caf\udce9")
    (stored,) = folders.read_all(tmp_path)
    assert stored["metrics"]["test_accuracy"] == 0.1 + 0.2
    assert math.isnan(stored["metrics"]["test_loss"])
    assert stored["metrics"]["far"] == -math.inf
    assert stored["study"] == "caf\udce9"


def test_records_are_found_at_any_depth_and_without_runs_in_progress(tmp_path):
    for name in ("b", "a", "deep/er/c", "d.partial", "e.earlier"):
        put(tmp_path / "runs" / name)
    (tmp_path / "runs/sweeps/now/0").mkdir(parents=True)
    wanted = [str(tmp_path / "runs" / name) for name in ("a", "b", "deep/er/c")]
    assert folders.find(tmp_path) == wanted
    assert folders.find(tmp_path / "runs/a") == wanted[:1]
    assert folders.find(tmp_path / "nowhere") == []
    assert normlab.records(tmp_path).path.tolist() == wanted


@pytest.mark.parametrize("part", [1, 2, 3, 5])
def test_a_frame_is_the_same_in_whatever_parts_it_is_read(part, monkeypatch):
    """A column that only a later part has, one that is text in one part and nested in another, one text throughout."""
    rows = [*ROWS, {**ROWS[0], "path": "e", "late": "x"}, {**ROWS[1], "path": "f", "late": None, "study": ""}]
    rows = [{**row, "arch": "linear", "seed": row.get("seed", 2**70)} for row in rows]
    whole = record.frame(rows)
    monkeypatch.setattr(frames, "PART", part)
    pd.testing.assert_frame_equal(record.frame(rows), whole, check_like=True)
    flat = [{**{key: value for key, value in row.items() if key != "metrics"}, **row["metrics"]} for row in rows]
    pd.testing.assert_frame_equal(whole, pd.json_normalize(flat), check_like=True)
