"""The table that sets the replication beside the studies: it follows from the runs of both, and is made again."""

import json
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

ROOT = Path(__file__).parents[2]


@pytest.fixture
def table(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    from benchmarks import replication

    return replication


@pytest.fixture
def printed():
    lines = (ROOT / "results/reliability/replication.md").read_text().splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    return [dict(zip(cells[0], row, strict=True)) for row in cells[2:]]


@pytest.mark.slow
def test_the_printed_table_follows_from_the_runs_of_both(table, printed):
    made = [row for name in table.CONTRASTS for row in table.compare(name)]
    assert [{key: str(value) for key, value in row.items()} for row in made] == printed


@pytest.mark.slow
def test_its_numbers_against_a_t_interval_by_hand(table, printed):
    for name, row in zip(table.CONTRASTS, printed, strict=True):
        runs = json.loads((ROOT / "replication/results" / f"{name}.json").read_text())["runs"]
        tested = {
            scheme: {run["seed"]: run["test"] for run in runs if run["scheme"] == scheme and run["seed"] < 1000}
            for scheme in ("raw", "dataset")
        }
        assert tested["raw"].keys() == tested["dataset"].keys()
        difference = np.array([100 * (tested["raw"][seed] - tested["dataset"][seed]) for seed in tested["raw"]])
        half = stats.t.ppf(0.975, len(difference) - 1) * stats.sem(difference)
        mean = difference.mean()
        assert row["replication, points [95%]"] == f"{mean:+.1f} [{mean - half:+.1f}, {mean + half:+.1f}]"
        assert row["n, replication"] == str(len(difference))


@pytest.mark.slow
def test_runs_at_another_rate_are_refused(table, monkeypatch, tmp_path):
    name = "nothing_inside_he_sgd"
    found = json.loads((ROOT / "replication/results" / f"{name}.json").read_text())
    for run in found["runs"]:
        run["rate"] *= 2
    (tmp_path / "replication/results").mkdir(parents=True)
    (tmp_path / "replication/results" / f"{name}.json").write_text(json.dumps(found))
    (tmp_path / "results").symlink_to(ROOT / "results")
    monkeypatch.setattr(table, "ROOT", tmp_path)
    with pytest.raises(SystemExit, match=f"{name}: raw was run at"):
        table.compare(name)
