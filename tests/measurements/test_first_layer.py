"""The first layer at initialisation: plain autograd, planted pixels, and networks whose scaling is known."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

import normlab
from normlab.config import choose
from normlab.errors import ConfigError
from normlab.measurements.first_layer import (
    gradient_factors,
    gradients_by_brightness,
    initial_std,
    input_scaling,
    layers_by_scheme,
    output_variances,
    saturated_units,
    sigmoid_derivative,
    sigmoid_derivatives,
)

DIGITS = {"name": "digits", "limit": 300}


@settings(deadline=None)
@given(st.floats(-30, 30))
def test_the_sigmoid_derivative_against_autograd(x):
    point = torch.tensor(x, dtype=torch.float64, requires_grad=True)
    torch.sigmoid(point).backward()
    assert sigmoid_derivative(point).item() == pytest.approx(point.grad.item(), rel=1e-6, abs=1e-15)


def test_the_sigmoid_derivative_is_symmetric_and_does_not_cancel():
    far = torch.tensor([40.0, -40.0], dtype=torch.float64)
    assert sigmoid_derivative(far).tolist() == pytest.approx([math.exp(-40)] * 2, rel=1e-12)
    rows = {row["x"]: row for row in sigmoid_derivatives(points=[-5.0, 0.0, 1.0])}
    assert rows[0.0]["of_peak"] == pytest.approx(1, abs=1e-12)
    assert rows[-5.0]["derivative"] == pytest.approx(math.exp(-5) / (1 + math.exp(-5)) ** 2)
    assert rows[1.0]["of_peak"] == pytest.approx(4 * rows[1.0]["derivative"])


@pytest.mark.parametrize("init", ["xavier", "he", "lecun"])
def test_initial_std_is_that_of_the_architectures(init):
    torch.manual_seed(0)
    layer = choose("arch", "linear", init=init).build((3, 20, 20), 800).layer
    assert layer.weight.std().item() == pytest.approx(initial_std(init, 1200, 800), rel=0.01)


def test_an_unknown_initialisation_is_refused():
    with pytest.raises(ConfigError, match="xavier"):
        initial_std("orthogonal", 3, 3)


def test_gradients_by_brightness_against_autograd():
    data = {"name": "digits", "limit": 40}
    (row,) = gradients_by_brightness(data=data, norms=["raw"], seed=3)
    loaded = normlab.dataset(**data)
    x, y = loaded.train.images.flatten(1).double(), F.one_hot(loaded.train.labels, 10).double()
    weights = 0.01 * torch.randn(64, 10, dtype=torch.float64, generator=torch.Generator().manual_seed(3))

    def gradient(image, target):
        return torch.func.grad(lambda w: 0.5 * (image @ w - target).square().sum())(weights)

    each = torch.stack([gradient(image, target) for image, target in zip(x, y, strict=True)])  # [N, D, C]
    rms, by_pixel = x.square().mean(0).sqrt().numpy(), each.square().mean((0, 2)).sqrt().numpy()
    order = np.argsort(rms, kind="stable")
    assert row["correlation"] == pytest.approx(np.corrcoef(by_pixel, rms)[0, 1])
    assert row["dark_to_bright"] == pytest.approx(by_pixel[order[:6]].mean() / by_pixel[order[-6:]].mean())
    assert row["input_dark_to_bright"] == pytest.approx(rms[order[:6]].mean() / rms[order[-6:]].mean())
    step = each.mean(0).square().mean(1).sqrt().numpy()
    assert row["step_dark_to_bright"] == pytest.approx(step[order[:6]].mean() / step[order[-6:]].mean())


def test_planted_pixels_from_dark_to_bright():
    """Pixels of m_j = 20 to 200 and little else: gradients 10 times apart raw, and alike once standardized."""
    data = {"name": "planted", "mean": [20.0, 200.0], "std": [4.0, 4.0]}
    raw, feature = gradients_by_brightness(data=data, norms=["raw", "feature"], weight_std=0.0)
    assert raw["dark_to_bright"] == pytest.approx(math.hypot(20, 4) / math.hypot(200, 4), rel=1e-6)
    assert raw["correlation"] == pytest.approx(1)
    assert feature["dark_to_bright"] == pytest.approx(1)


def test_saturation_against_the_normal_distribution():
    """Standardized planted inputs under many weights of size s: z is nearly normal with deviation s sqrt(D)."""
    from scipy import stats

    data = {"name": "planted"}
    rows = saturated_units(data=data, norms=["feature"], factors=[1.0, 10.0], inits=["1", "lecun"], units=2000)
    found = {(row["factor"], row["init"]): row for row in rows}
    assert found[1.0, "1"]["rms"] == pytest.approx(4, rel=0.02)
    assert found[1.0, "1"]["saturated"] == pytest.approx(2 * stats.norm.sf(5 / 4), rel=0.05)
    assert found[1.0, "lecun"]["saturated"] < 1e-5
    assert found[10.0, "lecun"]["saturated"] == pytest.approx(2 * stats.norm.sf(0.5), rel=0.05)
    assert found[1.0, "lecun"]["centred"] == "yes"
    assert found[10.0, "lecun"]["input_rms"] == pytest.approx(10)
    assert found[10.0, "lecun"]["mean_derivative"] < found[1.0, "lecun"]["mean_derivative"] < 1


def test_centred_says_whether_the_mean_is_zero():
    rows = saturated_units(data=DIGITS, norms=["unit", "dataset_mean", "dataset"], inits=["xavier"], units=8)
    assert {row["norm"]: row["centred"] for row in rows} == {"unit": "no", "dataset_mean": "yes", "dataset": "yes"}


def test_one_images_gradient_is_a_product_where_the_layer_is_fully_connected():
    rows = gradient_factors(
        data=DIGITS, archs=[{"name": "mlp"}, {"name": "mlp", "internal_norm": "layer"}, {"name": "cnn"}], images=8
    )
    dense, layer, convolution = rows
    for row in (dense, layer):
        assert row["ratio"] == pytest.approx(1, abs=1e-12)
        assert row["spread"] == pytest.approx(1, abs=1e-12)
    assert convolution["spread"] > 1.1


def scaled(arch, **options):
    rows = input_scaling(data=DIGITS, archs=[arch], **options)
    return [row["activation_exponent"] for row in rows], [row["gradient_exponent"] for row in rows], rows


@pytest.mark.parametrize("name", ["mlp", "cnn"])
def test_a_relu_network_without_biases_is_homogeneous(name):
    """He's initialisation sets biases to 0."""
    activations, _, rows = scaled({"name": name}, losses=["cross_entropy"])
    assert activations == pytest.approx([1] * len(rows), abs=1e-9)
    assert [row["place"] for row in rows] == ["first", *["inner"] * (len(rows) - 2), "last"]


def test_what_breaks_homogeneity():
    biases, _, _ = scaled({"name": "mlp", "init": "torch"}, losses=["cross_entropy"], factor=10.0)
    assert 0.5 < biases[-1] < 0.99
    tanh, _, _ = scaled({"name": "mlp", "activation": "tanh"}, losses=["cross_entropy"])
    assert tanh[0] == pytest.approx(1)
    assert tanh[-1] < 0.2
    for kind in ("batch", "layer"):
        activations, gradients, _ = scaled({"name": "mlp", "internal_norm": kind}, losses=["cross_entropy"])
        assert activations[0] == pytest.approx(1)
        assert activations[-1] == pytest.approx(0, abs=1e-4)
        # L(BN(W s x)) is L(BN(W x)), and so is its gradient in W; that in the bias, a small part, shrinks.
        assert gradients[0] == pytest.approx(0, abs=0.01)


def test_squared_error_makes_the_gradient_grow_with_the_square():
    _, gradients, rows = scaled({"name": "mlp"}, losses=["squared_error"], factor=1e6)
    _, beyond, _ = scaled({"name": "mlp"}, losses=["squared_error"], factor=1e9)
    # Far out the error is the output, which is proportional to the input: both factors of the gradient grow.
    slope = (beyond[0] * 9 - gradients[0] * 6) / 3
    assert slope == pytest.approx(2, abs=1e-6)
    assert rows[0]["loss"] == "squared_error"


def test_layers_by_scheme_scale_with_the_inputs():
    rows = layers_by_scheme(data=DIGITS, arch={"name": "mlp"}, norms=["unit", "raw"], images=50)
    half = len(rows) // 2
    for one, other in zip(rows[:half], rows[half:], strict=True):
        assert other["input_rms"] == pytest.approx(255 * one["input_rms"])
        assert other["activation_rms"] == pytest.approx(255 * one["activation_rms"], rel=1e-6)


def test_output_variances_of_planted_inputs():
    """Features of mean m_j and deviation s_j: the second moment predicts, the variance and 1 do not."""
    archs = [{"name": "mlp", "depth": 1, "init": init, "width": 2000} for init in ("xavier", "he")]
    rows = output_variances(data={"name": "planted"}, archs=archs, norms=["unit", "feature"], draws=4)
    x = normlab.dataset("planted").train.images.double().flatten(1) / 255
    for row, variance in zip(rows, (2 / (16 + 2000), 2 / 16, 2 / (16 + 2000), 2 / 16), strict=True):
        inputs = x if row["norm"] == "unit" else (x - x.mean(0)) / x.std(0, correction=0)
        assert row["measured"] == pytest.approx(variance * inputs.square().mean(0).sum().item(), rel=0.1)
        assert row["to_second_moment"] == pytest.approx(1, abs=0.1)
        assert row["to_unit"] == pytest.approx(inputs.square().mean().item(), rel=0.1)
        assert row["to_variance"] == pytest.approx((inputs.square().mean() / inputs.var(correction=0)).item(), rel=0.1)
        assert row["times_off"] == pytest.approx(max(row["to_unit"], 1 / row["to_unit"]))
        assert row["to_unit_low"] < row["to_unit"] < row["to_unit_high"]
    # A wider mean than spread: what the variance predicts is off where the mean is not 0.
    assert rows[0]["to_variance"] > 2
