"""Which normalization for your data, by how much, how sure: ``python -m normlab.choose [PATH] [KEY=VALUE ...]``.

PATH is a folder with one sub-folder of images, or of recordings, for each class; or a table (CSV, Parquet), with
``data.target=COLUMN``. Without it, the photographs that ship with the dependencies are used; ``data=NAME`` chooses
another data set, as in a run. The command looks at the data, measures the time of a run, prints a plan, searches each
scheme's learning rate on validation samples, and trains seeds that are paired across schemes, until the answer is clear
or the budget is spent. The same command goes on where a killed one ended; a larger budget continues the study.

The keys: ``budget=10min`` (or 90s, 1h). ``norms=a,b`` are the schemes, ``reference=a`` the one that the others have to
be better than. ``margin=1`` is the smallest difference that matters, in points of accuracy. ``seeds=N`` is the largest
number of seeds. ``out=FOLDER`` replaces the folder below runs/choose. And the keys of a run: data, augment, arch,
optim, trainer, logger. ``arch=pretrained`` trains nothing: it compares a trained network's answers under each scheme.
``--json`` prints one JSON object.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence

from normlab import STARTED
from normlab.choosing.conduct import conduct, plain, read_request, text_of
from normlab.commandline.arguments import command, write


def main(arguments: Sequence[str], started: float | None = None) -> None:
    """Look, plan, train and answer; a mistake ends as one line and status 2.

    Args:
        arguments: of the command line.
        started: when the command began, by time.perf_counter; None: now.
    """
    with command(arguments, __doc__):
        as_json = "--json" in arguments
        given = [argument for argument in arguments if argument != "--json"]
        content = conduct(read_request(given), time.perf_counter() if started is None else started, given)
        write(json.dumps(plain(content), indent=1) if as_json else text_of(content))


if __name__ == "__main__":
    main(sys.argv[1:], STARTED)
