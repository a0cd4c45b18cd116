"""The end of a sweep: one table, what became of the jobs, and the exit status."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from normlab import record
from normlab.commandline.sweep import STATUSES, SWEEP, WRONG, outcomes
from normlab.config import parse_group
from normlab.display import printable
from normlab.errors import NormlabError
from normlab.report.terminal import comparison, comparison_table


def close(folder: Path, folders: Sequence[Path | None]) -> int:
    """Print the comparison of all jobs of a sweep and what went wrong; W&B gets it too, if a run of now did.

    Args:
        folder: of the sweep.
        folders: of the runs of its jobs; None for a job that is refused.

    Returns:
        The exit status: 1 if a job failed, was refused or is missing, or its record cannot be read, else 0.
    """
    sweep, done = json.loads((folder / SWEEP).read_text()), outcomes(folder)
    places = {int(place): Path(path) for place, path in sweep["skipped"].items()}
    for number in set(range(len(sweep["places"]))) - {outcome["number"] for outcome in done}:
        done += _by_its_record(number, folders[sweep["places"][number]], sweep["started"])
    for outcome in done:
        if outcome["status"] not in WRONG:
            places[sweep["places"][outcome["number"]]] = Path(outcome["folder"])
    known, damaged = _read(places)
    records = list(known.values())
    ran = [known.get(sweep["places"][outcome["number"]]) for outcome in done if outcome["status"] in record.DONE]
    counts = Counter(outcome["status"] for outcome in done)
    counts["skipped"] += len(sweep["skipped"])
    counts["refused"] += len(sweep["refused"])
    missing = sweep["total"] - counts.total()
    parts = [f"{counts[status]} {status}" for status in STATUSES if counts[status]]
    parts += [f"{missing} without an outcome"] * bool(missing)
    if records:
        print(comparison_table(records))
    print(f"{sweep['total']} job{'s' * (sweep['total'] != 1)}: {', '.join(parts)}")
    wrong = [outcome for outcome in done if outcome["status"] in WRONG]
    for outcome in wrong:
        where = f" (traceback in {outcome['traceback']})" if "traceback" in outcome else ""
        what = printable(" ".join(outcome["overrides"]))
        print(f"job {outcome['number']} {what}: {outcome['error']}{where}", file=sys.stderr)
    for line in [*(f"job {printable(reason)}" for reason in sweep["refused"].values()), *damaged]:
        print(line, file=sys.stderr)
    if missing:
        print("the same command runs what is missing", file=sys.stderr)
    mirror(folder, records, [one for one in ran if one])
    return int(bool(wrong or sweep["refused"] or missing or damaged))


def mirror(folder: Path, records: list[dict[str, Any]], ran: list[dict[str, Any]]) -> None:
    """Send the comparison of all runs of a sweep to W&B, if one that was made now has been sent there."""
    sent = [one for one in ran if one["config"]["logger"]["name"] == "wandb"]
    if sent:
        from normlab.training.mirror import mirror_table  # here, because it brings PyTorch

        options = parse_group("logger", sent[0]["config"]["logger"])
        mirror_table(options, folder, sent[0]["study"], *comparison(records))


def _by_its_record(number: int, folder: Path | None, started: float) -> list[dict[str, Any]]:
    """The outcome of a job that could not be written down, if its run left a record since the sweep started."""
    try:
        if folder is None or (folder / record.RECORD).stat().st_mtime < started:
            return []
        return [{"number": number, "overrides": [], "status": record.read(folder)["status"], "folder": str(folder)}]
    except (OSError, ValueError, NormlabError):
        return []


def _read(places: dict[int, Path]) -> tuple[dict[int, dict[str, Any]], list[str]]:
    """The records by their places in the grid, in this order, and a line for each that cannot be read."""
    records, damaged = {}, []
    for place in sorted(places):
        try:
            records[place] = record.read(places[place])
        except (OSError, ValueError, NormlabError) as error:
            damaged.append(f"{printable(places[place])}: the record cannot be read ({printable(error)})")
    return records, damaged
