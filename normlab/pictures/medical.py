"""DICOM and NIfTI files in the units that they declare, by pydicom and nibabel (``normlab[medical]``)."""

from __future__ import annotations

import math
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from normlab.errors import first_line
from normlab.pictures.common_formats import check_pages
from normlab.pictures.picture import CorruptImageError, Picture, Reading, as_type

INSTALL = "pip install 'normlab[medical]'"


def read_dicom(path: Path, reading: Reading, page: int) -> Picture:
    """A frame of a DICOM file: stored values times the rescale slope plus the intercept, such as Hounsfield units.

    Without a rescale, white is the largest value of the declared bits. MONOCHROME1, where 0 is white, is inverted then.
    """
    array, white, notes = _dicom(path, path.stat().st_mtime_ns)
    check_pages(path, len(array), reading, "frames")
    values, more = as_type(array[page], path)
    return Picture(values, white=white, notes=notes + more)


def count_frames(path: Path, reading: Reading) -> int:
    """Number of frames of a DICOM file."""
    return len(_dicom(path, path.stat().st_mtime_ns)[0])


@lru_cache(maxsize=2)
def _dicom(path: Path, changed: int) -> tuple[NDArray[Any], float | None, tuple[str, ...]]:
    """Frames [N, C, H, W], declared white, notes."""
    try:
        import pydicom
        from pydicom.pixels import apply_color_lut
    except ImportError:
        raise CorruptImageError(f"{path}: DICOM needs the package pydicom: {INSTALL}") from None
    try:
        data = pydicom.dcmread(path)
        if "PixelData" not in data and "FloatPixelData" not in data and "DoubleFloatPixelData" not in data:
            raise CorruptImageError(f"{path}: a DICOM file without pixels")
        pixels = data.pixel_array
    except pydicom.errors.InvalidDicomError:
        raise CorruptImageError(f"{path}: not a DICOM file, or broken at its beginning") from None
    except (RuntimeError, NotImplementedError, AttributeError, ValueError) as error:
        raise CorruptImageError(f"{path}: pydicom cannot decode it ({first_line(error)})") from None
    interpretation = str(data.get("PhotometricInterpretation", ""))
    notes: tuple[str, ...] = ()
    if interpretation == "PALETTE COLOR":
        pixels = apply_color_lut(pixels, data)
        notes = ("palette, converted to RGB",)
    in_color = data.get("SamplesPerPixel", 1) > 1 or interpretation == "PALETTE COLOR"
    if pixels.ndim == 2 + in_color:
        pixels = pixels[None]
    array = pixels.transpose(0, 3, 1, 2) if in_color else pixels[:, None]
    slope, intercept = float(data.get("RescaleSlope", 1) or 1), float(data.get("RescaleIntercept", 0) or 0)
    if (slope, intercept) != (1.0, 0.0):
        if interpretation == "MONOCHROME1":
            notes += ("MONOCHROME1 (0 is white), rescaled and not inverted",)
        return _rescaled(array, slope, intercept), None, notes
    bits = int(data.get("BitsStored", 8 * array.dtype.itemsize))
    white = float(2**bits - 1) if array.dtype.kind == "u" and interpretation != "PALETTE COLOR" else None
    if interpretation == "MONOCHROME1" and white is not None:
        array, notes = (
            (int(white) - array.astype(np.int64)).astype(array.dtype),
            (*notes, "MONOCHROME1 (0 is white), inverted"),
        )
    full = {1: 255.0, 2: 65535.0}.get(array.dtype.itemsize)
    return array, None if white == full else white, notes


def _rescaled(array: NDArray[Any], slope: float, intercept: float) -> NDArray[Any]:
    """Integers where slope and intercept are whole, else floats."""
    if not (slope.is_integer() and intercept.is_integer() and array.dtype.kind in "iu"):
        return array.astype(np.float64) * slope + intercept
    whole = array.astype(np.int64) * int(slope) + int(intercept)
    return whole.astype(np.int16) if -32768 <= whole.min() <= whole.max() <= 32767 else whole


def read_nifti(path: Path, reading: Reading, page: int) -> Picture:
    """A slice of a NIfTI volume [X, Y, Z, ...] along its third and later axes: an image [Y, X], as scaled there."""
    volume = _nifti(path, path.stat().st_mtime_ns)
    count = math.prod(volume.shape[2:])
    check_pages(path, count, reading, "slices")
    place: Any = (..., *np.unravel_index(page, volume.shape[2:], order="F")) if volume.ndim > 2 else ...
    values, notes = as_type(volume[place].T[None], path)
    return Picture(values, notes=notes)


def count_slices(path: Path, reading: Reading) -> int:
    """Number of slices of a NIfTI volume."""
    return math.prod(_nifti(path, path.stat().st_mtime_ns).shape[2:])


@lru_cache(maxsize=2)
def _nifti(path: Path, changed: int) -> NDArray[Any]:
    try:
        import nibabel
    except ImportError:
        raise CorruptImageError(f"{path}: NIfTI needs the package nibabel: {INSTALL}") from None
    try:
        volume: Any = nibabel.load(path)
        data = np.asanyarray(volume.dataobj)
    except (nibabel.filebasedimages.ImageFileError, nibabel.spatialimages.HeaderDataError) as error:
        raise CorruptImageError(f"{path}: not a NIfTI file, or broken ({first_line(error)})") from None
    if data.dtype.kind not in "iuf" or data.ndim < 2:
        raise CorruptImageError(f"{path}: a volume of {data.dtype} {list(data.shape)}; expected numbers [X, Y, Z, ...]")
    if data.dtype.kind == "f" and np.array_equal(data, np.rint(data)) and np.abs(data).max(initial=0) < 2**15:
        return data.astype(np.int16) if not np.issubdtype(data.dtype, np.float32) else data
    return data
