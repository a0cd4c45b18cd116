"""The process that a command runs in: its output, its memory, its end by a signal."""

from __future__ import annotations

import ctypes
import platform
import signal
import threading
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
