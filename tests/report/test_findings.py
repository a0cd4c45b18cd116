"""What was found, in words: every number comes from the records."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from normlab.commandline.grid import load
from normlab.config import check, studies
from normlab.errors import ConfigError
from normlab.report import study
from normlab.report.findings import (
    accuracy_at,
    average,
    find,
    number,
    points,
    say,
    sections,
    span,
    vocabulary,
    with_findings,
)
from normlab.report.numbers import Numbers
from normlab.report.study import Plan, Study
from normlab.verdicts import Claim, judge

TOLD = [name for name in studies() if sections(name)]
NAMES = "CIFAR-10|co2|ResNet-50|16x16|8 bits|[12]/lambda_max|2 \\(1 \\+ momentum\\)|EfficientNet-Lite0"
NAMES += r"|\b[A-Z]{1,2}[0-9]{1,2}[a-d]?\b|float32"  # claims by their ids
FORMULAS = r"\(u - 0\.5\)/0\.5|x/255|x[12]\b|delta\^2|x\^2|\(I - 1 p'\)|m and 1 - m|[Ss]ubtracting 0\.5"
ALLOWED = re.compile(
    rf"\{{\{{.*?\}}\}}|\[[-\d., ]*\]|{FORMULAS}|{NAMES}"
)  # looked up, a range of inputs, a formula, a name


@pytest.fixture
def judged():
    rows = [
        {"norm": norm, "arch": arch, "seed": s, "status": "finished", "test_accuracy": 0.5 + gain + 0.001 * (s % 2)}
        for (norm, gain) in (("a", 0.0), ("b", 0.031), ("c", 0.0))
        for arch in ("cnn", "vit")
        for s in range(6)
    ]
    claim = check(Claim, {"id": "X", "over": ["arch"], "rules": ["b > a", "c = a ± 0.01"], "instead": "typed"})
    return judge([claim], {"all": pd.DataFrame(rows)})


def test_numbers_are_those_of_the_cells(judged, tmp_path):
    (tmp_path / "one").mkdir()
    text = '# Found\n\n## X\nb gains {{ points("X", "b - a",\narch="cnn") }}, {{ result("X", "b - a", arch="vit") }}.\n'
    (tmp_path / "one/findings.md").write_text(text)
    plan = check(Plan, {"question": "", "budget": ""})
    one = Study("one", plan, (), 0)
    (found,) = with_findings(one, judged, tmp_path)
    assert found.claim.instead == "b gains 3.1 points, holds."
    assert found.cells == judged[0].cells
    (other,) = with_findings(Study("one", plan, (), 0, overrides=("seed=1",)), judged, tmp_path)
    assert other.claim.instead == ""
    (kept,) = with_findings(Study("two", plan, (), 0), judged, tmp_path)
    assert kept.claim.instead == "typed"
    for wrong, message in (
        ('## X\n{{ points("X", "b - a") }}\n', "X has 2 cells for 'b - a'"),
        ("## Y\nsome\n", "no claim Y"),
        ("## X\n{{ wrong }}\n", "'wrong' is undefined"),
    ):
        (tmp_path / "one/findings.md").write_text(wrong)
        with pytest.raises(ConfigError, match=message):
            with_findings(one, judged, tmp_path)


def test_forms_of_a_number(judged):
    cell = find({"X": judged[0]}, "X", "b - a", arch="cnn")
    assert (points(cell, sign=True), number(cell, 3)) == ("+3.1 points", "0.031")
    # What lies between the ends of a range is no estimate, and no interval.
    spread = replace(cell, interval=replace(cell.interval, estimate=2.0, low=1.0, high=4.0), covers="range")
    assert (number(spread), number(replace(spread, covers="seeds"))) == ("1 to 4", "2 (1 to 4)")


@pytest.mark.slow
def test_where_runs_are_missing_the_words_say_it(judged):
    none = Study("one", check(Plan, {"question": "", "budget": ""}), (), 5)
    text = 'b gains {{ points("X", "b - a", arch="cnn") }}.'
    assert say(none, vocabulary(none, judged), text) == "Nothing is said yet: 5 of the grid's 5 runs are missing."
    whole = load("unit_range", Path("runs"), Path("results/unit_range"))
    part = replace(whole, stored=whole.stored[:5], expected=7)
    assert say(part, vocabulary(part, judged), text) == "b gains 3.1 points. (2 of the grid's 7 runs are missing.)"
    absent = '{{ accuracy_at("dataset", 0.5) }}'
    assert say(part, vocabulary(part, judged), absent) == "Nothing is said yet: 2 of the grid's 7 runs are missing."
    with pytest.raises(ConfigError, match="0 runs"):
        say(replace(part, expected=5), vocabulary(part, judged), absent)


def test_measured_numbers_are_looked_up():
    rows = [
        {"data": data, "share": share} for data, share in (("a", 0.206), ("a", 0.7719), ("b", 4.6e-6), ("c", -16094.0))
    ]
    entry = {"measure": "some", "rows": rows, "provenance": {}}
    found = Study("one", check(Plan, {"question": "", "budget": ""}), (), 0, (entry,))
    assert span(found, "share", scale=100, data="a") == "21 to 77"
    assert span(found, "share", data="b") == "4.6e-6"
    assert span(found, "share", digits=5, data=["b", "c"]) == "-16,094 to 4.6e-6"
    assert average(found, "share", digits=3, data="a") == "0.489"
    for wrong in ({"column": "other"}, {"column": "share", "place": "a"}, {"column": "share", "data": "z"}):
        with pytest.raises(ConfigError, match=r"no column|no measured"):
            span(found, **wrong)


@pytest.mark.slow
def test_numbers_of_runs_are_looked_up():
    found = load("activations", Path("runs"), Path("results/activations"))
    runs = found.runs
    chosen = runs[(runs.norm == "unit") & (runs["config.arch.activation"] == "tanh") & (runs.lr == 0.03)].test_accuracy
    deviation = (((chosen - chosen.mean()) ** 2).sum() / (len(chosen) - 1)) ** 0.5
    expected = f"{100 * chosen.mean():.1f}% +- {100 * deviation:.1f} over {len(chosen)} seeds"
    assert accuracy_at(found, "unit", 0.03, activation="tanh") == expected
    with pytest.raises(ConfigError, match="no factor arch"):
        accuracy_at(found, "unit", 0.03, arch="cnn")
    with pytest.raises(ConfigError, match="0 runs"):
        accuracy_at(found, "unit", 0.5)
    conditions = Numbers([(found, [])]).conditions("activations")
    assert conditions == "cnn, init he, sgd, constant rate, 2,000 training images, 10 epochs"


def typed(text):
    """The numerals of a template that are not looked up."""
    return re.findall(r"\d[\d.,]*", ALLOWED.sub("", text))


@pytest.mark.parametrize("name", studies())
def test_no_result_is_typed_by_hand(name):
    assert {id_: typed(text) for id_, text in sections(name).items() if typed(text)} == {}
    assert [claim.id for claim in study.plan(name).claims if claim.instead] == []  # what was found is in findings.md


def test_a_typed_result_is_seen():
    assert typed("CIFAR-10 gains 3.8 points, [0, 1] {{ f(0.5) }}, 13 times") == ["3.8", "13"]


@pytest.mark.parametrize("name", TOLD)
def test_the_findings_of_a_study_are_told_in_its_committed_verdicts(name):
    """Which .ci/rebuild makes again from the records and compares, byte by byte."""
    committed = json.loads((Path("results") / name / "verdicts.json").read_text())
    said = {verdict["id"]: verdict["instead"] for verdict in committed if verdict["id"] in sections(name)}
    assert set(said) == set(sections(name))
    assert all(said.values())
    assert not any("{{" in text or "nan" in text or "Nothing is said" in text for text in said.values())
