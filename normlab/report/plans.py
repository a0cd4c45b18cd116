"""The log of plans: when each study's plan was fixed, when its first record was made, and what was changed after.

Made from git. The plan of a study is its question, grid, seeds, choices and rules, however they are written: of a file
that says the same in other words the plan is the same. The decision code is what normlab/verdicts and
normlab/statistics compute, without comments and docstrings. A change of either after records existed has an entry in
experiments/deviations.yaml, which names the plan or the code by the hash that it has after the change.
"""

from __future__ import annotations

import ast
import datetime
import hashlib
import io
import json
import subprocess
import tokenize
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field

from normlab.config import EXPERIMENTS, ROOT, Section, check, studies
from normlab.errors import ConfigError, DataError
from normlab.files import write_whole
from normlab.record import store
from normlab.report.study import Plan, measurements
from normlab.verdicts.language import write

CODE = ("normlab/verdicts", "normlab/statistics")
FIXED = ("question", "grid", "confirm", "reference", "target", "common_lr", "learns", "margin")
HERE = "not committed"  # the working tree, after the last commit


class Deviation(Section):
    """An entry of experiments/deviations.yaml."""

    date: datetime.date
    changed: str  # what
    seen: str  # of the records, when it was changed
    plans: dict[str, str] = Field(default_factory=dict)  # of these studies, with the hash of the plan after the change
    code: dict[str, str] = Field(default_factory=dict)  # of these files, with the hash of the code after the change
    commit: str = ""  # where it can be named


@dataclass(frozen=True)
class Version:
    """A state of a plan or of a file.

    Attributes:
        commit: that made it, or :data:`HERE`.
        place: of the commit in the order of history.
        date: of the commit.
        digest: of what it says.
        changed: the parts that differ from the version before.
        before: commits of records that were made before it.
    """

    commit: str
    place: int
    date: str
    digest: str
    changed: tuple[str, ...] = ()
    before: int = 0


@dataclass(frozen=True)
class Log:
    """The versions of every study's plan and of the decision code, oldest first, with the records' commits."""

    plans: dict[str, list[Version]]
    code: dict[str, list[Version]]
    records: dict[str, list[tuple[int, str]]]  # of each study: place and commit of its records, sorted

    def fixed(self, study: str) -> Version:
        """The version from which on a study's plan says what it says today."""
        return _since_when(self.plans[study])

    def missing(self, entries: Iterable[Deviation]) -> list[str]:
        """What is newer than the records that it decides on, and has no entry."""
        noted = list(entries)
        plans = {(study, digest) for entry in noted for study, digest in entry.plans.items()}
        code = {(file, digest) for entry in noted for file, digest in entry.code.items()}
        lines = [
            f"{version.commit[:7]} {version.date}: plans: {{{study}: '{version.digest}'}}, {', '.join(version.changed)}"
            for study, versions in self.plans.items()
            for version in versions
            if version.before and (study, version.digest) not in plans
        ]
        for file, versions in self.code.items():
            now = _since_when(versions)
            if now.before and (file, now.digest) not in code:
                lines.append(f"{now.commit[:7]} {now.date}: code: {{{file}: '{now.digest}'}}")
        return lines


def is_shallow(root: Path = ROOT) -> bool:
    """Whether the history is not here: a shallow clone, or no repository at all."""
    try:
        return _git(root, "rev-parse", "--is-shallow-repository").strip() != "false"
    except DataError:
        return True


def deviations(path: Path = EXPERIMENTS / "deviations.yaml") -> list[Deviation]:
    """The entries, oldest first."""
    content = yaml.safe_load(path.read_text()) or []
    found = [check(Deviation, entry, prefix=f"{path.name}: ") for entry in content]
    return sorted(found, key=lambda entry: entry.date)


def read_log(root: Path = ROOT, results: Path | None = None) -> Log:
    """The log of all studies, from the history of a repository and the records in its results.

    Raises:
        DataError: if the history is not here.
    """
    if is_shallow(root):
        raise DataError(
            "the log of plans is made from the history of git, which is not here: a shallow clone fetches it by git "
            "fetch --unshallow, an installed package has none"
        )
    lines = _git(root, "log", "--topo-order", "--reverse", "--format=%H %cs").splitlines()
    place = {line.split()[0]: at for at, line in enumerate(lines)}
    dates = [line.split()[1] for line in lines]
    records = {name: _record_commits((results or root / "results") / name, place) for name in studies()}
    every = sorted(at for found in records.values() for at, _ in found)
    paths = {name: f"experiments/{name}/study.yaml" for name in studies()}
    code = [str(file.relative_to(root)) for part in CODE for file in sorted((root / part).glob("[!_]*.py"))]
    history = _history(root, ["experiments", *CODE], place)
    texts = _contents(root, [(commit, path) for path in (*paths.values(), *code) for commit in history.get(path, [])])

    def versions(path: str, read: Any, judged: list[int]) -> list[Version]:
        states = [(commit, texts[commit, path]) for commit in history.get(path, []) if (commit, path) in texts]
        states.append((HERE, (root / path).read_text()))
        found: list[Version] = []
        last: dict[str, str] = {}
        for commit, text in states:
            parts = read(text)
            if parts == last:
                continue
            at = place.get(commit, len(lines))
            changed = tuple(key for key in dict.fromkeys([*last, *parts]) if last.get(key) != parts.get(key))
            date = dates[at] if at < len(dates) else datetime.date.today().isoformat()
            digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:8]
            found.append(Version(commit, at, date, digest, changed if last else (), sum(one < at for one in judged)))
            last = parts
        return found

    return Log(
        {name: versions(path, plan_parts, [at for at, _ in records[name]]) for name, path in paths.items()},
        {path: versions(path, code_parts, every) for path in code},
        records,
    )


def plan_parts(text: str) -> dict[str, str]:
    """What a study's file fixes before the runs, part by part; the same for the same plan in other words."""
    content = (yaml.safe_load(text) or {}).get("experiment") or {}
    # What fixes nothing may have had another form in earlier releases.
    content = {
        key: value
        for key, value in content.items()
        if key in (*FIXED, "rates", "sensitivity", "budget", "chance", "claims")
    }
    if isinstance(content.get("claims"), list):
        content["claims"] = [
            {key: value for key, value in one.items() if key != "instead"} if isinstance(one, dict) else one
            for one in content["claims"]
        ]
    try:
        plan = check(Plan, content)
    except ConfigError:  # of a schema that is no more: part by part as it was written
        claims = {f"rules of {one.get('id')}": json.dumps(one.get("rules")) for one in content.get("claims", ())}
        return {**{key: json.dumps(content.get(key)) for key in FIXED}, **claims}
    parts = {key: json.dumps(getattr(plan, key), default=str) for key in FIXED}
    if plan.rates:  # only where they are: a plan without them says what it said before there were any
        parts["rates"] = json.dumps(plan.rates.model_dump())
    if plan.sensitivity:
        parts["sensitivity"] = json.dumps(plan.sensitivity.model_dump())
    for claim in plan.claims:
        rules = [write(rule.model_dump(exclude={"by_construction"})) for rule in claim.rules]
        parts[f"rules of {claim.id}"] = json.dumps(rules, ensure_ascii=False)
    return parts


def code_parts(text: str) -> dict[str, str]:
    """What a file computes: its statements and their nesting, without docstrings, comments and white space."""
    docstrings = {
        line
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and ast.get_docstring(node, clean=False) is not None
        for line in range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1)
    }
    comments: dict[int, int] = {}
    nesting, ends = Counter[int](), set[int]()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        row, column = token.start
        if token.type == tokenize.COMMENT:
            comments[row] = column
        elif token.type == tokenize.NEWLINE:
            ends.add(row)
        nesting[row] += (token.type == tokenize.INDENT) - (token.type == tokenize.DEDENT)
    kept = []
    for number, line in enumerate(text.split("\n"), 1):
        kept.append("{" * nesting[number] or "}" * -nesting[number])
        if number not in docstrings:
            kept.append("".join(line[: comments.get(number, len(line))].split()) + ";" * (number in ends))
    return {"code": "".join(kept)}


def write_plans(path: Path = EXPERIMENTS / "PLANS.md") -> Path:
    """Write the log of plans."""
    log, entries = read_log(), deviations()
    of_plan = {(study, digest): entry for entry in entries for study, digest in entry.plans.items()}
    lines = [
        "# The log of plans",
        "",
        "Made from the history by `python -m normlab.plans`. A plan is the question, the grid, the seeds and the rules "
        "of a study; it counts as fixed from the commit on that first says what the study says today, in whatever "
        "words. A record counts as made at the commit of the code that made it; runs that studies share may be older "
        "than a study's plan. Changes after the first record are below, with what had been seen.",
        "",
        "| study | plan fixed by | first record made at | changes of the plan after a record |",
        "| --- | --- | --- | --- |",
    ]
    for study, versions in log.plans.items():
        fixed = log.fixed(study)
        first = log.records[study][0][1][:7] if log.records[study] else "no record"
        late = [version for version in versions if version.before]
        lines.append(f"| {study} | {fixed.commit[:7]} {fixed.date} | {first} | {len(late) or '-'} |")
    lines += ["", "## Changes of plans after records existed", ""]
    lines += ["| study | commit | what | changed | seen |", "| --- | --- | --- | --- | --- |"]
    for study, versions in log.plans.items():
        for version in versions:
            if version.before:
                entry = of_plan.get((study, version.digest))
                said = f"{entry.changed} | {entry.seen}" if entry else "NO ENTRY | NO ENTRY"
                what = ", ".join(version.changed) or "its first version"
                lines.append(f"| {study} | {version.commit[:7]} {version.date} | {what} | {said} |")
    lines += [
        "",
        "## Changes of the level and of the decision code",
        "",
        "| date | changed | seen |",
        "| --- | --- | --- |",
    ]
    lines += [
        f"| {entry.date} | {entry.changed} | {entry.seen} |" for entry in entries if entry.code or not entry.plans
    ]
    write_whole(path, "\n".join(lines) + "\n")
    return path


def _since_when(versions: list[Version]) -> Version:
    return next(version for version in versions if version.digest == versions[-1].digest)


def _record_commits(results: Path, place: dict[str, int]) -> list[tuple[int, str]]:
    """Place and commit of a study's records and measurements; those of commits that are not in the history are not."""
    commits = {stored.record["provenance"]["commit"] for stored in store.rests_on(results)}
    commits |= {entry["provenance"]["commit"] for entry in measurements(results)}
    return sorted((place[commit], commit) for commit in commits if commit in place)


def _history(root: Path, paths: list[str], place: dict[str, int]) -> dict[str, list[str]]:
    """The commits that changed each file, in the order of history."""
    text = _git(
        root, "log", "--topo-order", "--reverse", "--no-renames", "--format=%x00%H", "--name-only", "--", *paths
    )
    found: dict[str, list[str]] = {}
    for block in text.split("\0")[1:]:
        commit, *files = block.split()
        for file in files:
            found.setdefault(file, []).append(commit)
    return {file: sorted(commits, key=place.__getitem__) for file, commits in found.items()}


def _contents(root: Path, wanted: list[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """The text of files at commits, in one call; those that a commit deleted are left out."""
    asked = "".join(f"{commit}:{path}\n" for commit, path in wanted).encode()
    stream = io.BytesIO(_run(root, ["cat-file", "--batch"], asked))
    found = {}
    for key in wanted:
        header = stream.readline().split()
        if header[-1] != b"missing":
            found[key] = stream.read(int(header[-1])).decode()
            stream.readline()
    return found


def _git(root: Path, *arguments: str) -> str:
    return _run(root, list(arguments)).decode()


def _run(root: Path, arguments: list[str], given: bytes | None = None) -> bytes:
    try:
        return subprocess.run(["git", "-C", str(root), *arguments], input=given, capture_output=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise DataError(f"git {arguments[0]} failed: {error}") from None
