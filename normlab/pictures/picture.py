"""One image with its declared range, and what changes it on the way: bands, turning, resizing."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from normlab.errors import DataError

TYPES = (np.uint8, np.uint16, np.int16, np.int32, np.float32)


class CorruptImageError(DataError):
    """A file that cannot be read as one image.

    Attributes:
        kind: a few words that are the same for all files with this problem, to count them by.
    """

    kind: str = "unreadable"


class SeveralPagesError(CorruptImageError):
    """A file of several pages or frames, where it was not said which of them count."""

    kind = "of several pages"


@dataclass(frozen=True)
class Reading:
    """How files become images.

    Attributes:
        pages: of a file with several pages, frames or slices: refuse the file, take the first, or take all of them.
        bands: the bands to take, in this order, counted from 1 as in GDAL and rasterio; None: all.
        exif: ignore the orientation that a camera wrote, as torchvision does, or turn the image, as browsers do.
        axes: of arrays with three dimensions; None: the shorter of the first and the last axis holds the bands.
        mask: pixels to leave out of statistics: ``alpha``, ``nodata=VALUE``, or a folder of masks; None: no pixels.
    """

    pages: Literal["refuse", "first", "all"] = "refuse"
    bands: tuple[int, ...] | None = None
    exif: Literal["ignore", "apply"] = "ignore"
    axes: Literal["chw", "hwc"] | None = None
    mask: str | None = None

    def __post_init__(self) -> None:
        """Refuse a value that is no number."""
        try:
            _ = self.nodata
        except ValueError:
            raise DataError(f"data.mask={self.mask}: expected a number, as in nodata=-9999 or nodata=nan") from None

    @property
    def nodata(self) -> float | None:
        """The value of pixels that do not count, if the mask is a value."""
        is_value = self.mask is not None and self.mask.startswith("nodata=")
        return float(self.mask.removeprefix("nodata=")) if self.mask and is_value else None

    @property
    def options(self) -> dict[str, Any]:
        """What changes the pixels of an image; part of the key of decoded files."""
        options = {"pages": self.pages, "bands": self.bands, "exif": self.exif, "axes": self.axes}
        return options if self.mask is None else {**options, "mask": self.mask_rule}

    @property
    def mask_folder(self) -> Path | None:
        """The folder of masks, if there is one."""
        if self.mask is None or self.mask == "alpha" or self.nodata is not None:
            return None
        return Path(self.mask).expanduser()

    @property
    def mask_rule(self) -> str | None:
        """The rule of the mask without a path; the content of a folder of masks counts by itself."""
        return self.mask if self.mask_folder is None else "folder"


def alpha_note(reading: Reading) -> tuple[str]:
    """What becomes of an alpha channel, or of a color that stands for transparency."""
    return (f"alpha channel, {'used as a mask' if reading.mask == 'alpha' else 'dropped'}",)


@dataclass(frozen=True)
class Picture:
    """One image as it is stored.

    Attributes:
        pixels: a Pillow image of 8 bits, gray (L) or RGB; or an array [C, H, W] of one of ``TYPES``.
        black, white: the values that the file declares as its range; None: it declares none.
        open_white: another white that the file may mean, as other files of its set do; None: it leaves none open.
        notes: how the image was changed, and what was not read.
        mask: True for the pixels that count, bool [H, W]; None: all count.
    """

    pixels: Image.Image | NDArray[Any]
    black: float | None = None
    white: float | None = None
    notes: tuple[str, ...] = ()
    mask: NDArray[np.bool_] | None = None
    open_white: float | None = None

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        if isinstance(self.pixels, Image.Image):
            return self.pixels.size
        return self.pixels.shape[2], self.pixels.shape[1]

    @property
    def bands(self) -> int:
        """Number of bands."""
        if isinstance(self.pixels, Image.Image):
            return len(self.pixels.getbands())
        return len(self.pixels)

    @property
    def is_empty(self) -> bool:
        """Whether a mask leaves out every pixel."""
        return self.mask is not None and not self.mask.any()

    @property
    def array(self) -> NDArray[Any]:
        """The pixels, [C, H, W]."""
        if not isinstance(self.pixels, Image.Image):
            return self.pixels
        pixels = np.array(self.pixels)
        return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)

    def with_note(self, *notes: str) -> Picture:
        """The same picture with more notes."""
        return replace(self, notes=(*self.notes, *notes)) if notes else self


def as_type(array: NDArray[Any], path: Path) -> tuple[NDArray[Any], tuple[str, ...]]:
    """An array as one of ``TYPES``, without a change of any value that is not noted.

    Raises:
        CorruptImageError: if the values fit into none of the types.
    """
    kind, size = array.dtype.kind, array.dtype.itemsize
    if kind == "b":
        return array.astype(np.uint8) * np.uint8(255), ("1 bit, as 0 and 255",)
    if kind in "iu":
        target = {("u", 1): np.uint8, ("u", 2): np.uint16, ("i", 1): np.int16, ("i", 2): np.int16}.get(
            (kind, size), np.int32
        )
        if target is np.int32 and array.size and not -(2**31) <= int(array.min()) <= int(array.max()) < 2**31:
            raise CorruptImageError(
                f"{path}: integers up to {array.max()} do not fit into 32 bits; save them as 32-bit floats"
            )
        return np.ascontiguousarray(array, dtype=target), ()
    if kind == "f":
        with np.errstate(over="ignore"):
            values = np.ascontiguousarray(array, dtype=np.float32)
        is_exact = size <= 4 or np.array_equal(values, array, equal_nan=True)
        return values, () if is_exact else ("64-bit floats, rounded to 32 bits",)
    raise CorruptImageError(f"{path}: pixels of the type {array.dtype}; expected integers or floats")


def select_bands(picture: Picture, bands: tuple[int, ...] | None, path: Path) -> Picture:
    """The chosen bands, counted from 1.

    Raises:
        DataError: if the picture has no such band.
    """
    if bands is None:
        return picture
    if wrong := [band for band in bands if not 1 <= band <= picture.bands]:
        raise DataError(
            f"data.bands={list(bands)}: {path} has {picture.bands} band{'s' * (picture.bands != 1)}, counted from 1; "
            f"there is no band {wrong[0]}"
        )
    return replace(picture, pixels=np.ascontiguousarray(picture.array[[band - 1 for band in bands]]))


# EXIF orientations as operations on [..., H, W]: what turns the stored image upright.
UPRIGHT = {
    2: lambda a: a[..., ::-1],
    3: lambda a: a[..., ::-1, ::-1],
    4: lambda a: a[..., ::-1, :],
    5: lambda a: np.swapaxes(a, -1, -2),
    6: lambda a: np.swapaxes(a, -1, -2)[..., ::-1],
    7: lambda a: np.swapaxes(a[..., ::-1, ::-1], -1, -2),
    8: lambda a: np.swapaxes(a, -1, -2)[..., ::-1, :],
}


APPLIED = "EXIF orientation, applied"  # the note on such an image
UNDO = {5: 5, 6: 8, 7: 7, 8: 6, 2: 2, 3: 3, 4: 4}  # the orientation that turns an upright image back


def oriented(picture: Picture, orientation: int, reading: Reading) -> Picture:
    """The picture turned upright, or with a note that it was not."""
    if orientation not in UPRIGHT:
        return picture
    if reading.exif == "ignore":
        return picture.with_note("EXIF orientation, ignored (data.exif=apply turns the image)")
    return turned(picture, orientation).with_note(APPLIED)


def turned(picture: Picture, orientation: int) -> Picture:
    """The picture turned as an EXIF orientation asks for."""
    turn = UPRIGHT[orientation]
    if isinstance(picture.pixels, Image.Image):
        array = np.array(picture.pixels)
        upright: Any = turn(array if array.ndim == 2 else array.transpose(2, 0, 1))
        upright = Image.fromarray(np.ascontiguousarray(upright if array.ndim == 2 else upright.transpose(1, 2, 0)))
    else:
        upright = np.ascontiguousarray(turn(picture.pixels))
    mask = None if picture.mask is None else np.ascontiguousarray(turn(picture.mask))
    return replace(picture, pixels=upright, mask=mask)


def resized(picture: Picture, size: int) -> Picture:
    """The shorter side resized to ``size`` (bilinear, antialiased), then the center cut out; see the three below."""
    if picture.mask is not None:
        return _resized_with_mask(picture, picture.mask, size)
    if isinstance(picture.pixels, Image.Image):
        return replace(picture, pixels=resize_and_crop(picture.pixels, size))
    return replace(picture, pixels=resize_bands(picture.pixels, size))


def _resized_with_mask(picture: Picture, mask: NDArray[np.bool_], size: int) -> Picture:
    """Each pixel of those that count alone: a weighted mean in which the others have no weight.

    A pixel of the result counts if more than half of what it is made of counts. Without this, a value such as -9999
    that stands for "no data" would leak into the pixels at the border of the mask. (Normalized convolution, Knutsson &
    Westin 1993.)
    """
    array = picture.array
    shares = np.asarray(resize_and_crop(Image.fromarray(mask.astype(np.float32)), size))
    divisor = np.where(shares > 0, shares, 1)
    weighted = (np.where(mask, band, 0).astype(np.float32) for band in array)
    bands = np.stack([np.asarray(resize_and_crop(Image.fromarray(band), size)) / divisor for band in weighted])
    return replace(picture, pixels=_as_stored(bands, array.dtype), mask=shares > 0.5)


def resize_bands(array: NDArray[Any], size: int) -> NDArray[Any]:
    """Each band of [C, H, W] by :func:`resize_and_crop`; other types than 8 bits as 32-bit floats, then rounded."""
    if array.dtype == np.uint8:
        return np.stack([np.asarray(resize_and_crop(Image.fromarray(band), size)) for band in array])
    bands = np.stack([np.asarray(resize_and_crop(Image.fromarray(band.astype(np.float32)), size)) for band in array])
    return _as_stored(bands, array.dtype)


def _as_stored(bands: NDArray[np.floating], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Floats in the type of the file: integers are rounded."""
    if dtype.kind == "f":
        return bands.astype(dtype, copy=False)
    limits = np.iinfo(dtype)
    return np.clip(np.rint(bands.astype(np.float64)), limits.min, limits.max).astype(dtype)


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
