"""How folders are laid out in the wild: which are splits and classes, what is no image, and what is told."""

import os

import numpy as np
import pytest
from PIL import Image

from normlab.data import dataset
from normlab.data.layout import walk
from normlab.errors import DataError
from normlab.inspect import inspect
from normlab.inspection.report import report, text_of

RNG = np.random.default_rng(12)


def save(folder, count, name="{}.png", mask=False):
    folder.mkdir(parents=True, exist_ok=True)
    for n in range(count):
        pixels = RNG.integers(0, 256, (8, 8, 3)).astype(np.uint8)
        Image.fromarray((pixels[..., 0] > 99).astype(np.uint8) if mask else pixels).save(folder / name.format(n))


def classes(folder, count):
    save(folder / "a", count), save(folder / "b", count)


def seen(*arguments):
    label, _, subject = inspect(list(map(str, arguments)))
    content = report(subject.train, subject.total, resamples=20, with_conditioning=False, subject=subject)
    return content, text_of(label, content)


PAIRS = [
    ("Train Set", "Test Set"),
    ("TrainingData", "TestData"),
    ("trainset", "testset"),
    ("TrainImages", "TestImages"),
    ("traindata", "valdata"),
    ("Trainset", "Valset"),
    ("imagesTr", "imagesTs"),
    ("TrainFolder", "TestFolder"),
    ("trainA", "testA"),
    ("Trainingsdaten", "Testdaten"),
    ("train ", "test "),
    ("trainval", "test"),
    ("train", "test_set"),
    ("train", "val2017"),
    ("train_full", "test"),
    ("train", "validate"),
    ("train", "hold-out"),
    ("train", "Held Out"),
    ("train", "unseen"),
    ("Train-Val", "Test"),
    ("traindataset", "testdataset"),
    ("training", "Evaluate"),
    ("seg_train/seg_train", "seg_test/seg_test"),
    ("train/train", "test/test"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("train", "test"), PAIRS)
def test_names_of_splits(tmp_path, train, test):
    classes(tmp_path / train, 6), classes(tmp_path / test, 3)
    for options in ({}, {"stream": True, "image_size": 8, "workers": 0}):
        data = dataset("folder", root=tmp_path, cache=False, **options)
        assert data.classes == ("a", "b")
        assert len(data.splits["test"]) == 6
    content, _ = seen(tmp_path)
    assert [(row["split"], row["images"]) for row in content["splits"]] == [("train", 12), ("test", 6)]
    named = [name for name in (train, test) if name not in ("train", "test")]
    assert all(any(f"{name}/ is the" in note for note in content["notes"]) for name in named)


def test_a_third_split_of_a_longer_name_is_not_left_out(tmp_path):
    classes(tmp_path / "train", 6), classes(tmp_path / "val", 2), classes(tmp_path / "test_images", 3)
    assert {name: len(part) for name, part in dataset("folder", root=tmp_path).splits.items()} == {
        "train": 12,
        "validation": 4,
        "test": 6,
    }


@pytest.mark.parametrize("names", [("train_station", "bus_station"), ("test_strip", "swab"), ("valley", "devil")])
def test_words_of_splits_in_classes(tmp_path, names):
    for name in names:
        save(tmp_path / name, 6)
    assert dataset("folder", root=tmp_path).classes == tuple(sorted(names))


def test_every_folder_is_a_class_on_request(tmp_path):
    for name in ("fold_0", "fold_1"):
        classes(tmp_path / name, 4)
    with pytest.raises(DataError, match="look like folds"):
        dataset("folder", root=tmp_path)
    assert dataset("folder", root=tmp_path, splits="none").classes == ("fold_0", "fold_1")
    assert dataset("folder", root=tmp_path, splits={"train": "fold_0", "test": "fold_1"}).classes == ("a", "b")
    assert seen(tmp_path, "data.splits=none")[0]["classes"] == {"fold_0": 8, "fold_1": 8}


def told(root, expected, **options):
    """Both a run and inspect say it."""
    for notes in (dataset("folder", root=root, cache=False, **options).notes, seen(root)[0]["notes"]):
        assert any(expected in note for note in notes), notes


def test_folders_of_the_same_classes_are_told(tmp_path):
    classes(tmp_path / "siteA", 4), classes(tmp_path / "siteB", 4)
    told(tmp_path, "SAME SUB-FOLDERS: 'siteA', 'siteB' are taken as classes, but each holds 'a', 'b'")


def test_folders_of_the_same_classes_further_below_are_told(tmp_path):
    """As in Office-31: amazon/images/bike."""
    classes(tmp_path / "amazon/images", 4), classes(tmp_path / "dslr/images", 4)
    told(tmp_path, "SAME SUB-FOLDERS: 'amazon', 'dslr'")


def test_a_split_among_the_classes_is_told(tmp_path):
    classes(tmp_path / "train", 4), classes(tmp_path / "train/val", 3), classes(tmp_path / "test", 3)
    told(tmp_path, "SPLIT AMONG CLASSES: 'val' is taken as a class")


def test_masks_of_the_same_names_as_another_class_are_told(tmp_path):
    save(tmp_path / "original", 4), save(tmp_path / "lung_mask", 4, mask=True)
    told(tmp_path, "MASKS: 'lung_mask' holds files of the same names as 'original'")


def test_folders_without_images_beside_splits(tmp_path):
    classes(tmp_path / "train_set", 4), classes(tmp_path / "test_set", 3)
    (tmp_path / "docs").mkdir(), (tmp_path / "docs/readme.txt").touch()
    assert len(dataset("folder", root=tmp_path).splits["test"]) == 6


def test_an_empty_split_is_told(tmp_path):
    classes(tmp_path / "train", 4), (tmp_path / "test").mkdir()
    assert any("test/ is the test split, but holds no images" in note for note in seen(tmp_path)[0]["notes"])
    with pytest.raises(DataError, match=r"test: expected one sub-folder of images for each class, but it is empty"):
        dataset("folder", root=tmp_path)


def test_splits_in_names_of_files_are_told(tmp_path):
    for label in ("a", "b"):
        save(tmp_path / label, 4, "train_{}.png"), save(tmp_path / label, 4, "test_{}.png")
    told(tmp_path, "SPLITS IN NAMES: the names of files contain those of splits (8 of test, 8 of train)")


def test_splits_inside_names_of_files_are_told(tmp_path):
    for label in ("a", "b"):
        save(tmp_path / label, 4, f"{label}_train_{{}}.png"), save(tmp_path / label, 2, f"{label}_test_{{}}.png")
    told(tmp_path, "SPLITS IN NAMES: the names of files contain those of splits (4 of test, 8 of train)")


def test_classes_that_differ_in_case_or_spaces_alone_are_told(tmp_path):
    for name in ("cat", "Cat ", "dog"):
        save(tmp_path / name, 3)
    told(tmp_path, "ALIKE: 'Cat ', 'cat' are classes of their own, and their names differ in case or spaces alone")


def test_classes_whose_names_look_the_same_are_told(tmp_path):
    """é as one code point and as two, which file systems keep apart: a folder that was copied from a Mac."""
    for name in ("caf\u00e9", "cafe\u0301", "dog"):
        save(tmp_path / name, 3)
    told(
        tmp_path, r"ALIKE: 'cafe\u0301', 'caf\xe9' are classes of their own, and their names differ in the code points"
    )


def test_images_below_those_of_a_class_are_told(tmp_path):
    classes(tmp_path, 4), save(tmp_path / "a/thumbnails", 4)
    told(tmp_path, "images in sub-folders of classes, beside other images, count like those (a/thumbnails/ 4)")


def test_what_is_told_does_not_depend_on_how_a_folder_is_named(tmp_path, monkeypatch):
    classes(tmp_path, 4), save(tmp_path / "a/small", 4)
    monkeypatch.chdir(tmp_path)
    told(".", "beside other images, count like those (a/small/ 4)")


def test_images_beside_classes_are_told(tmp_path):
    classes(tmp_path, 4), save(tmp_path, 1)
    assert any("1 image directly in" in note for note in seen(tmp_path)[0]["notes"])


# How masks lie beside the images of a class: folders or names of the images and of the masks.
MASKS = {
    "folders": (("images", "{}.png"), ("masks", "{}.png")),
    "other words": (("imgs", "{}.png"), ("GroundTruth", "{}.png")),
    "a suffix": ((".", "scan ({}).png"), (".", "scan ({})_mask.png")),
    "several": ((".", "s{}.png"), (".", "s{}_mask_1.png")),
    "another suffix": ((".", "ISIC_{}.jpg"), (".", "ISIC_{}_segmentation.png")),
    "labels": ((".", "{}.png"), (".", "{}_labels.png")),
    "an annotation": ((".", "{}.png"), (".", "{}_annotation.png")),
    "a matte": ((".", "{}.png"), (".", "{}_matte.png")),
    "a point": ((".", "{}.png"), (".", "{}.mask.png")),
    "no separator": ((".", "im{}.png"), (".", "im{}mask.png")),
    "a prefix": ((".", "{}.png"), (".", "mask_{}.png")),
    "nnU-Net": (("imagesTr", "c_{}_0000.png"), ("labelsTr", "c_{}.png")),
}


@pytest.mark.parametrize("name", MASKS)
def test_masks_beside_the_images_of_a_class_are_no_images(tmp_path, name):
    (folder, image), (beside, mask) = MASKS[name]
    for label in ("covid", "normal"):
        save(tmp_path / label / folder, 6, image), save(tmp_path / label / beside, 6, mask, mask=True)
    told(tmp_path, "left out 12 masks beside images")
    data = dataset("folder", root=tmp_path)
    assert (data.classes, sum(map(len, data.splits.values()))) == (("covid", "normal"), 12)
    content, _ = seen(tmp_path)
    assert (content["images"], content["greyscale"]) == (12, 0)


# Folders of images and of masks, or names of both, that are not known for sure; and what is told.
DOUBTFUL = {
    "names of masks": (
        "photos/{}.png",
        "masks/{}_mask.png",
        "'masks' holds files that are named after those of",
    ),
    "other names": ("Original/{}.png", "GT/{}_m.png", "'GT' has a name of masks or labels, and counts like the other"),
    "Cityscapes": (
        "leftImg8bit/a/{}_leftImg8bit.png",
        "gtFine/a/{}_gtFine_labelIds.png",
        "'gtFine' has a name of",
    ),
    "CamVid": ("a/{}.png", "a/{}_L.png", "4 files named X_L beside X count"),
    "DRIVE": ("a/{}_training.png", "a/{}_manual1.png", "4 files named X_manual1 beside X count"),
}


@pytest.mark.parametrize("name", DOUBTFUL)
def test_what_may_be_masks_counts_and_is_told(tmp_path, name):
    image, mask, expected = DOUBTFUL[name]
    for path in (image, mask):
        folder, _, file = path.rpartition("/")
        save(tmp_path / folder, 4, file, mask=path == mask)
    save(tmp_path / "b", 4, "other_{}.png")
    told(tmp_path, f"MASKS: {expected}")
    assert seen(tmp_path)[0]["images"] == 12


def test_labels_beside_images_of_two_splits(tmp_path):
    """nnU-Net: imagesTs/ has no labels."""
    for name, count in (("imagesTr", 4), ("imagesTs", 2), ("labelsTr", 4)):
        save(tmp_path / name, count, "c_{}.png" if name == "labelsTr" else "c_{}_0000.png")
    content, text = seen(tmp_path)
    assert [(row["split"], row["images"]) for row in content["splits"]] == [("train", 4), ("test", 2)]
    assert "left out 4 images in" in text
    with pytest.raises(DataError, match="4 images lie in it directly"):
        dataset("folder", root=tmp_path)


@pytest.mark.parametrize("names", [("mask", "no_mask"), ("with_mask", "without_mask"), ("label", "bottle")])
def test_classes_that_are_called_masks_stay_classes(tmp_path, names):
    for name in names:
        save(tmp_path / name, 4)
    data = dataset("folder", root=tmp_path, cache=False)
    assert (data.classes, sum(map(len, data.splits.values()))) == (tuple(sorted(names)), 8)
    assert seen(tmp_path)[0]["classes"] == dict.fromkeys(sorted(names), 4)


def test_a_name_like_that_of_a_mask_without_its_image_counts(tmp_path):
    classes(tmp_path, 3), save(tmp_path / "a", 3, "face_{}_mask.png")
    assert seen(tmp_path)[0]["images"] == 9


def test_masks_beside_folders_without_images(tmp_path):
    """Pascal VOC: lists and boxes beside images and two kinds of masks."""
    save(tmp_path / "JPEGImages", 4), save(tmp_path / "SegmentationClass", 4, mask=True)
    save(tmp_path / "SegmentationObject", 4, mask=True)
    (tmp_path / "ImageSets").mkdir(), (tmp_path / "ImageSets/train.txt").touch()
    (tmp_path / "Annotations").mkdir(), (tmp_path / "Annotations/0.xml").touch()
    content, text = seen(tmp_path)
    assert content["images"] == 4
    assert "left out Annotations/, SegmentationClass/, SegmentationObject/" in text


def test_masks_inside_splits(tmp_path):
    for part in ("train", "test"):
        save(tmp_path / part / "images", 4), save(tmp_path / part / "masks", 4, mask=True)
    with pytest.raises(DataError, match="are images and their masks"):
        dataset("folder", root=tmp_path)
    assert [row["images"] for row in seen(tmp_path)[0]["splits"]] == [4, 4]


def test_hidden_files_and_links_are_told(tmp_path):
    classes(tmp_path, 4)
    for name in (".DS_Store", "._0.png"):
        (tmp_path / "a" / name).touch()
    (tmp_path / "b" / "again").symlink_to(tmp_path / "a"), (tmp_path / "b" / "up").symlink_to("..")
    below = walk(tmp_path)
    assert len(below.images) == 8
    assert below.notes() == [
        "left out 2 hidden files (.DS_Store, ._0.png)",
        "left out 2 links to folders that count already, or lie above (again, up)",
    ]


def test_control_characters_in_names_are_escaped(tmp_path):
    for name in ("new\nline", "red\x1b[31m"):
        save(tmp_path / name, 4)
    (tmp_path / "x.a\nb").touch()
    content, text = seen(tmp_path)
    assert content["classes"] == {"new\\nline": 4, "red\\x1b[31m": 4}
    assert "\x1b" not in text
    assert "1 .a\\nb" in text
    assert dataset("folder", root=tmp_path).classes == ("new\\nline", "red\\x1b[31m")


def test_training_images_of_equal_bytes_are_told(tmp_path):
    classes(tmp_path, 4)
    (tmp_path / "b/copy.png").write_bytes((tmp_path / "a/0.png").read_bytes())
    warnings = seen(tmp_path)[0]["warnings"]
    assert any("REPEATED: 1 images have the same bytes as another training image" in one for one in warnings)
    os.remove(tmp_path / "b/copy.png")
    assert seen(tmp_path)[0]["warnings"] == []


# ---- lists


def listed(root, text, name="list.csv"):
    classes(root, 4)
    (root / name).parent.mkdir(exist_ok=True)
    (root / name).write_bytes(text.encode())


@pytest.mark.parametrize(
    "header",
    [
        "path,label,split",
        "Image Path,Label,Split",
        "File-Name,Class,Subset",
        "image_id;target;fold",
        "filename,diagnosis,data set",
        "image,dx,Set Type",
        "name,labels,dataset",
    ],
)
@pytest.mark.parametrize("values", [("train", "test"), ("Train ", "TEST SET"), ("training_set", "testing")])
def test_headers_and_values_of_lists(tmp_path, header, values):
    rows = [f"{c}/{n}.png,{c},{values[n > 2]}" for c in "ab" for n in range(4)]
    text = "\r\n".join([header, *rows])
    listed(tmp_path, text.replace(",", ";") if ";" in header else text)
    data = dataset("folder", root=tmp_path, splits="list.csv", cache=False)
    assert len(data.splits["test"]) == 2
    assert data.classes == ("a", "b")


def test_paths_of_windows(tmp_path):
    listed(tmp_path, "\ufeffpath,split\r\n" + "\r\n".join(f"{c}\\{n}.png,train" for c in "ab" for n in range(4)))
    assert sum(map(len, dataset("folder", root=tmp_path, splits="list.csv").splits.values())) == 8


@pytest.mark.parametrize("separator", [" ", "\t", ", "])
def test_lists_of_lines(tmp_path, separator):
    for part, numbers in (("train_list", range(3)), ("test_list", [3])):
        listed(tmp_path, "\n".join(f"{c}/{n}.png{separator}{c}" for c in "ab" for n in numbers), f"l/{part}.txt")
    data = dataset("folder", root=tmp_path, splits="l", cache=False)
    assert len(data.splits["test"]) == 2
    assert data.classes == ("a", "b")


def test_a_list_of_validation_images_alone_is_the_test_split_and_told(tmp_path):
    listed(
        tmp_path, "path,split\n" + "\n".join(f"{c}/{n}.png,{'train' if n else 'val'}" for c in "ab" for n in range(4))
    )
    data = dataset("folder", root=tmp_path, splits="list.csv")
    assert len(data.splits["test"]) == 2
    assert "the validation images are the test split, because there are no others for it" in data.notes


def test_images_that_no_list_names_are_told(tmp_path):
    listed(tmp_path, "path,split\n" + "\n".join(f"{c}/{n}.png,train" for c in "ab" for n in range(3)))
    expected = "left out 2 images in"
    assert any(expected in note for note in dataset("folder", root=tmp_path, splits="list.csv").notes)
    assert any(expected in note for note in seen(tmp_path, "data.splits=list.csv")[0]["notes"])


@pytest.mark.parametrize(
    ("header", "values", "message"),
    [
        ("path,label,belongs", ("Train ", "TEST SET"), r"the column 'belongs' \(TEST SET, Train \) looks like splits"),
        ("path,label,is_test", ("0", "1"), r"the column 'is_test' \(0, 1\) looks like splits; call it split, with the"),
    ],
)
def test_a_column_that_looks_like_splits_is_refused(tmp_path, header, values, message):
    listed(tmp_path, "\n".join([header, *(f"{c}/{n}.png,{c},{values[n > 2]}" for c in "ab" for n in range(4))]))
    with pytest.raises(DataError, match=message):
        dataset("folder", root=tmp_path, splits="list.csv")


def test_an_empty_label_is_refused(tmp_path):
    listed(tmp_path, "path,split,label\na/0.png,train,x\nb/0.png,train\na/1.png,train,y\n")
    with pytest.raises(DataError, match=r"list\.csv, line 3: label is empty"):
        dataset("folder", root=tmp_path, splits="list.csv")


def test_what_a_list_does_not_say_is_told(tmp_path):
    rows = [f"{c}/{n}.png,{'uv'[n % 2]},{n}" for c in "ab" for n in range(4)]
    listed(tmp_path, "\n".join(["path,finding,age", *rows]))
    for notes in (
        dataset("folder", root=tmp_path, splits="list.csv").notes,
        seen(tmp_path, "data.splits=list.csv")[0]["notes"],
    ):
        assert any(
            "no column of splits (split, set, subset, fold, ...), so every row is for training" in n for n in notes
        )
        assert any("the names of the folders are the classes; not used: finding, age" in note for note in notes)
    listed(tmp_path, "\n".join(["path,split,label", *(f"{c}/{n}.png,train,{c}" for c in "ab" for n in range(4))]))
    assert not any("no column" in note for note in dataset("folder", root=tmp_path, splits="list.csv").notes)


def test_labels_of_two_spellings_in_a_list_are_told(tmp_path):
    classes(tmp_path, 8)
    rows = [f"{c}/{n}.png,train,{('cat', 'Cat', 'dog', 'dog')[n % 4]}" for c in "ab" for n in range(8)]
    listed(tmp_path, "\n".join(["path,split,label", *rows]))
    for notes in (
        dataset("folder", root=tmp_path, splits="list.csv").notes,
        seen(tmp_path, "data.splits=list.csv")[0]["notes"],
    ):
        assert any("ALIKE: 'Cat', 'cat' are classes of their own" in note for note in notes)


def test_a_label_may_end_the_name_of_its_file(tmp_path):
    listed(tmp_path, "\n".join(f"{c}/{n}.png {'fg'[n % 2]}" for c in "ab" for n in range(4)), "l/train.txt")
    data = dataset("folder", root=tmp_path, splits="l")
    assert data.classes == ("f", "g")


def test_a_list_that_is_not_in_utf_8(tmp_path):
    classes(tmp_path, 4)
    rows = "\n".join(f"{c}/{n}.png,train,{'éa'[n % 2]}" for c in "ab" for n in range(4))
    (tmp_path / "list.csv").write_bytes(f"path,split,label\n{rows}\n".encode("latin-1"))
    data = dataset("folder", root=tmp_path, splits="list.csv")
    assert len(data.classes) == 2
    assert sum(map(len, data.splits.values())) == 8
