"""The subject: every normalization scheme, from inputs as they are stored to the floats that a network sees.

Most schemes are an *estimator* (``estimators.py``) over a *scope*: constants or the training set (``constants.py``),
one sample or a region of it (``one_sample.py``), or learned (``learned.py``). ``schemes.py`` names them. A new one is a
function there and a file in ``configs/norm/``; a scheme of another kind is a class with
:meth:`Normalization.normalize` as its formula.
"""

from normlab.norms.base import Affine, Normalization
from normlab.norms.by_name import normalization
from normlab.norms.constants import Fixed, TrainingSet
from normlab.norms.difference import Difference
from normlab.norms.distribution import Percentile, Power, Quantile
from normlab.norms.learned import Adaptive, Learned
from normlab.norms.log_mel import Front
from normlab.norms.masked import Masked
from normlab.norms.on_features import OnFeatures, build_scheme
from normlab.norms.one_sample import OneSample, RevIN
from normlab.norms.tokens import require_unchanged_tokens
from normlab.norms.whitening import Whitening

__all__ = [
    "Adaptive",
    "Affine",
    "Difference",
    "Fixed",
    "Front",
    "Learned",
    "Masked",
    "Normalization",
    "OnFeatures",
    "OneSample",
    "Percentile",
    "Power",
    "Quantile",
    "RevIN",
    "TrainingSet",
    "Whitening",
    "build_scheme",
    "normalization",
    "require_unchanged_tokens",
]
