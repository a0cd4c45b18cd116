"""A trained network under every normalization: ``python -m normlab.mismatch data=folder data.root=FOLDER [model=N]``.

No training: accuracy, confidence and agreement with what the network says under the normalization that it was trained
with, for every scheme, with 95% intervals over images. Where the folder's sub-folders are named by ImageNet's synsets
(n01440764) or the class numbers of the network, they are the classes. Any other folder does without accuracy, and all
images below it count.

``data.limit`` draws so many of all images, and ``data.on_corrupt=skip`` goes on where one cannot be read. ``norms=a,b``
are the schemes, else all; ``batch``, ``resamples`` (of the bootstrap) and ``out`` can be changed, too. Schemes that are
fitted are fitted on these images, whose labels they do not see; pca and zca whiten patches of 8 pixels, because the
matrix for whole images is too large. learned is not trained here, so it equals unit, as yolo does by its formula.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from tabulate import tabulate

from normlab import record
from normlab.archs.pretrained import Weights, weights
from normlab.arguments import answer_help, parsed
from normlab.config import PositiveInt, Section, data_label
from normlab.errors import NormlabError, fail
from normlab.measurements.mismatch import EXPECTED, under_each
from normlab.report.origin import made_by


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
        rows, notes = under_each(groups["data"], found, options.norms, options.batch, options.resamples)
    except NormlabError as error:
        fail(str(error))
    except KeyboardInterrupt:
        fail("interrupted", status=130)
    frame = pd.DataFrame(rows)
    frame.to_csv(out / "mismatch.csv", index=False)
    (out / "mismatch.md").write_text(document(label, options.model, found, frame, notes, arguments))
    print(f"{options.model} expects mean {_numbers(found.expectation.mean)}, std {_numbers(found.expectation.std)}")
    print(printed(frame))
    for note in notes:
        print(note)
    print(f"saved in {out}/: mismatch.csv, mismatch.md")


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
    label: str, model: str, found: Weights, frame: pd.DataFrame, notes: list[str], arguments: Sequence[str]
) -> str:
    """The table as Markdown, with what made it."""
    about = found.expectation
    count = int(frame.images.iloc[0])
    parts = [
        f"# {model} on {label}, under other normalizations than its own",
        f"{count:,} images, no training. The network expects mean {_numbers(about.mean)} and standard deviation\n"
        f"{_numbers(about.std)} ({about.source}), at {about.image_size} pixels. Intervals are 95% over images: score\n"
        "intervals of shares, bootstrap of the rest.",
        f"Each image's shorter side was resized to {about.resize} pixels, bilinearly with antialiasing, and the\n"
        "centre cut out. The network's own preprocessing may resize otherwise (bicubic, squashed to a square), so the\n"
        f"row {EXPECTED!r} is not what was published of it. All rows are of the same pixels.",
        printed(frame, "github"),
        *["\n".join(f"- {note}" for note in notes)] * bool(notes),
        made_by("python -m normlab.mismatch", arguments),
    ]
    return "\n\n".join(parts) + "\n"


def _numbers(values: Sequence[float]) -> str:
    return " ".join(f"{value:.3f}" for value in values)


if __name__ == "__main__":
    main(sys.argv[1:])
