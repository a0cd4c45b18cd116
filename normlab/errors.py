"""What can go wrong on the user's side: each is reported as one line, without a traceback."""

import sys
from typing import NoReturn


class NormlabError(Exception):
    """A mistake that the message names, with what to do about it."""


def fail(message: str, status: int = 2) -> NoReturn:
    """End the process with the message on the error stream; status 2 is that of a user's mistake."""
    for line in message.splitlines():
        print(f"normlab: {line}", file=sys.stderr)
    sys.exit(status)


class ConfigError(NormlabError):
    """An unknown key, an unknown choice or a value out of range."""


class DataError(NormlabError):
    """Images that are missing, unreadable or unfit for the run."""


class CheckpointError(NormlabError):
    """A checkpoint that cannot be read, or that belongs to another network."""


class RunningError(NormlabError):
    """A run that another process is making at this moment."""


def first_line(error: Exception) -> str:
    r"""What another library's error says, in one line; its kind where it says nothing.

    >>> first_line(ValueError("no such net\nknown are ...")), first_line(NotImplementedError())
    ('no such net', 'NotImplementedError')
    """
    return (str(error).strip() or type(error).__name__).splitlines()[0]
