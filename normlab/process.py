"""The process that a command runs in: its output, its memory, its end by a signal."""

from __future__ import annotations

import ctypes
import functools
import gc
import importlib
import importlib.util
import logging
import platform
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from types import ModuleType
from typing import Any, NoReturn

from normlab.display import protect
from normlab.errors import Terminated

# Options of mallopt, from glibc's malloc.h.
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4


def prepare() -> None:
    """Prepare this process for a command: what it prints never ends it, SIGTERM ends it in order, memory is kept.

    Calling it again changes nothing.
    """
    protect()
    keep_memory()
    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _terminate)


def _terminate(*_: Any) -> NoReturn:
    raise Terminated


def keep_memory() -> None:
    """Let glibc keep freed memory for the next allocation; nothing on other systems.

    By default it maps tensors above 32 MiB anew at every use and unmaps them afterwards, and the kernel fills each of
    their pages with zeros: as much system time as user time, see results/benchmarks/allocator.md.
    """
    if platform.libc_ver()[0] != "glibc":
        return
    library = ctypes.CDLL(None)
    library.mallopt(M_MMAP_MAX, 0)
    library.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


@contextmanager
def without_collection() -> Iterator[None]:
    """No garbage collection inside a ``with`` block that makes many objects which stay: it would look at them all."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


@contextmanager
def importing() -> Iterator[None]:
    """Import inside a ``with`` block without garbage collection, which takes a fifth of the time.

    What is there at the end stays until the process ends, and later collections leave it out. Once Lightning is
    imported, nothing is changed: what a run has left behind must be collected.
    """
    if "pytorch_lightning" in sys.modules:
        yield
        return
    with without_collection():
        yield
        gc.freeze()


def import_lightning() -> None:
    """Import Lightning with the one class of torchmetrics that its trainer takes; seconds less at each start.

    The package torchmetrics imports all of its metrics, and for them matplotlib, scipy.signal, torchvision and
    transformers, which nothing here uses. So its modules for that class are imported without the package's own start,
    which takes place when something else of it is asked for. For the processes of our commands only: in a user's own
    process torchmetrics is imported as always.
    """
    if "torchmetrics" in sys.modules or importlib.util.find_spec("torchmetrics") is None:
        return
    package, parts = _not_started("torchmetrics"), _not_started("torchmetrics.utilities")
    package._logger = logging.getLogger("torchmetrics")  # which these modules take from the package
    package.__version__ = metadata.version("torchmetrics")  # which Lightning asks for
    try:
        vars(importlib.import_module("torchmetrics.utilities.imports"))["_MATPLOTLIB_AVAILABLE"] = False
        _start(parts)
        package.Metric = importlib.import_module("torchmetrics.metric").Metric
        package.MetricCollection = importlib.import_module("torchmetrics.collections").MetricCollection
        package.__getattr__ = lambda name: getattr(_start(package), name)
    except (ImportError, AttributeError):  # another release, made in another way: Lightning imports it as always
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchmetrics"]:
            del sys.modules[name]
    importlib.import_module("pytorch_lightning")
    registry = vars(importlib.import_module("lightning_fabric.utilities.registry"))
    if "entry_points" in registry:  # each trainer of a sweep would read those of all installed packages again
        registry["entry_points"] = functools.cache(registry["entry_points"])


def _not_started(name: str) -> Any:
    """A package whose modules can be imported, but whose ``__init__`` has not been run."""
    spec = importlib.util.find_spec(name)
    assert spec is not None
    sys.modules[name] = importlib.util.module_from_spec(spec)
    return sys.modules[name]


def _start(package: ModuleType) -> ModuleType:
    vars(package).pop("__getattr__", None)
    assert package.__spec__ is not None
    assert package.__spec__.loader is not None
    package.__spec__.loader.exec_module(package)
    return package
