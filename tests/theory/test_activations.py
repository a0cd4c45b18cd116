"""Scale of the first layer against its prediction; layer statistics against plain autograd."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import normlab
from normlab.archs.layers import first_layer
from normlab.config import choose
from normlab.theory.activations import (
    layer_statistics,
    log_spread,
    offset,
    pixel_gradients,
    predicted_output_variance,
    second_moments,
)
from tests.conftest import OF_IMAGES


@pytest.fixture(scope="module")
def digits():
    return normlab.dataset("digits")


@pytest.mark.parametrize("name", ["raw", "unit", "imagenet", "feature", "per_image", "zca"])
def test_second_moments_are_the_diagonal_of_the_hessian(name, digits):
    norm = normlab.normalization(name).fit(digits.training_images())
    x = norm(digits.train.images).detach().double().numpy()
    found = second_moments((images for images, _ in digits.train.batches(100)), norm)
    np.testing.assert_allclose(found, (x**2).mean(0), rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("padding", ["zeros", "reflect", "replicate", "circular"])
@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (lambda padding: nn.Linear(3 * 8 * 8, 4000), (3, 8, 8)),
        (lambda padding: nn.Conv2d(3, 4000, 3, padding=1, padding_mode=padding), (3, 8, 8)),
        (lambda padding: nn.Conv2d(3, 4000, (3, 2), stride=2, padding=(0, 1), padding_mode=padding), (3, 8, 8)),
        (lambda padding: nn.Conv2d(4, 4000, 3, groups=2, dilation=2, padding=2, padding_mode=padding), (4, 8, 8)),
    ],
)
def test_output_variance_over_many_draws_of_the_weights(make, shape, padding):
    """4,000 output channels are 4,000 draws; inputs vary much from place to place."""
    torch.manual_seed(0)
    layer = make(padding)
    x = torch.randn(50, *shape) * torch.linspace(0, 4, shape[2]) + torch.linspace(-1, 3, shape[1])[:, None]
    seen = x.flatten(1) if isinstance(layer, nn.Linear) else x
    with torch.no_grad():
        measured = layer(seen).double().square().mean().item()
    predicted = predicted_output_variance(layer, x.double().square().mean(0))
    assert measured == pytest.approx(predicted, rel=0.06)


@pytest.mark.slow
@pytest.mark.parametrize("name", OF_IMAGES)
def test_the_first_layer_of_a_cnn_under_every_scheme(name, digits):
    norm = normlab.normalization(name).fit(digits.training_images())
    with torch.no_grad():
        x = norm(digits.train.images)
        torch.manual_seed(0)
        layer = first_layer(choose("arch", "cnn", width=512, depth=1).build(tuple(x.shape[1:]), 10))
        measured = layer(x).square().mean().item()
    # Few inputs are seen at each place and they are correlated, so draws differ more than for a wide layer.
    assert measured == pytest.approx(
        predicted_output_variance(layer, second_moments([digits.train.images], norm)), rel=0.2
    )


@pytest.mark.parametrize("name", ["linear", "mlp", "cnn", "resnet", "vit"])
def test_layers_against_plain_autograd(name):
    torch.manual_seed(0)
    body = choose("arch", name, **({"init": "lecun"} if name == "linear" else {})).build((1, 8, 8), 10)
    inputs, labels = torch.randn(16, 1, 8, 8), torch.arange(16) % 10
    before = {key: value.clone() for key, value in body.state_dict().items()}
    found = {layer.name: layer for layer in layer_statistics(body, F.cross_entropy, inputs, labels)}
    assert all(torch.equal(value, before[key]) for key, value in body.state_dict().items())
    assert all(parameter.grad is None for parameter in body.parameters())
    outputs = {}
    handles = [
        module.register_forward_hook(lambda _, __, output, key=key: outputs.__setitem__(key, output))
        for key, module in body.named_modules()
        if key in found
    ]
    F.cross_entropy(body(inputs), labels).backward()
    assert len(handles) == len(found) >= 1
    for key, layer in found.items():
        output = outputs[key][0] if isinstance(outputs[key], tuple) else outputs[key]
        assert layer.activation_rms == pytest.approx(output.square().mean().sqrt().item(), rel=1e-5)
        grads = [p.grad for p in body.get_submodule(key).parameters()]
        assert layer.gradient_norm == pytest.approx(torch.cat([g.flatten() for g in grads]).norm().item(), rel=1e-5)
    # Every weight matrix belongs to one layer.
    of_layers = {p for key in found for p in body.get_submodule(key).parameters() if p.ndim > 1}
    assert of_layers == {p for key, p in body.named_parameters() if p.ndim > 1 and key != "position"}


def test_spread_of_squared_gradients():
    assert log_spread(torch.tensor([1e-4, 1e-2, 1.0])) == pytest.approx(math.sqrt(8 / 3))
    assert math.isnan(log_spread(torch.zeros(3)))
    layer = layer_statistics(
        nn.Linear(3, 1, bias=False), lambda s, _: s.mean(), torch.tensor([[0.0, 1.0, 10.0]]), torch.zeros(1)
    )[0]
    assert layer.zero_gradients == pytest.approx(1 / 3)
    assert layer.gradient_spread == pytest.approx(1.0)  # g = 1 and 10, g^2 two decades apart


def test_pixel_gradients_of_the_linear_model(digits):
    x = digits.train.images.flatten(1).double()
    errors = torch.randn(len(x), 10, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    brute = torch.einsum("nc,nd->ncd", errors, x).square().mean((0, 1)).sqrt()
    torch.testing.assert_close(pixel_gradients(x, errors), brute)


def test_the_offset_of_a_layer_is_that_of_its_channels():
    generator = torch.Generator().manual_seed(0)
    maps = 2 * torch.randn(40, 3, 5, 4, generator=generator).double() + torch.tensor([3.0, -1, 0])[:, None, None]
    means, deviations = np.array([[f(maps[:, c].numpy()) for c in range(3)] for f in (np.mean, np.std)])
    expected = np.sqrt((means**2).mean() / (deviations**2).mean())
    assert offset(maps) == pytest.approx(expected)
    tokens = maps.permute(0, 2, 3, 1).reshape(40, 20, 3)
    assert offset(tokens) == pytest.approx(expected)
    assert offset(maps - maps.mean((0, 2, 3), keepdim=True)) == pytest.approx(0, abs=1e-12)
    assert math.isinf(offset(torch.ones(4, 2)))
