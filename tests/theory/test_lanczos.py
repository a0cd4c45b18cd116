"""Largest eigenvalues against the dense solver in float64, on spectra where a method of single vectors fails."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import normlab
from normlab.errors import DataError
from normlab.theory import lanczos
from normlab.theory.lanczos import block_lanczos, largest_eigenvalues

SIZE = 400
PLANTED = {
    "all equal": np.ones(SIZE),
    "two clusters": np.r_[np.full(10, 2.0), np.ones(SIZE - 10)],
    "two copies, then no gap": np.r_[2.0, 2.0, np.linspace(0, 1, SIZE - 2)],
    "three copies, then no gap": np.r_[np.full(3, 2.0), np.linspace(0, 1.999, SIZE - 3)],
    "whitened in single precision": 1 + 1e-7 * np.random.default_rng(0).standard_normal(SIZE),
    "whitened with eps": 1 / (1 + 1e-5 * np.exp(np.linspace(0, 20, SIZE))),
    "falling": 1 / np.arange(1, SIZE + 1) ** 2,
    "one": np.r_[3.0, np.zeros(SIZE - 1)],
    "none": np.zeros(SIZE),
}


def planted(eigenvalues, seed=0):
    """A symmetric matrix with these eigenvalues and random eigenvectors."""
    generator = torch.Generator().manual_seed(seed)
    q = torch.linalg.qr(torch.randn(len(eigenvalues), len(eigenvalues), dtype=torch.float64, generator=generator)).Q
    return (q * torch.as_tensor(eigenvalues)) @ q.T


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 3, 12])
@pytest.mark.parametrize("name", PLANTED)
def test_planted_spectra(name, count):
    expected = np.sort(PLANTED[name])[::-1][:count]
    found = block_lanczos(planted(PLANTED[name]).__matmul__, SIZE, count, tolerance=1e-4)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * expected[0] + 1e-300)


@settings(deadline=None, max_examples=30)
@given(
    values=st.lists(st.sampled_from([0.0, 0.5, 1.0, 1.0001, 7.0]), min_size=2, max_size=60),
    count=st.integers(1, 59),
    seed=st.integers(0, 9),
)
def test_matrices_of_any_size_and_multiplicity(values, count, seed):
    count = min(count, len(values) - 1)
    expected = sorted(values, reverse=True)[:count]
    found = block_lanczos(planted(np.array(values), seed).__matmul__, len(values), count, tolerance=1e-6)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6 * max(values) + 1e-300)


def test_a_tolerance_that_is_not_reached_is_an_error_that_says_what_to_do():
    matrix = planted(np.linspace(0, 1, SIZE))
    with pytest.raises(DataError, match=r"after 3 products, not to 1e-12, because many lie close .*data\.image_size"):
        block_lanczos(matrix.__matmul__, SIZE, tolerance=1e-12, most_products=3)


def test_features_that_are_not_finite_have_no_eigenvalues():
    with pytest.raises(DataError, match="not finite"):
        block_lanczos(lambda vectors: vectors * float("nan"), SIZE)


@pytest.mark.parametrize("dense", [True, False])
@pytest.mark.parametrize("name", ["unit", "dataset", "per_image", "zca", "pca"])
@pytest.mark.parametrize("bias", [True, False])
def test_images_under_a_scheme(name, bias, dense, monkeypatch):
    """Whitened digits have 60 eigenvalues within 1e-5 of each other."""
    monkeypatch.setattr(lanczos, "DENSE_SIZE", 2048 if dense else 0)
    digits = normlab.dataset("digits")
    norm = normlab.normalization(name).fit(digits.training_images())
    expected = normlab.linear_hessian(digits.train.images, norm, bias=bias).eigenvalues[:3]
    found = largest_eigenvalues(digits.train, norm, count=3, bias=bias, tolerance=1e-5)
    torch.testing.assert_close(found, expected, rtol=0, atol=(1e-10 if dense else 1e-5) * expected[0].item())


@pytest.mark.parametrize("dense", [True, False])
def test_more_features_than_a_dense_hessian_can_hold(dense, monkeypatch):
    """12,288 features: few images, so that the Gram matrix of the samples has the same eigenvalues."""
    monkeypatch.setattr(lanczos, "DENSE_SIZE", 2048 if dense else 0)
    photos = normlab.dataset("photos", limit=60, image_size=64)
    norm = normlab.normalization("imagenet")
    x = norm.double()(photos.train.images).flatten(1)
    x = torch.cat([x, torch.ones(len(x), 1, dtype=torch.float64)], 1)
    squares = torch.linalg.svdvals(x)[:2] ** 2 / len(x)
    found = largest_eigenvalues(photos.train, norm, count=2, tolerance=1e-6)
    torch.testing.assert_close(found, squares, rtol=0, atol=1e-6 * squares[0].item())
    of_few = normlab.linear_hessian(photos.train.images, norm).eigenvalues  # from the matrix of samples
    assert len(of_few) == x.shape[1]
    torch.testing.assert_close(of_few[:2], squares, rtol=1e-9, atol=0)


def test_fewer_images_than_eigenvalues_leave_zeros():
    photos = normlab.dataset("photos", limit=20, image_size=64)
    found = largest_eigenvalues(photos.train, normlab.normalization("unit"), count=30)
    assert (found[: len(photos.train)] > 0).all()
    assert (found[len(photos.train) :] == 0).all()


def test_too_many_eigenvalues_are_refused():
    planted_data = normlab.dataset("planted")
    with pytest.raises(DataError, match="17 eigenvalues of a matrix of 17"):
        largest_eigenvalues(planted_data.train, normlab.normalization("unit"), count=17)
