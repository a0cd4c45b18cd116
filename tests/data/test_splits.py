from dataclasses import replace
from itertools import chain

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from normlab.data import dataset
from normlab.data.splits import Files, Part, Source, split
from normlab.errors import DataError

counts = st.lists(st.integers(3, 40), min_size=2, max_size=6)
shares = st.floats(0.02, 0.4)
seeds = st.integers(0, 2**32)


def numbered(counts, shuffle_seed=0, start=0):
    """Images whose only pixel is their own number (int64, to hold any), in random order."""
    labels = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    labels = labels[torch.randperm(len(labels), generator=torch.Generator().manual_seed(shuffle_seed))]
    return Part((start + torch.arange(len(labels))).reshape(-1, 1, 1, 1), labels)


def source(counts, validation=None, test=None):
    return Source(tuple(map(str, range(len(counts)))), numbered(counts), validation, test)


def numbers(part):
    return part.pictures.flatten().tolist()


def per_class(part, counts):
    return torch.bincount(part.labels, minlength=len(counts)).tolist()


@settings(deadline=None)
@given(counts, shares, shares, seeds)
def test_splits_are_disjoint_and_cover_everything(counts, validation, test, seed):
    whole = source(counts)
    parts = split(whole, validation, test, None, seed)
    assert sorted(chain.from_iterable(map(numbers, parts.values()))) == list(range(sum(counts)))
    for part in parts.values():
        assert torch.equal(part.labels, whole.train.labels[part.pictures.flatten()])


@settings(deadline=None)
@given(counts, shares, shares, seeds)
def test_splits_are_stratified(counts, validation, test, seed):
    parts = split(source(counts), validation, test, None, seed)
    in_test, in_validation, in_train = (per_class(parts[name], counts) for name in ("test", "validation", "train"))
    for n, t, v, rest in zip(counts, in_test, in_validation, in_train, strict=True):
        assert abs(t - test * n) < 1
        assert abs(v - validation * (n - t)) < 1
        assert min(t, v, rest) >= 1


@settings(deadline=None, max_examples=30)
@given(counts, shares, seeds, seeds, st.integers(1, 100))
def test_splits_do_not_depend_on_the_seed_of_the_run(counts, share, seed, run_seed, limit):
    torch.manual_seed(run_seed)
    first = split(source(counts), share, share, limit, seed)
    torch.manual_seed(run_seed + 1)
    state = torch.get_rng_state()
    second = split(source(counts), share, share, limit, seed)
    assert torch.equal(torch.get_rng_state(), state)
    for name in first:
        assert torch.equal(first[name].pictures, second[name].pictures)
        assert torch.equal(first[name].labels, second[name].labels)


def test_another_split_seed_gives_another_split():
    first, second = (split(source([20, 20]), 0.2, 0.2, None, seed) for seed in (0, 1))
    assert all(numbers(first[name]) != numbers(second[name]) for name in first)


def test_the_draw_within_a_class_is_random():
    drawn = [set(numbers(split(source([10, 10]), 0.2, 0.2, None, seed)["test"])) for seed in range(60)]
    assert set().union(*drawn) == set(range(20))


@settings(deadline=None)
@given(counts, st.integers(1, 150), seeds)
def test_limit_is_never_exceeded_and_keeps_proportions(counts, limit, seed):
    parts = split(source(counts, numbered(counts, 1), numbered(counts, 2)), 0.1, 0.1, limit, seed)
    for part in parts.values():
        assert len(part) == min(limit, sum(counts))
        assert len(set(numbers(part))) == len(part)
        for n, kept in zip(counts, per_class(part, counts), strict=True):
            assert abs(kept - n * len(part) / sum(counts)) <= 1 + len(counts) / 2


@settings(deadline=None)
@given(st.integers(2, 10), st.integers(3, 30), st.integers(1, 300), seeds)
def test_limit_keeps_equal_classes_equal(classes, each, limit, seed):
    counts = [each] * classes
    part = split(source(counts, numbered(counts), numbered(counts)), 0.1, 0.1, limit, seed)["train"]
    kept = per_class(part, counts)
    assert max(kept) - min(kept) <= 1


def test_limit_is_for_each_split_and_after_the_split():
    unlimited, limited = (split(source([50, 50]), 0.1, 0.2, limit, 3) for limit in (None, 7))
    for name, part in limited.items():
        assert len(part) == 7
        assert set(numbers(part)) <= set(numbers(unlimited[name]))


def test_given_splits_are_kept():
    validation, test = numbered([4, 4], start=100), numbered([5, 5], start=200)
    parts = split(source([20, 20], validation, test), 0.5, 0.5, None, 0)
    assert (len(parts["train"]), parts["validation"], parts["test"]) == (40, validation, test)
    parts = split(source([20, 20], None, test), 0.25, 0.5, None, 0)
    assert (len(parts["train"]), len(parts["validation"]), parts["test"]) == (30, 10, test)
    parts = split(source([20, 20], validation, None), 0.5, 0.25, None, 0)
    assert (len(parts["train"]), parts["validation"], len(parts["test"])) == (30, validation, 10)


@pytest.mark.parametrize("size", [1, 2])
def test_small_classes_are_refused(size):
    with pytest.raises(DataError, match=rf"class '1' has {size} image\(s\) \(and 1 more classes\)"):
        split(source([9, size, size]), 0.1, 0.2, None, 0)


def test_a_message_counts_the_images_that_the_class_has():
    """Three images of a class are enough for three splits, so what is missing after the test split is not its fault."""
    parts = split(source([20, 3]), 0.5, 0.5, None, 0)
    assert all(per_class(part, [20, 3])[1] == 1 for part in parts.values())


def test_files_and_tensors_are_split_alike(tmp_path):
    tensors = numbered([10, 12])
    files = Part(Files(tuple(tmp_path / str(i) for i in range(22)), skip_corrupt=True), tensors.labels)
    of_tensors, of_files = (split(Source(("a", "b"), part), 0.2, 0.2, 8, 0) for part in (tensors, files))
    for name, part in of_files.items():
        assert [int(path.name) for path in part.pictures.paths] == numbers(of_tensors[name])
        assert part.pictures.skip_corrupt


def test_data_sets_do_not_depend_on_the_seed_of_the_run():
    torch.manual_seed(1)
    first = dataset("digits", limit=50)
    torch.manual_seed(2)
    assert dataset("digits", limit=50).key == first.key


def grouped(groups, classes, samples, is_pure, seed):
    """Samples numbered by their only pixel, each in a random group; pure groups hold one class only."""
    generator = torch.Generator().manual_seed(seed)
    member = torch.cat([torch.arange(groups), torch.randint(0, groups, (samples,), generator=generator)])
    labels = member % classes if is_pure else torch.randint(0, classes, (len(member),), generator=generator)
    pictures = torch.arange(len(member)).reshape(-1, 1, 1, 1).int()
    return Source(tuple(map(str, range(classes))), Part(pictures, labels), groups=100 + member)


@settings(max_examples=40)
@given(st.integers(12, 40), st.integers(2, 3), st.integers(200, 400), st.booleans(), shares, shares, seeds)
def test_groups_are_never_split_apart(groups, classes, samples, is_pure, validation, test, seed):
    source = grouped(groups, classes, samples, is_pure, seed)
    for limit in (None, 50):
        parts = split(source, validation, test, limit, seed)
        taken = {name: set(source.groups[part.pictures.flatten().long()].tolist()) for name, part in parts.items()}
        assert not taken["train"] & taken["test"]
        assert not taken["train"] & taken["validation"]
        assert not taken["test"] & taken["validation"]
        for part in parts.values():
            assert len(part.labels.unique()) == classes
            assert len(part) <= (limit or len(source.train))
    whole = split(source, validation, test, None, seed)
    assert sum(map(len, whole.values())) == len(source.train)
    # As near to the share as whole groups allow: the largest group decides by how much it is missed.
    largest = torch.bincount(source.groups).max().item()
    assert abs(len(whole["test"]) - test * len(source.train)) <= largest * classes


def test_few_speakers_of_all_classes_are_split():
    """Six speakers who say every digit, as in recordings: one or more for each split."""
    source = grouped(6, 10, 594, False, 0)
    parts = split(source, 0.1, 0.2, None, 0)
    speakers = {name: len(source.groups[part.pictures.flatten().long()].unique()) for name, part in parts.items()}
    assert speakers == {"train": 4, "validation": 1, "test": 1}
    assert split(source, 0.1, 0.2, None, 1)["test"].content != parts["test"].content


def test_too_few_groups_are_refused():
    with pytest.raises(DataError, match=r"class '0' occurs in 2 group\(s\); a split of whole groups needs at least 3"):
        split(grouped(2, 2, 40, False, 0), 0.1, 0.2, None, 0)


def test_groups_and_the_range_are_part_of_the_content():
    plain = grouped(12, 2, 40, False, 0)
    others = [
        replace(plain, groups=None),
        replace(plain, groups=plain.groups.flip(0)),
        replace(plain, white=4095.0),
        replace(plain, black=-1.0),
    ]
    assert len({plain.content, *(other.content for other in others)}) == 5


@given(st.integers(8, 60), shares, shares, seeds)
def test_a_regression_is_split_at_random(samples, validation, test, seed):
    targets = torch.rand(samples)
    source = Source(("target",), Part(torch.arange(samples).reshape(-1, 1).int(), targets), task="regression")
    parts = split(source, validation, test, None, seed)
    assert sorted(chain.from_iterable(map(numbers, parts.values()))) == list(range(samples))
    assert len(parts["test"]) == max(1, min(round(test * samples), samples - 2))
    for part in parts.values():
        assert torch.equal(part.labels, targets[part.pictures.flatten().long()])
    assert len(split(source, validation, test, 3, seed)["train"]) == 3
