"""Conclusions from the statistics of a user's images: nearest preset, linear model, advice, lines to paste."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from normlab.config import choices, defaults
from normlab.inspection.images import Inspection
from normlab.norms import normalization
from normlab.statistics.channels import ESTIMATORS, channel_names
from normlab.theory.spectrum import linear_hessian
from normlab.theory.stability import stable_rate

SCHEMES = ("raw", "unit", "centered", "imagenet", "dataset", "feature")  # whose conditioning is shown
FOR_IMAGES = ("imagenet",)  # those of three constants
EVIDENCE = "results/README.md and results/claims.md in normlab's repository"
PRECISION = 0.01  # relative; a mean with this precision counts as known
FEWEST = 30  # images for a statement about a preset; the intervals of fewer images are rough


def presets(intervals: dict[Any, tuple[Tensor, Tensor]]) -> list[dict[str, Any]]:
    """The schemes with fixed constants, the nearest first, each by the estimator under which it is nearer.

    ``distance`` is the root mean square over channels of sqrt((m - m0)^2 + (s - s0)^2), in units of u; ``inside``,
    whether all constants lie within the 95% intervals of that estimator, None for one image. A single channel is
    compared with the constants of all three channels, because those schemes repeat it three times.
    """
    rows: list[dict[str, Any]] = []
    for name in choices("norm"):
        options = defaults("norm", name)
        if not options["_target_"].endswith(".Fixed"):
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


def has_presets(inspection: Inspection) -> bool:
    """Whether constants of photographs make sense here: gray or RGB, with u in 0..1, all of it used."""
    return inspection.channels in (1, 3) and inspection.is_bounded and inspection.hardly_used() is None


def conditioning(inspection: Inspection) -> list[dict[str, Any]]:
    """Rank, condition number and largest stable rate of a linear model on small copies, under the main schemes."""
    from tqdm import tqdm

    rows = []
    for name in tqdm(SCHEMES, desc="linear model", disable=not sys.stderr.isatty(), leave=False):
        if name in FOR_IMAGES and not has_presets(inspection):
            continue
        scheme = normalization(name).set_range(inspection.black, inspection.white).fit(inspection.small.split(256))
        spectrum = linear_hessian(inspection.small, scheme)
        rows.append(
            {
                "scheme": name,
                "images": len(inspection.small),
                "rank": spectrum.rank,
                "lambda_max": spectrum.lambda_max,
                "condition_number": spectrum.condition_number,
                "stable_rate": stable_rate(spectrum.lambda_max),
            }
        )
    return rows


def advice(inspection: Inspection, intervals: dict[Any, tuple[Tensor, Tensor]]) -> list[str]:
    """Sentences of advice, by the project's own results."""
    sentences = [
        "For a trained network use the normalization that it was trained with, whatever these numbers are "
        "(results/mismatch). Whether another one costs accuracy after fine-tuning is open (results/finetuning).",
        "To train from scratch, from He's initialization and with nothing normalized inside the network, subtract a "
        "mean and divide by a deviation: these images' own (below) or those of a near preset. At their best learning "
        "rates the choice between them matters little in a convolutional network (results/constants); in a vision "
        "transformer [-1, 1] was behind (results/vision_transformer). [0, 1] and raw pixels did worse, also at "
        "their own best rates (results/ordering).",
        "With batch normalization behind the first layer, and a rate that decays to zero and is searched, raw, [0, 1] "
        "and standardized pixels ended within two points of each other (results/conditions and behind_batch_norm). "
        "With nothing normalized inside and torch's initialization, [0, 1] and raw pixels lost much under SGD; under "
        "Adam raw pixels lost least on 20,000 images (results/nothing_inside) and gained on 2,000 "
        "(results/conditions).",
    ]
    nearest = presets(intervals)[0] if has_presets(inspection) else {"inside": None}
    if nearest["inside"] and len(inspection) >= FEWEST:
        sentences.append(f"These {len(inspection):,} images cannot tell {nearest['name']} from their own statistics.")
    if not has_presets(inspection):
        sentences.append(
            f"No preset is compared: its constants are for photographs, gray or RGB with u from 0 to 1, and these "
            f"images have {inspection.channels} band{'s' * (inspection.channels != 1)} of {inspection.type} from "
            f"{inspection.smallest.min().item():g} to {inspection.largest.max().item():g}. Look at "
            f"the histograms first (--plot). If the values are spread evenly, these images' own statistics are the "
            f"usual choice; no study here tested it: `python -m normlab.choose PATH` does. If most lie close to one "
            f"end, take a logarithm or normalize each image by itself: on spectrograms of power, each image by itself "
            f"gained more than 20 points over the images' own statistics (results/spectrograms)."
        )
        if not inspection.is_bounded:
            sentences.append(
                f"The files declare no range, so u is x itself ({inspection.type} in its own unit); data.black= and "
                f"data.white= set one."
            )
    elif inspection.one_channel == len(inspection):
        sentences.append(
            "All images have one channel: a preset of three constants would repeat that channel three times."
        )
    elif inspection.channels == 1:
        sentences.append("All images are grayscale, but not all of them are stored as one channel.")
    elif inspection.grayscale:
        are = "is" if inspection.grayscale == 1 else "are"
        sentences.append(
            f"{inspection.grayscale:,} of {len(inspection):,} images {are} grayscale: stored with, or converted to, "
            f"three channels."
        )
    if inspection.unreadable:
        what, which = ("file or folder", "it") if len(inspection.unreadable) == 1 else ("files or folders", "them")
        sentences.append(
            f"{len(inspection.unreadable):,} {what} cannot be read: data.on_corrupt=skip leaves {which} out of a run."
        )
    black, white = (values.nan_to_num() for values in inspection.clipped())
    if max(black.max(), white.max()) > 0.2:
        sentences.append("Over a fifth of the pixels are black or white: their distribution is far from a Gaussian.")
    return sentences


def lines_notes(inspection: Inspection, std: Sequence[float]) -> list[str]:
    """Notes on the lines, to read before pasting."""
    notes = ["The deviation is the standard deviation of all pixels (pooled)."]
    if inspection.is_8_bit:
        mode = "RGB" if len(std) > 1 else "L"
        notes.append(
            f'Open every file by Image.open(path).convert("{mode}"), as for these numbers; '
            "replace 224 with the size that your network takes."
        )
    else:
        notes.append(
            f"Means and deviations are in the files' own values ({inspection.type}); give each line arrays at full "
            f"depth [C, H, W] (albumentations: float32 [H, W, C]), not what Image.open(path).convert() cuts to 8 bits."
        )
    flat = [name for name, value in zip(channel_names(len(std)), std, strict=True) if not value]
    if flat:
        notes.append(f"A deviation of 0 is written as 1.0, because it is a divisor ({', '.join(flat)}).")
    return notes


def lines_for(inspection: Inspection, mean: Sequence[float], std: Sequence[float]) -> dict[str, str]:
    """The lines for these images: :func:`lines` for 8 bits, else :func:`lines_of_any_type`."""
    if inspection.is_8_bit:
        return lines(mean, std)
    return lines_of_any_type(mean, std, inspection.black, inspection.white)


def lines(mean: Sequence[float], std: Sequence[float]) -> dict[str, str]:
    """Ready to paste: the same normalization for six libraries and for normlab, for images of 8 bits.

    The lines for timm and transformers also resize to 224 pixels, which does not change an image of 224x224.

    >>> print(lines([0.5], [0.25])["albumentations"])
    albumentations.Normalize(mean=[0.5], std=[0.25], max_pixel_value=255.0)
    """
    means, stds = _pasted(mean), _pasted([s or 1.0 for s in std])
    both = f"mean={means}, std={stds}"
    raw = lines_of_any_type(mean, std, 0, 255)
    return {
        "torchvision": f"v2.Compose([v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize({both})])",
        "albumentations": f"albumentations.Normalize({both}, max_pixel_value=255.0)",
        "timm": f"timm.data.create_transform(224, crop_pct=1.0, mean={tuple(means)}, std={tuple(stds)})",
        "transformers": (
            'ViTImageProcessor(size={"height": 224, "width": 224}, rescale_factor=1 / 255, '
            f"image_mean={means}, image_std={stds})"
        ),
        "monai": raw["monai"],
        "rasterio": raw["rasterio"],
        "normlab": f'normlab.normalization("imagenet", {both})',
    }


def lines_of_any_type(mean: Sequence[float], std: Sequence[float], black: float, white: float) -> dict[str, str]:
    """Ready to paste for images of any type and number of bands: statistics in the values x of the files.

    >>> print(lines_of_any_type([0.5], [0.25], 0, 4095)["monai"])
    monai.transforms.NormalizeIntensity(subtrahend=[2047.5], divisor=[1023.75], channel_wise=True)

    Args:
        mean: in units of u = (x - black)/(white - black).
        std: in units of u.
        black: stands for u = 0.
        white: stands for u = 1.
    """
    span = white - black
    means, stds = _pasted([m * span + black for m in mean]), _pasted([s * span or 1.0 for s in std])
    result = {
        "torchvision": f"v2.Compose([v2.ToDtype(torch.float32), v2.Normalize(mean={means}, std={stds})])",
        "albumentations": f"albumentations.Normalize(mean={means}, std={stds}, max_pixel_value=1.0)",
    }
    if len(means) in (1, 3):
        result["transformers"] = (
            f"ViTImageProcessor(do_resize=False, do_rescale=False, image_mean={means}, image_std={stds})"
        )
    normalized = f"mean={_pasted(mean)}, std={_pasted([s or 1.0 / span for s in std])}"
    return result | {
        "monai": f"monai.transforms.NormalizeIntensity(subtrahend={means}, divisor={stds}, channel_wise=True)",
        "rasterio": (
            f'(dataset.read().astype("float32") - numpy.array({means})[:, None, None])'
            f" / numpy.array({stds})[:, None, None]"
        ),
        "normlab": f'normlab.normalization("imagenet", {normalized}).set_range({black:g}, {white:g})',
    }


def _pasted(values: Sequence[float]) -> list[float]:
    return [float(f"{value:.8g}") for value in values]
