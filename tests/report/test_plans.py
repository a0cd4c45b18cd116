"""The log of plans, on a planted repository whose deviations are known, and on this one."""

import json
import re
import subprocess

import pytest

from normlab.config import EXPERIMENTS
from normlab.errors import DataError
from normlab.report import plans
from normlab.report.plans import Deviation, code_parts, deviations, is_shallow, plan_parts, read_log

STUDY = """
experiment:
  question: Which?
  budget: minutes
  grid: {norm: 'raw,unit', seed: 'range(0,5)'}
  margin: %s
  claims:
    - id: X1
      instead: %s
      rules: ["%s"]
"""


def git(root, *arguments):
    who = ["-c", "user.name=n", "-c", "user.email=e@example.org", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", "-C", root, *who, *arguments], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def commit(root, **files):
    for name, text in files.items():
        path = root / {"study": "experiments/one/study.yaml", "code": "normlab/verdicts/judge.py"}[name]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    git(root, "add", "-A")
    git(root, "commit", "-q", "--allow-empty", "-m", "x")
    return git(root, "rev-parse", "HEAD")


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A plan, code, then records of the second commit; the name of the one study is planted too."""
    git(tmp_path, "init", "-q")
    monkeypatch.setattr(plans, "studies", lambda: ["one"])
    commit(tmp_path, study=STUDY % (0.01, "nothing", "unit > raw"), code="ALPHA = 0.05\n")
    made_at = commit(tmp_path)
    (tmp_path / "results/one").mkdir(parents=True)
    config = {group: {"name": name} for group, name in (("data", "digits"), ("norm", "unit"), ("arch", "cnn"))}
    record = {"fingerprint": "0123456789ab", "status": "finished", "config": config, "provenance": "made"}
    lines = [json.dumps(line) for line in ({"made": {"commit": made_at}}, record)]
    (tmp_path / "results/one/records.jsonl").write_text("\n".join(lines) + "\n")
    (tmp_path / "results/one/runs.txt").write_text("0123456789ab\n")
    return tmp_path


def test_a_plan_before_its_records_needs_no_entry(repository):
    log = read_log(repository)
    assert log.missing([]) == []
    assert log.fixed("one").place == 0
    assert [commit for _, commit in log.records["one"]] == [git(repository, "rev-parse", "HEAD")]


def test_other_words_are_the_same_plan(repository):
    mapping = "{kind: superior, first: {norm: unit}, second: {norm: raw}}"
    text = (STUDY % (0.01, "Raw is 3 points worse.", "unit > raw")).replace('"unit > raw"', mapping)
    commit(repository, study=text, code='"""Now told."""\n\n# one for all\nALPHA  =  0.05\n')
    assert read_log(repository).missing([]) == []


@pytest.mark.parametrize(
    ("margin", "rule", "changed"), [(0.02, "unit > raw", "margin"), (0.01, "unit > raw - 0.1", "rules of X1")]
)
@pytest.mark.parametrize("committed", [True, False])
def test_a_plan_that_is_newer_than_its_records_needs_an_entry(repository, margin, rule, changed, committed):
    text = STUDY % (margin, "nothing", rule)
    if committed:
        commit(repository, study=text)
    else:
        (repository / "experiments/one/study.yaml").write_text(text)
    log = read_log(repository)
    (line,) = log.missing([])
    digest = log.plans["one"][-1].digest
    assert f"plans: {{one: '{digest}'}}, {changed}" in line
    entry = Deviation(date="2026-01-01", changed="c", seen="s", plans={"one": digest})
    assert log.missing([entry]) == []
    assert log.missing([entry.model_copy(update={"plans": {"one": "other"}})]) == [line]
    # Taken back it is the plan of the first commit again, but the change stays in the log.
    commit(repository, study=STUDY % (0.01, "nothing", "unit > raw"))
    log = read_log(repository)
    assert log.fixed("one").place == 0
    assert len(log.missing([])) == 2 * committed


def test_code_that_is_newer_than_records_needs_an_entry(repository):
    commit(repository, code="ALPHA = 0.1\n")
    log = read_log(repository)
    digest = log.code["normlab/verdicts/judge.py"][-1].digest
    (line,) = log.missing([])
    assert f"code: {{normlab/verdicts/judge.py: '{digest}'}}" in line
    assert (
        log.missing([Deviation(date="2026-01-01", changed="c", seen="s", code={"normlab/verdicts/judge.py": digest})])
        == []
    )


def test_a_shallow_clone_says_so(repository, tmp_path):
    clone = tmp_path / "clone"
    git(repository, "clone", "-q", "--depth", "1", f"file://{repository}", str(clone))
    assert is_shallow(clone)
    assert not is_shallow(repository)
    with pytest.raises(DataError, match="a shallow clone fetches it"):
        read_log(clone)


def test_what_code_and_plans_say():
    assert code_parts('def f():\n    "Says."\n    return 1  # one\n') == code_parts("def f():\n    return 1\n")
    assert code_parts('x = "a # b"\n') != code_parts('x = "a"\n')
    assert code_parts("if a:\n    x()\n    y()\n") != code_parts("if a:\n    x()\ny()\n")  # what hangs on the condition
    assert code_parts("x = a\n-b\n") != code_parts("x = a - b\n")
    wrapped = "if a:\n  x(\n      1,\n    2)\n  # then\n\n  y()\n"
    assert code_parts(wrapped) == code_parts("if a:\n    x(1, 2)\n    y()\n")
    assert plan_parts(STUDY % (0.01, "a", "unit > raw")) == plan_parts(STUDY % (0.01, "b", "unit  >  raw"))
    assert plan_parts("experiment: {old: key, margin: 0.1}")["margin"] == "0.1"
    plain = STUDY % (0.01, "a", "unit > raw")
    for added in ("rates: {around: [{lr: 0.1}]}", "sensitivity: {confirm: [1, 3], changes: {wide: {arch.width: 8}}}"):
        (changed,) = plan_parts(f"{plain}  {added}\n").items() - plan_parts(plain).items()
        assert added.startswith(changed[0])


@pytest.mark.slow
def test_every_deviation_of_this_repository_has_an_entry():
    """It fails if a rule, a margin, the level or the decision code is newer than the records that it judges."""
    if is_shallow():
        pytest.skip("the history is not here: a shallow clone, or no repository")
    assert read_log().missing(deviations()) == []


def test_a_study_that_says_it_was_planned_before_its_runs_names_later_changes():
    log = (EXPERIMENTS / "PLANS.md").read_text()
    changed = re.findall(r"^\| (\w+) \| \w+ [\d-]+ \| \w+ \| \d+ \|$", log, re.MULTILINE)
    assert changed
    for name in changed:
        text = (EXPERIMENTS / name / "README.md").read_text()
        if re.search(r"before (the|its|their) (first )?runs?\b", text):
            assert "](../PLANS.md)" in text, name
