"""NumPy arrays in .npy and .npz files."""

from __future__ import annotations

import math
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from normlab.errors import first_line
from normlab.pictures import common_formats
from normlab.pictures.common_formats import check_pages
from normlab.pictures.picture import CorruptImageError, Picture, Reading, as_type

MOST_BANDS = 16  # that an array has whose axes are not declared; a stack of gray images has more


def read(path: Path, reading: Reading, page: int) -> Picture:
    """An array [H, W], [C, H, W] or [H, W, C], or one of a stack of such arrays with four dimensions."""
    array = _loaded(path)
    if array.ndim == 4 and len(array):
        check_pages(path, len(array), reading, "images")
        array = array[page]
    return _as_picture(array, path, reading)


def count_pages(path: Path, reading: Reading) -> int:
    """Number of images in an array: of four dimensions, the length of the first."""
    array = _loaded(path)
    return len(array) if array.ndim == 4 else 1


def _loaded(path: Path) -> NDArray[Any]:
    return _array(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=2)
def _array(path: Path, changed: int) -> NDArray[Any]:
    if path.suffix.lower() == ".npy":
        try:
            return np.load(path, mmap_mode="r", allow_pickle=False)
        except ValueError as error:
            raise _as_corrupt(path, error) from None
    try:
        with np.load(path, allow_pickle=False) as arrays:
            if len(arrays.files) != 1:
                names = ", ".join(arrays.files[:5])
                raise CorruptImageError(
                    f"{path}: holds {len(arrays.files)} arrays ({names}); expected one image in a file"
                )
            return arrays[arrays.files[0]]
    except ValueError as error:
        raise _as_corrupt(path, error) from None


def _as_corrupt(path: Path, error: ValueError) -> CorruptImageError:
    with path.open("rb") as file:
        start = file.read(4)
    if start not in (b"\x93NUM", b"PK\3\4", b"PK\5\6"):  # numpy takes whatever else there is for pickled objects
        return CorruptImageError(f"{path}: not an array of numpy{_what_instead(path)}")
    if "pickle" in str(error) or "Python objects" in str(error):
        return CorruptImageError(f"{path}: Python objects, not numbers; save a plain array with numpy.save")
    return CorruptImageError(f"{path}: not readable as an array of numpy ({first_line(error)})")


def _what_instead(path: Path) -> str:
    try:
        with Image.open(path) as opened:
            return f" (an image of the format {opened.format}: let its name end so)"
    except UnidentifiedImageError:
        return common_formats.what_else(path)


def _as_picture(array: NDArray[Any], path: Path, reading: Reading) -> Picture:
    if array.ndim not in (2, 3) or not math.prod(array.shape):
        raise CorruptImageError(
            f"{path}: an array of shape {list(array.shape)}; expected [H, W], [C, H, W] or [H, W, C]"
        )
    if array.ndim == 2:
        array = array[None]
    else:
        axes = reading.axes
        if axes is None:
            if array.shape[0] == array.shape[2]:
                raise CorruptImageError(
                    f"{path}: of the shape {list(array.shape)}, the first or the last axis may hold the bands; give "
                    f"data.axes=chw or data.axes=hwc"
                )
            axes = "chw" if array.shape[0] < array.shape[2] else "hwc"
            fewest, most = sorted((array.shape[0], array.shape[2]))
            side = array.shape[1]
            if fewest == side:  # square if the longer axis holds the bands, as in a patch of a hyperspectral scene
                raise CorruptImageError(
                    f"{path}: an array of shape {list(array.shape)}: {fewest} bands, or {most} bands of {side}x{side} "
                    f"pixels? Give data.axes=chw or data.axes=hwc"
                )
            if fewest > MOST_BANDS:
                raise CorruptImageError(
                    f"{path}: an array of shape {list(array.shape)}: many bands, or many gray images? Give "
                    f"data.axes=chw or data.axes=hwc for bands, or save images as [N, 1, H, W]"
                )
        array = array if axes == "chw" else array.transpose(2, 0, 1)
    values, notes = as_type(array, path)
    return Picture(values, notes=notes)
