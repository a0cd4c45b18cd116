"""The network of series against plain numpy, and spectrograms in networks of images."""

import numpy as np
import pytest
import torch

from normlab.config import choose
from normlab.errors import ConfigError


def test_one_stage_is_convolution_maximum_and_mean():
    torch.manual_seed(0)
    network = choose("arch", "cnn1d", depth=1, width=4, kernel=3).build((2, 8), 3).double()
    convolution, linear = network.layers[0], network.layers[-1]
    series = np.random.default_rng(0).standard_normal((2, 8))
    padded = np.pad(series, ((0, 0), (1, 1)))
    weight, bias = (value.detach().numpy() for value in (convolution.weight, convolution.bias))
    maps = np.array([[(weight[k] * padded[:, t : t + 3]).sum() + bias[k] for t in range(8)] for k in range(4)])
    pooled = np.maximum(maps, 0).reshape(4, 4, 2).max(2).mean(1)
    expected = linear.weight.detach().numpy() @ pooled + linear.bias.detach().numpy()
    assert network(torch.from_numpy(series)[None])[0].detach().numpy() == pytest.approx(expected)


@pytest.mark.parametrize("norm", ["none", "batch", "layer", "group"])
def test_every_normalization_inside(norm):
    network = choose("arch", "cnn1d", width=8, internal_norm=norm).build((3, 20), 5)
    assert network(torch.randn(4, 3, 20)).shape == (4, 5)


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        ((3, 8, 8), {}, "takes series"),
        ((3, 7), {}, "can be halved 2 times at most"),
        ((3, 20), {"kernel": 4}, "expected an odd number"),
    ],
)
def test_what_it_cannot_take(shape, options, message):
    with pytest.raises(ConfigError, match=message):
        choose("arch", "cnn1d", **options).build(shape, 5)


@pytest.mark.parametrize("name", ["cnn", "vit", "resnet", "allconv"])
def test_a_spectrogram_is_an_image_of_one_channel(name):
    torch.manual_seed(0)
    network = choose("arch", name).build((40, 32), 6).eval()
    x = torch.randn(2, 40, 32)
    torch.testing.assert_close(network(x), network(x[:, None]))
