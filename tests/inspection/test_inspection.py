"""A folder of images looked at in one pass, against numpy on all of its pixels."""

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from normlab.data.images import Format, read, resize
from normlab.errors import DataError
from normlab.inspection import images as inspection
from normlab.inspection.images import inspect_files, inspect_images


@pytest.fixture
def folder(tmp_path):
    """Images of different sizes and kinds; every pixel as RGB."""
    generator = np.random.default_rng(0)
    pixels = []
    for i in range(30):
        image = generator.integers(0, 256, (20 + i, 33, 3)).astype(np.uint8)
        if i % 5 == 0:
            image[:] = image[:, :, :1]
        if i == 10:  # greyscale file
            Image.fromarray(image[:, :, 0]).save(tmp_path / f"{i:02}.png")
        elif i == 11:  # an alpha channel
            Image.fromarray(np.dstack([image, image[:, :, :1]])).save(tmp_path / f"{i:02}.png")
        else:
            Image.fromarray(image).save(tmp_path / f"{i:02}.png")
        pixels.append(image)
    return sorted(tmp_path.glob("*.png")), pixels


def test_every_statistic_is_that_of_all_pixels(folder):
    paths, pixels = folder
    found = inspect_files(paths)
    flat = np.concatenate([image.reshape(-1, 3) for image in pixels]) / 255
    mean, std = found.sums.statistics("pooled")
    np.testing.assert_allclose(mean, flat.mean(0), rtol=1e-12)
    np.testing.assert_allclose(std, flat.std(0), rtol=1e-12)
    _, per_image = found.sums.statistics("per_image")
    np.testing.assert_allclose(per_image, np.mean([(i / 255).std((0, 1)) for i in pixels], 0), rtol=1e-12)
    low, high = found.range()
    assert low.tolist() == (flat.min(0) * 255).astype(int).tolist()
    assert high.tolist() == (flat.max(0) * 255).astype(int).tolist()
    black, white = found.clipped()
    np.testing.assert_allclose(black, (flat == 0).mean(0))
    np.testing.assert_allclose(white, (flat == 1).mean(0))
    assert found.grayscale == 6  # 0, 5, 10, 15, 20, 25
    assert found.converted == {"alpha channel, dropped": 1}
    assert found.sizes == {(33, 20 + i): 1 for i in range(30)}
    assert found.channels == 3
    assert found.one_channel == 1


def test_enough_of_images_of_one_size_is_the_closed_form():
    images = torch.randint(0, 256, (50, 3, 4, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    means = images.double().mean((2, 3)).numpy()
    spread = max(means.std(0, ddof=1) / means.mean(0))
    assert inspect_images(images).enough(0.01) == pytest.approx((1.959964 * spread / 0.01) ** 2, rel=1e-5)
    assert inspect_images(images[:1]).enough(0.01) == math.inf


def test_enough_is_enough_for_images_of_very_different_sizes(tmp_path):
    """Of samples of that many images, 95% have a mean of all pixels within 10% of the whole's."""
    generator = np.random.default_rng(0)
    for i in range(200):
        side = 4 if i % 10 else 40  # a tenth of the images have nine tenths of the pixels
        Image.fromarray(np.full((side, side), generator.integers(30, 200), np.uint8)).save(tmp_path / f"{i:03}.png")
    found = inspect_files(sorted(tmp_path.glob("*.png")))
    pixels, total = found.sums.pixels.numpy(), found.sums.total[:, 0].numpy()
    drawn = generator.integers(200, size=(4000, math.ceil(found.enough(0.1))))
    means = total[drawn].sum(1) / pixels[drawn].sum(1)
    assert np.mean(abs(means / (total.sum() / pixels.sum()) - 1) < 0.1) == pytest.approx(0.95, abs=0.015)


def test_one_image_has_no_interval():
    value, low, high = inspect_images(torch.full((1, 1, 2, 2), 51, dtype=torch.uint8)).intervals(10)["pooled"][0][:, 0]
    assert value == pytest.approx(0.2)
    assert low.isnan()
    assert high.isnan()


def test_images_are_resized_as_a_run_does(folder):
    paths, _ = folder
    found = inspect_files(paths, image_size=12)
    whole = inspect_images(torch.stack([read(path, 12, Format())[0] for path in paths]))
    assert found.sizes == {(12, 12): 30}
    assert torch.equal(found.sums.squares, whole.sums.squares)
    assert torch.equal(found.small, whole.small)


def test_small_copies_are_the_resized_images(folder):
    paths, pixels = folder
    found = inspect_files(paths, small=30, size=16)
    assert found.small.shape == (30, 3, 16, 16)
    for copy, image in zip(found.small, pixels, strict=True):
        expected = resize(torch.from_numpy(image).permute(2, 0, 1)[None], 16)[0]
        assert (copy.int() - expected.int()).abs().max() <= 1
    assert len(inspect_files(paths, small=7).small) == 7


def test_all_greyscale_images_have_one_channel(tmp_path):
    for i in range(4):
        Image.fromarray(np.full((8, 8), 40 * i, np.uint8)).convert("RGB" if i else "L").save(tmp_path / f"{i}.png")
    found = inspect_files(sorted(tmp_path.glob("*.png")))
    assert (found.channels, found.grayscale, found.one_channel, found.small.shape) == (1, 4, 1, (4, 1, 32, 32))
    assert found.range()[1].tolist() == [120]


def test_channels_of_the_same_histogram_are_not_the_same(tmp_path):
    grey = np.arange(64, dtype=np.uint8).reshape(8, 8)
    Image.fromarray(np.dstack([grey, grey[::-1], grey])).save(tmp_path / "turned.png")
    Image.fromarray(np.dstack([grey] * 3)).save(tmp_path / "grey.png")
    found = inspect_files(sorted(tmp_path.glob("*.png")))
    assert (found.grayscale, found.one_channel, found.channels) == (1, 0, 3)


def test_images_in_memory_give_the_same_as_their_files(folder):
    paths, _ = folder
    images = torch.stack([torch.from_numpy(np.array(Image.open(p).convert("RGB").resize((9, 9)))) for p in paths])
    for path, image in zip(paths, images, strict=True):
        Image.fromarray(image.numpy()).save(path)
    one, other = inspect_files(paths), inspect_images(images.permute(0, 3, 1, 2))
    assert torch.equal(one.histogram, other.histogram)
    assert torch.equal(one.sums.squares, other.sums.squares)
    assert torch.equal(one.small, other.small)
    assert one.grayscale == other.grayscale


def test_intervals_cover_the_truth_and_shrink(folder):
    """Of 40 sets of images with brightness drawn around 100, about 95% of the intervals hold it."""
    generator = np.random.default_rng(1)
    inside, widths = 0, []
    for _ in range(40):
        level = generator.normal(100, 20, 60).clip(0, 255).astype(np.uint8)
        images = torch.from_numpy(level)[:, None, None, None].expand(60, 1, 4, 4)
        _, low, high = inspect_images(images).intervals(400)["pooled"][0][:, 0].tolist()
        inside += low <= 99.5 / 255 <= high  # truncated to integers
        widths.append(high - low)
    assert inside >= 34
    assert np.mean(widths) == pytest.approx(2 * 1.96 * 20 / math.sqrt(60) / 255, rel=0.1)


def test_processes_find_what_one_finds(folder, monkeypatch):
    paths, _ = folder
    paths[3].write_bytes(b"")
    done = []
    whole = inspect_files(paths, small=12)
    monkeypatch.setattr(inspection, "PART", 7)  # more parts than one are looked at by other processes
    parts = inspect_files(paths, small=12, progress=done.append)
    assert done == [7, 7, 7, 7, 2]
    for name in ("pixels", "total", "squares"):
        assert torch.equal(getattr(parts.sums, name), getattr(whole.sums, name))
    assert torch.equal(parts.histogram, whole.histogram)
    assert torch.equal(parts.small, whole.small)
    assert (parts.sizes, parts.converted) == (whole.sizes, whole.converted)
    assert (parts.grayscale, parts.one_channel, parts.unreadable) == (whole.grayscale, 1, whole.unreadable)


def test_relative_paths_hold_for_processes_that_were_started_elsewhere(folder, tmp_path, monkeypatch):
    paths, _ = folder
    monkeypatch.setattr(inspection, "PART", 7)
    inspect_files(paths)
    monkeypatch.chdir(tmp_path)
    assert len(inspect_files([Path(path.name) for path in paths])) == 30


def test_a_process_that_looks_does_not_import_torch():
    program = "import sys, normlab.inspection.tally; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_broken_files_are_counted_and_named(folder, tmp_path):
    paths, _ = folder
    paths[3].write_bytes(paths[3].read_bytes()[:60])
    paths[4].write_bytes(b"")
    found = inspect_files(paths)
    assert len(found) == 28
    assert [str(paths[3]) in found.unreadable[0], "the file is empty" in found.unreadable[1]] == [True, True]
    with pytest.raises(DataError, match="none of 1 files could be read"):
        inspect_files(paths[4:5])
    with pytest.raises(DataError, match=r"expected images \[N, C, H, W\]"):
        inspect_images(torch.zeros(2, 8, 8, dtype=torch.uint8))
    with pytest.raises(DataError, match="float64"):
        inspect_images(torch.zeros(2, 1, 8, 8, dtype=torch.float64))
