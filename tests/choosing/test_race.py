"""The sequential rule: its error on planted truth, its levels, and what a larger budget adds."""

import math
from collections import Counter

import hypothesis
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from benchmarks.choose_planted import RIGHT, WRONG, outcomes, planted
from normlab.choosing.answer import answer_of, recommended, spread_between
from normlab.choosing.race import (
    Race,
    Spread,
    Standing,
    level_of,
    look,
    plan_share,
    planned_looks,
    spent,
    spread_of,
    standing,
)
from normlab.statistics import ALPHA, Interval, crossed_interval, paired_difference

MARGIN = 0.01


def race(accuracies, seeds, images=500, problem=0, affords=lambda left: True, **more):
    train = planted(accuracies, np.random.default_rng(problem), images, 0.1)
    one = Race([str(place) for place in range(len(accuracies))], "0", MARGIN, train, affords, **more)
    one.carry_out(seeds)
    return one


def test_at_most_five_in_a_hundred_recommendations_are_wrong():
    """128 problems of every kind, two plans each: 5% is 6.4, and 11 or fewer come in 97% of draws at exactly 5%."""
    truths = [(0.7,) * 4, (0.7, 0.71, 0.71, 0.7), (0.7, 0.72, 0.7, 0.1), (0.7, 0.7), (0.71, 0.7), (0.7, 0.75, 0.74)]
    total = Counter()
    for accuracies in truths:
        total += outcomes(accuracies, (5, 9), 300, 22)[0]
    assert sum(total.values()) == 132
    assert total[WRONG] <= 11
    assert total[RIGHT] >= 20  # it is no rule that never says anything


def test_what_varies_much_and_is_ahead_is_not_recommended():
    """A good scheme, and a worse one whose runs are erratic: it leads in many problems, and is shown to be nothing."""
    led = 0
    for problem in range(60):
        train = planted((0.7, 0.695, 0.73), np.random.default_rng(problem), 300, 0.1, 12)
        one = Race(list("012"), "0", MARGIN, train, lambda left: True)
        one.carry_out(10)
        kind, scheme = recommended(one.standing, one.schemes)
        led += kind == "use" and one.standing.leader == "1"
        if kind == "use":
            assert scheme == "2"
            assert (scheme, "0") in one.standing.better
    assert led > 0


@given(
    st.sets(st.tuples(st.sampled_from("abcd"), st.sampled_from("abcd")).filter(lambda pair: pair[0] != pair[1])),
    st.permutations("abcd"),
)
def test_a_scheme_to_use_was_shown_to_be_better_than_the_reference(better, order):
    """Also where what beat the reference was itself beaten by one that did not."""
    hypothesis.assume(len({second for _, second in better}) < 4)
    latest = {
        (one, other): Interval(float(order.index(one) < order.index(other)) - 0.5, -1.0, 1.0, 5)
        for one in "abcd"
        for other in "abcd"
        if one != other
    }
    left = tuple(one for one in "abcd" if one not in {second for _, second in better})
    found = Standing("a", left, frozenset(better), frozenset(better), latest)
    kind, scheme = recommended(found, "abcd")
    if kind == "use":
        assert (scheme, "a") in better
        assert scheme in left
    else:
        assert not {(one, "a") for one in left} & better


def test_looks_without_correction_are_wrong_more_often():
    """The same problems with each look at 5%: the correction is what keeps the promise."""
    wrong = 0
    for problem in range(40):
        train = planted((0.7,) * 4, np.random.default_rng(problem), 300, 0.1)
        rows = {name: np.stack([train(name, seed) for seed in range(12)]) for name in "0123"}
        looks = [look({name: one[:seeds] for name, one in rows.items()}, ALPHA) for seeds in range(2, 13)]
        wrong += recommended(standing("0123", "0", looks, MARGIN), "0123")[0] == "use"
    assert wrong > 4  # 10% of 40


@pytest.mark.parametrize("schemes", [2, 3, 5])
@pytest.mark.parametrize("plans", [[5], [8, 20], [3, 5, 9, 30]])
def test_the_levels_of_all_looks_together_are_below_the_whole(schemes, plans):
    levels, done = [], 0
    for number, end in enumerate(plans):
        before = 0.0
        for seeds in planned_looks(end, done):
            share = spent(seeds, end, done)
            levels.append(level_of(schemes) * plan_share(number) * (share - before))
            before = share
        assert before == 1
        done = end
    assert min(levels) > 0
    # K - 1 tests against the best and K - 1 against the reference.
    assert 2 * (schemes - 1) * sum(levels) == pytest.approx(ALPHA * (1 - 0.25 ** len(plans)))


def test_a_race_spends_what_its_plans_say():
    one = race((0.7, 0.7), 5)
    one.carry_out(12)
    whole = level_of(2) * np.array([plan_share(0), plan_share(1)])
    first = [a_look.level for a_look in one.looks if a_look.seeds <= 5]
    assert [a_look.seeds for a_look in one.looks] == [3, 5, 9, 12]
    assert sum(first) == pytest.approx(whole[0])
    assert sum(a_look.level for a_look in one.looks) == pytest.approx(whole.sum())
    assert first[0] == pytest.approx(whole[0] * (3 / 5) ** 3)


def test_intervals_are_those_of_the_crossed_model():
    train = planted((0.7, 0.75), np.random.default_rng(0), 200, 0.1)
    rows = {name: np.stack([train(name, seed) for seed in range(4)]) for name in "01"}
    expected = crossed_interval(rows["0"], rows["1"], confidence=1 - 2 * 0.01)
    seen = look(rows, 0.01).intervals
    assert seen["0", "1"].low == pytest.approx(expected.low)
    assert (seen["1", "0"].low, seen["1", "0"].high) == (-seen["0", "1"].high, -seen["0", "1"].low)


def test_scores_of_whole_runs_are_compared_by_student():
    """Of a regression there is one number a run."""
    generator = np.random.default_rng(0)
    rows = {name: generator.normal(0.4, 0.02, (6, 1)) for name in "01"}
    expected = paired_difference(rows["0"][:, 0], rows["1"][:, 0], confidence=1 - 2 * 0.01)
    seen = look(rows, 0.01).intervals["0", "1"]
    assert (seen.low, seen.high) == (pytest.approx(expected.low), pytest.approx(expected.high))
    assert spread_of(rows["0"], rows["1"]) == Spread(pytest.approx(np.var(rows["0"] - rows["1"], ddof=1)), 0.0)


def test_a_clear_loser_is_run_no_more():
    one = race((0.7, 0.7, 0.1), 12)
    assert len(one.right["2"]) == one.looks[0].seeds < len(one.right["0"]) == 12
    assert "2" not in one.standing.left
    assert ("0", "2") in one.standing.better


def test_a_clear_winner_ends_the_race():
    one = race((0.5, 0.9), 12)
    assert recommended(one.standing, one.schemes) == ("use", "1")
    assert one.seeds == 4
    assert answer_of(one, 60, 5).sentence.startswith("Use `1`: +")


def test_equal_schemes_do_not_matter():
    train = planted((0.7, 0.7), np.random.default_rng(0), 400, 0.1)
    one = Race("ab", "a", MARGIN, lambda scheme, seed: train("0", seed), lambda left: True)
    one.carry_out(6)
    answer = answer_of(one, 60, 5)
    assert (answer.kind, one.seeds) == ("same", 3)
    assert answer.sentence.startswith("It does not matter here: `a` and `b` lie within 1 point of each other (3 seeds")


def test_the_end_of_the_time_is_a_look_at_what_there_is():
    calls = iter([True, True, True, True, False])
    one = race((0.7, 0.7), 12, affords=lambda left: next(calls))
    assert one.plans[0].end == one.seeds == 4
    assert sum(a_look.level for a_look in one.looks) == pytest.approx(level_of(2) * plan_share(0))
    assert not one.unfinished
    assert "would tell" in answer_of(one, 60, 5).sentence


def test_no_time_at_all_is_an_answer():
    one = race((0.7, 0.7), 12, affords=lambda left: False)
    assert (one.seeds, one.looks) == (0, [])
    assert answer_of(one, 60, 5).sentence == (
        "I cannot tell: the time was over before two seeds of each scheme. Add 20 s or more."
    )


def test_a_race_goes_on_where_it_was_stopped():
    """From its plans and looks, and the runs read again: the same looks and the same runs."""
    whole = race((0.7, 0.72, 0.7, 0.1), 9)
    train = planted((0.7, 0.72, 0.7, 0.1), np.random.default_rng(0), 500, 0.1)
    again = Race("0123", "0", MARGIN, train, lambda left: True, whole.plans, whole.looks[:1])
    assert again.unfinished
    again.carry_out(99)
    assert again.looks == whole.looks
    assert {name: len(runs) for name, runs in again.right.items()} == {n: len(r) for n, r in whole.right.items()}


def test_the_spread_predicts_the_error_of_more_seeds():
    """The error that is predicted from 10 seeds for 40 is the one that 40 have, within its own uncertainty."""
    one = race((0.7, 0.7), 10, images=400)
    many = race((0.7, 0.7), 40, images=400)
    predicted = spread_between(one, "0", "1").deviation(40) / math.sqrt(40)
    interval = many.looks[-1].intervals["0", "1"]
    error = (interval.high - interval.estimate) / stats.norm.isf(many.looks[-1].level)
    assert predicted == pytest.approx(error, rel=0.4)
