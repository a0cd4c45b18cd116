"""data=huggingface on data sets that the test saves."""

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


def test_what_is_missing_is_named(tmp_path):
    with pytest.raises(DataError, match=r"needs data\.path=NAME"):
        dataset("huggingface")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty: not loaded"):
        dataset("huggingface", path=str(tmp_path / "empty"))
