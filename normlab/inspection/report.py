"""The statistics of a user's images as one JSON object, and as text for people."""

from __future__ import annotations

import math
from typing import Any

from tabulate import tabulate
from torch import Tensor

from normlab.data.layout import printable
from normlab.errors import DataError, first_line
from normlab.inspection.advice import (
    EVIDENCE,
    FEWEST,
    PRECISION,
    advice,
    conditioning,
    has_presets,
    lines_for,
    lines_notes,
    presets,
)
from normlab.inspection.images import Inspection
from normlab.inspection.sources import Subject
from normlab.statistics.channels import ESTIMATORS, channel_names


def report(
    inspection: Inspection,
    total: int,
    *,
    limit: int | None = None,
    resamples: int = 1000,
    with_conditioning: bool = True,
    subject: Subject | None = None,
) -> dict[str, Any]:
    """The whole report, as JSON types; statistics are in units of u = (x - black)/(white - black), shares in 0..1.

    Args:
        inspection: statistics of the images.
        total: images before ``limit``.
        limit: largest number of images that were drawn; None: all.
        resamples: of the bootstrap.
        with_conditioning: whether a linear model is computed, which takes ten seconds.
        subject: the other splits, classes, notes and warnings, if there are any.
    """
    subject = subject or Subject(inspection, total)
    intervals = inspection.intervals(resamples)
    enough = inspection.enough(PRECISION)
    mean, std = (values[0].tolist() for values in intervals["pooled"])
    if inspection.one_channel < len(inspection):  # a library still sees three channels, equal or not
        mean, std = (values * 3 if len(values) == 1 else values for values in (mean, std))
    sentences = advice(inspection, intervals)
    linear, remark = linear_model(inspection) if with_conditioning or inspection.left_out else ([], None)
    sentences += [remark] if remark else []
    return {
        "images": len(inspection),
        "sample": {"drawn": limit, "of": total} if limit and limit < total else None,
        "classes": subject.classes,
        "splits": [split_row(name, one) for name, one in (("train", inspection), *subject.others.items())]
        if subject.others
        else [],
        "warnings": list(subject.warnings),
        "notes": list(subject.notes),
        "type": inspection.type,
        "bands": inspection.channels,
        "black": inspection.black,
        "white": inspection.white,
        "greyscale": inspection.grayscale,
        "converted": inspection.converted,
        "unreadable": list(inspection.unreadable),
        "masked_pixels": inspection.left_out,
        "sizes": [[*size, count] for size, count in sorted(inspection.sizes.items(), key=lambda item: -item[1])],
        "channels": band_rows(inspection, intervals),
        "images_for_1_percent": None if math.isinf(enough) else math.ceil(enough),
        "means_known_to": None if math.isinf(enough) else PRECISION * math.sqrt(enough / len(inspection)),
        "presets": presets(intervals) if has_presets(inspection) else [],
        "conditioning": linear,
        "advice": sentences,
        "evidence": EVIDENCE,
        "lines_notes": lines_notes(inspection, std),
        "lines": lines_for(inspection, mean, std),
    }


def linear_model(inspection: Inspection) -> tuple[list[dict[str, Any]], str | None]:
    """The rows of the linear model, and what to know of it; without rows, why there are none.

    It is an extra: where it cannot be computed, the statistics are shown without it.
    """
    if inspection.left_out:
        return [], "No linear model: data.mask leaves out pixels, and a linear model takes whole images."
    if not len(inspection.small):
        return [], "No linear model: none of the images drawn for it can be read. Draw more with a larger small=N."
    try:
        rows = conditioning(inspection)
    except DataError as error:
        return [], f"No linear model: {first_line(error)}."
    if len(inspection.small) > inspection.small[0].numel():
        return rows, None
    return rows, (
        f"The linear model has {inspection.small[0].numel():,} inputs and {len(inspection.small):,} images: its "
        "rank and condition number grow with the number of images; compare only data sets of equal size."
    )


def band_rows(inspection: Inspection, intervals: dict[Any, tuple[Tensor, Tensor]]) -> list[dict[str, Any]]:
    """The statistics of each band."""
    low, high = inspection.range()
    black, white = inspection.clipped()
    levels = inspection.levels()
    rows = []
    for c, name in enumerate(channel_names(inspection.channels)):
        row: dict[str, Any] = {"channel": name}
        for estimator in ESTIMATORS:
            for which, values in zip(("mean", "std"), intervals[estimator], strict=True):
                value, lower, upper = values[:, c].tolist()
                ends = (None, None) if math.isnan(lower) else (lower, upper)
                row[f"{which}_{estimator}"] = dict(zip(("value", "low", "high"), (value, *ends), strict=True))
        row |= {"smallest": low[c].item(), "largest": high[c].item()}
        row["levels"] = None if levels is None else levels[c]
        shares = [None if math.isnan(share) else share for share in (black[c].item(), white[c].item())]
        row |= {"share_at_black": shares[0], "share_at_white": shares[1]}
        row |= {"share_at_0": shares[0], "share_at_255": shares[1]}  # the names before there were other ranges
        rows.append(row)
    return rows


def split_row(name: str, inspection: Inspection) -> dict[str, Any]:
    """Pooled statistics of one split."""
    mean, std = (values.tolist() for values in inspection.sums.statistics("pooled"))
    low, high = (values.tolist() for values in inspection.range())
    return {
        "split": name,
        "images": len(inspection),
        "mean": mean,
        "std": std,
        "smallest": low,
        "largest": high,
        "unreadable": len(inspection.unreadable),
    }


def text_of(label: str, content: dict[str, Any]) -> str:
    """The report as text for people."""
    (width, height, most), *others = content["sizes"]
    images, sample = counted(content["images"], "image"), content["sample"]
    kind = "" if content["type"] == "uint8" and content["bands"] in (1, 3) else _kind(content)
    which = " of the training split" if content["splits"] else ""
    if others:
        rest = counted(len(others), "other size")
        text = [f"{label}: {images}{which}, {most:,} of {width}x{height} pixels, the rest of {rest}{kind}"]
    else:
        text = [f"{label}: {images}{which} of {width}x{height} pixels{kind}"]
    text += [f"WARNING: {sentence}" for sentence in content["warnings"]]
    if sample:
        text.append(f"a sample: {sample['drawn']:,} drawn at random from {sample['of']:,}")
    if classes := content["classes"]:
        shown = ", ".join(f"{name} {count:,}" for name, count in list(classes.items())[:12])
        text.append(f"{counted(len(classes), 'class', 'es')}: {shown}" + ", ..." * (len(classes) > 12))
    notes = [f"{content['greyscale']:,} grayscale"] * bool(content["greyscale"] and content["bands"] in (1, 3))
    notes += [f"{count:,} {what}" for what, count in content["converted"].items()]
    notes += [f"{len(content['unreadable']):,} unreadable"] * bool(content["unreadable"])
    notes += [f"{content['masked_pixels']:,} pixels left out by data.mask"] * bool(content["masked_pixels"])
    text += [", ".join(notes)] * bool(notes)
    text += [f"  {printable(problem)}" for problem in content["unreadable"][:5]]
    text += [printable(note) for note in content["notes"]]
    if content["splits"]:
        text += ["", _splits(content)]
    text += ["", _bands(content, different_sizes=bool(others)), ""]
    enough = content["images_for_1_percent"]
    if enough is not None:
        give = "gives" if enough == 1 else "give"
        line = f"{counted(enough, 'image')} drawn at random {give} the means to {PRECISION:.0%} in 95% of draws"
        if enough > content["images"]:
            line += f"; you have {content['images']:,}, which give the means to {percent(content['means_known_to'])}"
        text.append(line)
    if content["presets"]:
        text.append(_nearest(content))
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


def _kind(content: dict[str, Any]) -> str:
    return f", {counted(content['bands'], 'band')} of {content['type']}, u = {unit(content['black'], content['white'])}"


def unit(black: float, white: float) -> str:
    """The formula of u.

    >>> unit(0, 255), unit(0, 1), unit(-1000, 3000)
    ('x/255', 'x', '(x + 1000)/4000')
    """
    if (black, white) == (0, 1):
        return "x"
    above = "x" if black == 0 else f"(x {'-' if black > 0 else '+'} {abs(black):g})"
    return f"{above}/{white - black:.10g}"


def _splits(content: dict[str, Any]) -> str:
    rows = [
        [
            row["split"],
            f"{row['images']:,}",
            " ".join(f"{value:.4f}" for value in row["mean"][:4]) + " ..." * (len(row["mean"]) > 4),
            " ".join(f"{value:.4f}" for value in row["std"][:4]) + " ..." * (len(row["std"]) > 4),
            f"{min(row['smallest']):g}..{max(row['largest']):g}",
        ]
        for row in content["splits"]
    ]
    return tabulate(rows, ["split", "images", "mean", "std of all pixels", "range"], disable_numparse=True)


def _bands(content: dict[str, Any], different_sizes: bool) -> str:
    statistics = {"mean_pooled": "mean", "std_pooled": "std of all pixels", "std_per_image": "mean of images' std"}
    if different_sizes:  # for images of one size both means are equal
        means = {"mean_pooled": "mean of all pixels", "mean_per_image": "mean of images' means"}
        statistics = means | {key: name for key, name in statistics.items() if key not in means}

    def number(value: float) -> str:
        return f"{value:.4f}" if abs(value) < 100 else f"{value:.6g}"

    rows = [
        [
            row["channel"],
            *(
                number(v["value"]) + ("" if v["low"] is None else f" [{number(v['low'])}, {number(v['high'])}]")
                for v in (row[key] for key in statistics)
            ),
            f"{row['smallest']:.6g}..{row['largest']:.6g}",
            "-" if row["levels"] is None else f"{row['levels']:,}",
            *(f"{row[key]:.1%}" for key in ("share_at_black", "share_at_white") if row[key] is not None),
        ]
        for row in content["channels"]
    ]
    black, white = content["black"], content["white"]
    headers = [f"u = {unit(black, white)}", *statistics.values(), "range", "levels"]
    headers += [f"at {end:g}" for end in (black, white)] if content["channels"][0]["share_at_black"] is not None else []
    return tabulate(rows, headers, disable_numparse=True)


def _nearest(content: dict[str, Any]) -> str:
    nearest = content["presets"][0]
    estimator = {"pooled": "std of all pixels", "per_image": "mean of images' std"}[nearest["estimator"]]
    line = f"nearest preset: {nearest['name']}, {nearest['distance']:.3f} away by the {estimator}"
    if nearest["inside"] is None:
        line += "; no interval from one image"
    elif content["images"] >= FEWEST:
        line += f", {'within' if nearest['inside'] else 'outside'} the intervals"
    return line


def percent(share: float) -> str:
    """A share in percent, with two significant digits.

    >>> percent(0.01234), percent(0.251), percent(3.14159)
    ('1.2%', '25%', '310%')
    """
    return f"{float(f'{100 * share:.2g}'):g}%"


def counted(count: int, noun: str, plural: str = "s") -> str:
    """A number and its noun, in the plural (with this ending) unless the number is 1.

    >>> counted(1, "image"), counted(1234, "other size")
    ('1 image', '1,234 other sizes')
    """
    return f"{count:,} {noun}{plural * (count != 1)}"
