"""Behind batch normalization: does the input's range matter once the rate decays to zero?

python -m replication.behind_batch_norm FOLDER
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from replication.grid import arguments, compare
from replication.training import Recipe


def main(argv: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """Raw, [0, 1] and standardized pixels, each under a rate that decays to zero and under a constant one."""
    parser = arguments("Input ranges behind batch normalization, at a decaying and a constant rate.", "allconv")
    parser.add_argument("--rates", type=float, nargs="+", default=[0.05, 0.1, 0.2], help="SGD with momentum 0.9")
    parser.add_argument("--weight-decay", type=float, default=5e-4)
    parser.add_argument("--warmup", type=int, default=1, help="epochs")
    parser.add_argument("--plain", action="store_true", help="without crops and flips")
    parser.add_argument("--schedules", choices=["cosine", "constant"], nargs="+", default=["cosine", "constant"])
    options = parser.parse_args(argv)
    base = Recipe(
        batch_norm=True,
        warmup=options.warmup,
        weight_decay=options.weight_decay,
        augment=not (options.plain or options.quick),
    )
    cells = {schedule: (base._replace(schedule=schedule), options.rates) for schedule in options.schedules}
    return compare(options, cells, "behind_batch_norm")


if __name__ == "__main__":
    main()
