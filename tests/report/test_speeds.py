"""Speeds: planted times of learning, with and without misses."""

import json
import math

import pytest

from normlab.commandline.grid import load
from normlab.report.speeds import INTRODUCTION, speeds, summary, write_speeds
from tests.report.planted_records import BEST, OVERRIDES, plant

EPOCHS = 4  # of each planted run


@pytest.fixture
def studied(tmp_path):
    """The study with other times to its target: what is given, by scheme, for the seeds 0 to 5."""

    def make(**times):
        runs = tmp_path / f"runs{len(list(tmp_path.iterdir()))}"
        plant(runs)
        for file in runs.glob("*/record.json"):
            record = json.loads(file.read_text())
            if record["norm"] in times and record["lr"] == BEST[record["norm"]]:
                when = times[record["norm"]][record["seed"]]
                record["metrics"]["epochs_to"] = {"0.7": "inf" if when is None else float(when)}
                file.write_text(json.dumps(record))
        return load("learning_rates", runs, tmp_path / "results" / "learning_rates", OVERRIDES)

    return make


def test_the_ratio_is_the_geometric_mean_and_a_miss_counts_as_all_epochs(studied):
    study = studied(dataset=[1, 1, 1, 2, 2, 2], raw=[2, 2, 2, 4, 4, 4], unit=[1, 4, None, 1, 1, 2])
    frame = speeds([study]).set_index("scheme")
    assert list(frame.index) == ["raw", "unit"]
    assert frame.ratio["raw"] == frame.low["raw"] == frame.high["raw"] == pytest.approx(2)
    assert (frame.missed["raw"], frame.n["raw"]) == (0, 6)
    assert frame.ratio["unit"] == pytest.approx((1 * 4 * EPOCHS * 0.5 * 0.5 * 1) ** (1 / 6))
    assert frame.low["unit"] < frame.ratio["unit"] < frame.high["unit"]
    assert frame.missed["unit"] == 1
    of_raw, of_unit = (
        study.runs[(study.runs.norm == name) & (study.runs.lr == BEST[name])] for name in ("raw", "unit")
    )
    assert frame.gain["raw"] - frame.gain["unit"] == pytest.approx(
        100 * (of_unit.test_accuracy.mean() - of_raw.test_accuracy.mean())
    )


@pytest.mark.parametrize("dataset", [[1, 1, 1, 2, 2, None], [1, 1, 1, 2, 2, 0]])
def test_a_cell_in_which_the_reference_misses_or_starts_at_the_target_has_no_ratio(studied, dataset, tmp_path):
    study = studied(dataset=dataset)
    assert speeds([study]).empty
    assert write_speeds([study], tmp_path) is None


def test_a_run_that_diverged_misses_and_leaves_no_gain(studied):
    study = studied(dataset=[1] * 6, raw=[2] * 6)
    study.runs.loc[(study.runs.norm == "raw") & (study.runs.seed == 5), "test_accuracy"] = math.nan
    frame = speeds([study]).set_index("scheme")
    assert math.isnan(frame.gain["raw"])  # and not the mean of those that are left


def test_the_page_counts_where_the_ratios_lie(studied, tmp_path):
    frame = speeds([studied(dataset=[1] * 6, raw=[3] * 6, unit=[1] * 6)])
    raw, unit = summary(frame)
    assert raw.startswith("- Raw pixels, 1 cells: half of them take 3 times")
    assert "Between 2 and 10 times in 1 cells" in raw
    assert "Between 2 and 10 times in 0 cells" in unit
    study = studied(dataset=[1] * 6, raw=[3] * 5 + [None], unit=[1] * 6)
    text = write_speeds([study], tmp_path).read_text()
    assert INTRODUCTION in text
    assert f"at least {3 ** (5 / 6) * EPOCHS ** (1 / 6):.2f} [" in text
    assert "| 1 of 6" in text
    assert not math.isnan(frame.gain.sum())
