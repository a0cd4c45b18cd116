import logging
import os
import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image

from normlab.data import cache, dataset, datasets


@pytest.fixture
def root(make_folder):
    return make_folder({"a": 8, "b": 8})


@pytest.fixture
def decoded(monkeypatch):
    """How many files each call of decode() was given."""
    calls = []
    decode = datasets.decode
    monkeypatch.setattr(datasets, "decode", lambda paths, *rest: calls.append(len(paths)) or decode(paths, *rest))
    return calls


def entries():
    return sorted(Path(os.environ["NORMLAB_CACHE"]).glob("*.pt"))


def same(first, second):
    return (
        first.key == second.key and first.notes == second.notes and torch.equal(first.test.images, second.test.images)
    )


def test_second_load_decodes_nothing(root, monkeypatch):
    Image.new("RGBA", (8, 8)).save(root / "a" / "000.png")
    first = dataset("folder", root=root)
    assert [path.suffix for path in entries()] == [".pt"]

    def refuse(*_):
        raise AssertionError("decoded again")

    monkeypatch.setattr(datasets, "decode", refuse)
    second = dataset("folder", root=root)
    assert same(first, second)
    assert second.notes == ("1 image: alpha channel, dropped",)


def test_skipped_files_are_remembered(root, decoded):
    (root / "a" / "003.png").write_text("no image")
    first, second = (dataset("folder", root=root, on_corrupt="skip") for _ in range(2))
    assert same(first, second)
    assert decoded == [16]
    for part in second.splits.values():
        assert torch.equal(part.images[:, 0, 0, 0] // 20, part.labels.to(torch.uint8))


def test_after_a_change_of_the_code_that_decodes_files_are_decoded_again(root, decoded, monkeypatch, tmp_path, request):
    """A file that an earlier version misread would else stay misread for those who have its entry."""
    assert {"tiff.py", "png.py", "medical.py", "picture.py", "images.py"} < {file.name for file in cache.DECODING}
    dataset("folder", root=root)
    request.addfinalizer(cache.code.cache_clear)
    changed = tmp_path / "tiff.py"
    changed.write_text("# read otherwise")
    monkeypatch.setattr(cache, "DECODING", [changed if file.name == changed.name else file for file in cache.DECODING])
    for times in (2, 2):
        cache.code.cache_clear()
        dataset("folder", root=root)
        assert decoded == [16] * times


def test_options_that_change_the_pixels_have_entries_of_their_own(root, decoded):
    shapes = [dataset("folder", root=root, image_size=size).shape for size in (None, 4, 6, 4)]
    assert shapes == [(3, 8, 8), (3, 4, 4), (3, 6, 6), (3, 4, 4)]
    assert len(decoded) == 3


def test_a_changed_file_is_decoded_again(root, decoded):
    first = dataset("folder", root=root)
    path = root / "b" / "002.png"
    before = path.stat()
    Image.new("RGB", (8, 8), (200, 0, 0)).save(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    second = dataset("folder", root=root)
    assert decoded == [16, 16]
    assert second.key != first.key
    assert any((part.images[:, 0] == 200).all((1, 2)).any() for part in second.splits.values())


def test_an_added_file_is_decoded(root, decoded):
    dataset("folder", root=root)
    Image.new("RGB", (8, 8)).save(root / "a" / "new.png")
    dataset("folder", root=root)
    assert decoded == [16, 17]


@pytest.mark.parametrize("damage", ["garbage", "truncated", "empty"])
def test_a_broken_entry_is_made_again(root, decoded, caplog, damage):
    first = dataset("folder", root=root)
    (entry,) = entries()
    content = entry.read_bytes()
    entry.write_bytes({"garbage": b"garbage", "truncated": content[: len(content) // 2], "empty": b""}[damage])
    with caplog.at_level(logging.WARNING):
        second = dataset("folder", root=root)
    assert "unreadable" in caplog.text
    assert same(first, second)
    assert same(first, dataset("folder", root=root))
    assert decoded == [16, 16]


@pytest.mark.parametrize("place", ["file/below", 300 * "long"])
def test_a_cache_that_cannot_be_written_costs_only_time(root, decoded, monkeypatch, tmp_path, caplog, place):
    first = dataset("folder", root=root)
    (tmp_path / "file").touch()
    monkeypatch.setenv("NORMLAB_CACHE", str(tmp_path / place))
    with caplog.at_level(logging.WARNING):
        second, third = (dataset("folder", root=root) for _ in range(2))
    assert "not cached" in caplog.text
    assert same(first, second)
    assert same(first, third)
    assert decoded == [16] * 3


def test_no_cache_where_none_is_wanted(root, decoded):
    first, second = (dataset("folder", root=root, cache=False) for _ in range(2))
    assert same(first, second)
    assert decoded == [16, 16]
    assert not entries()


@pytest.mark.parametrize("options", [{}, {"stream": True, "image_size": 8}])
def test_the_content_key_does_not_depend_on_the_place(root, tmp_path, options):
    first = dataset("folder", root=root, **options)
    shutil.copytree(root, tmp_path / "elsewhere" / "copy")
    assert dataset("folder", root=tmp_path / "elsewhere" / "copy", **options).key == first.key
    root.rename(tmp_path / "moved")
    assert dataset("folder", root=tmp_path / "moved", **options).key == first.key


def test_the_content_key_depends_on_pixels_labels_and_splits(root, make_folder):
    base = dataset("folder", root=root, cache=False)
    others = [
        dataset("folder", root=root, split_seed=1),
        dataset("folder", root=root, limit=3),
        dataset("folder", root=root, image_size=4),
        dataset("folder", root=make_folder({"a": 9, "b": 7}, name="other")),
    ]
    assert len({base.key, *(other.key for other in others)}) == 5


def test_two_folders_of_the_same_relative_name_are_not_mixed_up(tmp_path, make_folder, monkeypatch):
    for place, shade in (("one", 10), ("two", 200)):
        folder = make_folder({"a": 6, "b": 6}, name=f"{place}/images")
        for path in folder.glob("*/*.png"):
            path.unlink()
            Image.new("L", (8, 8), shade).save(path.with_suffix(".bmp"))  # all of one size, and as if from one archive
            os.utime(path.with_suffix(".bmp"), (10**9, 10**9))
        monkeypatch.chdir(tmp_path / place)
        assert dataset("folder", root="images").train.images.eq(shade).all()
