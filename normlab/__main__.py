"""The command: ``python -m normlab +norm=NAME [GROUP=CHOICE ...] [KEY=VALUE ...]``."""

from __future__ import annotations

import os
import sys
from importlib.metadata import version

from normlab.commandline import composing
from normlab.commandline.arguments import write
from normlab.commandline.job import job
from normlab.commandline.request import read
from normlab.errors import reported
from normlab.process import importing, prepare


def main() -> None:
    """Run the command line; a mistake of the user ends as one line and status 2."""
    os.environ["HYDRA_FULL_ERROR"] = "1"  # exceptions reach this function instead of ending in Hydra's own report
    prepare()
    with reported():
        if "--version" in sys.argv[1:]:  # Hydra would print its own alone
            write(f"normlab {version('normlab')}, Hydra {version('hydra-core')}")
            return
        with importing():  # a path among the arguments brings PyTorch
            request = read(sys.argv[1:])
        composing.run(request.hydra_arguments, request.study, job)


if __name__ == "__main__":
    main()
