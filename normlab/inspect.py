"""Statistics of your own images: ``python -m normlab.inspect FOLDER [--json] [KEY=VALUE ...]``.

Every image below the folder counts, whatever its size: mean and standard deviation of each channel by two estimators
with 95% intervals, range, clipped pixels, grayscale and unreadable files, how many images are enough, the
nearest preset, the condition number of a linear model at 32 pixels, advice that follows from the project's own results,
and lines to paste for torchvision, albumentations, timm and Hugging Face. ``data=NAME`` instead of a folder inspects
the images that a run with the same keys trains on, at ``data.image_size`` if it is given.

``python -m normlab.inspect FILE.tsv`` describes texts with their labels: classes, lengths, vocabulary, what is unknown
or repeated. The file has two columns; one with more, or without a header, needs ``data=text`` and its keys, such as
``data.label=COLUMN``.

``python -m normlab.inspect FILE.csv [data.target=COLUMN]`` describes a table, a row a column; so does ``data=wine``.
The keys of a table are those of ``data=table``, such as ``data.delimiter=';'``.

``python -m normlab.inspect FOLDER_OF_WAV`` describes recordings: level, peak, clipping, silence, rate, duration, and
log-mel statistics under the front end of AST; ``limit`` and ``resamples`` mean the same there.

The keys: ``limit=N`` draws N images at most, at random, and means the same as ``data.limit``. ``conditioning=false``
leaves out the linear model, which takes ten seconds. ``small=N`` is the largest number of images for the linear model
(default 4,000). ``resamples=N`` is the number of bootstrap resamples (default 1,000).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from normlab.commandline.arguments import command, parsed, write
from normlab.config import PositiveInt, Section, data_label, parse_group
from normlab.errors import ConfigError
from normlab.inspection import recordings, tables, texts
from normlab.inspection.images import Inspection
from normlab.inspection.report import report, text_of
from normlab.inspection.sources import inspect_folder, inspect_source

# Each has inspect(arguments), which is None where the arguments name no data of its kind, and text_of(label, content).
OTHER_KINDS = (texts, tables, recordings)


class Options(Section):
    """What the command takes besides a folder or the keys of data."""

    limit: PositiveInt | None = None  # largest number of images, drawn at random; None: all
    resamples: PositiveInt = 1000  # of the bootstrap
    conditioning: bool = True  # of a linear model at 32 pixels; takes ten seconds
    small: PositiveInt = 4000  # largest number of images for the linear model


def main(arguments: list[str]) -> None:
    """Inspect the images and print the report; a mistake ends as one line and status 2."""
    with command(arguments, __doc__):
        as_json = "--json" in arguments
        rest = [argument for argument in arguments if argument != "--json"]
        for kind in OTHER_KINDS:
            if (answer := kind.inspect(rest)) is not None:
                label, content = answer
                return write(json.dumps(content, indent=1) if as_json else kind.text_of(label, content))
        label, options, inspection, total = inspect(rest)
        content = report(
            inspection,
            total,
            limit=options.limit,
            resamples=options.resamples,
            with_conditioning=options.conditioning,
        )
        write(json.dumps(content, indent=1) if as_json else text_of(label, content))


def inspect(arguments: Sequence[str]) -> tuple[str, Options, Inspection, int]:
    """The label of the images, the options, the statistics, and the number of images before ``limit``.

    Raises:
        ConfigError: unless there is exactly one folder or data=NAME, and for an unknown key or a bad value.
        DataError: if there are no images, or none can be read.
    """
    folders = [argument for argument in arguments if "=" not in argument or Path(argument).is_dir()]
    pairs = [argument for argument in arguments if argument not in folders]
    named = any(pair.lstrip("+").startswith("data=") for pair in pairs)
    if len(folders) + named != 1:
        raise ConfigError("name one folder of images: python -m normlab.inspect FOLDER; or one data set: data=NAME")
    if not named:
        options, _ = parsed(pairs, Options, groups=())
        return folders[0], options, *inspect_folder(Path(folders[0]).expanduser(), options.limit, options.small)
    options, groups = parsed(pairs, Options)
    config = parse_group("data", groups["data"])
    if options.limit and config.limit:
        raise ConfigError(f"limit={options.limit}: data.limit={config.limit} means the same; give only one of the two")
    options = options.model_copy(update={"limit": options.limit or config.limit})
    return data_label(groups["data"]), options, *inspect_source(config, options.limit, options.small)


if __name__ == "__main__":
    main(sys.argv[1:])
