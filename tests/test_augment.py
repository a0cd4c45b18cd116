import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torchvision.transforms.v2 import functional as reference

from normlab import augment
from normlab.archs import Network
from normlab.augment import Augment, adjust_brightness, adjust_contrast, random_crop, random_resized_crop
from normlab.config import choices, choose
from normlab.data import load
from normlab.errors import ConfigError
from normlab.norms import build_scheme
from normlab.record import Curve
from normlab.run import require_fitting
from normlab.training.module import Training

EVERYTHING = {"crop_padding": 2, "resized_crop": [0.5, 1], "flip": True, "brightness": 0.4, "contrast": 0.4}
FACTORS = [0.0, 0.25, 0.3, 0.7, 1.0, 1.1, 1.5, 1.9, 2.0]


def noise(batch=16, channels=3, height=12, width=10, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (batch, channels, height, width), generator=generator, dtype=torch.uint8)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def augmented(seed=0, epoch=0, rank=0, images=None, **options):
    augmentation = Augment(choose("augment", "none", **options), seed)
    augmentation.start_epoch(epoch, rank)
    return augmentation(noise() if images is None else images)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("ours", [adjust_brightness, adjust_contrast])
@pytest.mark.parametrize("factor", FACTORS)
def test_brightness_and_contrast_equal_torchvisions(ours, factor, channels):
    images = noise(40, channels)
    images[0], images[1], images[2] = 0, 255, 128
    expected = getattr(reference, ours.__name__)(images, factor)
    difference = ours(images, torch.full((40, 1, 1, 1), factor)).int() - expected.int()
    # Both cut to whole levels, and the last bit of a mean, whose order of summation is the processor's, may tip one.
    assert difference.abs().max() <= 1
    assert difference.ne(0).float().mean() < 0.01


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("ours", [adjust_brightness, adjust_contrast])
def test_each_image_has_its_own_factor(ours, channels):
    images = noise(50, channels)
    factors = 2 * torch.rand(50, generator=generator(1))
    changed = ours(images, factors.reshape(-1, 1, 1, 1))
    for image, factor, result in zip(images, factors, changed, strict=True):
        difference = result.int() - getattr(reference, ours.__name__)(image, factor.item()).int()
        assert difference.abs().max() <= 1  # 1 - factor is rounded to 32 bits here, to 64 there
        assert difference.ne(0).float().mean() < 0.01


def test_brightness_and_contrast_limits():
    images = noise()
    nothing, same = torch.zeros(16, 1, 1, 1), torch.ones(16, 1, 1, 1)
    assert adjust_brightness(images, nothing).eq(0).all()
    assert adjust_contrast(images, nothing).flatten(1).float().std(1).eq(0).all()
    assert torch.equal(adjust_brightness(images, same), images)
    assert torch.equal(adjust_contrast(images, same), images)


@pytest.mark.parametrize(("channels", "height", "width", "padding"), [(3, 6, 6, 2), (1, 5, 7, 3), (3, 4, 3, 1)])
def test_random_crop_gives_windows_of_the_padded_image(channels, height, width, padding):
    images = noise(200, channels, height, width) | 1  # nowhere black, unlike the padding
    crops = random_crop(images, padding, generator())
    padded = F.pad(images, (padding,) * 4)
    offsets = set()
    for image, crop in zip(padded, crops, strict=True):
        found = [
            (top, left)
            for top in range(2 * padding + 1)
            for left in range(2 * padding + 1)
            if torch.equal(image[:, top : top + height, left : left + width], crop)
        ]
        assert len(found) == 1
        offsets.add(found[0])
    assert {top for top, _ in offsets} == {left for _, left in offsets} == set(range(2 * padding + 1))
    assert len(offsets) > 2 * padding + 1  # rows and columns are drawn apart


@pytest.mark.parametrize(
    ("dtype", "value"), [(torch.int16, -1024), (torch.uint16, 100), (torch.float32, math.nan), (torch.float32, -0.5)]
)
def test_random_crop_pads_with_the_black_of_any_type(dtype, value):
    images = noise(20, 2, 6, 6).to(torch.int32).add(3000).to(dtype)
    crops = random_crop(images, 2, generator(), value)
    assert crops.dtype == dtype
    crops, images = crops.double(), images.double()
    is_padding = crops.isnan() if math.isnan(value) else crops == value
    assert 0 < is_padding.float().mean() < 0.6
    assert crops[~is_padding].min() >= 3000
    padded = F.pad(images, (2,) * 4, value=value)
    for image, crop in zip(padded, crops, strict=True):
        windows = (image[:, top : top + 6, left : left + 6] for top in range(5) for left in range(5))
        assert any(torch.allclose(window, crop, rtol=0, atol=0, equal_nan=True) for window in windows)


@pytest.mark.parametrize(
    ("options", "padding"),
    [({"data.black": -1024, "data.white": 3071}, -1024), ({"data.mask": "nodata=-9999"}, math.nan), ({}, 0)],
)
def test_a_run_pads_with_its_black_or_with_what_does_not_count(tmp_path, make, options, padding):
    root = tmp_path / "scans"
    for label in "ab":
        (root / label).mkdir(parents=True)
        for n in range(8):
            np.save(root / label / f"{n}.npy", np.full((8, 8), n - 1000, np.int16) + np.arange(8, dtype=np.int16))
    config = make(data="folder", augment="crop_flip", **{"data.root": root, "data.batch_size": 4, **options})
    data = load(config.data)
    require_fitting(config, data)
    norm = build_scheme(config.norm, data.front, data.masked).set_range(data.black, data.white)
    network = Network.for_data(norm.fit(data.training_inputs()), config.arch, data)
    images = data.train.images
    crops = Training(network, config, Curve(tmp_path / "curve.csv"), 1, 1).augment(images)
    assert crops.dtype == images.dtype
    added = crops[(crops > -900) | (crops < -1000) | crops.isnan()]
    assert len(added)
    assert added.isnan().all() if math.isnan(padding) else (added == padding).all()


def test_a_black_that_the_type_does_not_hold_is_refused_as_padding(make):
    for black in (-1, 0.5):
        config = make(augment="crop_flip", **{"data.black": black})
        with pytest.raises(ConfigError, match=rf"crop_padding: adds pixels of data\.black={black}, which images"):
            require_fitting(config, load(config.data))


def draws(monkeypatch, *rows):
    """Make the four draws of random_resized_crop, area, ratio, x and y, these numbers of 0..1."""
    table = torch.tensor(rows, dtype=torch.float32).T
    monkeypatch.setattr(augment.torch, "rand", lambda *_, **__: table)


@pytest.mark.parametrize("side", [1, 7, 32])
def test_resized_crop_of_everything_is_the_identity(monkeypatch, side):
    images = noise(2, 3, side, side)
    draws(monkeypatch, [1, 0.5, 0.3, 0.9], [0, 0.5, 0.5, 0])
    assert torch.equal(random_resized_crop(images, (1.0, 1.0), generator()), images)


def test_resized_crop_equals_torchvisions(monkeypatch):
    """A quarter of the area at ratio 1: windows of half the size, from corner to corner."""
    images = noise(3, 3, 16, 16)
    draws(monkeypatch, [0, 0.5, 0, 0], [0, 0.5, 1, 1], [0, 0.5, 0.5, 0])
    crops = random_resized_crop(images, (0.25, 1.0), generator())
    for crop, image, (top, left) in zip(crops, images, [(0, 0), (8, 8), (0, 4)], strict=True):
        expected = reference.resized_crop(image, top, left, 8, 8, [16, 16], antialias=False)
        # Ours samples the image beyond the edge of the window; the reference repeats the edge.
        assert (crop.int() - expected.int())[:, 1:-1, 1:-1].abs().max() <= 1


def test_resized_crop_areas_and_ratios():
    """On an image of coordinates the crop tells its own width and height."""
    side = 64
    x = torch.arange(side, dtype=torch.uint8).expand(side, side)
    images = torch.stack([2 * x, 2 * x.T, 0 * x]).expand(500, 3, side, side)
    crops = random_resized_crop(images, (0.2, 0.5), generator()).float() / 2
    width = (crops[:, 0, 32, -2] - crops[:, 0, 32, 1]) / (side - 3)
    height = (crops[:, 1, -2, 32] - crops[:, 1, 1, 32]) / (side - 3)
    area, ratio = width * height, width / height
    assert area.min() > 0.18
    assert area.max() < 0.52
    assert ratio.min() > 0.72
    assert ratio.max() < 1.4
    assert area.mean().item() == pytest.approx(0.35, abs=0.02)
    assert ratio.log().mean().item() == pytest.approx(0, abs=0.02)
    assert area.std() > 0.07
    assert ratio.log().std() > 0.12
    left, top = crops[:, 0, 32, 0] / side, crops[:, 1, 0, 32] / side
    for start, extent in ((left, width), (top, height)):
        place = start / (1 - extent)
        assert place.mean().item() == pytest.approx(0.5, abs=0.05)
        assert place.min() < 0.05
        assert place.max() > 0.95


@pytest.mark.parametrize("shape", [(3, 8, 8), (1, 9, 5), (3, 4, 20), (1, 1, 1)])
def test_resized_crop_keeps_constants_and_ranges(shape):
    constant = torch.full((20, *shape), 77, dtype=torch.uint8)
    assert torch.equal(random_resized_crop(constant, (0.05, 1.0), generator()), constant)
    images = noise(20, *shape) // 2 + 50
    crops = random_resized_crop(images, (0.05, 1.0), generator())
    assert crops.dtype == torch.uint8
    assert crops.shape == images.shape
    assert (crops.amax((1, 2, 3)) <= images.amax((1, 2, 3))).all()
    assert (crops.amin((1, 2, 3)) >= images.amin((1, 2, 3))).all()


def test_flip_is_exact_and_for_about_half():
    images = noise(2000, 1, 3, 4)
    result = augmented(images=images, flip=True)
    flipped = (result == images.flip(3)).all((1, 2, 3))
    assert (flipped | (result == images).all((1, 2, 3))).all()
    assert flipped.float().mean().item() == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize(("option", "ours"), [("brightness", adjust_brightness), ("contrast", adjust_contrast)])
def test_factors_are_uniform_about_one(monkeypatch, option, ours):
    seen = []
    monkeypatch.setattr(augment, ours.__name__, lambda images, factor: seen.append(factor) or images)
    augmented(images=noise(4000, 1, 1, 1), **{option: 0.3})
    (factor,) = seen
    assert factor.shape == (4000, 1, 1, 1)
    assert factor.min().item() == pytest.approx(0.7, abs=0.01)
    assert factor.max().item() == pytest.approx(1.3, abs=0.01)
    assert factor.mean().item() == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("options", [{key: value} for key, value in EVERYTHING.items()] + [EVERYTHING])
def test_type_and_shape_stay_and_the_input_too(options, channels):
    images = noise(channels=channels)
    before = images.clone()
    result = augmented(images=images, **options)
    assert result.dtype == torch.uint8
    assert result.shape == images.shape
    assert not torch.equal(result, images)
    assert torch.equal(images, before)


@pytest.mark.parametrize("options", [{key: value} for key, value in EVERYTHING.items()] + [EVERYTHING])
def test_draws_depend_on_seed_epoch_and_rank_alone(options):
    first = augmented(seed=1, epoch=2, **options)
    torch.manual_seed(99)
    assert torch.equal(first, augmented(seed=1, epoch=2, **options))
    for other in ({"seed": 2, "epoch": 2}, {"seed": 1, "epoch": 3}, {"seed": 1, "epoch": 2, "rank": 1}):
        assert not torch.equal(first, augmented(**other, **options))


def test_batches_of_an_epoch_differ_and_come_again():
    augmentation = Augment(choose("augment", "none", **EVERYTHING), seed=5)
    images = noise()
    first, second = augmentation(images), augmentation(images)
    assert not torch.equal(first, second)
    augmentation.start_epoch(0)
    assert torch.equal(augmentation(images), first)
    assert torch.equal(augmentation(images), second)


def test_images_of_a_batch_differ():
    images = noise(1).expand(30, -1, -1, -1)
    for key in ("crop_padding", "resized_crop", "brightness", "contrast"):
        assert len(augmented(images=images, **{key: EVERYTHING[key]}).flatten(1).unique(dim=0)) > 10
    assert len(augmented(images=images, flip=True).flatten(1).unique(dim=0)) == 2


def test_off_by_default():
    images = noise()
    assert torch.equal(augmented(images=images), images)


@pytest.mark.parametrize("name", choices("augment"))
def test_every_choice_runs(name):
    images = noise(8, 3, 32, 32)
    result = Augment(choose("augment", name))(images)
    assert result.shape == images.shape
    assert torch.equal(result, images) == (name == "none")
