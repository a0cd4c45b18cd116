"""Against independent implementations, on noise and on photographs; each test names the path it compares with."""

import albumentations
import numpy as np
import pytest
import torch
from kornia.enhance import ZCAWhitening
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler
from torchvision.transforms import v2

from normlab import normalization
from normlab.data.images import resize

ALBUMENTATIONS_EPS = 1e-4 / 255  # theirs counts in units of x, ours in units of u = x/255


@pytest.fixture(params=["noise", "photographs"])
def images(request, random_images, photos):
    return random_images if request.param == "noise" else photos.train.images[::47]


def close(ours, theirs):
    np.testing.assert_allclose(np.asarray(ours), np.asarray(theirs), rtol=1e-5, atol=1e-5)


def one_by_one(transform, images):
    """albumentations normalizes a single [H, W, C] array; `images=` would pool statistics over the batch."""
    outputs = [transform(image=image.permute(1, 2, 0).numpy())["image"] for image in images]
    return np.stack(outputs).transpose(0, 3, 1, 2)


@pytest.mark.parametrize(
    ("name", "mean", "std"),
    [
        ("imagenet", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ("clip", (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
        ("inception", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
        ("vit", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
        ("yolo", (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
        ("unit", (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
        ("centered", (0.5, 0.5, 0.5), (1.0, 1.0, 1.0)),
        ("raw", (0.0, 0.0, 0.0), (1 / 255, 1 / 255, 1 / 255)),
    ],
)
def test_fixed_equals_albumentations_standard_and_torchvision_normalize(name, mean, std, images):
    ours = normalization(name)(images)
    close(ours, one_by_one(albumentations.Normalize(mean, std, max_pixel_value=255.0), images))
    pipeline = v2.Compose([v2.ToDtype(torch.float32, scale=True), v2.Normalize(list(mean), list(std))])
    close(ours, pipeline(images))


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        ("per_image", "image"),
        ("per_image_channel", "image_per_channel"),
        ("min_max", "min_max"),
        ("min_max_channel", "min_max_per_channel"),
    ],
)
def test_per_image_equals_albumentations_uint8_path(name, mode, images):
    """albucore's normalize_per_image_lut, which a uint8 `image=` takes: eps 1e-4 in units of x, clipped to +-20."""
    ours = normalization(name, eps=ALBUMENTATIONS_EPS, clip=20.0)(images)
    close(ours, one_by_one(albumentations.Normalize(normalization=mode), images))


@pytest.mark.parametrize(("name", "mode"), [("per_image", "image"), ("min_max_channel", "min_max_per_channel")])
def test_per_image_equals_albumentations_float_path(name, mode, images):
    """albucore's normalize_per_image_opencv, which a float32 `image=` takes; here float32 in units of x.

    It overwrites its input, hence the copies. Constant images are left out of the first mode: the float32 mean that
    it subtracts is rounded, and the remainder is divided by eps.
    """
    images = images[[image.float().std() > 0 for image in images]]
    transform = albumentations.Normalize(normalization=mode)
    outputs = [transform(image=image.permute(1, 2, 0).float().numpy().copy())["image"] for image in images]
    ours = normalization(name, eps=ALBUMENTATIONS_EPS, clip=20.0)(images)
    close(ours, np.stack(outputs).transpose(0, 3, 1, 2))


def test_feature_equals_scikit_learn_standard_scaler(images):
    ours = normalization("feature").fit(images.split(10))(images)
    theirs = StandardScaler().fit_transform(images.flatten(1).double().numpy() / 255)
    close(ours.flatten(1), theirs)


def test_mean_image_equals_scikit_learn_standard_scaler_without_std(images):
    ours = normalization("mean_image").fit(images.split(10))(images)
    theirs = StandardScaler(with_std=False).fit_transform(images.flatten(1).double().numpy() / 255)
    close(ours.flatten(1), theirs)


def test_dataset_equals_scikit_learn_standard_scaler_over_pixels(images):
    """Pooled statistics are those of a table with a row for each pixel and a column for each channel."""
    pixels = images.permute(0, 2, 3, 1).reshape(-1, 3).double().numpy() / 255
    ours = normalization("dataset").fit(images.split(10))(images)
    close(ours.permute(0, 2, 3, 1).reshape(-1, 3), StandardScaler().fit_transform(pixels))


def enough_images(random_images, photos, kind):
    """More images than features, and no dependent features."""
    if kind == "noise":
        return torch.randint(0, 256, (900, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    return resize(photos.train.images, 8)


@pytest.mark.parametrize("kind", ["noise", "photographs"])
def test_pca_equals_scikit_learn(kind, random_images, photos):
    """PCA(whiten=True) with ddof 1, where ours has ddof 0; signs included."""
    images = enough_images(random_images, photos, kind)
    ours = normalization("pca", eps=0).fit(images.split(100)).double()(images).flatten(1)
    theirs = PCA(whiten=True, svd_solver="full").fit_transform(images.flatten(1).double().numpy() / 255)
    n = len(images)
    close(ours * ((n - 1) / n) ** 0.5, theirs)


@pytest.mark.parametrize("kind", ["noise", "photographs"])
def test_zca_equals_kornia(kind, random_images, photos):
    """kornia adds an absolute eps to the eigenvalues of a covariance with ddof 0 (unbiased=False)."""
    images = enough_images(random_images, photos, kind)
    rows = images.flatten(1).double() / 255
    largest = torch.linalg.eigvalsh(torch.cov(rows.T, correction=0))[-1].item()
    theirs = ZCAWhitening(dim=0, eps=1e-4, unbiased=False, compute_inv=False).fit(rows)(rows)
    ours = normalization("zca", eps=1e-4 / largest).fit(images.split(100)).double()(images).flatten(1)
    close(ours, theirs)
