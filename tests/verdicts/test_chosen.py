"""Which runs the rules compare: on planted scores, and against a brute force without pandas."""

import math

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from normlab.record import SAME_SCORE
from normlab.verdicts.chosen import at_chosen_rates, best_rates, ranges, with_failures

CELLS, CHOICE = ["arch", "norm"], "validation_accuracy"


def runs(*rows):
    """Rows of norm, lr, seed, validation accuracy and, if it is not ``finished``, the status."""
    keys = ("norm", "lr", "seed", CHOICE, "status")
    made = [dict(zip(keys, (*row, "finished")[:5], strict=True)) for row in rows]
    return pd.DataFrame([{"arch": "cnn", "test_accuracy": row[CHOICE], **row} for row in made])


def chosen(frame):
    return {row.norm: row.lr for row in best_rates(frame, CELLS, CHOICE).itertuples()}


def test_the_best_rate_has_the_highest_mean_over_seeds():
    frame = runs(("unit", 0.1, 0, 0.5), ("unit", 0.1, 1, 0.7), ("unit", 1.0, 0, 0.9), ("unit", 1.0, 1, 0.2))
    assert chosen(pd.concat([frame, runs(("raw", 0.01, 0, 0.3))])) == {"unit": 0.1, "raw": 0.01}


def test_a_rate_at_which_a_seed_diverged_counts_zero_for_it():
    frame = runs(("unit", 0.1, 0, 0.5), ("unit", 0.1, 1, 0.5), ("unit", 1.0, 0, 0.9), ("unit", 1.0, 1, 0.9, "diverged"))
    assert chosen(frame) == {"unit": 0.1}  # 0.45 against 0.5
    assert chosen(frame[frame.seed == 0]) == {"unit": 1.0}


def test_a_rate_that_fewer_seeds_tried_takes_no_part():
    assert chosen(runs(("unit", 0.1, 0, 0.5), ("unit", 0.1, 1, 0.5), ("unit", 1.0, 0, 0.9))) == {"unit": 0.1}


def test_of_rates_with_one_score_the_lowest_is_taken():
    frame = runs(("unit", 1.0, 0, 0.5), ("unit", 0.1, 0, 0.5 - SAME_SCORE / 2), ("unit", 0.01, 0, 0.5 - 2 * SAME_SCORE))
    assert chosen(frame) == {"unit": 0.1}


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["raw", "unit"]),
            st.sampled_from([0.01, 0.1, 1.0]),
            st.integers(0, 2),
            st.integers(0, 100).map(lambda value: value / 100),
            st.sampled_from(["finished", "finished", "diverged"]),
        ),
        min_size=1,
        unique_by=lambda row: row[:3],
    )
)
@settings(max_examples=100, deadline=None)
def test_the_best_rates_against_a_brute_force(rows):
    expected = {}
    for norm in {row[0] for row in rows}:
        scores = {}
        for name, lr, _, value, status in rows:
            if name == norm:
                scores.setdefault(lr, []).append(value if status == "finished" else 0.0)
        most = max(len(values) for values in scores.values())
        means = {lr: math.fsum(values) / most for lr, values in scores.items() if len(values) == most}
        expected[norm] = min(lr for lr, mean in means.items() if mean >= max(means.values()) - SAME_SCORE)
    assert chosen(runs(*rows)) == expected


@pytest.fixture
def searched():
    """Seed 0 chose 0.1 and 0.01; the seeds 5 and 6 ran there, and seed 5 at the common rate 1.0."""
    return runs(
        ("unit", 0.1, 0, 0.8),
        ("unit", 1.0, 0, 0.6),
        ("raw", 0.01, 0, 0.5),
        ("raw", 1.0, 0, 0.1),
        ("unit", 0.1, 5, 0.7),
        ("unit", 0.1, 6, 0.7),
        ("raw", 0.01, 5, 0.4),
        ("raw", 0.01, 6, 0.4),
        ("unit", 1.0, 5, 0.9),  # better than at the chosen rate: it must not matter
    )


def test_seeds_that_confirm_decide_in_place_of_those_that_chose(searched):
    confirms = searched.seed >= 5
    best = best_rates(searched[~confirms], CELLS, CHOICE)
    by_rate = at_chosen_rates(searched, confirms, CELLS, best, 1.0)
    assert [(row.norm, row.lr, row.seed) for row in by_rate["best"].itertuples()] == [
        ("unit", 0.1, 5),
        ("unit", 0.1, 6),
        ("raw", 0.01, 5),
        ("raw", 0.01, 6),
    ]
    assert set(by_rate["all"].seed) == {0}
    # raw has no run of a seed that confirms at the common rate, so those that chose stand there, for both.
    assert {(row.norm, row.seed) for row in by_rate["common"].itertuples()} == {("unit", 0), ("raw", 0)}
    assert at_chosen_rates(searched, confirms, CELLS, best, None)["common"].empty
    both = pd.concat([searched, runs(("raw", 1.0, 5, 0.2))], ignore_index=True)
    confirms = both.seed >= 5
    common = at_chosen_rates(both, confirms, CELLS, best, 1.0)["common"]
    assert {(row.norm, row.seed) for row in common.itertuples()} == {("unit", 5), ("raw", 5)}


def test_seeds_that_chose_stand_while_a_cell_is_not_confirmed(searched):
    some = searched[(searched.seed == 0) | (searched.norm == "unit")]
    confirms = some.seed >= 5
    best = best_rates(some[~confirms], CELLS, CHOICE)
    at_best = at_chosen_rates(some, confirms, CELLS, best, None)["best"]
    assert {(row.norm, row.lr, row.seed) for row in at_best.itertuples()} == {("unit", 0.1, 0), ("raw", 0.01, 0)}


def test_a_run_fails_if_it_diverges_or_does_not_learn():
    frame = runs(("unit", 0.1, 0, 0.19), ("unit", 0.1, 1, 0.2), ("unit", 0.1, 2, math.nan, "diverged"))
    found = with_failures(frame, CELLS, CHOICE, "test_accuracy", 0.2)
    assert found.failed.tolist() == [1, 0, 1]
    assert found.diverged.tolist() == [0, 0, 1]
    frame = runs(("unit", 0.1, 0, 0.1), ("unit", 0.1, 1, 0.4), ("unit", 0.1, 2, 0.5), ("unit", 1.0, 0, 0.9))
    deviations = with_failures(frame, CELLS, CHOICE, "test_accuracy", 0.2).seed_deviation
    assert deviations.tolist() == pytest.approx([0.3, 0, 0.1, 0])  # the median is that of one learning rate


def test_the_range_of_rates_is_that_of_each_seed():
    rows = [("unit", lr, 0, score) for lr, score in ((0.001, 0.1), (0.01, 0.5), (0.1, 0.6), (1.0, 0.55))]
    rows += [("unit", lr, 1, 0.1) for lr in (0.001, 0.01, 0.1, 1.0)]
    rows += [("raw", lr, 0, score) for lr, score in ((0.001, 0.5), (0.01, 0.4), (0.1, 0.1), (1.0, 0.1))]
    found = ranges(with_failures(runs(*rows), CELLS, CHOICE, "test_accuracy", 0.2), CELLS, CHOICE)
    of = {(row.norm, row.seed): row for row in found.itertuples()}
    unit, raw, none = of["unit", 0], of["raw", 0], of["unit", 1]
    assert (unit.smallest_rate, unit.largest_rate, unit.largest_rate_at_end) == (0.01, 1.0, True)
    assert (raw.smallest_rate, raw.largest_rate, raw.largest_rate_at_end) == (0.001, 0.01, False)
    assert (unit.decades, raw.decades) == pytest.approx((2, 1))
    assert (unit.best_rate, raw.best_rate) == (0.1, 0.001)
    assert (unit.trained, raw.trained, none.trained, none.rates) == (0.75, 0.5, 0, 4)
    assert math.isnan(none.decades)
    assert math.isnan(none.best_rate)
