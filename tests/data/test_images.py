import os
import warnings

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import InterpolationMode, v2

from normlab.data import dataset
from normlab.data.images import Format, decode, read, resize
from normlab.errors import DataError
from normlab.pictures import CorruptImageError

RAMP = np.arange(65536, dtype=np.uint16).reshape(256, 256)
SIZES = [
    (40, 40, 16),
    (64, 48, 24),
    (30, 60, 20),
    (60, 45, 30),
    (8, 12, 32),
    (32, 32, 32),
    (50, 32, 32),
    (224, 448, 64),
]


def noise(width, height, channels=3, seed=0):
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)
    return Image.fromarray(pixels if channels > 1 else pixels[..., 0])


def torchvision_crop(size):
    return v2.Compose(
        [
            v2.Resize(size, interpolation=InterpolationMode.BILINEAR, antialias=True),
            v2.CenterCrop(size),
            v2.PILToTensor(),
        ]
    )


@pytest.mark.parametrize(
    ("mode", "channels", "ending", "converted"),
    [
        ("L", 1, "png", ""),
        ("RGB", 3, "png", ""),
        ("L", 1, "bmp", ""),
        ("RGB", 3, "webp", ""),
        ("LA", 1, "png", "alpha channel, dropped"),
        ("RGBA", 3, "png", "alpha channel, dropped"),
        ("P", 3, "png", "palette, converted to RGB"),
        ("P", 3, "gif", "palette, converted to RGB"),
        ("1", 1, "png", "1 bit, converted to grayscale"),
        ("CMYK", 3, "jpg", "CMYK, converted to RGB"),
        ("CMYK", 3, "tif", "CMYK, converted to RGB"),
    ],
)
def test_read_modes(tmp_path, mode, channels, ending, converted):
    path = tmp_path / f"x.{ending}"
    noise(12, 8).convert(mode).save(path, **({"lossless": True} if ending == "webp" else {}))
    with Image.open(path) as opened:
        assert opened.mode == mode
        expected = np.array(opened.convert("RGB" if channels == 3 else "L"))
    pixels, word = read(path)
    assert pixels.dtype == torch.uint8
    assert word == ((converted,) if converted else ())
    assert np.array_equal(pixels.permute(1, 2, 0).squeeze(2) if channels == 1 else pixels.permute(1, 2, 0), expected)


def test_alpha_is_dropped_not_blended(tmp_path):
    Image.new("RGBA", (4, 4), (10, 20, 30, 0)).save(tmp_path / "x.png")
    assert read(tmp_path / "x.png")[0][:, 0, 0].tolist() == [10, 20, 30]
    Image.new("LA", (4, 4), (99, 0)).save(tmp_path / "y.png")
    assert read(tmp_path / "y.png")[0][:, 0, 0].tolist() == [99]


def test_one_bit_is_black_and_white(tmp_path):
    Image.fromarray(np.eye(5, dtype=bool)).save(tmp_path / "x.png")
    assert torch.equal(read(tmp_path / "x.png")[0][0], 255 * torch.eye(5, dtype=torch.uint8))


@pytest.mark.parametrize("ending", ["png", "tif", "pgm"])
def test_16_bits_stay_16_bits(tmp_path, ending):
    path = tmp_path / f"x.{ending}"
    Image.fromarray(RAMP).save(path)
    pixels, notes = read(path)
    assert pixels.dtype == torch.uint16
    assert np.array_equal(pixels[0], RAMP)
    assert notes == ()


def test_16_bit_big_endian(tmp_path):
    Image.frombytes("I;16B", (256, 256), RAMP.astype(">u2").tobytes()).save(tmp_path / "x.tif")
    assert np.array_equal(read(tmp_path / "x.tif")[0][0], RAMP)


@pytest.mark.parametrize("dtype", [np.int32, np.float32])
def test_32_bits_are_read_as_they_are(tmp_path, dtype):
    path = tmp_path / "x.tif"
    pixels = np.arange(16).reshape(4, 4).astype(dtype) - 5
    Image.fromarray(pixels).save(path)
    assert np.array_equal(read(path)[0][0], pixels)
    assert read(path)[0].numpy().dtype == dtype


def write_broken(path, kind):
    if kind == "empty":
        path.write_bytes(b"")
    elif kind == "text":
        path.write_text("this is no image")
    else:
        noise(64, 64).save(path, format=kind)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize(
    ("kind", "ending", "reason"),
    [
        ("empty", "png", "empty"),
        ("text", "png", "not an image"),
        ("JPEG", "jpg", "truncated"),
        ("PNG", "png", "truncated"),
    ],
)
def test_corrupt_files_are_named(tmp_path, kind, ending, reason):
    path = tmp_path / f"broken.{ending}"
    write_broken(path, kind)
    with pytest.raises(CorruptImageError, match=rf"^{path}: [^\n]*{reason}[^\n]*$"):
        read(path)
    with pytest.raises(CorruptImageError, match=str(path)):
        decode([path], None, skip_corrupt=False)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(CorruptImageError, match=r"nowhere\.png: no such file"):
        read(tmp_path / "nowhere.png")
    (tmp_path / "link.png").symlink_to("nowhere.png")
    with pytest.raises(CorruptImageError, match=r"link\.png: a link to a file that is not there"):
        read(tmp_path / "link.png")


def test_a_file_without_permission_is_named(tmp_path, monkeypatch):
    """Of a file in a folder without permission not even the size is known."""

    def refuse(path, *_, **__):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Image, "open", refuse)
    monkeypatch.setattr("pathlib.Path.stat", refuse)
    with pytest.raises(CorruptImageError, match=r"x\.png: no permission to read it"):
        read(tmp_path / "x.png")


@pytest.mark.parametrize("cache", [False, True])
def test_a_broken_link_is_named(make_folder, cache):
    root = make_folder({"a": 5, "b": 5})
    (root / "a" / "link.png").symlink_to("nowhere")
    with pytest.raises(DataError, match=str(root / "a" / "link.png")):
        dataset("folder", root=root, cache=cache)


def test_an_unreadable_file_ends_the_run(make_folder):
    root = make_folder({"a": 5, "b": 5})
    write_broken(root / "b" / "002.png", "text")
    with pytest.raises(CorruptImageError, match=str(root / "b" / "002.png")):
        dataset("folder", root=root)


def test_skip_goes_on_and_labels_still_match(make_folder):
    root = make_folder({"a": 10, "b": 12, "c": 14})
    for name, kind in (("a/000.png", "empty"), ("b/005.png", "text"), ("c/013.png", "PNG")):
        write_broken(root / name, kind)
    data = dataset("folder", root=root, on_corrupt="skip")
    assert data.notes == ("3 images: unreadable, skipped",)
    seen = []
    for part in data.splits.values():
        assert len(part.images) == len(part.labels)
        assert torch.equal(part.images[:, 0, 0, 0] // 20, part.labels.to(torch.uint8))
        seen += part.images[:, :2, 0, 0].tolist()
    whole = {(20 * k, i) for k, n in enumerate((10, 12, 14)) for i in range(n)} - {(0, 0), (20, 5), (40, 13)}
    assert sorted(map(tuple, seen)) == sorted(whole)


@pytest.mark.parametrize("options", [{}, {"cache": False}, {"stream": True, "image_size": 8}])
def test_skip_leaves_out_whatever_cannot_be_read(make_folder, options):
    root = make_folder({"a": 10, "b": 10})
    Image.fromarray(np.ones((8, 8), np.float32)).save(root / "a" / "float.tif")
    Image.fromarray(np.ones((8, 8), np.int32)).save(root / "b" / "long.tif")
    (root / "b" / "link.png").symlink_to("nowhere")
    data = dataset("folder", root=root, on_corrupt="skip", **options)
    assert sum(map(len, data.splits.values())) == 20
    assert "1 image: unreadable, skipped" in data.notes
    assert "1 image: of another type (1 x float32), skipped" in data.notes
    assert "1 image: of another type (1 x int32), skipped" in data.notes


def test_skip_with_nothing_left_in_a_split(make_folder):
    root = make_folder({"train/a": 4, "train/b": 4, "test/a": 1, "test/b": 1})
    for name in "ab":
        write_broken(root / "test" / name / "000.png", "text")
    with pytest.raises(DataError, match="none of the 2 test images"):
        dataset("folder", root=root, on_corrupt="skip")


def test_skip_with_nothing_readable_at_all(make_folder):
    root = make_folder({"a": 3, "b": 3})
    for path in root.glob("*/*.png"):
        write_broken(path, "empty")
    with pytest.raises(DataError, match=r"none of \d+ files could be read"):
        dataset("folder", root=root, on_corrupt="skip")


def test_notes_count_conversions(make_folder):
    root = make_folder({"a": 4, "b": 4})
    Image.new("RGBA", (8, 8)).save(root / "a" / "000.png")
    Image.new("RGBA", (8, 8)).save(root / "b" / "000.png")
    assert dataset("folder", root=root).notes == ("2 images: alpha channel, dropped",)


def test_different_sizes(tmp_path):
    paths = [tmp_path / f"{i}.png" for i in range(3)]
    for path, size in zip(paths, [(8, 6), (8, 6), (10, 5)], strict=True):
        noise(*size).save(path)
    with pytest.raises(DataError, match=rf"{paths[0]} has 8x6 pixels, {paths[2]} has 10x5: give data\.image_size"):
        decode(paths, None, skip_corrupt=False)
    assert decode(paths, 4, skip_corrupt=False).images.shape == (3, 3, 4, 4)


@pytest.mark.parametrize("first", ["L", "RGB"])
def test_mixed_colours_become_rgb(tmp_path, first):
    other = "RGB" if first == "L" else "L"
    paths = [tmp_path / f"{i}.png" for i in range(4)]
    for i, mode in enumerate([first, first, other, first]):
        noise(5, 5, seed=i).convert(mode).save(paths[i])
    decoded = decode(paths, None, skip_corrupt=False)
    images, kept, notes = decoded.images, decoded.kept, decoded.notes
    assert kept == [0, 1, 2, 3]
    assert len(notes) == 1
    for image, path in zip(images, paths, strict=True):
        assert np.array_equal(image.permute(1, 2, 0), np.array(Image.open(path).convert("RGB")))


def test_mixed_colours_become_rgb_in_every_split(make_folder):
    root = make_folder({f"{split}/{name}": 2 for split in ("train", "val", "test") for name in ("a", "b")})
    for path in root.glob("t*/*/*.png"):  # training and test images are grey, validation images in colour
        Image.new("L", (8, 8), 50).save(path)
    data = dataset("folder", root=root)
    assert [part.shape for part in data.splits.values()] == [(3, 8, 8)] * 3
    assert data.train.images.eq(50).all()
    assert any("RGB" in note for note in data.notes)


def test_grey_folders_stay_grey(make_folder):
    root = make_folder({"a": 5, "b": 5})
    for path in root.glob("*/*.png"):
        Image.new("L", (8, 8), 50).save(path)
    assert dataset("folder", root=root).shape == (1, 8, 8)


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize(("width", "height", "size"), SIZES)
def test_read_resizes_as_torchvision_does(tmp_path, width, height, size, mode):
    picture = noise(width, height).convert(mode)
    picture.save(tmp_path / "x.png")
    pixels, _ = read(tmp_path / "x.png", size)
    assert torch.equal(pixels, torchvision_crop(size)(picture))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("width", "height", "size"), SIZES)
def test_resize_of_tensors_agrees_with_torchvision_and_read(tmp_path, width, height, size, channels):
    pictures = [noise(width, height, channels, seed) for seed in range(3)]
    images = torch.stack([v2.functional.pil_to_tensor(picture) for picture in pictures])
    resized = resize(images, size)
    assert resized.dtype == torch.uint8
    assert resized.shape == (3, channels, size, size)
    transform = v2.Compose([v2.Resize(size, antialias=True), v2.CenterCrop(size)])
    assert (resized.int() - transform(images).int()).abs().max() <= 1
    for image, picture in zip(resized, pictures, strict=True):
        assert (image.int() - torchvision_crop(size)(picture).int()).abs().max() <= 1
        picture.save(tmp_path / "x.png")
        assert (image.int() - read(tmp_path / "x.png", size)[0].int()).abs().max() <= 1


def test_resize_in_parts_changes_nothing():
    images = torch.randint(0, 256, (1030, 1, 6, 4), dtype=torch.uint8)
    assert torch.equal(resize(images, 3)[1020:], resize(images[1020:], 3))


@pytest.mark.parametrize("surplus", range(12))
@pytest.mark.parametrize("portrait", [False, True])
def test_crop_is_central(tmp_path, surplus, portrait):
    """Without resizing, the image says where the crop lies: central, to the half pixel that an odd surplus leaves."""
    columns = np.tile(np.arange(20 + surplus, dtype=np.uint8), (20, 1))
    picture = Image.fromarray(columns.T.copy() if portrait else columns)
    picture.save(tmp_path / "x.png")
    pixels, _ = read(tmp_path / "x.png", 20)
    offset = pixels[0, 0, 0].item()
    assert abs(offset - surplus / 2) <= 0.5
    assert abs(offset - torchvision_crop(20)(picture)[0, 0, 0].item()) <= 1
    assert torch.equal(pixels, resize(v2.functional.pil_to_tensor(picture)[None], 20)[0])


@pytest.mark.parametrize(("width", "height"), [(1, 1), (1, 50), (501, 3), (33, 32), (31, 47)])
def test_any_shape_comes_out_square(tmp_path, width, height):
    noise(width, height).save(tmp_path / "x.png")
    assert read(tmp_path / "x.png", 32)[0].shape == (3, 32, 32)
    assert resize(torch.zeros(1, 3, height, width, dtype=torch.uint8), 32).shape == (1, 3, 32, 32)


def test_read_to_a_given_format(tmp_path):
    noise(6, 6, 1).save(tmp_path / "gray.png")
    gray, _ = read(tmp_path / "gray.png", to=Format())
    assert gray.shape == (3, 6, 6)
    assert torch.equal(gray[0], gray[2])
    wide, _ = read(tmp_path / "gray.png", to=Format("uint16", 1))
    assert torch.equal(wide.int(), 257 * gray[:1].int())
    noise(6, 6).save(tmp_path / "color.png")
    with pytest.raises(DataError, match="different types"):
        read(tmp_path / "color.png", to=Format("uint8", 1))


def test_read_says_nothing_on_the_side(tmp_path):
    picture = noise(6, 6).quantize()
    picture.save(tmp_path / "x.png", transparency=b"\x00\x80")  # PIL warns of such palettes
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read(tmp_path / "x.png")[0].shape == (3, 6, 6)


def test_decode_leaves_the_warning_filters_alone(tmp_path, monkeypatch):
    noise(16, 16).save(tmp_path / "x.png")
    before = list(warnings.filters)
    monkeypatch.setattr(os, "cpu_count", lambda: 8)  # threads
    with warnings.catch_warnings():
        decode([tmp_path / "x.png"] * 2000, None, skip_corrupt=False)
        assert list(warnings.filters) == before
