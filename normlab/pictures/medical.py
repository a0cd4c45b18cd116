"""DICOM and NIfTI files in the units that they declare, by pydicom and nibabel (``normlab[medical]``)."""

from __future__ import annotations

import math
from dataclasses import dataclass
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

    Or the values of its modality LUT. Without both, white is the largest value of the declared bits, and MONOCHROME1,
    where 0 is white, is inverted.
    """
    file = _dicom(path, path.stat().st_mtime_ns)
    check_pages(path, len(file.frames), reading, "frames")
    values, more = as_type(file.frames[page], path)
    padding = None if file.padding is None else file.padding[page]
    if padding is not None and reading.mask is None and (values == padding).any():
        more += (
            f"declares padding {padding:.9g}, which counts as pixels (data.mask=nodata={padding:.9g} leaves them out)",
        )
    return Picture(values, white=file.white, notes=file.notes + more)


def count_frames(path: Path, reading: Reading) -> int:
    """Number of frames of a DICOM file."""
    return len(_dicom(path, path.stat().st_mtime_ns).frames)


@dataclass(frozen=True)
class _Dicom:
    """What a DICOM file holds.

    Attributes:
        frames: [N, C, H, W], in the units of the file.
        white: the largest value of the declared bits, if the values have no unit and their type does not say it.
        notes: how the values were changed.
        padding: the value of pixels outside the scanned region, as it is in each frame, if there is one.
    """

    frames: NDArray[Any]
    white: float | None
    notes: tuple[str, ...]
    padding: list[float] | None


@lru_cache(maxsize=2)
def _dicom(path: Path, changed: int) -> _Dicom:
    try:
        import pydicom
        from pydicom.pixels import apply_color_lut
    except ImportError:
        raise CorruptImageError(f"{path}: DICOM needs the package pydicom: {INSTALL}") from None
    try:
        data = pydicom.dcmread(path)
        if "PixelData" not in data and "FloatPixelData" not in data and "DoubleFloatPixelData" not in data:
            raise CorruptImageError(f"{path}: a DICOM file without pixels")
        if not data.file_meta.TransferSyntaxUID.is_encapsulated:
            _require_low_bits(data, path)
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
    frames, white, more = _in_units(array, data, interpretation)
    padding = None if in_color else data.get("PixelPaddingValue")
    if padding is not None and array.dtype.kind in "iu" and np.can_cast(np.min_scalar_type(padding), array.dtype):
        # Through the same steps as the pixels; a value that their type does not hold occurs nowhere.
        stored = np.full((len(array), 1, 1, 1), padding, array.dtype)
        padding = _in_units(stored, data, interpretation)[0].astype(np.float64).ravel().tolist()
    else:
        padding = None
    full = {1: 255.0, 2: 65535.0}.get(frames.dtype.itemsize)
    return _Dicom(frames, None if white == full else white, notes + more, padding)


def _require_low_bits(data: Any, path: Path) -> None:
    """Refuse values in the upper bits of their words, as old files have them: pydicom takes the lower bits for them.

    DICOM PS3.3, C.7.6.3: the high bit is one less than the bits stored. Where it is another by mistake, the lower bits
    are in use.
    """
    bits, high = int(data.get("BitsStored", 0)), int(data.get("HighBit", 0))
    if data.get("BitsAllocated") != 16 or not 0 < bits <= high < 16 or "PixelData" not in data:
        return
    words = np.frombuffer(data.PixelData, "<u2", len(data.PixelData) // 2)
    if words.any() and not (words & (1 << (high + 1 - bits)) - 1).any():
        raise CorruptImageError(
            f"{path}: its {bits} bits end at bit {high}, where pydicom does not read them; save it with values that "
            f"end at bit {bits - 1}"
        )


def _in_units(
    array: NDArray[Any], data: Any, interpretation: str
) -> tuple[NDArray[Any], float | None, tuple[str, ...]]:
    """Stored values in the units that the file declares, their white if they have none, and notes.

    DICOM PS3.3, C.11.1: a modality LUT or a rescale, not both; C.7.6.3.1.2: MONOCHROME1.
    """
    is_inverted = interpretation == "MONOCHROME1"
    not_inverted = ("MONOCHROME1 (0 is white), rescaled and not inverted",) if is_inverted else ()
    if data.get("ModalityLUTSequence"):
        from pydicom.pixels import apply_modality_lut

        table = data.ModalityLUTSequence[0]
        of_bits = float(2 ** int(table.LUTDescriptor[2]) - 1)
        return apply_modality_lut(array, data), of_bits, ("modality LUT, applied", *not_inverted)
    scales = [_scale(data, frame) for frame in range(len(array))]
    if set(scales) != {(1.0, 0.0)}:
        if len(set(scales)) == 1:
            return _rescaled(array, *scales[0]), None, not_inverted
        frames = [_rescaled(frame[None], *scale) for frame, scale in zip(array, scales, strict=True)]
        return np.concatenate(frames), None, ("another rescale in each frame, applied", *not_inverted)
    bits = int(data.get("BitsStored", 8 * array.dtype.itemsize))
    white = float(2**bits - 1) if array.dtype.kind == "u" and interpretation != "PALETTE COLOR" else None
    if not is_inverted:
        return array, white, ()
    if array.dtype.kind == "f":
        return array, white, ("MONOCHROME1 (0 is white), of floats and not inverted",)
    # Of signed values, whose range is -2^(bits - 1)..2^(bits - 1) - 1, smallest and largest change places, too.
    ends = 2**bits - 1 if array.dtype.kind == "u" else -1
    return (ends - array.astype(np.int64)).astype(array.dtype), white, ("MONOCHROME1 (0 is white), inverted",)


def _scale(data: Any, frame: int) -> tuple[float, float]:
    """Rescale slope and intercept of a frame: of the file, or, of an enhanced multi-frame file, of its group.

    DICOM PS3.3, C.7.6.16: the functional groups of each frame and of all; C.7.6.16.2.9: pixel value transformation.
    """
    groups = [*data.get("PerFrameFunctionalGroupsSequence", [])[frame : frame + 1]]
    groups += data.get("SharedFunctionalGroupsSequence", [])
    for holder in [*(one for group in groups for one in group.get("PixelValueTransformationSequence", [])), data]:
        if "RescaleSlope" in holder or "RescaleIntercept" in holder:
            return float(holder.get("RescaleSlope", 1) or 1), float(holder.get("RescaleIntercept", 0) or 0)
    return 1.0, 0.0


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
    # By the header, not by the values: of floats, an empty volume would be of another type than the rest of its set.
    is_whole = volume.get_data_dtype().kind in "iu" and all(
        float(number).is_integer() for number in (volume.dataobj.slope, volume.dataobj.inter)
    )
    if data.dtype.kind == "f" and is_whole and np.abs(data).max(initial=0) < 2**15:
        return data.astype(np.int16)
    return data
