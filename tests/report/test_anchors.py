"""The table of anchors, on planted measurements."""

import pytest

from normlab.errors import ConfigError
from normlab.report import anchors, study
from normlab.report.study import Plan, Study
from normlab.verdicts import judge


@pytest.fixture
def planted(tmp_path):
    """A study with three anchors: one within, one not, one that is not measured."""
    claims = [
        {"id": "X1", "statement": "a", "rules": ["value = 0.5 ± 0.1 from one[kind=near]"]},
        {"id": "X2", "statement": "b", "rules": ["value = 0.5 ± 0.1 from one[kind=far]"]},
        {"id": "X3", "statement": "c", "rules": ["value = 0.5 ± 0.1 from other[scaling=unit]"]},
    ]
    plan = Plan(question="?", measure=["one", "other"], budget="none", claims=claims)
    rows = [{"kind": "near", "value": 0.55}, {"kind": "far", "value": 0.75}]
    planned = Study("planted", plan, (), 0, ({"measure": "one", "with": {}, "rows": rows, "provenance": {}},))
    (tmp_path / "planted").mkdir()
    for claim, kind in (("X1", "near"), ("X2", "far"), ("X3", "none")):
        with (tmp_path / "planted" / "published.yaml").open("a") as file:
            file.write(f"{claim}:\n  published: '0.5'\n  spread: within 0.1\n  source: a paper\n")
            file.write(f'  ours: \'{{{{ measured("value", kind="{kind}") }}}}\'\n')
    return planned, judge(plan.claims, {"measured": planned.measurements}), tmp_path


def cells(text):
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()]


def test_each_anchor_stands_beside_ours_with_the_answer(planted):
    planned, verdicts, folder = planted
    summary, _, *lines = anchors.table(planned, verdicts, folder).splitlines()
    assert summary == "Within the bounds: 1 of 3. Not: X2. Open: X3."
    _, _, *rows = cells("\n".join(lines))
    assert rows == [
        ["X1", "0.5", "0.55", "yes", "within 0.1", "a paper"],
        ["X2", "0.5", "0.75", "no", "within 0.1", "a paper"],
        ["X3", "0.5", "-", "not measured yet", "within 0.1", "a paper"],
    ]
    short = cells(anchors.table(planned, verdicts, folder, short=True).partition("\n\n")[2])
    assert short[0] == ["anchor", "published", "ours", "within the bounds set beforehand?"]
    assert [row[:4] for row in rows] == short[2:]


def test_what_is_no_anchor_is_refused(planted):
    planned, verdicts, folder = planted
    assert anchors.table(Study("bare", planned.plan, (), 0), verdicts, folder) == ""
    with pytest.raises(ConfigError, match="no claim X3"):
        anchors.table(planned, verdicts[:2], folder)
    (folder / "planted" / "published.yaml").write_text("X1: {published: a, spread: b, ours: c}\n")
    with pytest.raises(ConfigError, match="source"):
        anchors.anchors("planted", folder)


def test_every_anchor_of_the_study_is_a_claim_and_the_other_way_round():
    assert list(anchors.anchors("anchors")) == [claim.id for claim in study.plan("anchors").claims]
