"""What became of the jobs of a sweep: gathered through files, because jobs may run in other processes."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from normlab import record
from normlab.report.terminal import comparison_table

OUTCOME = "outcome.json"
WRONG = ("refused", "failed")
STATUSES = ("finished", "diverged", "skipped", *WRONG)


def note(job_folder: Path, number: int, overrides: list[str], status: str, **more: Any) -> None:
    """Leave word of one job.

    Args:
        job_folder: Hydra's folder of the job.
        number: of the job in the sweep.
        overrides: what distinguishes it.
        status: finished, diverged, skipped (it had a record), refused (a user's mistake) or failed.
        more: ``folder`` of the run, or ``error``.
    """
    job_folder.mkdir(parents=True, exist_ok=True)
    content = {"number": number, "overrides": overrides, "status": status, **more}
    (job_folder / OUTCOME).write_text(json.dumps(content))


class Summary(Callback):
    """Prints the comparison of all jobs at the end of a sweep, and sets its exit status."""

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Print the table and what went wrong; a sweep with a failed job ends with status 1."""
        outcomes = [json.loads(path.read_text()) for path in Path(config.hydra.sweep.dir).glob(f"*/{OUTCOME}")]
        outcomes.sort(key=lambda outcome: outcome["number"])
        done = [outcome for outcome in outcomes if "folder" in outcome and outcome["status"] not in WRONG]
        if done:
            print(comparison_table([record.read(Path(outcome["folder"])) for outcome in done]))
        counts = {status: sum(outcome["status"] == status for outcome in outcomes) for status in STATUSES}
        print(f"{len(outcomes)} jobs: {', '.join(f'{count} {status}' for status, count in counts.items() if count)}")
        wrong = [outcome for outcome in outcomes if outcome["status"] in WRONG]
        for outcome in wrong:
            where = f" (traceback in {outcome['folder']}/traceback.txt)" if "folder" in outcome else ""
            print(
                f"job {outcome['number']} {' '.join(outcome['overrides'])}: {outcome['error']}{where}", file=sys.stderr
            )
        if wrong:
            sys.exit(1)
