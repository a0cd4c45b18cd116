import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from normlab.data import bundled, dataset
from normlab.data.bundled import PHOTOGRAPHS, digits, photos
from normlab.data.planted import hadamard, planted
from normlab.errors import DataError


def test_digits_are_those_of_sklearn():
    source = digits()
    bunch = load_digits()
    images = source.train.pictures
    assert images.dtype == torch.uint8
    assert images.shape == (1797, 1, 8, 8)
    expected = [round(level * 255 / 16) for level in range(17)]
    assert images.flatten().tolist() == [expected[int(level)] for level in bunch.images.flatten()]
    assert source.train.labels.tolist() == bunch.target.tolist()
    assert source.classes == tuple("0123456789")
    assert source.validation is None
    assert source.test is None


def test_digits_as_a_data_set():
    data = dataset("digits")
    sizes = {name: len(part) for name, part in data.splits.items()}
    assert sum(sizes.values()) == 1797
    assert sizes["test"] == pytest.approx(0.2 * 1797, abs=10)
    assert sizes["validation"] == pytest.approx(0.1 * 0.8 * 1797, abs=10)
    assert data.shape == (1, 8, 8)
    assert data.key == dataset("digits").key != dataset("digits", split_seed=1).key


def test_photos_counts():
    source = photos(per_class=30)
    assert source.classes == tuple(PHOTOGRAPHS)
    assert len(source.classes) == 10
    for part, count in ((source.train, 30), (source.validation, 10), (source.test, 10)):
        assert part.pictures.dtype == torch.uint8
        assert part.pictures.shape == (10 * count, 3, 32, 32)
        assert torch.bincount(part.labels).tolist() == [count] * 10


def test_photos_default_is_600_patches_of_each_class():
    data = dataset("photos")
    assert {name: len(part) for name, part in data.splits.items()} == {"train": 6000, "validation": 2000, "test": 2000}


def test_photos_are_deterministic():
    torch.manual_seed(1)
    first = photos(per_class=12)
    torch.manual_seed(2)
    second = photos(per_class=12)
    for name in ("train", "validation", "test"):
        assert torch.equal(getattr(first, name).pictures, getattr(second, name).pictures)


@pytest.mark.parametrize(("patch", "shape"), [(32, (384, 576)), (7, (384, 431)), (48, (514, 384))])
def test_photos_splits_share_no_pixel(monkeypatch, patch, shape):
    """Each pixel of the photograph says in its 24 bits where it lies."""
    position = torch.arange(shape[0] * shape[1]).reshape(shape)
    image = torch.stack([position >> 16, position >> 8 & 255, position & 255]).to(torch.uint8)
    monkeypatch.setattr(bundled, "_photograph", lambda name: image)
    source = photos(patch=patch, per_class=150)

    def places(part, label):
        red, green, blue = part.pictures[part.labels == label].long().unbind(1)
        return red << 16 | green << 8 | blue  # [N, patch, patch]

    for label in range(10):
        patches = [places(part, label) for part in (source.train, source.validation, source.test)]
        for p in patches:  # each is a window of the photograph, and no two are the same
            assert (p[:, :, 1:] - p[:, :, :-1] == 1).all()
            assert (p[:, 1:] - p[:, :-1] == shape[1]).all()
            assert len(p[:, 0, 0].unique()) == len(p)
        used = torch.zeros(3, position.numel(), dtype=torch.bool)
        for row, p in zip(used, patches, strict=True):
            row[p.flatten()] = True
        assert used.sum(0).max() == 1
        assert used.any(1).all()


def test_photos_too_many_patches():
    with pytest.raises(DataError, match="per_class=100000"):
        photos(per_class=100_000)


def test_photos_too_large_patches():
    with pytest.raises(DataError, match="patch=150"):
        photos(patch=150)


@pytest.mark.parametrize("side", [1, 2, 3, 4, 8])
@pytest.mark.parametrize("common_std", [0, 10])
def test_planted_moments_are_exact(side, common_std):
    d = side**2
    source = planted(side=side, mean=(96, 160), std=(4, 64), common_std=common_std, repeats=3)
    x = source.train.pictures.flatten(1).double()
    m = torch.from_numpy(np.rint(np.linspace(96, 160, d)))
    s = torch.from_numpy(np.rint(np.geomspace(4, 64, d)))
    covariance = torch.diag(s**2) + common_std**2 * torch.ones(d, d, dtype=torch.float64)
    centered = x - m
    torch.testing.assert_close(x.mean(0), m, rtol=0, atol=1e-12)
    torch.testing.assert_close(centered.T @ centered / len(x), covariance, rtol=0, atol=1e-12)


def test_planted_can_be_learned_by_a_linear_function_of_the_signs():
    source = planted(classes=4)
    for part in (source.train, source.validation, source.test):
        assert part.pictures.dtype == torch.uint8
        assert part.pictures.shape[1:] == (1, 4, 4)
        assert set(part.labels.tolist()) == {0, 1, 2, 3}
        assert part.pictures.float().std(0).min() > 0
    # One image determines its class: the same signs never carry two labels.
    rows = torch.cat([source.train.pictures.flatten(1), source.train.labels[:, None].to(torch.uint8)], 1)
    assert len(rows.unique(dim=0)) == len(source.train.pictures.flatten(1).unique(dim=0))


def test_planted_depends_on_its_own_seed_only():
    torch.manual_seed(1)
    first = planted(source_seed=5)
    torch.manual_seed(2)
    assert torch.equal(first.test.pictures, planted(source_seed=5).test.pictures)
    assert not torch.equal(first.test.pictures, planted(source_seed=6).test.pictures)


@pytest.mark.parametrize(
    ("options", "low", "high"),
    [
        ({"mean": (40, 30)}, -34, 94),
        ({"mean": (96, 200)}, 92, 264),
        ({"common_std": 40}, 52, 264),
        ({"mean": (4, 192)}, 0, 256),
        ({"mean": (3, 191)}, -1, 255),
    ],
)
def test_planted_refuses_pixels_beyond_8_bits(options, low, high):
    with pytest.raises(DataError, match=f"from {low} to {high}"):
        planted(**options)


def test_planted_may_use_all_8_bits():
    images = planted(mean=(4, 191)).train.pictures
    assert (images.min(), images.max()) == (0, 255)


@pytest.mark.parametrize("order", [1, 2, 8, 64])
def test_hadamard_is_orthogonal(order):
    h = hadamard(order)
    assert h.abs().eq(1).all()
    assert torch.equal(h @ h.T, order * torch.eye(order))
    assert h[:, 0].eq(1).all()
