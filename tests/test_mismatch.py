"""A trained network under every scheme, on planted labels."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from normlab import mismatch
from normlab.archs.pretrained import weights
from normlab.config import defaults
from normlab.errors import ConfigError, DataError
from normlab.statistics import share_interval


@pytest.fixture(scope="module")
def network():
    return weights("efficientnet_lite0")


@pytest.fixture
def folder(here, photos, network):
    """Pictures of 256 pixels, sorted into folders by what the network says of them; one of them wrongly."""
    images = torch.nn.functional.interpolate(photos.train.images[::500].float(), 256, mode="bilinear").byte()
    cut = images[..., 16:240, 16:240]
    answer = mismatch.answers(network.network.eval(), mismatch.fixed(network), cut, 4).argmax(1).tolist()
    answer[0] = (answer[0] + 1) % 1000
    for i, (image, number) in enumerate(zip(images, answer, strict=True)):
        path = here / "sorted" / str(number) / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(path)
    return here / "sorted", len(images)


def test_planted_labels_are_found_under_the_expected_scheme(folder, here, capsys):
    root, count = folder
    mismatch.main(["data=folder", f"data.root={root}", "norms=inception,raw", "out=found", "resamples=300"])
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
    assert "less expected, in points" in text


def test_synsets_are_numbered_in_their_order():
    numbers = mismatch.class_numbers(["n01440764", "n15075141", "n01443537"], 1000)
    assert numbers.tolist() == [0, 999, 1]
    assert mismatch.class_numbers(["7", "3"], 10).tolist() == [7, 3]
    for names, message in ((["n00000000"], "none of ImageNet-1k"), (["cat"], "'cat'"), (["1000"], "'1000'")):
        with pytest.raises(DataError, match=message):
            mismatch.class_numbers(names, 1000)


def test_synsets_want_the_classes_of_imagenet():
    for classes in (7, 1001):
        with pytest.raises(DataError, match="not the 1,000 of ImageNet-1k"):
            mismatch.class_numbers(["n01440764", "n01443537"], classes)


def test_a_limit_draws_from_all_images_and_a_size_is_refused(folder, network):
    root, count = folder
    data = defaults("data", "folder") | {"root": str(root)}
    everything, labels = mismatch.pictures(data, network)
    assert everything.shape == (count, 3, 224, 224)
    images, some = mismatch.pictures(data | {"limit": 5}, network)
    again, _ = mismatch.pictures(data | {"limit": 5}, network)
    assert torch.equal(images, again)
    places = [next(i for i, image in enumerate(everything) if torch.equal(image, one)) for one in images]
    assert len(set(places)) == 5
    assert places != [0, 1, 2, 3, 4]
    assert torch.equal(labels[places], some)
    assert len(mismatch.pictures(data | {"limit": 1000}, network)[0]) == count
    with pytest.raises(ConfigError, match=r"data.image_size=64: .* the network's own size, 224"):
        mismatch.pictures(data | {"image_size": 64}, network)


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("out=make.py", "out=make.py: cannot be written (File exists); choose another with out=FOLDER"),
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
    options = mismatch.Options(norms=("pca", "zca"), resamples=50)
    rows, left_out = mismatch.measure(data, network, options)
    assert [row["norm"] for row in rows] == ["expected", "pca, patches of 8", "zca, patches of 8"]
    assert left_out == {}


def test_what_cannot_be_fitted_is_named_and_left_out(folder, network):
    root, _ = folder
    data = defaults("data", "folder") | {"root": str(root)}
    odd = replace(network, expectation=replace(network.expectation, image_size=220))  # 8 does not divide it
    rows, left_out = mismatch.measure(data, odd, mismatch.Options(norms=("zca", "unit"), resamples=50))
    assert [row["norm"] for row in rows] == ["expected", "unit"]
    assert "does not divide" in left_out["zca, patches of 8"]
    assert np.isfinite(rows[1]["confidence_low"])
