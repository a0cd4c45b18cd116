"""Files that are there whole or not at all."""

import os
import subprocess
import sys

import pytest

from normlab.files import replacing, write_whole


@pytest.mark.parametrize(
    ("content", "expected"), [("π\r\nb\n", "π\r\nb\n".encode()), (b"\x00\xff", b"\x00\xff"), ("", b"")]
)
def test_content_is_kept_byte_by_byte_and_nothing_else_is_left(tmp_path, content, expected):
    path = tmp_path / "a.json"
    path.write_text("something longer that was there before")
    write_whole(path, content)
    assert path.read_bytes() == expected
    assert os.listdir(tmp_path) == ["a.json"]


def stop_halfway(temporary):
    temporary.write_text("half")
    raise ZeroDivisionError


def test_an_exception_leaves_the_old_content(tmp_path):
    path = tmp_path / "a.json"
    path.write_text("old")
    with pytest.raises(UnicodeEncodeError):
        write_whole(path, "\ud800")
    with pytest.raises(ZeroDivisionError), replacing(path) as temporary:
        stop_halfway(temporary)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.json"]


def test_a_killed_writer_leaves_the_old_content(tmp_path):
    path = tmp_path / "a.json"
    path.write_text("old")
    program = """
import os, signal, sys
from pathlib import Path
from normlab.files import replacing
with replacing(Path(sys.argv[1])) as temporary:
    temporary.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", program, str(path)], check=False)
    assert done.returncode == -9
    assert path.read_text() == "old"


def test_what_a_killed_writer_left_is_deleted_by_the_next(tmp_path):
    path = tmp_path / "a.json"
    program = """
import os, signal, sys
from pathlib import Path
from normlab import files
def kill(*_):
    os.kill(os.getpid(), signal.SIGKILL)
files.os.fsync = kill
files.write_whole(Path(sys.argv[1]), "half")
"""
    assert subprocess.run([sys.executable, "-c", program, str(path)], check=False).returncode == -9
    (left,) = os.listdir(tmp_path)
    assert left.startswith(".a.json-")
    write_whole(path, "new")
    assert os.listdir(tmp_path) == ["a.json"]


def test_a_new_file_has_the_rights_that_any_new_file_has(tmp_path):
    (tmp_path / "plain").write_text("a")
    write_whole(tmp_path / "whole", "a")
    assert (tmp_path / "whole").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_the_folder_must_be_there(tmp_path):
    with pytest.raises(OSError, match="missing"):
        write_whole(tmp_path / "missing" / "a", "a")
    assert not (tmp_path / "missing").exists()
