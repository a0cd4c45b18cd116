"""The formats that Pillow reads: 8 bits, and 16-bit gray. Deeper files of these formats go to another decoder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from normlab.pictures import png
from normlab.pictures.picture import (
    CorruptImageError,
    Picture,
    Reading,
    SeveralPagesError,
    alpha_note,
    as_type,
    oriented,
)

ORIENTATION = 0x0112
HOLD_ORIENTATION = {"exif", "Raw profile type exif", "xmp", "XML:com.adobe.xmp"}
CODECS = "pip install 'normlab[codecs]'"


class OtherFormatError(Exception):
    """The content of a file is of a format that another module reads.

    Attributes:
        format: ``tiff`` or ``pnm``.
    """

    def __init__(self, format: str) -> None:
        super().__init__(format)
        self.format = format


def read(path: Path, reading: Reading, page: int, whole: bool = True) -> Picture:
    """One frame of a PNG, JPEG, WebP, AVIF, GIF, BMP, TGA, PBM or JPEG 2000 file.

    Args:
        path: the file.
        reading: how files become images.
        page: which frame.
        whole: decode the pixels; False: one black pixel in their place, for what the header says.

    Raises:
        OtherFormatError: if the content is TIFF, or a portable anymap that Pillow does not read at its full depth.
    """
    with Image.open(path) as opened:
        _refuse_others(opened)
        several = check_pages(path, frames(opened), reading, "frames")
        deep = _deep(opened, path, reading, page)
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
        notes = _color(opened)
        if opened.format == "MPO":
            notes += ("several pictures in one JPEG (MPO), the first read",)
        elif several and reading.pages == "first":
            notes += ("several frames, the first read",)
        orientation = opened.getexif().get(ORIENTATION, 1) if HOLD_ORIENTATION & opened.info.keys() else 1
    return oriented(picture, orientation, reading).with_note(*notes) if notes or orientation != 1 else picture


def _refuse_others(opened: Image.Image) -> None:
    """Raise OtherFormatError for content whose format the name does not say, and that Pillow would cut to 8 bits."""
    if opened.format == "TIFF":
        raise OtherFormatError("tiff")
    if opened.format == "PPM" and opened.mode != "1":
        # What pnm.read leaves to Pillow is 8 bits of 0..255, which are read as they are ("raw").
        decoder = opened.tile[0][0]  # type: ignore[attr-defined]
        if opened.mode not in ("L", "RGB") or decoder != "raw":
            raise OtherFormatError("pnm")


def _blank(opened: Image.Image) -> Image.Image:
    """One pixel of the same mode and with the same metadata."""
    blank = Image.new(opened.mode, (1, 1))
    blank.info = opened.info
    return blank


def frames(opened: Image.Image) -> int:
    """Number of frames; of a JPEG always 1, because what else it holds are thumbnails and depth maps."""
    return 1 if opened.format in ("JPEG", "MPO") else getattr(opened, "n_frames", 1)


def count_frames(path: Path, reading: Reading) -> int:
    """Number of frames of a file.

    Raises:
        OtherFormatError: as :func:`read`.
    """
    with Image.open(path) as opened:
        _refuse_others(opened)
        return frames(opened)


# How files begin that have names of images, in lower case.
BEGINNINGS = (
    (b"<!doctype html", "a web page"),
    (b"<html", "a web page"),
    (b"version https://git-lfs", "a pointer of Git LFS: git lfs pull brings the file"),
    (b"\x80", "pickled Python objects: save a plain array with numpy.save"),
)


def what_else(path: Path) -> str:
    """What a file that is no image begins like, in brackets; empty if that is not known."""
    with path.open("rb") as file:
        start = file.read(200).lstrip().lower()
    if start[4:12] in (b"ftypheic", b"ftypheix", b"ftypmif1", b"ftyphevc"):
        return " (HEIF, which is not read)"
    return next((f" ({what})" for beginning, what in BEGINNINGS if start.startswith(beginning)), "")


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
        if "transparency" not in picture.info:
            return Picture(picture)
        mask, told = _alpha(picture, reading)  # of the color that stands for transparency
        return Picture(picture, notes=told, mask=mask)
    if mode.startswith("I;16"):
        return Picture(np.asarray(picture).astype(np.uint16)[None])
    if mode in ("I", "F"):
        array, notes = as_type(np.asarray(picture)[None], path)
        return Picture(array, notes=notes)
    has_alpha = mode in ("LA", "La", "RGBA", "RGBa", "PA") or "transparency" in picture.info
    mask, told = _alpha(picture, reading) if has_alpha else (None, ())
    if mode == "1":
        return Picture(picture.convert("L"), notes=("1 bit, converted to grayscale", *told), mask=mask)
    if mode in ("LA", "La"):
        return Picture(picture.convert("L"), notes=told, mask=mask)
    if mode in ("RGBA", "RGBa"):
        return Picture(picture.convert("RGB"), notes=told, mask=mask)
    if "transparency" in picture.info:
        picture = picture.convert("RGBA")  # PIL warns if it converts to RGB directly
    name = "palette" if mode == "P" else "grayscale" if mode == "L" else mode
    return Picture(picture.convert("RGB"), notes=(f"{name}, converted to RGB", *told), mask=mask)


def _alpha(picture: Image.Image, reading: Reading) -> tuple[NDArray[np.bool_] | None, tuple[str, ...]]:
    """The mask of what is not transparent, if it is asked for, and a note."""
    if reading.mask != "alpha":
        return None, alpha_note(reading)
    return np.asarray(picture.convert("RGBA").getchannel("A")) > 0, alpha_note(reading)


def _color(opened: Image.Image) -> tuple[str, ...]:
    """What the file says of its colors that no library applies when it reads pixels."""
    notes = profile_note(opened.info.get("icc_profile") if opened.mode != "CMYK" else None)
    gamma = opened.info.get("gamma")  # of the chunk gAMA; 1/2.2 is what sRGB is written with
    if gamma and not {"icc_profile", "srgb"} & opened.info.keys() and not 0.44 < gamma < 0.47:
        notes += ("gamma other than that of sRGB, ignored",)
    return notes


def profile_note(profile: bytes | None) -> tuple[str, ...]:
    """A note on an ICC profile unless it is that of sRGB."""
    is_srgb = not profile or b"sRGB" in profile or b"s\0R\0G\0B" in profile
    return () if is_srgb else ("ICC profile other than sRGB, ignored",)


def _deep(opened: Image.Image, path: Path, reading: Reading, page: int) -> Picture | None:
    """The picture, if the file is deeper than Pillow would read it; else None."""
    if opened.format == "PNG":
        return png.read(opened, path, reading, page) if png.is_deep(opened) else None
    if opened.format == "JPEG2000":
        bits = _bits_of_jpeg_2000(path)
        return None if bits <= 8 else _by_imagecodecs("jpeg2k_decode", path, reading, bits, f"JPEG 2000 of {bits} bits")
    if opened.format == "AVIF":
        bits = _bits_of_avif(path)
        return None if bits <= 8 else _by_imagecodecs("avif_decode", path, reading, bits, f"AVIF of {bits} bits")
    return None


def _bits_of_jpeg_2000(path: Path) -> int:
    siz = b"\xff\x4f\xff\x51"  # SOC and SIZ (ISO 15444-1, A.5.1); the depth is 42 bytes after SOC
    with path.open("rb") as file:
        start = file.read(1 << 16)
        if siz not in start[:-42]:  # it lies behind long metadata, such as those of GeoJP2
            start += file.read()
    place = start.find(siz)
    return (start[place + 42] & 0x7F) + 1 if 0 <= place < len(start) - 42 else 8


def _bits_of_avif(path: Path) -> int:
    with path.open("rb") as file:
        start = file.read(1 << 16)
    place = start.find(b"av1C")  # AV1 in ISOBMFF 1.2, 2.3.3: high_bitdepth and twelve_bit in the third byte
    flags = start[place + 6] if 0 <= place < len(start) - 6 else 0
    return (12 if flags & 0x20 else 10) if flags & 0x40 else 8


def _by_imagecodecs(decoder: str, path: Path, reading: Reading, bits: int, what: str) -> Picture:
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
        notes, mask = alpha_note(reading), array[-1] > 0
        array = array[:-1]
    values, more = as_type(array, path)
    return Picture(
        values, white=float(2**bits - 1) if values.dtype.kind == "u" else None, notes=notes + more, mask=mask
    )
