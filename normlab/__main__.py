"""The command: ``python -m normlab +norm=NAME [GROUP=CHOICE ...] [KEY=VALUE ...]``."""

from __future__ import annotations

import os
import sys

from normlab.commandline import composing
from normlab.commandline.job import job
from normlab.commandline.request import read
from normlab.errors import NormlabError, fail


def main() -> None:
    """Run the command line; a mistake of the user ends as one line and status 2."""
    os.environ["HYDRA_FULL_ERROR"] = "1"  # exceptions reach this function instead of ending in Hydra's own report
    try:
        request = read(sys.argv[1:])
        composing.run(request.hydra_arguments, request.study, job)
    except (NormlabError, OSError) as error:  # OSError: of Hydra's own folders
        fail(str(error))
    except KeyboardInterrupt:
        print("interrupted; a run in progress leaves no record", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
