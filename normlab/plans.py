"""The log of plans: ``python -m normlab.plans`` writes experiments/PLANS.md from the history.

The command ends with status 2 if a plan, or the code that decides, is newer than the records that it decides on, and
experiments/deviations.yaml has no entry for the change. The missing entries are printed with their hashes.
"""

from __future__ import annotations

import sys

from normlab.commandline.arguments import command
from normlab.errors import DataError
from normlab.report.plans import deviations, read_log, write_plans


def main(arguments: list[str]) -> None:
    """Write the log; a mistake ends as one line and status 2."""
    with command(arguments, __doc__):
        missing = read_log().missing(deviations())
        print(f"log of plans: {write_plans()}")
        if missing:
            raise DataError("experiments/deviations.yaml has no entry for:", *missing)


if __name__ == "__main__":
    main(sys.argv[1:])
