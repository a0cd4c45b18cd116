"""Files as other programs write them: right values from the arrays before they were written, and what is told."""

import shutil
import struct
import sys
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image, PngImagePlugin

from normlab.data import dataset
from normlab.errors import DataError
from normlab.inspect import inspect
from normlab.inspection.report import report, text_of
from normlab.pictures import CorruptImageError, Reading, count_pages, read_picture
from tests.data.png_files import chunk, png, rows

RNG = np.random.default_rng(11)
GRAY, COLOR = (RNG.integers(0, 65536, shape).astype(np.uint16) for shape in ((20, 26), (20, 26, 3)))
SMALL, RGB = (RNG.integers(0, 256, shape).astype(np.uint8) for shape in ((20, 26), (20, 26, 3)))
PALETTE = RNG.integers(0, 256, (8, 3)).astype(np.uint8)
PLACES = RNG.integers(0, 8, (20, 26)).astype(np.uint8)
ALPHA = np.where(RNG.random((20, 26)) > 0.5, 65535, 0).astype(np.uint16)


def seen(*arguments):
    label, _, subject = inspect(list(map(str, arguments)))
    content = report(subject.train, subject.total, resamples=20, with_conditioning=False, subject=subject)
    return content, text_of(label, content)


def palette(path, **chunks):
    data = np.hstack([np.zeros((20, 1), np.uint8), PLACES]).tobytes()
    before = [(b"PLTE", PALETTE.tobytes()), *((name.encode(), content) for name, content in chunks.items())]
    png(path, PLACES, data, depth=8, color=3, before=before)


def gray_8(path, array, **chunks):
    data = np.hstack([np.zeros((len(array), 1), np.uint8), array]).tobytes()
    png(path, array, data, depth=8, color=0, before=[(name.encode(), content) for name, content in chunks.items()])


def pgm(path, values, largest=1023):
    path.write_bytes(b"P5\n26 20\n%d\n" % largest + values.astype(">u2").tobytes())


# A file's name, what writes it, its pixels [H, W, C] or [H, W], its white.
VALUES = {
    "gray.png": (lambda p: png(p, GRAY), GRAY, None),
    "color.png": (lambda p: png(p, COLOR), COLOR, None),
    "alpha.png": (lambda p: png(p, np.dstack([COLOR, ALPHA])), COLOR, None),
    "gray_alpha.png": (lambda p: png(p, np.dstack([GRAY, ALPHA])), GRAY, None),
    "sbit.png": (lambda p: png(p, COLOR >> 6, before=[(b"sBIT", b"\x0a\x0a\x0a")]), COLOR >> 6, 1023),
    "tiff_called.png": (lambda p: tifffile.imwrite(p, COLOR, photometric="rgb"), COLOR, None),
    "tiff_called.jpg": (lambda p: tifffile.imwrite(p, GRAY), GRAY, None),
    "floats_called.webp": (lambda p: tifffile.imwrite(p, GRAY / np.float32(7)), GRAY / np.float32(7), None),
    "pgm_called.png": (lambda p: pgm(p, GRAY >> 6), GRAY >> 6, 1023),
    "ppm_called.jpg": (lambda p: p.write_bytes(b"P6 26 20 65535\n" + COLOR.astype(">u2").tobytes()), COLOR, None),
    "plain_called.bmp": (lambda p: p.write_bytes(b"P5 26 20 255\n" + SMALL.tobytes()), SMALL, None),
    "png_called.tif": (lambda p: png(p, COLOR), COLOR, None),
    "bmp_called.tiff": (lambda p: Image.fromarray(RGB).save(p, "BMP"), RGB, None),
    "png_called.pgm": (lambda p: png(p, COLOR), COLOR, None),
    "inverted_bits.tif": (
        lambda p: tifffile.imwrite(p, SMALL > 99, photometric="miniswhite"),
        np.where(SMALL > 99, 0, 255),
        None,
    ),
    "int8.tif": (lambda p: tifffile.imwrite(p, SMALL.view(np.int8)), SMALL.view(np.int8), None),
    "half.tif": (lambda p: tifffile.imwrite(p, (GRAY / 9).astype("f2")), (GRAY / 9).astype("f2"), None),
    "big_endian_tiles.tif": (
        lambda p: tifffile.imwrite(p, COLOR.transpose(2, 0, 1), byteorder=">", photometric="rgb", tile=(16, 16)),
        COLOR,
        None,
    ),
    "ascii.ppm": (
        lambda p: p.write_text("P3 26 20 # white:\n1023\n" + " ".join(map(str, (COLOR >> 6).ravel()))),
        COLOR >> 6,
        1023,
    ),
    "bits.pnm": (
        lambda p: p.write_bytes(b"P4\n26 20\n" + np.packbits(SMALL > 99, axis=1).tobytes()),
        np.where(SMALL > 99, 0, 255),
        None,
    ),
    "other_end.pfm": (
        lambda p: p.write_bytes(b"PF\n26 20\n1.0\n" + COLOR[::-1].astype(">f4").tobytes()),
        COLOR.astype("f4"),
        None,
    ),
    "fortran.npy": (lambda p: np.save(p, np.asfortranarray(COLOR)), COLOR, None),
    "big_endian.npy": (lambda p: np.save(p, GRAY.astype(">u2")), GRAY, None),
}


@pytest.mark.parametrize("name", VALUES)
def test_pixels_are_those_that_were_written(tmp_path, name):
    write, expected, white = VALUES[name]
    write(tmp_path / name)
    picture = read_picture(tmp_path / name)
    array = picture.array.transpose(1, 2, 0)
    assert np.array_equal(array, expected if expected.ndim == 3 else expected[..., None])
    assert picture.white == white


TRANSPARENT = "alpha channel, dropped"
# What writes a PNG, and which of its pixels are not transparent.
WITH_TRANSPARENCY = {
    "gray, 8 bits": (lambda p: gray_8(p, SMALL, tRNS=struct.pack(">H", SMALL[0, 0])), SMALL[0, 0] != SMALL),
    "gray, 16 bits": (lambda p: png(p, GRAY, before=[(b"tRNS", struct.pack(">H", GRAY[3, 4]))]), GRAY[3, 4] != GRAY),
    "color, 16 bits": (
        lambda p: png(p, COLOR, before=[(b"tRNS", struct.pack(">HHH", *COLOR[3, 4]))]),
        (COLOR[3, 4] != COLOR).any(2),
    ),
    "palette": (lambda p: palette(p, tRNS=bytes([255, 0])), PLACES != 1),
    "alpha, 16 bits": (lambda p: png(p, np.dstack([COLOR, ALPHA])), ALPHA > 0),
}


@pytest.mark.parametrize("name", WITH_TRANSPARENCY)
def test_transparency_of_any_kind_is_told_and_used(tmp_path, name):
    write, counts = WITH_TRANSPARENCY[name]
    write(tmp_path / "x.png")
    assert TRANSPARENT in read_picture(tmp_path / "x.png").notes
    masked = read_picture(tmp_path / "x.png", Reading(mask="alpha"))
    assert "alpha channel, used as a mask" in masked.notes
    assert np.array_equal(masked.mask, counts)
    assert any("data.mask=alpha leaves them out" in note for note in seen(tmp_path)[0]["notes"])


@pytest.mark.parametrize("place", [0, 1])
def test_alpha_may_be_any_of_the_extra_samples(tmp_path, place):
    extra = ["unspecified", "unspecified"]
    extra[place] = "unassalpha"
    array = np.dstack([COLOR, GRAY, GRAY])
    array[..., 3 + place] = ALPHA
    tifffile.imwrite(tmp_path / "x.tif", array, photometric="rgb", extrasamples=extra)
    picture = read_picture(tmp_path / "x.tif", Reading(mask="alpha"))
    assert np.array_equal(picture.array, np.delete(array, 3 + place, axis=2).transpose(2, 0, 1))
    assert np.array_equal(picture.mask, ALPHA > 0)


def test_a_mask_inside_a_tiff_is_no_page(tmp_path):
    with tifffile.TiffWriter(tmp_path / "x.tif") as file:
        file.write(RGB, photometric="rgb")
        file.write(SMALL > 99, subfiletype=4, photometric="mask")
    picture = read_picture(tmp_path / "x.tif")
    assert np.array_equal(picture.array.transpose(1, 2, 0), RGB)
    assert "a mask in the file, not used" in picture.notes


@pytest.mark.parametrize("place", [0, 1])
def test_a_thumbnail_inside_a_tiff_is_no_page_wherever_it_stands(tmp_path, place):
    """Of the kinds that Pillow converts: it counts reduced copies among the pages."""
    colors = np.concatenate([PALETTE, np.zeros((248, 3), np.uint8)]).T.astype(np.uint16) * 257
    written = [(PLACES, {}), (PLACES[::4, ::4], {"subfiletype": 1})]
    with tifffile.TiffWriter(tmp_path / "x.tif") as file:
        for array, options in written[::-1] if place == 0 else written:
            file.write(array, photometric="palette", colormap=colors, metadata=None, **options)
    picture = read_picture(tmp_path / "x.tif")
    assert np.array_equal(picture.array.transpose(1, 2, 0), PALETTE[PLACES])
    assert count_pages(tmp_path / "x.tif", Reading()) == 1


def test_packed_pages_behind_a_thumbnail_are_read_without_another_package(tmp_path):
    """Pages compressed by LZW, which Pillow unpacks where the package imagecodecs is missing."""
    pages = [Image.fromarray(array) for array in (SMALL[::4, ::4], SMALL, 255 - SMALL)]
    reduced = {"compression": "tiff_lzw", "tiffinfo": {254: 1}}
    pages[0].save(tmp_path / "x.tif", save_all=True, append_images=pages[1:], **reduced)
    with tifffile.TiffFile(tmp_path / "x.tif", mode="r+") as file:
        for page in file.pages[1:]:
            page.tags[254].overwrite(0)
    assert count_pages(tmp_path / "x.tif", Reading(pages="all")) == 2
    for page, array in enumerate((SMALL, 255 - SMALL)):
        assert np.array_equal(read_picture(tmp_path / "x.tif", Reading(pages="all"), page).array[0], array)


def test_tiles_that_are_not_there_are_refused_or_told(tmp_path, capfd):
    """tifffile fills them without a word to the reader, but with lines in the log."""
    array = np.arange(64 * 48, dtype=np.uint16).reshape(64, 48)
    tifffile.imwrite(tmp_path / "x.tif", array, tile=(16, 16), metadata=None)
    with tifffile.TiffFile(tmp_path / "x.tif", mode="r+") as file:
        tags = file.pages[0].tags
        lengths = list(tags[325].value)
        tags[325].overwrite([0, *lengths[1:]])
    picture = read_picture(tmp_path / "x.tif")
    assert "strips or tiles without data, filled with nodata or 0" in picture.notes
    assert not picture.array[0, :16, :16].any()
    assert np.array_equal(picture.array[0, 16:], array[16:])
    with tifffile.TiffFile(tmp_path / "x.tif", mode="r+") as file:
        file.pages[0].tags[257].overwrite(64_000)  # rows
        file.pages[0].tags[296].overwrite(133)  # of no unit of resolution
    with pytest.raises(CorruptImageError, match=r"damaged: 12 of 12,000 strips or tiles"):
        read_picture(tmp_path / "x.tif")
    assert capfd.readouterr() == ("", "")


def without_data(path, tile):
    """Take the data of a tile or strip away as GDAL does (SPARSE_OK): its place and its length are 0."""
    with tifffile.TiffFile(path, mode="r+") as file:
        tags = file.pages[0].tags
        for tag in (324, 325) if 324 in tags else (273, 279):
            values = list(tags[tag].value)
            values[tile] = 0
            tags[tag].overwrite(values)


@pytest.mark.parametrize("parts", [{"tile": (16, 16)}, {"rowsperstrip": 5}], ids=["tiles", "strips"])
@pytest.mark.parametrize("array", [SMALL, RGB], ids=["gray", "rgb"])
def test_tiles_without_data_of_8_bits_are_not_read_from_the_header(tmp_path, array, parts):
    kind = "rgb" if array.ndim == 3 else "minisblack"
    tifffile.imwrite(tmp_path / "x.tif", array, photometric=kind, metadata=None, **parts)
    without_data(tmp_path / "x.tif", -1)
    picture = read_picture(tmp_path / "x.tif")
    seen = picture.array if array.ndim == 3 else picture.array[0]
    expected = np.moveaxis(array, -1, 0).copy() if array.ndim == 3 else array.copy()
    expected[(..., slice(16, None), slice(16, None)) if "tile" in parts else (..., slice(15, None), slice(None))] = 0
    assert np.array_equal(seen, expected)
    assert picture.notes == ("strips or tiles without data, filled with nodata or 0",)


def test_tiles_without_data_of_a_palette_are_refused(tmp_path):
    table = np.zeros((3, 256), np.uint16)
    table[:, :8] = PALETTE.T.astype(np.uint16) * 257
    tifffile.imwrite(tmp_path / "x.tif", PLACES, photometric="palette", colormap=table, tile=(16, 16), metadata=None)
    without_data(tmp_path / "x.tif", 0)
    with pytest.raises(CorruptImageError, match="strips or tiles without data"):
        read_picture(tmp_path / "x.tif")


def turned(array, orientation):
    """What EXIF 2.3, table 6, says of the stored row 0 and column 0."""
    flipped = {1: array, 2: array[:, ::-1], 3: array[::-1, ::-1], 4: array[::-1]}
    if orientation < 5:
        return flipped[orientation]
    return np.swapaxes(flipped[{5: 1, 6: 4, 7: 3, 8: 2}[orientation]], 0, 1)


TIFFS = {
    "palette": (
        lambda p, **options: Image.fromarray(RGB).quantize(8).save(p, tiffinfo=options["info"]),
        lambda: np.asarray(Image.fromarray(RGB).quantize(8).convert("RGB")),
    ),
    "bits": (
        lambda p, **options: Image.fromarray(SMALL > 99).save(p, tiffinfo=options["info"]),
        lambda: np.where(SMALL > 99, 255, 0)[..., None],
    ),
    "LZW": (
        lambda p, **options: Image.fromarray(RGB).save(p, tiffinfo=options["info"], compression="tiff_lzw"),
        lambda: RGB,
    ),
    "16 bits": (
        lambda p, **options: tifffile.imwrite(p, GRAY, extratags=[(274, "H", 1, options["info"][274], True)]),
        lambda: GRAY[..., None],
    ),
}


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", TIFFS)
def test_tiff_is_turned_once_and_on_request_alone(tmp_path, name, orientation):
    """Pillow turns TIFF alone, without being asked."""
    write, stored = TIFFS[name]
    write(tmp_path / "x.tif", info={274: orientation})
    ignored, applied = (read_picture(tmp_path / "x.tif", Reading(exif=exif)) for exif in ("ignore", "apply"))
    assert np.array_equal(ignored.array.transpose(1, 2, 0), stored())
    assert np.array_equal(applied.array.transpose(1, 2, 0), turned(stored(), orientation))
    assert any("EXIF orientation" in note for note in ignored.notes) == (orientation > 1)


def test_an_orientation_in_xmp_counts(tmp_path):
    info = PngImagePlugin.PngInfo()
    info.add_itxt("XML:com.adobe.xmp", '<x:xmpmeta xmlns:x="adobe:ns:meta/" tiff:Orientation="6"/>')
    Image.fromarray(RGB).save(tmp_path / "x.png", pnginfo=info)
    assert np.array_equal(read_picture(tmp_path / "x.png", Reading(exif="apply")).array[0], turned(RGB[..., 0], 6))


def test_an_orientation_in_a_raw_profile_counts(tmp_path):
    """As ImageMagick writes it."""
    exif = Image.Exif()
    exif[0x0112] = 6
    raw, info = exif.tobytes(), PngImagePlugin.PngInfo()
    info.add_text("Raw profile type exif", f"\nexif\n{len(raw):8d}\n{raw.hex()}\n")
    Image.fromarray(RGB).save(tmp_path / "x.png", pnginfo=info)
    assert np.array_equal(read_picture(tmp_path / "x.png", Reading(exif="apply")).array[0], turned(RGB[..., 0], 6))


@pytest.mark.parametrize("array", [GRAY, COLOR], ids=["gray", "color"])
def test_an_orientation_behind_the_pixels_of_16_bits_counts(tmp_path, array):
    exif = Image.Exif()
    exif[0x0112] = 6
    png(tmp_path / "x.png", array, after=[(b"eXIf", exif.tobytes().removeprefix(b"Exif\0\0"))])
    assert any("EXIF orientation, ignored" in note for note in read_picture(tmp_path / "x.png").notes)
    picture = read_picture(tmp_path / "x.png", Reading(exif="apply"))
    assert np.array_equal(picture.array.transpose(1, 2, 0).squeeze(), turned(array, 6))


@pytest.mark.parametrize(("compression", "name"), [(5, "LZW"), (50000, "ZSTD")])
def test_what_a_tiff_needs_imagecodecs_for_is_named(tmp_path, monkeypatch, compression, name):
    """16 bits in an order of bytes that Pillow does not read where 0 is white."""
    monkeypatch.setitem(sys.modules, "imagecodecs", None)
    tifffile.imwrite(tmp_path / "x.tif", GRAY, photometric="miniswhite", byteorder=">")
    with tifffile.TiffFile(tmp_path / "x.tif", mode="r+") as file:
        file.pages[0].tags[259].overwrite(compression)
    with pytest.raises(CorruptImageError, match=rf"compression {name}, 16 bits and MINISWHITE needs the package image"):
        read_picture(tmp_path / "x.tif")


def test_an_array_of_no_images_is_named(tmp_path):
    Image.fromarray(RGB).save(tmp_path / "x.png"), np.save(tmp_path / "y.npy", np.zeros((0, 4, 4, 3)))
    assert "y.npy: an array of shape [0, 4, 4, 3]" in seen(tmp_path, "data.pages=all")[0]["unreadable"][0]


def test_more_data_than_pixels_are_not_unpacked(tmp_path):
    """100 MB of zeros behind the rows of a small PNG."""
    import tracemalloc

    png(tmp_path / "x.png", COLOR, rows(COLOR) + bytes(100_000_000))
    tracemalloc.start()
    array = read_picture(tmp_path / "x.png").array
    assert tracemalloc.get_traced_memory()[1] < 10_000_000
    tracemalloc.stop()
    assert np.array_equal(array.transpose(1, 2, 0), COLOR)


def test_transparency_of_one_bit_is_a_mask_and_told(tmp_path):
    is_white = SMALL > 100
    Image.fromarray(is_white).save(tmp_path / "x.png", transparency=0)
    picture = read_picture(tmp_path / "x.png", Reading(mask="alpha"))
    assert np.array_equal(picture.mask, is_white)
    assert picture.notes == ("1 bit, converted to grayscale", "alpha channel, used as a mask")
    picture = read_picture(tmp_path / "x.png")
    assert np.array_equal(picture.array[0], is_white * 255)
    assert picture.notes == ("1 bit, converted to grayscale", "alpha channel, dropped")


def test_the_depth_of_jpeg_2000_is_found_behind_long_metadata(tmp_path, monkeypatch):
    """Pillow cuts color of 16 bits to 8; so another package is asked for."""
    monkeypatch.setitem(sys.modules, "imagecodecs", None)
    Image.fromarray(GRAY).save(tmp_path / "x.jp2")
    content = (tmp_path / "x.jp2").read_bytes()
    place = content.index(b"jp2c") - 4
    metadata = struct.pack(">I4s", 8 + 70_000, b"xml ") + b" " * 70_000
    (tmp_path / "x.jp2").write_bytes(content[:place] + metadata + content[place:])
    with pytest.raises(CorruptImageError, match="JPEG 2000 of 16 bits needs the package imagecodecs"):
        read_picture(tmp_path / "x.jp2")


def test_an_image_is_not_its_own_mask(tmp_path):
    Image.fromarray(RGB).save(tmp_path / "x.png"), Image.fromarray(SMALL).save(tmp_path / "x_mask.png")
    with pytest.raises(CorruptImageError, match=r"x\.png: no mask x in"):
        read_picture(tmp_path / "x.png", Reading(mask=str(tmp_path)))


def test_the_mask_of_an_image_in_another_folder_is_not_taken(tmp_path):
    """Files are often called 0, 1, ... in each class: where one mask is missing, that of another class has its name."""
    for place in ("images/a/0.png", "images/b/0.png", "masks/b/0.png", "others/x/0.png"):
        (tmp_path / place).parent.mkdir(parents=True)
        Image.fromarray(SMALL % 2).save(tmp_path / place)
    masked = Reading(mask=str(tmp_path / "masks"))
    assert np.array_equal(read_picture(tmp_path / "images/b/0.png", masked).mask, SMALL % 2 == 1)
    with pytest.raises(CorruptImageError, match=r"a/0\.png: no mask 0 in"):
        read_picture(tmp_path / "images/a/0.png", masked)
    # In folders of other names, masks are found by the names of the files.
    for place in ("others", "others/x"):
        assert read_picture(tmp_path / "images/a/0.png", Reading(mask=str(tmp_path / place))).mask is not None
    shutil.rmtree(tmp_path / "others"), shutil.rmtree(tmp_path / "images/b")
    (tmp_path / "images/a").rename(tmp_path / "images/b")
    (tmp_path / "masks").rename(tmp_path / "gt")
    assert read_picture(tmp_path / "images/b/0.png", Reading(mask=str(tmp_path))).mask is not None


def test_a_mask_in_a_jpeg_counts_from_the_middle_of_its_range(tmp_path):
    """Where it was 0, its compression leaves small values, which would count."""
    y, x = np.mgrid[:64, :64]
    disc = (y - 32) ** 2 + (x - 30) ** 2 < 400
    (tmp_path / "masks").mkdir(), Image.fromarray(np.tile(SMALL, (4, 4))[:64, :64]).save(tmp_path / "x.png")
    Image.fromarray(disc.astype(np.uint8) * np.uint8(255)).save(tmp_path / "masks/x.jpg", quality=75)
    assert (np.asarray(Image.open(tmp_path / "masks/x.jpg")) > 0).sum() > 1.2 * disc.sum()
    picture = read_picture(tmp_path / "x.png", Reading(mask=str(tmp_path / "masks")))
    assert np.array_equal(picture.mask, disc)
    assert picture.notes == ("mask in a JPEG, from 128 on",)
    Image.fromarray(disc.astype(np.uint8)).save(tmp_path / "masks/x.jpg")
    with pytest.raises(CorruptImageError, match=r"is a JPEG with values up to \d+, which .* save masks as PNG"):
        read_picture(tmp_path / "x.png", Reading(mask=str(tmp_path / "masks")))


def animation(path, first, second):
    control = struct.pack(">IIIIHHBB", 26, 20, 0, 0, 1, 10, 0, 0)
    frames = [(b"acTL", struct.pack(">II", 2, 0)), (b"fcTL", struct.pack(">I", 0) + control)]
    last = struct.pack(">I", 2) + zlib.compress(rows(second))
    png(path, first, before=frames, after=[(b"fcTL", struct.pack(">I", 1) + control), (b"fdAT", last)])


@pytest.mark.parametrize("array", [GRAY, COLOR], ids=["gray", "color"])
def test_the_second_frame_of_16_bits_is_not_the_first_again(tmp_path, array):
    animation(tmp_path / "x.png", array, array[::-1])
    assert count_pages(tmp_path / "x.png", Reading(pages="all")) == 2
    first = read_picture(tmp_path / "x.png", Reading(pages="first"))
    assert np.array_equal(first.array.transpose(1, 2, 0).squeeze(), array)
    with pytest.raises(CorruptImageError, match=r"an animation of 16 bits; only its first frame is read"):
        read_picture(tmp_path / "x.png", Reading(pages="all"), page=1)


@pytest.mark.parametrize("name", ["x.jpg", "x.tif"])
def test_pages_are_counted_by_what_a_file_is(tmp_path, name):
    """TIFF under the name of a JPEG, an animated PNG under the name of TIFF."""
    if name == "x.jpg":
        tifffile.imwrite(tmp_path / name, np.stack([SMALL] * 4), photometric="minisblack")
    else:
        frames = [Image.fromarray(np.roll(RGB, n, 0)) for n in range(4)]
        frames[0].save(tmp_path / name, "PNG", save_all=True, append_images=frames[1:])
    assert seen(tmp_path, "data.pages=all")[0]["images"] == 4


@pytest.mark.parametrize("part", ["checksum", "compression", "filter", "length"])
def test_a_damaged_png_of_16_bits_is_one_line(tmp_path, part):
    """Pillow says nothing of two of them; torchvision 0.29 ends the process with SIGSEGV at each."""
    data = bytearray(rows(COLOR))
    if part == "filter":
        data[157 * 3] = 9
    packed = bytearray(zlib.compress(bytes(data[:1000] if part == "length" else data)))
    if part == "compression":
        packed[-1] ^= 255
    body = bytearray(chunk(b"IDAT", bytes(packed)))
    if part == "checksum":
        body[-1] ^= 255
    png(tmp_path / "x.png", COLOR)
    whole = (tmp_path / "x.png").read_bytes()
    (tmp_path / "x.png").write_bytes(whole[:33] + body + whole[-12:])
    with pytest.raises(CorruptImageError) as caught:
        read_picture(tmp_path / "x.png")
    assert len(str(caught.value).splitlines()) == 1


def test_an_interlaced_png_of_16_bits(tmp_path):
    passes = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
    data = b"".join(rows(COLOR[top::down, left::right]) for left, top, right, down in passes)
    png(tmp_path / "x.png", COLOR, data)
    whole = (tmp_path / "x.png").read_bytes()
    head = whole[16:28] + b"\x01"
    (tmp_path / "x.png").write_bytes(whole[:8] + chunk(b"IHDR", head) + whole[33:])
    assert np.array_equal(read_picture(tmp_path / "x.png").array.transpose(1, 2, 0), COLOR)


def profile():
    from PIL import ImageCms

    return ImageCms.ImageCmsProfile(ImageCms.createProfile("XYZ")).tobytes()


@pytest.mark.parametrize(
    ("name", "write", "note"),
    [
        ("x.tif", lambda p: tifffile.imwrite(p, COLOR, photometric="rgb", iccprofile=profile()), "ICC profile"),
        ("y.tif", lambda p: tifffile.imwrite(p, RGB, photometric="rgb", iccprofile=profile()), "ICC profile"),
        ("x.png", lambda p: gray_8(p, SMALL, gAMA=struct.pack(">I", 100000)), "gamma other than that of sRGB"),
        ("y.png", lambda p: png(p, GRAY, before=[(b"gAMA", struct.pack(">I", 55556))]), "gamma other than"),
    ],
)
def test_colors_that_are_not_those_of_srgb_are_told(tmp_path, name, write, note):
    write(tmp_path / name)
    assert any(note in one for one in read_picture(tmp_path / name).notes)


@pytest.mark.parametrize("chunks", [{"gAMA": struct.pack(">I", 45455)}, {"gAMA": struct.pack(">I", 1), "sRGB": b"\0"}])
def test_srgb_is_not_worth_a_note(tmp_path, chunks):
    gray_8(tmp_path / "x.png", SMALL, **chunks)
    assert read_picture(tmp_path / "x.png").notes == ()


def ranges(root):
    for label in ("a", "b"):
        (root / label).mkdir(parents=True)
        for n, largest in enumerate((1023, 1023, 1023, 4095)):
            pgm(root / label / f"{n}.pgm", RNG.integers(0, largest + 1, (20, 26)), largest)


@pytest.mark.parametrize("options", [{}, {"stream": True, "image_size": 8, "workers": 0}])
@pytest.mark.parametrize("cache", [False, True])
def test_files_of_different_ranges_go_together_under_one(tmp_path, options, cache):
    ranges(tmp_path)
    data = dataset("folder", root=tmp_path, white=4095, cache=cache, **options)
    assert (data.white, sum(map(len, data.splits.values()))) == (4095, 8)
    data.train.images.float()
    with pytest.raises(DataError, match=r"set one range with data\.white=NUMBER"):
        dataset("folder", root=tmp_path, cache=cache, **options)


def test_inspect_takes_files_of_different_ranges_under_one(tmp_path):
    ranges(tmp_path)
    content, _ = seen(tmp_path, "data.white=4095")
    pixels = np.stack([read_picture(path).array for path in sorted(tmp_path.rglob("*.pgm"))]) / 4095
    assert (content["images"], content["unreadable"]) == (8, [])
    assert content["channels"][0]["mean_pooled"]["value"] == pytest.approx(pixels.mean(), rel=1e-12)
    assert "white 4095" in seen(tmp_path)[0]["unreadable"][0]


def test_numbers_without_a_range_that_look_like_8_bits_are_told(tmp_path):
    (tmp_path / "8").mkdir(), (tmp_path / "unit").mkdir()
    for n in range(3):
        np.save(tmp_path / "8" / f"{n}.npy", np.roll(SMALL, n).astype(np.float32))
        np.save(tmp_path / "unit" / f"{n}.npy", np.roll(SMALL, n) / np.float32(255))
    assert any("NO RANGE: float32 from" in warning for warning in seen(tmp_path / "8")[0]["warnings"])
    for arguments in ([tmp_path / "8", "data.white=255"], [tmp_path / "unit"]):
        assert seen(*arguments)[0]["warnings"] == []


def test_values_far_above_a_given_white_are_told(tmp_path):
    for label in ("a", "b"):
        (tmp_path / label).mkdir()
        for n in range(6):
            Image.fromarray(np.roll(SMALL, n + 6 * (label == "b"))).save(tmp_path / label / f"{n}.png")
    expected = "ABOVE WHITE: the largest value is 255, so that u = (x - black)/(white - black) reaches 255"
    for notes in (dataset("folder", root=tmp_path, white=1).notes, seen(tmp_path, "data.white=1")[0]["warnings"]):
        assert any(expected in note for note in notes)
    for notes in (dataset("folder", root=tmp_path, white=200).notes, seen(tmp_path, "data.white=200")[0]["warnings"]):
        assert not any("ABOVE WHITE" in note for note in notes)


def test_a_mask_is_not_turned_with_its_image(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 3
    (tmp_path / "masks").mkdir()
    Image.fromarray(RGB).save(tmp_path / "x.png", exif=exif)
    Image.fromarray(np.where(PLACES > 3, 255, 0).astype(np.uint8)).save(tmp_path / "masks/x.png")
    picture = read_picture(tmp_path / "x.png", Reading(exif="apply", mask=str(tmp_path / "masks")))
    assert np.array_equal(picture.mask, PLACES > 3)
    assert "mask taken as upright already" in picture.notes


def test_a_mask_that_leaves_out_nothing_is_told(tmp_path):
    Image.fromarray(SMALL).save(tmp_path / "x.png")
    assert "leaves out no pixel" in seen(tmp_path, "data.mask=nodata=-9999")[1]


def test_8_bits_beside_16_are_told_in_a_stream_too(tmp_path):
    for label in ("a", "b"):
        (tmp_path / label).mkdir()
        for n in range(6):
            array = np.roll(SMALL if n % 2 else GRAY, n + 6 * (label == "b"))
            Image.fromarray(array).save(tmp_path / label / f"{n}.png")
    memory, streamed = (dataset("folder", root=tmp_path, image_size=8, stream=s, workers=0) for s in (False, True))
    assert memory.notes == streamed.notes == ("6 images: 8 bits, as 16 (x * 257)",)
