"""What made a table: the line below it."""

from __future__ import annotations

from collections.abc import Sequence

from normlab import record


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
