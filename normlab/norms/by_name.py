"""A normalization scheme by the name that users type."""

from __future__ import annotations

from typing import Any

from normlab.config import choose
from normlab.norms.base import Normalization


def normalization(name: str, **options: Any) -> Normalization:
    """The scheme of a config name, unfitted.

    >>> import torch
    >>> images = torch.tensor([0, 255], dtype=torch.uint8).reshape(1, 1, 1, 2)
    >>> normalization("inception").fit([images])(images).flatten()
    tensor([-1.,  1.])

    Args:
        name: a file of ``configs/norm/``, without the ending ``.yaml``.
        options: changes to the file's options.

    Raises:
        ConfigError: for an unknown name, an unknown option or a value out of range.
    """
    return choose("norm", name, **options).build()
