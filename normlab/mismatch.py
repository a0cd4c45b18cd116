"""A trained network under every normalization: ``python -m normlab.mismatch data=folder data.root=FOLDER [model=N]``.

No training: accuracy, confidence and agreement with what the network says under the normalization that it was trained
with, for every scheme, with 95% intervals over images. The folder's sub-folders are ImageNet's synsets (n01440764) or
the class numbers of the network; ``data.limit`` draws so many of all their images. Schemes that are fitted are fitted
on these images, whose labels they do not see; pca and zca whiten patches of 8 pixels, because the matrix for whole
images is too large.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from tabulate import tabulate
from torch import Tensor

from normlab import record
from normlab.archs.pretrained import Weights, weights
from normlab.arguments import answer_help, data_label, parsed
from normlab.config import Data, PositiveInt, Section, choices
from normlab.data import Files, Source
from normlab.data.images import decode
from normlab.errors import ConfigError, DataError, NormlabError, fail
from normlab.norms import Normalization, normalization
from normlab.report.origin import made_by
from normlab.statistics import bootstrap_interval, share_interval

EXPECTED = "expected"  # the row of the network's own normalization
SYNSET = re.compile(r"n\d{8}")
PATCHES = {"pca": 8, "zca": 8}  # pixels; whole images of 224 pixels would take a matrix of 169 GiB


class Options(Section):
    """What the command takes besides the keys of data."""

    model: str = "efficientnet_lite0"  # or timm/NAME, torchvision/NAME, huggingface/NAME or /FOLDER
    norms: tuple[str, ...] | None = None  # None: all
    batch: PositiveInt = 50
    resamples: PositiveInt = 2000  # of the bootstrap
    out: Path | None = None  # None: runs/mismatch/DATA-MODEL


def main(arguments: list[str]) -> None:
    """Measure, print and save; a mistake ends as one line and status 2."""
    answer_help(arguments, __doc__)
    try:
        options, groups = parsed(arguments, Options)
        label = data_label(groups["data"])
        out = options.out or Path("runs") / "mismatch" / f"{label}-{options.model.replace('/', '-')}"
        record.require_writable(out, "out")
        found = weights(options.model)
        rows, left_out = measure(groups["data"], found, options)
    except NormlabError as error:
        fail(str(error))
    except KeyboardInterrupt:
        fail("interrupted", status=130)
    frame = pd.DataFrame(rows)
    frame.to_csv(out / "mismatch.csv", index=False)
    (out / "mismatch.md").write_text(document(label, options.model, found, frame, left_out, arguments))
    print(f"{options.model} expects mean {_numbers(found.expectation.mean)}, std {_numbers(found.expectation.std)}")
    print(printed(frame))
    for name, reason in left_out.items():
        print(f"{name}: {reason}")
    print(f"saved in {out}/: mismatch.csv, mismatch.md")


def mismatches(
    *, data: dict[str, Any], model: str = "efficientnet_lite0", norms: Sequence[str]
) -> list[dict[str, Any]]:
    """The same as a measurement of a study: a row for each scheme.

    Columns: ``model``, ``data``, ``norm``, ``images``; ``accuracy``, ``confidence`` (mean of the largest probability),
    ``agreement`` (share of images with the same answer as under the expected scheme) and ``difference`` (of accuracies,
    less the expected one), each with the ends of its 95% interval over images.

    Args:
        data: options of a folder.
        model: see :func:`normlab.archs.pretrained.weights`.
        norms: schemes.

    Raises:
        DataError: if the images are missing, or their classes are none of the network's.
    """
    from normlab.config import defaults

    options = Options(model=model, norms=tuple(norms))
    try:
        found = weights(model)
    except NormlabError as error:  # a package that is not installed is like data that is not here
        raise DataError(str(error)) from None
    rows, left_out = measure({**defaults("data", data["name"]), **data}, found, options)
    for name, reason in left_out.items():
        print(f"{name}: {reason}", file=sys.stderr)
    return [{"model": model, "data": data_label(data), **row} for row in rows]


def measure(data: dict[str, Any], found: Weights, options: Options) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """A row for each scheme, and why others have none."""
    from tqdm import tqdm

    images, labels = pictures(data, found)
    network = found.network.eval()
    expected = fixed(found)
    reference = answers(network, expected, images, options.batch)
    rows = [row(EXPECTED, reference, reference, labels, options)]
    left_out = {}
    names = options.norms or choices("norm")
    for name in tqdm(names, desc="schemes", disable=not sys.stderr.isatty(), leave=False):
        patch = PATCHES.get(name)
        label = f"{name}, patches of {patch}" if patch else name
        try:
            norm = normalization(name, **({"patch": patch} if patch else {})).fit(images.split(options.batch))
            rows.append(row(label, answers(network, norm, images, options.batch), reference, labels, options))
        except NormlabError as error:
            left_out[label] = str(error)
    return rows, left_out


def fixed(found: Weights) -> Normalization:
    """The normalization that a network expects."""
    return normalization("imagenet", mean=list(found.expectation.mean), std=list(found.expectation.std))


def pictures(data: dict[str, Any], found: Weights) -> tuple[Tensor, Tensor]:
    """All images as the network takes them, uint8 [N, 3, S, S], and the numbers of their classes, int64 [N].

    At ``data.limit`` so many, drawn at random from all of them, the same at each call.

    Raises:
        ConfigError: for ``data.image_size``.
        DataError: for a source that is no folder, or classes that are none of the network's.
    """
    from normlab.config import parse_group

    config: Data = parse_group("data", data)
    size = found.expectation.image_size
    if config.image_size is not None:
        raise ConfigError(
            f"data.image_size={config.image_size}: leave it out; the network's own size, {size}, is taken"
        )
    source: Source = config.build()
    parts = [part for part in (source.train, source.validation, source.test) if part is not None]
    files = [part.pictures for part in parts]
    if not all(isinstance(part, Files) for part in files):
        raise DataError("data: a folder of image files is wanted, whose sub-folders are classes of the network")
    numbers = class_numbers(source.classes, found.classes)
    paths = [path for part in files if isinstance(part, Files) for path in part.paths]
    order = torch.randperm(len(paths), generator=torch.Generator().manual_seed(config.split_seed))
    chosen = order[: config.limit].sort().values
    skip = any(part.skip_corrupt for part in files if isinstance(part, Files))
    images, kept, _ = decode([paths[place] for place in chosen.tolist()], found.expectation.resize, skip)
    images = images.repeat(1, 3 // images.shape[1], 1, 1)
    margin = round((images.shape[2] - size) / 2)  # as torchvision's CenterCrop
    labels = torch.cat([part.labels for part in parts])[chosen[kept]]
    return images[..., margin : margin + size, margin : margin + size].contiguous(), numbers[labels]


def class_numbers(names: Sequence[str], classes: int) -> Tensor:
    """Numbers of the network's classes, int64, from ImageNet's synsets or from numbers.

    ImageNet-1k counts its synsets in the order of their names.

    Raises:
        DataError: for another name, or for synsets and a network of other than ImageNet-1k's classes.
    """
    if all(SYNSET.fullmatch(name) for name in names):
        if classes != 1000:  # its numbers are others: 1001 with a background first, or the classes of a fine-tuning
            raise DataError(
                f"class {names[0]}: the network has {classes:,} classes, not the 1,000 of ImageNet-1k, so that its "
                f"numbers of the synsets are not known: name the sub-folders by numbers below {classes}"
            )
        try:
            from timm.data import ImageNetInfo
        except ImportError:
            raise DataError("synsets need the list that comes with timm: pip install 'normlab[timm]'") from None
        place = {synset: number for number, synset in enumerate(ImageNetInfo().label_names())}
        if unknown := [name for name in names if name not in place]:
            raise DataError(f"class {unknown[0]} is none of ImageNet-1k's")
        return torch.tensor([place[name] for name in names])
    if all(name.isdecimal() and int(name) < classes for name in names):
        return torch.tensor([int(name) for name in names])
    odd = next(name for name in names if not (name.isdecimal() and int(name) < classes))
    raise DataError(
        f"class {odd!r}: sub-folders are named by ImageNet's synsets (n01440764) or numbers below {classes}"
    )


def answers(network: torch.nn.Module, norm: Normalization, images: Tensor, batch: int) -> Tensor:
    """Probabilities, [N, classes]."""

    def parts() -> Iterator[Tensor]:
        with torch.no_grad():
            for part in images.split(batch):
                yield network(norm(part)).softmax(1)

    return torch.cat(list(parts()))


def row(name: str, found: Tensor, reference: Tensor, labels: Tensor, options: Options) -> dict[str, Any]:
    """One scheme's numbers with their intervals; the expected one agrees with itself for certain."""
    confidence, answer = (value.numpy() for value in found.max(1))
    right, before = (answer == labels.numpy()), (reference.argmax(1) == labels).numpy()
    same = answer == reference.argmax(1).numpy()
    generator = np.random.default_rng(0)
    numbers: dict[str, Any] = {"norm": name, "images": len(labels)}
    intervals = {
        "accuracy": share_interval(int(right.sum()), len(right)),
        "confidence": bootstrap_interval(confidence.astype(np.float64), generator, resamples=options.resamples),
        "agreement": share_interval(int(same.sum()), len(same)),
        "difference": bootstrap_interval(
            right.astype(np.float64) - before.astype(np.float64), generator, resamples=options.resamples
        ),
    }
    for key, interval in intervals.items():
        low, high = interval.low, interval.high
        if name == EXPECTED and key in ("agreement", "difference"):  # 1 and 0 by definition
            low = high = float("nan")
        numbers |= {key: interval.estimate, f"{key}_low": low, f"{key}_high": high}
    return numbers


def printed(frame: pd.DataFrame, form: str = "simple") -> str:
    """The table for people."""
    from normlab.report.tables import percent

    keys = {
        "accuracy": "top-1 accuracy",
        "difference": "less expected, in points",
        "confidence": "confidence",
        "agreement": "same answer",
    }
    shown: dict[str, list[str]] = {"scheme": frame.norm.tolist()}
    for key, heading in keys.items():
        columns = zip(frame[key], frame[f"{key}_low"], frame[f"{key}_high"], strict=True)
        points = key == "difference"  # a difference of shares is no percentage of anything
        cells = [percent(value, low, high, sign=points) for value, low, high in columns]
        shown[heading] = [cell.replace("%", "") for cell in cells] if points else cells
    return tabulate(shown, "keys", tablefmt=form, disable_numparse=True)


def document(
    label: str, model: str, found: Weights, frame: pd.DataFrame, left_out: dict[str, str], arguments: Sequence[str]
) -> str:
    """The table as Markdown, with what made it."""
    about = found.expectation
    count = int(frame.images.iloc[0])
    reasons = [f"- {name}: {reason}" for name, reason in left_out.items()]
    parts = [
        f"# {model} on {label}, under other normalizations than its own",
        f"{count:,} images, no training. The network expects mean {_numbers(about.mean)} and standard deviation\n"
        f"{_numbers(about.std)} ({about.source}), at {about.image_size} pixels. Intervals are 95% over images: score\n"
        "intervals of shares, bootstrap of the rest.",
        f"Each image's shorter side was resized to {about.resize} pixels, bilinearly with antialiasing, and the\n"
        "centre cut out. The network's own preprocessing may resize otherwise (bicubic, squashed to a square), so the\n"
        f"row {EXPECTED!r} is not the accuracy that was published. All rows are of the same pixels.",
        printed(frame, "github"),
        *["\n".join(["Left out:", "", *reasons])] * bool(reasons),
        made_by("python -m normlab.mismatch", arguments),
    ]
    return "\n\n".join(parts) + "\n"


def _numbers(values: Sequence[float]) -> str:
    return " ".join(f"{value:.3f}" for value in values)


if __name__ == "__main__":
    main(sys.argv[1:])
