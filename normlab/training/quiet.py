"""Lightning's chatter, kept out of a run's output without touching the rest of the process."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

LOGGERS = ("pytorch_lightning", "lightning_fabric")
MODULES = ("pytorch_lightning", "lightning_fabric", "torch.utils")


def hush() -> None:
    """Silence Lightning in this process for good: for processes that it spawns, which end with the training."""
    for name in LOGGERS:
        logging.getLogger(name).setLevel(logging.WARNING)
    for module in MODULES:
        warnings.filterwarnings("ignore", module=module)


@contextmanager
def hushed() -> Iterator[None]:
    """Silence Lightning for a while: log levels and warning filters are afterwards what they were."""
    levels = {name: logging.getLogger(name).level for name in LOGGERS}
    with warnings.catch_warnings():
        hush()
        try:
            yield
        finally:
            for name, level in levels.items():
                logging.getLogger(name).setLevel(level)
