"""Errors that a user can correct: each is reported as one line, without a traceback."""

from __future__ import annotations

import errno
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from normlab.display import printable


class NormlabError(Exception):
    """A mistake of the user; the message names it and says what to do. Each argument is a line of the message."""

    status = 2  # of the command

    def __str__(self) -> str:
        return "\n".join(map(printable, self.args))


def fail(message: str, status: int = 2) -> NoReturn:
    """Print the message on the error stream and end the process; status 2 means a mistake of the user."""
    for line in message.split("\n"):
        print(f"normlab: {line}", file=sys.stderr)
    sys.exit(status)


class ConfigError(NormlabError):
    """An unknown key, an unknown choice or a value out of range."""


class DataError(NormlabError):
    """Data that are missing, cannot be read, or cannot be used for the run."""


class CheckpointError(NormlabError):
    """A checkpoint that cannot be read, or that belongs to another network."""


class MachineError(NormlabError):
    """Something that the machine lacks: space on a disk, memory, files that may be open at once, a permission."""

    status = 1


class RunningError(NormlabError):
    """A run that another process is running now, or has just finished."""


def first_line(error: BaseException) -> str:
    r"""The first line of another library's error message; the error's type if the message is empty.

    >>> first_line(ValueError("no such net\nknown are ...")), first_line(NotImplementedError())
    ('no such net', 'NotImplementedError')
    """
    return (str(error).strip() or type(error).__name__).splitlines()[0]


class Terminated(BaseException):
    """SIGTERM, as a cluster sends it before it takes the machine away. No Exception, so that nothing holds it up."""


LACKING = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the quota of the disk is used up",
    errno.EFBIG: "the file is larger than the limit (see ulimit -f)",
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "no permission",
    errno.EPERM: "no permission",
    errno.EMFILE: "too many files are open at once (see ulimit -n)",
    errno.ENFILE: "too many files are open at once on this machine",
    errno.ENOMEM: "out of memory",
    errno.EIO: "the disk or the network behind it does not answer",
    errno.EAGAIN: "no more processes or threads may be started (see ulimit -u)",
}
ALLOCATION = ("allocate memory", "out of memory", "std::bad_alloc", "Unable to allocate", "failed to map segment")


def lack(error: BaseException | None) -> str | None:
    """What the machine lacked, as one line, if an exception or its cause says that; else None.

    >>> lack(OSError(errno.ENOSPC, "No space left on device", "runs/curve.csv"))
    'the disk is full: runs/curve.csv'
    >>> lack(MemoryError()), lack(ValueError("out of luck"))
    ('out of memory', None)
    """
    while error is not None:
        if isinstance(error, OSError) and error.errno in LACKING:
            return LACKING[error.errno] + (f": {printable(error.filename)}" if error.filename else "")
        if isinstance(error, MemoryError):
            return "out of memory"
        if isinstance(error, RuntimeError | ImportError | OSError) and any(part in str(error) for part in ALLOCATION):
            return f"out of memory ({printable(first_line(error))})"
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return None


@contextmanager
def reported() -> Iterator[None]:
    """End the process with one line where a mistake of the user, the machine or Ctrl-C ends the ``with`` block."""
    try:
        yield
    except NormlabError as error:
        fail(str(error), error.status)
    except KeyboardInterrupt:
        fail("interrupted; the same command starts again or continues", status=130)
    except Terminated:
        fail("ended by SIGTERM; the same command starts again or continues", status=143)
    except Exception as error:
        if (line := lack(error)) is None:
            raise
        fail(line, status=1)
