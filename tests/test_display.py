"""What is printed never ends the work, and names that others chose never control the terminal."""

import errno
import io
import logging
import sys

import pytest

from normlab.display import Display, OneLine, printable, protect, unescaped
from normlab.errors import ConfigError, DataError, MachineError, fail, lack, reported


class Broken(io.StringIO):
    """A stream that fails from its second text on."""

    def __init__(self, number):
        super().__init__()
        self.number, self.written = number, 0

    def write(self, text):
        self.written += 1
        if self.written > 1:
            raise OSError(self.number, "no")
        return super().write(text)


@pytest.mark.parametrize(("number", "is_kept"), [(errno.EPIPE, False), (errno.ENOSPC, True)])
def test_what_cannot_be_written_is_dropped_and_a_reader_may_leave(number, is_kept):
    display = Display(Broken(number))
    print("one", "two", file=display)
    display.flush()
    assert display.stream.getvalue() == "one"
    assert (display.error is not None) == is_kept


def test_a_terminal_that_knows_ascii_only(monkeypatch):
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    protect()
    protect()  # nothing changes
    assert not isinstance(sys.stdout.stream, Display)
    print("41.2% ± 0.3 Äpfel", flush=True)
    assert raw.getvalue() == b"41.2% +- 0.3 \\xc4pfel\n"


def test_names_do_not_control_the_terminal(capsys):
    name = "cat\x1b[2J\x9b\nnormlab: all is well\r\u202e"
    display = Display(io.StringIO())
    print(name, file=display)
    assert not set("\x1b\x9b\u202e") & set(display.stream.getvalue())
    assert printable(name) == "cat\\x1b[2J\\x9b\\nnormlab: all is well\\r\\u202e"
    with pytest.raises(SystemExit) as ended:
        fail(str(ConfigError(f"{name}: no", "second line")))
    assert ended.value.code == 2
    assert capsys.readouterr().err.splitlines() == [f"normlab: {printable(name)}: no", "normlab: second line"]
    record = logging.LogRecord("any", logging.WARNING, "file", 1, "skipped %s", (name,), None)
    assert OneLine("%(message)s").format(record) == f"skipped {printable(name)}"
    assert unescaped(display).escapes


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (DataError("no such folder"), 2, "no such folder"),
        (MachineError("the checkpoint cannot be written"), 1, "the checkpoint cannot be written"),
        (OSError(errno.ENOSPC, "No space", "runs/a\nb"), 1, "the disk is full: runs/a\\nb"),
        (OSError(errno.EMFILE, "Too many open files"), 1, "too many files are open at once (see ulimit -n)"),
        (MemoryError(), 1, "out of memory"),
        (RuntimeError("[enforce fail at alloc_cpu.cpp:117] can't allocate memory: you tried"), 1, "out of memory ("),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_each_end_is_one_line_and_a_status(capsys, error, status, line):
    with pytest.raises(SystemExit) as ended, reported():
        raise error
    assert ended.value.code == status
    err = capsys.readouterr().err
    assert err.startswith(f"normlab: {line}")
    assert err.count("\n") == 1


def test_a_mistake_of_the_program_keeps_its_traceback():
    with pytest.raises(ValueError, match="out of luck"), reported():
        raise ValueError("out of luck")
    chained = RuntimeError("cannot be saved")
    chained.__cause__ = OSError(errno.ENOSPC, "No space left on device")
    assert lack(chained) == "the disk is full"
