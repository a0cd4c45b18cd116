"""Statistics of your own images: ``python -m normlab.inspect FOLDER [--json] [--plot FILE.png] [KEY=VALUE ...]``.

Every image below the folder counts, whatever its size, depth and number of bands; of splits (train/, test/, ...) the
training images, with a row for each other split. Printed are mean and standard deviation of each band by two estimators
with 95% intervals, range, levels, clipped pixels, unreadable files and what was left out, how many images are enough,
the nearest preset, the condition number of a linear model at 32 pixels, advice that follows from the project's own
results, and lines to paste for torchvision, albumentations, timm, Hugging Face, MONAI and rasterio. ``--plot`` draws
the histograms, and some images before and after. ``data=NAME`` instead of a folder inspects
the images that a run with the same keys trains on, at ``data.image_size`` if it is given.

``python -m normlab.inspect FILE.tsv`` describes texts with their labels: classes, lengths, vocabulary, what is unknown
or repeated. The file has two columns; one with more, or without a header, needs ``data=text`` and its keys, such as
``data.label=COLUMN``.

``python -m normlab.inspect FILE.csv [data.target=COLUMN]`` describes a table, a row a column; so does ``data=wine``.
The keys of a table are those of ``data=table``, such as ``data.delimiter=';'``.

``python -m normlab.inspect FOLDER_OF_WAV`` describes recordings: level, peak, clipping, silence, rate, duration, and
log-mel statistics under the front end of AST; ``limit``, ``resamples`` and ``data.splits`` mean the same there, but
for lists of files.

The keys: ``limit=N`` draws N images at most, at random, and means the same as ``data.limit``. ``conditioning=false``
leaves out the linear model, which takes ten seconds. ``small=N`` is the largest number of images for the linear model
(default 4,000). ``data.white=``, ``data.black=``, ``data.bands=``, ``data.pages=``, ``data.mask=``, ``data.exif=`` and
``data.splits=`` say how files are read, as in a run. ``resamples=N`` is the number of bootstrap resamples (default
1,000).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from normlab.commandline.arguments import command, parsed, write
from normlab.config import PositiveInt, Section, data_label, parse_group
from normlab.errors import ConfigError
from normlab.process import importing

if TYPE_CHECKING:
    from normlab.inspection.sources import Subject


class Options(Section):
    """What the command takes besides a folder or the keys of data."""

    limit: PositiveInt | None = None  # largest number of images, drawn at random; None: all
    resamples: PositiveInt = 1000  # of the bootstrap
    conditioning: bool = True  # of a linear model at 32 pixels; takes ten seconds
    small: PositiveInt = 4000  # largest number of images for the linear model


def main(arguments: list[str]) -> None:
    """Inspect the images and print the report; a mistake ends as one line and status 2."""
    with command(arguments, __doc__):
        with importing():  # here, so that help and a typing mistake need no PyTorch
            from normlab.data.layout import printable
            from normlab.inspection import recordings, tables, texts
            from normlab.inspection.plot import draw
            from normlab.inspection.report import report, text_of

        as_json = "--json" in arguments
        rest, plot = without_plot([argument for argument in arguments if argument != "--json"])
        # Each inspect is None where the arguments name no data of its kind.
        for kind in (texts, tables, recordings):
            if (answer := kind.inspect(rest)) is not None:
                label, content = answer
                return write(json.dumps(content, indent=1) if as_json else kind.text_of(label, content))
        label, options, subject = inspect(rest, with_plot=plot is not None)
        content = report(
            subject.train,
            subject.total,
            limit=options.limit,
            resamples=options.resamples,
            with_conditioning=options.conditioning,
            subject=subject,
        )
        if plot is not None:
            draw(plot, label, subject.train)
        write(json.dumps(content, indent=1) if as_json else text_of(printable(label), content))


def without_plot(arguments: Sequence[str]) -> tuple[list[str], Path | None]:
    """The arguments without ``--plot FILE.png``, and that file.

    Raises:
        ConfigError: without a file, or with a name of another ending.
    """
    rest = list(arguments)
    for place, argument in enumerate(rest):
        if argument == "--plot" or argument.startswith("--plot="):
            value = argument.removeprefix("--plot").removeprefix("=") or (
                rest[place + 1] if place + 1 < len(rest) else ""
            )
            if not value.lower().endswith(".png"):
                raise ConfigError(f"--plot {value}: expected the name of a file that ends in .png")
            del rest[place : place + (1 if "=" in argument else 2)]
            return rest, Path(value).expanduser()
    return rest, None


def inspect(arguments: Sequence[str], with_plot: bool = False) -> tuple[str, Options, Subject]:
    """The label of the images, the options, and the statistics; small copies where something is made of them.

    Raises:
        ConfigError: unless there is exactly one folder or data=NAME, and for an unknown key or a bad value.
        DataError: if there are no images, or none can be read.
    """
    from normlab.inspection.sources import inspect_folder, inspect_source

    folders = [argument for argument in arguments if "=" not in argument or Path(argument).is_dir()]
    pairs = [argument for argument in arguments if argument not in folders]
    named = any(pair.lstrip("+").startswith("data=") for pair in pairs)
    if len(folders) + named != 1:
        raise ConfigError("name one folder of images: python -m normlab.inspect FOLDER; or one data set: data=NAME")
    options, groups = parsed(pairs if named else [*pairs, "data=folder"], Options)
    values = groups["data"] if named else {**groups["data"], "root": folders[0]}
    config = parse_group("data", values)
    if options.limit and config.limit:
        raise ConfigError(f"limit={options.limit}: data.limit={config.limit} means the same; give only one of the two")
    options = options.model_copy(update={"limit": options.limit or config.limit})
    small = options.small if options.conditioning or with_plot else 0
    if named:
        return data_label(values), options, inspect_source(config, options.limit, small)
    return folders[0], options, inspect_folder(Path(folders[0]), config, options.limit, small)


if __name__ == "__main__":
    main(sys.argv[1:])
