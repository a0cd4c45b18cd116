"""Decoded images on disk, so that files are decoded once."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from normlab.files import replacing

log = logging.getLogger(__name__)

FORMAT = 2  # part of every key: raise it when the decoding changes


def folder() -> Path:
    """Where the cache lies: NORMLAB_CACHE, else the user's cache folder."""
    own = os.environ.get("NORMLAB_CACHE")
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(own) if own else Path(base) / "normlab"


def key(digests: Sequence[str], **options: Any) -> str:
    """A key of files, by the hashes of their bytes in their order, and of how they are decoded."""
    digest = hashlib.blake2b(repr((FORMAT, sorted(options.items()))).encode(), digest_size=16)
    digest.update("\n".join(digests).encode())
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
        with replacing(path) as temporary:
            torch.save(value, temporary)
    except (OSError, RuntimeError) as error:
        log.warning("not cached in %s (%s)", folder(), error)
    return value
