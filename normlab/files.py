"""Files that are written whole or not at all."""

from __future__ import annotations

import csv
import glob
import hashlib
import os
import secrets
import shutil
import socket
import stat
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


def write_whole(path: Path, content: bytes | memoryview | str) -> None:
    """Write a file so that a reader sees the old content or the new one, also after a crash.

    Args:
        path: of the file, in a folder that exists.
        content: bytes, or text, which is written as UTF-8 with unchanged line ends.

    Raises:
        OSError: if the file cannot be written; the old content stays.
    """
    data = content.encode() if isinstance(content, str) else content
    prefix = f".{path.name}-{_MACHINE}-"
    _delete_left(path.parent, prefix)
    # A file, where `replacing` makes a folder: making and removing one takes as long as writing.
    temporary = path.with_name(f"{prefix}{os.getpid()}-{secrets.token_hex(4)}")
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())  # else a crash soon afterwards might leave an empty file
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_all_whole(contents: Mapping[Path, bytes | str]) -> None:
    """Write several files, and replace none before all are written; they are replaced in the given order.

    Raises:
        OSError: if one of them cannot be written; all old contents stay.
    """
    with ExitStack() as stack:
        for path, content in reversed(list(contents.items())):  # the stack ends with the one that was entered last
            stack.enter_context(replacing(path)).write_bytes(content.encode() if isinstance(content, str) else content)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path to write to; its file replaces ``path`` at the end of the ``with`` block.

    After an exception the temporary file is deleted and the old file stays. The temporary file has the same name, in a
    hidden folder next to ``path``, for libraries that choose the format by the ending of the name. What processes left
    that were killed here is deleted.

    Raises:
        OSError: if the file cannot be written.
    """
    prefix = f".{path.name}-{_MACHINE}-"
    _delete_left(path.parent, prefix)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f"{prefix}{os.getpid()}-") as folder:
        temporary = Path(folder) / path.name
        yield temporary
        with temporary.open("rb+") as file:  # without fsync, a crash soon afterwards might leave an empty file
            os.fsync(file.fileno())
        os.replace(temporary, path)


@contextmanager
def replacing_files(folder: Path) -> Iterator[Path]:
    """A temporary folder to write to; at the end its files replace those of the same names in ``folder``.

    After an exception none is replaced. Other files of ``folder`` stay.

    Args:
        folder: created if it does not exist.

    Raises:
        OSError: if a file cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    prefix = f".new-{_MACHINE}-"
    _delete_left(folder, prefix)
    with tempfile.TemporaryDirectory(dir=folder, prefix=f"{prefix}{os.getpid()}-") as name:
        temporary = Path(name)
        yield temporary
        files = sorted(path for path in temporary.rglob("*") if path.is_file())
        for file in files:
            with file.open("rb+") as opened:
                os.fsync(opened.fileno())
        for file in files:
            target = folder / file.relative_to(temporary)
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(file, target)


# The number of a process says something on its own machine only.
_MACHINE = hashlib.blake2b(socket.gethostname().encode(), digest_size=3).hexdigest()


def _delete_left(folder: Path, prefix: str) -> None:
    """Delete the temporary files and folders of processes of this machine that are no more."""
    for left in folder.glob(f"{glob.escape(prefix)}*"):
        number = left.name.removeprefix(prefix).partition("-")[0]
        if number.isdecimal() and not _lives(int(number)):
            if left.is_dir():
                shutil.rmtree(left, ignore_errors=True)
            else:
                left.unlink(missing_ok=True)


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # another user's
        return True
    return True


def is_special(path: Path) -> bool:
    """Whether a path is a pipe, a socket or a device, whose reading may never end; False if there is nothing."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet takes for a formula (OWASP, "CSV Injection")


def to_csv(table: pd.DataFrame) -> str:
    """A table as CSV in which no text is a formula to a spreadsheet: such a text gets an apostrophe before it.

    Numbers, and texts of numbers, stay as they are.
    """
    texts = table.select_dtypes(include=["object", "string", "category"]).columns
    safe = table.assign(**{name: table[name].map(_no_formula) for name in texts}) if len(texts) else table
    return safe.to_csv(index=False, quoting=csv.QUOTE_MINIMAL)


def _no_formula(value: object) -> object:
    if not isinstance(value, str) or not value.startswith(FORMULA) or len(value) == 1:
        return value
    try:
        float(value)
    except ValueError:
        return f"'{value}"
    return value
