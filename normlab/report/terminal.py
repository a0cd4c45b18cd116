"""The tables that a command prints at its end."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import Any

from tabulate import tabulate

from normlab.display import printable
from normlab.record import OPERATIONAL, SCORES, score_in


def run_table(record: dict[str, Any]) -> str:
    """The result of one run, as lines for a terminal."""
    metrics, normalized, seconds = record["metrics"], record["normalized"], record["seconds"]
    reached = ", ".join(f"{_when(epoch)} to {target}" for target, epoch in metrics["epochs_to"].items())
    status = record["status"]
    if status == "diverged":
        status += f" at step {record['diverged_at']} (loss not finite)"
    images = normalized["images"]
    what = "images" if len(normalized.get("shape", ())) == 3 else "samples"
    rows = [
        ("scheme", record["norm"]),
        ("network sees", f"mean {_number(normalized['mean'])}, std {_number(normalized['std'])}, range "
         f"{_number(normalized['min'])} to {_number(normalized['max'])} ({images:,} training {what})"),
        ("trained", f"{record['arch']} on {record['data']}, {record['optim']} at {record['lr']:g}, seed "
         f"{record['seed']}, {_number(metrics['epochs'])} epochs"),
        ("status", status),
        _score(metrics),
        ("test loss", _number(metrics["test_loss"])),
        ("epochs", f"{reached} validation {SCORES[score_in(metrics)]}" if reached else "no target set"),
        *_theory(metrics),
        ("seconds", f"{metrics['training_seconds']:.1f} training, {sum_known(seconds):.1f} in all"),
        ("record", f"{record['path']}/record.json"),
    ]  # fmt: skip
    return tabulate(rows, tablefmt="plain")


def _score(metrics: dict[str, Any]) -> tuple[str, str]:
    if score_in(metrics) == "accuracy":
        best = _percent(metrics["best_validation_accuracy"])
        return "test accuracy", f"{_percent(metrics['test_accuracy'])} (best on validation {best})"
    return (
        "test R2",
        f"{_number(metrics['test_r2'])} (best on validation {_number(metrics['best_validation_r2'])}), "
        f"RMSE {_number(metrics['test_rmse'])} in the target's unit",
    )


def _theory(metrics: dict[str, Any]) -> list[tuple[str, str]]:
    """What theory says of a linear model, beside what was measured."""
    if "lambda_max" not in metrics:
        return []
    lines = [
        (
            "theory",
            f"lambda_max {_number(metrics['lambda_max'])}, condition number {_number(metrics['condition_number'])} "
            f"(rank {metrics['rank']} of {metrics['features']}), stable below lr {_number(metrics['stable_rate'])}",
        )
    ]
    if "predicted_iterations" in metrics:
        pairs = [
            f"{_when(steps)} (measured {_when(metrics['measured_iterations'][eps])}) to {eps}"
            for eps, steps in metrics["predicted_iterations"].items()
        ]
        lines.append(("iterations", f"{', '.join(pairs)} of the excess loss"))
    return lines


def sum_known(seconds: dict[str, float]) -> float:
    """All stages of a run together; one that was not measured counts nothing."""
    return sum(value for name, value in seconds.items() if name != "to_first_step" and not math.isnan(value))


def comparison_table(records: Sequence[dict[str, Any]]) -> str:
    """Several runs side by side, for a terminal; see :func:`comparison`."""
    headers, rows = comparison(records)
    return tabulate(rows, headers, tablefmt="simple", disable_numparse=True)


def comparison(records: Sequence[dict[str, Any]]) -> tuple[list[str], list[list[str | int]]]:
    """Several runs side by side: headers, and a row for each configuration, its seeds together.

    Accuracy is the mean over the runs that finished, with its standard deviation from two on; epochs to a target are
    the median, in which a miss counts as infinite.
    """
    varying = _varying(records)
    groups: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for record in records:
        groups.setdefault(tuple(str(_lookup(record, key)) for key in varying), []).append(record)
    targets = list(dict.fromkeys(target for record in records for target in record["metrics"].get("epochs_to", {})))
    scores = [score for score in SCORES if any(score_in(record["metrics"]) == score for record in records)]
    rows: list[list[str | int]] = []
    for values, runs in groups.items():
        finished = [run for run in runs if run["status"] == "finished"]
        rows.append(
            [
                *values,
                len(runs),
                len([run for run in runs if run["status"] == "diverged"]),
                *(_spread([run["metrics"] for run in finished], score) for score in scores),
                _mean(run["metrics"]["test_loss"] for run in finished),
                *(_median(run["metrics"]["epochs_to"].get(target, math.nan) for run in runs) for target in targets),
                _mean(run["metrics"]["training_seconds"] for run in runs),
            ]
        )
    headers = [
        *(key.removesuffix(".name") for key in varying),
        "runs",
        "diverged",
        *(f"test {SCORES[score]}" for score in scores),
        "test loss",
        *(f"epochs to {t}" for t in targets),
        "seconds",
    ]
    return headers, rows


def _varying(records: Sequence[dict[str, Any]]) -> list[str]:
    """Keys of the configuration in which runs differ, less the seed and what does not change a result."""
    flat = [_flatten(record["config"]) for record in records]
    ignored = {f"{group}.{key}".lstrip(".") for group, keys in OPERATIONAL.items() for key in keys}
    keys = [
        key
        for key in dict.fromkeys(key for config in flat for key in config)
        if key not in ignored | {"seed"} and key.split(".")[0] not in ignored
    ]
    differing = [key for key in keys if len({str(config.get(key)) for config in flat}) > 1]
    # Where the choices of a group differ, their names say it, and their options need not.
    named = {key.removesuffix(".name") for key in differing if key.endswith(".name")}
    shown = [key for key in differing if key.endswith(".name") or key.split(".")[0] not in named]
    return ["norm.name", *(key for key in shown if key != "norm.name")]


def _flatten(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in config.items():
        flat |= _flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return flat


def _lookup(record: dict[str, Any], key: str) -> Any:
    value = _flatten(record["config"]).get(key, "-")
    return printable(value) if isinstance(value, str) else value


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.4g}"


def _when(value: float) -> str:
    return "never" if value == math.inf else _number(value)


def _percent(value: float) -> str:
    return "-" if math.isnan(value) else f"{100 * value:.1f}%"


def _spread(metrics: Sequence[dict[str, Any]], score: str) -> str:
    """The mean test score of runs, and the standard deviation of two or more; accuracies in percent."""
    values = [one[f"test_{score}"] for one in metrics if f"test_{score}" in one]
    if not values:
        return "-"
    mean, spread = statistics.mean(values), statistics.stdev(values) if len(values) > 1 else None
    if score == "accuracy":
        return _percent(mean) + (f" ± {100 * spread:.1f}" if spread is not None else "")
    return _number(mean) + (f" ± {spread:.2g}" if spread is not None else "")


def _mean(values: Any) -> str:
    known = [value for value in values if not math.isnan(value)]
    return _number(statistics.mean(known)) if known else "-"


def _median(values: Any) -> str:
    """The median of those that are known.

    >>> _median([2, 4, math.nan]), _median([2, math.inf]), _median([math.nan])
    ('3', 'never', '-')
    """
    known = [value for value in values if not math.isnan(value)]
    return _when(statistics.median(known)) if known else "-"
