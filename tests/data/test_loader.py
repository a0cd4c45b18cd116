import pytest
import torch

from normlab.data import Bundles, Loader, MemorySplit, dataset
from normlab.errors import DataError
from normlab.pictures import CorruptImageError


def numbered(count):
    return MemorySplit(torch.arange(count, dtype=torch.uint8).reshape(-1, 1, 1, 1), torch.arange(count))


def epoch(loader, number=0):
    loader.epoch = number
    return torch.cat([labels for _, labels in loader]).tolist()


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_streamed_images_equal_those_in_memory(make_folder, workers):
    root = make_folder({"a": 9, "b": 12, "c": 15}, size=(12, 9))
    options = {"root": root, "image_size": 6, "limit": 15}
    memory = dataset("folder", stream=False, **options)
    streamed = dataset("folder", stream=True, workers=workers, **options)
    assert streamed.classes == memory.classes
    assert streamed.shape == memory.shape
    for name, part in streamed.splits.items():
        expected = memory.splits[name]
        assert len(part) == len(expected)
        assert torch.equal(part.labels, expected.labels)
        order = torch.randperm(len(part))
        for given in (None, order):
            pairs = zip(part.batches(4, given), expected.batches(4, given), strict=True)
            for (images, labels), (expected_images, expected_labels) in pairs:
                assert images.dtype == torch.uint8
                assert torch.equal(images, expected_images)
                assert torch.equal(labels, expected_labels)
    assert torch.equal(streamed.test.images, memory.test.images)


def test_what_does_not_fit_is_streamed(make_folder):
    root = make_folder({"a": 6, "b": 6})
    few = 12 * 3 * 8 * 8 / 2**30
    assert isinstance(dataset("folder", root=root, image_size=8, memory_gb=few).train, MemorySplit)
    assert isinstance(dataset("folder", root=root, memory_gb=few).train, MemorySplit)
    assert not isinstance(dataset("folder", root=root, image_size=8, memory_gb=0.99 * few).train, MemorySplit)


@pytest.mark.parametrize("options", [{"stream": True}, {"memory_gb": 1e-7}])
def test_streaming_needs_an_image_size(make_folder, options):
    with pytest.raises(DataError, match=r"data\.image_size=PIXELS"):
        dataset("folder", root=make_folder({"a": 5, "b": 5}), **options)


def test_streamed_images_that_do_not_fit_are_refused(make_folder):
    data = dataset("folder", root=make_folder({"a": 6, "b": 6}), image_size=8, memory_gb=1e-7, workers=0)
    with pytest.raises(DataError, match="batches"):
        _ = data.train.images
    assert sum(len(images) for images in data.training_images(3)) == len(data.train)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_streaming_leaves_out_what_it_cannot_read(make_folder, workers):
    """Training must know beforehand how many images there are, so the unreadable ones are found when loading."""
    root = make_folder({f"{split}/{name}": 6 for split in ("train", "test") for name in ("a", "b")})
    for name in ("train/a/000.png", "train/a/001.png", "train/a/002.png", "test/b/004.png"):
        (root / name).write_text("no image")
    options = {"image_size": 8, "stream": True, "workers": workers, "on_corrupt": "skip", "validation": 0.2}
    for _ in range(2):  # the second time from the cache
        data = dataset("folder", root=root, **options)
        assert data.notes[0] == "4 images: unreadable, skipped"
        assert data.notes[1].startswith("DUPLICATES: 8 of 11 test images")  # the fixture makes them alike
        assert sum(map(len, data.splits.values())) == 20
        for part in data.splits.values():
            assert len(part.images) == len(part.labels)
            for images, labels in part.batches(1):
                assert torch.equal(images[:, 0, 0, 0] // 20, labels.to(torch.uint8))


@pytest.mark.parametrize("workers", [0, 2])
def test_streaming_stops_at_an_unreadable_file_and_names_it(make_folder, workers):
    root = make_folder({"a": 9, "b": 9})
    for path in root.glob("*/*.png"):
        path.write_text("no image")
    data = dataset("folder", root=root, image_size=8, stream=True, workers=workers)
    with pytest.raises(CorruptImageError, match=str(root)) as caught:
        list(data.train.batches(4))
    assert len(str(caught.value).splitlines()) == 1  # an error on the user's side is one line


def test_epochs_are_permutations_that_differ():
    loader = Loader(numbered(50), batch_size=8, shuffle_seed=3)
    assert len(loader) == 7
    epochs = [epoch(loader, number) for number in range(4)]
    assert all(sorted(e) == list(range(50)) for e in epochs)
    assert len({tuple(e) for e in epochs}) == 4
    again = Loader(numbered(50), batch_size=8, shuffle_seed=3)
    torch.manual_seed(9)
    assert [epoch(again, number) for number in (2, 2, 0, 3)] == [epochs[number] for number in (2, 2, 0, 3)]
    other = Loader(numbered(50), batch_size=8, shuffle_seed=4)
    assert epoch(other) not in epochs


def test_images_stay_with_their_labels():
    for images, labels in Loader(numbered(50), batch_size=7, shuffle_seed=0):
        assert images.flatten().tolist() == labels.tolist()


def test_evaluation_keeps_the_order():
    loader = Loader(numbered(9), batch_size=4)
    assert epoch(loader) == epoch(loader) == list(range(9))
    assert [len(labels) for _, labels in loader] == [4, 4, 1]
    assert len(loader) == 3


@pytest.mark.parametrize(
    ("count", "batch_size", "sizes"),
    [
        (9, 4, [4, 4]),  # one left over is dropped
        (10, 4, [4, 4, 2]),
        (8, 4, [4, 4]),
        (3, 4, [3]),
        (1, 4, [1]),
        (3, 1, [1, 1, 1]),
    ],
)
def test_a_single_image_left_over_is_not_trained_on(count, batch_size, sizes):
    loader = Loader(numbered(count), batch_size, shuffle_seed=0)
    assert [len(labels) for _, labels in loader] == sizes
    assert len(loader) == len(sizes)
    assert loader.images_per_epoch == sum(sizes)


def test_a_split_goes_to_a_device_once_and_its_batches_are_there():
    meta = torch.device("meta")  # a device that computes shapes alone, which every machine has
    there = numbered(10).on(meta)
    assert there.on(meta) is there
    for order in (None, torch.randperm(10)):
        sizes = [(images.device, labels.device, len(images), len(labels)) for images, labels in there.batches(4, order)]
        assert sizes == [(meta, meta, 4, 4), (meta, meta, 4, 4), (meta, meta, 2, 2)]
    here = numbered(10)
    assert here.on(torch.device("cpu")) is here


def test_what_would_fill_half_of_a_gpu_stays_where_it_is(monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (179, 1_000))
    split = numbered(10)  # of 10 bytes and ten int64
    assert split.on(torch.device("cuda", 0)) is split


def test_bundles_are_the_batches_of_the_loader_in_its_order():
    loader = Loader(numbered(23), 4, shuffle_seed=3)
    bundles = Bundles(loader, 4)
    for epoch in (0, 1):
        loader.epoch = epoch
        wanted = [labels.tolist() for _, labels in loader]
        loader.epoch = 9
        bundles.epoch = epoch
        found = [[labels.tolist() for _, labels in bundle] for bundle in bundles]
        assert len(found) == len(bundles) == 2
        assert [len(bundle) for bundle in found] == [4, 2]
        assert [labels for bundle in found for labels in bundle] == wanted
