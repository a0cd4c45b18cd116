"""Verdicts on planted runs, whose truth is known."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from normlab.config import check
from normlab.errors import ConfigError
from normlab.record import pack, unpack
from normlab.statistics import crossed_interval
from normlab.statistics.level import ALPHA
from normlab.statistics.power import pairs_needed, power
from normlab.verdicts import Claim, Verdict, judge, open_together


def runs(effects, seeds=8, noise=0.01, seed=2):
    """Accuracy 0.7 plus the effect of (arch, norm), with seeds that differ and noise in each run."""
    generator = np.random.default_rng(seed)
    common = generator.normal(0, 0.05, seeds)
    return pd.DataFrame(
        {"arch": arch, "norm": norm, "seed": s, "status": "finished",
         "test_accuracy": 0.7 + effect + common[s] + generator.normal(0, noise)}
        for (arch, norm), effect in effects.items()
        for s in range(seeds)
    )  # fmt: skip


def verdict(frame, **rule):
    claim = check(Claim, {"id": "X", "statement": "", "rules": [rule]})
    (found,) = judge([claim], {"all": frame, "common": frame, "best": frame})
    return found


PAIR = {"first": {"norm": "b"}, "second": {"norm": "a"}}


@pytest.mark.parametrize(
    ("kind", "margin", "difference", "expected"),
    [
        ("superior", 0.0, 0.1, "holds"),
        ("superior", 0.0, -0.1, "refuted"),
        ("superior", 0.05, 0.1, "holds"),
        ("superior", 0.15, 0.1, "refuted"),
        ("superior", 0.1, 0.1, "undecided"),
        ("superior", 0.0, 0.0, "undecided"),
        ("non_inferior", 0.05, 0.0, "holds"),
        ("non_inferior", 0.05, 0.2, "holds"),
        ("non_inferior", 0.05, -0.1, "refuted"),
        ("non_inferior", 0.05, -0.05, "undecided"),
        ("equivalent", 0.05, 0.0, "holds"),
        ("equivalent", 0.05, 0.1, "refuted"),
        ("equivalent", 0.05, -0.1, "refuted"),
        ("equivalent", 0.05, 0.05, "undecided"),
    ],
)
def test_planted_differences(kind, margin, difference, expected):
    frame = runs({("cnn", "a"): 0, ("cnn", "b"): difference})
    found = verdict(frame, kind=kind, margin=margin, **PAIR)
    assert found.result == expected
    (cell,) = found.cells
    assert cell.interval.n == 8
    assert abs(cell.interval.estimate - difference) < 0.02


@pytest.mark.parametrize(
    ("difference", "expected"),
    [(0.15, "holds"), (0.05, "holds"), (0.03, "refuted"), (0.0, "refuted"), (-0.1, "refuted"), (0.005, "refuted")],
)
def test_a_gain_smaller_than_what_matters_is_refuted(difference, expected):
    frame = runs({("cnn", "a"): 0, ("cnn", "b"): difference})
    (cell,) = verdict(frame, kind="superior", matters=0.05, **PAIR).cells
    assert (cell.result, cell.name) == (expected, "b - a > 0 where 0.05 matters")
    small = cell.p_for < cell.p_against and expected == "refuted"
    assert cell.why == "there, and smaller than what matters" * small
    assert cell.p == (cell.p_against if small else min(cell.p_for, cell.p_against))  # the p of the result


@pytest.mark.parametrize("kept", [True, False])
def test_one_function_twice_gains_less_than_what_matters(kept):
    frame = with_images(runs({("cnn", "a"): 0, ("cnn", "b"): 0.0}), spread=0.0)
    same = frame.assign(**{key: frame.groupby("seed")[key].transform("first") for key in ("correct", "test_accuracy")})
    same = same if kept else same.drop(columns="correct")
    assert verdict(same, kind="superior", matters=0.05, **PAIR).result == "refuted"
    assert verdict(same, kind="superior", **PAIR).result == "undecided"


def test_what_records_round_is_no_variance():
    """Equal steps of 1/360, to the nine digits of a record."""
    frame = runs({("cnn", "a"): 0, ("cnn", "b"): 0}, seeds=6)
    frame["test_accuracy"] = [
        float(f"{(290 + 10 * (one.norm == 'b') + one.seed) / 360:.9g}") for one in frame.itertuples()
    ]
    (cell,) = verdict(frame, kind="superior", **PAIR).cells
    assert cell.p_for == 0.5**6


@pytest.mark.parametrize(("difference", "shown"), [(-0.055, "refuted"), (-0.042, "holds")])
def test_a_difference_at_a_bound_says_what_it_takes_if_it_is_the_truth(difference, shown):
    frame = runs({("cnn", "a"): 0, ("cnn", "b"): difference}, seeds=6, noise=0.02)
    (cell,) = verdict(frame, kind="non_inferior", margin=0.05, **PAIR).cells
    found, deviation = cell.interval.estimate, cell.strength.deviation
    assert cell.result == "undecided"
    assert (
        pairs_needed(0.0, -0.05, math.inf, deviation, ALPHA) <= cell.interval.n
    )  # it saw enough to show no difference
    low, high = (-math.inf, -0.05) if shown == "refuted" else (-0.05, math.inf)
    needed = pairs_needed(found, low, high, deviation, ALPHA)
    assert power(found, low, high, deviation, int(needed)) >= 0.9 > power(found, low, high, deviation, int(needed) - 1)
    assert cell.strength.needed == cell.part.needed == needed
    assert cell.why.startswith(f"near a bound: {found:.3g} [")
    assert cell.why.endswith(f"; n = {needed:g} for 90% if the difference is {found:.3g}")


@pytest.mark.slow
@pytest.mark.parametrize(("truth", "wrong"), [(0.0, "holds"), (0.01, "refuted")])
def test_the_level_of_a_gain_that_matters_is_five_percent_at_either_end(truth, wrong):
    """Wrong in at most 5% of 150 planted studies of 6 seeds, without a gain and with one that just matters."""
    generator = np.random.default_rng(7)
    results = []
    for _ in range(150):
        less = generator.normal(truth, 0.005, 6)
        rows = [("a", s, 0.5) for s in range(6)] + [("b", s, 0.5 + less[s]) for s in range(6)]
        frame = pd.DataFrame(rows, columns=["norm", "seed", "test_accuracy"]).assign(status="finished")
        results.append(verdict(frame, kind="superior", matters=0.01, **PAIR).result)
    assert results.count(wrong) / 150 <= ALPHA + 3 * math.sqrt(ALPHA * (1 - ALPHA) / 150)
    right = {"holds": "refuted", "refuted": "holds"}[wrong]
    assert results.count(right) / 150 > 0.8


def test_what_all_studies_of_a_claim_together_leave_open_is_named():
    """Three studies, each with one test that is significant alone; over all three Holm asks three times as much."""
    verdicts = [
        verdict(runs({("cnn", "a"): 0, ("cnn", "b"): gain}, noise=0.02), kind="superior", **PAIR)
        for gain in (0.3, 0.0, 0.0)
    ]
    # A gain that is refuted as too small goes by the larger of its two p.
    small = replace(verdicts[0].cells[0], p_for=1e-5, p_against=0.02, p=0.02, result="refuted")
    ((_, again),) = open_together([Verdict(verdicts[0].claim, (small,)), *verdicts[1:], verdicts[1]])
    assert again.p == pytest.approx(0.08)
    borderline = [
        replace(one, cells=(replace(one.cells[0], p_for=p, p_against=1 - p, p=p, result=result),))
        for one, p, result in zip(verdicts, (0.001, 0.04, 0.2), ("holds", "holds", "undecided"), strict=True)
    ]
    ((named, cell),) = open_together(borderline)
    assert named is borderline[1]
    assert cell.p == pytest.approx(0.08)
    assert open_together(borderline[:1]) == []


def test_what_matters_stands_once_a_claim_for_its_accuracies_that_are_larger():
    rules = ["b > a", "b > a where 0.03 matters", "b > a - 0.01", "b = a ± 0.01", "b > a in epochs_to.0.3 up to 10"]
    claim = check(Claim, {"id": "X", "matters": 0.02, "rules": rules})
    assert [getattr(rule, "matters", None) for rule in claim.rules] == [0.02, 0.03, None, None, 0.0]


def test_cells_that_disagree_make_a_condition():
    frame = runs({("cnn", "a"): 0, ("cnn", "b"): 0.1, ("vit", "a"): 0, ("vit", "b"): -0.1})
    found = verdict(frame, kind="superior", over=["arch"], **PAIR)
    assert found.conclusion.text == "holds if arch=cnn; refuted elsewhere"
    assert [(cell.name, cell.result, cell.place) for cell in found.cells] == [
        ("cnn: b - a > 0", "holds", (("arch", "cnn"),)),
        ("vit: b - a > 0", "refuted", (("arch", "vit"),)),
    ]


def test_the_rates_of_a_claim_are_cells_too():
    claim = check(Claim, {"id": "X", "at": ["common", "best"], "rules": ["b > a", "b > a + 0.05"]})
    far, near = (runs({("cnn", "a"): 0, ("cnn", "b"): gain}) for gain in (0.1, 0.02))
    (found,) = judge([claim], {"common": far, "best": near})
    assert found.conclusion.text == "holds if rate=common; refuted elsewhere"


def test_one_refuted_part_refutes_all():
    claim = check(Claim, {"id": "X", "rules": ["b > a", "c > b"]})
    (found,) = judge([claim], {"all": runs({("cnn", "a"): 0, ("cnn", "b"): 0.1, ("cnn", "c"): 0})})
    assert found.conclusion.text == "refuted (c - b > 0)"


def test_what_is_undecided_says_its_power_and_the_seeds_that_it_takes():
    frame = runs({("cnn", "a"): 0, ("cnn", "b"): 0.0}, seeds=6, noise=0.02)
    claim = check(Claim, {"id": "X", "rules": ["b > a"]})
    (found,) = judge([claim], {"all": frame}, margin=0.015)
    (cell,) = found.cells
    table = frame.pivot(index="seed", columns="norm", values="test_accuracy")
    deviation = (table.b - table.a).std()
    assert found.result == "undecided"
    assert cell.strength.deviation == pytest.approx(deviation)
    assert cell.strength.effect == 0.015
    assert cell.strength.power == pytest.approx(power(0.015, 0, math.inf, deviation, 6))
    n = int(cell.strength.needed)
    assert power(0.015, 0, math.inf, deviation, n) >= 0.9 > power(0.015, 0, math.inf, deviation, n - 1)
    assert found.conclusion.detail == (
        f"b - a > 0: power {cell.strength.power:.0%} for a true difference of 0.015, n = {n} for 90%"
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "bound"), [("superior", {}), ("equivalent", {"margin": 0.02}), ("between", {"low": -0.03, "high": 0.01})]
)
def test_the_level_is_five_percent_for_and_against(kind, bound):
    """On the bound of the rule either decision is wrong, or one is: 250 planted studies of 6 seeds each.

    At the bound 0 of b > a the rule is false, and its opposite true; on the edge of a margin likewise.
    """
    edge = {"superior": 0.0, "equivalent": 0.02, "between": 0.01}[kind]
    generator = np.random.default_rng(5)
    results = []
    for _ in range(250):
        less = generator.normal(edge, 0.005, 6)
        rows = [("a", s, 0.5) for s in range(6)] + [("b", s, 0.5 + less[s]) for s in range(6)]
        frame = pd.DataFrame(rows, columns=["norm", "seed", "test_accuracy"]).assign(status="finished")
        results.append(verdict(frame, kind=kind, **bound, **PAIR).result)
    margin = 3 * math.sqrt(ALPHA * (1 - ALPHA) / 250)
    for wrong in ("holds", "refuted"):
        assert abs(results.count(wrong) / 250 - ALPHA) <= margin


def test_a_rule_whose_sides_are_the_same_runs_is_flagged():
    frame = runs({("cnn", "a"): 0})
    same = pd.concat([frame, frame.assign(norm="b")])
    found = verdict(same, kind="equivalent", margin=0.01, **PAIR)
    assert found.cells[0].by_construction
    assert found.conclusion.text == "holds (by construction)"
    claim = check(Claim, {"id": "X", "rules": ["b > a", "test_accuracy = 0 ± 2 by construction"]})
    (found,) = judge([claim], {"all": runs({("cnn", "a"): 0, ("cnn", "b"): 0.1})})
    assert [cell.by_construction for cell in found.cells] == [False, True]
    assert found.conclusion.text == "holds"


def test_a_diverged_run_decides_nothing_unless_the_rule_says_what_it_counts():
    frame = runs({("cnn", "a"): 0, ("cnn", "b"): 0.1})
    lost = (frame.norm == "a") & (frame.seed == 3)
    frame.loc[lost, "status"], frame.loc[lost, "test_accuracy"] = "diverged", math.nan
    found = verdict(frame, kind="superior", **PAIR)
    assert (found.result, found.cells[0].lost, found.cells[0].interval.n) == ("undecided", 1, 7)
    found = verdict(frame, kind="superior", diverged_as=0.1, **PAIR)
    assert (found.result, found.cells[0].lost, found.cells[0].interval.n) == ("holds", 0, 8)


def test_a_missing_seed_leaves_the_others_paired():
    frame = runs({("cnn", "a"): 0, ("cnn", "b"): 0.1})
    frame = frame[~((frame.norm == "b") & (frame.seed == 2))]
    found = verdict(frame, kind="superior", **PAIR)
    assert (found.result, found.cells[0].interval.n) == ("holds", 7)


def test_four_seeds_decide_nothing():
    found = verdict(runs({("cnn", "a"): 0, ("cnn", "b"): 0.5}, seeds=4), kind="superior", **PAIR)
    assert (found.result, found.cells[0].interval.n) == ("undecided", 4)


def test_nothing_to_judge_is_untested():
    frame = runs({("cnn", "a"): 0}, seeds=1)
    assert verdict(frame, kind="superior", **PAIR).result == "not tested"
    assert verdict(frame.iloc[:0], kind="within", metric="nothing", low=0, high=1).result == "not tested"


@pytest.mark.parametrize(
    "rule",
    [
        {"kind": "within", "metric": "nothing", "low": 0, "high": 1},
        {"kind": "superior", **PAIR, "over": ["color"]},
        {"kind": "superior", "first": {"nrom": "b"}, "second": {"norm": "a"}},
        {"kind": "superior", **PAIR, "at": "measured"},
    ],
)
def test_a_rule_that_names_what_is_not_there_is_refused(rule):
    with pytest.raises(ConfigError, match="claim X"):
        verdict(runs({("cnn", "a"): 0, ("cnn", "b"): 1}), **rule)


def test_exact_rules_and_other_claims_do_not_weaken_a_test():
    frame = runs({("cnn", "a"): 0, ("cnn", "b"): 0.02})
    test, exact = "b > a", ["0 <= seed <= 100"] * 30
    claims = [{"id": "T", "rules": [test]}, {"id": "E", "rules": [test, *exact]}, {"id": "D", "rules": [test, test]}]
    alone, beside, twice = judge([check(Claim, one) for one in claims], {"all": frame})
    assert alone.cells[0].p == beside.cells[0].p < 0.05
    assert twice.cells[0].p == 2 * alone.cells[0].p


def test_a_seed_with_one_lost_run_of_several_is_lost():
    frame = pd.concat([runs({("cnn", "a"): 0, ("cnn", "b"): 0.1}).assign(lr=lr) for lr in (0.1, 0.2)])
    assert verdict(frame, kind="superior", **PAIR).cells[0].interval.n == 8
    lost = ((frame.norm == "a") & (frame.seed == 3) & (frame.lr == 0.1)).to_numpy()
    broken = frame.copy()
    broken.loc[lost, ["status", "test_accuracy"]] = ["diverged", math.nan]
    found = verdict(broken, kind="superior", **PAIR)
    assert (found.result, found.cells[0].lost, found.cells[0].interval.n) == ("undecided", 1, 7)
    found = verdict(frame[~lost], kind="superior", **PAIR)  # a run that is missing: the means are not of like runs
    assert (found.result, found.cells[0].lost) == ("undecided", 1)


def test_where_all_diverged_nothing_is_said():
    frame = runs({("cnn", "a"): 0, ("cnn", "b"): 0}).assign(status="diverged", test_accuracy=math.nan)
    for rule in ({"kind": "equivalent", "margin": 0.1}, {"kind": "non_inferior", "margin": 0.1}):
        assert verdict(frame, diverged_as=0.1, **rule, **PAIR).result == "not tested"


def test_a_number_that_yaml_takes_for_text():
    frame = pd.concat([runs({("cnn", "a"): 0, ("cnn", "b"): 0.1}).assign(lr=lr) for lr in (0.01, 1.0)])
    rule = {"kind": "superior", "first": {"norm": "b", "lr": "1e-2"}, "second": {"norm": "a", "lr": "1e-2"}}
    assert verdict(frame, **rule).result == "holds"


def test_exact_numbers():
    frame = pd.DataFrame({"norm": ["a", "b", "b"], "seed": 0, "status": "finished", "ratio": [1.0, 1.005, 0.995]})
    near = {"kind": "within", "metric": "ratio", "low": 0.99, "high": 1.01}
    assert verdict(frame, **near).result == "holds"
    assert verdict(frame, **(near | {"low": 1.0})).result == "refuted"
    lost = frame.assign(ratio=[1.0, 1.0, math.nan])
    assert (verdict(lost, **near).result, verdict(lost, **near).cells[0].lost) == ("undecided", 1)
    assert verdict(frame, **(near | {"low": 1.1, "high": 2})).result == "refuted"
    assert verdict(frame, **(near | {"low": 1.0, "where": {"norm": "a"}})).result == "holds"


@pytest.mark.parametrize(
    ("counts", "n", "covers"),
    [
        ({}, 1, "images"),
        ({"samples": 30}, 30, "images"),
        ({"images": 20, "samples": 30}, 20, "images"),
        ({"test_images": 10, "images": 20, "n": 5}, 10, "images"),
        ({"n": 5}, 5, "seeds"),
    ],
)
def test_an_estimate_rests_on_the_samples_that_it_was_tested_on(counts, n, covers):
    frame = pd.DataFrame([{"norm": "a", "seed": 0, "status": "finished", "gap": 0.5, "gap_low": 0.4, "gap_high": 0.6}])
    (cell,) = verdict(frame.assign(**counts), kind="estimated", metric="gap", low=0, high=1).cells
    assert (cell.result, cell.interval.n, cell.covers) == ("holds", n, covers)


def test_an_interval_that_a_row_lacks_leaves_its_rule_open():
    """As a value that is missing does for a rule of exact numbers: the rule is of every row."""
    ends = {"gap": [0.5, math.nan], "gap_low": [0.4, math.nan], "gap_high": [0.6, math.nan]}
    (cell,) = verdict(pd.DataFrame(ends), kind="estimated", metric="gap", low=0, high=1).cells
    assert (cell.result, cell.lost, cell.why) == ("undecided", 1, "1 of 2 rows have no value")


def test_a_miss_counts_as_the_horizon():
    frame = runs({("cnn", "a"): 0, ("cnn", "b"): 0})
    frame["epochs_to.0.7"] = np.where(frame.norm == "a", 2.0 + frame.seed % 2, np.inf)
    rule = {"kind": "superior", "metric": "epochs_to.0.7", "horizon": 10, "margin": 5.0}
    with pytest.raises(ConfigError, match="requires a horizon"):
        verdict(frame, **(rule | {"horizon": None}), **PAIR)
    found = verdict(frame, **rule, **PAIR)
    assert found.result == "holds"
    assert found.cells[0].interval.estimate == pytest.approx(7.5)


@pytest.mark.slow
def test_a_claim_of_many_parts_without_any_truth_is_rarely_decided():
    """Six schemes without any difference, against one that they share: 150 studies, at most 5% decide a cell."""
    claim = check(Claim, {"id": "X", "rules": [f"{norm} > a + 0.001" for norm in "bcdefg"]})
    wrong = 0
    for study in range(150):
        frame = runs({("cnn", norm): 0.001 * (norm != "a") for norm in "abcdefg"}, seeds=5, seed=study)
        (found,) = judge([claim], {"all": frame})
        wrong += any(cell.result == "holds" for cell in found.cells)
    assert wrong / 150 <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 150)


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"kind": "better", **PAIR}, "kind"),
        ({"kind": "superior", "first": {"norm": "b"}}, "rules"),
        ({"kind": "equivalent", "margin": 0, **PAIR}, "rules"),
    ],
)
def test_a_bad_rule_is_refused(rule, message):
    with pytest.raises(ConfigError, match=message):
        check(Claim, {"id": "X", "statement": "", "rules": [rule]})


@pytest.mark.parametrize(
    ("difference", "low", "high", "expected"),
    [
        (0.05, 0.01, 0.1, "holds"),
        (0.2, 0.01, 0.1, "refuted"),
        (-0.1, 0.01, 0.1, "refuted"),
        (0.1, 0.01, 0.1, "undecided"),
        (-0.05, -0.1, -0.01, "holds"),
    ],
)
def test_a_difference_between_bounds(difference, low, high, expected):
    frame = runs({("cnn", "a"): 0, ("cnn", "b"): difference})
    found = verdict(frame, kind="between", low=low, high=high, **PAIR)
    assert found.result == expected
    assert abs(found.cells[0].interval.estimate - difference) < 0.02


@pytest.mark.parametrize(("factor", "expected"), [(3.0, "holds"), (30.0, "refuted"), (0.3, "refuted")])
def test_a_ratio_is_that_of_geometric_means(factor, expected):
    frame = runs({("cnn", "a"): 0, ("cnn", "b"): 0})
    generator = np.random.default_rng(1)
    frame["epochs"] = np.where(frame.norm == "b", factor, 1.0) * np.exp(generator.normal(0, 0.1, len(frame)))
    found = verdict(frame, kind="between", ratio=True, metric="epochs", low=2, high=10, **PAIR)
    assert found.result == expected
    (cell,) = found.cells
    by_seed = frame.pivot(index="seed", columns="norm", values="epochs")
    assert cell.interval.estimate == pytest.approx(np.exp(np.log(by_seed.b / by_seed.a).mean()))
    assert cell.interval.low < cell.interval.estimate < cell.interval.high
    assert cell.name == "2 < b / a < 10 in epochs"


def test_the_power_of_a_ratio_with_one_bound_is_said_one_deviation_beyond_it():
    frame = runs({("cnn", "a"): 0, ("cnn", "b"): 0})
    generator = np.random.default_rng(1)
    frame["epochs"] = np.where(frame.norm == "b", 2.1, 1.0) * np.exp(generator.normal(0, 0.2, len(frame)))
    (cell,) = verdict(frame, kind="between", ratio=True, metric="epochs", low=2, **PAIR).cells
    assert (cell.result, cell.name) == ("undecided", "b / a > 2 in epochs")
    assert cell.strength.effect == pytest.approx(2 * math.exp(cell.strength.deviation))
    assert cell.strength.power == pytest.approx(power(1.0, 0.0, math.inf, 1.0, 8))


def test_a_ratio_requires_positive_values():
    frame = runs({("cnn", "a"): 0, ("cnn", "b"): 0}).assign(epochs=0.0)
    with pytest.raises(ConfigError, match="a ratio requires values above 0"):
        verdict(frame, kind="between", ratio=True, metric="epochs", low=2, high=10, **PAIR)


@pytest.mark.parametrize(
    ("inside", "margin", "expected"), [(0.1, 0.0, "holds"), (0.3, 0.0, "refuted"), (0.1, 0.15, "refuted")]
)
def test_an_interaction_is_a_difference_of_differences(inside, margin, expected):
    """Outside b gains 0.2 over a, inside so much."""
    frame = runs({("none", "a"): 0, ("none", "b"): 0.2, ("batch", "a"): 0.3, ("batch", "b"): 0.3 + inside})
    rule = {"kind": "interaction", "margin": margin, "under": {"arch": "none"}, "than": {"arch": "batch"}, **PAIR}
    found = verdict(frame, **rule)
    assert found.result == expected
    (cell,) = found.cells
    table = frame.pivot(index="seed", columns=["arch", "norm"], values="test_accuracy")
    exact = (table["none"].b - table["none"].a - table["batch"].b + table["batch"].a).mean()
    assert cell.interval.estimate == pytest.approx(exact)
    assert cell.interval.n == 8
    # A seed that one of the four lacks takes no part; one that is lost to a divergence decides nothing.
    fewer = frame[~((frame.seed == 3) & (frame.arch == "batch") & (frame.norm == "a"))]
    assert verdict(fewer, **rule).cells[0].interval.n == 7
    lost = frame.assign(test_accuracy=frame.test_accuracy.where(frame.index != 0), status="finished")
    (cell,) = verdict(lost, **rule).cells
    assert (cell.result, cell.lost) == ("undecided", 1)


def test_shares_of_failed_runs_are_compared_even_where_all_failed():
    """The mean over rates of each seed is one value; a frame of diverged runs has no accuracy but this."""
    rows = [
        {"norm": norm, "seed": s, "lr": lr, "status": "diverged" if bad else "finished", "failed": float(bad)}
        for norm, fails in (("a", 1), ("b", 5))
        for s in range(6)
        for lr, bad in ((k, k < fails + (s == 2)) for k in range(6))
    ]
    found = verdict(pd.DataFrame(rows), kind="superior", metric="failed", **PAIR)
    assert found.result == "holds"
    assert found.cells[0].interval.estimate == pytest.approx(4 / 6)
    assert found.cells[0].rule == "b - a > 0 in failed"  # else it would read as a rule of accuracies


def test_a_comparison_of_nothing_is_untested():
    for rule in ({"kind": "superior"}, {"kind": "interaction", "under": {"arch": "x"}, "than": {"arch": "y"}}):
        assert verdict(pd.DataFrame(), **rule, **PAIR).result == "not tested"


@pytest.mark.parametrize(
    ("first", "second", "low", "high", "expected"),
    [
        (4.0, 2.0, 1.5, 3, "holds"),
        (math.inf, 3.0, 2, 10, "undecided"),  # at least 10/3 times as long: beyond 2, but who knows of 10
        (math.inf, 2.0, 2, 4, "refuted"),  # at least 5 times
        (math.inf, 8.0, 2, 4, "undecided"),  # at least 1.25 times: below 2 as it stands, but perhaps not
        (2.0, math.inf, 0.5, 2, "refuted"),  # at most a fifth
        (8.0, math.inf, 0.5, 2, "undecided"),
        (math.inf, math.inf, 0.5, 2, "undecided"),
        (4.0, 2.0, 1.5, None, "holds"),
        (4.0, 2.0, 3, None, "refuted"),
        (math.inf, 3.0, 2, None, "holds"),  # at least 10/3 times as long, and more is no less true
        (math.inf, 8.0, 2, None, "undecided"),
        (2.0, math.inf, 0.5, None, "refuted"),  # at most a fifth
        (8.0, math.inf, 0.5, None, "undecided"),
    ],
)
def test_a_side_known_from_below_decides_nothing_beyond(first, second, low, high, expected):
    frame = runs({("cnn", "a"): 0, ("cnn", "b"): 0})
    noise = np.exp(np.random.default_rng(3).normal(0, 0.02, len(frame)))
    frame["epochs_to.0.7"] = np.where(frame.norm == "b", first, second) * noise
    rule = {"kind": "between", "metric": "epochs_to.0.7", "horizon": 10, "ratio": True, "low": low, "high": high}
    found = verdict(frame, **rule, **PAIR)
    assert found.result == expected
    assert found.cells[0].at_least == 8 * (math.isinf(first) + math.isinf(second))


def test_a_rate_at_the_grids_end_is_known_from_below():
    frame = runs({("cnn", "a"): 0, ("cnn", "b"): 0})
    frame["largest_rate"] = np.where(frame.norm == "b", 0.1, 0.01) * (1 + 0.01 * (frame.seed % 3))
    rule = {"kind": "between", "metric": "largest_rate", "ratio": True, "low": 5, "high": 20}
    assert verdict(frame, **rule, **PAIR).result == "holds"
    found = verdict(frame.assign(largest_rate_at_end=frame.norm == "b"), **rule, **PAIR)
    assert (found.result, found.cells[0].at_least) == ("undecided", 8)


def with_images(frame, spread, seed=0, images=400):
    """Records that keep whether a run is right on each image; schemes suit the images differently by ``spread``."""
    generator = np.random.default_rng(seed)
    hard = generator.normal(0, 1, images)
    suits = {norm: generator.normal(0, spread, images) for norm in frame.norm.unique()}
    right = [
        hard + suits[norm] + generator.normal(0, 0.3, images) + skill > 0
        for norm, skill in zip(frame.norm, frame.test_accuracy, strict=True)
    ]
    return frame.assign(
        test_accuracy=[one.mean() for one in right],
        correct=[pack(one) for one in right],
        test_images=images,
        test_key="a",
    )


@pytest.mark.parametrize("kind", ["superior", "equivalent", "interaction"])
def test_images_take_part_where_every_run_says_which_it_got_right(kind):
    rule = {"kind": kind, "margin": 0.05, **PAIR}
    arms = {("cnn", "a"): 0, ("cnn", "b"): 0.0}
    if kind == "interaction":
        arms |= {("vit", "a"): 0, ("vit", "b"): 0.0}
        rule |= {"under": {"arch": "cnn"}, "than": {"arch": "vit"}}
    frame = with_images(runs(arms), spread=0.8)
    (cell,) = verdict(frame, **rule).cells
    (alone,) = verdict(frame.drop(columns="correct"), **rule).cells
    assert (cell.covers, alone.covers) == ("seeds and images", "seeds")
    assert cell.interval.estimate == pytest.approx(alone.interval.estimate)
    sides = {key: np.stack([unpack(one, 400) for one in part.correct]) for key, part in frame.groupby(["arch", "norm"])}
    less = sides["cnn", "b"] * 1.0 - sides["cnn", "a"]
    if kind == "interaction":
        less = less - (sides["vit", "b"] * 1.0 - sides["vit", "a"])
    assert cell.interval == crossed_interval(less, np.zeros_like(less))
    # The test is that of the interval: p of the rule is below 5% if and only if a 90% interval keeps inside the bounds.
    ninety = crossed_interval(less, np.zeros_like(less), confidence=0.9)
    inside = ninety.low > -0.05 and ninety.high < 0.05 if kind == "equivalent" else ninety.low > 0.05
    assert (cell.p_for < 0.05) == inside
    if kind != "equivalent":
        (matters,) = verdict(frame, **rule | {"margin": 0.0, "matters": 0.05}).cells
        assert (matters.p_against < 0.05) == (ninety.high < 0.05)
    some = frame.assign(correct=frame.correct.where(frame.seed != 3))
    assert verdict(some, **rule).cells[0].covers == "seeds"


@pytest.mark.parametrize("keys", [lambda seed: f"images of seed {seed}", lambda seed: None])
def test_images_take_part_only_where_all_runs_were_tested_on_the_same(keys):
    frame = with_images(runs({("cnn", "a"): 0, ("cnn", "b"): 0.0}), spread=0.8)
    (cell,) = verdict(frame.assign(test_key=[keys(seed) for seed in frame.seed]), kind="superior", **PAIR).cells
    assert cell == verdict(frame.drop(columns="correct"), kind="superior", **PAIR).cells[0]
