"""The first layer's own scale and learning rate, and what both compensate."""

import math

import pytest
import torch

from normlab.archs import Network
from normlab.archs.layers import first_layer
from normlab.data import load
from normlab.errors import ConfigError
from normlab.measurements.rescaling import traced_functions
from normlab.training.optimizers import build_optimizer


def network(config):
    data = load(config.data)
    torch.manual_seed(config.seed)
    return Network(config.norm.build().fit(data.training_images()), config.arch, data.shape, data.classes)


@pytest.mark.parametrize("arch", ["linear", "mlp", "cnn", "resnet", "allconv", "vit"])
def test_only_the_first_layers_weights_are_scaled(make, arch):
    options = {"arch.init": "he"} if arch == "linear" else {}
    plain = network(make(arch=arch, **options))
    scaled = network(make(arch=arch, **options, **{"arch.first_layer_scale": 0.25}))
    first = first_layer(plain.body).weight
    for (name, one), (_, other) in zip(plain.named_parameters(), scaled.named_parameters(), strict=True):
        torch.testing.assert_close(other, one * (0.25 if one is first else 1), rtol=0, atol=0, msg=name)


def test_its_rate_alone_is_scaled_and_every_parameter_is_trained_once(make):
    config = make(arch="vit", norm="learned", **{"optim.first_layer_lr": 0.0625, "optim.lr": 0.5})
    built = network(config)
    groups = build_optimizer(config.optim, built).param_groups
    rates = {id(p): group["lr"] for group in groups for p in group["params"]}
    assert len(rates) == len(list(built.parameters())) == sum(len(group["params"]) for group in groups)
    slow = {name for name, p in built.named_parameters() if rates[id(p)] != 0.5}
    assert slow == {"body.embed.weight"}
    assert rates[id(built.body.embed.weight)] == 0.5 * 0.0625


def test_a_factor_of_zero_is_refused(make):
    with pytest.raises(ConfigError, match="first_layer_lr=0"):
        make(**{"optim.first_layer_lr": 0})


@pytest.mark.slow
@pytest.mark.parametrize("scale", [4.0, 3.0])
def test_compensated_sgd_traces_the_same_function(here, scale):
    """To rounding in double precision; and neither factor is enough alone."""
    archs = [{"name": "mlp", "width": 32}, {"name": "cnn"}, {"name": "vit", "depth": 1}]
    rows = traced_functions(data={"name": "digits", "limit": 300}, archs=archs, scale=scale, precision="64")
    found = {(row["arch"], row["optim"], row["compensated"]): row["largest_gap"] for row in rows}
    for arch in ("mlp", "cnn", "vit"):
        both = found[arch, "sgd", "both"]
        # The initial weights are drawn, and divided, in single precision: by a power of two this rounds nothing.
        assert both < (1e-12 if scale == 4 else 1e-7)
        assert found[arch, "sgd", "weights"] > 1e-3
        assert found[arch, "sgd", "rate"] > 1e-3
        # Adam's eps is not scaled along.
        assert found[arch, "adam", "both"] < 1e-3 < found[arch, "adam", "nothing"]
    assert all(row["steps"] == 2 * math.ceil(300 / 128) for row in rows)
