"""Decoded images on disk, so that files are decoded once."""

from __future__ import annotations

import hashlib
import logging
import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

log = logging.getLogger(__name__)

FORMAT = 1  # part of every key: raise it when the decoding changes


def folder() -> Path:
    """Where the cache lies: NORMLAB_CACHE, else the user's cache folder."""
    own = os.environ.get("NORMLAB_CACHE")
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(own) if own else Path(base) / "normlab"


def key(paths: Sequence[Path], **options: Any) -> str:
    """A key of files as they are now, by path, size and time of change, and of how they are decoded.

    A file that is not there, such as one that a link leads to, has a key too: whoever reads it says so.
    """
    digest = hashlib.blake2b(repr((FORMAT, sorted(options.items()))).encode(), digest_size=16)
    for path in paths:
        try:
            status = path.stat()
            about = f"{status.st_size}\0{status.st_mtime_ns}"
        except OSError:
            about = "missing"
        digest.update(f"{path.absolute()}\0{about}\n".encode())
    return digest.hexdigest()


def remember(name: str, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The cached value of ``make()``, a dict of tensors and plain values; memory-mapped where it was cached.

    A cache that cannot be written, or an entry that cannot be read, costs time and nothing else.
    """
    path = folder() / f"{name}.pt"
    try:
        if path.is_file():
            return torch.load(path, mmap=True, weights_only=True)
    except Exception as error:  # a broken entry, or a folder that may not be looked into: make it again
        log.warning("cache entry %s is unreadable (%s); decoding again", path, error)
    value = make()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
        os.close(handle)
        try:
            torch.save(value, temporary)
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise
    except (OSError, RuntimeError) as error:
        log.warning("not cached in %s (%s)", folder(), error)
    return value
