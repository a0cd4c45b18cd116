"""Rules as they are read: every form, what it means, and what is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from normlab.config import check, studies
from normlab.errors import ConfigError
from normlab.report import study
from normlab.verdicts.language import parse, write
from normlab.verdicts.rules import Claim

A, B = {"norm": "unit"}, {"norm": "raw"}
BATCH = {"norm": "raw", "config.arch.internal_norm": "batch"}


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("unit > raw", {"kind": "superior", "first": A, "second": B}),
        ("unit > raw + 0.02", {"kind": "superior", "first": A, "second": B, "margin": 0.02}),
        ("unit > raw +2e-2", {"kind": "superior", "first": A, "second": B, "margin": 0.02}),
        ("unit > raw - 0.02", {"kind": "non_inferior", "first": A, "second": B, "margin": 0.02}),
        ("unit > raw -0.02", {"kind": "non_inferior", "first": A, "second": B, "margin": 0.02}),
        ("unit = raw ± 0.02", {"kind": "equivalent", "first": A, "second": B, "margin": 0.02}),
        ("unit = raw +- 0.02", {"kind": "equivalent", "first": A, "second": B, "margin": 0.02}),
        ("2 < unit / raw < 10", {"kind": "between", "first": A, "second": B, "low": 2, "high": 10, "ratio": True}),
        ("unit / raw > 2", {"kind": "between", "first": A, "second": B, "low": 2, "ratio": True}),
        ("-1 < unit - raw < 3", {"kind": "between", "first": A, "second": B, "low": -1, "high": 3}),
        (
            "(unit - raw | optim=adam) > (unit - raw | optim=sgd, augment=none) + 0.1",
            {"kind": "interaction", "first": A, "second": B, "margin": 0.1, "under": {"optim": "adam"},
             "than": {"optim": "sgd", "config.augment.name": "none"}},
        ),
        ("0 <= failed <= 0.5", {"kind": "within", "metric": "failed", "low": 0, "high": 0.5}),
        ("failed = 1", {"kind": "within", "metric": "failed", "low": 1, "high": 1}),
        ("mean = 0 ± 1e-6", {"kind": "within", "metric": "mean", "low": -1e-6, "high": 1e-6}),
        ("-0.1 <= interval of gap <= 1", {"kind": "estimated", "metric": "gap", "low": -0.1, "high": 1}),
        (
            'gap = 0 from gaps[norm=raw, pair="x/2 - 1, [u]"] for each data, arch of cnn, vit',
            {"kind": "within", "metric": "gap", "low": 0, "high": 0, "at": "measured", "over": ["data", "arch"],
             "among": {"arch": ["cnn", "vit"]}, "where": {"call": "gaps", "norm": "raw", "pair": "x/2 - 1, [u]"}},
        ),
        ("failed = 1 for raw", {"kind": "within", "metric": "failed", "low": 1, "high": 1, "where": B}),
        (
            "raw[arch.internal_norm=batch] > [norm.std=0.25] in epochs_to.0.3 up to 10 at best diverged as 0.1",
            {"kind": "superior", "first": BATCH, "second": {"config.norm.std": "0.25"},
             "metric": "epochs_to.0.3", "horizon": 10, "at": "best", "diverged_as": 0.1},
        ),
    ],
)  # fmt: skip
def test_a_rule_is_read_and_written(text, fields):
    assert parse(text) == fields
    assert parse(write(fields)) == fields


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("unit", "at its end: expected > or ="),
        ("unit / raw < 2", "at '<': expected >"),
        ("unit > ", "at its end: expected a scheme"),
        ("unit < raw", "at '<': expected > or ="),
        ("unit = raw", "at its end: expected ± or"),
        ("2 < unit * raw < 3", "cannot read '\\* raw < 3'"),
        ("2 < unit / raw", "at its end: expected <"),
        ("unit > raw at best at common", "'at' does not belong here, or stands twice"),
        ("unit > raw from spreads", "'from' does not belong here"),
        ("unit > raw[norm]", r"cannot read the condition 'norm', expected key=value"),
        ("(unit - raw | a=1) > (raw - unit | a=2)", "the same difference"),
        ("(unit - raw | a=1) > (unit - raw | a=2) - 1", "is added, not subtracted"),
        ("unit > raw + big", "at 'big': expected a number"),
        ("unit > raw for each", "expected a name"),
        ("raw[optim=sgd, optim=adam] > unit", "optim is given twice"),
        ("raw[norm=unit] > dataset", "norm is given twice"),
        ("(unit - raw | a=1, a=2) > (unit - raw | a=3)", "a is given twice"),
        ("(unit - raw | norm=zca) > (unit - raw | a=3)", "norm is given twice"),
    ],
)
def test_what_is_no_rule_is_refused_where_it_goes_wrong(text, message):
    with pytest.raises(ConfigError, match=message):
        parse(text)
    with pytest.raises(ConfigError, match="claim X: rule"):
        check(Claim, {"id": "X", "rules": [text]})


@pytest.mark.parametrize(
    "text",
    ["0.05 < unit - raw < 0.01", "1 < unit - raw < 1", "-1 < unit / raw < 2", "5 <= failed <= 3", "failed = 0.5 ± -0.1",
     "1 <= interval of gap <= 0"],
)  # fmt: skip
def test_bounds_between_which_nothing_lies_are_refused_before_the_runs(text):
    with pytest.raises(ConfigError, match=r"no number lies between|positive bounds"):
        check(Claim, {"id": "X", "rules": [text]})


VALUES = st.text("ab1.-_ /'", min_size=1, max_size=6).filter(lambda text: text == text.strip())
NUMBERS = st.floats(-1e6, 1e6).map(lambda number: float(f"{number:.12g}"))


@given(VALUES, VALUES, VALUES, NUMBERS.filter(bool), NUMBERS)
def test_any_names_and_numbers_come_back(one, two, third, margin, low):
    sides = {"first": {"norm": "unit", "key": one}, "second": {"norm": "raw"}}
    shift = {"kind": "superior", "margin": margin} if margin > 0 else {"kind": "non_inferior", "margin": -margin}
    cells = {"over": ["data"], "among": {"data": [one, two]}}
    gains = {"kind": "interaction", **sides, "under": {"key2": two}, "than": {"key2": third}}
    for fields in ({**shift, **sides, **cells}, gains, {"kind": "between", **sides, "low": low, "high": 2e6}):
        assert parse(write(fields)) == fields


def test_what_stands_once_goes_to_every_rule():
    claim = check(
        Claim,
        {"id": "X", "at": ["common", "best"], "over": ["data.root"], "chance": 0.1,
         "rules": ["unit > raw", "unit > raw in diverged", "gap = 0 from gaps for each data"]},
    )  # fmt: skip
    assert [rule.at for rule in claim.rules] == ["common", "common", "measured", "best", "best"]
    assert [rule.diverged_as for rule in claim.rules[:3]] == [0.1, None, None]
    assert [rule.over for rule in claim.rules[:3]] == [("config.data.root",)] * 2 + [("data",)]
    own = check(Claim, {"id": "X", "chance": 0.1, "rules": ["unit > raw diverged as 0.5"]})
    assert own.rules[0].diverged_as == 0.5
    # A rule's own factors divide the cells of the claim further; they do not take the place of the claim's.
    (both,) = check(Claim, {"id": "X", "over": ["optim"], "rules": ["a > b for each arch of cnn"]}).rules
    assert (both.over, both.among) == (("optim", "arch"), {"arch": ("cnn",)})


def test_every_rule_of_every_study_can_be_written_and_read_again():
    rules = [rule for name in studies() for claim in study.plan(name).claims for rule in claim.rules]
    assert len(rules) > 200
    for rule in rules:
        again = type(rule)(**parse(write(rule.model_dump()))).model_dump()
        known = rule.model_dump()
        assert again.keys() == known.keys()
        for name, value in known.items():  # 0.0825 + 0.00005 and the text 0.08255 are two floats
            assert again[name] == (pytest.approx(value, rel=1e-12) if isinstance(value, float) else value)
