"""Any network at its start: ``python -m normlab.curvature data=NAME [arch=NAME] [norms=a,b] [images=256] [seed=0]``.

For every scheme: the largest eigenvalue, trace and spectral density of the loss's Hessian, the learning rate that the
largest eigenvalue allows, the measured scale of the first layer's output versus the prediction from the scheme's second
moments, and activations and gradients of each layer. Nothing is trained; to measure during a run, use
``trainer.probe_steps=[0,100]``.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd

from normlab import record
from normlab.commandline.arguments import command, parsed
from normlab.config import Arch, NonNegativeInt, PositiveInt, Section, choices, data_label, defaults, parse_group
from normlab.data import load
from normlab.files import replacing_files
from normlab.measurements.start_curvature import networks_at_start
from normlab.report import curvature as report


class Options(Section):
    """What the command takes besides the keys of data and arch."""

    norms: tuple[str, ...] | None = None  # None: all
    images: PositiveInt = 256  # of the training split, over which the loss is averaged
    seed: NonNegativeInt = 0  # of the initial weights
    density: bool = True
    out: Path | None = None  # None: runs/curvature/DATA-ARCH


def main(arguments: list[str]) -> None:
    """Compute, print and save; a mistake ends as one line and status 2."""
    with command(arguments, __doc__):
        options, groups = parsed(arguments, Options, ("data", "arch"))
        data = load(parse_group("data", groups["data"]))
        arch: Arch = parse_group("arch", groups.get("arch") or defaults("arch", "cnn"))
        out = options.out or Path("runs") / "curvature" / f"{data_label(groups['data'])}-{arch.name}"
        record.require_writable(out, "out")
        rows, layers, densities, reasons = [], [], {}, []
        names = options.norms or choices("norm")
        for name, outcome in networks_at_start(data, arch, names, options.images, options.seed, options.density):
            if isinstance(outcome, str):
                reasons.append(f"{name}: {outcome}")
                continue
            row, of_layers, density = outcome
            rows.append({"scheme": name, **row})
            layers += [{"scheme": name, **layer} for layer in of_layers]
            if density is not None:
                densities[name] = density
        frame = pd.DataFrame(rows)
        if rows:
            what, images = f"{arch.name} on {data_label(groups['data'])}", min(options.images, len(data.train))
            with replacing_files(out) as new:
                report.save(new, frame, pd.DataFrame(layers), densities, what, images, options.seed, arguments)
        if rows:
            print(report.table(frame))
            print(f"saved in {out}/: curvature.csv, curvature.md, layers.csv" + (", density" if densities else ""))
        for reason in reasons:
            print(reason)
        if not rows:
            sys.exit(2)


if __name__ == "__main__":
    main(sys.argv[1:])
