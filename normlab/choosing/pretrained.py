"""A trained network's answers under each scheme, without training: what it expects, and what another scheme costs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd

from normlab.archs.pretrained import weights
from normlab.choosing.answer import listed, points
from normlab.inspection.advice import lines
from normlab.measurements.mismatch import EXPECTED, under_each
from normlab.report import mismatch as report

BATCH, RESAMPLES = 50, 2000
ABOUT = (
    "Accuracy of all images under each scheme, with the same weights. Intervals are 95% over images, of each scheme by "
    "itself."
)


def without_training(data: dict[str, Any], model: str, norms: Sequence[str], margin: float) -> dict[str, Any]:
    """The part of the content that a trained network decides: the answer, its rows, and what it expects.

    Args:
        data: values of the group, of a folder of images.
        model: see :func:`normlab.archs.pretrained.weights`.
        norms: schemes.
        margin: the smallest difference of accuracies that matters, in 0..1.

    Raises:
        ConfigError: for an unknown network, or a key of the data that has no effect here.
        DataError: for other data than a folder of images.
    """
    trained = weights(model)
    rows, notes = under_each(data, trained, norms, BATCH, RESAMPLES)
    mean, std = (report.numbers(values) for values in (trained.expectation.mean, trained.expectation.std))
    expects = f"{model} expects mean {mean} and standard deviation {std} ({trained.expectation.source})"
    return {
        "answer": sentence(rows, expects, margin),
        "kind": "keep",
        "recommended": EXPECTED,
        "reference": EXPECTED,
        "metric": "accuracy",
        "schemes": [result(row, margin) for row in rows],
        "looked": [expects, f"{rows[0]['images']:,} images at {trained.expectation.image_size} pixels, no training"],
        "planned": notes,
        "about": ABOUT,
        "table": report.table(pd.DataFrame(rows)),
        "lines": lines(trained.expectation.mean, trained.expectation.std),
    }


def sentence(rows: Sequence[dict[str, Any]], expects: str, margin: float) -> str:
    """The answer in words.

    Args:
        rows: of :func:`normlab.measurements.mismatch.under_each`, the first of the expected scheme.
        expects: what the network expects, in words.
        margin: the smallest difference of accuracies that matters, in 0..1.
    """
    others = rows[1:]
    if math.isnan(rows[0]["accuracy"]):
        parts = [f"{row['agreement']:.1%} under `{row['norm']}`" for row in others]
        return f"Keep the network's own normalization: {expects}. The same answers: {', '.join(parts)}."
    shown = [
        f"`{row['norm']}` {points(row['difference'])} points [{points(row['difference_low'])}, "
        f"{points(row['difference_high'])}]"
        for row in others
    ]
    text = f"Keep the network's own normalization: {expects}. Others cost: {'; '.join(shown)}"
    if same := [row["norm"] for row in others if result(row, margin)["verdict"].startswith("within")]:
        text += f". {listed(same)}: no difference that matters"
    if better := [row["norm"] for row in others if row["difference_low"] > 0]:
        text += f". {listed(better)}: better on these images, which is worth a second sample"
    return f"{text} ({rows[0]['images']:,} images, {rows[0]['accuracy']:.1%} right as expected)."


def result(row: dict[str, Any], margin: float) -> dict[str, Any]:
    """A row of the answer; see :func:`normlab.choosing.answer.rows`."""
    low, high = row["difference_low"], row["difference_high"]
    verdict = "cannot tell"
    if row["norm"] == EXPECTED:
        verdict = "what the network was trained with"
    elif math.isnan(low):
        verdict = f"{row['agreement']:.1%} of the answers are the same"
    elif -margin < low and high < margin:
        verdict = "within the margin"
    elif high < 0:
        verdict = "worse"
    elif low > 0:
        verdict = "better on these images"
    return {
        "norm": row["norm"],
        "seeds": 0,
        "lr": math.nan,
        "accuracy": row["accuracy"],
        "diverged": 0,
        "difference": row["difference"],
        "low": low,
        "high": high,
        "verdict": verdict,
    }
