"""Verdicts on planted runs, whose truth is known."""

import itertools
import math

import numpy as np
import pandas as pd
import pytest

from normlab.config import check
from normlab.errors import ConfigError
from normlab.statistics.verdicts import Claim, combined, judge


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
        ("superior", 0.0, 0.1, "supported"),
        ("superior", 0.0, -0.1, "contradicted"),
        ("superior", 0.05, 0.1, "supported"),
        ("superior", 0.15, 0.1, "contradicted"),
        ("superior", 0.1, 0.1, "inconclusive"),
        ("non_inferior", 0.05, 0.0, "supported"),
        ("non_inferior", 0.05, 0.2, "supported"),
        ("non_inferior", 0.05, -0.1, "contradicted"),
        ("non_inferior", 0.05, -0.05, "inconclusive"),
        ("equivalent", 0.05, 0.0, "supported"),
        ("equivalent", 0.05, 0.1, "contradicted"),
        ("equivalent", 0.05, -0.1, "contradicted"),
        ("equivalent", 0.05, 0.05, "inconclusive"),
    ],
)
def test_planted_differences(kind, margin, difference, expected):
    frame = runs({("cnn", "a"): 0, ("cnn", "b"): difference})
    found = verdict(frame, kind=kind, margin=margin, **PAIR)
    assert found.result == expected
    (cell,) = found.cells
    assert cell.interval.n == 8
    assert abs(cell.interval.estimate - difference) < 0.02


def test_cells_that_disagree_make_it_conditional():
    frame = runs({("cnn", "a"): 0, ("cnn", "b"): 0.1, ("vit", "a"): 0, ("vit", "b"): -0.1})
    found = verdict(frame, kind="superior", over=["arch"], **PAIR)
    assert found.result == "conditional"
    assert [(cell.name, cell.result) for cell in found.cells] == [
        ("cnn: b > a", "supported"),
        ("vit: b > a", "contradicted"),
    ]


@pytest.mark.parametrize("results", itertools.product(["supported", "contradicted", "inconclusive"], repeat=3))
def test_combination(results):
    found = combined(results)
    if len(set(results)) == 1:
        assert found == results[0]
    else:
        assert found == ("conditional" if {"supported", "contradicted"} <= set(results) else "inconclusive")


def test_a_diverged_run_decides_nothing_unless_the_rule_says_what_it_counts():
    frame = runs({("cnn", "a"): 0, ("cnn", "b"): 0.1})
    lost = (frame.norm == "a") & (frame.seed == 3)
    frame.loc[lost, "status"], frame.loc[lost, "test_accuracy"] = "diverged", math.nan
    found = verdict(frame, kind="superior", **PAIR)
    assert (found.result, found.cells[0].lost, found.cells[0].interval.n) == ("inconclusive", 1, 7)
    found = verdict(frame, kind="superior", diverged_as=0.1, **PAIR)
    assert (found.result, found.cells[0].lost, found.cells[0].interval.n) == ("supported", 0, 8)


def test_a_missing_seed_leaves_the_others_paired():
    frame = runs({("cnn", "a"): 0, ("cnn", "b"): 0.1})
    frame = frame[~((frame.norm == "b") & (frame.seed == 2))]
    found = verdict(frame, kind="superior", **PAIR)
    assert (found.result, found.cells[0].interval.n) == ("supported", 7)


def test_four_seeds_decide_nothing():
    found = verdict(runs({("cnn", "a"): 0, ("cnn", "b"): 0.5}, seeds=4), kind="superior", **PAIR)
    assert (found.result, found.cells[0].interval.n) == ("inconclusive", 4)


def test_nothing_to_judge_is_untested():
    frame = runs({("cnn", "a"): 0}, seeds=1)
    assert verdict(frame, kind="superior", **PAIR).result == "untested"
    assert verdict(frame, kind="within", metric="nothing", low=0, high=1).result == "untested"


def test_exact_numbers():
    frame = pd.DataFrame({"norm": ["a", "b", "b"], "seed": 0, "status": "finished", "ratio": [1.0, 1.005, 0.995]})
    near = {"kind": "within", "metric": "ratio", "low": 0.99, "high": 1.01}
    assert verdict(frame, **near).result == "supported"
    assert verdict(frame, **(near | {"low": 1.0})).result == "conditional"
    assert verdict(frame, **(near | {"low": 1.1, "high": 2})).result == "contradicted"
    assert verdict(frame, **(near | {"low": 1.0, "where": {"norm": "a"}})).result == "supported"


def test_a_miss_counts_as_the_horizon():
    frame = runs({("cnn", "a"): 0, ("cnn", "b"): 0})
    frame["epochs_to.0.7"] = np.where(frame.norm == "a", 2.0 + frame.seed % 2, np.inf)
    rule = {"kind": "superior", "metric": "epochs_to.0.7", "horizon": 10, "margin": 5.0}
    found = verdict(frame, **rule, **PAIR)
    assert found.result == "supported"
    assert found.cells[0].interval.estimate == pytest.approx(7.5)


def test_many_claims_without_any_truth_are_rarely_decided():
    """Six superiority claims, 150 studies: at most 5% of the studies decide one, within the binomial margin."""
    claims = [
        check(Claim, {"id": norm, "statement": "", "rules": [{"kind": "superior", **PAIR, "first": {"norm": norm}}]})
        for norm in "bcdefg"
    ]
    wrong = 0
    for study in range(150):
        frame = runs({("cnn", norm): 0 for norm in "abcdefg"}, seeds=5, seed=study)
        found = judge(claims, {"all": frame, "common": frame, "best": frame})
        wrong += any(one.result != "inconclusive" for one in found)
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
