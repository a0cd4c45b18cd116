"""The formats that Pillow reads: 8 bits, and 16-bit gray. Deeper files of these formats go to another decoder."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from normlab.pictures.picture import CorruptImageError, Picture, Reading, SeveralPagesError, as_type, oriented

ORIENTATION = 0x0112
CODECS = "pip install 'normlab[codecs]'"


def read(path: Path, reading: Reading, page: int, whole: bool = True) -> Picture:
    """One frame of a PNG, JPEG, WebP, AVIF, GIF, BMP, TGA, PBM or JPEG 2000 file.

    Args:
        path: the file.
        reading: how files become images.
        page: which frame.
        whole: decode the pixels; False: one black pixel in their place, for what the header says.
    """
    with Image.open(path) as opened:
        several = check_pages(path, frames(opened), reading, "frames")
        deep = _deep(opened, path)
        if deep is not None:
            picture = deep
        else:
            if page:
                opened.seek(page)
            if whole:
                opened.load()
            picture = from_pillow(
                opened if whole else _blank(opened), path, reading, in_color=several and reading.pages == "all"
            )
        notes = _profile(opened)
        if opened.format == "MPO":
            notes += ("several pictures in one JPEG (MPO), the first read",)
        elif several and reading.pages == "first":
            notes += ("several frames, the first read",)
        orientation = opened.getexif().get(ORIENTATION, 1) if "exif" in opened.info else 1
    return oriented(picture, orientation, reading).with_note(*notes) if notes or orientation != 1 else picture


def _blank(opened: Image.Image) -> Image.Image:
    """One pixel of the same mode and with the same metadata."""
    blank = Image.new(opened.mode, (1, 1))
    blank.info = opened.info
    return blank


def frames(opened: Image.Image) -> int:
    """Number of frames; of a JPEG always 1, because what else it holds are thumbnails and depth maps."""
    return 1 if opened.format in ("JPEG", "MPO") else getattr(opened, "n_frames", 1)


def count_frames(path: Path, reading: Reading) -> int:
    """Number of frames of a file."""
    with Image.open(path) as opened:
        return frames(opened)


def check_pages(path: Path, count: int, reading: Reading, noun: str) -> bool:
    """Whether there are several pages.

    Raises:
        SeveralPagesError: if there are, and it was not said which of them count.
    """
    if count > 1 and reading.pages == "refuse":
        raise SeveralPagesError(f"{path}: {count} {noun} in one file; give data.pages=first or data.pages=all")
    return count > 1


def from_pillow(picture: Image.Image, path: Path, reading: Reading, in_color: bool = False) -> Picture:
    """A loaded Pillow image as a picture."""
    mode = picture.mode
    if mode == "RGB" or (mode == "L" and not in_color):
        return Picture(picture)
    if mode == "1":
        return Picture(picture.convert("L"), notes=("1 bit, converted to grayscale",))
    if mode.startswith("I;16"):
        return Picture(np.asarray(picture).astype(np.uint16)[None])
    if mode in ("I", "F"):
        array, notes = as_type(np.asarray(picture)[None], path)
        return Picture(array, notes=notes)
    has_alpha = mode in ("LA", "La", "RGBA", "RGBa", "PA") or "transparency" in picture.info
    mask, alpha_note = None, "alpha channel, dropped"
    if has_alpha and reading.mask == "alpha":
        alpha = np.asarray(picture.convert("RGBA").getchannel("A"))
        mask, alpha_note = alpha > 0, "alpha channel, used as a mask"
    if mode in ("LA", "La"):
        return Picture(picture.convert("L"), notes=(alpha_note,), mask=mask)
    if mode in ("RGBA", "RGBa"):
        return Picture(picture.convert("RGB"), notes=(alpha_note,), mask=mask)
    if "transparency" in picture.info:
        picture = picture.convert("RGBA")  # PIL warns if it converts to RGB directly
    name = "palette" if mode == "P" else "grayscale" if mode == "L" else mode
    return Picture(picture.convert("RGB"), notes=(f"{name}, converted to RGB",), mask=mask)


def _profile(opened: Image.Image) -> tuple[str, ...]:
    profile = opened.info.get("icc_profile")
    if not profile or b"sRGB" in profile or b"s\0R\0G\0B" in profile or opened.mode == "CMYK":
        return ()
    return ("ICC profile other than sRGB, ignored",)


def _deep(opened: Image.Image, path: Path) -> Picture | None:
    """The picture, if the file is deeper than Pillow would read it; else None."""
    if opened.format == "PNG":
        tile = getattr(opened, "tile", None)
        raw = tile[0][3] if tile else ""
        raw = raw if isinstance(raw, str) else ""
        if not raw.endswith(";16B") and raw != "I;16B":
            return None
        return _png_of_16_bits(opened, path, raw)
    if opened.format == "JPEG2000":
        bits = _bits_of_jpeg_2000(path)
        return None if bits <= 8 else _by_imagecodecs("jpeg2k_decode", path, bits, f"JPEG 2000 of {bits} bits")
    if opened.format == "AVIF":
        bits = _bits_of_avif(path)
        return None if bits <= 8 else _by_imagecodecs("avif_decode", path, bits, f"AVIF of {bits} bits")
    return None


def _png_of_16_bits(opened: Image.Image, path: Path, raw: str) -> Picture:
    if opened.mode.startswith("I"):
        opened.load()
        array = np.asarray(opened).astype(np.uint16)[None]
    else:  # Pillow cuts 16-bit color to 8 bits
        array = _decode_png(path)
    notes: tuple[str, ...] = ()
    mask = None
    if len(array) in (2, 4):
        notes, mask = ("alpha channel, dropped",), array[-1] > 0
        array = np.ascontiguousarray(array[:-1])
    return Picture(array, white=_white_by_sbit(path, array), notes=notes, mask=mask)


def _decode_png(path: Path) -> NDArray[Any]:
    try:
        import imagecodecs

        array = imagecodecs.png_decode(path.read_bytes())
        return np.ascontiguousarray(array.transpose(2, 0, 1) if array.ndim == 3 else array[None])
    except ImportError:
        from torchvision.io import ImageReadMode, decode_image  # here, because it imports PyTorch

        return decode_image(str(path), mode=ImageReadMode.UNCHANGED).numpy()


def _white_by_sbit(path: Path, array: NDArray[Any]) -> float | None:
    """White by the chunk sBIT (significant bits), if the values are not spread over 16 bits as the standard asks.

    PNG (ISO 15948, 11.3.2.8): samples of fewer bits are scaled up to the full depth, by shifting or by repeating their
    upper bits, and then white is 65535. Some programs write sBIT with values that are not scaled: then none is above
    2^bits - 1, and the lower bits are in use, which scaled values as small as these would have at zero.
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
    if not 0 < bits < 16:
        return None
    spread = (array & ((1 << (16 - bits)) - 1)).any()
    return float(2**bits - 1) if spread and array.max() < 2**bits else None


def _bits_of_jpeg_2000(path: Path) -> int:
    with path.open("rb") as file:
        start = file.read(1 << 16)
    place = start.find(b"\xff\x4f\xff\x51")  # SOC and SIZ (ISO 15444-1, A.5.1); the depth is 42 bytes after SOC
    return (start[place + 42] & 0x7F) + 1 if 0 <= place < len(start) - 42 else 8


def _bits_of_avif(path: Path) -> int:
    with path.open("rb") as file:
        start = file.read(1 << 16)
    place = start.find(b"av1C")  # AV1 in ISOBMFF 1.2, 2.3.3: high_bitdepth and twelve_bit in the third byte
    flags = start[place + 6] if 0 <= place < len(start) - 6 else 0
    return (12 if flags & 0x20 else 10) if flags & 0x40 else 8


def _by_imagecodecs(decoder: str, path: Path, bits: int, what: str) -> Picture:
    try:
        import imagecodecs
    except ImportError:
        raise CorruptImageError(
            f"{path}: {what} needs the package imagecodecs, because Pillow would cut it to 8: {CODECS}"
        ) from None
    array = np.asarray(getattr(imagecodecs, decoder)(path.read_bytes()))
    array = array[None] if array.ndim == 2 else array.transpose(2, 0, 1)
    notes: tuple[str, ...] = ()
    mask = None
    if len(array) in (2, 4):
        notes, mask = ("alpha channel, dropped",), array[-1] > 0
        array = array[:-1]
    values, more = as_type(array, path)
    return Picture(
        values, white=float(2**bits - 1) if values.dtype.kind == "u" else None, notes=notes + more, mask=mask
    )
