"""What a gain of the recording changes in what the network sees: claim D02, before any training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from normlab.config import choose
from normlab.data import load
from normlab.measurements.registry import Rows, measurement
from normlab.measurements.starts import fitted, normalized

MOST = 256  # recordings that are measured


@measurement
def gain_changes(*, data: dict[str, Any], decibels: Sequence[float], norms: Sequence[str]) -> Rows:
    """How far a gain of the waveform changes the normalized features.

    Args:
        data: options of a data source of recordings, as for :func:`normlab.dataset`.
        decibels: gains.
        norms: schemes, fitted on the training recordings.

    Returns:
        A row for each scheme and gain: ``change``, the root mean square change of the normalized test features in
        units of their standard deviation; ``largest``, the largest change in the same units.
    """
    loaded = load(choose("data", **data))
    waveforms = loaded.test.inputs[:MOST]
    rows = []
    for name in norms:
        scheme = fitted(loaded, name)
        before = normalized(scheme, waveforms)
        for gain in decibels:
            change = normalized(scheme, waveforms * 10 ** (gain / 20)) - before
            spread = before.std(correction=0)
            rows.append(
                {
                    "data": loaded.name,
                    "norm": name,
                    "decibels": gain,
                    "change": (change.square().mean().sqrt() / spread).item(),
                    "largest": (change.abs().max() / spread).item(),
                }
            )
    return rows
