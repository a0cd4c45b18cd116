r"""What people read on a terminal or in a log: it never ends the work, and a name in it never controls the terminal.

A reader may leave early (``| head``), a disk may be full, a terminal may know ASCII only. What cannot be written is
then dropped, because the record is the result, not the line about it.
"""

from __future__ import annotations

import codecs
import errno
import logging
import os
import re
import sys
from contextlib import suppress
from typing import Any, TextIO

# All control characters but tabs, line ends and the carriage return of a progress bar. 0x9b begins a sequence, too.
CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
IN_ASCII = {"±": "+-", "×": "x", "–": "-", "—": "-", "…": "...", "→": "->", "≤": "<=", "≥": ">="}


def printable(text: object) -> str:
    r"""A text on one line, for names that others chose: control characters are written as escapes.

    >>> print(printable("a\nb\x1b[2J"), printable("Äpfel"))
    a\nb\x1b[2J Äpfel
    """
    return _without_control(str(text).replace("\r", "\\r").replace("\n", "\\n").replace("\t", "\\t"))


def _without_control(text: str) -> str:
    return CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


class Display:
    """A text stream that drops what cannot be written, and writes control characters as escapes.

    Args:
        stream: to write to.
        escapes: let control characters pass, for a progress bar, which moves the cursor and shows no names.
    """

    def __init__(self, stream: TextIO, escapes: bool = False) -> None:
        self.stream, self.escapes = stream, escapes
        self.error: OSError | None = None  # the first one; a reader that left early is none

    def write(self, text: str) -> int:
        """Write, or drop the text."""
        self._attempt(self.stream.write, text if self.escapes else _without_control(text))
        return len(text)

    def writelines(self, lines: Any) -> None:
        """Write, or drop the lines."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Flush, or drop what was not written."""
        self._attempt(self.stream.flush)

    def _attempt(self, method: Any, *arguments: Any) -> None:
        try:
            method(*arguments)
        except UnicodeEncodeError:  # a stream that cannot be configured, see `protect`
            with suppress(UnicodeEncodeError, OSError):
                self.stream.write(arguments[0].encode("ascii", "normlab.ascii").decode("ascii"))
        except OSError as error:
            if self.error is None and error.errno not in (errno.EPIPE, errno.EIO):
                self.error = error
            with suppress(OSError, ValueError):  # else Python fails again when it closes the stream
                null = os.open(os.devnull, os.O_WRONLY)
                os.dup2(null, self.stream.fileno())
                os.close(null)
        except ValueError:  # the stream is closed
            pass

    def __getattr__(self, name: str) -> Any:
        if name == "stream":  # while a copy is made
            raise AttributeError(name)
        return getattr(self.stream, name)


def _in_ascii(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    text = error.object[error.start : error.end]
    return "".join(IN_ASCII.get(one) or one.encode("unicode_escape").decode() for one in text), error.end


codecs.register_error("normlab.ascii", _in_ascii)


def protect() -> None:
    """Let nothing that this process prints end it. Calling it again changes nothing."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # a process without a terminal
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115 - until the process ends
        elif not isinstance(stream, Display):
            with suppress(AttributeError, ValueError, OSError):
                stream.reconfigure(errors="normlab.ascii")
            setattr(sys, name, Display(stream))


def unescaped(stream: Any) -> Any:
    """The same stream for a progress bar, which moves the cursor."""
    return Display(stream.stream, escapes=True) if isinstance(stream, Display) else stream


class OneLine(logging.Formatter):
    """Each message of the log on one line, whatever names are in it; a traceback keeps its lines."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's own name
        """The message on one line."""
        return printable(super().formatMessage(record))
