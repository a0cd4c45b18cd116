"""What git keeps of results/: few files, small, and no link that leads to what a clone has not."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from normlab import tables
from normlab.commandline.grid import load
from normlab.report.document import FIGURES
from normlab.report.study import plan

ROOT = Path(__file__).parents[2]
KEPT = {"README.md", "verdicts.json", "measurements.jsonl", "records.jsonl", "runs.txt", "curves.csv.gz"}
LINK = re.compile(r"\]\((?P<target>[^)\s]+)\)")


@pytest.fixture(scope="module")
def kept():
    """The files of results/ that git keeps."""
    if not (ROOT / ".git").exists() or shutil.which("git") is None:
        pytest.skip("no checkout of git")
    listed = subprocess.run(["git", "ls-files", "-z", "results"], cwd=ROOT, capture_output=True, text=True, check=True)
    return [ROOT / name for name in listed.stdout.split("\0") if name]


def test_results_are_small(kept):
    assert sum(path.stat().st_size for path in kept) < 12e6


def test_a_study_keeps_its_records_its_page_and_two_figures(kept):
    studies = {path.parent for path in kept if path.name in ("runs.txt", "measurements.jsonl")}
    assert len(studies) > 40
    for study in studies:
        own = [path for path in kept if path.is_relative_to(study)]
        pictures = {path.name for path in own if path.suffix == ".png"}
        assert {path.name for path in own} - pictures <= KEPT
        assert "README.md" in {path.name for path in own}
        assert len(pictures) <= FIGURES
        shown = set(re.findall(r"!\[[^\]]*\]\(([^)]+)\)", (study / "README.md").read_text()))
        assert shown == pictures


def test_pages_link_to_what_is_kept(kept):
    there = {*kept, *(ROOT / "experiments").rglob("*"), *(ROOT / "replication").rglob("*")}
    for page in [path for path in kept if path.suffix == ".md"]:
        for link in LINK.finditer(page.read_text()):
            target = link["target"].partition("#")[0]
            if target and "://" not in target:
                assert (page.parent / target).resolve() in there, f"{page.relative_to(ROOT)}: {target}"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["input_ranges", "descent_steps"])
def test_committed_pages_follow_from_committed_records(name, tmp_path, monkeypatch):
    """A study of runs and one of measurements; .ci/rebuild does the same with all."""
    monkeypatch.setenv("NORMLAB_DATA", str(tmp_path / "no data"))
    for file in (ROOT / "results").glob("*/*"):
        if file.name in KEPT - {"README.md", "verdicts.json"}:
            (tmp_path / file.parent.name).mkdir(exist_ok=True)
            shutil.copy(file, tmp_path / file.parent.name)
    tables.make(name, tmp_path / "no runs", tmp_path, [], draw=False)
    for file in KEPT:
        committed = ROOT / "results" / name / file
        if committed.is_file():
            assert (tmp_path / name / file).read_bytes() == committed.read_bytes(), file


@pytest.mark.slow
def test_a_study_that_was_confirmed_misses_none_of_the_runs_that_chose_its_rates(kept):
    """Rounded records must not send a search for rates to other rates than those that were run."""
    results, searched = ROOT / "results", 0
    for name in {path.parent.name for path in kept if path.name == "runs.txt"}:
        if plan(name).rates is None:
            continue
        study = load(name, ROOT / "no runs here", results / name)
        if study.confirms.any():
            searched += 1
            assert (name, study.missing) == (name, 0)
    assert searched >= 3
