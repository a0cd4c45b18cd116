"""Statistics of a table, a row a column, and the advice that follows: ``python -m normlab.inspect FILE.csv``."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from tabulate import tabulate

from normlab.commandline.arguments import key_and_text, parsed, written
from normlab.config import Data, Section, choices, data_label, defaults, parse_group
from normlab.data import Source
from normlab.data.folder import find_file
from normlab.data.tables import (
    SUFFIXES,
    encode,
    first_word,
    is_date,
    is_numeric,
    is_table,
    read_frame,
    require_column,
    require_values,
    row_identifier,
)
from normlab.errors import ConfigError, DataError, NormlabError
from normlab.theory.spectrum import linear_hessian
from normlab.theory.stability import stable_rate

if TYPE_CHECKING:
    import pandas as pd

SCALERS = {  # whose conditioning is shown: the scheme, and scikit-learn's name of it
    "raw": "FunctionTransformer",  # the identity
    "standard": "StandardScaler",
    "robust": "RobustScaler",
    "min_max_dataset": "MinMaxScaler",
    "max_abs": "MaxAbsScaler",
    "quantile": "QuantileTransformer",
    "power": "PowerTransformer",
}
EVIDENCE = "results/tables_scaling/README.md in normlab's repository"
FAR = 3.0  # interquartile ranges beyond a quartile: Tukey's "far out" values (1977, section 2)
UNEQUAL = 10.0  # ratio of deviations, or of condition numbers, from which columns count as differently scaled
SKEWED = 2.0  # absolute skew from which a column counts as skewed
SHOWN = 60  # columns in the text; --json has all


def inspect(arguments: Sequence[str]) -> tuple[str, dict[str, Any]] | None:
    """The label of a table and the report on it, or None if the arguments name no table.

    Args:
        arguments: a file and keys of ``data=table``, or ``data=NAME`` with keys of that table.

    Raises:
        NormlabError: if the table cannot be read, or a key is unknown.
    """
    files = [argument for argument in arguments if "=" not in argument and is_table(Path(argument))]
    pairs = [argument for argument in arguments if argument not in files]
    if not files:
        name = next((pair.partition("=")[2] for pair in pairs if pair.lstrip("+").startswith("data=")), "")
        if name not in choices("data") or not defaults("data", name)["_target_"].startswith("normlab.data.tables."):
            return None
    elif len(files) > 1:
        raise ConfigError(f"one table at a time: {files[0]} or {files[1]}")
    # In quotes no sign of a path means more than itself.
    named = ["data=table", f"data.root='{files[0]}'"] if files else []
    _, groups = parsed([*named, *pairs], Section)
    config = parse_group("data", groups["data"])
    if config.name == "table":
        return inspect_file(config, dict(key_and_text(pair) for pair in pairs))
    return data_label(groups["data"]), inspect_rows(config.build())


def inspect_file(config: Data, given: Mapping[str, str]) -> tuple[str, dict[str, Any]]:
    """The report on the file of ``data=table``: its name and the content of the report.

    Args:
        config: the checked options of ``data=table``; the target may be missing.
        given: the keys and values of the command line, for the line to paste.

    Raises:
        DataError: if the file cannot be read as a table, or lacks a named column.
    """
    options: Any = config
    if options.root is None:
        raise DataError("which table? python -m normlab.inspect FILE.csv or FILE.parquet")
    path = find_file(options.root, f"one file of a table ({', '.join(SUFFIXES)})")
    frame = read_frame(path, delimiter=options.delimiter, decimal=options.decimal, encoding=options.encoding)
    for name in (*options.drop, *([options.target] if options.target else [])):
        require_column(frame, name, "data.target" if name == options.target else "data.drop", path.name)
    frame = frame.drop(columns=list(options.drop))
    require_values(frame, path.name)
    return path.name, report(frame, options.target, options.keep, {"data.root": str(path), **given}, options.drop)


def inspect_rows(source: Source) -> dict[str, Any]:
    """The report on a source of the kind ``tables``, all rows of it."""
    import pandas as pd

    assert isinstance(source.train.pictures, torch.Tensor)
    frame = pd.DataFrame(source.train.pictures.double().numpy(), columns=list(source.columns))
    return report(frame, None, source.columns)


def report(
    frame: pd.DataFrame,
    target: str | None = None,
    keep: Sequence[str] = (),
    given: Mapping[str, str] | None = None,
    dropped: Sequence[str] = (),
) -> dict[str, Any]:
    """The whole report, as JSON types; a number that a column does not have is None.

    Args:
        frame: a row a sample.
        target: a column that is described, but is no feature.
        keep: columns that are features though they look like identifiers.
        given: keys of ``data=table`` by which the file was read, and their values, for the line to paste.
        dropped: columns that were left out, for the same.
    """
    rows = [describe(frame[name], keep) for name in frame]
    features = [
        row["column"]
        for row in rows
        if row["kind"] in ("numbers", "categories") and not row["constant"] and row["column"] != target
    ]
    usable = frame[[name for name in features if frame[name].notna().any()]]
    conditions, why_not = conditioning(usable, keep) if usable.shape[1] else ([], "no column of numbers")
    by_name = {row["column"]: row for row in rows}
    return {
        "rows": len(frame),
        "columns": rows,
        "target": target,
        "complete_rows": int(frame.notna().all(axis=1).sum()),
        "conditioning": conditions,
        "conditioning_missing": why_not,
        "advice": advice([by_name[name] for name in features], rows, conditions, target),
        "evidence": EVIDENCE,
        "lines": lines([by_name[name] for name in features], rows, target, given or {}, dropped),
    }


def kind_of(column: pd.Series, keep: Sequence[str] = ()) -> str:
    """``numbers``, ``categories``, ``dates``, ``row names``, ``mixed`` (numbers with texts among them) or ``empty``."""
    if column.isna().all():
        return "empty"
    if is_date(column):
        return "dates"
    if column.name not in keep and row_identifier(column):
        return "row names"
    if is_numeric(column):
        return "numbers"
    return "mixed" if first_word(column) else "categories"


def describe(column: pd.Series, keep: Sequence[str] = ()) -> dict[str, Any]:
    """The statistics of one column.

    Keys: ``column``, ``kind``; of numbers ``mean``, ``std`` (ddof 0), ``median``, ``iqr``, ``smallest``, ``largest``,
    ``skew`` (third standardized moment), ``outliers`` (values more than 3 IQR beyond a quartile); ``infinite``,
    ``missing`` and ``distinct`` values; ``constant``.
    """
    kind = kind_of(column, keep)
    row: dict[str, Any] = {"column": str(column.name), "kind": kind}
    numbers = column.dropna().to_numpy(dtype=np.float64) if kind == "numbers" else np.empty(0)
    finite = numbers[np.isfinite(numbers)]
    row |= statistics(finite)
    row |= {
        "infinite": len(numbers) - len(finite),
        "missing": int(column.isna().sum()),
        "distinct": int(column.nunique()),
        "constant": bool(column.nunique() == 1),
    }
    return row


def statistics(values: NDArray[np.float64]) -> dict[str, float | int | None]:
    """Mean, spread, order statistics, skew and number of far values; None for no values."""
    keys = ("mean", "std", "median", "iqr", "smallest", "largest", "skew", "outliers")
    if len(values) == 0:
        return dict.fromkeys(keys)
    low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
    mean, std = values.mean(), values.std()
    reach = FAR * (high - low)
    flat = bool((values == values[0]).all())
    numbers = (
        float(mean),
        0.0 if flat else float(std),
        float(middle),
        float(high - low),
        float(values.min()),
        float(values.max()),
        0.0 if flat else float((((values - mean) / std) ** 3).mean()),
        # An interquartile range of 0 (most values are equal) says nothing about what is far.
        int(((values < low - reach) | (values > high + reach)).sum()) if high > low else 0,
    )
    return dict(zip(keys, numbers, strict=True))


def conditioning(features: pd.DataFrame, keep: Sequence[str] = ()) -> tuple[list[dict[str, Any]], str | None]:
    """The linear model's Hessian, with bias, before and after each scaler; or the reason why there is none.

    Missing values are filled by the column's median; categories count as columns of 0 and 1.
    """
    try:
        values, _ = encode(features, [*keep, *map(str, features)], len(features), "the table", [])
    except NormlabError as error:
        return [], str(error)
    values = np.where(np.isnan(values), np.nanmedian(values, 0), values)
    from sklearn import preprocessing  # here, because the import is slow

    rows = []
    categories = sum(not is_numeric(features[name]) for name in features)
    for name, library in SCALERS.items():
        options = {"n_quantiles": min(1000, len(values))} if name == "quantile" else {}
        scaled = getattr(preprocessing, library)(**options).fit_transform(values)
        spectrum = linear_hessian(torch.from_numpy(scaled))
        rows.append(
            {
                "scheme": name,
                "scikit_learn": "-" if name == "raw" else library,
                "columns": values.shape[1],
                "categories": categories,
                "rank": spectrum.rank,
                "condition_number": spectrum.condition_number,
                "stable_rate": stable_rate(spectrum.lambda_max),
            }
        )
    return rows, None


def advice(
    features: Sequence[dict[str, Any]],
    rows: Sequence[dict[str, Any]],
    conditions: Sequence[dict[str, Any]],
    target: str | None,
) -> list[str]:
    """Sentences of advice, each with the numbers that it follows from."""
    numbers = [row for row in features if row["kind"] == "numbers" and not row["constant"]]
    sentences: list[str] = []
    by_scheme = {row["scheme"]: row["condition_number"] for row in conditions}
    if len(numbers) > 1:
        first, last = (choose(numbers, key=lambda row: row["std"]) for choose in (min, max))
        ratio = last["std"] / first["std"]
        before, after = by_scheme.get("raw", math.nan), by_scheme.get("standard", math.nan)
        change = f" The linear model's condition number is {before:.2g} as it is, {after:.2g} standardized."
        if ratio >= UNEQUAL or before >= UNEQUAL * after:
            sentences.append(
                f"The standard deviations differ by a factor of {ratio:,.0f} ({last['column']} and {first['column']}): "
                f"for a model that is trained by gradients, that measures distances or that is penalized, scale each "
                f"column by itself, and center it.{change * bool(by_scheme)} Trees need no scaling."
            )
        else:
            sentences.append(f"The columns lie on one scale: scaling changes little here.{change * bool(by_scheme)}")
    far = sorted((row for row in numbers if row["outliers"]), key=lambda row: -row["outliers"])
    if far:
        sentences.append(
            f"Far values, more than {FAR:g} interquartile ranges beyond a quartile, in {_listed(far, 'outliers')}: "
            f"look at them first. They move the range most, then the mean and the standard deviation, the "
            f"median and the interquartile range hardly. Measured with planted ones, scaling by the latter was no "
            f"better than standardizing on one table and better on another (results/tables_scaling): try both. No "
            f"scaling takes them out."
        )
    if {"id", "time"} <= {row["column"].strip().casefold() for row in rows}:
        sentences.append(
            "Columns id and time: if a row is a step of a series, these are series: data=series data.root=FILE."
        )
    skewed = sorted((row for row in numbers if abs(row["skew"]) > SKEWED), key=lambda row: -abs(row["skew"]))
    if skewed:
        sentences.append(
            f"Skewed: {_listed(skewed, 'skew')}. A logarithm, +norm=power (Yeo-Johnson) or +norm=quantile makes them "
            f"more symmetric."
        )
    sentences += _about_columns(rows, target)
    if conditions:
        raw = conditions[0]
        # The columns of 0 and 1 of a category add up to the bias, which says nothing about the file.
        most = raw["columns"] + 1 - raw["categories"]
        if raw["rank"] < most:
            sentences.append(
                f"Some columns follow from others: the Hessian has rank {raw['rank']}, and would have {most} with a "
                f"bias if none did. A linear model's coefficients are then not unique."
            )
    sentences.append("Fit every scaler on the training rows alone, inside a pipeline, as in the lines below.")
    return sentences


def _about_columns(rows: Sequence[dict[str, Any]], target: str | None) -> list[str]:
    """Sentences on missing, constant, infinite and unusable columns."""
    sentences = []
    missing = [row for row in rows if row["missing"] and row["kind"] != "empty"]
    if missing:
        sentences.append(
            f"Missing values in {_listed(missing, 'missing')}: data.missing=median, mean or drop; the statistics must "
            f"be those of the training rows."
        )
    if infinite := [row for row in rows if row["infinite"]]:
        sentences.append(f"Infinite values in {_listed(infinite, 'infinite')}: correct them, or leave them empty.")
    if constant := [row["column"] for row in rows if row["constant"] and row["column"] != target]:
        sentences.append(f"Constant, so without information: {_joined(constant)}.")
    reasons = {
        "dates": "Dates",
        "row names": "Columns that number or name the rows",
        "empty": "Columns without values",
        "mixed": "Numbers with texts among them",
    }
    for kind, reason in reasons.items():
        if names := [row["column"] for row in rows if row["kind"] == kind]:
            sentences.append(f"{reason} are no features: {_joined(names)} (data.drop='[{','.join(names[:5])}]').")
    return sentences


def lines(
    features: Sequence[dict[str, Any]],
    rows: Sequence[dict[str, Any]],
    target: str | None,
    given: Mapping[str, str],
    dropped: Sequence[str],
) -> dict[str, str]:
    """Ready to paste: a scikit-learn preprocessing of these columns, and the command of a run."""
    numbers = [row["column"] for row in features if row["kind"] == "numbers"]
    categories = [row["column"] for row in features if row["kind"] == "categories"]
    lacking = any(row["missing"] for row in features if row["kind"] == "numbers")
    fill = "SimpleImputer(strategy='median'), " if lacking else ""
    parts = [f"(make_pipeline({fill}StandardScaler()), {numbers})"] * bool(numbers)
    parts += [f"(OneHotEncoder(handle_unknown='ignore', sparse_output=False), {categories})"] * bool(categories)
    keys = {"data.root": "FILE.csv", "data.target": written(target) if target else "COLUMN"}
    kept = {row["column"] for row in features} | {target}
    unusable = [*dropped, *(row["column"] for row in rows if row["column"] not in kept)]
    if any(row["missing"] for row in rows if row["column"] in kept):
        keys["data.missing"] = "median"
    # The file must be read as it was read here; only columns to leave out may be more.
    keys |= {key: value for key, value in given.items() if key.startswith("data.")}
    if unusable:
        keys["data.drop"] = f"[{','.join(map(written, unusable))}]"
    words = " ".join(shlex.quote(f"{key}={value}") for key, value in keys.items())
    return {
        "scikit-learn": f"make_column_transformer({', '.join(parts)})" if parts else "",
        "normlab": f"python -m normlab +norm=standard data=table {words} arch=mlp",
    }


def text_of(label: str, content: dict[str, Any]) -> str:
    """The report as text for people."""
    rows = content["columns"]
    text = [f"{label}: {content['rows']:,} rows, {len(rows)} columns, {content['complete_rows']:,} rows complete", ""]
    table = [
        [
            row["column"] + (" (target)" if row["column"] == content["target"] else ""),
            *(_short(row[key]) for key in ("mean", "std", "median", "iqr")),
            "" if row["smallest"] is None else f"{_short(row['smallest'])}..{_short(row['largest'])}",
            "" if row["skew"] is None else f"{row['skew']:.1f}",
            row["outliers"] or "",
            row["missing"] or "",
            ", ".join(_notes(row)),
        ]
        for row in rows[:SHOWN]
    ]
    headers = ["column", "mean", "std", "median", "IQR", "range", "skew", "far", "missing", "note"]
    text.append(tabulate(table, headers, disable_numparse=True))
    if len(rows) > SHOWN:
        text.append(f"and {len(rows) - SHOWN} more columns: --json shows all")
    text.append("")
    if content["conditioning"]:
        shown = [
            [
                row["scheme"],
                row["scikit_learn"],
                row["rank"],
                _short(row["condition_number"]),
                _short(row["stable_rate"]),
            ]
            for row in content["conditioning"]
        ]
        text.append("a linear model on these columns, with a bias:")
        text.append(
            tabulate(
                shown, ["scheme", "scikit-learn", "rank", "condition number", "stable below lr"], disable_numparse=True
            )
        )
    else:
        text.append(f"no linear model: {content['conditioning_missing']}")
    text += ["", *content["advice"], f"(evidence: {content['evidence']})", "", "To paste:"]
    text += [f"  {library:14}{line}" for library, line in content["lines"].items() if line]
    return "\n".join(text)


def _notes(row: dict[str, Any]) -> list[str]:
    notes = [] if row["kind"] == "numbers" else [row["kind"]]
    if row["kind"] == "categories":
        notes = [f"{row['distinct']} categories"]
    notes += ["constant"] * row["constant"]
    return notes + [f"{row['infinite']} infinite"] * bool(row["infinite"])


def _listed(rows: Sequence[dict[str, Any]], key: str, most: int = 5) -> str:
    shown = ", ".join(f"{row['column']} ({_short(row[key])})" for row in rows[:most])
    return shown + (f" and {len(rows) - most} more" if len(rows) > most else "")


def _joined(names: Sequence[str], most: int = 5) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _short(value: float | int | None) -> str:
    """Four significant digits.

    >>> _short(1234.5678), _short(0.000012345), _short(3), _short(None)
    ('1235', '1.234e-05', '3', '')
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return str(value) if isinstance(value, int) else f"{value:.4g}"
