"""PNG of 16 bits, of which Pillow alone would cut color to 8."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from normlab.errors import first_line
from normlab.pictures.picture import CorruptImageError, Picture, Reading, alpha_note

CHANNELS = {0: 1, 2: 3, 4: 2, 6: 4}  # by the color type (ISO 15948, table 11.1)
WHOLE = ((0, 0, 1, 1),)
# Of an interlaced image, each pass: its first column and row, and the steps to the next ones (ISO 15948, 8.2).
PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


def is_deep(opened: Image.Image) -> bool:
    """Whether a PNG that Pillow has opened has 16 bits."""
    tile = getattr(opened, "tile", None)
    raw = tile[0][3] if tile else ""
    return isinstance(raw, str) and (raw.endswith(";16B") or raw == "I;16B")


def read(opened: Image.Image, path: Path, reading: Reading, page: int) -> Picture:
    """The picture of 16 bits."""
    if page:  # no decoder of 16 bits reads the frames of an animation
        raise CorruptImageError(f"{path}: an animation of 16 bits; only its first frame is read: data.pages=first")
    if opened.mode.startswith("I"):
        opened.load()
        array = np.asarray(opened).astype(np.uint16)[None]
    else:
        array = _decode(path)
        opened.load()  # for what stands behind the pixels, such as an orientation
    notes: tuple[str, ...] = ()
    mask = None
    if len(array) in (2, 4):
        notes, mask = alpha_note(reading), array[-1] > 0
        array = np.ascontiguousarray(array[:-1])
    elif (color := opened.info.get("transparency")) is not None:  # one value of gray, or three
        notes, mask = alpha_note(reading), (array != np.reshape(color, (-1, 1, 1))).any(0)
    white, open_white = _white_by_sbit(path, array)
    return Picture(array, white=white, notes=notes, mask=mask, open_white=open_white)


def _decode(path: Path) -> NDArray[np.uint16]:
    try:
        import imagecodecs
    except ImportError:
        imagecodecs = None
    if imagecodecs is not None:
        try:
            array = imagecodecs.png_decode(path.read_bytes())
        except imagecodecs.PngError as error:
            raise CorruptImageError(f"{path}: truncated or damaged ({first_line(error)})") from None
    else:
        _check(path)  # because Pillow takes missing rows for black ones
        array = _by_pillow(path)
    return np.ascontiguousarray(array.transpose(2, 0, 1) if array.ndim == 3 else array[None])


def _by_pillow(path: Path) -> NDArray[np.uint16]:
    """Color and gray with alpha, [H, W, C]: Pillow reads the upper or the lower byte of each sample, as it is told."""

    def pixels(as_bytes: str) -> NDArray[np.uint16]:
        with Image.open(path) as image:
            opened: Any = image
            decoder, extents, offset, _ = opened.tile[0]
            opened.tile, opened._mode = [(decoder, extents, offset, as_bytes)], as_bytes.partition(";")[0]
            return np.asarray(opened).astype(np.uint16)

    with Image.open(path) as image:
        opened: Any = image
        mode = opened.tile[0][3].partition(";")[0]
    if mode == "LA":  # as many bytes as RGBA of 8 bits
        both = pixels("RGBA")
        high, low = both[..., ::2], both[..., 1::2]
    else:
        high, low = pixels(f"{mode};16B"), pixels(f"{mode};16L")
    return (high << 8 | low).astype(np.uint16, copy=False)


def _check(path: Path) -> None:
    """Refuse a PNG whose data are damaged: checksums, compression, number of bytes, types of the rows' filters."""
    content = path.read_bytes()
    header, compressed, place = b"", [], 8
    while len(content) - place >= 12:
        length, name = struct.unpack_from(">I4s", content, place)
        data = content[place + 8 : place + 8 + length]
        checksum = content[place + 8 + length : place + 12 + length]
        if name in (b"IHDR", b"IDAT") and checksum != struct.pack(">I", zlib.crc32(name + data)):
            raise CorruptImageError(f"{path}: truncated, or damaged: a checksum does not match its data")
        if name == b"IHDR":
            header = data
        elif name == b"IDAT":
            compressed.append(data)
        place += 12 + length
    width, height, bits, color, _, _, is_interlaced = struct.unpack(">IIBBBBB", header)
    lengths = []  # of the rows, each with the byte that names its filter
    for column, row, right, down in PASSES if is_interlaced else WHOLE:
        rows, columns = -(-(height - row) // down), -(-(width - column) // right)
        if rows > 0 and columns > 0:
            lengths += [(rows, 1 + -(-columns * CHANNELS[color] * bits // 8))]
    expected = sum(rows * length for rows, length in lengths)
    try:
        pixels = zlib.decompressobj().decompress(b"".join(compressed), expected + 1)  # whatever else is in the file
    except zlib.error as error:
        raise CorruptImageError(f"{path}: truncated or damaged ({error})") from None
    if len(pixels) < expected:
        raise CorruptImageError(f"{path}: truncated or damaged: {len(pixels):,} of {expected:,} bytes of pixels")
    place = 0
    for rows, length in lengths:
        if max(pixels[place : place + rows * length : length]) > 4:
            raise CorruptImageError(f"{path}: damaged: a row has an unknown filter")
        place += rows * length


def _white_by_sbit(path: Path, array: NDArray[np.uint16]) -> tuple[float | None, float | None]:
    """White by the chunk sBIT (significant bits), if the values are not spread over 16 bits as the standard asks.

    PNG (ISO 15948, 11.3.2.8): samples of fewer bits are scaled up to the full depth, by shifting or by repeating their
    upper bits, and then white is 65535. Some programs write sBIT with values that are not scaled: then none is above
    2^bits - 1, and the lower bits are in use, which scaled values as small as these would have at zero. A black or flat
    image may be of either kind, which the other images of its set decide: the second number is the white left open.
    """
    bits = 16
    with path.open("rb") as file:
        file.seek(8)
        while len(head := file.read(8)) == 8:
            length, name = struct.unpack(">I4s", head)
            if name == b"IDAT":
                break
            if name == b"sBIT":
                bits = max(file.read(length)[: len(array)])
                break
            file.seek(length + 4, 1)
    if not 0 < bits < 16 or array.max() >= 2**bits:
        return None, None
    are_lower_used = (array & ((1 << (16 - bits)) - 1)).any()
    white = float(2**bits - 1)
    return (white, None) if are_lower_used else (None, white)
