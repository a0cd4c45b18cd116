"""Statistics of one's own images: ``python -m normlab.inspect FOLDER [--json] [KEY=VALUE ...]``.

Every image below the folder counts, whatever its size: mean and standard deviation of each channel by two estimators
with 95% intervals, range, clipped pixels, greyscale and unreadable files, how many images would have been enough, the
nearest preset, the condition number of a linear model at 32 pixels, advice that follows from the project's own results,
and lines to paste for torchvision, albumentations, timm and Hugging Face. ``data=NAME`` instead of a folder looks at
what a run with the same keys would train on, at ``data.image_size`` if it is given.

The keys: ``limit=N`` takes N images at most, drawn at random, and is another word for ``data.limit``;
``conditioning=false`` leaves the linear model out, which takes ten seconds, and ``small=N`` gives it N images at most,
else 4,000; ``resamples=N`` are those of the bootstrap, else 1,000.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from normlab.commandline.arguments import answer_help, parsed, write
from normlab.config import PositiveInt, Section, data_label, parse_group
from normlab.errors import ConfigError, NormlabError, fail
from normlab.inspection.images import Inspection
from normlab.inspection.report import report, text_of
from normlab.inspection.sources import data_inspected, folder_inspected


class Options(Section):
    """What the command takes besides a folder or the keys of data."""

    limit: PositiveInt | None = None  # images at most, drawn at random; None: all
    resamples: PositiveInt = 1000  # of the bootstrap
    conditioning: bool = True  # of a linear model at 32 pixels; takes ten seconds
    small: PositiveInt = 4000  # images that it is computed from, at most


def main(arguments: list[str]) -> None:
    """Look, and print; a mistake ends as one line and status 2."""
    answer_help(arguments, __doc__)
    try:
        as_json = "--json" in arguments
        label, options, found, total = inspected([argument for argument in arguments if argument != "--json"])
        content = report(
            found,
            total,
            limit=options.limit,
            resamples=options.resamples,
            with_conditioning=options.conditioning,
        )
    except NormlabError as error:
        fail(str(error))
    except KeyboardInterrupt:
        fail("interrupted", status=130)
    write(json.dumps(content, indent=1) if as_json else text_of(label, content))


def inspected(arguments: Sequence[str]) -> tuple[str, Options, Inspection, int]:
    """What to call the images, the options, what was found, and how many images there were to draw from.

    Raises:
        ConfigError: for no folder, two, an unknown key or a bad value.
        DataError: if there are no images, or none can be read.
    """
    folders = [argument for argument in arguments if "=" not in argument or Path(argument).is_dir()]
    pairs = [argument for argument in arguments if argument not in folders]
    named = any(pair.lstrip("+").startswith("data=") for pair in pairs)
    if len(folders) + named != 1:
        raise ConfigError("one folder of images is wanted, as in: python -m normlab.inspect FOLDER; or data=NAME")
    if not named:
        options, _ = parsed(pairs, Options, groups=())
        return folders[0], options, *folder_inspected(Path(folders[0]).expanduser(), options.limit, options.small)
    options, groups = parsed(pairs, Options)
    config = parse_group("data", groups["data"])
    if options.limit and config.limit:
        raise ConfigError(f"limit={options.limit}: data.limit={config.limit} says the same; give one of them")
    options = options.model_copy(update={"limit": options.limit or config.limit})
    return data_label(groups["data"]), options, *data_inspected(config, options.limit, options.small)


if __name__ == "__main__":
    main(sys.argv[1:])
