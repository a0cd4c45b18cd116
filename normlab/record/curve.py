"""The curve of a run: all its measurements, in the order in which they were made."""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path
from typing import NamedTuple

from normlab.errors import DataError, first_line
from normlab.files import write_whole

COLUMNS = ("step", "epoch", "split", "metric", "value")


class Measurement(NamedTuple):
    """One row of ``curve.csv``.

    Attributes:
        step: updates made before the measurement; the loss at step k is the loss of the weights after k updates.
        epoch: passes over the training images before the measurement; may be a fraction.
        split: train, validation, test; start, for measurements on the first batch; probe, for curvature and layers (see
            :class:`normlab.training.probe.Probe`); or theory, for predictions.
        metric: such as loss, accuracy, gradient_norm.
        value: may be NaN or infinite.
    """

    step: int
    epoch: float
    split: str
    metric: str
    value: float


class Curve:
    """Rows that are gathered in memory and appended to a file at each :meth:`flush`.

    Args:
        path: of the file, which :meth:`create` writes with its header.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: list[Measurement] = []
        self._written = 0

    def create(self) -> None:
        """Write a file with the header only."""
        with self.path.open("w", newline="") as file:
            csv.writer(file).writerow(COLUMNS)

    def restore(self, count: int) -> None:
        """Keep the first ``count`` rows of the file, and go on after them.

        Raises:
            ValueError: if the file has fewer rows.
        """
        self.rows = self.read(self.path)[:count]
        if len(self.rows) < count:
            raise ValueError(f"{self.path}: {len(self.rows)} rows, expected {count}")
        content = io.StringIO(newline="")
        csv.writer(content).writerows([COLUMNS, *self.rows])
        write_whole(self.path, content.getvalue())
        self._written = count

    def add(self, step: int, epoch: float, split: str, metric: str, value: float) -> None:
        """Add one measurement."""
        self.rows.append(Measurement(step, epoch, split, metric, value))

    def flush(self) -> None:
        """Append the new rows to the file."""
        self.append(self.rows[self._written :])
        self._written = len(self.rows)

    def append(self, rows: list[Measurement]) -> None:
        """Append these rows to the file."""
        with self.path.open("a", newline="") as file:
            csv.writer(file).writerows(rows)

    @classmethod
    def read(cls, path: Path) -> list[Measurement]:
        """All rows of a file; floats are read back exactly.

        Raises:
            DataError: if the file is damaged, with its path.
        """
        try:
            with path.open(newline="") as file:
                return [
                    Measurement(int(row["step"]), float(row["epoch"]), row["split"], row["metric"], float(row["value"]))
                    for row in csv.DictReader(file)
                ]
        except (ValueError, KeyError, TypeError, csv.Error) as error:
            raise DataError(
                f"{path} is damaged ({first_line(error)}): delete its folder and make the run again"
            ) from None


def divergence(rows: list[Measurement]) -> int | None:
    """Step of the first training or validation loss that is not finite, or None."""
    lost = (row.step for row in rows if row.metric == "loss" and row.split != "test" and not math.isfinite(row.value))
    return min(lost, default=None)
