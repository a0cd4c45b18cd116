"""What made a table or a study: the line below it."""

from __future__ import annotations

from collections.abc import Sequence

from normlab import record
from normlab.report.study import Study

SHOWN = 10  # digits of a commit: enough to find it


def origin(study: Study) -> str:
    """What made a study's runs and measurements: each commit, version and machine once."""
    sources = [one["provenance"] for one in (*study.records, *study.measured)]
    commits = {
        (part["commit"] or "unknown")[:SHOWN] + " with uncommitted changes" * bool(part["dirty"]) for part in sources
    }
    versions: dict[str, set[str]] = {}
    for part in sources:
        for name, version in part["versions"].items():
            versions.setdefault(name, set()).add(str(version))
    machines = {f"{part['processor']}, {part['cores']} cores" for part in sources}
    packages = [f"{name} {' and '.join(sorted(each))}" for name, each in versions.items()]
    word = "commit" if len(commits) == 1 else "commits"
    return "; ".join([f"{word} {', '.join(sorted(commits))}", ", ".join(packages), *sorted(machines)])


def made_by(command: str, arguments: Sequence[str]) -> str:
    """Command, commit, versions and machine; where the output went is left out.

    Args:
        command: such as ``python -m normlab.conditioning``.
        arguments: of the command line.
    """
    about = record.provenance()
    versions = ", ".join(f"{package} {version}" for package, version in about["versions"].items())
    dirty = " with uncommitted changes" if about["dirty"] else ""
    given = " ".join(argument for argument in arguments if not argument.startswith("out="))
    return (
        f"Made by `{command} {given}`, commit {about['commit']}{dirty}; {versions};\n"
        f"{about['processor']}, {about['cores']} cores."
    )
