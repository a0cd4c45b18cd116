"""The subject: every normalization scheme, from uint8 images to the floats that a network sees.

A new scheme is one class here, with :meth:`Normalization.normalize` as its formula, and one file in
``configs/norm/`` that names it.
"""

from typing import Any

from normlab.config import choose
from normlab.norms.base import Affine, Normalization
from normlab.norms.channel import ChannelStatistics, FeatureStatistics, Fixed
from normlab.norms.image import MinMax, PerImage, PerRegion
from normlab.norms.learned import Adaptive, Learned
from normlab.norms.whitening import Whitening

__all__ = [
    "Adaptive",
    "Affine",
    "ChannelStatistics",
    "FeatureStatistics",
    "Fixed",
    "Learned",
    "MinMax",
    "Normalization",
    "PerImage",
    "PerRegion",
    "Whitening",
    "normalization",
]


def normalization(name: str, **options: Any) -> Normalization:
    """A scheme by its config name, unfitted.

    >>> import torch
    >>> images = torch.tensor([0, 255], dtype=torch.uint8).reshape(1, 1, 1, 2)
    >>> normalization("inception").fit([images])(images).flatten()
    tensor([-1.,  1.])

    Args:
        name: a file of ``configs/norm/``, without its ending.
        options: changes to the file's options.

    Raises:
        ConfigError: for an unknown name, an unknown option or a value out of range.
    """
    return choose("norm", name, **options).build()
