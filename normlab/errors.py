"""What can go wrong on the user's side: each is reported as one line, without a traceback."""

import sys
from typing import NoReturn


class NormlabError(Exception):
    """A mistake that the message names, with what to do about it."""


def fail(message: str) -> NoReturn:
    """End the process with status 2 and the message on the error stream."""
    for line in message.splitlines():
        print(f"normlab: {line}", file=sys.stderr)
    sys.exit(2)


class ConfigError(NormlabError):
    """An unknown key, an unknown choice or a value out of range."""


class DataError(NormlabError):
    """Images that are missing, unreadable or unfit for the run."""


class CheckpointError(NormlabError):
    """A checkpoint that cannot be read, or that belongs to another network."""
