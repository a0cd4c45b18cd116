"""What every scheme promises, and each formula against brute force in float64."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from normlab import normalization
from normlab.errors import ConfigError, DataError
from normlab.norms import Affine
from tests.conftest import OF_IMAGES

NAMES = OF_IMAGES
AFFINE = [name for name in NAMES if isinstance(normalization(name), Affine)]


def fitted(name, images, **options):
    if name in ("pca", "zca"):
        options.setdefault("patch", 4)
    return normalization(name, **options).fit(images.split(7))


@pytest.mark.parametrize("name", NAMES)
def test_contract(name, random_images):
    """float32 of the images' shape, finite for constant, black and white images too; the input stays as it was."""
    before = random_images.clone()
    output = fitted(name, random_images)(random_images)
    assert output.dtype == torch.float32
    assert output.shape == random_images.shape
    assert output.isfinite().all()
    assert torch.equal(random_images, before)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", [0, 1, 7, 128, 255])
def test_constant_images_and_single_pixels_are_finite(name, value):
    for side in (1, 4, 5):
        images = torch.full((3, 3, side, side), value, dtype=torch.uint8)
        images[2] = 255 - value  # so that there is something to fit
        options = {"patch": 1} if name in ("pca", "zca") else {"grid": 1} if name == "per_region" else {}
        assert fitted(name, images, **options)(images).isfinite().all()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["per_image", "per_image_channel", "min_max", "min_max_channel", "per_region"])
@pytest.mark.parametrize("eps", [0.0, 1e-12, 1e-3])
def test_a_constant_image_becomes_exact_zeros(name, eps):
    for value in range(256):
        images = torch.full((1, 3, 9, 7), value, dtype=torch.uint8)
        assert not normalization(name, eps=eps)(images).any()


@pytest.mark.parametrize("name", NAMES)
def test_fitting_streams(name, photos):
    """Neither the size of batches nor, to 1e-10, the order of images changes what is fitted."""
    images = photos.train.images[::6]
    options = {"patch": 4} if name in ("pca", "zca") else {}
    whole = normalization(name, **options).fit([images])
    shuffled = images[torch.randperm(len(images), generator=torch.Generator().manual_seed(0))]
    for batches in (images.split(1), images.split(137), shuffled.split(64)):
        streamed = normalization(name, **options).fit(batches)
        for key, value in whole.state_dict().items():
            torch.testing.assert_close(streamed.state_dict()[key], value, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", NAMES)
def test_fitted_tensors_travel_in_the_state_dict(name, photos):
    images = photos.train.images[::20]
    original = fitted(name, images)
    copy = normalization(name, **({"patch": 4} if name in ("pca", "zca") else {}))
    copy.load_state_dict(original.state_dict())
    torch.testing.assert_close(original(images), copy(images))


@pytest.mark.parametrize("name", NAMES)
def test_evaluation_changes_nothing(name, photos):
    """Statistics stay those of the training images, whatever passes through afterwards."""
    scheme = fitted(name, photos.train.images[::20])
    before = {key: value.clone() for key, value in scheme.state_dict().items()}
    alone = scheme(photos.test.images[:5])
    scheme(255 - photos.test.images)
    assert all(torch.equal(value, before[key]) for key, value in scheme.state_dict().items())
    among_others = scheme(torch.cat([photos.test.images[:5], 255 - photos.test.images[:40]]))[:5]
    torch.testing.assert_close(alone, among_others)


@pytest.mark.parametrize("name", AFFINE)
def test_affine_scale_and_shift_are_the_map(name, photos):
    scheme = fitted(name, photos.train.images[::20])
    x = photos.test.images[:50]
    by_hand = x.double() * scheme.scale + scheme.shift
    torch.testing.assert_close(scheme(x).double(), by_hand, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close((x.double() / 255 - scheme.mean) / scheme.std, by_hand, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_double_precision_follows_the_network(name, random_images):
    scheme = fitted(name, random_images).double()
    assert scheme(random_images).dtype == torch.float64


def test_raw_is_the_identity(random_images):
    assert torch.equal(normalization("raw")(random_images), random_images.float())


def test_names_for_one_formula(random_images):
    for first, second in (("unit", "yolo"), ("inception", "vit")):
        torch.testing.assert_close(normalization(first)(random_images), normalization(second)(random_images))


def test_dataset_has_zero_mean_and_unit_variance(photos):
    output = normalization("dataset").fit(photos.training_images())(photos.train.images).double()
    torch.testing.assert_close(output.mean((0, 2, 3)), torch.zeros(3).double(), atol=1e-6, rtol=0)
    torch.testing.assert_close(output.std((0, 2, 3), correction=0), torch.ones(3).double(), atol=1e-6, rtol=0)


def test_both_estimators_of_the_standard_deviation(photos):
    u = photos.train.images.double() / 255
    pooled = normalization("dataset").fit(photos.training_images())
    per_image = normalization("dataset", estimator="per_image").fit(photos.training_images())
    torch.testing.assert_close(pooled.std.flatten(), u.std((0, 2, 3), correction=0), rtol=1e-10, atol=0)
    torch.testing.assert_close(per_image.std.flatten(), u.std((2, 3), correction=0).mean(0), rtol=1e-10, atol=0)
    assert (per_image.std < pooled.std).all()


def test_feature_leaves_constant_features_at_scale_one():
    images = torch.randint(0, 256, (20, 1, 4, 4), dtype=torch.uint8)
    images[:, :, 0, 0] = 9
    scheme = normalization("feature").fit([images])
    assert scheme.std[0, 0, 0] == 1
    assert not scheme(images)[:, :, 0, 0].any()


def test_per_image_by_brute_force(photos):
    images = photos.train.images[::100]
    u = images.double() / 255
    mean, std = u.mean((1, 2, 3), keepdim=True), u.std((1, 2, 3), keepdim=True, correction=0)
    output = normalization("per_image", eps=0.01)(images).double()
    torch.testing.assert_close(output, (u - mean) / (std + 0.01), rtol=1e-5, atol=1e-6)
    low, high = u.amin((2, 3), keepdim=True), u.amax((2, 3), keepdim=True)
    output = normalization("min_max_channel", eps=0.01)(images).double()
    torch.testing.assert_close(output, (u - low) / (high - low + 0.01), rtol=1e-5, atol=1e-6)


def test_clip_bounds_the_output(random_images):
    assert normalization("per_image", eps=0, clip=0.5)(random_images).abs().max() == 0.5


@pytest.mark.parametrize(("side", "grid"), [(12, 4), (12, 5), (7, 3)])
def test_per_region_by_brute_force(side, grid):
    images = torch.randint(0, 256, (5, 3, side, side), dtype=torch.uint8)
    output = normalization("per_region", grid=grid, eps=0.01)(images).double()
    edges = [side * i // grid for i in range(grid + 1)]
    for top, bottom in itertools.pairwise(edges):
        for left, right in itertools.pairwise(edges):
            u = images[..., top:bottom, left:right].double() / 255
            expected = (u - u.mean((1, 2, 3), keepdim=True)) / (u.std((1, 2, 3), keepdim=True, correction=0) + 0.01)
            torch.testing.assert_close(output[..., top:bottom, left:right], expected, rtol=1e-5, atol=1e-5)


def test_whitened_training_images_have_identity_covariance():
    images = torch.randint(0, 256, (500, 3, 4, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    for name in ("pca", "zca"):
        rows = normalization(name, eps=0).fit(images.split(64)).double()(images).flatten(1)
        identity = torch.eye(48, dtype=torch.float64)
        torch.testing.assert_close(torch.cov(rows.T, correction=0), identity, atol=1e-10, rtol=0)


def test_patchwise_whitening_whitens_patches(photos):
    images = photos.train.images[::4]
    scheme = normalization("zca", patch=8, eps=1e-9).fit(images.split(100)).double()
    patches = scheme(images).unfold(2, 8, 8).unfold(3, 8, 8).permute(0, 2, 3, 1, 4, 5).reshape(-1, 192)
    torch.testing.assert_close(torch.cov(patches.T, correction=0), torch.eye(192).double(), atol=1e-3, rtol=0)


def test_whitening_more_features_than_images(photos, caplog):
    few = photos.train.images[::60, :, ::2, ::2]
    assert normalization("zca").fit([few])(few).isfinite().all()
    assert "rank 99 of 768 (100 samples of 768 features)" in caplog.text
    with pytest.raises(DataError, match="rank 99 of 768"):
        normalization("zca", eps=0).fit([few])


@pytest.mark.parametrize("name", ["pca", "zca"])
def test_a_covariance_without_full_rank_is_told_with_the_name_of_the_scheme(name, caplog):
    images = torch.randint(0, 256, (9, 3, 4, 4), dtype=torch.uint8)
    normalization(name).fit([images])
    assert caplog.messages == [
        f"{name}: rank 8 of 48 (9 samples of 48 features); norm.eps=1e-05 bounds the scale of the other directions"
    ]


def test_whitening_refuses_what_would_not_fit_in_memory():
    with pytest.raises(DataError, match=r"norm\.patch"):
        normalization("zca").fit([torch.zeros(2, 3, 224, 224, dtype=torch.uint8)])


def test_learned_starts_where_it_is_told_and_is_trainable(photos):
    unit = normalization("learned").fit(photos.training_images())
    torch.testing.assert_close(unit(photos.test.images), normalization("unit")(photos.test.images))
    start = normalization("learned", start="dataset").fit(photos.training_images())
    same = normalization("dataset").fit(photos.training_images())
    torch.testing.assert_close(start(photos.test.images), same(photos.test.images), rtol=1e-5, atol=1e-5)
    start(photos.test.images[:10]).square().sum().backward()
    assert all(parameter.grad.abs().min() > 0 for parameter in start.parameters())
    assert (start.scale > 0).all()


def test_adaptive_finds_planted_domains():
    """Two domains of brightness: each image is normalized by the statistics of its own."""
    generator = torch.Generator().manual_seed(0)
    dark = torch.randint(0, 60, (50, 3, 8, 8), dtype=torch.uint8, generator=generator)
    bright = torch.randint(180, 256, (70, 3, 8, 8), dtype=torch.uint8, generator=generator)
    images = torch.cat([dark, bright])
    scheme = normalization("adaptive").fit(images.split(32))
    domain = scheme.detect(images)
    assert len(set(domain[:50].tolist())) == len(set(domain[50:].tolist())) == 1
    assert domain[0] != domain[-1]
    for part in (dark, bright):
        own = normalization("dataset").fit([part])
        torch.testing.assert_close(scheme(part), own(part), rtol=1e-5, atol=1e-5)


def test_adaptive_with_one_domain_is_dataset(photos):
    adaptive = normalization("adaptive", domains=1).fit(photos.training_images())
    plain = normalization("dataset").fit(photos.training_images())
    torch.testing.assert_close(adaptive(photos.test.images), plain(photos.test.images), rtol=1e-5, atol=1e-5)


def test_greyscale_under_three_constants_repeats_the_channel(random_images):
    grey = random_images[:, :1]
    expected = normalization("imagenet")(grey.expand(-1, 3, -1, -1))
    torch.testing.assert_close(normalization("imagenet")(grey), expected)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("wrong", "given"),
    [
        (torch.zeros(2, 3, 8, 8).double(), r"float64 \[2, 3, 8, 8\]"),
        (torch.zeros(8, dtype=torch.uint8), r"uint8 \[8\]"),
        (torch.zeros(2, 3, 8, 8).long(), "int64"),
        (torch.zeros(2, 3).half(), "float16"),
    ],
)
def test_only_batches_of_known_types_are_taken(name, wrong, given):
    with pytest.raises(DataError, match=rf"expected inputs \[B, C, \*positions\] of uint8, .*, not {given}"):
        normalization(name)(wrong)


@pytest.mark.parametrize("name", ["dataset", "feature", "zca", "learned", "adaptive"])
def test_fitting_on_nothing_is_refused(name):
    with pytest.raises(DataError, match="no images"):
        normalization(name).fit([])


def test_images_of_other_shapes_than_fitted_on_are_refused(random_images):
    four = torch.zeros(2, 4, 12, 12, dtype=torch.uint8)
    with pytest.raises(DataError, match="4 channels"):
        normalization("imagenet")(four)
    for name in ("dataset", "feature", "learned", "adaptive", "zca"):
        for other in (four, four[:, :1]):
            with pytest.raises(DataError, match="fitted on"):
                fitted(name, random_images)(other)
    with pytest.raises(DataError, match=r"fitted on images of \[3, 12, 12\]"):
        fitted("mean_image", random_images)(random_images[..., :6])


@pytest.mark.parametrize("name", ["dataset", "mean_image", "zca", "learned", "adaptive"])
def test_an_unfitted_scheme_says_so(name, random_images):
    with pytest.raises(DataError, match="is not fitted"):
        normalization(name)(random_images)


def test_unknown_names_and_options_say_what_was_expected():
    with pytest.raises(ConfigError, match="did you mean imagenet"):
        normalization("imagnet")
    with pytest.raises(ConfigError, match=r"norm\.epz: unknown key; did you mean eps"):
        normalization("zca", epz=1)
    with pytest.raises(ConfigError, match="greater than or equal to 0"):
        normalization("zca", eps=-1)


@settings(max_examples=50, deadline=None)
@given(
    data=st.lists(st.integers(0, 255), min_size=12, max_size=12),
    split=st.integers(1, 4),
    name=st.sampled_from(["dataset", "dataset_mean", "feature", "mean_image"]),
)
def test_statistics_of_any_images(data, split, name):
    """Streamed sums against numpy's float64 mean and std of everything at once."""
    images = torch.tensor(data, dtype=torch.uint8).reshape(4, 3, 1, 1)
    scheme = normalization(name).fit(images.split(split))
    over = (0, 2, 3) if name.startswith("dataset") else 0
    u = images.numpy().astype("float64") / 255
    std = torch.from_numpy(u.std(over)).reshape(3, 1, 1)
    torch.testing.assert_close(scheme.mean, torch.from_numpy(u.mean(over)).reshape(3, 1, 1), rtol=1e-12, atol=1e-12)
    if name in ("dataset", "feature"):
        expected = torch.where(std < 1e-12, 1.0, std)
        torch.testing.assert_close(scheme.std, expected, rtol=1e-9, atol=0)
