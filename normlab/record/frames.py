"""Records and curves as tables."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from normlab.errors import NormlabError
from normlab.record.curve import COLUMNS, Curve
from normlab.record.folders import CURVE, read_all

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)


def records(path: str | Path = "runs") -> pd.DataFrame:
    """All records below a folder, a row for each run.

    A damaged record is left out, with a warning that names it.

    Columns: ``path`` of the run's folder and the fields of :class:`normlab.record.Record`; of
    :class:`normlab.record.Metrics` each by its own name (``test_accuracy``), nested fields with a dot
    (``epochs_to.0.7``, ``config.optim.lr``, ``normalized.mean``, ``provenance.commit``). A missing number is NaN.
    """
    return frame(read_all(Path(path)))


def frame(records: Iterable[dict[str, Any]]) -> pd.DataFrame:
    """Records as a table; see :func:`records` for its columns."""
    import pandas as pd

    rows = []
    for record in records:
        metrics = record.get("metrics", {})
        assert not metrics.keys() & record.keys()
        rows.append({**{key: value for key, value in record.items() if key != "metrics"}, **metrics})
    return pd.json_normalize(rows)


def curves(path: str | Path = "runs") -> pd.DataFrame:
    """All curves below a folder, a row for each measurement.

    Columns: path, fingerprint, study, norm, arch, data, optim, lr, seed of the run; then step, epoch, split, metric
    and value.
    """
    import pandas as pd

    keys = ("fingerprint", "study", "norm", "arch", "data", "optim", "lr", "seed")
    frames = []
    for record in read_all(Path(path)):
        curve = Path(record["path"], CURVE)
        if curve.is_file():
            try:
                rows = Curve.read(curve)
            except NormlabError as error:
                log.warning("left out: %s", error)
                continue
            frame = pd.DataFrame(rows, columns=list(COLUMNS))
            for place, key in enumerate(keys):
                frame.insert(place, key, record[key])
            frame.insert(0, "path", record["path"])
            frames.append(frame)
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=["path", *keys, *COLUMNS])
