"""data=huggingface on data sets that the test saves."""

import os

import numpy as np
import pytest
import torch
from PIL import Image

from normlab.data import dataset
from normlab.errors import DataError

datasets = pytest.importorskip("datasets")


def images(count, kind=np.uint8):
    generator = np.random.default_rng(0)
    return [generator.integers(0, np.iinfo(kind).max, (8, 8), dtype=kind) for _ in range(count)]


def saved(folder, arrays, name="label"):
    features = datasets.Features({"image": datasets.Image(), name: datasets.ClassLabel(names=["cat", "dog"])})
    rows = {"image": [Image.fromarray(a) for a in arrays], name: [n % 2 for n in range(len(arrays))]}
    rows = datasets.Dataset.from_dict(rows, features=features)
    whole = datasets.DatasetDict({"training": rows.select(range(12)), "test": rows.select(range(12, len(arrays)))})
    whole.save_to_disk(str(folder))
    return folder


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_a_saved_set_is_read_at_its_depth(tmp_path, kind):
    arrays = images(18, kind)
    data = dataset("huggingface", path=str(saved(tmp_path / "set", arrays)))
    assert data.classes == ("cat", "dog")
    assert {name: len(part) for name, part in data.splits.items()} == {"train": 10, "validation": 2, "test": 6}
    assert np.array_equal(data.test.images[:, 0], np.stack(arrays[12:]))
    assert data.test.labels.tolist() == [0, 1] * 3
    again = dataset("huggingface", path=str(tmp_path / "set"))
    assert torch.equal(again.train.images.int(), data.train.images.int())


def test_arrays_and_other_columns(tmp_path):
    rows = {"pixels": [a.tolist() for a in images(20)], "kind": ["x", "y"] * 10}
    datasets.Dataset.from_dict(rows).save_to_disk(str(tmp_path / "set"))
    with pytest.raises(DataError, match=r"data\.image: no column image or img.*columns are pixels, kind"):
        dataset("huggingface", path=str(tmp_path / "set"))
    data = dataset("huggingface", path=str(tmp_path / "set"), image="pixels", label="kind")
    assert data.classes == ("x", "y")
    assert data.train.images.dtype == torch.uint8


def rows_of(count):
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog"])})
    rows = {"image": [Image.fromarray(array) for array in images(count)], "label": [n % 2 for n in range(count)]}
    return datasets.Dataset.from_dict(rows, features=features)


def test_what_becomes_of_each_split_is_told(tmp_path):
    splits = {"train": rows_of(12), "validation": rows_of(6), "unsupervised": rows_of(1_000), "extra": rows_of(2)}
    datasets.DatasetDict(splits).save_to_disk(str(tmp_path / "set"))
    data = dataset("huggingface", path=str(tmp_path / "set"))
    assert len(data.test) == 6
    assert "left out unsupervised (1,000 images), extra (2 images): no name of a split" in data.notes
    assert "the validation split is the test split, because there is no other for it" in data.notes
    datasets.DatasetDict(splits | {"dev": rows_of(4)}).save_to_disk(str(tmp_path / "twice"))
    with pytest.raises(DataError, match="'validation' and 'dev' are both names of the validation split"):
        dataset("huggingface", path=str(tmp_path / "twice"))


def test_an_image_that_was_written_in_part_is_written_again(tmp_path, monkeypatch):
    """A process that is killed while it fills the cache leaves no file that a later one takes for whole."""
    arrays = images(18)
    place = str(saved(tmp_path / "set", arrays))
    replace, written = os.replace, []

    def killed(source, target):
        if str(target).endswith(".png"):
            written.append(target)
            if len(written) == 3:
                raise KeyboardInterrupt
        replace(source, target)

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        dataset("huggingface", path=place)
    monkeypatch.setattr(os, "replace", replace)
    data = dataset("huggingface", path=place)
    assert np.array_equal(data.test.images[:, 0], np.stack(arrays[12:]))


def test_what_is_missing_is_named(tmp_path):
    with pytest.raises(DataError, match=r"needs data\.path=NAME"):
        dataset("huggingface")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty: not loaded"):
        dataset("huggingface", path=str(tmp_path / "empty"))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([None, 0, 1, 0], r"1 of 4 labels are missing, the first that of row 1"),
        ([[0, 1], [1], [0], []], r"the column holds values of the kind (List|Sequence), not one class for each image"),
        ([{"a": 1}] * 4, r"the column holds dictionaries, .*; data\.label=COLUMN names another, of image, label"),
        ("images", r"the column holds values of the kind Image"),
    ],
)
def test_a_column_without_one_class_for_each_image_is_refused(tmp_path, values, message):
    pictures = [Image.fromarray(array) for array in images(4)]
    rows = {"image": pictures, "label": pictures if values == "images" else values}
    datasets.Dataset.from_dict(rows).save_to_disk(str(tmp_path / "set"))
    with pytest.raises(DataError, match=r"data\.label=label: " + message):
        dataset("huggingface", path=str(tmp_path / "set"))
