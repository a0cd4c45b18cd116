"""The statistics of a user's images as one JSON object, and as text for people."""

from __future__ import annotations

import math
from typing import Any

from tabulate import tabulate

from normlab.inspection.advice import EVIDENCE, FEWEST, PRECISION, advice, conditioning, lines, lines_notes, presets
from normlab.inspection.images import Inspection
from normlab.statistics.channels import ESTIMATORS, channel_names


def report(
    inspection: Inspection,
    total: int,
    *,
    limit: int | None = None,
    resamples: int = 1000,
    with_conditioning: bool = True,
) -> dict[str, Any]:
    """The whole report, as JSON types; statistics are in units of u = x/255, shares in 0..1.

    Args:
        inspection: statistics of the images.
        total: images before ``limit``.
        limit: largest number of images that were drawn; None: all.
        resamples: of the bootstrap.
        with_conditioning: whether a linear model is computed, which takes ten seconds.
    """
    intervals = inspection.intervals(resamples)
    low, high = inspection.range()
    black, white = inspection.clipped()
    names = channel_names(inspection.channels)
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
    enough = inspection.enough(PRECISION)
    mean, std = (values[0].tolist() for values in intervals["pooled"])
    if inspection.one_channel < len(inspection):  # a library still sees three channels, equal or not
        mean, std = (values * 3 if len(values) == 1 else values for values in (mean, std))
    sentences = advice(inspection, intervals)
    if with_conditioning and not len(inspection.small):
        sentences.append(
            "No linear model: none of the images drawn for it can be read. Draw more with a larger small=N."
        )
    elif with_conditioning and len(inspection.small) <= inspection.small[0].numel():
        sentences.append(
            f"The linear model has {inspection.small[0].numel():,} inputs and {len(inspection.small):,} images: its "
            "rank and condition number grow with the number of images; compare only data sets of equal size."
        )
    return {
        "images": len(inspection),
        "sample": {"drawn": limit, "of": total} if limit and limit < total else None,
        "greyscale": inspection.grayscale,
        "converted": inspection.converted,
        "unreadable": list(inspection.unreadable),
        "sizes": [[*size, count] for size, count in sorted(inspection.sizes.items(), key=lambda item: -item[1])],
        "channels": channels,
        "images_for_1_percent": None if math.isinf(enough) else math.ceil(enough),
        "means_known_to": None if math.isinf(enough) else PRECISION * math.sqrt(enough / len(inspection)),
        "presets": presets(intervals),
        "conditioning": conditioning(inspection) if with_conditioning and len(inspection.small) else [],
        "advice": sentences,
        "evidence": EVIDENCE,
        "lines_notes": lines_notes(inspection, std),
        "lines": lines(mean, std),
    }


def text_of(label: str, content: dict[str, Any]) -> str:
    """The report as text for people."""
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
    notes = [f"{content['greyscale']:,} grayscale"] * bool(content["greyscale"])
    notes += [f"{count:,} {what}" for what, count in content["converted"].items()]
    notes += [f"{len(content['unreadable']):,} unreadable"] * bool(content["unreadable"])
    text += [", ".join(notes)] * bool(notes)
    text += [f"  {problem}" for problem in content["unreadable"][:5]]
    statistics = {"mean_pooled": "mean", "std_pooled": "std of all pixels", "std_per_image": "mean of images' std"}
    if others:  # for images of one size both means are equal
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
            line += f"; you have {content['images']:,}, which give the means to {percent(content['means_known_to'])}"
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
    """A share in percent, with two significant digits.

    >>> percent(0.01234), percent(0.251), percent(3.14159)
    ('1.2%', '25%', '310%')
    """
    return f"{float(f'{100 * share:.2g}'):g}%"


def counted(count: int, noun: str) -> str:
    """A number and its noun, in the plural unless the number is 1.

    >>> counted(1, "image"), counted(1234, "other size")
    ('1 image', '1,234 other sizes')
    """
    return f"{count:,} {noun}{'s' * (count != 1)}"
