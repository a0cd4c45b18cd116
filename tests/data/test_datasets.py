"""A data set of any inputs: their range, type and labels."""

import pytest
import torch

from normlab.config import choose
from normlab.data import dataset, load
from normlab.data.splits import Part, Source
from normlab.errors import ConfigError, DataError


def loaded(inputs, labels=None, options=None, **about):
    labels = torch.arange(len(inputs)) % 2 if labels is None else labels
    return load(choose("data", "digits", **(options or {})), Source(("a", "b"), Part(inputs, labels), **about))


def twelve_bits():
    return torch.randint(16, 4096, (60, 2, 5), generator=torch.Generator().manual_seed(0)).to(torch.uint16)


@pytest.mark.parametrize(
    ("declared", "options", "expected"),
    [
        ({}, {}, (0, 65535)),
        ({"white": 4095.0}, {}, (0, 4095)),
        ({"white": 4095.0}, {"white": 1000}, (0, 1000)),
        ({"white": 4095.0}, {"black": 16.0}, (16, 4095)),
    ],
)
def test_the_range_is_the_users_then_that_of_the_files_then_of_the_type(declared, options, expected):
    data = loaded(twelve_bits(), options=options, **declared)
    assert (data.black, data.white) == expected
    assert data.input_type == torch.uint16
    assert data.shape == (2, 5)


def test_an_observed_range_is_that_of_the_training_inputs_alone():
    data = loaded(twelve_bits(), options={"black": "observed", "white": "observed"})
    train = data.train.inputs.int()
    assert (data.black, data.white) == (train.min(), train.max())
    assert loaded(twelve_bits().float(), options={"white": "observed"}).white == train.max()


def test_ranges_that_cannot_be():
    for options in ({"black": 70000}, {"white": 0}, {"white": -1.0}):
        with pytest.raises(DataError, match="black must be below white"):
            loaded(twelve_bits(), options=options)
    with pytest.raises(DataError, match="all training values are 7, which is no range"):
        loaded(torch.full((60, 1), 7.0), options={"black": "observed", "white": "observed"})
    with pytest.raises(ConfigError, match=r"data\.white"):
        dataset("digits", white="bright")
    with pytest.raises(DataError, match="inputs of the type float64: expected uint8, "):
        loaded(torch.rand(60, 1).double())


def test_regression_and_kind_reach_the_data_set():
    targets = torch.rand(60)
    data = loaded(torch.rand(60, 3), targets, kind="tables", task="regression")
    assert (data.kind, data.task) == ("tables", "regression")
    assert data.train.labels.dtype == torch.float32
    assert sum(map(len, data.splits.values())) == 60
    batch, labels = next(iter(data.train.batches(5)))
    assert batch.shape == (5, 3)
    assert labels.dtype == torch.float32


def test_images_is_the_name_of_the_inputs_of_images():
    data = loaded(twelve_bits())
    assert data.train.images is data.train.inputs
    assert torch.equal(next(data.training_images(60)), next(data.training_inputs(60)))
    assert loaded(twelve_bits()).key == data.key != loaded(twelve_bits().to(torch.int16)).key


def test_test_samples_are_the_same_for_two_seeds_or_told_apart():
    labels, images = torch.arange(40) % 2, torch.randint(0, 256, (40, 1, 4, 4), dtype=torch.uint8)
    own = Part(images.flip(0), labels)  # the source brings test samples
    config = choose("data", "digits")

    def key(source, **options):
        return load(config.model_copy(update=options), source).test_key

    with_own, without = Source(("a", "b"), Part(images, labels), test=own), Source(("a", "b"), Part(images, labels))
    assert key(with_own, split_seed=1) == key(with_own, split_seed=2)
    assert key(with_own, split_seed=1, limit=8) != key(with_own, split_seed=2, limit=8)
    assert key(without, split_seed=1) != key(without, split_seed=2)
    assert key(without, split_seed=1, test_seed=0) == key(without, split_seed=2, test_seed=0)
