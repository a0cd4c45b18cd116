"""A trained network under every normalization: ``python -m normlab.mismatch data=folder data.root=FOLDER [model=N]``.

No training: accuracy, confidence and agreement with what the network says under the normalization that it was trained
with, for every scheme, with 95% intervals over images. Where the folder's sub-folders are named by ImageNet's synsets
(n01440764) or the class numbers of the network, they are the classes. Any other folder does without accuracy, and all
images below it count.

All images are one split here, of which ``data.limit`` takes so many at most; ``data.on_corrupt=skip`` goes on where one
cannot be read. ``norms=a,b`` are the schemes, else all; ``batch``, ``resamples`` (of the bootstrap) and ``out`` can be
changed, too. Schemes that are
fitted are fitted on these images, whose labels they do not see; pca and zca whiten patches of 8 pixels, because the
matrix for whole images is too large. learned is not trained here, so it equals unit, as yolo does by its formula.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd

from normlab import record
from normlab.archs.pretrained import weights
from normlab.commandline.arguments import answer_help, parsed
from normlab.config import PositiveInt, Section, data_label
from normlab.errors import NormlabError, fail
from normlab.measurements.mismatch import under_each
from normlab.report import mismatch as report


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
    (out / "mismatch.md").write_text(report.document(label, options.model, found, frame, notes, arguments))
    mean, std = (report.numbers(values) for values in (found.expectation.mean, found.expectation.std))
    print(f"{options.model} expects mean {mean}, std {std}")
    print(report.table(frame))
    for note in notes:
        print(note)
    print(f"saved in {out}/: mismatch.csv, mismatch.md")


if __name__ == "__main__":
    main(sys.argv[1:])
