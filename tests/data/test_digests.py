import os

import pytest

from normlab.data import digests
from normlab.data.digests import MISSING, digest_files


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("NORMLAB_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def files(tmp_path):
    """Three files that changed long ago."""
    paths = []
    for place, content in enumerate((b"one", b"two", b"")):
        path = tmp_path / "files" / f"{place}"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        paths.append(path)
    return paths


def count_hashes(monkeypatch, settle=True):
    """How many files are read. Their status counts as settled, so that a test need not wait two seconds."""
    read = []
    real = digests._hash
    monkeypatch.setattr(digests, "_hash", lambda path: (read.append(path.name), real(path))[1])
    if settle:
        monkeypatch.setattr(digests, "SETTLED_NS", -(10**12))
    return read


def test_a_hash_is_that_of_the_bytes_in_the_given_order(files):
    import hashlib

    want = [hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest() for path in files]
    assert digest_files(files) == want
    assert digest_files(files[::-1]) == want[::-1]
    assert digest_files([]) == []


def test_a_file_is_read_once_for_each_of_its_versions(files, monkeypatch):
    read = count_hashes(monkeypatch)
    first = digest_files(files)
    assert digest_files(files) == first
    assert sorted(read) == ["0", "1", "2"]
    files[1].write_bytes(b"owt")  # as long as before
    second = digest_files(files)
    assert second[1] != first[1]
    assert second[::2] == first[::2]
    assert sorted(read) == ["0", "1", "1", "2"]


def test_a_file_replaced_with_its_old_time_of_change_is_read_again(files, monkeypatch):
    """As tar, rsync and cp -p do: the time of the change of content is that of the original."""
    count_hashes(monkeypatch)
    first = digest_files(files)
    moment = files[0].stat()
    files[0].write_bytes(b"eno")
    os.utime(files[0], ns=(moment.st_atime_ns, moment.st_mtime_ns))
    assert digest_files(files)[0] != first[0]


def test_a_file_that_has_just_changed_is_not_remembered(files, monkeypatch):
    read = count_hashes(monkeypatch, settle=False)
    digest_files(files)
    digest_files(files)
    assert sorted(read) == ["0", "0", "1", "1", "2", "2"]


def test_a_file_that_is_not_there_has_a_hash_of_its_own(files, tmp_path):
    link = tmp_path / "files" / "link"
    link.symlink_to("nowhere")
    assert digest_files([files[0], link])[1] == MISSING


@pytest.mark.parametrize("damage", ["", "[1, 2", '{"0": 3}', "[]"])
def test_a_damaged_cache_costs_time_only(files, damage, monkeypatch):
    count_hashes(monkeypatch)
    first = digest_files(files)
    (entry,) = (digests.cache.folder() / "digests").iterdir()
    entry.write_text(damage)
    assert digest_files(files) == first


def test_a_cache_that_cannot_be_written_is_told(files, monkeypatch, caplog, tmp_path):
    (tmp_path / "blocked").write_text("")
    monkeypatch.setenv("NORMLAB_CACHE", str(tmp_path / "blocked"))
    count_hashes(monkeypatch)
    assert len(digest_files(files)) == 3
    assert "not remembered" in caplog.text
