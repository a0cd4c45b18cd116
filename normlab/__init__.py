"""normlab: which input normalization should I use, does it matter here, and why?"""

from __future__ import annotations

import importlib
import time
from typing import TYPE_CHECKING, Any

STARTED = time.perf_counter()  # for the record of how long imports took

if TYPE_CHECKING:
    from normlab.data import dataset
    from normlab.norms import normalization
    from normlab.record import curves, records
    from normlab.theory.spectrum import linear_hessian
    from normlab.training.export import export
    from normlab.training.exported import load

__all__ = ["curves", "dataset", "export", "linear_hessian", "load", "normalization", "records"]

# Imported when first asked for: the command answers a typing mistake without loading PyTorch.
_HOMES = {
    "curves": "normlab.record",
    "dataset": "normlab.data",
    "export": "normlab.training.export",
    "linear_hessian": "normlab.theory.spectrum",
    "load": "normlab.training.exported",
    "normalization": "normlab.norms",
    "records": "normlab.record",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'normlab' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
