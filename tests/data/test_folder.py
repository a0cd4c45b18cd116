import os

import pytest
import torch
from PIL import Image

from normlab.data import dataset
from normlab.data.folder import folder
from normlab.data.layout import sub_folders, walk
from normlab.errors import DataError


def names(part):
    return [f"{path.parent.name}/{path.name}" for path in part.pictures.paths]


def test_class_folders(make_folder):
    root = make_folder({"dog": 3, "ant": 2, "cat": 1})
    source = folder(root=root)
    assert source.classes == ("ant", "cat", "dog")
    assert names(source.train) == ["ant/000.png", "ant/001.png", "cat/000.png", *(f"dog/00{i}.png" for i in range(3))]
    assert source.train.labels.tolist() == [0, 0, 1, 2, 2, 2]
    assert source.train.labels.dtype == torch.int64
    assert source.validation is None
    assert source.test is None


@pytest.mark.parametrize(
    ("folders", "validation", "test"),
    [
        (["train"], None, None),
        (["train", "test"], None, "test"),
        (["train", "val"], None, "val"),
        (["train", "val", "test"], "val", "test"),
        (["train", "valid", "test"], "valid", "test"),
        (["train", "validation", "test"], "validation", "test"),
    ],
)
def test_split_folders(make_folder, folders, validation, test):
    root = make_folder({f"{split}/{name}": 4 + i for i, split in enumerate(folders) for name in ("a", "b")})
    source = folder(root=root)
    assert source.classes == ("a", "b")
    for part, expected in ((source.train, "train"), (source.validation, validation), (source.test, test)):
        assert (part and part.pictures.paths[0].parent.parent.name) == expected
        assert part is None or torch.bincount(part.labels).tolist() == [4 + folders.index(expected)] * 2


def test_missing_splits_are_cut_from_the_training_images(make_folder):
    root = make_folder({"train/a": 20, "train/b": 20, "val/a": 3, "val/b": 3})
    data = dataset("folder", root=root, validation=0.25)
    assert {name: len(part) for name, part in data.splits.items()} == {"train": 30, "validation": 10, "test": 6}


def test_labels_match_images(make_folder):
    data = dataset("folder", root=make_folder({"a": 10, "b": 15, "c": 20}), limit=12)
    for part in data.splits.values():
        assert torch.equal(part.images[:, 0, 0, 0] // 20, part.labels.to(torch.uint8))


def test_a_test_set_may_lack_a_class(make_folder):
    source = folder(root=make_folder({"train/a": 2, "train/b": 2, "train/c": 2, "test/c": 1, "test/a": 1}))
    assert source.test.labels.tolist() == [0, 2]


def test_nested_class_folders(make_folder):
    root = make_folder({"cat": 1, "cat/indoors/asleep": 2, "dog/big": 1})
    source = folder(root=root)
    assert source.classes == ("cat", "dog")
    assert source.train.labels.tolist() == [0, 0, 0, 1]


def test_hidden_and_other_files_are_ignored(make_folder):
    root = make_folder({"a": 2, "b": 2, ".git": 1})
    (root / "a" / ".hidden.png").write_bytes(b"no image")
    (root / "a" / "._000.png").write_bytes(b"no image")
    (root / "a" / "notes.txt").write_text("no image")
    (root / "Thumbs.db").write_bytes(b"no image")
    source = folder(root=root)
    assert source.classes == ("a", "b")
    assert len(source.train) == 4


def test_hidden_folders_inside_a_class_are_ignored(make_folder):
    root = make_folder({"a": 2, "b": 2, "a/.ipynb_checkpoints": 1})
    assert len(folder(root=root).train) == 4


def test_links_to_folders_are_followed_once(make_folder, tmp_path):
    root = make_folder({"a": 2, "b": 2})
    there = make_folder({"c": 3}, name="elsewhere")
    (root / "c").symlink_to(there / "c")
    (root / "a" / "more").symlink_to(there / "c")
    (root / "b" / "loop").symlink_to(root)
    assert len(walk(root).images) == 7
    source = folder(root=root)
    assert source.classes == ("a", "b", "c")
    assert torch.bincount(source.train.labels).tolist() == [5, 2, 3]


def test_a_folder_that_cannot_be_read_is_named(make_folder, monkeypatch, caplog):
    root = make_folder({"a": 3, "b": 3, "b/locked": 2})
    real = os.scandir

    def scandir(path):
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(DataError, match=r"locked: a folder that cannot be read \(Permission denied\)"):
        folder(root=root)
    assert len(folder(root=root, on_corrupt="skip").train) == 6
    assert "skipped" in caplog.text
    assert "locked: a folder that cannot be read" in caplog.text


def test_sub_folders_of_what_cannot_be_looked_into(make_folder):
    root = make_folder({"b": 1, "a": 1, ".hidden": 1})
    assert sub_folders(root) == ("a", "b")
    with pytest.raises(DataError, match=r"000.png: a folder that cannot be read \(Not a directory\)"):
        sub_folders(root / "a/000.png")


def test_suffixes_in_capitals(make_folder):
    root = make_folder({"a": 1, "b": 1})
    Image.new("RGB", (8, 8)).save(root / "a" / "PHOTO.JPG", format="JPEG")
    assert names(folder(root=root).train) == ["a/000.png", "a/PHOTO.JPG", "b/000.png"]


def test_no_root():
    with pytest.raises(DataError, match=r"data\.root=FOLDER"):
        folder()


def test_missing_root(tmp_path, monkeypatch):
    with pytest.raises(DataError, match=f"no folder {tmp_path / 'nowhere'}"):
        folder(root=tmp_path / "nowhere")
    monkeypatch.setenv("NORMLAB_DATA", str(tmp_path))
    with pytest.raises(DataError, match=f"no folder nowhere or {tmp_path / 'nowhere'}"):
        folder(root="nowhere")


def test_a_file_as_root(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="no folder"):
        folder(root=tmp_path / "file")


def test_relative_root_is_found_here_then_below_normlab_data(make_folder, tmp_path, monkeypatch):
    there = make_folder({"a": 2, "b": 2}, name="store/flowers")
    monkeypatch.setenv("NORMLAB_DATA", str(tmp_path / "store"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert folder(root="flowers").train.pictures.paths[0] == there / "a" / "000.png"
    make_folder({"a": 3, "b": 3}, name="here/flowers")
    assert len(folder(root="flowers").train) == 6


def test_empty_root(tmp_path):
    with pytest.raises(DataError, match="it is empty"):
        folder(root=tmp_path)


def test_loose_images_in_root(tmp_path):
    for i in range(3):
        Image.new("L", (4, 4)).save(tmp_path / f"{i}.png")
    with pytest.raises(DataError, match="3 images lie in it directly"):
        folder(root=tmp_path)


def test_empty_class_folder(make_folder):
    root = make_folder({"a": 2, "b": 0})
    with pytest.raises(DataError, match=f"{root / 'b'}: no images"):
        folder(root=root)


def test_one_class_only(make_folder):
    with pytest.raises(DataError, match="only one class, 'lonely'"):
        folder(root=make_folder({"lonely": 5}))


@pytest.mark.parametrize(
    ("counts", "needed"),
    [
        ({"many": 9, "rare": 1}, 3),
        ({"many": 9, "rare": 2}, 3),
        ({"train/many": 9, "train/rare": 1, "test/many": 2}, 2),
        ({"train/many": 9, "train/rare": 1, "val/many": 2}, 2),
    ],
)
def test_class_too_small_to_split(make_folder, counts, needed):
    with pytest.raises(DataError, match=rf"class 'rare' has \d image.*at least {needed} of each class"):
        dataset("folder", root=make_folder(counts))


def test_class_of_three_images_is_in_every_split(make_folder):
    data = dataset("folder", root=make_folder({"many": 9, "rare": 3}))
    assert all(set(part.labels.tolist()) == {0, 1} for part in data.splits.values())


def test_one_image_is_enough_where_every_split_is_given(make_folder):
    counts = {f"{split}/{name}": 1 for split in ("train", "val", "test") for name in ("a", "b")}
    assert len(dataset("folder", root=make_folder(counts)).train) == 2


def test_unknown_class_in_test(make_folder):
    root = make_folder({"train/a": 3, "train/b": 3, "test/a": 1, "test/zebra": 1})
    with pytest.raises(DataError, match=f"{root / 'test'}: class 'zebra'"):
        folder(root=root)
