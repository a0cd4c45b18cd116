"""TIFF of any depth, number of bands and pages, by tifffile; plain 8-bit files by Pillow, which is faster."""

from __future__ import annotations

import json
import logging
import math
import struct
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from normlab.errors import first_line
from normlab.pictures import common_formats
from normlab.pictures.common_formats import CODECS, ORIENTATION, check_pages, from_pillow
from normlab.pictures.picture import (
    UNDO,
    UPRIGHT,
    CorruptImageError,
    Picture,
    Reading,
    alpha_note,
    as_type,
    oriented,
    turned,
)

logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # it logs a line for each odd tag; errors are raised here

WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, MASK = 0, 1, 2, 4
BITS_PER_SAMPLE, ICC_PROFILE, GDAL_NODATA = 258, 34675, 42113
STRIP_OFFSETS, TILE_OFFSETS = 273, 324
# Width and height, samples, compression, strips and tiles, resolution, software, extra samples, sample format, GDAL's
# and the positions of GeoTIFF (TIFF 6.0, 1992, appendix A; OGC GeoTIFF 1.1).
BASELINE = {254, *range(256, 260), 262, 266, *range(269, 275), *range(277, 285), 296, 305, 306, 315, 317}
BASELINE |= {*range(322, 326), 338, 339, 33550, 33922, 34264, *range(34735, 34738), 42112, GDAL_NODATA}
UNSIGNED = 1  # kind of the samples
ASSOCIATED, UNASSOCIATED = 1, 2  # kinds of alpha among the extra samples


def read(path: Path, reading: Reading, page: int) -> Picture:
    """One page of a TIFF file. White is the largest value of the declared bits; where 0 is white, it is inverted."""
    with path.open("rb") as opened:  # once; and with a path tifffile looks up each folder above it
        if not _is_tiff(opened):
            return common_formats.read(path, reading, page)  # PNG under this name, say; or what says that it is none
        plain = _plain(path, opened)
        return _by_tifffile(path, opened, reading, page) if plain is None else plain


def _is_tiff(file: BinaryIO) -> bool:
    """Whether a file begins as Pillow and tifffile take for TIFF, or is empty."""
    start = file.read(4)
    file.seek(0)
    return start in (b"", b"II*\0", b"MM\0*", b"II\0*", b"MM*\0", b"II+\0", b"MM\0+")


def _by_tifffile(path: Path, opened: BinaryIO, reading: Reading, page: int) -> Picture:
    import tifffile  # here, because most folders do not need it

    opened.seek(0)
    try:
        with tifffile.TiffFile(opened) as file:
            places = _places(file)
            several = check_pages(path, len(places), reading, "pages")
            series, index, count = places[page]
            key = series.keyframe
            notes: tuple[str, ...] = ("several pages, the first read",) if several and reading.pages == "first" else ()
            if len(file.pages) > 1 and len(file.series) > 1 and any(one.keyframe.is_reduced for one in file.series):
                notes += ("a reduced copy (thumbnail) in the file, left out",)
            if len(file.pages) > 1 and key.photometric != MASK and any(_is_mask(one) for one in file.series):
                notes += ("a mask in the file, not used",)
            nodata = key.tags.get(GDAL_NODATA)
            if nodata is not None and reading.mask is None:
                value = str(nodata.value).strip("\0 ")
                notes += (
                    f"declares nodata {value}, which counts as pixels (data.mask=nodata={value} leaves them out)",
                )
            orientation = int(key.tags[ORIENTATION].value) if ORIENTATION in key.tags else 1
            if ICC_PROFILE in key.tags:
                notes += common_formats.profile_note(key.tags[ICC_PROFILE].value)
            if key.photometric not in (WHITE_IS_ZERO, BLACK_IS_ZERO, RGB) or key.bitspersample == 1:
                picture = _converted(path, series, index, reading)
            else:
                picture = _picture(path, series, index, count, reading)
    except (tifffile.TiffFileError, struct.error, IndexError) as error:
        reason = (
            "the file is empty"
            if path.stat().st_size == 0
            else f"not an image, or broken at its beginning ({first_line(error)})"
        )
        raise CorruptImageError(f"{path}: {reason}") from None
    return oriented(picture, orientation, reading).with_note(*notes)


def _plain(path: Path, file: BinaryIO) -> Picture | None:
    """The picture if it is one page of 8 bits, gray or RGB, without anything else; None otherwise."""
    try:
        if _first_bits(file) not in (8, None):
            return None  # without Pillow's reading of the header, which takes as long as tifffile's
        with Image.open(path) as opened:
            if opened.mode not in ("L", "RGB") or getattr(opened, "n_frames", 1) > 1:
                return None
            tags: Any = opened.tag_v2  # type: ignore[attr-defined]
            bits = tags.get(BITS_PER_SAMPLE, (1,))
            if set(bits if isinstance(bits, tuple) else (bits,)) != {8} or tags.get(262) not in (BLACK_IS_ZERO, RGB):
                return None
            if set(tags.get(339, (1,))) != {1} or tags.get(338) or tags.get(277, 1) != len(opened.getbands()):
                return None
            if tags.get(ORIENTATION, 1) != 1 or GDAL_NODATA in tags:
                return None
            # A strip or tile at the place 0 has no data (SPARSE_OK of GDAL): Pillow would read the header as pixels.
            if 0 in (*tags.get(STRIP_OFFSETS, ()), *tags.get(TILE_OFFSETS, ())):
                return None
            opened.load()
            return Picture(opened, notes=common_formats.profile_note(opened.info.get("icc_profile")))
    except FileNotFoundError:
        raise
    except Exception:  # tifffile reads more, and says more about what is wrong
        return None


def _first_bits(file: BinaryIO) -> int | None:
    """Bits of the first sample that the first page declares; None where the file does not say so in the usual way.

    TIFF 6.0 (1992), sections 2 and 8: BitsPerSample is tag 258, of the type 3, 16 bits.
    """
    start = file.read(8)
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(start[:4])
    if order is None:
        return None
    file.seek(struct.unpack(order + "I", start[4:])[0])
    (count,) = struct.unpack(order + "H", file.read(2))
    for tag, kind, values, content in struct.iter_unpack(order + "HHI4s", file.read(12 * count)):
        if tag == BITS_PER_SAMPLE:
            if kind != 3:
                return None
            if values > 2:  # the content is then the place of the values
                file.seek(struct.unpack(order + "I", content)[0])
                content = file.read(2)
            return struct.unpack(order + "H", content[:2])[0]
    return None


def count_pages(path: Path, reading: Reading) -> int:
    """Number of pages of a TIFF file."""
    import tifffile

    with path.open("rb") as opened:
        if not _is_tiff(opened):
            return common_formats.count_frames(path, reading)
    with tifffile.TiffFile(path) as file:
        return len(_places(file))


def _places(file: Any) -> list[tuple[Any, int, int]]:
    """Each page as its series, its number in the series, and the number of pages of the series."""
    if _is_simple(file):  # what file.series finds out in a third of the time that a small file takes
        from tifffile import TiffPageSeries

        page = file.pages[0]
        return [(TiffPageSeries([page], page.shape, page.dtype, page.axes), 0, 1)]
    whole = [one for one in file.series if not (one.keyframe.is_reduced or _is_mask(one))] or list(file.series)
    return [
        (one, index, count)
        for one in whole
        for count in [math.prod(n for axis, n in zip(one.axes, one.shape, strict=True) if axis not in "YXSC")]
        for index in range(count)
    ]


def _is_mask(series: Any) -> bool:
    return series.keyframe.photometric == MASK or bool(series.keyframe.subfiletype & 4)


def _is_simple(file: Any) -> bool:
    """Whether a file is one page of the baseline's tags, and says nothing else of its shape."""
    if len(file.pages) != 1 or not BASELINE.issuperset(file.pages[0].tags.keys()):
        return False
    page = file.pages[0]
    if not page.description:
        return True
    try:
        shape = json.loads(page.description)["shape"]  # as tifffile writes
        return [side for side in shape if side != 1] == [side for side in page.shape if side != 1]
    except (ValueError, KeyError, TypeError):  # ImageJ, OME and others have formats of their own
        return False


def _picture(path: Path, series: Any, index: int, count: int, reading: Reading) -> Picture:
    key = series.keyframe
    if key.dtype is None:  # tifffile knows no type of such numbers
        raise _of_odd_samples(path, key)
    notes = _require_parts(path, series, index, count)
    array = _bands(path, series, index, count)
    bits = key.bitspersample if isinstance(key.bitspersample, int) else max(key.bitspersample)
    mask = None
    extra = tuple(int(kind) for kind in (key.extrasamples or ()))
    alphas = [place for place, kind in enumerate(extra, -len(extra)) if kind in (ASSOCIATED, UNASSOCIATED)]
    if alphas and len(array) > len(extra) and "S" in series.axes:
        notes, mask = (*notes, *alpha_note(reading)), array[alphas[-1]] > 0
        if ASSOCIATED in extra:
            notes += ("colors multiplied by alpha (premultiplied), as stored",)
        array = np.delete(array, alphas, axis=0)
    values, more = as_type(array, path)
    has_range = array.dtype.kind == "u" and bits < 32
    white = float(2**bits - 1) if has_range and bits not in (8, 16) else None
    if key.photometric == WHITE_IS_ZERO:
        if not has_range:
            more += ("white is 0 in the file, but the type has no range to invert in",)
        else:
            values = (2**bits - 1 - values.astype(np.int64)).astype(values.dtype)
            more += ("white is 0 in the file, inverted",)
    return Picture(values, white=white, notes=notes + more, mask=mask)


def _require_parts(path: Path, series: Any, index: int, count: int) -> tuple[str, ...]:
    """Refuse a page whose strips or tiles are not all listed; and a note on those that are listed without data.

    tifffile fills both with 0, or with the declared nodata. GDAL writes the latter (SPARSE_OK) where a tile is empty.
    """
    expected = math.prod(series.keyframe.chunked)
    empty = 0
    for page in [series.pages[index]] if len(series.pages) == count else series.pages:
        listed = 0 if page is None else len(page.dataoffsets)
        if listed < expected:
            raise CorruptImageError(f"{path}: damaged: {listed:,} of {expected:,} strips or tiles of a page")
        empty += sum(not length for length in page.databytecounts)
    return ("strips or tiles without data, filled with nodata or 0",) if empty else ()


def _bands(path: Path, series: Any, index: int, count: int) -> NDArray[Any]:
    """One page of a series, [C, H, W]."""
    axes, shape = series.axes, series.shape
    try:
        if "C" not in axes and len(series.pages) == count:
            array = np.asarray(series.pages[index].asarray())
            axes = "".join(axis for axis in axes if axis in "YXS")
            array = array.reshape([n for axis, n in zip(series.axes, shape, strict=True) if axis in "YXS"])
        else:
            array = np.asarray(series.asarray())
            others = [place for place, axis in enumerate(axes) if axis not in "YXSC"]
            array = np.moveaxis(array, others, range(len(others)))
            array = array.reshape(count, *array.shape[len(others) :])[index]
            axes = "".join(axis for axis in axes if axis in "YXSC")
    except (ValueError, NotImplementedError, KeyError, ImportError) as error:
        # tifffile asks for imagecodecs, or for the module of a newer Python that unpacks Zstandard.
        if "imagecodecs" not in str(error) and not isinstance(error, NotImplementedError | ImportError):
            raise
        return _without_codec(path, series, index)
    bands = [place for place, axis in enumerate(axes) if axis in "SC"]
    array = np.moveaxis(array, bands, range(len(bands)))
    if axes.index("X") < axes.index("Y"):
        array = np.swapaxes(array, -1, -2)
    return np.ascontiguousarray(array.reshape(-1, *array.shape[-2:]))


def _without_codec(path: Path, series: Any, index: int) -> NDArray[Any]:
    """What tifffile needs imagecodecs for: packed bits by numpy, and what Pillow reads at its full depth."""
    page = _page(series, index)
    key = series.keyframe
    if key.compression == 1 and key.predictor == 1 and not key.is_tiled and isinstance(key.bitspersample, int):
        return _unpack(path, page, key)
    try:
        array = _by_pillow(path, key, page.index)
    except UnidentifiedImageError:
        array = None
    if array is None:
        raise CorruptImageError(
            f"{path}: TIFF with the compression {key.compression.name}, {key.bitspersample} bits and "
            f"{key.photometric.name} needs the package imagecodecs: {CODECS}"
        )
    return array


def _by_pillow(path: Path, key: Any, page: int) -> NDArray[Any] | None:
    """The samples as they are stored, if Pillow reads them at their full depth."""
    with Image.open(path) as image:
        opened: Any = image
        if page:
            opened.seek(page)
        depth = {"L": 8, "RGB": 8, "RGBA": 8, "I;16": 16, "I;16B": 16}.get(opened.mode)
        if depth != key.bitspersample or len(opened.getbands()) != key.samplesperpixel:
            return None
        # Premultiplied colors, which Pillow divides by alpha (RGBa), count as they are stored under any compression.
        opened.tile = [
            one._replace(args=tuple("RGBA" if value == "RGBa" else value for value in one.args)) for one in opened.tile
        ]
        orientation = opened.tag_v2.get(ORIENTATION, 1)
        array = np.asarray(opened)
        if key.photometric == WHITE_IS_ZERO and opened.mode == "L":  # Pillow has inverted it
            array = 255 - array
        array = array[None] if array.ndim == 2 else array.transpose(2, 0, 1)
        return UPRIGHT[UNDO[orientation]](array) if orientation in UNDO else array  # Pillow turns TIFF upright


def _of_odd_samples(path: Path, key: Any) -> CorruptImageError:
    return CorruptImageError(
        f"{path}: TIFF of {key.bitspersample} bits that are no unsigned integers (SampleFormat "
        f"{int(key.sampleformat)}); save it with 16 or 32 bits"
    )


def _unpack(path: Path, page: Any, key: Any) -> NDArray[Any]:
    """Uncompressed samples of any number of bits; each row begins at a byte."""
    bits, samples = key.bitspersample, key.samplesperpixel
    if key.sampleformat != UNSIGNED:
        raise _of_odd_samples(path, key)
    is_separate = key.planarconfig == 2
    in_row = key.imagewidth * (1 if is_separate else samples)
    row_bytes = -(-in_row * bits // 8)
    content = b""
    with path.open("rb") as file:
        for offset, length in zip(page.dataoffsets, page.databytecounts, strict=True):
            file.seek(offset)
            content += file.read(length)
    rows = key.imagelength * (samples if is_separate else 1)
    if len(content) < rows * row_bytes:
        raise CorruptImageError(f"{path}: truncated, {len(content):,} of {rows * row_bytes:,} bytes")
    packed = np.frombuffer(content, np.uint8, rows * row_bytes).reshape(rows, row_bytes)
    stream = np.unpackbits(packed, axis=1)[:, : in_row * bits].reshape(rows, in_row, bits)
    values = stream.astype(np.uint32) @ (1 << np.arange(bits - 1, -1, -1, dtype=np.uint32))
    values = values.astype(np.uint8 if bits <= 8 else np.uint16 if bits <= 16 else np.uint32)
    if is_separate:
        return values.reshape(samples, key.imagelength, key.imagewidth)
    return values.reshape(key.imagelength, key.imagewidth, samples).transpose(2, 0, 1)


def _page(series: Any, index: int) -> Any:
    """A page of a series. Its ``index`` is Pillow's number of it: among all pages, reduced copies and masks too."""
    return series.pages[index] if len(series.pages) > index else series.keyframe


def _converted(path: Path, series: Any, index: int, reading: Reading) -> Picture:
    """Palettes, CMYK, YCbCr, Lab and single bits, as Pillow converts them."""
    key, page = series.keyframe, _page(series, index)
    bits = key.bitspersample if isinstance(key.bitspersample, int) else max(key.bitspersample)
    if bits > 8:
        raise CorruptImageError(
            f"{path}: TIFF of {key.photometric.name} with {bits} bits, of which Pillow would keep 8; save it as RGB"
        )
    if 0 in page.dataoffsets:
        raise CorruptImageError(
            f"{path}: TIFF of {key.photometric.name} with strips or tiles without data, which Pillow would take from "
            f"the header; save it as RGB"
        )
    # Pillow 13 mixes up the rows of a file that it maps into memory and that has an orientation; so give it no path.
    with path.open("rb") as file, Image.open(file) as opened:
        if page.index:
            opened.seek(page.index)
        orientation = opened.tag_v2.get(ORIENTATION, 1)  # type: ignore[attr-defined]
        opened.load()
        picture = from_pillow(opened, path, reading)
        if bits == 1 and key.photometric == WHITE_IS_ZERO:
            picture = picture.with_note("white is 0 in the file, inverted")
        # Pillow turns TIFF alone upright.
        return turned(picture, UNDO[orientation]) if orientation in UNDO else picture
