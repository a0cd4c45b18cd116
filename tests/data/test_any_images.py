"""Images as people have them: each kind of file and folder, and its right numbers, computed from the arrays."""

import os
import struct

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image, UnidentifiedImageError
from torchvision.datasets.folder import pil_loader

from normlab.data import dataset
from normlab.errors import DataError
from normlab.inspect import inspect
from normlab.inspection.report import report, text_of
from normlab.inspection.tally import tally
from normlab.pictures import CorruptImageError, Picture, Reading, count_pages, read_picture, tiff

RNG = np.random.default_rng(7)


def smooth(height=20, width=26, bands=3, low=40, high=200):
    base = RNG.integers(low, high, (4, 5, bands)).astype(np.uint8)
    return np.asarray(Image.fromarray(base if bands == 3 else base[..., 0]).resize((width, height), Image.BICUBIC))


def save(folder, arrays, ending="png", **options):
    """Files 0.png, 1.png, ... from arrays [H, W] or [H, W, C], by the library that keeps their depth."""
    folder.mkdir(parents=True, exist_ok=True)
    for n, array in enumerate(arrays):
        path = folder / f"{n}.{ending}"
        if ending == "tif":
            tifffile.imwrite(path, array, **options)
        elif ending == "npy":
            np.save(path, array)
        elif ending == "pgm":
            path.write_bytes(
                b"P5\n# a comment\n%d %d\n%d\n" % (*array.shape[::-1], options["maxval"]) + array.tobytes()
            )
        else:
            Image.fromarray(array).save(path, **options)
    return folder


def seen(*arguments):
    """The report of the command, and its text."""
    label, _, subject = inspect(list(map(str, arguments)))
    content = report(subject.train, subject.total, resamples=20, with_conditioning=False, subject=subject)
    return content, text_of(label, content)


def check(content, arrays, scale, black=0, tolerance=1e-10):
    """Mean and standard deviation of each band are numpy's over all pixels."""
    flat = np.concatenate([a.reshape(-1, a.shape[2] if a.ndim == 3 else 1) for a in arrays]).astype(np.float64)
    u = (flat - black) / scale
    assert [row["mean_pooled"]["value"] for row in content["channels"]] == pytest.approx(u.mean(0), rel=tolerance)
    assert [row["std_pooled"]["value"] for row in content["channels"]] == pytest.approx(u.std(0), rel=tolerance)
    assert [row["largest"] for row in content["channels"]] == flat.max(0).tolist()


def packed(path, values, bits, photometric=1, sample_format=1):
    """An uncompressed TIFF that declares so many bits a sample, without padding between samples."""
    height, width = values.shape
    places = (values[..., None].astype(np.uint32) >> np.arange(bits - 1, -1, -1)) & 1
    data = np.packbits(places.reshape(height, -1).astype(np.uint8), axis=1).tobytes()
    tags = [(256, width), (257, height), (258, bits), (259, 1), (262, photometric), (273, 8), (277, 1)]
    tags += [(278, height), (279, len(data)), (339, sample_format)]
    out = b"II*\0" + struct.pack("<I", 8 + len(data)) + data + struct.pack("<H", len(tags))
    path.write_bytes(out + b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags) + bytes(4))


# ---- depth


def test_what_the_usual_loader_makes_of_them(tmp_path):
    """The second column of docs/images.md: why this project has readers of its own."""
    cv2 = pytest.importorskip("cv2")

    def usual(name):
        return np.asarray(pil_loader(tmp_path / name))

    gray, color = twelve_bits(1)[0], RNG.integers(0, 65536, (8, 9, 3)).astype(np.uint16)
    Image.fromarray(gray).save(tmp_path / "gray.png")
    assert np.array_equal(usual("gray.png")[..., 0], gray.clip(max=255))
    cv2.imwrite(str(tmp_path / "color.png"), color[..., ::-1])
    assert np.array_equal(usual("color.png"), color >> 8)
    floats = RNG.normal(0, 300, (8, 9)).astype(np.float32)
    tifffile.imwrite(tmp_path / "floats.tif", floats)
    assert np.array_equal(usual("floats.tif")[..., 0], floats.clip(0, 255).astype(np.uint8))
    bands, pages = np.ones((8, 9, 5), np.uint16), np.arange(3 * 64, dtype=np.uint8).reshape(3, 8, 8)
    tifffile.imwrite(tmp_path / "bands.tif", bands, photometric="minisblack", planarconfig="contig")
    with pytest.raises(UnidentifiedImageError):
        usual("bands.tif")
    tifffile.imwrite(tmp_path / "pages.tif", pages, photometric="minisblack")
    assert np.array_equal(usual("pages.tif")[..., 0], pages[0])
    hidden = np.dstack([np.full((4, 4, 3), 7, np.uint8), np.zeros((4, 4), np.uint8)])
    Image.fromarray(hidden).save(tmp_path / "alpha.png")
    assert (usual("alpha.png") == 7).all()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (10, 20)).save(tmp_path / "turned.jpg", exif=exif)
    assert usual("turned.jpg").shape == (20, 10, 3)


def twelve_bits(count=5):
    return [(smooth(bands=1).astype(float) / 255 * 4095).round().astype(np.uint16) for _ in range(count)]


@pytest.mark.parametrize("ending", ["png", "tif", "npy"])
def test_12_bits_in_16_keep_their_values_and_the_range_is_doubted(tmp_path, ending):
    arrays = twelve_bits()
    content, text = seen(save(tmp_path / "scans", arrays, ending))
    check(content, arrays, 65535)
    assert content["channels"][0]["levels"] == len(np.unique(arrays))
    assert "HARDLY USED RANGE" in content["warnings"][0]
    assert "data.white=4095" in text
    content, _ = seen(tmp_path / "scans", "data.white=4095")
    check(content, arrays, 4095)
    assert content["warnings"] == []
    content, _ = seen(tmp_path / "scans", "data.white=observed", "data.black=observed")
    check(content, arrays, np.max(arrays) - float(np.min(arrays)), np.min(arrays))


def test_8_bits_beside_12_in_16_are_counted_and_do_not_hide_the_range(tmp_path):
    """255 becomes 65535 there, as in a run."""
    deep, small = twelve_bits(8), [smooth(bands=1) for _ in range(6)]
    save(tmp_path / "a", deep), save(tmp_path / "b", small)
    content, _ = seen(tmp_path)
    check(content, [*deep, *(257 * array.astype(np.uint16) for array in small)], 65535)
    assert content["converted"] == {"8 bits, as 16 (x * 257)": 6}
    assert "6 images: 8 bits, as 16 (x * 257)" in dataset("folder", root=tmp_path).notes
    [warning] = content["warnings"]
    assert warning.startswith(f"HARDLY USED RANGE: the largest value is {np.max(deep):,} of 65,535; if white has 12")
    assert "without the images of 8 bits" in warning


def test_a_hot_pixel_does_not_hide_the_range(tmp_path):
    arrays = twelve_bits()
    arrays[0][0, 0] = 65535
    [warning] = seen(save(tmp_path / "hot", arrays))[0]["warnings"]
    assert "set data.white=4095" in warning
    assert warning.endswith("without a few values far above it, up to 65,535")
    for array in arrays:  # a tenth of the pixels are no outliers
        array[:2] = 60_000
    assert seen(save(tmp_path / "bright", arrays))[0]["warnings"] == []


@pytest.mark.parametrize("maxval", [15, 1000, 4095, 65535])
def test_the_largest_value_of_a_pgm_is_its_white(tmp_path, maxval):
    arrays = [RNG.integers(0, maxval + 1, (9, 11)).astype("u1" if maxval < 256 else ">u2") for _ in range(3)]
    content, _ = seen(save(tmp_path / "x", arrays, "pgm", maxval=maxval))
    check(content, arrays, maxval)
    assert content["white"] == maxval


@pytest.mark.parametrize("bits", [10, 12, 14])
def test_bits_that_a_tiff_declares_are_its_white(tmp_path, bits):
    arrays = [RNG.integers(0, 2**bits, (7, 13)) for _ in range(3)]
    for n, array in enumerate(arrays):
        packed(tmp_path / f"{n}.tif", array, bits)
    check(seen(tmp_path)[0], arrays, 2**bits - 1)


@pytest.mark.parametrize("bits", [17, 24, 31])
def test_more_than_16_bits_of_a_tiff_are_kept(tmp_path, bits):
    array = RNG.integers(0, 2**bits, (7, 13))
    packed(tmp_path / "x.tif", array, bits)
    picture = read_picture(tmp_path / "x.tif")
    assert np.array_equal(picture.array[0], array)
    assert picture.white == 2**bits - 1
    packed(tmp_path / "x.tif", array, bits, photometric=0)
    assert np.array_equal(read_picture(tmp_path / "x.tif").array[0], 2**bits - 1 - array)
    for sample_format in (2, 3):  # signed, float
        packed(tmp_path / "x.tif", array, bits, sample_format=sample_format)
        with pytest.raises(CorruptImageError, match=rf"TIFF of {bits} bits that are no unsigned .*{sample_format}\)"):
            read_picture(tmp_path / "x.tif")


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw"])
def test_premultiplied_colors_count_as_stored_under_any_compression(tmp_path, compression):
    alpha = RNG.integers(0, 256, (20, 26)).astype(np.uint8)
    colors = (smooth() * (alpha[..., None] / 255)).astype(np.uint8)
    Image.fromarray(np.dstack([colors, alpha])).save(tmp_path / "x.tif", compression=compression)
    with tifffile.TiffFile(tmp_path / "x.tif", mode="r+") as file:
        file.pages[0].tags[338].overwrite(1)  # extra samples: associated alpha
    picture = read_picture(tmp_path / "x.tif")
    assert np.array_equal(picture.array.transpose(1, 2, 0), colors)
    assert "colors multiplied by alpha (premultiplied), as stored" in picture.notes


@pytest.mark.parametrize("ending", ["tif", "png"])
def test_16_bit_color(tmp_path, ending):
    arrays = [RNG.integers(0, 65536, (8, 9, 3)).astype(np.uint16) for _ in range(3)]
    if ending == "tif":
        save(tmp_path, arrays, "tif", photometric="rgb")
    else:
        cv2 = pytest.importorskip("cv2")
        for n, array in enumerate(arrays):
            cv2.imwrite(str(tmp_path / f"{n}.png"), array[..., ::-1])
    content, _ = seen(tmp_path)
    check(content, arrays, 65535)
    assert content["type"] == "uint16"


def png_16(path, array, sbit):
    """A 16-bit gray PNG with the chunk sBIT."""
    Image.fromarray(array).save(path)
    import zlib

    chunk = b"sBIT" + bytes([sbit])
    whole = path.read_bytes()
    path.write_bytes(whole[:33] + struct.pack(">I", 1) + chunk + struct.pack(">I", zlib.crc32(chunk)) + whole[33:])


def test_significant_bits_of_a_png(tmp_path):
    """Values spread over 16 bits, as the standard asks, have white 65535; values that are not have 2^bits - 1."""
    raw = RNG.integers(0, 4096, (9, 9)).astype(np.uint16)
    png_16(tmp_path / "low.png", raw, 12)
    png_16(tmp_path / "spread.png", raw << 4 | raw >> 8, 12)
    assert read_picture(tmp_path / "low.png").white == 4095
    assert read_picture(tmp_path / "spread.png").white is None
    assert np.array_equal(read_picture(tmp_path / "low.png").array[0], raw)


@pytest.mark.parametrize("white", [4095, 65535])
@pytest.mark.parametrize("first", ["flat", "noise"])
def test_a_flat_png_has_the_white_of_the_others(tmp_path, white, first):
    """A black or flat image of 12 significant bits may have its values spread over 16, or not."""
    for label in "ab":
        (tmp_path / label).mkdir()
        for n in range(6):
            raw = RNG.integers(0, 4096, (9, 9)).astype(np.uint16)
            array = raw if white == 4095 else raw << 4 | raw >> 8
            if (n < 3) == (first == "flat"):
                array = np.full((9, 9), 16 * (n % 3), np.uint16)
            png_16(tmp_path / label / f"{n}.png", array, 12)
    content, _ = seen(tmp_path)
    assert (content["images"], content["unreadable"], content["white"]) == (12, [], white)
    for options in ({}, {"stream": True, "image_size": 9, "workers": 0}):
        data = dataset("folder", root=tmp_path, cache=False, **options)
        assert (data.white, sum(map(len, data.splits.values()))) == (white, 12)


@pytest.mark.parametrize("depth", [8, 16])
def test_white_is_zero_is_inverted_at_any_depth(tmp_path, depth):
    small = [RNG.integers(0, 80, (9, 9)).astype(np.uint8) for _ in range(3)]
    stored = small if depth == 8 else [a.astype(np.uint16) * 257 for a in small]
    content, _ = seen(save(tmp_path, stored, "tif", photometric="miniswhite"))
    mean = (255 - np.stack(small).astype(float)).mean() / 255
    assert content["channels"][0]["mean_pooled"]["value"] == pytest.approx(mean, rel=1e-12)
    assert content["converted"] == {"white is 0 in the file, inverted": 3}


@pytest.mark.parametrize("kind", ["int16", "int32", "float32", "float64"])
@pytest.mark.parametrize("ending", ["tif", "npy"])
def test_signed_numbers_and_floats_keep_their_unit(tmp_path, kind, ending):
    arrays = [(RNG.normal(1e3, 400, (9, 9))).astype(kind) for _ in range(4)]
    content, text = seen(save(tmp_path, arrays, ending))
    stored = [a.astype(np.float32) if kind == "float64" else a for a in arrays]
    check(content, stored, 1, tolerance=1e-6 if "float" in kind else 1e-10)
    assert content["presets"] == []
    assert "No preset is compared" in text


def test_below_8_bits_there_is_something_to_learn(tmp_path, make):
    """Two classes that differ below 8 bits are told apart, which 8 bits could not."""
    from normlab.run import run

    for name, offset in (("a", 0), ("b", 96)):
        arrays = [(4 * 257 + offset + RNG.integers(0, 16, (8, 8))).astype(np.uint16) for _ in range(16)]
        save(tmp_path / "fine" / name, arrays, "tif")
    options = {"data": "folder", "data.root": tmp_path / "fine", "data.batch_size": 8, "arch": "linear"}
    result = run(make(**options, norm="dataset", **{"trainer.max_epochs": 5}))
    assert result["metrics"]["test_accuracy"] == 1


def test_a_training_set_of_one_value_is_refused(tmp_path, make):
    from normlab.run import run

    for name in ("a", "b"):
        save(tmp_path / "flat" / name, [np.full((8, 8), 7, np.uint8)] * 8)
    with pytest.raises(DataError, match=r"all values of the training inputs are 7 \(standard deviation 0\)"):
        run(make(data="folder", **{"data.root": tmp_path / "flat", "data.batch_size": 4}))
    assert "CONSTANT" in seen(tmp_path / "flat")[1]


# ---- bands, pages, transparency, orientation


@pytest.mark.parametrize("planar", ["separate", "contig"])
def test_any_number_of_bands(tmp_path, planar):
    arrays = [RNG.integers(0, 2000, (8, 9, 7)).astype(np.uint16) for _ in range(3)]
    stored = [np.moveaxis(a, 2, 0) if planar == "separate" else a for a in arrays]
    save(tmp_path, stored, "tif", photometric="minisblack", planarconfig=planar)
    content, _ = seen(tmp_path)
    check(content, arrays, 65535)
    assert content["bands"] == 7
    content, _ = seen(tmp_path, "data.bands=[3,2,1]")
    check(content, [a[..., [2, 1, 0]] for a in arrays], 65535)


def test_a_band_beside_color_is_no_transparency(tmp_path):
    arrays = [np.dstack([smooth(), smooth(bands=1)[..., None]]) for _ in range(3)]
    save(tmp_path / "band", arrays, "tif", photometric="rgb", extrasamples=["unspecified"])
    save(tmp_path / "alpha", arrays, "tif", photometric="rgb", extrasamples=["unassalpha"])
    check(seen(tmp_path / "band")[0], arrays, 255)
    check(seen(tmp_path / "alpha")[0], [a[..., :3] for a in arrays], 255)


def test_arrays_with_bands_first_or_last(tmp_path):
    array = RNG.integers(0, 256, (16, 12, 3)).astype(np.uint8)
    np.save(tmp_path / "hwc.npy", array)
    np.save(tmp_path / "chw.npy", array.transpose(2, 0, 1))
    first, last = (read_picture(tmp_path / f"{name}.npy").array for name in ("chw", "hwc"))
    assert np.array_equal(first, last)
    np.save(tmp_path / "cube.npy", array[:3, :, :])  # [3, 12, 3]
    with pytest.raises(CorruptImageError, match=r"data\.axes=chw or data\.axes=hwc"):
        read_picture(tmp_path / "cube.npy")
    assert read_picture(tmp_path / "cube.npy", Reading(axes="hwc")).array.shape == (3, 3, 12)


def test_a_patch_with_more_bands_than_rows_is_refused_until_its_axes_are_given(tmp_path):
    patch = RNG.integers(0, 999, (9, 9, 200)).astype(np.uint16)
    for array, axes in ((patch, "hwc"), (patch.transpose(2, 0, 1), "chw")):
        np.save(tmp_path / "x.npy", array)
        with pytest.raises(CorruptImageError, match=r"9 bands, or 200 bands of 9x9 pixels\? Give data\.axes"):
            read_picture(tmp_path / "x.npy")
        assert np.array_equal(read_picture(tmp_path / "x.npy", Reading(axes=axes)).array, patch.transpose(2, 0, 1))


@pytest.fixture
def stacks(tmp_path):
    """A TIFF of 4 pages and a GIF of 3 frames in each of two classes."""
    for name in ("a", "b"):
        pages = RNG.integers(0, 256, (4, 8, 8)).astype(np.uint8)
        save(tmp_path / name, [pages] * 2, "tif", photometric="minisblack")
        os.remove(tmp_path / name / "1.tif")
        frames = [Image.fromarray(np.full((8, 8, 3), v, np.uint8)) for v in (0, 128, 255)]
        frames[0].save(tmp_path / name / "x.gif", save_all=True, append_images=frames[1:])
    return tmp_path


def test_pages_and_frames_are_refused_or_counted(stacks):
    with pytest.raises(DataError, match=r"4 pages in one file; give data\.pages=first or data\.pages=all"):
        seen(stacks)
    assert seen(stacks, "data.pages=first")[0]["images"] == 4
    content, _ = seen(stacks, "data.pages=all")
    assert content["images"] == 14
    assert "14 pages in 4 files" in content["notes"]


def test_pages_of_one_file_stay_in_one_split(tmp_path):
    for name, value in (("a", 60), ("b", 90)):
        stack = [np.full((3, 8, 8), value + n, np.uint8) for n in range(8)]
        save(tmp_path / name, stack, "tif", photometric="minisblack")
    data = dataset("folder", root=tmp_path, pages="all", cache=False)
    assert sum(map(len, data.splits.values())) == 48
    files = [set(part.images[:, 0, 0, 0].tolist()) for part in data.splits.values()]
    assert sum(map(len, files)) == 16  # every file's value is in one split alone


def test_transparent_and_nodata_pixels_are_left_out(tmp_path):
    pictures, alpha = [smooth() for _ in range(3)], np.zeros((20, 26), np.uint8)
    alpha[5:15, 5:20] = 255
    stored = [np.dstack([np.where(alpha[..., None] > 0, p, 0).astype(np.uint8), alpha]) for p in pictures]
    visible = [p[5:15, 5:20] for p in pictures]
    content, text = seen(save(tmp_path / "alpha", stored))
    assert content["channels"][0]["smallest"] == 0
    assert "data.mask=alpha leaves them out" in text
    check(seen(tmp_path / "alpha", "data.mask=alpha")[0], visible, 255)
    save(tmp_path / "black", [s[..., :3] for s in stored])
    check(seen(tmp_path / "black", "data.mask=nodata=0")[0], visible, 255)
    save(tmp_path / "masks", [alpha] * 3)
    check(seen(tmp_path / "black", f"data.mask={tmp_path / 'masks'}")[0], visible, 255)


def test_missing_floats_are_named_and_can_be_left_out(tmp_path):
    array = RNG.normal(0, 1, (9, 9)).astype(np.float32)
    array[0, :5] = np.nan
    np.save(tmp_path / "x.npy", array)
    with pytest.raises(DataError, match=r"5 of 81 pixels are NaN or infinite; data\.mask=nodata=nan"):
        seen(tmp_path)
    content, _ = seen(tmp_path, "data.mask=nodata=nan")
    assert content["masked_pixels"] == 5
    assert content["channels"][0]["mean_pooled"]["value"] == pytest.approx(np.nanmean(array.astype(float)), rel=1e-6)


def test_orientation_is_told_and_applied_on_request(tmp_path):
    picture = smooth(20, 30)
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        Image.fromarray(picture).save(tmp_path / f"{orientation}.png", exif=exif)
    content, _ = seen(tmp_path)
    assert sum(count for note, count in content["converted"].items() if "EXIF orientation, ignored" in note) == 7
    from PIL import ImageOps

    for path in tmp_path.glob("*.png"):
        with Image.open(path) as opened:
            expected = np.asarray(ImageOps.exif_transpose(opened))
        turned = read_picture(path, Reading(exif="apply")).array
        assert np.array_equal(turned.transpose(1, 2, 0), expected)


def test_every_ending_is_read_or_counted(tmp_path):
    for ending in ("jpg", "tga", "webp", "bmp", "avif", "jp2", "gif", "ppm", "tif"):
        Image.fromarray(smooth()).save(tmp_path / f"x.{ending}")
    Image.fromarray(smooth()).save(tmp_path / "x.jfif", format="JPEG")
    np.save(tmp_path / "x.npy", smooth())
    for name in ("notes.txt", "more.txt", "raw.cr2", "README"):
        (tmp_path / name).touch()
    content, _ = seen(tmp_path)
    assert content["images"] == 11
    [note] = content["notes"]
    assert note == "left out 4 files without the ending of an image (2 .txt, 1 .cr2, 1 without an ending)"


def test_types_that_do_not_go_together(tmp_path):
    gray, wide = smooth(bands=1), smooth(bands=1).astype(np.uint16) * 257
    save(tmp_path / "a", [gray] * 4), save(tmp_path / "b", [wide] * 4)
    data = dataset("folder", root=tmp_path)
    assert data.train.images.dtype == torch.uint16
    assert any("8 bits, as 16 (x * 257)" in note for note in data.notes)
    check(seen(tmp_path)[0], [gray.astype(np.uint16) * 257] * 4 + [wide] * 4, 65535)
    np.save(tmp_path / "b" / "z.npy", gray.astype(np.float32))
    with pytest.raises(DataError, match=r"images of different types: .* 1 band of float32: keep files of one type"):
        dataset("folder", root=tmp_path)
    content, _ = seen(tmp_path)
    assert "z.npy: 1 band of float32, while most files have" in content["unreadable"][0]


@pytest.mark.parametrize("workers", [0])
def test_gray_and_deep_images_stream_as_they_are(tmp_path, workers):
    for bands, kind in ((1, np.uint8), (3, np.uint16), (5, np.uint16)):
        root = tmp_path / f"{bands}{np.dtype(kind)}"
        for name in ("a", "b"):
            shape = (10, 12) if bands == 1 else (10, 12, bands)
            arrays = [RNG.integers(0, np.iinfo(kind).max, shape).astype(kind) for _ in range(5)]
            save(
                root / name,
                arrays,
                "png" if bands == 1 else "tif",
                **({} if bands == 1 else {"planarconfig": "contig"}),
            )
        memory, streamed = (
            dataset("folder", root=root, image_size=6, stream=s, workers=workers) for s in (False, True)
        )
        assert streamed.shape == memory.shape == (bands, 6, 6)
        assert torch.equal(streamed.train.images.int(), memory.train.images.int())


# ---- folders


def classes(root, names, count, low=0, high=256):
    for name in names:
        save(root / name, [RNG.integers(low, high, (8, 8, 3)).astype(np.uint8) for _ in range(count)])


def counts(root, **options):
    return {name: len(part) for name, part in dataset("folder", root=root, cache=False, **options).splits.items()}


@pytest.mark.parametrize(
    ("folders", "expected"),
    [
        (("Training", "Testing"), {"train": 10, "test": 6}),
        (("TRAIN", "Valid", "holdout"), {"train": 12, "validation": 4, "test": 6}),
        (("trn", "dev", "eval"), {"train": 12, "validation": 4, "test": 6}),
        (("training_set", "test_set"), {"train": 10, "test": 6}),
        (("train2017", "val2017"), {"train": 10, "test": 4}),
    ],
)
def test_splits_by_any_of_their_names(tmp_path, folders, expected):
    for folder in folders:
        size = 6 if folder.lower().startswith("tr") else 2 if folder.lower()[:1] in "vd" else 3
        classes(tmp_path / folder, ["a", "b"], size)
    data = dataset("folder", root=tmp_path, cache=False, validation=0.2)
    assert data.classes == ("a", "b")
    found = {name: len(part) for name, part in data.splits.items()}
    assert {name: found[name] for name in expected} == expected
    content, _ = seen(tmp_path)
    assert content["images"] == 12
    assert len(content["splits"]) == len(folders)


def test_a_class_with_the_name_of_a_split_is_refused_until_it_is_chosen(tmp_path):
    classes(tmp_path, ["bus", "car"], 4), classes(tmp_path / "train", ["freight", "passenger"], 3)
    for call in (lambda: counts(tmp_path), lambda: seen(tmp_path)):
        with pytest.raises(
            DataError, match=r"'train' is the name of a split, but 'bus', 'car' lie beside it.*splits=none"
        ):
            call()
    assert dataset("folder", root=tmp_path, splits="none").classes == ("bus", "car", "train")
    data = dataset("folder", root=tmp_path, splits={"train": "train"})
    assert data.classes == ("freight", "passenger")
    assert any("left out 4 images in" in note for note in data.notes)


def test_splits_under_other_names_and_from_lists(tmp_path):
    for fold in ("fold 0", "fold 1"):
        classes(tmp_path / fold, ["a", "b"], 5)
    expected = {"train": 8, "validation": 2, "test": 10}
    assert counts(tmp_path, splits={"train": "fold 0", "test": "fold 1"}) == expected
    assert counts(tmp_path, splits="{train:fold 0,test:fold 1}") == expected
    rows = [f"fold {f}/{c}/{n}.png,{c},{'train' if f == 0 else 'test'}" for f in (0, 1) for c in "ab" for n in range(5)]
    (tmp_path / "list.csv").write_text("image,label,split\n" + "\n".join(rows))
    assert counts(tmp_path, splits="list.csv") == expected
    (tmp_path / "lists").mkdir()
    for name, fold in (("train", 0), ("test", 1)):
        lines = [f"fold {fold}/{c}/{n}.png {c}" for c in "ab" for n in range(5)]
        (tmp_path / "lists" / f"{name}.txt").write_text("\n".join(lines))
    assert counts(tmp_path, splits="lists") == expected
    assert len(seen(tmp_path, "data.splits=list.csv")[0]["splits"]) == 2


def test_another_exposure_of_the_test_images_is_a_warning(tmp_path):
    classes(tmp_path / "train", ["a", "b"], 10, 40, 80), classes(tmp_path / "test", ["a", "b"], 10, 160, 240)
    content, _ = seen(tmp_path)
    assert content["channels"][0]["mean_pooled"]["value"] == pytest.approx(60 / 255, abs=0.01)
    assert any("ANOTHER EXPOSURE" in warning for warning in content["warnings"])
    classes(tmp_path / "same/train", ["a", "b"], 10), classes(tmp_path / "same/test", ["a", "b"], 10)
    assert seen(tmp_path / "same")[0]["warnings"] == []


def test_test_images_that_are_training_images_are_told(tmp_path):
    for split in ("train", "test"):
        for n in range(12):
            save(tmp_path / split / "ab"[n % 2], [np.full((8, 8, 3), (n, 90, 200), np.uint8)], "bmp")
            os.replace(tmp_path / split / "ab"[n % 2] / "0.bmp", tmp_path / split / "ab"[n % 2] / f"x{n}.bmp")
    for notes in (dataset("folder", root=tmp_path).notes, seen(tmp_path)[0]["warnings"]):
        assert any("DUPLICATES: 12 of 12 test images" in note for note in notes)


def test_copies_in_other_files_are_told(tmp_path):
    """PNG and BMP of the same pixels; not a mirrored image, which has the same sums, and not a file of equal bytes."""
    arrays = [smooth(8, 8) for _ in range(12)]
    save(tmp_path / "train/a", arrays[:6]), save(tmp_path / "train/b", arrays[6:])
    save(tmp_path / "test/a", [arrays[0], arrays[7]], "bmp")
    save(tmp_path / "test/b", [arrays[1][:, ::-1], smooth(8, 8), arrays[2]])
    warnings = seen(tmp_path)[0]["warnings"]
    assert "COPIES: 2 of 5 test images have the same pixels as an image of another split" in " ".join(warnings)
    assert "DUPLICATES: 1 of 5 test images" in " ".join(warnings)
    assert any("test/a/0.bmp and" in warning and "train/a/0.png" in warning for warning in warnings)
    assert any("COPIES" in warning for warning in seen("data=folder", f"data.root={tmp_path}")[0]["warnings"])
    deep = [RNG.integers(0, 60000, (9, 9)).astype(np.uint16) for _ in range(6)]
    save(tmp_path / "deep/train/a", deep[:3], "tif"), save(tmp_path / "deep/test/a", [deep[1], deep[4]], "npy")
    assert any("COPIES: 1 of 2 test images" in warning for warning in seen(tmp_path / "deep")[0]["warnings"])


def test_generated_folders_are_left_out_and_told(tmp_path):
    classes(tmp_path, ["a", "b"], 4)
    for hidden in ("a/@eaDir/0.png", "a/.thumbnails", "__MACOSX/a", "b/.ipynb_checkpoints"):
        save(tmp_path / hidden, [np.zeros((8, 8), np.uint8)])
    content, text = seen(tmp_path)
    assert content["images"] == 8
    for name in ("@eaDir", ".thumbnails", "__MACOSX", ".ipynb_checkpoints"):
        assert name in text
    assert sum(counts(tmp_path, validation=0.3, test=0.3).values()) == 8


def test_masks_beside_images_are_no_images(tmp_path):
    save(tmp_path / "images", [smooth()] * 4), save(tmp_path / "masks", [smooth(bands=1)] * 4)
    content, text = seen(tmp_path)
    assert content["images"] == 4
    assert "left out masks/" in text
    with pytest.raises(DataError, match="images and their masks"):
        dataset("folder", root=tmp_path)


def test_names_that_are_not_utf_8(tmp_path):
    classes(tmp_path, ["a", "b"], 6)
    for name in ("a", "b"):
        for path in list((tmp_path / name).iterdir()):
            os.rename(os.fsencode(path), os.fsencode(path.parent) + b"/\xe9t\xe9_" + os.fsencode(path.name))
    os.rename(os.fsencode(tmp_path / "a"), os.fsencode(tmp_path) + b"/\xe9")
    data = dataset("folder", root=tmp_path)
    assert data.classes == ("b", "\\xe9")
    assert sum(map(len, data.splits.values())) == 12
    content, text = seen(tmp_path)
    assert content["images"] == 12
    text.encode()


def test_images_over_pillows_limit_are_one_line(tmp_path, monkeypatch):
    save(tmp_path, [smooth(bands=1)])
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(CorruptImageError, match=r"0\.png: more than 200 pixels, Pillow's limit; cut the image"):
        read_picture(tmp_path / "0.png")


@pytest.mark.parametrize("kind", ["uint16", "int16"])
def test_sums_and_counts_of_16_bits_are_exact_at_the_ends(kind):
    """More pixels than are summed at once, more images than wait, all of them near the ends of the type."""
    limits = np.iinfo(kind)
    ends = np.array([limits.min, limits.min + 1, limits.max - 1, limits.max])
    arrays = [RNG.choice(ends, (2, 301, 407)).astype(kind) for _ in range(6)]
    [one] = tally(((Picture(array), False, "x") for array in arrays), 8).tallies
    for n, array in enumerate(arrays):
        for c, band in enumerate(array):
            exact = [int(value) for value in band.flat]
            assert one.total[n, c] == sum(exact)
            assert one.squares[n, c] == sum(value**2 for value in exact)
    for c, (start, counts) in enumerate(one.counts):
        values, expected = np.unique(np.stack(arrays)[:, c], return_counts=True)
        assert (one.smallest[c], one.largest[c]) == (values[0], values[-1])
        assert {start + int(k): counts[k] for k in np.flatnonzero(counts)} == dict(
            zip(values.tolist(), expected, strict=True)
        )


TIFFS = {
    "gray": ((20, 26), {}),
    "a row": ((1, 26), {}),
    "a column": ((20, 1), {}),
    "color": ((20, 26, 3), {"photometric": "rgb"}),
    "separate bands": ((5, 20, 26), {"photometric": "minisblack", "planarconfig": "separate"}),
    "bands beside each other": ((20, 26, 5), {"photometric": "minisblack", "planarconfig": "contig"}),
    "tiles": ((64, 48), {"tile": (16, 16)}),
    "without a description": ((20, 26), {"metadata": None}),
    "another description": ((20, 26), {"metadata": None, "description": "a scene"}),
    "ImageJ": ((20, 26), {"imagej": True}),
    "OME": ((20, 26), {"ome": True}),
    "a page of a longer axis": ((1, 20, 26), {"photometric": "minisblack"}),
    "big": ((20, 26), {"bigtiff": True}),
    "big-endian": ((20, 26), {"byteorder": ">"}),
    "ImageJ, three slices": ((3, 20, 26), {"imagej": True}),
    "one page with the shape of three": ((3, 20, 26), {"photometric": "minisblack", "metadata": {"axes": "ZYX"}}),
}


@pytest.mark.parametrize("name", TIFFS)
@pytest.mark.parametrize("dtype", ["u2", "f4", "u1"])
def test_a_plain_tiff_is_read_as_tifffile_reads_its_series(tmp_path, monkeypatch, name, dtype):
    shape, options = TIFFS[name]
    array = RNG.integers(0, 200, shape).astype(dtype)
    tifffile.imwrite(tmp_path / "x.tif", array, **options)
    reading = Reading(pages="all")
    pages = count_pages(tmp_path / "x.tif", reading)
    quick = [read_picture(tmp_path / "x.tif", reading, page) for page in range(pages)]
    monkeypatch.setattr(tiff, "_is_simple", lambda file: False)
    monkeypatch.setattr(tiff, "_first_bits", lambda path: None)
    assert count_pages(tmp_path / "x.tif", reading) == pages
    for page, one in enumerate(quick):
        other = read_picture(tmp_path / "x.tif", reading, page)
        assert np.array_equal(one.array, other.array)
        assert (one.white, one.notes, one.array.dtype) == (other.white, other.notes, other.array.dtype)
    flat = np.concatenate([one.array.ravel() for one in quick])
    assert np.array_equal(np.sort(flat), np.sort(array.ravel()))
