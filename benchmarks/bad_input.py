"""All kinds of bad input over the installed wheel: images, folders, tables, series, recordings, texts, requests.

    python benchmarks/bad_input.py

Runs `.ci/wheel`, which installs the wheel in an environment of its own and asks it from a folder without a checkout,
and counts its cases: those that are nothing but bad input test by test, the others file by file.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

from provenance import write

ROOT = Path(__file__).resolve().parent.parent
ONE_BY_ONE = ("tests.test_bad_input", "tests.test_trust", "tests.commandline.test_request")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        found = Path(folder) / "found.xml"
        done = subprocess.run([ROOT / ".ci" / "wheel", f"--junitxml={found}"], stdout=sys.stderr, check=False)
        cases = list(ElementTree.parse(found).iter("testcase"))
    counts: dict[str, Counter[str]] = {}
    for case in cases:
        outcome = next((part.tag for part in case if part.tag in ("failure", "error", "skipped")), "right")
        name = case.get("classname", "") or "a whole file"
        if name in ONE_BY_ONE:
            name += f": {case.get('name', '').partition('[')[0].removeprefix('test_').replace('_', ' ')}"
        counts.setdefault(name, Counter())[outcome] += 1
    rows: list[dict[str, str | int]] = [
        {
            "tests": name.removeprefix("tests."),
            "cases": counted.total(),
            "as it should be": counted["right"],
            "skipped": counted["skipped"],
            "wrong": counted["failure"] + counted["error"],
        }
        for name, counted in sorted(counts.items())
    ]
    rows.append({"tests": "all", **{key: sum(int(row[key]) for row in rows) for key in list(rows[0])[1:]}})
    write(
        "bad_input",
        "python benchmarks/bad_input.py",
        rows,
        f"{len(cases)} cases: refused by a line that names the file and the cure, or read as they should be; skipped: "
        f"a package or data are not there; `.ci/wheel` ended with status {done.returncode}",
        "reliability",
    )


if __name__ == "__main__":
    main()
