"""The subject: every normalization scheme, from inputs as they are stored to the floats that a network sees.

A new scheme is one class in a file of this folder, with :meth:`Normalization.normalize` as its formula, and one file in
``configs/norm/`` that names the class.
"""

from normlab.norms.base import Affine, Normalization
from normlab.norms.by_name import normalization
from normlab.norms.channel import ChannelStatistics, FeatureStatistics, Fixed, Raw
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
    "Raw",
    "Whitening",
    "normalization",
]
