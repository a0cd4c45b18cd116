"""Every kind of bad image or folder, in every command that reads it: one line that names the file and what to do."""

import os
import pickle
import re
import sys

import numpy as np
import pytest
import tifffile
from PIL import Image

from normlab import inspect
from normlab.config import choose
from normlab.data import dataset
from normlab.errors import NormlabError
from normlab.pictures import CorruptImageError, read_picture
from tests.data.png_files import png

NOISE = np.random.default_rng(0).integers(0, 256, (12, 12, 3)).astype(np.uint8)


def half(path, **options):
    if path.suffix == ".tif":
        tifffile.imwrite(path, np.tile(NOISE[..., 0].astype(np.uint16), (8, 8)))
    else:
        Image.fromarray(np.tile(NOISE, (6, 6, 1))).save(path, **options)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def damaged(path):
    """16 bits, color, and a byte of the pixels is another than its checksum says."""
    png(path, np.tile(NOISE.astype(np.uint16) * 257, (4, 4, 1)))
    whole = bytearray(path.read_bytes())
    whole[len(whole) // 2] ^= 255
    path.write_bytes(whole)


def frames(path):
    several = [Image.fromarray(np.full((12, 12, 3), value, np.uint8)) for value in (0, 128, 255)]
    several[0].save(path, save_all=True, append_images=several[1:])


def pages(path):
    tifffile.imwrite(path, np.stack([NOISE[..., 0]] * 4), photometric="minisblack")


NOT_AN_IMAGE = "not an image, or broken at its beginning"
PAGES = "give data.pages=first or data.pages=all"
SHAPES = r"expected \[H, W\], \[C, H, W\] or \[H, W, C\]"

# A file's name, what writes it, and the line about it after the path.
FILES = {
    "empty.png": (lambda p: p.touch(), "the file is empty"),
    "empty.tif": (lambda p: p.touch(), "the file is empty"),
    "empty.npy": (lambda p: p.touch(), "the file is empty|not readable as an array"),
    "text.png": (lambda p: p.write_text("no image"), NOT_AN_IMAGE),
    "text.jfif": (lambda p: p.write_text("no image"), NOT_AN_IMAGE),
    "text.tif": (lambda p: p.write_text("no image"), NOT_AN_IMAGE),
    "text.npy": (lambda p: p.write_text("no image"), "not an array of numpy"),
    "pointer.npy": (lambda p: p.write_text("version https://git-lfs.github.com/spec/v1"), "git lfs pull brings"),
    "picture.npy": (
        lambda p: Image.new("L", (4, 4)).save(p, "PNG"),
        r"numpy \(an image of the format PNG: let its name",
    ),
    "pickle.npy": (lambda p: p.write_bytes(pickle.dumps([1])), r"not an array of numpy \(pickled Python objects: save"),
    "patch.npy": (
        lambda p: np.save(p, np.zeros((9, 9, 200))),
        r"9 bands, or 200 bands of 9x9 pixels\? Give data\.axes",
    ),
    "text.pgm": (lambda p: p.write_text("no image"), NOT_AN_IMAGE),
    "half.png": (half, "truncated"),
    "half.jpg": (half, "truncated"),
    "half.bmp": (half, "truncated"),
    "half.tif": (half, "."),
    "half.pgm": (lambda p: p.write_bytes(b"P5 4 4 1000\n" + bytes(10)), "truncated, 5 of 16 values"),
    "minus.pgm": (lambda p: p.write_bytes(b"P2 2 1 7\n3 -1\n"), "a value of -1, but its header declares 7"),
    "word.pgm": (lambda p: p.write_bytes(b"P5 x 1 300\n" + bytes(9)), "b'x' in the place of a number"),
    "scale.pfm": (lambda p: p.write_bytes(b"Pf\n2 1\nwhite\n" + bytes(8)), "b'white' in its header; expected a scale"),
    "start.tif": (lambda p: p.write_bytes(b"II*\0"), NOT_AN_IMAGE),
    "nowhere.tif": (lambda p: p.write_bytes(b"MM\0*\xff\xff\xff\xff"), NOT_AN_IMAGE),
    "page.jpg": (lambda p: p.write_text("<!DOCTYPE html><html>not found"), rf"{NOT_AN_IMAGE} \(a web page\)"),
    "pointer.png": (lambda p: p.write_text("version https://git-lfs.github.com/spec/v1"), "git lfs pull brings"),
    "phone.jpg": (lambda p: p.write_bytes(b"\0\0\0\x18ftypheic" + bytes(99)), "HEIF, which is not read"),
    "loop.png": (lambda p: p.symlink_to("loop.png"), "a link that leads to itself"),
    "pages.jpg": (lambda p: (pages(p.with_suffix(".tif")), p.with_suffix(".tif").rename(p)), f"4 pages .*{PAGES}"),
    "damaged.png": (damaged, "damaged"),
    "stack_of_gray.npy": (
        lambda p: np.save(p, np.zeros((30, 20, 24))),
        r"or many gray images\?.* as \[N, 1, H, W",
    ),
    "cmyk.tif": (
        lambda p: tifffile.imwrite(p, np.zeros((8, 8, 4), np.uint16), photometric="separated"),
        "SEPARATED with 16 bits, of which Pillow would keep 8",
    ),
    "header.pgm": (lambda p: p.write_bytes(b"P5 4"), "truncated in its header"),
    "above.pgm": (lambda p: p.write_bytes(b"P2 2 1 7\n3 9\n"), "a value of 9, but its header declares 7"),
    "zero.pgm": (lambda p: p.write_bytes(b"P5 2 1 0\n" + bytes(2)), r"a largest value of 0 .* expected 1\.\.65535"),
    "half.pfm": (lambda p: p.write_bytes(b"Pf\n4 4\n-1.0\n" + bytes(8)), "truncated, 2 of 16 values"),
    "link.png": (lambda p: p.symlink_to("nowhere"), "a link to a file that is not there"),
    "frames.gif": (frames, f"3 frames in one file; {PAGES}"),
    "pages.tif": (pages, f"4 pages in one file; {PAGES}"),
    "stack.npy": (lambda p: np.save(p, np.stack([NOISE] * 2)), f"2 images in one file; {PAGES}"),
    "nan.npy": (lambda p: np.save(p, np.full((3, 4), np.nan)), r"12 of 12 pixels are NaN .* data\.mask=nodata=nan"),
    "vector.npy": (lambda p: np.save(p, np.arange(5)), rf"an array of shape \[5\]; {SHAPES}"),
    "none.npy": (lambda p: np.save(p, np.zeros((0, 4, 4, 3))), r"an array of shape \[0, 4, 4, 3\]"),
    "cube.npy": (lambda p: np.save(p, np.zeros((4, 5, 4))), r"give data\.axes=chw or data\.axes=hwc"),
    "objects.npy": (lambda p: np.save(p, np.array([{}, 1])), "Python objects, not numbers"),
    "complex.npy": (
        lambda p: np.save(p, np.zeros((3, 3), complex)),
        "pixels of the type complex128; expected integers",
    ),
    "huge.npy": (lambda p: np.save(p, np.full((3, 3), 2**40)), "do not fit into 32 bits; save them as 32-bit floats"),
    "two.npz": (lambda p: np.savez(p, a=NOISE, b=NOISE), r"holds 2 arrays \(a, b\); expected one image in a file"),
    "pipe.png": (os.mkfifo, "not a regular file, but a pipe"),
}


def folder_with(root, name):
    """Two classes of six good images, and the bad file among those of the first; its path."""
    for label in ("a", "b"):
        (root / label).mkdir(parents=True)
        for n in range(6):
            Image.fromarray(np.roll(NOISE, n + 7 * (label == "b"), 0)).save(root / label / f"{n}.png")
    bad = root / "a" / name
    FILES[name][0](bad)
    return bad


def one_line(text, path, expected):
    assert re.search(rf"{re.escape(str(path))}: [^\n]*({expected})", text), text
    assert len(text.strip().splitlines()) == 1


@pytest.mark.parametrize("name", FILES)
def test_a_bad_file_is_named_by_the_reader(tmp_path, name):
    FILES[name][0](tmp_path / name)
    with pytest.raises(CorruptImageError) as caught:
        read_picture(tmp_path / name)
    one_line(str(caught.value), tmp_path / name, FILES[name][1])


@pytest.mark.parametrize("name", FILES)
def test_a_bad_file_ends_a_run(tmp_path, name):
    bad = folder_with(tmp_path, name)
    with pytest.raises(CorruptImageError) as caught:
        dataset("folder", root=tmp_path, cache=False)
    one_line(str(caught.value), bad, FILES[name][1])


@pytest.mark.slow
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("name", FILES)
def test_a_bad_file_can_be_left_out_and_is_counted(tmp_path, name, stream):
    folder_with(tmp_path, name)
    options = {"stream": True, "image_size": 8, "workers": 0} if stream else {}
    data = dataset("folder", root=tmp_path, on_corrupt="skip", cache=False, **options)
    assert sum(map(len, data.splits.values())) == 12
    assert re.fullmatch(r"1 image: (unreadable|of several pages), skipped", data.notes[0])


@pytest.mark.parametrize("name", FILES)
def test_a_bad_file_is_counted_by_inspect(tmp_path, name):
    bad = folder_with(tmp_path, name)
    _, _, subject = inspect.inspect([str(tmp_path)])
    assert len(subject.train) == 12
    [line] = subject.train.unreadable
    one_line(line, bad, FILES[name][1])


@pytest.fixture
def refused(here, capsys):
    """Run inspect with arguments: the one line that it ends with."""

    def run(*arguments):
        with pytest.raises(SystemExit) as end:
            inspect.main([*arguments, "conditioning=false"])
        out, err = capsys.readouterr()
        assert (end.value.code, out) == (2, "")
        [line] = err.strip().splitlines()
        return line

    return run


@pytest.mark.parametrize("name", ["empty.png", "half.jpg", "pages.tif", "nan.npy"])
def test_a_folder_of_bad_files_is_refused_by_inspect(here, refused, name):
    (here / "bad").mkdir()
    FILES[name][0](here / "bad" / name)
    assert re.search(rf"none of 1 files could be read; the first: .*{name}: .*({FILES[name][1]})", refused("bad"))


@pytest.mark.parametrize("name", ["x.dcm", "x.nii", "x.nii.gz"])
def test_bad_medical_files_are_named(tmp_path, name):
    (tmp_path / name).write_bytes(b"no image")
    with pytest.raises(CorruptImageError, match=rf"{name}: (not a|not readable|Not a gzipped)"):
        read_picture(tmp_path / name)


def classes(*folders, count=4):
    for folder in folders:
        os.makedirs(folder)
        for n in range(count):
            Image.fromarray(np.roll(NOISE, n, 0)).save(f"{folder}/{n}.png")


def lists(text, name="list.csv"):
    classes("f/a", "f/b")
    os.makedirs("f/lists", exist_ok=True)
    with open(f"f/{name}", "w") as file:
        file.write(text)


# What is written below the working folder, arguments besides the folder f, and the line.
FOLDERS = [
    (
        lambda: classes("f/a", "f/train/c", "f/train/d"),
        [],
        r"'train' is the name of a split, but 'a' lies beside it.*none",
    ),
    (lambda: classes("f/a", "f/test"), [], r"'test' is the name of a split, but 'a' lies beside it"),
    *(
        (lambda folders=folders: classes(*(f"f/{name}/a" for name in folders)), [], expected)
        for folders, expected in {
            ("x/train", "x/test"): r"'x' holds splits \('test', 'train'\).*give data\.root=f/x to use them",
            (
                "data/Train",
                "data/Val",
                "more",
            ): r"'data' holds splits \('Train', 'Val'\), which",
            ("cat/train", "cat/test", "dog/train", "dog/test"): r"'cat' holds splits .*data\.splits=none",
            ("a/b/c/train", "a/b/c/val"): r"'a/b/c' holds splits .* give data\.root=f/a/b/c to use them",
            ("Fold_A", "Fold_B"): "look like folds",
            ("bottle/train", "bottle/test_2"): r"'bottle' holds splits",
            ("fold_0", "fold_1", "fold_2", "fold_3"): r"'fold_0', 'fold_1', 'fold_2', \.\.\. look like folds",
            ("Fold1", "Fold2"): r"look like folds .* data\.splits=\{train: Fold1, test: Fold2\}",
            ("kfold-1", "kfold-2"): r"look like folds",
            ("split1", "split2"): r"look like folds",
            ("cv0", "cv1"): r"look like folds",
            ("seg_train", "seg_test", "seg_pred"): r"resemble the names of splits, but 'seg_pred' lies beside them",
            ("train", "test1", "test2"): r"'test1' and 'test2' are both names of the test split",
            ("train_1", "train_2", "test"): r"'train_1' and 'train_2' are both names of the train split",
            ("fit", "test"): r"'fit' lies beside it .*data\.splits=\{train: fit, test: test\}",
            ("train", "gallery"): r"'gallery' lies beside it .*data\.splits=\{train: train\}",
        }.items()
    ),
    (lambda: lists("path\na/0.png\na/1.png\na/0.png\n"), ["data.splits=list.csv"], r"a/0\.png is listed twice for"),
    (lambda: classes("f/train/a", "f/Training/a"), [], r"'Training' and 'train' are both names of the train split"),
    (lambda: classes("f/train/a", "f/test/a", "f/eval/a"), [], r"'eval' and 'test' are both names of the test split"),
    (lambda: classes("f/a", "f/b"), ["data.splits={train: c}"], r"train is to be 'c', but f has no such folder"),
    (lambda: classes("f/a", "f/b"), ["data.splits={test: a}"], r"with train among them; given test"),
    (lambda: classes("f/a", "f/b"), ["data.splits={train: a, exam: b}"], r"expected the folders of train, validation"),
    (lambda: classes("f/a", "f/b"), ["data.splits=no.csv"], r"data\.splits=no\.csv: there is no such file or folder"),
    (
        lambda: lists("x,label\n1,2\n"),
        ["data.splits=list.csv"],
        r"expected a column of paths \(path, file,.*it has x, label",
    ),
    (lambda: lists("path\na/9.png\n"), ["data.splits=list.csv"], r"list\.csv, line 2: no such file a/9\.png"),
    (lambda: lists("path,split\na/0.png,exam\n"), ["data.splits=list.csv"], r"line 2: split is 'exam'; expected train"),
    (lambda: lists("path,split\na/0.png,test\n"), ["data.splits=list.csv"], r"no row is of the split train"),
    (lambda: lists("a/0.png a", "lists/test.txt"), ["data.splits=lists"], r"expected train\.txt in this folder"),
    (
        lambda: lists("a/7.png a", "lists/train.txt"),
        ["data.splits=lists"],
        r"train\.txt, line 1: no such file a/7\.png",
    ),
    (
        lambda: classes("f/a", "f/b"),
        ["data.bands=[4]"],
        r"data\.bands=\[4\]: .* has 3 bands, counted from 1; there is no band 4",
    ),
    (lambda: classes("f/a", "f/b"), ["data.bands=[0]"], r"data\.bands.*0"),
    (lambda: classes("f/a", "f/b"), ["data.bands=[]"], r"data\.bands"),
    (lambda: classes("f/a", "f/b"), ["data.pages=last"], r"data\.pages=last: .*'refuse', 'first' or 'all'"),
    (lambda: classes("f/a", "f/b"), ["data.exif=turn"], r"data\.exif=turn: .*'ignore' or 'apply'"),
    (lambda: classes("f/a", "f/b"), ["data.axes=hw"], r"data\.axes=hw: .*'chw' or 'hwc'"),
    (lambda: classes("f/a", "f/b"), ["data.white=0"], r"data\.black=0 and data\.white=0: black must be below white"),
    (lambda: classes("f/a", "f/b"), ["data.black=300"], r"data\.black=300 and data\.white=255"),
    (lambda: classes("f/a", "f/b"), ["data.white=bright"], r"data\.white"),
    (lambda: classes("f/a", "f/b"), ["data.colour=1"], r"data\.colour: unknown key"),
]
ONLY_INSPECT = [
    (lambda: classes("f/a"), ["data.mask=nowhere"], r"data\.mask=nowhere: expected alpha, nodata=VALUE or a folder"),
    (lambda: classes("f/a"), ["data.mask=nodata=none"], r"data\.mask=nodata=none: expected a number"),
    (
        lambda: classes("f/a", "m"),
        ["--plot"],
        r"--plot conditioning=false: expected the name of a file that ends in \.png",
    ),
    (lambda: classes("f/a"), ["--plot=x.jpg"], r"--plot x\.jpg: expected"),
    (lambda: classes("f/a"), ["--plot=no/x.png"], r"--plot no/x\.png: cannot be written"),
    (lambda: classes("f/a"), ["white=4095"], r"white: unknown key"),
    (lambda: os.makedirs("f"), [], r"f: no images in it"),
    (lambda: (os.makedirs("f"), open("f/x.cr2", "w").close()), [], r"no images in it .*left out 1 file .*1 \.cr2"),
    (lambda: classes("f/@eaDir"), [], r"no images in it .*left out 4 files in hidden or generated folders"),
]
ONLY_RUN = [
    (lambda: os.makedirs("f"), [], r"expected one sub-folder of images for each class, but it is empty"),
    (lambda: classes("f"), [], r"4 images lie in it directly \(data\.splits=FILE\.csv gives classes to files\)"),
    (lambda: classes("f/a"), [], r"only one class, 'a'; a classifier needs at least two"),
    (lambda: classes("f/x/one/a", "f/x/two/a"), [], r"only one class, 'x'.*give data\.root=\S*f/x"),
    (
        lambda: (classes("f/images"), open("f/list.csv", "w").close()),
        [],
        r"only one class, 'images'.* a \.csv file beside it may have them: data\.splits=FILE\.csv",
    ),
    (lambda: classes("f/train/images", "f/train/masks", "f/test/images"), [], r"images/ and masks/ are images and"),
    (lambda: classes("f/images", "f/masks"), [], r"images/ and masks/ are images and their masks"),
    (lambda: classes("f/val/a", "f/test/a"), [], r"'test' and 'val' named as a split, but there is no train/"),
    (lambda: classes("f/train/a", "f/train/b", "f/test/c"), [], r"class 'c' does not occur among the training images"),
    (lambda: (classes("f/a", "f/b"), os.makedirs("f/c")), [], r"f/c: no images in it"),
    (
        lambda: classes("f/a", "f/b"),
        ["data.mask=nowhere"],
        r"data\.mask=nowhere: expected alpha, nodata=VALUE or a folder",
    ),
    (lambda: classes("f/a", "f/b"), ["data.stream=true"], r"give data\.image_size=PIXELS"),
    (lambda: (classes("f/a"), classes("f/b", count=2)), [], r"class 'b' has 2 image\(s\).*at least 3 of each class"),
    (lambda: lists("path,label\na/0.png,x\n"), ["data.splits=list.csv"], r"only one class, 'x'"),
]


@pytest.mark.parametrize(("write", "arguments", "expected"), [*FOLDERS, *ONLY_INSPECT])
def test_a_bad_folder_or_key_is_refused_by_inspect(here, refused, write, arguments, expected):
    write()
    assert re.search(expected, refused("f", *arguments))


@pytest.mark.parametrize(("write", "arguments", "expected"), [*FOLDERS, *ONLY_RUN])
def test_a_bad_folder_or_key_is_refused_by_a_run(here, write, arguments, expected):
    import yaml

    write()
    pairs = (argument.removeprefix("data.").partition("=") for argument in arguments)
    options = {key: yaml.safe_load(value) for key, _, value in pairs}
    with pytest.raises(NormlabError, match=expected) as caught:
        dataset("folder", root="f", cache=False, **options)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (
            ["norm.mean=[123.675,116.28,103.53]", "norm.std=[58.395,57.12,57.375]"],
            r"norm\.mean=\[0\.485,0\.456,0\.406\]",
        ),
        (["norm.mean=127.5", "norm.std=127.5"], r"divided by 255 they are norm\.mean=0\.5 norm\.std=0\.5$"),
        (["norm.mean=0.5", "norm.std=51"], r"divided by 255 they are norm\.mean=0\.5 norm\.std=0\.2"),
        (["norm.mean=50", "norm.std=25"], r"if they are percent, norm\.mean=0\.5 norm\.std=0\.25$"),
        (["norm.mean=102", "norm.std=1"], r"divided by 255 they are norm\.mean=0\.4 norm\.std=0\.00392157$"),
        (["norm.mean=0.5", "norm.std=[0.2,0,0.2]"], r"^normlab: norm\.std\.1=0: should be greater than 0$"),
        (["norm.mean=[0.1,x,0.1]", "norm.std=1"], r"^normlab: norm\.mean\.1=x: should be a valid number.*$"),
    ],
)
def test_constants_in_other_units_end_the_main_command(call, arguments, expected):
    status, _, err = call("+norm=imagenet", "data=digits", "data.limit=40", "arch=linear", "logger=none", *arguments)
    assert status == 2
    assert re.search(expected, err.strip(), re.MULTILINE)
    assert sum(line.startswith("normlab: ") for line in err.splitlines()) == 1


@pytest.mark.parametrize("number", [0, 4, 7, 14])
def test_the_main_command_ends_with_the_same_line(call, number):
    write, arguments, expected = FOLDERS[number]
    write()
    status, _, err = call("+norm=unit", "data=folder", "data.root=f", "logger=none", *arguments)
    assert status == 2
    assert re.search(expected, err)
    assert "Traceback" not in err


def test_choices_of_the_schema_have_the_folder_s_keys():
    assert choose("data", "folder", root="x", white=4095, bands=[1], splits={"train": "a"}).white == 4095
    assert sys.version_info >= (3, 11)
