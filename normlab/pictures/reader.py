"""From a file to a picture: one reader for each family of formats, chosen by the ending of the name."""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from normlab.errors import DataError, first_line
from normlab.files import is_special
from normlab.pictures import arrays, common_formats, medical, pnm, tiff
from normlab.pictures.picture import APPLIED, CorruptImageError, Picture, Reading, select_bands

Reader = Callable[[Path, Reading, int], Picture]

READERS: dict[str, Reader] = {
    **dict.fromkeys((".ppm", ".pgm", ".pnm", ".pfm"), pnm.read),
    **dict.fromkeys((".tif", ".tiff"), tiff.read),
    **dict.fromkeys((".npy", ".npz"), arrays.read),
    **dict.fromkeys((".dcm", ".dicom"), medical.read_dicom),
    **dict.fromkeys((".nii", ".nii.gz"), medical.read_nifti),
    **dict.fromkeys((".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".bmp", ".dib", ".gif"), common_formats.read),
    **dict.fromkeys(
        (".webp", ".avif", ".tga", ".pbm", ".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx"), common_formats.read
    ),
}
PAGES: dict[str, Callable[[Path, Reading], int]] = {
    **dict.fromkeys((".tif", ".tiff"), tiff.count_pages),
    **dict.fromkeys((".npy", ".npz"), arrays.count_pages),
    **dict.fromkeys((".dcm", ".dicom"), medical.count_frames),
    **dict.fromkeys((".nii", ".nii.gz"), medical.count_slices),
}
PAGES |= {suffix: common_formats.count_frames for suffix, reader in READERS.items() if reader is common_formats.read}
SUFFIXES = frozenset(READERS)
JPEG = b"\xff\xd8\xff"  # the first bytes
BY_CONTENT: dict[str, Reader] = {"tiff": tiff.read, "pnm": pnm.read}  # of files whose name says another format


def suffix_of(name: str) -> str | None:
    """The ending of a file's name if it is that of an image, in lower case, else None.

    >>> suffix_of("a.b.JPG"), suffix_of("brain.nii.gz"), suffix_of("notes.txt"), suffix_of("x.tar.gz")
    ('.jpg', '.nii.gz', None, None)
    """
    lower = name.lower()
    suffix = lower[lower.rfind(".") :] if "." in lower else ""
    if suffix == ".gz" and lower.endswith(".nii.gz"):
        suffix = ".nii.gz"
    return suffix if suffix in READERS else None


def count_pages(path: Path, reading: Reading) -> int:
    """Number of pages, frames or slices of a file; 1 for a file that cannot be read."""
    try:
        return 1 if is_special(path) else max(1, _pages_by_content(path, reading))
    except Exception:  # the reader will say what is wrong
        return 1


def _pages_by_content(path: Path, reading: Reading) -> int:
    counter = PAGES.get(suffix_of(path.name) or "")
    try:
        return 1 if counter is None else counter(path, reading)
    except common_formats.OtherFormatError as other:
        return tiff.count_pages(path, reading) if other.format == "tiff" else 1


def read_picture(path: Path, reading: Reading | None = None, page: int = 0) -> Picture:
    """One image of a file at its full depth.

    Palette, CMYK and similar images become RGB; an alpha channel is dropped, as torchvision's loader does.

    Args:
        path: the file.
        reading: how; None: by the defaults.
        page: which of the file's pages, frames or slices, from 0.

    Raises:
        CorruptImageError: if the file is missing, empty, truncated or no image; for several pages, unless it is said
            which of them count; and for NaN or infinity, unless these pixels are left out.
        DataError: if the bands that were asked for are not there.
    """
    reading = reading or Reading()
    _refuse_special(path)
    try:
        picture = _by_content(READERS[suffix_of(path.name) or ".png"], path, reading, page)
    except DataError:
        raise
    except Exception as error:  # decoders raise many types of errors on broken bytes
        raise CorruptImageError(f"{path}: {_reason(path, error)}") from None
    picture = select_bands(picture, reading.bands, path)
    if reading.mask is not None or not isinstance(picture.pixels, Image.Image):
        picture = _with_mask(picture, path, reading)
    return picture


def describe_picture(path: Path, reading: Reading | None = None, page: int = 0) -> Picture:
    """The picture of :func:`read_picture`, but of one black pixel where the header says everything else about it."""
    if READERS[suffix_of(path.name) or ".png"] is not common_formats.read or (reading and reading.mask):
        return read_picture(path, reading, page)
    reading = reading or Reading()
    _refuse_special(path)
    try:
        picture = _by_content(partial(common_formats.read, whole=False), path, reading, page)
        return select_bands(picture, reading.bands, path)
    except DataError:
        raise
    except Exception as error:  # as above
        raise CorruptImageError(f"{path}: {_reason(path, error)}") from None


def _by_content(reader: Reader, path: Path, reading: Reading, page: int) -> Picture:
    try:
        return reader(path, reading, page)
    except common_formats.OtherFormatError as other:
        return BY_CONTENT[other.format](path, reading, page)


def _refuse_special(path: Path) -> None:
    if is_special(path):  # whose reading may never end
        raise CorruptImageError(f"{path}: not a regular file, but a pipe, a socket or a device")


def _reason(path: Path, error: Exception) -> str:
    if isinstance(error, OSError) and error.errno == errno.ELOOP:
        return "a link that leads to itself"
    if isinstance(error, FileNotFoundError):
        return "a link to a file that is not there" if path.is_symlink() else "no such file"
    if isinstance(error, PermissionError):  # reading the size needs permission, too
        return "no permission to read it"
    if isinstance(error, Image.DecompressionBombError):
        return (
            f"more than {2 * (Image.MAX_IMAGE_PIXELS or 0):,} pixels, Pillow's limit; cut the image into smaller "
            f"ones, or save it as TIFF"
        )
    if path.stat().st_size == 0:
        return "the file is empty"
    if isinstance(error, UnidentifiedImageError):
        return "not an image, or broken at its beginning" + common_formats.what_else(path)
    if isinstance(error, OSError | SyntaxError):  # for Pillow, of files
        return first_line(error)
    return f"broken, or of an unknown kind ({first_line(error)})"


def _with_mask(picture: Picture, path: Path, reading: Reading) -> Picture:
    """Leave out the pixels that a value or a file of masks excludes, and refuse NaN and infinity elsewhere."""
    keep = picture.mask if reading.mask is not None else None
    if (value := reading.nodata) is not None:
        array = picture.array
        keep = ~np.isnan(array).any(0) if np.isnan(value) else ~(array == value).all(0)
    elif (folder := reading.mask_folder) is not None:
        keep, told = _mask_of(folder, path, picture.size)
        picture = picture.with_note(*told)
        if APPLIED in picture.notes:
            picture = picture.with_note("mask taken as upright already")
    stored = picture.pixels
    if not isinstance(stored, Image.Image) and stored.dtype.kind == "f":
        bad = ~np.isfinite(stored).all(0)
        if keep is not None:
            bad &= keep
        if count := int(bad.sum()):
            raise CorruptImageError(
                f"{path}: {count:,} of {bad.size:,} pixels are NaN or infinite; data.mask=nodata=nan leaves NaN out of "
                f"statistics"
            )
    if keep is not None and keep.all():
        keep = None
    return picture if keep is picture.mask else replace(picture, mask=keep)


@cache
def _masks_below(folder: Path) -> dict[tuple[str, ...], Path]:
    """Each mask below a folder, by every tail of its path without the ending."""
    tails: dict[tuple[str, ...], Path] = {}
    for file in sorted(folder.rglob("*")):
        if suffix_of(file.name):
            parts = file.relative_to(folder).with_suffix("").parts
            for start in range(len(parts)):
                tails.setdefault(parts[start:], file)
    return tails


def mask_file(folder: Path, path: Path) -> Path | None:
    """The mask of an image: the file below a folder whose path has the longest end in common with the image's.

    None if there is none, or it is that of an image in another folder: masks/b/0.png is none of a/0.png beside b/.

    Raises:
        DataError: if there is no such folder.
    """
    if not folder.is_dir():
        raise DataError(
            f"data.mask={folder}: expected alpha, nodata=VALUE or a folder of masks; there is no such folder"
        )
    tails, parts = _masks_below(folder), path.with_suffix("").parts
    starts = range(max(0, len(parts) - 5), len(parts))
    found = ((tails[parts[start:]], len(parts) - start) for start in starts if parts[start:] in tails)
    for file, common in found:
        if file != path and not (path.exists() and file.samefile(path)):
            if len(file.relative_to(folder).parts) <= common:
                return file
            own = file.parents[common - 1]
            beside = path.parents[common] / own.name
            return None if beside.is_dir() and not beside.samefile(own) else file
    return None


def _mask_of(folder: Path, path: Path, size: tuple[int, int]) -> tuple[np.ndarray, tuple[str, ...]]:
    """The mask of an image, and a note on how it was read."""
    file = mask_file(folder, path)
    if file is None:
        raise CorruptImageError(f"{path}: no mask {path.stem} in {folder}")
    mask = read_picture(file, Reading(pages="first"))
    if mask.size != size:
        raise CorruptImageError(
            f"{path}: {size[0]}x{size[1]} pixels, but its mask {file} has {mask.size[0]}x{mask.size[1]}"
        )
    with file.open("rb") as opened:
        if opened.read(len(JPEG)) != JPEG:
            return (mask.array != 0).any(0), ()
    values = mask.array.max(0)
    # Its compression leaves small values around the edges of what was 0.
    if 0 < values.max() < 128:
        raise CorruptImageError(
            f"{path}: its mask {file} is a JPEG with values up to {values.max()}, which its compression has changed; "
            f"save masks as PNG"
        )
    return values >= 128, ("mask in a JPEG, from 128 on",)
