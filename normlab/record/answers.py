"""Which test images a run classified correctly, one bit for each image."""

from __future__ import annotations

import base64
import binascii

import numpy as np
from numpy.typing import ArrayLike, NDArray


def pack(correct: ArrayLike) -> str:
    """Whether a run is correct on each test image, in the order of the images, as base64 of one bit for each image.

    >>> pack([True, False, True]), unpack(pack([True, False, True]), 3).tolist()
    ('oA==', [True, False, True])
    """
    return base64.b64encode(np.packbits(np.asarray(correct, dtype=bool)).tobytes()).decode("ascii")


def unpack(packed: str, images: int) -> NDArray[np.bool_]:
    """The inverse of :func:`pack`: bool [images].

    Raises:
        ValueError: if the text is not base64, or belongs to another number of images.
    """
    try:
        raw = base64.b64decode(packed, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError(f"per-image correctness is not base64: {error}") from None
    if len(raw) != -(-images // 8):
        raise ValueError(f"per-image correctness has {len(raw)} bytes, but {images} images take {-(-images // 8)}")
    bits = np.unpackbits(np.frombuffer(raw, dtype=np.uint8))
    if bits[images:].any():
        raise ValueError(f"per-image correctness has set bits beyond its {images} images")
    return bits[:images].astype(bool)
