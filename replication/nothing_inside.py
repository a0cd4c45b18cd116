"""Without normalization inside: is the harm of raw pixels one of the range, of the initial weights, or of the rate?

python -m replication.nothing_inside FOLDER
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from replication.grid import arguments, compare
from replication.training import Recipe


def main(argv: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """Raw, [0, 1] and standardized pixels under two initializations and two optimizers."""
    parser = arguments("Input ranges without internal normalization: He's and torch's initial weights.", "cnn")
    # A factor of 4 apart, because the stable rates of raw and of standardized pixels are decades apart.
    parser.add_argument("--sgd", type=float, nargs="+", default=[2e-6 * 4**k for k in range(9)], help="candidate rates")
    parser.add_argument("--adam", type=float, nargs="+", default=[1e-4 * 2**k for k in range(8)], help="the same")
    parser.add_argument("--optimizers", choices=["sgd", "adam"], nargs="+", default=["sgd", "adam"])
    parser.add_argument("--inits", choices=["he", "torch"], nargs="+", default=["he", "torch"])
    options = parser.parse_args(argv)
    rates = {"sgd": options.sgd, "adam": options.adam}
    cells = {
        f"{init}, {optimizer}": (Recipe(init=init, optimizer=optimizer), rates[optimizer])
        for optimizer in options.optimizers
        for init in options.inits
    }
    return compare(options, cells, "nothing_inside")


if __name__ == "__main__":
    main()
