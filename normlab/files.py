"""Files that are there whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def write_whole(path: Path, content: bytes | str) -> None:
    """Write a file so that a reader sees the old content or the new one, also after a crash.

    Args:
        path: of the file; its folder exists.
        content: text is written as UTF-8, with the ends of lines that it has.

    Raises:
        OSError: if the file cannot be written; what was there before stays.
    """
    with replacing(path) as temporary:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path to write to, whose file takes the place of ``path`` at the end of the block.

    After an exception nothing is left of it, and what was at ``path`` before stays. The path has the same name, in a
    hidden folder next to it, for writers that look at the ending of a name.

    Raises:
        OSError: if the file cannot be written.
    """
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}-") as folder:
        temporary = Path(folder) / path.name
        yield temporary
        with temporary.open("rb+") as file:  # or a crash soon after might leave the new name with no content
            os.fsync(file.fileno())
        os.replace(temporary, path)
