"""A trained network under every normalization: ``python -m normlab.mismatch data=folder data.root=FOLDER [model=N]``.

Nothing is trained. For every scheme: accuracy, confidence, and agreement with the network's answers under the
normalization that it was trained with, with 95% intervals over images. If the sub-folders are named by ImageNet's
synsets (n01440764), or by all class numbers of the network, they are the classes; with ``classes=imagenet`` some of the
numbers are enough. For any other folder there is no accuracy, and all images below the folder count.

All images form one split; ``data.limit`` is the largest number of images, and ``data.on_corrupt=skip`` leaves out files
that cannot be read. ``norms=a,b`` chooses the schemes (default: all); ``batch``, ``resamples`` (of the bootstrap) and
``out`` can be changed, too. Schemes are fitted on these images, without their labels. pca and zca whiten patches of 8
pixels, because the matrix for whole images is too large. learned is not trained here, so it equals unit, as yolo does
by its formula.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd

from normlab import record
from normlab.archs.pretrained import weights
from normlab.commandline.arguments import command, parsed
from normlab.config import PositiveInt, Section, data_label
from normlab.files import replacing_files, to_csv
from normlab.measurements.mismatch import Which, under_each
from normlab.report import mismatch as report


class Options(Section):
    """What the command takes besides the keys of data."""

    classes: Which = "auto"  # imagenet: numbered folders are the network's classes; own: they are not
    model: str = "efficientnet_lite0"  # or timm/NAME, torchvision/NAME, huggingface/NAME or /FOLDER
    norms: tuple[str, ...] | None = None  # None: all
    batch: PositiveInt = 50
    resamples: PositiveInt = 2000  # of the bootstrap
    out: Path | None = None  # None: runs/mismatch/DATA-MODEL


def main(arguments: list[str]) -> None:
    """Measure, print and save; a mistake ends as one line and status 2."""
    with command(arguments, __doc__):
        options, groups = parsed(arguments, Options)
        label = data_label(groups["data"])
        out = options.out or Path("runs") / "mismatch" / f"{label}-{options.model.replace('/', '-')}"
        record.require_writable(out, "out")
        trained = weights(options.model)
        rows, notes = under_each(
            groups["data"], trained, options.norms, options.batch, options.resamples, options.classes
        )
        frame = pd.DataFrame(rows)
        with replacing_files(out) as new:
            (new / "mismatch.csv").write_text(to_csv(frame))
            (new / "mismatch.md").write_text(report.document(label, options.model, trained, frame, notes, arguments))
        mean, std = (report.numbers(values) for values in (trained.expectation.mean, trained.expectation.std))
        print(f"{options.model} expects mean {mean}, std {std}")
        print(report.table(frame))
        for note in notes:
            print(note)
        print(f"saved in {out}/: mismatch.csv, mismatch.md")


if __name__ == "__main__":
    main(sys.argv[1:])
