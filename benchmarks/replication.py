"""The contrasts of replication/, whose scripts have no line of normlab, beside those of the studies.

    python benchmarks/replication.py

Reads the runs in replication/results/, which the commands of replication/README.md wrote, and the records in results/.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
from provenance import write

from normlab.commandline.grid import load
from normlab.report.tables import differences, wide
from normlab.statistics import paired_difference

ROOT = Path(__file__).resolve().parent.parent
REFERENCE = "dataset"
# Of each file of runs: the study, and what its cell is called there.
CONTRASTS: dict[str, tuple[str, dict[str, str]]] = {
    "nothing_inside_he_sgd": ("nothing_inside", {"config.arch.init": "he", "optim": "sgd"}),
    "nothing_inside_torch_adam": ("nothing_inside", {"config.arch.init": "torch", "optim": "adam"}),
    "behind_batch_norm_cosine": ("behind_batch_norm", {}),
}


def compare(name: str) -> list[dict[str, Any]]:
    """A row for each scheme of a contrast: its difference from ``dataset`` here and there, in points."""
    study_name, cell = CONTRASTS[name]
    file = ROOT / "replication" / "results" / f"{name}.json"
    if not file.is_file():
        raise SystemExit(f"{file.relative_to(ROOT)} is missing: replication/README.md has the command that makes it")
    runs = pd.DataFrame(json.loads(file.read_text())["runs"])
    runs = runs[runs.seed < 1000]  # those from 1000 on chose a rate
    by_seed = runs.pivot(index="seed", columns="scheme", values="test")
    rates = runs.groupby("scheme").rate.first()
    study = load(study_name, ROOT / "runs", ROOT / "results" / study_name)
    best = study.at_rates["best"]
    chosen, ours = wide(study, best), differences(study, best, REFERENCE)
    for key, value in cell.items():
        chosen, ours = chosen[chosen[key] == value], ours[ours[key] == value]
    rows = []
    for scheme in (scheme for scheme in by_seed if scheme != REFERENCE):
        for one in (scheme, REFERENCE):
            if chosen.lr[chosen.norm == one].item() != rates[one]:
                raise SystemExit(f"{name}: {one} was run at {rates[one]:g}, not at the study's rate")
        found, own = paired_difference(by_seed[scheme], by_seed[REFERENCE]), ours[ours.norm == scheme].iloc[0]
        rows.append(
            {
                "study": study_name,
                "conditions": ", ".join(cell.values()) or "batch normalization, cosine rate",
                "scheme minus dataset": scheme,
                "rates": f"{rates[scheme]:g} and {rates[REFERENCE]:g}",
                "normlab, points [95%]": _points(own.difference, own.low, own.high),
                "n, normlab": int(own.n),
                "replication, points [95%]": _points(found.estimate, found.low, found.high),
                "n, replication": found.n,
                "intervals overlap": "yes" if found.low <= own.high and own.low <= found.high else "no",
            }
        )
    return rows


def _points(difference: float, low: float, high: float) -> str:
    return f"{100 * difference:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}]"


def main() -> None:
    rows = [row for name in CONTRASTS for row in compare(name)]
    write(
        "replication",
        "python benchmarks/replication.py",
        rows,
        "both at the rates that the study chose, on the same data, network and epochs; seeds, drawn images, code of "
        "network, training and statistics are others; the replication's intervals are over seeds (Student's t)",
        "reliability",
    )


if __name__ == "__main__":
    main()
