"""The measurements of a study that need no training: ``python -m normlab.measure STUDY [results=FOLDER] [rerun=true]``.

Each measurement calls a function of normlab/measurements/ by its name, with options from the study's file, and returns
rows of labels and numbers. The rows are kept in results/STUDY/measurements.jsonl with their provenance. A call that has
rows there is not made again, unless ``rerun=true``. A call whose data are not on this machine is left out, with a line
that says where to get the data.
"""

from __future__ import annotations

import json
import math
import sys
import time
from pathlib import Path
from typing import Any

from normlab import record
from normlab.commandline.arguments import command, parsed
from normlab.config import Section, studies
from normlab.errors import ConfigError, DataError
from normlab.files import write_whole
from normlab.measurements import measurement_by_name
from normlab.report import study
from normlab.report.study import MEASUREMENTS


class Options(Section):
    """What the command takes besides studies."""

    results: Path = Path("results")
    rerun: bool = False


def main(arguments: list[str]) -> None:
    """Make the missing measurements; a mistake ends as one line and status 2."""
    with command(arguments, __doc__):
        named = [argument for argument in arguments if "=" not in argument]
        options, _ = parsed([argument for argument in arguments if "=" in argument], Options, groups=())
        for name in named or [name for name in studies() if study.plan(name).measure]:
            measure(name, options.results / name, options.rerun)


def measure(name: str, out: Path, rerun: bool = False) -> None:
    """Make the missing measurements of one study, and write the file after each.

    Raises:
        ConfigError: if the study has no measurements.
    """
    calls = study.plan(name).measure
    if not calls:
        raise ConfigError(
            f"study {name} has no measurements; make its runs with: python -m normlab -m +experiment={name}"
        )
    kept = {} if rerun else {key(entry): entry for entry in study.measurements(out)}
    entries: list[dict[str, Any]] = []
    for place, call in enumerate(calls, 1):
        label = f"{name} {place}/{len(calls)}: {call.measure} {json.dumps(call.options)}"
        entry = kept.get(key(call.model_dump(by_alias=True)))
        if entry is None:
            started = time.perf_counter()
            try:
                rows = measurement_by_name(call.measure)(**call.options)
            except DataError as error:
                print(f"{label}: left out: {error} (experiments/README.md says where to get the data)", file=sys.stderr)
                continue
            rows = [{name: math.nan if value is None else value for name, value in row.items()} for row in rows]
            entry = {**call.model_dump(by_alias=True), "rows": rows, "provenance": record.provenance()}
            print(f"{label}: {len(rows)} rows in {time.perf_counter() - started:.1f} s", file=sys.stderr, flush=True)
        entries.append(entry)
        write(out, entries + [other for other in kept.values() if key(other) not in map(key, entries)])
    write(out, entries)


def key(call: dict[str, Any]) -> str:
    """The key of a call: its name and its options."""
    return json.dumps([call["measure"], call["with"]], sort_keys=True)


def write(out: Path, entries: list[dict[str, Any]]) -> None:
    """Write all entries to the study's file, whole or not at all."""
    out.mkdir(parents=True, exist_ok=True)
    write_whole(out / MEASUREMENTS, "".join(json.dumps(_plain(entry)) + "\n" for entry in entries))


def _plain(value: Any) -> Any:
    """The value in JSON types; numbers of numpy and PyTorch become Python numbers."""
    if isinstance(value, dict):
        return {str(name): _plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return value.item() if hasattr(value, "item") else value


if __name__ == "__main__":
    main(sys.argv[1:])
