"""The end of a sweep: one table, what became of the jobs, and the exit status."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from normlab import record
from normlab.commandline.sweep import STATUSES, SWEEP, WRONG, outcomes
from normlab.report.terminal import comparison_table


class Summary(Callback):
    """Prints the comparison of all jobs at the end of a sweep, and sets its exit status."""

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Print the table and what went wrong; a sweep with a failed or a missing job ends with status 1."""
        folder = Path(config.hydra.sweep.dir)
        if not (folder / SWEEP).exists():  # it ended before its jobs were known, and has said why
            return
        sweep, done = json.loads((folder / SWEEP).read_text()), outcomes(folder)
        places = {int(place): Path(path) for place, path in sweep["skipped"].items()}
        for outcome in done:
            if outcome["status"] not in WRONG:
                places[sweep["places"][outcome["number"]]] = Path(outcome["folder"])
        if places:
            print(comparison_table([record.read(places[place]) for place in sorted(places)]))
        counts = Counter(outcome["status"] for outcome in done)
        counts["skipped"] += len(sweep["skipped"])
        missing = sweep["total"] - counts.total()
        parts = [f"{counts[status]} {status}" for status in STATUSES if counts[status]]
        parts += [f"{missing} without an outcome"] * bool(missing)
        print(f"{sweep['total']} job{'s' * (sweep['total'] != 1)}: {', '.join(parts)}")
        wrong = [outcome for outcome in done if outcome["status"] in WRONG]
        for outcome in wrong:
            where = f" (traceback in {outcome['traceback']})" if "traceback" in outcome else ""
            what = " ".join(outcome["overrides"])
            print(f"job {outcome['number']} {what}: {outcome['error']}{where}", file=sys.stderr)
        if missing:
            print("the same command runs what is missing", file=sys.stderr)
        if wrong or missing:
            sys.exit(1)
