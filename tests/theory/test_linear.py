"""The linear model's Hessian and descent against brute force, closed forms and real runs."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import normlab
from normlab.errors import DataError
from normlab.theory.descent import descent, iterations_by_condition_number
from normlab.theory.moments import is_affine, moments_under, raw_moments, streamed_moments
from normlab.theory.spectrum import image_moments, spectrum
from tests.conftest import OF_IMAGES

NAMES = OF_IMAGES


@pytest.fixture(scope="module")
def digits():
    return normlab.dataset("digits")


def design(images, norm, bias):
    """x~ of every image in float64, by numpy."""
    x = norm.double()(images).detach().flatten(1).numpy()
    return np.hstack([x, np.ones((len(x), 1))]) if bias else x


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("bias", [True, False])
def test_the_hessian_is_the_second_moment_of_the_inputs(name, bias, digits):
    """Against numpy on the whole design matrix; rank against numpy's own rule on its singular values."""
    images = digits.train.images
    norm = normlab.normalization(name).fit(images.split(100))
    found = normlab.linear_hessian(images, norm, bias=bias)
    x = design(images, norm, bias)
    expected = np.linalg.eigvalsh(x.T @ x / len(x))[::-1]
    np.testing.assert_allclose(found.eigenvalues, expected, rtol=1e-8, atol=1e-12 * expected[0])
    singular = np.linalg.svd(x, compute_uv=False)
    assert found.rank == (singular > 1e-7 * singular[0]).sum()
    on_range = expected[expected > found.threshold]
    assert found.lambda_max == pytest.approx(on_range[0], rel=1e-10)
    assert found.condition_number == pytest.approx(on_range[0] / on_range[-1], rel=1e-6)
    assert found.full_condition_number == (found.condition_number if found.rank == len(expected) else math.inf)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("bias", [True, False])
def test_the_hessian_of_fewer_images_than_inputs(name, bias, digits):
    """40 images of 64 pixels: against the singular values of the whole design matrix."""
    images = digits.train.images[:40]
    norm = normlab.normalization(name).fit(images.split(9))
    found = normlab.linear_hessian(images, norm, bias=bias)
    x = design(images, norm, bias)
    squares = np.linalg.svd(x, compute_uv=False) ** 2 / len(x)
    assert len(found.eigenvalues) == x.shape[1]
    np.testing.assert_allclose(found.eigenvalues[: len(squares)], squares, rtol=1e-8, atol=1e-13 * squares[0])
    assert found.rank == np.linalg.matrix_rank(x, tol=1e-7 * np.sqrt(squares[0] * len(x))) <= 40
    assert math.isinf(found.full_condition_number)


def test_a_name_is_fitted_on_the_images(digits):
    images = digits.train.images
    by_hand = normlab.linear_hessian(images, normlab.normalization("feature").fit(images.split(64)))
    found = normlab.linear_hessian(images, "feature").eigenvalues
    torch.testing.assert_close(found, by_hand.eigenvalues, rtol=0, atol=1e-12 * by_hand.lambda_max)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in NAMES if is_affine(normlab.normalization(name))])
def test_exact_moments_of_affine_schemes_equal_streamed_ones(name, photos):
    """On 8x8 photographs: the shortcut through the moments of raw pixels gives what normalizing every image gives."""
    data = normlab.dataset("photos", image_size=8)
    norm = normlab.normalization(name).fit(data.training_images())
    exact = moments_under(norm, *raw_moments(data.train.batches(99), 10))
    streamed = streamed_moments(data.train.batches(256), norm, 10)
    for bias in (True, False):
        torch.testing.assert_close(exact.second_moment(bias), streamed.second_moment(bias), rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(exact.cross_moment(bias), streamed.cross_moment(bias), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("common_std", [0, 20])
def test_planted_spectrum_is_found_exactly(common_std):
    """Rank exact and condition number to 1e-8 of the planted diag(s^2) + s0^2 11'."""
    data = normlab.dataset("planted", std=[2, 50], common_std=common_std)
    s = torch.logspace(math.log10(2), math.log10(50), 16).round().double()
    planted = torch.linalg.eigvalsh(torch.diag(s**2) + common_std**2)
    found = normlab.linear_hessian(data.train.images, normlab.normalization("raw"), bias=False)
    centred = spectrum(image_moments(data.train.images, normlab.normalization("raw")).covariance)
    assert centred.rank == found.rank == 16
    assert centred.condition_number == pytest.approx((planted[-1] / planted[0]).item(), rel=1e-8)
    standardized = normlab.linear_hessian(data.train.images, "feature")
    if common_std == 0:
        assert standardized.condition_number == pytest.approx(1, rel=1e-8)
    whitening = normlab.normalization("zca", eps=0).fit(data.training_images())
    assert normlab.linear_hessian(data.train.images, whitening).condition_number == pytest.approx(1, rel=1e-8)


def test_two_uniform_features():
    """x1 on [0, 1], x2 on [0, 1000], independent: E[x1 x2] = 250 (claim A03), by closed form and by a fine grid."""
    u = (torch.arange(400, dtype=torch.float64) + 0.5) / 400
    x = torch.cartesian_prod(u, 1000 * u)
    closed = torch.tensor([[1 / 3, 250.0], [250.0, 1e6 / 3]], dtype=torch.float64)
    expected = np.linalg.eigvalsh(closed.numpy())
    found = normlab.linear_hessian(x, bias=False)
    assert found.lambda_max == pytest.approx(expected[1], rel=1e-4)
    assert found.condition_number == pytest.approx(expected[1] / expected[0], rel=1e-3)
    assert 2.2e6 < found.condition_number < 2.4e6


@settings(max_examples=60, deadline=None)
@given(arrays(np.float64, (7, 3), elements=st.floats(-100, 100)), st.booleans())
def test_any_features_have_a_defined_answer(x, bias):
    """Never a negative or complex condition number, never one below 1."""
    found = normlab.linear_hessian(torch.from_numpy(x), bias=bias)
    assert 0 <= found.rank <= 3 + bias
    assert found.lambda_max >= 0
    if found.rank:
        assert 1 <= found.condition_number < math.inf
        assert found.lambda_min > found.threshold
    else:
        assert math.isnan(found.condition_number)


def test_singular_and_extreme_features():
    constant = normlab.linear_hessian(torch.full((10, 3), 2.0), bias=True)
    assert (constant.rank, constant.condition_number, constant.full_condition_number) == (1, 1.0, math.inf)
    assert normlab.linear_hessian(torch.zeros(10, 3), bias=False).rank == 0
    single = normlab.linear_hessian(torch.tensor([[3.0, 4.0]]), bias=False)
    assert (single.rank, single.lambda_max) == (1, 25.0)
    x = torch.randn(100, 2, dtype=torch.float64) * torch.tensor([1e-12, 1e12], dtype=torch.float64)
    far = normlab.linear_hessian(x, bias=False)
    assert (far.rank, far.condition_number, far.full_condition_number) == (1, 1.0, math.inf)
    few = normlab.linear_hessian(torch.randn(5, 20), bias=False)
    assert few.rank == 5
    assert math.isinf(few.full_condition_number)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_values_that_are_not_finite_are_refused(bad):
    x = torch.ones(4, 2)
    x[2, 1] = bad
    with pytest.raises(DataError, match=r"the value at \[2, 1\] is not finite"):
        normlab.linear_hessian(x)


def test_too_many_features_are_refused_with_a_way_out():
    with pytest.raises(DataError, match=r"150528 features: a dense Hessian would take 169 GiB"):
        normlab.linear_hessian(torch.zeros(2, 150528))


def test_few_images_of_any_number_of_features_have_a_spectrum(monkeypatch):
    """13 bands of 32 x 32 pixels are 13,312 features; the matrix of 5 images has 5 rows."""
    images = torch.randint(0, 2000, (5, 13, 32, 32), generator=torch.Generator().manual_seed(0)).to(torch.int32)
    found = normlab.linear_hessian(images, "unit")
    x = np.hstack([images.flatten(1).numpy().astype(float), np.ones((5, 1))])
    squares = np.linalg.svd(x, compute_uv=False) ** 2 / 5
    np.testing.assert_allclose(found.eigenvalues[:5], squares, rtol=1e-8)
    assert (found.rank, len(found.eigenvalues)) == (5, 13313)
    for module in ("moments", "spectrum"):
        monkeypatch.setattr(f"normlab.theory.{module}.MAX_FEATURES", 4)
    with pytest.raises(DataError, match=r"13312 features: a dense Hessian"):
        normlab.linear_hessian(images, "unit")


@pytest.mark.parametrize("momentum", [0.0, 0.7])
@pytest.mark.parametrize("start", [False, True])
def test_the_predicted_curve_is_that_of_descent(momentum, start, digits):
    """1,000 steps of gradient descent in numpy, float64, from zero and from random weights, to 1e-9."""
    norm = normlab.normalization("dataset").fit(digits.training_images())
    moments = moments_under(norm, *raw_moments(digits.train.batches(256), 10))
    weights = torch.randn(65, 10, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) if start else None
    theory = descent(moments, bias=True, start=weights)
    rate = 1 / theory.spectrum.lambda_max
    x, y = design(digits.train.images, norm, True), np.eye(10)[digits.train.labels]
    w = weights.numpy().copy() if start else np.zeros((65, 10))
    velocity, measured = 0.0, []
    for _ in range(1001):
        error = x @ w - y
        measured.append(0.5 * (error**2).sum() / len(x))
        velocity = momentum * velocity + x.T @ error / len(x)
        w = w - rate * velocity
    np.testing.assert_allclose(theory.curve(1000, rate, momentum), measured, rtol=1e-9)
    lstsq = np.linalg.lstsq(x, y, rcond=None)[0]
    assert theory.optimum == pytest.approx(0.5 * ((x @ lstsq - y) ** 2).sum() / len(x), rel=1e-9)


def test_predicted_iterations_are_where_the_curve_crosses(digits):
    norm = normlab.normalization("feature").fit(digits.training_images())
    theory = descent(moments_under(norm, *raw_moments(digits.train.batches(256), 10)), bias=True)
    rate = 1 / theory.spectrum.lambda_max
    curve = theory.curve(2000, rate)
    excess = (curve - theory.optimum) / (theory.initial - theory.optimum)
    for eps in (0.5, 0.1, 0.01, 0.001):
        assert theory.iterations(eps, rate) == (excess <= eps).nonzero()[0].item()
    assert theory.iterations(0.1, theory.stable_rate() * 1.001) == math.inf


@pytest.mark.parametrize("k", [1.0, 1.5, 10.0, 1e4])
def test_iterations_by_condition_number_bound_the_worst_case(k):
    """Two eigenvalues with all the error in the worst pair of directions: the bound is met, one step less misses it."""
    rate = 2 / (1 + 1 / k)
    shrink = max(abs(1 - rate), abs(1 - rate / k))
    steps = iterations_by_condition_number(k, 1e-3)
    assert shrink ** (2 * steps) <= 1e-3
    assert steps == 1 or shrink ** (2 * (steps - 1)) > 1e-3
