"""Own files that are damaged: one line with the path, and the others are still read."""

import json
import os
from pathlib import Path

import pytest
import torch

import normlab
from normlab import record
from normlab.data import cache
from normlab.errors import CheckpointError, DataError
from normlab.files import replacing_files, write_all_whole, write_whole
from normlab.record import folders
from normlab.report.study import MEASUREMENTS, measurements
from normlab.run import run

OPTIONS = {"arch": "linear", "data.limit": 60, "data.batch_size": 20, "trainer.max_epochs": 1}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    from tests.conftest import configuration

    folder = tmp_path_factory.mktemp("runs")
    return [run(configuration(folder, seed=seed, **OPTIONS)) for seed in (0, 1)]


@pytest.fixture
def places(trained, tmp_path):
    """Copies of two runs."""
    import shutil

    copies = [tmp_path / "runs" / Path(one["path"]).name for one in trained]
    for one, copy in zip(trained, copies, strict=True):
        shutil.copytree(one["path"], copy)
    return copies


@pytest.mark.parametrize(
    "content",
    [
        "", "[]", "null", "{", "7", '{"status": "finished"}', "\x00", "[" * 100_000,
        '{"schema": 2, "fingerprint": "a", "status": "finished", "config": {}, "metrics": null}',
        '{"schema": 99, "fingerprint": "a", "status": "finished", "config": {}}',
    ],
)  # fmt: skip
def test_a_damaged_record_hides_no_other(places, caplog, content):
    (places[0] / "record.json").write_text(content)
    assert len(normlab.records(places[0].parent)) == 1
    assert len(normlab.curves(places[0].parent).path.unique()) == 1
    assert str(places[0]) in caplog.text


def test_a_finished_record_without_metrics_counts_as_missing(places, trained, make, tmp_path, caplog):
    config = make(**OPTIONS)
    assert record.existing(config)
    stored = json.loads((places[0] / "record.json").read_text())
    (places[0] / "record.json").write_text(json.dumps(stored | {"metrics": {}}))
    assert record.existing(config) is None
    assert "finished, but without metrics" in caplog.text


def test_a_damaged_curve_hides_no_other(places, caplog):
    (places[0] / "curve.csv").write_text("step,epoch\n1,2\n")
    assert normlab.curves(places[0].parent).path.unique().tolist() == [str(places[1])]
    assert f"left out: {places[0] / 'curve.csv'} is damaged" in caplog.text


@pytest.mark.parametrize("content", ["null", "{", "7", '{"measure": "a"}'])
def test_damaged_measurements_have_a_path_and_a_line(tmp_path, content):
    good = json.dumps({"measure": "a", "with": {}, "rows": [], "provenance": {}})
    (tmp_path / MEASUREMENTS).write_text(f"{good}\n{content}\n")
    with pytest.raises(DataError, match=rf"{MEASUREMENTS}, line 2: damaged"):
        measurements(tmp_path)
    (tmp_path / MEASUREMENTS).write_text("")
    assert measurements(tmp_path) == []


def test_damaged_checkpoints_have_one_line(places):
    path = places[0] / "checkpoint.ckpt"
    whole = torch.load(path, weights_only=True)
    contents = {
        "the file is empty": b"",
        "not readable": path.read_bytes()[:500],
        "not a checkpoint of normlab": [1],
        r"without weights \(state_dict\)": {key: value for key, value in whole.items() if key != "state_dict"},
        "of normlab$": {**whole, "normlab": {"norm": None}},
        "no such choice": {**whole, "normlab": whole["normlab"] | {"norm": {"name": "x", "_target_": "normlab.x"}}},
    }
    for message, content in contents.items():
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            torch.save(content, path)
        with pytest.raises(CheckpointError, match=message) as caught:
            normlab.load(path)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [[1, 2], {"b": 1}, {"a": "text"}, {"a": 1, "b": 2}])
def test_a_cache_entry_with_other_content_is_made_again(tmp_path, monkeypatch, caplog, content):
    monkeypatch.setenv("NORMLAB_CACHE", str(tmp_path))
    torch.save(content, tmp_path / "name.pt")
    for _ in range(2):
        assert cache.remember("name", lambda: {"a": 1}, {"a": int}) == {"a": 1}
    assert caplog.text.count("has other content than expected") == 1


def full(*_):
    raise OSError(28, "No space left on device")


def test_a_failure_on_a_full_disk_leaves_nothing(make, monkeypatch, caplog):
    """The record of the failure cannot be written either."""
    monkeypatch.setattr(folders, "write", full)
    config = make(**OPTIONS)
    monkeypatch.setattr("normlab.run.train", full)
    with pytest.raises(OSError, match="No space left"):
        run(config)
    assert not [path for path in config.runs.iterdir() if path.name != ".locks"]
    assert "no record of the failure (the disk is full)" in caplog.text


def stop_halfway(path):
    path.write_text("newer")
    raise ZeroDivisionError


def test_several_files_are_replaced_together_or_not_at_all(tmp_path):
    old, new = tmp_path / "a", tmp_path / "b"
    old.write_text("old")
    with pytest.raises(UnicodeEncodeError):
        write_all_whole({old: "new", new: "\ud800"})
    assert (old.read_text(), os.listdir(tmp_path)) == ("old", ["a"])
    write_all_whole({old: "new", new: "b"})
    assert (old.read_text(), new.read_text()) == ("new", "b")
    with pytest.raises(ZeroDivisionError), replacing_files(tmp_path) as folder:
        stop_halfway(folder / "a")
    assert (old.read_text(), sorted(os.listdir(tmp_path))) == ("new", ["a", "b"])
    with replacing_files(tmp_path) as folder:
        (folder / "more").mkdir()
        (folder / "more" / "c").write_text("c")
        (folder / "a").write_text("newer")
    assert (old.read_text(), (tmp_path / "more" / "c").read_text()) == ("newer", "c")
    assert sorted(os.listdir(tmp_path)) == ["a", "b", "more"]


def test_what_a_killed_process_left_is_deleted_and_what_a_living_one_writes_is_not(tmp_path):
    from normlab.files import _MACHINE

    dead, living = (tmp_path / f".a.json-{_MACHINE}-{number}-x" for number in (2**22 + 1, os.getppid()))
    elsewhere = tmp_path / f".a.json-000000-{2**22 + 1}-x"
    for folder in (dead, living, elsewhere):
        folder.mkdir()
    write_whole(tmp_path / "a.json", "{}")
    assert [folder.exists() for folder in (dead, living, elsewhere)] == [False, True, True]
