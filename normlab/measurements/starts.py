"""Networks at their start and their inputs, for all measurements that train nothing."""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from normlab.archs import Network
from normlab.config import Arch, choose
from normlab.data import Dataset, Loader, Split
from normlab.norms import Normalization, build_scheme, require_unchanged_tokens
from normlab.theory.moments import require_dense

WHITENING = ("pca", "zca")  # schemes that take an eps relative to the spectrum


def fitted(data: Dataset, name: str, *, whitening_eps: float | None = None) -> Normalization:
    """The scheme with this name, fitted on the training images.

    Args:
        data: the data set.
        name: of the scheme.
        whitening_eps: ``eps`` of pca and zca, ignored for other schemes; None: the default.

    Raises:
        ConfigError: for an unknown scheme.
        DataError: if the scheme cannot be fitted on these images.
    """
    options = {"eps": whitening_eps} if whitening_eps is not None and name in WHITENING else {}
    norm = build_scheme(choose("norm", name, **options), data.front, data.masked).set_range(data.black, data.white)
    if data.kind == "text":
        require_unchanged_tokens(norm, name, data.tokens)
    return norm.fit(data.training_inputs())


def normalized(norm: Normalization, images: Tensor) -> Tensor:
    """Inputs under a fitted scheme, float64 [N, C, *positions].

    Args:
        norm: fitted; not changed.
        images: [N, C, *positions].
    """
    norm = copy.deepcopy(norm).double()
    with torch.no_grad():
        return torch.cat([norm(part) for part in images.split(256)])


def normalized_features(split: Split, norm: Normalization) -> Tensor:
    """The images of a split under a fitted scheme, as rows, float64 [N, D].

    Raises:
        DataError: for more features than a dense matrix can hold.
    """
    require_dense(math.prod(split.shape))
    return normalized(norm, split.images).flatten(1)


def one_hot(split: Split, classes: int) -> Tensor:
    """The labels of a split, float64 [N, classes]."""
    return F.one_hot(torch.cat([labels for _, labels in split.batches(256)]), classes).double()


def first_batch(data: Dataset, images: int) -> tuple[Tensor, Tensor]:
    """Images uint8 [B, C, H, W] and labels [B] of the first shuffled training batch, the same at each call.

    Args:
        data: the data set.
        images: B; all images if there are fewer.
    """
    return next(iter(Loader(data.train, min(images, len(data.train)), shuffle_seed=0)))


def network_at_start(data: Dataset, norm: Normalization, arch: Arch | dict[str, Any], seed: int) -> Network:
    """The network for a scheme, with the same initial weights under every scheme that keeps the images' shape.

    Args:
        data: gives the shape of the images and the classes.
        norm: fitted.
        arch: the architecture, checked, or its name and options.
        seed: of the initial weights.

    Raises:
        ConfigError: for an unknown architecture or option, or images that the architecture cannot take.
    """
    torch.manual_seed(seed)
    chosen = choose("arch", **arch) if isinstance(arch, dict) else arch
    return Network.for_data(norm, chosen, data)


def arch_label(arch: dict[str, Any]) -> str:
    """A label of the architecture: its name and the given options.

    >>> arch_label({"name": "mlp", "internal_norm": "batch"})
    'mlp internal_norm=batch'
    """
    return " ".join([arch["name"], *(f"{key}={value}" for key, value in arch.items() if key != "name")])
