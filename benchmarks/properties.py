"""Properties of all schemes against float64 brute force, over random shapes, types and ranges, seed after seed.

    python benchmarks/properties.py --minutes 60    # of processor time

A round is `pytest` of the properties in tests/norms with one seed of hypothesis. A seed that finds a failure is named
in the table, and its output is printed; `pytest tests/norms --hypothesis-seed=SEED` shows it again.
"""

from __future__ import annotations

import argparse
import re
import resource
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from provenance import write

ROOT = Path(__file__).resolve().parent.parent
PROPERTIES = (
    "tests/norms/test_contract.py::test_every_formula_of_any_inputs",
    "tests/norms/test_contract.py::test_any_scheme_is_float32_finite_and_travels",
    "tests/norms/test_schemes.py::test_statistics_of_any_images",
)
CASE = re.compile(r"^(tests/\S+?)(?:\[(.*)\])?:$")
EXAMPLES = re.compile(r"(\d+) passing")


def examine(seed: int) -> tuple[Counter[str], dict[str, set[str]], bool]:
    """Examples and cases of each property with one seed, and whether all passed."""
    line = [sys.executable, "-m", "pytest", "-q", "-n0", "-p", "no:cacheprovider", *PROPERTIES]
    line += [f"--hypothesis-seed={seed}", "--hypothesis-show-statistics"]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True)
    examples, cases, name = Counter[str](), dict[str, set[str]](), ""
    for text in done.stdout.splitlines():
        if found := CASE.match(text):
            name = found[1]
            cases.setdefault(name, set()).add(found[2] or "")
        elif found := EXAMPLES.search(text):
            examples[name] += int(found[1])
    if done.returncode:
        print(done.stdout, file=sys.stderr)
    return examples, cases, done.returncode == 0


def minutes() -> float:
    """Processor time of all rounds until now."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (used.ru_utime + used.ru_stime) / 60


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1, help="the first one")
    parser.add_argument("--jobs", type=int, default=1, help="seeds at once, each with one thread")
    options = parser.parse_args()
    seed, broken = options.seed, list[int]()
    examples, cases = Counter[str](), dict[str, set[str]]()
    with ThreadPoolExecutor(options.jobs) as pool:
        while minutes() < options.minutes:
            for counted, seen, passed in pool.map(examine, range(seed, seed + options.jobs)):
                examples += counted
                for name, found in seen.items():
                    cases.setdefault(name, set()).update(found)
                broken += [] if passed else [seed]
                seed += 1
    rows: list[dict[str, str | int]] = [
        {
            "property": name.split("::")[1].removeprefix("test_").replace("_", " "),
            "cases": len(cases[name]),
            "examples": f"{examples[name]:,}",
        }
        for name in cases
    ]
    rows.append({"property": "all", "cases": sum(map(len, cases.values())), "examples": f"{sum(examples.values()):,}"})
    write(
        "properties",
        f"python benchmarks/properties.py --minutes {options.minutes:g} --seed {options.seed} --jobs {options.jobs}",
        rows,
        f"{seed - options.seed} seeds of hypothesis from {options.seed} on, {minutes():.0f} minutes of processor time; "
        f"seeds that found a failure: {', '.join(map(str, broken)) or 'none'}",
        "reliability",
    )


if __name__ == "__main__":
    main()
