"""Errors that a user can correct: each is reported as one line, without a traceback."""

import sys
from typing import NoReturn


class NormlabError(Exception):
    """A mistake of the user; the message names it and says what to do."""


def fail(message: str, status: int = 2) -> NoReturn:
    """Print the message on the error stream and end the process; status 2 means a mistake of the user."""
    for line in message.splitlines():
        print(f"normlab: {line}", file=sys.stderr)
    sys.exit(status)


class ConfigError(NormlabError):
    """An unknown key, an unknown choice or a value out of range."""


class DataError(NormlabError):
    """Data that are missing, cannot be read, or cannot be used for the run."""


class CheckpointError(NormlabError):
    """A checkpoint that cannot be read, or that belongs to another network."""


class RunningError(NormlabError):
    """A run that another process is running now, or has just finished."""


def first_line(error: Exception) -> str:
    r"""The first line of another library's error message; the error's type if the message is empty.

    >>> first_line(ValueError("no such net\nknown are ...")), first_line(NotImplementedError())
    ('no such net', 'NotImplementedError')
    """
    return (str(error).strip() or type(error).__name__).splitlines()[0]
