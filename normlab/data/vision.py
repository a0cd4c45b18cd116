"""torchvision's data sets, read by torchvision's own classes, downloaded if they are not on disk."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from normlab.data import cache
from normlab.data.folder import find, from_folder
from normlab.data.splits import Files, Part, Source
from normlab.errors import DataError

# Where torchvision's class looks below the root; for the message if nothing is there and the download fails.
PLACES = {
    "MNIST": "MNIST/raw",
    "FashionMNIST": "FashionMNIST/raw",
    "CIFAR10": "cifar-10-batches-py",
    "CIFAR100": "cifar-100-python",
    "SVHN": "train_32x32.mat and test_32x32.mat",
    "Flowers102": "flowers-102",
    "Imagenette": "imagenette2-320",
}


def arrays(
    *, dataset: Literal["MNIST", "FashionMNIST", "CIFAR10", "CIFAR100", "SVHN"], root: Path | None = None
) -> Source:
    """A data set that torchvision holds as one array.

    Args:
        dataset: name of the class in torchvision.datasets.
        root: the folder passed to that class; None: NORMLAB_DATA if it is set, else a folder in the user's cache.

    Raises:
        DataError: if the data set is not on disk and cannot be downloaded; names the folder to put it into.
    """
    if dataset == "SVHN":
        splits = [_open(dataset, root, split=name) for name in ("train", "test")]
        parts = [Part(torch.from_numpy(s.data), torch.from_numpy(s.labels).long()) for s in splits]
        return Source(tuple(map(str, range(10))), parts[0], test=parts[1])
    splits = [_open(dataset, root, train=training) for training in (True, False)]
    parts = [Part(_images(s.data), torch.as_tensor(s.targets).long()) for s in splits]
    return Source(tuple(splits[0].classes), parts[0], test=parts[1])


def _images(data: Tensor | np.ndarray) -> Tensor:
    """[N, H, W] or [N, H, W, C] to [N, C, H, W]."""
    tensor = torch.as_tensor(data)
    return tensor[:, None] if tensor.ndim == 3 else tensor.permute(0, 3, 1, 2).contiguous()


def flowers102(*, root: Path | None = None, on_corrupt: Literal["error", "skip"] = "error") -> Source:
    """Oxford 102 Flower (Nilsback & Zisserman 2008), with its own three splits. Images differ in size."""
    parts = {}
    for name, split in (("train", "train"), ("validation", "val"), ("test", "test")):
        files = _open("Flowers102", root, split=split, loader=Path)
        paths, labels = zip(*(files[i] for i in range(len(files))), strict=True)
        parts[name] = Part(Files(paths, on_corrupt == "skip"), torch.tensor(labels))
    classes = tuple(getattr(files, "classes", map(str, range(102))))
    return Source(classes, parts["train"], parts["validation"], parts["test"])


def imagenette(*, root: Path | None = None, on_corrupt: Literal["error", "skip"] = "error") -> Source:
    """Imagenette (fast.ai), ten classes of ImageNet at 320 pixels; its ``val`` is the test set."""
    opened = _open("Imagenette", root, split="train", size="320px")
    return from_folder(Path(opened.root) / PLACES["Imagenette"], on_corrupt == "skip")


def imagenet(*, root: Path | None = None, on_corrupt: Literal["error", "skip"] = "error") -> Source:
    """ImageNet-1k (Russakovsky et al. 2015): ROOT/train/SYNSET/ and ROOT/val/SYNSET/; ``val`` is the test set.

    If ROOT holds the official archives instead, torchvision unpacks them first.
    """
    folder = find(root, "data=imagenet")
    if root is None and (folder / "imagenet").is_dir():
        folder = folder / "imagenet"
    if not (folder / "train").is_dir() or not (folder / "val").is_dir():
        from torchvision.datasets import ImageNet

        try:
            for split in ("train", "val"):
                ImageNet(folder, split)
        except (RuntimeError, OSError) as error:
            raise DataError(
                f"data=imagenet: {folder} should hold train/ and val/, with a folder of images for each synset, or the "
                f"archives ILSVRC2012_img_train.tar, ILSVRC2012_img_val.tar and ILSVRC2012_devkit_t12.tar.gz ({error})"
            ) from None
    return from_folder(folder, on_corrupt == "skip")


def _open(name: str, root: Path | None, **options: Any) -> Any:
    """An instance of a torchvision data set, downloaded if it is not on disk."""
    from torchvision import datasets

    make: Callable[..., Any] = getattr(datasets, name)
    if root is not None:
        folder = find(root, f"data.root for {name}")
    elif os.environ.get("NORMLAB_DATA"):
        folder = find(None, name)
    else:
        folder = cache.folder() / "data"
    with contextlib.redirect_stdout(io.StringIO()):  # torchvision prints on the standard output
        try:
            return make(folder, download=False, **options)
        except (RuntimeError, OSError):
            pass
        try:
            return make(folder, download=True, **options)
        except Exception as error:  # urllib, ssl, tarfile and torchvision each raise their own
            reason = (str(error).strip() or type(error).__name__).splitlines()[-1]
            raise DataError(
                f"{name} is not in {folder}, and downloading it failed ({reason}). Put it into "
                f"{folder / PLACES[name]}, as torchvision.datasets.{name} expects it, or name its folder with "
                f"data.root=FOLDER"
            ) from None
