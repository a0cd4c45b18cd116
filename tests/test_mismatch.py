"""A trained network under every scheme, on planted labels."""

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from normlab import mismatch
from normlab.archs.pretrained import weights
from normlab.config import choose, defaults
from normlab.errors import ConfigError, DataError
from normlab.measurements import mismatch as measured
from normlab.statistics import share_interval


@pytest.fixture(scope="module")
def network():
    return weights("efficientnet_lite0")


@pytest.fixture
def folder(here, photos, network):
    """Pictures of 256 pixels, sorted into folders by what the network says of them; one of them wrongly."""
    images = torch.nn.functional.interpolate(photos.train.images[::500].float(), 256, mode="bilinear").byte()
    cut = images[..., 16:240, 16:240]
    answer = measured.answers(network.network.eval(), measured.fixed(network), cut, 4).argmax(1).tolist()
    answer[0] = (answer[0] + 1) % 1000
    for i, (image, number) in enumerate(zip(images, answer, strict=True)):
        path = here / "sorted" / str(number) / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(path)
    return here / "sorted", len(images)


@pytest.mark.slow
def test_planted_labels_are_found_under_the_expected_scheme(folder, here, capsys):
    root, count = folder
    mismatch.main(
        ["data=folder", f"data.root={root}", "norms=inception,raw", "classes=imagenet", "out=found", "resamples=300"]
    )
    frame = pd.read_csv("found/mismatch.csv").set_index("norm")
    assert list(frame.index) == ["expected", "inception", "raw"]
    assert frame.accuracy["expected"] == (count - 1) / count
    assert frame.agreement["expected"] == 1
    assert frame.difference["expected"] == 0
    assert frame.loc["expected", ["agreement_low", "agreement_high", "difference_low", "difference_high"]].isna().all()
    interval = share_interval(count - 1, count)
    assert (frame.accuracy_low["expected"], frame.accuracy_high["expected"]) == (interval.low, interval.high)
    assert frame.agreement["inception"] > 0.5 > frame.agreement["raw"]
    assert frame.difference["raw"] == pytest.approx(frame.accuracy["raw"] - frame.accuracy["expected"])
    assert frame.difference_low["raw"] <= frame.difference["raw"] <= frame.difference_high["raw"] < 0
    out = capsys.readouterr().out
    assert "efficientnet_lite0 expects mean 0.498 0.498 0.498" in out
    text = (here / "found/mismatch.md").read_text()
    assert "Made by `python -m normlab.mismatch data=folder" in text
    assert "resized to 256 pixels, bilinearly" in text
    line = next(line for line in text.splitlines() if line.startswith("| expected"))
    assert [cell.strip() for cell in line.split("|")][3] == "+0.0"  # in points, no interval
    assert "minus expected, in points" in text


@pytest.mark.parametrize(("train", "test"), [("Train Set", "Test Set"), ("TrainImages", "TestImages")])
def test_the_classes_lie_in_the_training_split_whatever_its_name(tmp_path, train, test):
    for place in (train, test):
        for label in "012":
            (tmp_path / place / label).mkdir(parents=True)
            for n in range(3):
                Image.new("RGB", (8, 8), (int(label), n, 0)).save(tmp_path / place / label / f"{n}.png")
    paths, labels, _ = measured.files(choose("data", "folder", root=tmp_path), 3)
    assert len(paths) == 18
    assert labels.tolist() == [int(path.parent.name) for path in paths]


def test_synsets_are_numbered_in_their_order():
    numbers = measured.class_numbers(["n01440764", "n15075141", "n01443537"], 1000)
    assert numbers.tolist() == [0, 999, 1]
    assert measured.class_numbers(["7", "3"], 10, "imagenet").tolist() == [7, 3]
    assert measured.class_numbers([str(n) for n in range(10)], 10).tolist() == list(range(10))
    with pytest.raises(DataError, match="none of ImageNet-1k"):
        measured.class_numbers(["n00000000"], 1000)


def test_other_names_are_no_classes_and_among_synsets_or_numbers_a_mistake():
    for names in ([], ["cat"], ["cat", "dog"], ["1000", "2024"], ["n0144076"], ["0", "1", "2"], ["cat", "7"]):
        assert measured.class_numbers(names, 1000) is None
    for names, odd in (
        (["n01440764", "n0144353"], "n0144353"),
        (["cat", "n01440764"], "cat"),
        (["cat", "7"], "cat"),
        (["7", "1000"], "1000"),
        (["n01440764", "7"], "7"),
    ):
        with pytest.raises(DataError, match=f"class '{odd}': other sub-folders are classes of ImageNet"):
            measured.class_numbers(names, 1000, "imagenet")
    assert measured.class_numbers(["n01440764"], 1000, "own") is None
    with pytest.raises(DataError, match="classes=imagenet: class 'cat' is neither a synset"):
        measured.class_numbers(["cat", "dog"], 1000, "imagenet")


def test_synsets_want_the_classes_of_imagenet():
    for classes in (7, 1001):
        with pytest.raises(DataError, match="not the 1,000 of ImageNet-1k"):
            measured.class_numbers(["n01440764", "n01443537"], classes)


def test_a_limit_draws_from_all_images_and_a_size_is_refused(folder, network):
    root, count = folder
    data = defaults("data", "folder") | {"root": str(root)}
    everything, labels = measured.pictures(data, network, "imagenet")
    assert everything.shape == (count, 3, 224, 224)
    images, some = measured.pictures(data | {"limit": 5}, network, "imagenet")
    again, _ = measured.pictures(data | {"limit": 5}, network, "imagenet")
    assert torch.equal(images, again)
    places = [next(i for i, image in enumerate(everything) if torch.equal(image, one)) for one in images]
    assert len(set(places)) == 5
    assert places != [0, 1, 2, 3, 4]
    assert torch.equal(labels[places], some)
    assert len(measured.pictures(data | {"limit": 1000}, network)[0]) == count
    with pytest.raises(ConfigError, match=r"data.image_size=64: .* the network's own size, 224"):
        measured.pictures(data | {"image_size": 64}, network)


def unsorted(root, places):
    """The same pictures in other folders, in turn."""
    other = root.parent / "own"
    for i, path in enumerate(sorted(root.rglob("*.png"))):
        place = other / places[i % len(places)] / path.name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(path.read_bytes())
    return other


@pytest.mark.slow
@pytest.mark.parametrize("places", [["."], ["cat", "dog"], ["cat"], [".", "cat/2024", "train/cat", "test"]])
def test_images_without_the_networks_classes_have_everything_but_accuracy(folder, here, capsys, places):
    root, count = folder
    unsorted(root, places)
    for out, classes in (("sorted", "imagenet"), ("own", "auto")):
        options = ["norms=dataset,raw", f"out=of_{out}", "resamples=300", f"classes={classes}"]
        mismatch.main(["data=folder", f"data.root={out}", *options])
    assert f"{measured.NO_CLASSES}\n" in capsys.readouterr().out.split("of_sorted/")[1]
    known, found = (pd.read_csv(f"of_{out}/mismatch.csv").set_index("norm") for out in ("sorted", "own"))
    assert (found.images == count).all()
    assert known.accuracy.notna().all()
    for key in ("accuracy", "difference"):
        assert found[[key, f"{key}_low", f"{key}_high"]].isna().all(axis=None)
    np.testing.assert_allclose(found.confidence, known.confidence, atol=1e-4)
    for key in ("agreement", "agreement_low", "agreement_high"):
        pd.testing.assert_series_equal(found[key], known[key])
    text = (here / "of_own/mismatch.md").read_text()
    assert f"\n- {measured.NO_CLASSES}\n" in text
    line = next(line for line in text.splitlines() if line.startswith("| raw"))
    assert [cell.strip() for cell in line.split("|")][2:4] == ["-", "-"]


def test_files_without_classes_are_drawn_and_skipped_as_others(folder, network, caplog):
    root, count = folder
    own = unsorted(root, ["."])
    data = defaults("data", "folder") | {"root": str(own)}
    assert len(measured.pictures(data | {"limit": 5}, network)[0]) == 5
    (own / "broken.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"broken.png: not an image"):
        measured.pictures(data, network)
    images, labels = measured.pictures(data | {"on_corrupt": "skip"}, network)
    assert (len(images), labels) == (count, None)
    assert "broken.png" in caplog.text


def test_a_key_that_changes_nothing_is_refused(folder, network):
    data = defaults("data", "folder") | {"root": str(folder[0])}
    for key, value in (
        ("batch_size", 8),
        ("validation", 0.5),
        ("stream", True),
        ("cache", False),
        ("mask", "alpha"),
        ("bands", (1,)),
        ("white", 100),
        ("exif", "apply"),
        ("test_seed", 3),
    ):
        with pytest.raises(ConfigError, match=re.escape(f"data.{key}={value}: leave it out")):
            measured.pictures(data | {key: value}, network)


def test_a_folder_of_no_images_or_of_synsets_further_down_is_refused(folder, network, here):
    data = defaults("data", "folder") | {"root": str(here / "own")}
    (here / "own").mkdir()
    with pytest.raises(DataError, match="own: no images in it"):
        measured.pictures(data, network)
    unsorted(folder[0], ["val/n01440764", "val/n01443537"])
    with pytest.raises(DataError, match=r"n01440764: a synset, .* give data.root=\S*own/val$"):
        measured.pictures(data, network)
    one_class = data | {"root": str(here / "own/val/n01440764")}
    assert measured.pictures(one_class, network)[1] is None
    with pytest.raises(DataError, match="data=digits: image files are required"):
        measured.pictures(defaults("data", "digits"), network)


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("out=make.py", "out=make.py: cannot be written (File exists); choose another folder with out=FOLDER"),
        ("norms=", "norms=: nothing given"),
    ],
)
def test_a_mistake_names_the_option(here, capsys, argument, message):
    (here / "make.py").touch()
    with pytest.raises(SystemExit):
        mismatch.main(["data=folder", "data.root=.", argument])
    assert message in capsys.readouterr().err


def test_whitening_takes_patches(folder, network):
    root, _ = folder
    data = defaults("data", "folder") | {"root": str(root), "limit": 4}
    rows, notes = measured.under_each(data, network, ("pca", "zca"), resamples=50, which="imagenet")
    assert [row["norm"] for row in rows] == ["expected", "pca, patches of 8", "zca, patches of 8"]
    assert notes == []


def test_the_folder_where_one_stands_has_its_name(folder, monkeypatch, capsys):
    monkeypatch.chdir(unsorted(folder[0], ["."]))
    mismatch.main(["data=folder", "data.root=.", "data.limit=3", "norms=unit", "resamples=50"])
    assert "saved in runs/mismatch/own-efficientnet_lite0/:" in capsys.readouterr().out


def test_learned_is_unit_and_says_so(folder, network):
    data = defaults("data", "folder") | {"root": str(folder[0]), "limit": 4}
    rows, notes = measured.under_each(data, network, ("unit", "yolo", "learned"), resamples=50, which="imagenet")
    unit, *others = ({key: value for key, value in row.items() if key != "norm"} for row in rows[1:])
    assert others == [unit, unit]
    assert notes == ["learned: not trained here, so it is at its start, unit"]


@pytest.mark.slow
def test_what_cannot_be_fitted_is_named_and_left_out(folder, network):
    root, _ = folder
    data = defaults("data", "folder") | {"root": str(root)}
    odd = replace(network, expectation=replace(network.expectation, image_size=220))  # 8 does not divide it
    rows, notes = measured.under_each(data, odd, ("zca", "unit"), resamples=50, which="imagenet")
    assert [row["norm"] for row in rows] == ["expected", "unit"]
    assert len(notes) == 1
    assert notes[0].startswith("zca, patches of 8: norm.patch=8 does not divide")
    assert np.isfinite(rows[1]["confidence_low"])
