"""Decoded images on disk, so that each file is decoded only once."""

from __future__ import annotations

import functools
import hashlib
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from normlab import pictures
from normlab.errors import first_line
from normlab.files import replacing

log = logging.getLogger(__name__)

DECODING = [*sorted(Path(pictures.__file__).parent.glob("*.py")), Path(__file__).with_name("images.py")]


def folder() -> Path:
    """The folder of the cache: NORMLAB_CACHE if it is set, else normlab/ in the user's cache folder."""
    own = os.environ.get("NORMLAB_CACHE")
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(own) if own else Path(base) / "normlab"


@functools.cache
def code() -> str:
    """A hash of the code that decodes images: another version of it may read other pixels from the same file."""
    digest = hashlib.blake2b(digest_size=16)
    for file in DECODING:
        digest.update(file.read_bytes())
    return digest.hexdigest()


def key(digests: Sequence[str], **options: Any) -> str:
    """A key for decoded files: a hash of their digests, in the given order, of the options, and of :func:`code`."""
    digest = hashlib.blake2b(repr((code(), sorted(options.items()))).encode(), digest_size=16)
    digest.update("\n".join(digests).encode())
    return digest.hexdigest()


def remember(name: str, make: Callable[[], dict[str, Any]], kinds: Mapping[str, type]) -> dict[str, Any]:
    """The cached value of ``make()``, a dict of tensors and plain values; memory-mapped if it came from the cache.

    If the cache cannot be written, or the entry cannot be read, the value is computed again, with a warning.

    Args:
        name: of the entry.
        make: computes the value.
        kinds: the keys of the value and their types; an entry with others is damaged.
    """
    path = folder() / f"{name}.pt"
    try:
        if path.is_file():
            entry = torch.load(path, mmap=True, weights_only=True)
            if isinstance(entry, dict) and {key: type(value) for key, value in entry.items()} == dict(kinds):
                return entry
            log.warning("cache entry %s has other content than expected; decoding again", path)
    except Exception as error:  # a broken entry, or a folder without permission to read: compute the value again
        log.warning("cache entry %s is unreadable (%s); decoding again", path, first_line(error))
    value = make()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            torch.save(value, temporary)
    except (OSError, RuntimeError) as error:
        log.warning("not cached in %s (%s)", folder(), error)
    return value
