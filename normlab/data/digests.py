"""Hashes of the bytes of files, computed once for each version of a file."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import stat
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from normlab.data import cache
from normlab.files import write_whole

log = logging.getLogger(__name__)

MISSING = "missing"  # in place of the hash of a file that is not there, such as the target of a broken link
SETTLED_NS = 2_000_000_000  # a file that changed later than this may change again within one tick of a coarse clock
CHUNK = 1 << 20

Entry = tuple[int, int, int, str]  # size in bytes, times of the last change of content and of status in ns, hash


def digest_files(paths: Sequence[Path]) -> list[str]:
    """The hash of each file's bytes: BLAKE2b, 32 hexadecimal digits.

    A hash is remembered in the cache folder together with the file's size and its times of change, and computed again
    when one of them differs. A file that changed within the last two seconds is hashed but not remembered: on a
    file system with coarse clocks a later change could leave the same times.

    Args:
        paths: files; one that is not there has the hash ``missing``.
    """
    if not paths:
        return []
    root = os.path.commonpath([path.absolute().parent for path in paths])
    known = _known(root)
    names = [os.path.relpath(path.absolute(), root) for path in paths]
    states = [_state(path) for path in paths]
    new = [place for place, name in enumerate(names) if states[place] and known.get(name, (None,))[:3] != states[place]]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        hashes = dict(zip(new, pool.map(_hash, (paths[place] for place in new)), strict=True))
    result = []
    settled = time.time_ns() - SETTLED_NS
    for place, (name, state) in enumerate(zip(names, states, strict=True)):
        if state is None:
            result.append(MISSING)
        elif place in hashes:
            result.append(hashes[place])
            if max(state[1:]) < settled:
                known[name] = (*state, hashes[place])
        else:
            result.append(known[name][3])
    if any(hashes[place] != MISSING for place in new):
        _keep(root, known)
    return result


def _state(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    if not stat.S_ISREG(status.st_mode):  # a pipe, whose reading may never end
        return None
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _hash(path: Path) -> str:
    digest = hashlib.blake2b(digest_size=16)
    try:
        with path.open("rb", buffering=0) as file:
            while chunk := file.read(CHUNK):
                digest.update(chunk)
    except OSError:
        return MISSING
    return digest.hexdigest()


def _place(root: str) -> Path:
    return cache.folder() / "digests" / f"{hashlib.blake2b(os.fsencode(root), digest_size=16).hexdigest()}.json"


def _known(root: str) -> dict[str, Entry]:
    try:
        return {name: tuple(entry) for name, entry in json.loads(_place(root).read_text()).items()}
    except (OSError, ValueError, AttributeError, TypeError):  # no entry yet, or a damaged one: hash again
        return {}


def _keep(root: str, known: dict[str, Entry]) -> None:
    place = _place(root)
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        write_whole(place, json.dumps(known))
    except OSError as error:
        log.warning("hashes are not remembered in %s (%s)", place.parent, error)
