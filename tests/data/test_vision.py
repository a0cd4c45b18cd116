import hashlib
import os
import pickle
import socket
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import savemat
from torchvision import datasets

from normlab.data import dataset
from normlab.data.vision import arrays, flowers102, imagenet, imagenette
from normlab.errors import DataError

SYNSETS = ("n01440764", "n02102040", "n02979186")


@pytest.fixture(autouse=True)
def _no_network(monkeypatch):
    connect = socket.socket.connect

    def refuse(*_, **__):
        raise OSError("network is off")

    def connect_locally(self, address):  # the workers of a DataLoader use such sockets
        return connect(self, address) if self.family == socket.AF_UNIX else refuse()

    monkeypatch.setattr(socket.socket, "connect", connect_locally)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def md5(path):
    return hashlib.md5(path.read_bytes()).hexdigest()


def noise(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def labels_of(count, classes):
    return np.arange(count) * 7 % classes


def write_idx(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(struct.pack(f">{1 + array.ndim}I", 0x800 | array.ndim, *array.shape) + array.tobytes())


def write_mnist(root, name):
    """60 training and 20 test images; returns them with their labels."""
    images, labels = noise(80, 28, 28), labels_of(80, 10).astype(np.uint8)
    for prefix, chosen in (("train", slice(0, 60)), ("t10k", slice(60, 80))):
        write_idx(root / name / "raw" / f"{prefix}-images-idx3-ubyte", images[chosen])
        write_idx(root / name / "raw" / f"{prefix}-labels-idx1-ubyte", labels[chosen])
    return images, labels


def write_cifar(root, name, monkeypatch):
    """10 images in each file of torchvision's lists, whose checksums are made to fit."""
    made = getattr(datasets, name)
    folder = root / made.base_folder
    folder.mkdir(parents=True)
    classes = 10 if name == "CIFAR10" else 100
    files = [entry[0] for entry in made.train_list + made.test_list]
    images, labels = noise(10 * len(files), 3072), labels_of(10 * len(files), classes)
    key = "labels" if name == "CIFAR10" else "fine_labels"
    for i, file in enumerate(files):
        content = {"data": images[10 * i : 10 * i + 10], key: labels[10 * i : 10 * i + 10].tolist()}
        (folder / file).write_bytes(pickle.dumps(content))
    (folder / made.meta["filename"]).write_bytes(
        pickle.dumps({made.meta["key"]: [f"name {k}" for k in range(classes)]})
    )
    for table in ("train_list", "test_list"):
        monkeypatch.setattr(made, table, [[file, md5(folder / file)] for file, _ in getattr(made, table)])
    monkeypatch.setattr(made, "meta", {**made.meta, "md5": md5(folder / made.meta["filename"])})
    return images.reshape(-1, 3, 32, 32), labels


def write_svhn(root, monkeypatch):
    images, labels = noise(50, 3, 32, 32), labels_of(50, 10)
    table = {}
    for split, chosen in (("train", slice(0, 30)), ("test", slice(30, 50))):
        path = root / f"{split}_32x32.mat"
        stored = np.where(labels[chosen] == 0, 10, labels[chosen]).astype(np.uint8)[:, None]  # the file calls 0 ten
        savemat(path, {"X": images[chosen].transpose(2, 3, 1, 0), "y": stored})
        table[split] = [datasets.SVHN.split_list[split][0], path.name, md5(path)]
    monkeypatch.setattr(datasets.SVHN, "split_list", table)
    return images, labels


def write_flowers(root, monkeypatch):
    """Ten classes with one training, one validation and three test images each; red is 20 times the class."""
    folder = root / "flowers-102"
    (folder / "jpg").mkdir(parents=True)
    labels = labels_of(50, 10) + 1
    for i, label in enumerate(labels, 1):
        Image.new("RGB", (40 + i, 60), (20 * int(label) - 20, 0, 0)).save(folder / "jpg" / f"image_{i:05}.jpg")
    savemat(folder / "imagelabels.mat", {"labels": labels[None]})
    order = np.arange(1, 51)[None]
    setid = {"trnid": order[:, 20:30], "valid": order[:, :10], "tstid": order[:, [*range(10, 20), *range(30, 50)]]}
    savemat(folder / "setid.mat", setid)
    table = datasets.Flowers102._file_dict
    sums = {key: (table[key][0], md5(folder / table[key][0])) for key in ("label", "setid")}
    monkeypatch.setattr(datasets.Flowers102, "_file_dict", {**table, **sums})


def write_folders(root, sizes, ending):
    for split, count in sizes.items():
        for k, name in enumerate(SYNSETS):
            (root / split / name).mkdir(parents=True)
            for i in range(count):
                Image.new("RGB", (50, 40), (20 * k, i, 0)).save(root / split / name / f"{name}_{i}{ending}")


@pytest.mark.parametrize(("name", "config"), [("MNIST", "mnist"), ("FashionMNIST", "fashion_mnist")])
def test_mnist_files(tmp_path, name, config):
    images, labels = write_mnist(tmp_path, name)
    source = arrays(dataset=name, root=tmp_path)
    for part, chosen in ((source.train, slice(0, 60)), (source.test, slice(60, 80))):
        assert np.array_equal(part.pictures, images[chosen, None])
        assert np.array_equal(part.labels, labels[chosen])
        assert part.labels.dtype == torch.int64
    assert source.classes == tuple(getattr(datasets, name).classes)
    data = dataset(config, root=tmp_path)
    assert data.shape == (1, 28, 28)
    assert {split: len(part) for split, part in data.splits.items()} == {"train": 50, "validation": 10, "test": 20}


@pytest.mark.parametrize(("name", "config"), [("CIFAR10", "cifar10"), ("CIFAR100", "cifar100")])
def test_cifar_files(tmp_path, monkeypatch, name, config):
    images, labels = write_cifar(tmp_path, name, monkeypatch)
    source = arrays(dataset=name, root=tmp_path)
    for part, chosen in ((source.train, slice(0, -10)), (source.test, slice(-10, None))):
        assert np.array_equal(part.pictures, images[chosen])
        assert np.array_equal(part.labels, labels[chosen])
    assert source.classes[:2] == ("name 0", "name 1")
    assert len(source.classes) == (10 if name == "CIFAR10" else 100)
    if name == "CIFAR10":
        data = dataset(config, root=tmp_path)
        assert data.shape == (3, 32, 32)
        assert len(data.train) + len(data.validation) == 50


def test_svhn_files(tmp_path, monkeypatch):
    images, labels = write_svhn(tmp_path, monkeypatch)
    data = dataset("svhn", root=tmp_path, validation=0.3)
    assert data.classes == tuple("0123456789")
    assert np.array_equal(data.test.images, images[30:])
    assert np.array_equal(data.test.labels, labels[30:])
    assert data.test.labels.dtype == torch.int64
    known = {image.tobytes(): label for image, label in zip(images[:30], labels[:30], strict=True)}
    for part in (data.train, data.validation):
        assert [known.pop(image.numpy().tobytes()) for image in part.images] == part.labels.tolist()
    assert not known


def test_flowers102_files(tmp_path, monkeypatch):
    write_flowers(tmp_path, monkeypatch)
    data = dataset("flowers102", root=tmp_path, image_size=16)
    assert len(data.classes) == 102
    assert data.classes[0] == "pink primrose"
    assert {name: len(part) for name, part in data.splits.items()} == {"train": 10, "validation": 10, "test": 30}
    for part in data.splits.values():
        red = part.images[:, 0].float().mean((1, 2))
        assert (red / 20 - part.labels).abs().max() < 0.2  # JPEG keeps a plain colour to a level or two


@pytest.mark.parametrize("options", [{}, {"cache": False}, {"stream": True}])
def test_flowers102_without_an_image(tmp_path, monkeypatch, options):
    write_flowers(tmp_path, monkeypatch)
    missing = tmp_path / "flowers-102" / "jpg" / "image_00007.jpg"
    missing.unlink()
    with pytest.raises(DataError, match=str(missing)):
        list(dataset("flowers102", root=tmp_path, image_size=16, workers=0, **options).validation.batches(4))


def test_imagenette_folders(tmp_path):
    write_folders(tmp_path / "imagenette2-320", {"train": 10, "val": 4}, ".JPEG")
    source = imagenette(root=tmp_path)
    assert source.classes == SYNSETS
    assert source.validation is None
    data = dataset("imagenette", root=tmp_path, image_size=16, validation=0.2)
    assert {name: len(part) for name, part in data.splits.items()} == {"train": 24, "validation": 6, "test": 12}
    for part in data.splits.values():
        assert (part.images[:, 0].float().mean((1, 2)) / 20 - part.labels).abs().max() < 0.2


@pytest.mark.parametrize("place", ["", "imagenet"])
def test_imagenet_folders(tmp_path, monkeypatch, place):
    write_folders(tmp_path / place, {"train": 10, "val": 4}, ".JPEG")
    assert len(imagenet(root=tmp_path / place).test) == 12
    monkeypatch.setenv("NORMLAB_DATA", str(tmp_path))
    data = dataset("imagenet", image_size=16, validation=0.2)
    assert data.classes == SYNSETS
    assert {name: len(part) for name, part in data.splits.items()} == {"train": 24, "validation": 6, "test": 12}


def test_normlab_data_is_the_root_where_none_is_given(tmp_path, monkeypatch):
    write_mnist(tmp_path, "MNIST")
    monkeypatch.setenv("NORMLAB_DATA", str(tmp_path))
    assert len(dataset("mnist").test) == 20


@pytest.mark.parametrize(
    ("config", "place"),
    [
        ("mnist", "MNIST/raw"),
        ("fashion_mnist", "FashionMNIST/raw"),
        ("cifar10", "cifar-10-batches-py"),
        ("cifar100", "cifar-100-python"),
        ("svhn", "train_32x32.mat and test_32x32.mat"),
        ("flowers102", "flowers-102"),
        ("imagenette", "imagenette2-320"),
    ],
)
@pytest.mark.parametrize("given_by", ["root", "NORMLAB_DATA", "cache"])
def test_missing_data_without_a_network(tmp_path, monkeypatch, config, place, given_by, capsys):
    folder = tmp_path
    if given_by == "NORMLAB_DATA":
        monkeypatch.setenv("NORMLAB_DATA", str(tmp_path))
    elif given_by == "cache":
        folder = Path(os.environ["NORMLAB_CACHE"]) / "data"
    with pytest.raises(DataError, match="downloading it failed") as caught:
        dataset(config, **({"root": tmp_path} if given_by == "root" else {}))
    message = str(caught.value)
    assert str(folder / place) in message
    assert "data.root" in message
    assert len(message.splitlines()) == 1
    assert capsys.readouterr().out == ""


def test_missing_imagenet(tmp_path, monkeypatch):
    with pytest.raises(DataError, match=f"{tmp_path} should hold train/ and val/.*ILSVRC2012_img_train.tar"):
        imagenet(root=tmp_path)
    (tmp_path / "train").mkdir()
    with pytest.raises(DataError, match=f"{tmp_path} should hold"):
        imagenet(root=tmp_path)
    with pytest.raises(DataError, match="NORMLAB_DATA"):
        imagenet()
    monkeypatch.setenv("NORMLAB_DATA", str(tmp_path))
    with pytest.raises(DataError, match=f"{tmp_path} should hold"):
        imagenet()


@pytest.mark.parametrize("make", [lambda root: arrays(dataset="MNIST", root=root), lambda root: flowers102(root=root)])
def test_missing_root(tmp_path, make):
    with pytest.raises(DataError, match=f"no folder {tmp_path / 'nowhere'}"):
        make(tmp_path / "nowhere")


def test_truncated_mnist_file(tmp_path):
    write_mnist(tmp_path, "MNIST")
    path = tmp_path / "MNIST" / "raw" / "train-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(DataError, match="MNIST"):
        arrays(dataset="MNIST", root=tmp_path)


REAL = Path(os.environ.get("NORMLAB_DATA", "nowhere"))


@pytest.mark.real_data
@pytest.mark.skipif(not (REAL / "FashionMNIST").is_dir(), reason="no FashionMNIST in NORMLAB_DATA")
def test_real_fashion_mnist():
    data = dataset("fashion_mnist")
    assert data.shape == (1, 28, 28)
    assert data.classes[9] == "Ankle boot"
    assert [len(part) for part in (data.train, data.validation, data.test)] == [54_000, 6_000, 10_000]
    for part in data.splits.values():
        assert torch.bincount(part.labels).tolist() == [len(part) // 10] * 10
    pixels = torch.cat([data.train.images, data.validation.images]).float().div(255)
    # As published for the 60,000 training images: mean 0.2860, standard deviation 0.3530.
    assert pixels.mean().item() == pytest.approx(0.2860, abs=1e-4)
    assert pixels.std().item() == pytest.approx(0.3530, abs=1e-4)


@pytest.mark.real_data
@pytest.mark.skipif(not (REAL / "cifar10").is_dir(), reason="no cifar10 in NORMLAB_DATA")
def test_real_cifar10_folder():
    data = dataset("folder", root="cifar10", limit=1000)
    assert data.shape == (3, 32, 32)
    assert data.classes[:3] == ("airplane", "automobile", "bird")
    for part in data.splits.values():
        assert torch.bincount(part.labels).tolist() == [100] * 10
    # As published for the training images: 0.4914, 0.4822, 0.4465.
    mean = data.train.images.float().div(255).mean((0, 2, 3))
    torch.testing.assert_close(mean, torch.tensor([0.4914, 0.4822, 0.4465]), rtol=0, atol=0.02)


@pytest.mark.real_data
@pytest.mark.skipif(not (REAL / "flower_photos").is_dir(), reason="no flower_photos in NORMLAB_DATA")
def test_real_flower_photos():
    memory = dataset("folder", root="flower_photos", image_size=32, limit=60)
    assert memory.classes == ("daisy", "dandelion", "rose", "sunflower", "tulip")
    assert memory.shape == (3, 32, 32)
    streamed = dataset("folder", root="flower_photos", image_size=32, limit=60, stream=True, workers=2)
    assert torch.equal(streamed.train.images, memory.train.images)
    assert torch.equal(streamed.train.labels, memory.train.labels)
