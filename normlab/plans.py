"""The log of plans: ``python -m normlab.plans`` writes experiments/PLANS.md from the history.

The command ends with status 2 if a plan, or the code that decides, is newer than the records that it decides on, and
experiments/deviations.yaml has no entry for the change. The missing entries are printed with their hashes.
"""

from __future__ import annotations

import sys

from normlab.commandline.arguments import answer_help
from normlab.errors import DataError, NormlabError, fail
from normlab.report.plans import deviations, read_log, write_plans


def main(arguments: list[str]) -> None:
    """Write the log; a mistake ends as one line and status 2."""
    answer_help(arguments, __doc__)
    try:
        missing = read_log().missing(deviations())
        print(f"log of plans: {write_plans()}")
        if missing:
            raise DataError("\n".join(["experiments/deviations.yaml has no entry for:", *missing]))
    except NormlabError as error:
        fail(str(error))


if __name__ == "__main__":
    main(sys.argv[1:])
