"""What was found, in words: every number comes from the records."""

import re
from pathlib import Path

import pandas as pd
import pytest

from normlab.config import check
from normlab.errors import ConfigError
from normlab.report import study, tables
from normlab.report.findings import find, number, points, sections, with_findings
from normlab.report.study import Plan, Study
from normlab.verdicts import Claim, judge

TOLD = [name for name in study.names() if sections(name)]
TYPED = re.compile(r"\d+[.,]\d+|\d+ ?%|\d+ (?:points|times)")  # a result, typed by hand
ALLOWED = re.compile(r"\{\{.*?\}\}|\[[^\]]*\]|\(u - 0\.5\)/0\.5")


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
    one = Study("one", plan, (), pd.DataFrame(), 0)
    (found,) = with_findings(one, judged, tmp_path)
    assert found.claim.instead == "b gains 3.1 points, holds."
    assert found.cells == judged[0].cells
    (other,) = with_findings(Study("one", plan, (), pd.DataFrame(), 0, overrides=("seed=1",)), judged, tmp_path)
    assert other.claim.instead == ""
    (kept,) = with_findings(Study("two", plan, (), pd.DataFrame(), 0), judged, tmp_path)
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


@pytest.mark.parametrize("name", TOLD)
def test_no_result_is_typed_by_hand(name):
    for text in sections(name).values():
        assert TYPED.findall(ALLOWED.sub("", text)) == []


@pytest.mark.parametrize("name", TOLD)
def test_the_findings_of_a_study_are_told_from_its_committed_records(name):
    found = study.load(name, Path("runs"), Path("results") / name)
    by_rate = {"measured": found.measurements, **tables.at_rates(found)}
    told = with_findings(found, judge(found.plan.claims, by_rate, found.plan.margin))
    said = {verdict.claim.id: verdict.claim.instead for verdict in told if verdict.claim.id in sections(name)}
    assert all(said.values())
    assert not any("{{" in text or "nan" in text for text in said.values())
    assert not any(claim.instead for claim in found.plan.claims)  # in one place only
