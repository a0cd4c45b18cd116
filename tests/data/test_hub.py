"""data=huggingface on data sets that the test saves."""

import io
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


@pytest.mark.parametrize(
    ("declared", "least", "most", "expected"),
    [
        ("uint16", 0, 4096, np.uint16),
        ("uint16", 0, 200, np.uint16),
        ("int16", -50, 4096, np.int16),
        ("float32", 0, 1, np.float32),
        (None, 0, 4096, np.uint16),
        (None, 0, 256, np.uint8),
        (None, -50, 4096, np.int32),
    ],
)
def test_all_arrays_of_a_column_have_one_type(tmp_path, declared, least, most, expected):
    """Every second image is dark, so that its own numbers would fit into a smaller type."""
    generator = np.random.default_rng(0)
    arrays = [generator.integers(least if n % 2 else 0, most if n % 2 else 90, (6, 7)) for n in range(24)]
    if declared == "float32":
        arrays = [generator.random((6, 7)).astype(np.float32) for _ in arrays]
    column = datasets.Array2D((6, 7), declared) if declared else None
    rows = datasets.Dataset.from_dict({"image": [one.tolist() for one in arrays], "label": ["x", "y", "y", "x"] * 6})
    if column:
        rows = rows.cast(datasets.Features({**rows.features, "image": column}))
    parts = {"train": rows.select(range(12)), "test": rows.select(range(12, 24))}
    datasets.DatasetDict(parts).save_to_disk(str(tmp_path / "set"))
    data = dataset("huggingface", path=str(tmp_path / "set"))
    assert np.array_equal(data.test.images[:, 0], np.stack(arrays[12:]))
    assert data.test.images.numpy().dtype == data.train.images.numpy().dtype == expected


def test_images_that_are_declared_as_bytes_and_a_path(tmp_path):
    """As a Parquet file without the metadata of the library gives them."""
    arrays, files = images(8), []
    for array in arrays:
        content = io.BytesIO()
        Image.fromarray(array).save(content, "PNG")
        files.append({"bytes": content.getvalue(), "path": None})
    datasets.Dataset.from_dict({"image": files, "label": ["x", "y"] * 4}).save_to_disk(str(tmp_path / "set"))
    data = dataset("huggingface", path=str(tmp_path / "set"))
    found = np.concatenate([part.images.numpy()[:, 0] for part in data.splits.values()])
    assert sorted(map(bytes, found)) == sorted(map(bytes, arrays))


def test_a_column_of_images_that_holds_texts_is_refused(tmp_path):
    datasets.Dataset.from_dict({"image": ["a", "b"], "label": [0, 1]}).save_to_disk(str(tmp_path / "set"))
    with pytest.raises(DataError, match=r"data\.image=image: the column holds string, not images or numbers"):
        dataset("huggingface", path=str(tmp_path / "set"))


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
        (["cat", "Cat", "dog", "dog"], r"the labels 'Cat' and 'cat' differ only in"),
        ("images", r"the column holds values of the kind Image"),
    ],
)
def test_a_column_without_one_class_for_each_image_is_refused(tmp_path, values, message):
    pictures = [Image.fromarray(array) for array in images(4)]
    rows = {"image": pictures, "label": pictures if values == "images" else values}
    datasets.Dataset.from_dict(rows).save_to_disk(str(tmp_path / "set"))
    with pytest.raises(DataError, match=message):
        dataset("huggingface", path=str(tmp_path / "set"))
