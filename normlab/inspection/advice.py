"""What follows from the statistics of a user's images: presets, a linear model, advice, lines to paste."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from normlab.config import choices, defaults
from normlab.inspection.images import Inspection
from normlab.statistics.channels import ESTIMATORS, channel_names
from normlab.theory.spectrum import linear_hessian
from normlab.theory.stability import stable_rate

SCHEMES = ("raw", "unit", "centered", "imagenet", "dataset", "feature")  # whose conditioning is shown


EVIDENCE = "results/README.md and results/claims.md in normlab's repository"


PRECISION = 0.01  # relative, of a mean that is called known


FEWEST = 30  # images that say anything about a preset; the intervals of fewer are rough


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
                "stable_rate": stable_rate(spectrum.lambda_max),
            }
        )
    return rows


def advice(found: Inspection, intervals: dict[Any, tuple[Tensor, Tensor]]) -> list[str]:
    """What to do, by the project's own results."""
    nearest = presets(intervals)[0]
    sentences = [
        "A trained network, as it is or to fine-tune: the normalization that it was trained with, whatever these "
        "numbers are (results/mismatch, results/finetuning).",
        "From scratch, from He's initialization and with nothing normalized inside the network: subtract a mean and "
        "divide by a deviation, these images' own, below, or a preset's that is near; which of them differs little at "
        "their best rates (results/constants). [0, 1] and raw pixels did worse, also at theirs (results/ordering).",
        "From another initialization, or with batch normalization and a rate that decays: no advice yet. The earlier "
        "one is withdrawn and being measured again (experiments/CORRECTIONS.md).",
    ]
    if nearest["inside"] and len(found) >= FEWEST:
        sentences.append(f"These {len(found):,} images cannot tell {nearest['name']} from their own statistics.")
    if found.one_channel == len(found):
        sentences.append("All images have one channel: a preset of three constants would make three channels of them.")
    elif found.channels == 1:
        sentences.append("All images are greyscale, but not all of them are stored as one channel.")
    elif found.greyscale:
        are = "is" if found.greyscale == 1 else "are"
        sentences.append(
            f"{found.greyscale:,} of {len(found):,} images {are} greyscale, stored as or turned into three channels."
        )
    if found.unreadable:
        what, them = ("file or folder", "it") if len(found.unreadable) == 1 else ("files or folders", "them")
        sentences.append(
            f"{len(found.unreadable):,} {what} cannot be read: data.on_corrupt=skip leaves {them} out of a run."
        )
    black, white = found.clipped()
    if max(black.max(), white.max()) > 0.2:
        sentences.append("Over a fifth of the pixels are black or white: their distribution is far from a Gaussian.")
    return sentences


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
