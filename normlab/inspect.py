"""Statistics of one's own images: ``python -m normlab.inspect FOLDER [--json] [KEY=VALUE ...]``.

Every image below the folder counts, whatever its size: mean and standard deviation of each channel by two estimators
with 95% intervals, range, clipped pixels, greyscale and unreadable files, how many images would have been enough, the
nearest preset, the condition number of a linear model at 32 pixels, advice that follows from the project's own results,
and lines to paste for torchvision, albumentations, timm and Hugging Face. ``data=NAME`` instead of a folder looks at
what a run with the same keys would train on, at ``data.image_size`` if it is given.

The keys: ``limit=N`` draws N images at random; ``conditioning=false`` leaves the linear model out, which takes ten
seconds, and ``small=N`` gives it N images at most, else 4,000; ``resamples=N`` are those of the bootstrap, else 1,000.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from tabulate import tabulate
from torch import Tensor

from normlab.arguments import answer_help, key_and_value, parsed, write
from normlab.config import PositiveInt, Section, check, choices, data_label, defaults, parse_group
from normlab.data import Files
from normlab.data.folder import images_below, unreadable_folder
from normlab.data.images import resize
from normlab.data.splits import split
from normlab.errors import ConfigError, DataError, NormlabError, fail
from normlab.inspection.images import Inspection, inspect_files, inspect_images
from normlab.pictures import SUFFIXES
from normlab.statistics.channels import ESTIMATORS, channel_names
from normlab.theory.spectrum import linear_hessian

SCHEMES = ("raw", "unit", "centered", "imagenet", "dataset", "feature")  # whose conditioning is shown
EVIDENCE = "results/README.md and results/claims.md in normlab's repository"
PRECISION = 0.01  # relative, of a mean that is called known
FEWEST = 30  # images that say anything about a preset; the intervals of fewer are rough


class Options(Section):
    """What the command takes besides a folder or the keys of data."""

    limit: PositiveInt | None = None  # images drawn at random; None: all
    resamples: PositiveInt = 1000  # of the bootstrap
    conditioning: bool = True  # of a linear model at 32 pixels; takes ten seconds
    small: PositiveInt = 4000  # images that it is computed from, at most


def main(arguments: list[str]) -> None:
    """Look, and print; a mistake ends as one line and status 2."""
    answer_help(arguments, __doc__)
    try:
        as_json = "--json" in arguments
        label, options, found, total = looked_at([argument for argument in arguments if argument != "--json"])
        content = report(found, options, total)
    except NormlabError as error:
        fail(str(error))
    except KeyboardInterrupt:
        fail("interrupted", status=130)
    write(json.dumps(content, indent=1) if as_json else printed(label, content))


def looked_at(arguments: Sequence[str]) -> tuple[str, Options, Inspection, int]:
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
    if named:
        options, groups = parsed(pairs, Options)
        config = parse_group("data", groups["data"])
        train = split(config.build(), config.validation, config.test, config.limit, config.split_seed)["train"]
        if isinstance(train.pictures, Files):  # read here, so that it does not matter whether they fit in memory
            found = files_found(train.pictures.paths, options, config.image_size)
        else:
            images = train.pictures[drawn(len(train), options.limit)]
            images = images if config.image_size is None else resize(images, config.image_size)
            found = inspect_images(images, options.small)
        return data_label(groups["data"]), options, found, len(train)
    options = check(Options, dict(key_and_value(pair) for pair in pairs))
    errors: list[OSError] = []
    paths = files_below(Path(folders[0]).expanduser(), errors)
    found = files_found(paths, options)
    found = replace(found, unreadable=(*map(unreadable_folder, errors), *found.unreadable))
    return folders[0], options, found, len(paths)


def files_below(folder: Path, errors: list[OSError] | None = None) -> list[Path]:
    """Every image below a folder, in the order of their names.

    Args:
        folder: to look into.
        errors: takes one for each sub-folder that cannot be looked into.

    Raises:
        DataError: if there is no such folder, or no image in it.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: there is no such folder")
    errors = [] if errors is None else errors
    found = images_below(folder, errors.append)
    if not found:
        raise DataError(
            unreadable_folder(errors[0]) if errors else f"{folder}: no images in it ({', '.join(sorted(SUFFIXES))})"
        )
    return found


def drawn(count: int, limit: int | None) -> Tensor:
    """Positions of ``limit`` of ``count`` images at random, or of all of them: int64 [N], rising."""
    order = torch.randperm(count, generator=torch.Generator().manual_seed(0))
    return order[:limit].sort().values


def files_found(paths: Sequence[Path], options: Options, image_size: int | None = None) -> Inspection:
    """Look at the files, or so many of them, with a progress bar in a terminal."""
    from tqdm import tqdm

    chosen = [paths[place] for place in drawn(len(paths), options.limit).tolist()]
    with tqdm(total=len(chosen), desc="images", unit="", disable=not sys.stderr.isatty(), leave=False) as bar:
        return inspect_files(chosen, options.small, image_size=image_size, progress=bar.update)


def report(found: Inspection, options: Options, total: int) -> dict[str, Any]:
    """Everything that is printed, as JSON types; shares and statistics in units of u = x/255.

    Args:
        found: in the images.
        options: of the command.
        total: images that these were drawn from, with ``limit``.
    """
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
                ends = (None, None) if math.isnan(lower) else (lower, upper)
                row[f"{which}_{estimator}"] = dict(zip(("value", "low", "high"), (value, *ends), strict=True))
        row |= {"smallest": low[c].item(), "largest": high[c].item()}
        row |= {"share_at_0": black[c].item(), "share_at_255": white[c].item()}
        channels.append(row)
    enough = found.enough(PRECISION)
    mean, std = (values[0].tolist() for values in intervals["pooled"])
    if found.one_channel < len(found):  # equal channels are still three to a library
        mean, std = (values * 3 if len(values) == 1 else values for values in (mean, std))
    told = advice(found, intervals)
    if options.conditioning and not len(found.small):
        told.append("No linear model: none of the images drawn for it can be read. A larger small=N draws more.")
    elif options.conditioning and len(found.small) <= found.small[0].numel():
        told.append(
            f"The linear model has {found.small[0].numel():,} inputs and {len(found.small):,} images: its rank and "
            "condition number grow with the images, so compare them with those of as many others only."
        )
    return {
        "images": len(found),
        "sample": {"drawn": options.limit, "of": total} if options.limit and options.limit < total else None,
        "greyscale": found.greyscale,
        "converted": found.converted,
        "unreadable": list(found.unreadable),
        "sizes": [[*size, count] for size, count in sorted(found.sizes.items(), key=lambda item: -item[1])],
        "channels": channels,
        "images_for_1_percent": None if math.isinf(enough) else math.ceil(enough),
        "means_known_to": None if math.isinf(enough) else PRECISION * math.sqrt(enough / len(found)),
        "presets": presets(intervals),
        "conditioning": conditioning(found) if options.conditioning and len(found.small) else [],
        "advice": told,
        "evidence": EVIDENCE,
        "lines_notes": lines_notes(found, std),
        "lines": lines(mean, std),
    }


def presets(intervals: dict[Any, tuple[Tensor, Tensor]]) -> list[dict[str, Any]]:
    """The fixed constants, the nearest first, by the better estimator of each.

    ``distance`` is the root mean square over channels of sqrt((m - m0)^2 + (s - s0)^2), in units of u; ``inside``,
    whether all constants lie within the 95% intervals of that estimator, None of one image. A single channel is
    compared with the constants of all three, which is what it would get.
    """
    rows: list[dict[str, Any]] = []
    for name in choices("norm"):
        options = defaults("norm", name)
        if not options["_target_"].endswith(".Fixed") or name == "raw":
            continue
        constants = [torch.tensor(options[key], dtype=torch.float64).reshape(-1).expand(3) for key in ("mean", "std")]
        for estimator in ESTIMATORS:
            pairs = list(zip(intervals[estimator], constants, strict=True))
            squared = sum((values[0] - constant).square() for values, constant in pairs)
            assert isinstance(squared, Tensor)
            known = not any(bool(values.isnan().any()) for values, _ in pairs)
            inside = all(bool(((values[1] <= c) & (c <= values[2])).all()) for values, c in pairs)
            rows.append(
                {
                    "name": name,
                    "mean": constants[0].tolist(),
                    "std": constants[1].tolist(),
                    "estimator": estimator,
                    "distance": squared.mean().sqrt().item(),
                    "inside": inside if known else None,
                }
            )
    nearest: dict[str, dict[str, Any]] = {}
    for row in sorted(rows, key=lambda row: row["distance"]):
        nearest.setdefault(str(row["name"]), row)
    return list(nearest.values())


def conditioning(found: Inspection) -> list[dict[str, Any]]:
    """Rank, condition number and largest stable rate of a linear model on small copies, under the main schemes."""
    from tqdm import tqdm

    rows = []
    for name in tqdm(SCHEMES, desc="linear model", disable=not sys.stderr.isatty(), leave=False):
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
    if nearest["inside"] and len(found) >= FEWEST:
        told.append(f"These {len(found):,} images cannot tell {nearest['name']} from their own statistics.")
    if found.one_channel == len(found):
        told.append("All images have one channel: a preset of three constants would make three channels of them.")
    elif found.channels == 1:
        told.append("All images are greyscale, but not all of them are stored as one channel.")
    elif found.greyscale:
        are = "is" if found.greyscale == 1 else "are"
        told.append(
            f"{found.greyscale:,} of {len(found):,} images {are} greyscale, stored as or turned into three channels."
        )
    if found.unreadable:
        what, them = ("file or folder", "it") if len(found.unreadable) == 1 else ("files or folders", "them")
        told.append(
            f"{len(found.unreadable):,} {what} cannot be read: data.on_corrupt=skip leaves {them} out of a run."
        )
    black, white = found.clipped()
    if max(black.max(), white.max()) > 0.2:
        told.append("Over a fifth of the pixels are black or white: their distribution is far from a Gaussian.")
    return told


def lines_notes(found: Inspection, std: Sequence[float]) -> list[str]:
    """What to know of the lines before they are pasted."""
    mode = "RGB" if len(std) > 1 else "L"
    notes = [
        "The deviation is that of all pixels (pooled).",
        f'Open every file by Image.open(path).convert("{mode}"), as these numbers were taken; '
        "224 stands for the size that you want.",
    ]
    if any(how.startswith("16 bits") for how in found.converted):
        notes.append("Files of 16 bits were divided by 257 here; convert() would clip them at 255.")
    flat = [name for name, value in zip(channel_names(len(std)), std, strict=True) if not value]
    if flat:
        notes.append(f"A deviation of 0 stands as 1.0, to divide by ({', '.join(flat)}).")
    return notes


def lines(mean: Sequence[float], std: Sequence[float]) -> dict[str, str]:
    """Ready to paste: the same normalization for four libraries and for normlab.

    Those of timm and transformers resize to 224 pixels, too, which leaves an image of 224x224 as it is.

    >>> print(lines([0.5], [0.25])["albumentations"])
    albumentations.Normalize(mean=[0.5], std=[0.25], max_pixel_value=255.0)
    """
    means, stds = ([float(f"{value:.8g}") for value in values] for values in (mean, [s or 1.0 for s in std]))
    both = f"mean={means}, std={stds}"
    return {
        "torchvision": f"v2.Compose([v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize({both})])",
        "albumentations": f"albumentations.Normalize({both}, max_pixel_value=255.0)",
        "timm": f"timm.data.create_transform(224, crop_pct=1.0, mean={tuple(means)}, std={tuple(stds)})",
        "transformers": (
            'ViTImageProcessor(size={"height": 224, "width": 224}, rescale_factor=1 / 255, '
            f"image_mean={means}, image_std={stds})"
        ),
        "normlab": f'normlab.normalization("imagenet", {both})',
    }


def printed(label: str, content: dict[str, Any]) -> str:
    """The report for people."""
    (width, height, most), *others = content["sizes"]
    images, sample = counted(content["images"], "image"), content["sample"]
    if others:
        text = [
            f"{label}: {images}, {most:,} of {width}x{height} pixels, the rest of {counted(len(others), 'other size')}"
        ]
    else:
        text = [f"{label}: {images} of {width}x{height} pixels"]
    if sample:
        text.append(f"a sample: {sample['drawn']:,} drawn at random from {sample['of']:,}")
    notes = [f"{content['greyscale']:,} greyscale"] * bool(content["greyscale"])
    notes += [f"{count:,} {what}" for what, count in content["converted"].items()]
    notes += [f"{len(content['unreadable']):,} unreadable"] * bool(content["unreadable"])
    text += [", ".join(notes)] * bool(notes)
    text += [f"  {problem}" for problem in content["unreadable"][:5]]
    statistics = {"mean_pooled": "mean", "std_pooled": "std of all pixels", "std_per_image": "mean of images' std"}
    if others:  # of images of one size both means are the same
        means = {"mean_pooled": "mean of all pixels", "mean_per_image": "mean of images' means"}
        statistics = means | {key: name for key, name in statistics.items() if key not in means}
    rows = [
        [
            row["channel"],
            *(
                f"{v['value']:.4f}" + ("" if v["low"] is None else f" [{v['low']:.4f}, {v['high']:.4f}]")
                for v in (row[key] for key in statistics)
            ),
            f"{row['smallest']}..{row['largest']}",
            f"{row['share_at_0']:.1%}",
            f"{row['share_at_255']:.1%}",
        ]
        for row in content["channels"]
    ]
    headers = ["u = x/255", *statistics.values(), "range", "at 0", "at 255"]
    text += ["", tabulate(rows, headers, disable_numparse=True)]
    text.append("")
    enough = content["images_for_1_percent"]
    if enough is not None:
        give = "gives" if enough == 1 else "give"
        line = f"{counted(enough, 'image')} drawn at random {give} the means to {PRECISION:.0%} in 95% of draws"
        if enough > content["images"]:
            line += f"; you have {content['images']:,}: known to {percent(content['means_known_to'])}"
        text.append(line)
    nearest = content["presets"][0]
    estimator = {"pooled": "std of all pixels", "per_image": "mean of images' std"}[nearest["estimator"]]
    line = f"nearest preset: {nearest['name']}, {nearest['distance']:.3f} away by the {estimator}"
    if nearest["inside"] is None:
        line += "; no interval from one image"
    elif content["images"] >= FEWEST:
        line += f", {'within' if nearest['inside'] else 'outside'} the intervals"
    text.append(line)
    if content["conditioning"]:
        table = [
            [row["scheme"], row["rank"], f"{row['condition_number']:.3g}", f"{row['stable_rate']:.3g}"]
            for row in content["conditioning"]
        ]
        text += ["", f"a linear model on {content['conditioning'][0]['images']:,} of them at 32 pixels:"]
        text.append(tabulate(table, ["scheme", "rank", "condition number", "stable below lr"], disable_numparse=True))
    text += ["", *content["advice"], f"(evidence: {EVIDENCE})", "", "The images' own statistics, to paste."]
    text += content["lines_notes"]
    text += [f"  {library:15}{line}" for library, line in content["lines"].items()]
    return "\n".join(text)


def percent(share: float) -> str:
    """With two digits.

    >>> percent(0.01234), percent(0.251), percent(3.14159)
    ('1.2%', '25%', '310%')
    """
    return f"{float(f'{100 * share:.2g}'):g}%"


def counted(count: int, noun: str) -> str:
    """A number of things.

    >>> counted(1, "image"), counted(1234, "other size")
    ('1 image', '1,234 other sizes')
    """
    return f"{count:,} {noun}{'s' * (count != 1)}"


if __name__ == "__main__":
    main(sys.argv[1:])
