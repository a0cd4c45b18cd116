"""The metrics of a record, computed from the curve of its run."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import Any

from normlab.record.curve import Measurement, divergence

UNDER = "accuracy_under."  # prefix of a metric that names a shift of the light and its severity


def summarize(rows: list[Measurement], targets: tuple[float, ...]) -> dict[str, float | dict[str, float]]:
    """The metrics of a record, computed from its curve only.

    The time to a target that was never reached is infinite. A metric that was never measured is NaN.

    Args:
        rows: of one run.
        targets: validation accuracies, or R2.

    Returns:
        Final and best loss and accuracy by split (of a regression, R2 in place of the accuracy, everywhere, and the
        final RMSE); epochs and steps to each target, by the first evaluation that
        reaches it; area under the validation accuracy from the start to the last evaluation, divided by the epochs
        between them (0..1); the Hessian's largest eigenvalue at probed steps, and the layers' statistics at the first
        and the last of these steps; test accuracy under each shift and severity, and the mean over a shift's
        severities; the measurements at the start. For a diverged run, everything up to its divergence.
    """
    diverged_at = divergence(rows)
    if diverged_at is not None:
        rows = [row for row in rows if row.step <= diverged_at]

    def series(split: str, metric: str) -> list[Measurement]:
        return [row for row in rows if row.split == split and row.metric == metric]

    loss = series("validation", "loss")
    score = score_of(rows)
    accuracy = [row for row in series("validation", score) if not math.isnan(row.value)]
    train_loss = series("train", "loss")
    best = max(accuracy, key=lambda row: row.value, default=None)
    metrics: dict[str, float | dict[str, float]] = {
        f"test_{score}": _last(series("test", score)),
        "test_loss": _last(series("test", "loss")),
        f"validation_{score}": _last(series("validation", score)),
        "validation_loss": _last(loss),
        f"best_validation_{score}": best.value if best else math.nan,
        "best_epoch": best.epoch if best else math.nan,
        "best_validation_loss": min((row.value for row in loss if math.isfinite(row.value)), default=math.nan),
        "train_loss": _last(train_loss),
        "best_train_loss": min((row.value for row in train_loss if math.isfinite(row.value)), default=math.nan),
        "validation_area_under_curve": _area(accuracy),
        "epochs": max((row.epoch for row in rows), default=0.0),
        "steps": max((row.step for row in rows), default=0),
    }
    if score == "r2":
        metrics |= {f"{split}_rmse": _last(series(split, "rmse")) for split in ("test", "validation")}
    reached = {target: next((row for row in accuracy if row.value >= target), None) for target in targets}
    metrics["epochs_to"] = {f"{target:g}": row.epoch if row else math.inf for target, row in reached.items()}
    metrics["steps_to"] = {f"{target:g}": row.step if row else math.inf for target, row in reached.items()}
    probed = {str(row.step): row.value for row in series("probe", "lambda_max")}
    if probed:
        metrics["lambda_max_at"] = probed
    probe_steps = [row.step for row in rows if row.split == "probe"]
    for place, step in (("start", min(probe_steps)), ("end", max(probe_steps))) if probe_steps else ():
        metrics[f"layers_at_{place}"] = {
            row.metric: row.value
            for row in rows
            if row.split == "probe" and row.step == step and row.metric != "lambda_max"
        }
    under = {row.metric.removeprefix(UNDER): row.value for row in rows if row.metric.startswith(UNDER)}
    if under:
        names = {key.split(".")[0] for key in under}
        means = {name: [value for key, value in under.items() if key.split(".")[0] == name] for name in sorted(names)}
        metrics["accuracy_under"] = under | {name: sum(values) / len(values) for name, values in means.items()}
    return metrics | {row.metric: row.value for row in rows if row.split == "start"}


# Scores that are as near as this are the same: two means of the same shares may differ by rounding.
SAME_SCORE = 1e-7
SCORES = {"accuracy": "accuracy", "r2": "R2"}  # by which runs are compared, and their names in tables


def score_of(rows: list[Measurement]) -> str:
    """The metric by which runs are compared: ``accuracy``, or ``r2`` where it was measured."""
    return "r2" if any(row.metric == "r2" for row in rows) else "accuracy"


def score_in(metrics: Mapping[str, Any]) -> str:
    """The same, from the metrics of a record."""
    return "r2" if "test_r2" in metrics else "accuracy"


def _last(rows: list[Measurement]) -> float:
    return rows[-1].value if rows else math.nan


def _area(rows: list[Measurement]) -> float:
    """Area by trapezoids over epochs, divided by the span of epochs; the value itself for a single measurement."""
    span = rows[-1].epoch - rows[0].epoch if rows else 0.0
    if span == 0:
        return _last(rows)
    return sum((b.epoch - a.epoch) * (a.value + b.value) / 2 for a, b in itertools.pairwise(rows)) / span
