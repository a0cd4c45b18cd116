"""Files that are written whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def write_whole(path: Path, content: bytes | str) -> None:
    """Write a file so that a reader sees the old content or the new one, also after a crash.

    Args:
        path: of the file, in a folder that exists.
        content: bytes, or text, which is written as UTF-8 with unchanged line ends.

    Raises:
        OSError: if the file cannot be written; the old content stays.
    """
    with replacing(path) as temporary:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path to write to; its file replaces ``path`` at the end of the ``with`` block.

    After an exception the temporary file is deleted and the old file stays. The temporary file has the same name, in a
    hidden folder next to ``path``, for libraries that choose the format by the ending of the name.

    Raises:
        OSError: if the file cannot be written.
    """
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}-") as folder:
        temporary = Path(folder) / path.name
        yield temporary
        with temporary.open("rb+") as file:  # without fsync, a crash soon afterwards might leave an empty file
            os.fsync(file.fileno())
        os.replace(temporary, path)
