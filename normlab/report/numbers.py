"""Numbers that a text asks for by study, scheme and cell: the page for practitioners, and findings of studies."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd

from normlab.errors import ConfigError
from normlab.report.ledger import entries, judged_by, tally, verdict_of
from normlab.report.study import Study
from normlab.report.tables import conditions_of, differences, wide
from normlab.verdicts import Rate, Verdict


class Numbers:
    """What the text asks for, from the studies.

    Args:
        studies: with their verdicts.
    """

    def __init__(self, studies: Sequence[tuple[Study, list[Verdict]]]) -> None:
        self._studies = {study.name: study for study, _ in studies}
        self._frames = {name: study.at_rates for name, study in self._studies.items() if study.records}
        self._differences: dict[tuple[str, Rate], pd.DataFrame] = {}  # those that a text has asked for
        self._judged = judged_by(studies)

    def has(self, *studies: str) -> bool:
        """Whether all of these have runs."""
        return all(study in self._frames for study in studies)

    def has_measured(self, study: str) -> bool:
        """Whether this study has measurements."""
        return study in self._studies and bool(self._studies[study].measured)

    def measured(self, study: str, column: str, **where: str) -> float:
        """Mean of a column of a study's measurements, over the rows that have these values."""
        rows = self._studies[study].measurements
        for name, value in where.items():
            rows = rows[rows[name] == value]
        if rows.empty:
            raise ConfigError(f"advice.md: {study} has no measured rows for {where}")
        return float(rows[column].mean())

    def accuracy(self, study: str, norm: str, rate: Rate = "best", **cell: str) -> str:
        """Mean test accuracy of a scheme in one cell of a study: ``41.2%``."""
        row = self._row(wide(self._studies[study], self._frames[study][rate]), study, norm, cell)
        return f"{100 * row.accuracy:.1f}%"

    def rate(self, study: str, norm: str, **cell: str) -> str:
        """The best learning rate of a scheme: ``0.01``."""
        return f"{self._row(wide(self._studies[study], self._frames[study]['best']), study, norm, cell).lr:g}"

    def gain(self, study: str, norm: str, rate: Rate = "best", **cell: str) -> str:
        """Points of accuracy over the study's reference, with the 95% interval: ``-1.2 [-2.0, -0.4] points``.

        It says how many pairs a divergence takes away.
        """
        if (study, rate) not in self._differences:
            self._differences[study, rate] = differences(self._studies[study], self._frames[study][rate])
        row = self._row(self._differences[study, rate], study, norm, cell)
        lost = f" ({row.lost} of {row.n + row.lost} pairs lost to divergence)" * bool(row.lost)
        if math.isnan(row.low):
            return f"{100 * row.difference:+.1f} points (one pair of runs){lost}"
        return f"{100 * row.difference:+.1f} [{100 * row.low:+.1f}, {100 * row.high:+.1f}] points{lost}"

    def mean(self, study: str, norm: str, metric: str, rate: Rate = "best", **cell: str) -> float:
        """Mean of any column of the records over the seeds of a scheme."""
        frame = self._frames[study][rate]
        return float(self._rows(frame, study, norm, cell)[metric].mean())

    def conditions(self, study: str) -> str:
        """Of a study's runs: see :func:`normlab.report.tables.conditions_of`; empty without runs."""
        return conditions_of(self._studies[study]) if study in self._frames else ""

    def runs(self, *studies: str) -> int:
        """Runs of these studies, or of all; one that several share counts once."""
        chosen = [self._studies[name] for name in studies or self._studies]
        return len({found["fingerprint"] for study in chosen for found in study.records})

    def verdict(self, claim: str) -> str:
        """What was found of a claim."""
        return verdict_of(self._judged[claim]).text if claim in self._judged else "not tested"

    def tally(self, claim: str) -> str:
        """How many of its parts came out how."""
        return tally(self._judged.get(claim, []))

    def claims(self, part: str) -> list[str]:
        """The ids of one part of the ledger."""
        return [id_ for id_ in entries() if id_.startswith(part)]

    def claim(self, id_: str) -> str:
        """A claim in words."""
        return entries()[id_].statement

    def _row(self, frame: pd.DataFrame, study: str, norm: str, cell: dict[str, str]) -> pd.Series:
        rows = self._rows(frame, study, norm, cell)
        if len(rows) != 1:
            raise ConfigError(f"advice.md: {study} has {len(rows)} rows for {norm} {cell}, expected one")
        return rows.iloc[0]

    def _rows(self, frame: pd.DataFrame, study: str, norm: str, cell: dict[str, str]) -> pd.DataFrame:
        """The rows of a scheme where the study's factors, by the last part of their names, have these values."""
        columns = {factor.removesuffix(".name").rsplit(".", 1)[-1]: factor for factor in self._studies[study].factors}
        unknown = cell.keys() - columns.keys()
        if unknown:
            raise ConfigError(f"advice.md: {study} has no factor {sorted(unknown)[0]}, but {', '.join(columns)}")
        frame = frame[frame.norm == norm]
        for name, value in cell.items():
            frame = frame[frame[columns[name]] == value]
        return frame
