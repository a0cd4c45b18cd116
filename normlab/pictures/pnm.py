"""Portable anymaps (PGM, PPM, PFM): the header declares the largest value, which Pillow does not tell."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from normlab.pictures import common_formats
from normlab.pictures.picture import CorruptImageError, Picture, Reading

TOKEN = re.compile(rb"(?:\s|#[^\n]*\n)*(\S+)")


def read(path: Path, reading: Reading, page: int) -> Picture:
    """A PGM or PPM file, as text or bytes, with its largest value as white; or a PFM file of floats."""
    with path.open("rb") as file:
        start = file.read(2)
    if start in (b"Pf", b"PF"):
        return _floats(path)
    if start not in (b"P2", b"P3", b"P5", b"P6"):
        return common_formats.read(path, reading, page)
    content = path.read_bytes()
    values, place = _header(content, 3, path)
    width, height, largest = _numbers(values, path)
    if largest == 255 and start in (b"P5", b"P6"):
        return common_formats.read(path, reading, page)
    if not 0 < largest < 65536 or width < 1 or height < 1:
        raise CorruptImageError(f"{path}: a largest value of {largest} and {width}x{height} pixels; expected 1..65535")
    bands = 3 if start in (b"P3", b"P6") else 1
    count = width * height * bands
    stored = ">u2" if largest > 255 else "u1"
    if start in (b"P2", b"P3"):
        samples = np.array(_numbers(re.sub(rb"#[^\n]*", b"", content[place:]).split()[:count], path), dtype=np.int64)
    else:
        samples = np.frombuffer(
            content, stored, offset=place + 1, count=min(count, (len(content) - place - 1) // np.dtype(stored).itemsize)
        )
    if len(samples) < count:
        raise CorruptImageError(f"{path}: truncated, {len(samples):,} of {count:,} values")
    if samples.max() > largest or samples.min() < 0:
        wrong = samples.max() if samples.max() > largest else samples.min()
        raise CorruptImageError(f"{path}: a value of {wrong}, but its header declares {largest} as the largest")
    array = samples.astype(np.uint16 if largest > 255 else np.uint8).reshape(height, width, bands)
    white = None if largest in (255, 65535) else float(largest)
    return Picture(np.ascontiguousarray(array.transpose(2, 0, 1)), white=white)


def _floats(path: Path) -> Picture:
    content = path.read_bytes()
    values, place = _header(content, 3, path)
    width, height = _numbers(values[:2], path)
    try:
        scale = float(values[2])
    except ValueError:
        raise CorruptImageError(f"{path}: {values[2][:20]!r} in its header; expected a scale") from None
    bands = 3 if content.startswith(b"PF") else 1
    samples = np.frombuffer(content, "<f4" if scale < 0 else ">f4", offset=place + 1)[: width * height * bands]
    if len(samples) < width * height * bands:
        raise CorruptImageError(f"{path}: truncated, {len(samples):,} of {width * height * bands:,} values")
    array = samples.reshape(height, width, bands)[::-1].transpose(2, 0, 1)  # rows from the bottom
    return Picture(np.ascontiguousarray(array, dtype=np.float32))


def _numbers(words: list[bytes], path: Path) -> list[int]:
    try:
        return [int(word) for word in words]
    except ValueError:
        wrong = next(word for word in words if not word.isdigit())
        raise CorruptImageError(f"{path}: {wrong[:20]!r} in the place of a number") from None


def _header(content: bytes, count: int, path: Path) -> tuple[list[bytes], int]:
    values, place = [], 2
    for _ in range(count):
        match = TOKEN.match(content, place)
        if match is None:
            raise CorruptImageError(f"{path}: truncated in its header")
        values.append(match[1])
        place = match.end()
    return values, place
