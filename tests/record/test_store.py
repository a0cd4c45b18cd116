"""What a clone carries of the runs of studies: each once, compact, and the same bytes for the same runs."""

import json
from dataclasses import replace

import pandas as pd
import pytest

from normlab import record
from normlab.config import EXPERIMENTS, compose, parse
from normlab.errors import DataError
from normlab.record import store
from normlab.report.study import recorded

RESULTS = EXPERIMENTS.parent / "results"


def plant(runs, seeds, norm="unit"):
    made = []
    for seed in seeds:
        config = compose("planted", seed=seed, data="digits", norm=norm, arch={"name": "cnn", "width": 8}, optim="sgd")
        config = config.model_copy(update={"runs": runs})
        place = record.folder(config, "0123456789abcdef")
        place.mkdir(parents=True)
        metrics = {"test_accuracy": 0.5 + seed / 100, "epochs_to": {"0.7": float("inf")}, "test_loss": float("nan")}
        described = record.describe(config, "0123456789abcdef") | {"status": "finished", "metrics": metrics}
        record.write(place, described)
        rows = [f"{step},{step / 100},train,loss,{1 / (step + 3)}" for step in range(1000)]
        rows += [f"{100 * epoch},{epoch},validation,accuracy,{epoch / 7}" for epoch in range(4)]
        (place / "curve.csv").write_text("\n".join(["step,epoch,split,metric,value", *rows]) + "\n")
        made.append(place)
    return made


def find(runs):
    return [stored for candidates in record.find_runs(runs).values() for stored in candidates]


def test_what_is_kept_reads_back_as_it_was(tmp_path):
    plant(tmp_path / "runs", range(3))
    record.keep(tmp_path / "results" / "study", find(tmp_path / "runs"))
    kept = {stored.record["seed"]: stored for stored in store.read_kept(tmp_path / "results" / "study")}
    for stored in find(tmp_path / "runs"):
        other = kept[stored.record["seed"]]
        for field in ("fingerprint", "metrics", "provenance", "data_content", "status", "lr", "normalized"):
            assert json.dumps(other.record[field]) == json.dumps(stored.record[field])
        whole, back = stored.record["config"], other.record["config"]
        assert all(back[group][key] == whole[group][key] for group in ("arch", "norm", "optim") for key in back[group])
        curve = other.curve()
        assert curve[curve.metric == "accuracy"].value.tolist() == [0, 0.1429, 0.2857, 0.4286]  # four digits
        assert (curve.split == "train").sum() == store.TRAIN_POINTS
        pd.testing.assert_frame_equal(curve, stored.curve(), check_exact=True, check_dtype=False)


def test_a_loss_that_is_not_finite_is_told_from_one_that_was_not_measured(tmp_path):
    [place] = plant(tmp_path / "runs", range(1))
    rows = ["0,0,validation,loss,2.5", "0,0,validation,accuracy,0.1", "5,0.5,train,loss,inf", "9,1,validation,loss,nan"]
    (place / "curve.csv").write_text("\n".join(["step,epoch,split,metric,value", *rows]) + "\n")
    record.keep(tmp_path / "results" / "study", find(tmp_path / "runs"))
    [kept] = store.read_kept(tmp_path / "results" / "study")
    assert [str(row) for row in kept.curve()[["step", "split", "metric", "value"]].values.tolist()] == [
        "[5, 'train', 'loss', inf]",
        "[0, 'validation', 'accuracy', 0.1]",
        "[0, 'validation', 'loss', 2.5]",
        "[9, 'validation', 'loss', nan]",
    ]


def test_curves_with_a_row_for_each_value_are_read(tmp_path):
    """As until November 2026."""
    plant(tmp_path / "runs", range(2))
    record.keep(tmp_path / "results" / "study", find(tmp_path / "runs"))
    kept = store.read_kept(tmp_path / "results" / "study")
    curves = [stored.curve() for stored in kept]
    rows = [curve.assign(fingerprint=one.record["fingerprint"]) for one, curve in zip(kept, curves, strict=True)]
    table = pd.concat(rows)[["fingerprint", "step", "epoch", "split", "metric", "value"]]
    table.to_csv(tmp_path / "results" / "study" / store.CURVES, index=False)
    for one, curve in zip(kept, curves, strict=True):
        pd.testing.assert_frame_equal(one.curve(), curve, check_exact=True, check_dtype=False)


def test_curves_whose_first_run_has_no_name_are_damaged(tmp_path):
    plant(tmp_path / "runs", range(2))
    record.keep(tmp_path / "results" / "study", find(tmp_path / "runs"))
    file = tmp_path / "results" / "study" / store.CURVES
    table = pd.read_csv(file, dtype=str)
    table.assign(fingerprint=table.fingerprint.where(table.index > 0)).to_csv(file, index=False)
    with pytest.raises(DataError, match=r"curves\.csv\.gz is damaged \(its first row has no fingerprint\)"):
        store.read_kept(file.parent)[0].curve()


def test_what_was_added_to_a_stored_record_stays_until_the_run_is_made_again(tmp_path):
    """Such as the hash of the test samples, which older runs do not have in their folders."""
    [place] = plant(tmp_path / "runs", range(1))
    study = tmp_path / "results" / "study"
    record.keep(study, find(tmp_path / "runs"))
    [kept] = store.read_kept(study)
    kept.record["provenance"]["test_key"] = "0123456789abcdef"
    (study / "records.jsonl").write_text("".join(f"{line}\n" for line in store._lines([kept.record])))
    record.keep(study, find(tmp_path / "runs"))
    assert store.read_kept(study)[0].record["provenance"]["test_key"] == "0123456789abcdef"
    again = json.loads((place / "record.json").read_text())
    again["metrics"]["test_accuracy"] = 0.75
    (place / "record.json").write_text(json.dumps(again))
    record.keep(study, [replace(one, record=again) for one in find(tmp_path / "runs")])
    assert store.read_kept(study)[0].record["metrics"]["test_accuracy"] == 0.75


def test_of_two_records_of_a_run_the_one_that_says_what_it_was_tested_on_is_taken(tmp_path):
    plant(tmp_path / "runs", range(1))
    [older] = find(tmp_path / "runs")
    tested = {**older.record["provenance"], "test_key": "0123456789abcdef"}
    newer = replace(older, record={**older.record, "provenance": tested})
    config = parse({**older.record["config"], "runs": str(tmp_path / "runs")})
    name = store.key(config.plain())
    for places in ([{name: [older]}, {name: [newer]}], [{name: [newer]}, {name: [older]}]):
        assert recorded("planted", config, places) is newer


def test_records_that_are_stored_as_objects_are_read(tmp_path):
    """As until November 2026: a line an object."""
    plant(tmp_path / "runs", range(3))
    record.keep(tmp_path / "new" / "study", find(tmp_path / "runs"))
    kept = store.read_kept(tmp_path / "new" / "study")
    (tmp_path / "old" / "study").mkdir(parents=True)
    lines = "".join(json.dumps(stored.record) + "\n" for stored in kept)
    (tmp_path / "old" / "study" / "records.jsonl").write_text(lines)
    found = store.read_kept(tmp_path / "old" / "study")
    assert [json.dumps(one.record) for one in found] == [json.dumps(one.record) for one in kept]


def test_a_run_with_other_columns_has_a_table_of_its_own(tmp_path):
    plant(tmp_path / "runs", range(4))
    found = sorted(find(tmp_path / "runs"), key=lambda stored: stored.record["seed"])
    found[2].record["metrics"]["layers"] = {"a/b": 1.0, "c": {}}  # a name with a slash is not taken apart
    record.keep(tmp_path / "results" / "study", found)
    kept = {one.record["seed"]: one.record["metrics"] for one in store.read_kept(tmp_path / "results/study")}
    assert [json.dumps(kept[one.record["seed"]]) for one in found] == [
        json.dumps(one.record["metrics"]) for one in found
    ]
    assert (tmp_path / "results/study/records.jsonl").read_text().count('"columns"') == 2


def test_no_path_of_the_machine_is_kept(tmp_path):
    plant(tmp_path / "runs", range(2))
    record.keep(tmp_path / "results" / "study", find(tmp_path / "runs"))
    text = (tmp_path / "results" / "study" / "records.jsonl").read_text()
    assert str(tmp_path) not in text
    assert text.count('"versions"') == 1  # provenance stands once


def test_a_run_lies_with_one_study_alone(tmp_path):
    plant(tmp_path / "runs", range(4))
    found = sorted(find(tmp_path / "runs"), key=lambda stored: stored.record["seed"])
    results = tmp_path / "results"
    record.keep(results / "first", found[:3])
    record.keep(results / "second", found[1:])
    assert sorted(stored.record["seed"] for stored in store.read_kept(results / "first")) == [0, 1, 2]
    assert [stored.record["seed"] for stored in store.read_kept(results / "second")] == [3]
    assert len(record.find_kept(results)) == 4


def test_the_same_runs_give_the_same_bytes_in_any_order(tmp_path):
    plant(tmp_path / "runs", range(3))
    found = find(tmp_path / "runs")
    for name, order in (("a", found), ("b", found[::-1])):
        record.keep(tmp_path / name / "study", order)
        record.keep(tmp_path / name / "study", store.read_kept(tmp_path / name / "study"))  # and once more
    for file in ("records.jsonl", "curves.csv.gz"):
        assert (tmp_path / "a/study" / file).read_bytes() == (tmp_path / "b/study" / file).read_bytes()


def test_a_damaged_store_is_named(tmp_path):
    plant(tmp_path / "runs", range(2))
    record.keep(tmp_path / "results" / "study", find(tmp_path / "runs"))
    file = tmp_path / "results" / "study" / "records.jsonl"
    file.write_text(file.read_text()[:-20])
    with pytest.raises(DataError, match=r"records\.jsonl is damaged"):
        store.read_kept(file.parent)


@pytest.mark.slow
@pytest.mark.skipif(not RESULTS.is_dir(), reason="an installed package has no results")
def test_every_committed_run_has_the_fingerprint_of_its_configuration():
    """So that a changed default, a renamed key or an edit of the versioned defaults is noticed."""
    seen = set()
    for candidates in record.find_kept(RESULTS).values():
        for stored in candidates:
            one = stored.record
            config = parse({**one["config"], "logger": {"name": "none"}} | _targets(one["config"]))
            assert record.fingerprint(config, one["data_content"]) == one["fingerprint"], stored.place
            assert one["fingerprint"] not in seen, "a run lies with two studies"
            seen.add(one["fingerprint"])
    assert len(seen) > 3000


def _targets(config):
    from normlab.config import defaults

    groups = ("data", "norm", "arch")
    return {
        group: {"_target_": defaults(group, config[group]["name"])["_target_"], **config[group]} for group in groups
    }
