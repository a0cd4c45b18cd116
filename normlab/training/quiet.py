"""Silence Lightning's messages during a run, and change nothing else in the process."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

LOGGERS = ("pytorch_lightning", "lightning_fabric")
MODULES = ("pytorch_lightning", "lightning_fabric", "torch.utils")


def hush() -> None:
    """Silence Lightning until this process ends: for the processes that Lightning spawns."""
    for name in LOGGERS:
        logging.getLogger(name).setLevel(logging.WARNING)
    for module in MODULES:
        warnings.filterwarnings("ignore", module=module)


@contextmanager
def hushed() -> Iterator[None]:
    """Silence Lightning inside a ``with`` block or a function; then restore log levels and warning filters."""
    levels = {name: logging.getLogger(name).level for name in LOGGERS}
    with warnings.catch_warnings():
        hush()
        try:
            yield
        finally:
            for name, level in levels.items():
                logging.getLogger(name).setLevel(level)
