"""Statistics of one's own images: ``python -m normlab.inspect FOLDER [--json] [limit=N] [conditioning=false]``.

Every image below the folder counts, whatever its size: mean and standard deviation of each channel by two estimators
with 95% intervals, range, clipped pixels, greyscale and unreadable files, how many images would have been enough, the
nearest preset, the condition number of a linear model at 32 pixels, advice that follows from the project's own results,
and lines to paste for torchvision, albumentations, timm and Hugging Face. ``data=NAME`` instead of a folder looks at
the training images of a known data set.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tabulate import tabulate
from torch import Tensor

from normlab.analysis.hessian import linear_hessian
from normlab.analysis.image_statistics import ESTIMATORS, channel_names
from normlab.analysis.inspection import Inspection, inspect_files, inspect_images
from normlab.arguments import data_label, parsed
from normlab.config import PositiveInt, Section, check, choices, defaults, parse_group
from normlab.data import MemorySplit, StreamedSplit, load
from normlab.data.folder import images_below
from normlab.data.images import SUFFIXES
from normlab.errors import ConfigError, DataError, NormlabError, fail

SCHEMES = ("raw", "unit", "centered", "imagenet", "dataset", "feature")  # whose conditioning is shown
EVIDENCE = "results/README.md, results/claims.md"
PRECISION = 0.01  # relative, of a mean that is called known


class Options(Section):
    """What the command takes besides a folder or the keys of data."""

    limit: PositiveInt | None = None  # files drawn at random; None: all
    resamples: PositiveInt = 1000  # of the bootstrap
    conditioning: bool = True  # of a linear model at 32 pixels; takes half a minute
    small: PositiveInt = 4000  # images that it is computed from, at most


def main(arguments: list[str]) -> None:
    """Look, and print; a mistake ends as one line and status 2."""
    try:
        as_json = "--json" in arguments
        label, options, found = looked_at([argument for argument in arguments if argument != "--json"])
        content = report(found, options)
    except NormlabError as error:
        fail(str(error))
    except KeyboardInterrupt:
        fail("interrupted", status=130)
    print(json.dumps(content, indent=1) if as_json else printed(label, content))


def looked_at(arguments: Sequence[str]) -> tuple[str, Options, Inspection]:
    """What to call the images, the options, and what was found.

    Raises:
        ConfigError: for no folder, two, an unknown key or a bad value.
        DataError: if there are no images, or none can be read.
    """
    folders = [argument for argument in arguments if "=" not in argument or Path(argument).is_dir()]
    pairs = [argument for argument in arguments if argument not in folders]
    named = any(pair.lstrip("+").startswith("data=") for pair in pairs)
    if len(folders) + named != 1:
        raise ConfigError("one folder of images is wanted, as in: python -m normlab.inspect FOLDER; or data=NAME")
    if named:
        options, groups = parsed(pairs, Options)
        split = load(parse_group("data", groups["data"])).train
        if isinstance(split, StreamedSplit):
            return data_label(groups["data"]), options, files_found(list(split.paths), options)
        assert isinstance(split, MemorySplit)
        return data_label(groups["data"]), options, inspect_images(split.images, options.small)
    import yaml

    own = {key: yaml.safe_load(value) for key, _, value in (pair.lstrip("+").partition("=") for pair in pairs)}
    options = check(Options, own)
    return folders[0], options, files_found(files_below(Path(folders[0]).expanduser()), options)


def files_below(folder: Path) -> list[Path]:
    """Every image below a folder, in the order of their names.

    Raises:
        DataError: if there is no such folder, or no image in it.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: there is no such folder")
    found = images_below(folder)
    if not found:
        raise DataError(f"{folder}: no images in it ({', '.join(sorted(SUFFIXES))})")
    return found


def files_found(paths: list[Path], options: Options) -> Inspection:
    """Look at the files, or so many of them, with a progress bar in a terminal."""
    from tqdm import tqdm

    if options.limit and options.limit < len(paths):
        chosen = torch.randperm(len(paths), generator=torch.Generator().manual_seed(0))[: options.limit]
        paths = [paths[place] for place in chosen.sort().values.tolist()]

    def bar(files: Any) -> Any:
        return tqdm(files, desc="images", unit="", disable=not sys.stderr.isatty(), leave=False)

    return inspect_files(paths, options.small, progress=bar)


def report(found: Inspection, options: Options) -> dict[str, Any]:
    """Everything that is printed, as JSON types; shares and statistics in units of u = x/255."""
    intervals = found.intervals(options.resamples)
    low, high = found.range()
    black, white = found.clipped()
    names = channel_names(found.channels)
    channels = []
    for c, name in enumerate(names):
        row: dict[str, Any] = {"channel": name}
        for estimator in ESTIMATORS:
            for which, values in zip(("mean", "std"), intervals[estimator], strict=True):
                value, lower, upper = values[:, c].tolist()
                row[f"{which}_{estimator}"] = {"value": value, "low": lower, "high": upper}
        row |= {"smallest": low[c].item(), "largest": high[c].item()}
        row |= {"share_at_0": black[c].item(), "share_at_255": white[c].item()}
        channels.append(row)
    enough = found.enough(PRECISION)
    mean, std = (values[0].tolist() for values in intervals["pooled"])
    return {
        "images": len(found),
        "greyscale": found.greyscale,
        "converted": found.converted,
        "unreadable": list(found.unreadable),
        "sizes": [[*size, count] for size, count in sorted(found.sizes.items(), key=lambda item: -item[1])],
        "channels": channels,
        "images_for_1_percent": None if math.isinf(enough) else math.ceil(enough),
        "presets": presets(intervals),
        "conditioning": conditioning(found) if options.conditioning else [],
        "advice": advice(found, intervals),
        "lines": lines(mean, std),
    }


def presets(intervals: dict[Any, tuple[Tensor, Tensor]]) -> list[dict[str, Any]]:
    """The fixed constants, the nearest first, by the better estimator of each.

    ``distance`` is the root mean square over channels of sqrt((m - m0)^2 + (s - s0)^2), in units of u; ``inside``,
    whether all constants lie within the 95% intervals of that estimator.
    """
    rows = []
    channels = intervals["pooled"][0].shape[1]
    for name in choices("norm"):
        options = defaults("norm", name)
        if not options["_target_"].endswith(".Fixed") or name == "raw":
            continue
        constants = [
            torch.tensor(options[key], dtype=torch.float64).reshape(-1).expand(3)[:channels] for key in ("mean", "std")
        ]
        for estimator in ESTIMATORS:
            pairs = list(zip(intervals[estimator], constants, strict=True))
            squared = sum((values[0] - constant).square() for values, constant in pairs)
            assert isinstance(squared, Tensor)
            inside = all(bool(((values[1] <= c) & (c <= values[2])).all()) for values, c in pairs)
            rows.append(
                {
                    "name": name,
                    "mean": constants[0].tolist(),
                    "std": constants[1].tolist(),
                    "estimator": estimator,
                    "distance": squared.mean().sqrt().item(),
                    "inside": inside,
                }
            )
    nearest: dict[str, dict[str, Any]] = {}
    for row in sorted(rows, key=lambda row: row["distance"]):
        nearest.setdefault(str(row["name"]), row)
    return list(nearest.values())


def conditioning(found: Inspection) -> list[dict[str, Any]]:
    """Rank, condition number and largest stable rate of a linear model on small copies, under the main schemes."""
    rows = []
    for name in SCHEMES:
        spectrum = linear_hessian(found.small, name)
        rows.append(
            {
                "scheme": name,
                "images": len(found.small),
                "rank": spectrum.rank,
                "lambda_max": spectrum.lambda_max,
                "condition_number": spectrum.condition_number,
                "stable_rate": 2 / spectrum.lambda_max,
            }
        )
    return rows


def advice(found: Inspection, intervals: dict[Any, tuple[Tensor, Tensor]]) -> list[str]:
    """What to do, by the project's own results."""
    nearest = presets(intervals)[0]
    told = [
        "A trained network, as it is or to fine-tune: the normalization that it was trained with, whatever these "
        "numbers are (results/mismatch, results/finetuning).",
        "From scratch: subtract a mean and divide by a deviation, these images' own, below, or a preset's that is "
        "near; which of them differs little (results/constants). [0, 1] and raw pixels do worse, also at their own "
        "best learning rate (results/ordering) and with batch normalization (results/redundancy, results/unit_range).",
    ]
    if nearest["inside"]:
        told.append(f"{nearest['name']} lies within the intervals of these images: it is as good as their own.")
    if found.channels == 1:
        told.append("All images are greyscale: a preset of three constants would make three channels of them.")
    elif found.greyscale:
        told.append(
            f"{found.greyscale:,} of {len(found):,} images are greyscale, stored as or turned into three channels."
        )
    if found.unreadable:
        told.append(f"{len(found.unreadable):,} files cannot be read: data.on_corrupt=skip leaves them out of a run.")
    black, white = found.clipped()
    if max(black.max(), white.max()) > 0.2:
        told.append("Over a fifth of the pixels are black or white: their distribution is far from a Gaussian.")
    return told


def lines(mean: Sequence[float], std: Sequence[float]) -> dict[str, str]:
    """Ready to paste: the same normalization for four libraries and for normlab.

    >>> print(lines([0.5], [0.25])["albumentations"])
    albumentations.Normalize(mean=[0.5], std=[0.25], max_pixel_value=255.0)
    """
    means, stds = ([float(f"{value:.8g}") for value in values] for values in (mean, [s or 1.0 for s in std]))
    both = f"mean={means}, std={stds}"
    return {
        "torchvision": f"v2.Compose([v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize({both})])",
        "albumentations": f"albumentations.Normalize({both}, max_pixel_value=255.0)",
        "timm": f"timm.data.create_transform(input_size=224, mean={tuple(means)}, std={tuple(stds)})",
        "transformers": f"ViTImageProcessor(rescale_factor=1 / 255, image_mean={means}, image_std={stds})",
        "normlab": f'normlab.normalization("imagenet", {both})',
    }


def printed(label: str, content: dict[str, Any]) -> str:
    """The report for people."""
    sizes = content["sizes"]
    size = f"{sizes[0][0]}x{sizes[0][1]}" + (f" and {len(sizes) - 1:,} other sizes" if len(sizes) > 1 else "")
    text = [f"{label}: {content['images']:,} images of {size} pixels"]
    notes = [f"{content['greyscale']:,} greyscale"] * bool(content["greyscale"])
    notes += [f"{count:,} {what}" for what, count in content["converted"].items()]
    notes += [f"{len(content['unreadable']):,} unreadable"] * bool(content["unreadable"])
    text += [", ".join(notes)] * bool(notes)
    text += [f"  {problem}" for problem in content["unreadable"][:5]]
    rows = [
        [
            row["channel"],
            *(
                f"{v['value']:.4f} [{v['low']:.4f}, {v['high']:.4f}]"
                for v in (row["mean_pooled"], row["std_pooled"], row["std_per_image"])
            ),
            f"{row['smallest']}..{row['largest']}",
            f"{row['share_at_0']:.1%}",
            f"{row['share_at_255']:.1%}",
        ]
        for row in content["channels"]
    ]
    headers = ["u = x/255", "mean", "std of all pixels", "mean of images' std", "range", "at 0", "at 255"]
    text += ["", tabulate(rows, headers, disable_numparse=True)]
    enough = content["images_for_1_percent"]
    if enough:
        text += ["", f"{enough:,} images drawn at random give the means to {PRECISION:.0%} in 95% of draws"]
    nearest = content["presets"][0]
    where = "within" if nearest["inside"] else "outside"
    estimator = {"pooled": "std of all pixels", "per_image": "mean of images' std"}[nearest["estimator"]]
    text.append(
        f"nearest preset: {nearest['name']}, {nearest['distance']:.3f} away by the {estimator}, {where} the intervals"
    )
    if content["conditioning"]:
        table = [
            [row["scheme"], row["rank"], f"{row['condition_number']:.3g}", f"{row['stable_rate']:.3g}"]
            for row in content["conditioning"]
        ]
        text += ["", f"a linear model on {content['conditioning'][0]['images']:,} of them at 32 pixels:"]
        text.append(tabulate(table, ["scheme", "rank", "condition number", "stable below lr"], disable_numparse=True))
    text += ["", *content["advice"], f"(evidence: {EVIDENCE})", "", "The images' own statistics, to paste:"]
    text += [f"  {library:15}{line}" for library, line in content["lines"].items()]
    return "\n".join(text)


if __name__ == "__main__":
    main(sys.argv[1:])
