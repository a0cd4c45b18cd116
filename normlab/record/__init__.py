"""The record of a run: its fields, its folder, its fingerprint, and the records that a study keeps."""

from normlab.record.answers import pack, unpack
from normlab.record.curve import Curve, Measurement, divergence
from normlab.record.folders import (
    CHECKPOINT,
    CURVE,
    DONE,
    PARTIAL,
    RECORD,
    STATE,
    describe,
    existing,
    folder,
    opened,
    read,
    read_all,
    require_writable,
    write,
)
from normlab.record.frames import curves, frame, records
from normlab.record.identity import OPERATIONAL, differences, fingerprint, open_content, with_defaults
from normlab.record.origin import provenance
from normlab.record.schema import SCHEMA, Metrics, Provenance, Record, upgrade
from normlab.record.store import Stored, find_kept, find_runs, keep
from normlab.record.summary import SAME_SCORE, SCORES, score_in, summarize

__all__ = [
    "CHECKPOINT",
    "CURVE",
    "DONE",
    "OPERATIONAL",
    "PARTIAL",
    "RECORD",
    "SAME_SCORE",
    "SCHEMA",
    "SCORES",
    "STATE",
    "Curve",
    "Measurement",
    "Metrics",
    "Provenance",
    "Record",
    "Stored",
    "curves",
    "describe",
    "differences",
    "divergence",
    "existing",
    "find_kept",
    "find_runs",
    "fingerprint",
    "folder",
    "frame",
    "keep",
    "open_content",
    "opened",
    "pack",
    "provenance",
    "read",
    "read_all",
    "records",
    "require_writable",
    "score_in",
    "summarize",
    "unpack",
    "upgrade",
    "with_defaults",
    "write",
]
