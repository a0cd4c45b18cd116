"""PNG files with chunks and depths that Pillow does not write (ISO 15948)."""

import struct
import zlib

import numpy as np

COLOR_TYPES = {1: 0, 3: 2, 2: 4, 4: 6}  # by the number of channels


def chunk(name, content):
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def rows(array):
    """The rows of samples of 16 bits, each after the byte of its filter (none)."""
    samples = np.ascontiguousarray(array.astype(">u2").reshape(len(array), -1)).view(np.uint8)
    return np.hstack([np.zeros((len(array), 1), np.uint8), samples]).tobytes()


def png(path, array, data=None, depth=16, color=None, before=(), after=()):
    """A PNG of an array [H, W] or [H, W, C] of 16 bits, or of the given rows of another depth."""
    channels = 1 if array.ndim == 2 else array.shape[2]
    color = COLOR_TYPES[channels] if color is None else color
    head = struct.pack(">IIBBBBB", array.shape[1], array.shape[0], depth, color, 0, 0, 0)
    parts = [(b"IHDR", head), *before, (b"IDAT", zlib.compress(rows(array) if data is None else data)), *after]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in [*parts, (b"IEND", b"")]))
