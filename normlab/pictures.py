"""An image file as a picture of 8 bits. Nothing here imports PyTorch, so that processes that read files start fast."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from normlab.errors import DataError
from normlab.files import is_special

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm"})


class CorruptImageError(DataError):
    """A file that cannot be read as an image: broken, missing, or with pixels of unknown range."""


def picture_of(path: Path) -> tuple[Image.Image, str]:
    """Decode one image to 8 bits, grayscale or RGB.

    Palette, CMYK and similar images become RGB; an alpha channel is dropped, as torchvision's loader does; 16-bit
    grayscale is divided by 257, which maps 65535 to 255 (PIL's own conversion would clip at 255 instead).

    Returns:
        The picture, and a note on how it was converted ("" if it was not).

    Raises:
        CorruptImageError: if the file is missing, empty, truncated or no image; and for 32-bit and floating-point
            images, whose range the file does not state.
    """
    if is_special(path):  # whose reading may never end
        raise CorruptImageError(f"{path}: not a regular file, but a pipe, a socket or a device")
    try:
        with Image.open(path) as opened:
            opened.load()
            picture: Image.Image = opened
    except Exception as error:  # decoders raise many types of errors on broken bytes
        raise CorruptImageError(f"{path}: {_reason(path, error)}") from None
    return _to_8_bits(picture, path)


def _reason(path: Path, error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "a link to a file that is not there" if path.is_symlink() else "no such file"
    if isinstance(error, PermissionError):  # reading the size needs permission, too
        return "no permission to read it"
    if isinstance(error, UnidentifiedImageError):
        return "not an image, or broken at its beginning" if path.stat().st_size else "the file is empty"
    return str(error) or type(error).__name__


def _to_8_bits(picture: Image.Image, path: Path) -> tuple[Image.Image, str]:
    mode = picture.mode
    if mode in ("L", "RGB"):
        return picture, ""
    if mode == "1":
        return picture.convert("L"), "1 bit, converted to grayscale"
    if mode.startswith("I;16") or (mode == "I" and picture.format == "PPM"):  # PIL opens a 16-bit .pgm as 32 bits
        pixels = np.asarray(picture).astype(np.float64) / 257
        return Image.fromarray(pixels.round().astype(np.uint8)), "16 bits, scaled to 8"
    if mode in ("I", "F"):
        raise CorruptImageError(
            f"{path}: pixels of 32 bits (mode {mode}) have no known range; convert the file to 8 or 16 bits"
        )
    if mode in ("LA", "La"):
        return picture.convert("L"), "alpha channel, dropped"
    if mode in ("RGBA", "RGBa"):
        return picture.convert("RGB"), "alpha channel, dropped"
    if "transparency" in picture.info:
        picture = picture.convert("RGBA")  # PIL warns if it converts to RGB directly
    return picture.convert("RGB"), f"{'palette' if mode == 'P' else mode}, converted to RGB"


def resize_and_crop(picture: Image.Image, size: int) -> Image.Image:
    """The shorter side resized to ``size`` (bilinear, antialiased), then the center cut out."""
    width, height = (resized_side(side, min(picture.size), size) for side in picture.size)
    if picture.size != (width, height):
        picture = picture.resize((width, height), Image.Resampling.BILINEAR)
    left, top = crop_margin(width, size), crop_margin(height, size)
    return picture.crop((left, top, left + size, top + size))


def resized_side(side: int, shorter: int, size: int) -> int:
    """Length of a side once the shorter one is ``size``, rounded as in torchvision's Resize."""
    return size * side // shorter


def crop_margin(side: int, size: int) -> int:
    """Pixels before the center crop, rounded as in torchvision's CenterCrop."""
    return round((side - size) / 2)
