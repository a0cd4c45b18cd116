"""Which test images a run classified rightly, one bit an image."""

from __future__ import annotations

import base64
import binascii

import numpy as np
from numpy.typing import ArrayLike, NDArray


def pack(correct: ArrayLike) -> str:
    """Whether a run is right on each test image, in their order, as base64 of one bit an image.

    >>> pack([True, False, True]), unpack(pack([True, False, True]), 3).tolist()
    ('oA==', [True, False, True])
    """
    return base64.b64encode(np.packbits(np.asarray(correct, dtype=bool)).tobytes()).decode("ascii")


def unpack(packed: str, images: int) -> NDArray[np.bool_]:
    """What :func:`pack` packed: bool [images].

    Raises:
        ValueError: if it is not base64, or not of so many images.
    """
    try:
        raw = base64.b64decode(packed, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError(f"per-image correctness is not base64: {error}") from None
    if len(raw) != -(-images // 8):
        raise ValueError(f"per-image correctness has {len(raw)} bytes, {images} images take {-(-images // 8)}")
    bits = np.unpackbits(np.frombuffer(raw, dtype=np.uint8))
    if bits[images:].any():
        raise ValueError(f"per-image correctness has set bits beyond its {images} images")
    return bits[:images].astype(bool)
