"""Anchors of series and recordings: random convolutions, two networks, and what is within the printed spread."""

import importlib.util
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from normlab.errors import DataError
from normlab.measurements import anchors_signals
from normlab.measurements.anchors_signals import (
    RECIPES,
    convolutions,
    deep_accuracy,
    fit,
    perceptron,
    random_kernels,
    rocket_features,
    standardized,
    stored_moments,
    versus_printed,
)

needs_aeon = pytest.mark.skipif(importlib.util.find_spec("aeon") is None, reason="aeon is not installed")


def test_features_of_convolutions_are_those_of_their_definition():
    """Each kernel step by step in plain Python: share of positive values and maximum."""
    generator = np.random.default_rng(0)
    series = generator.normal(size=(3, 1, 20))
    kernels = random_kernels(20, 12, seed=1)
    found = rocket_features(torch.from_numpy(series), kernels)
    columns = []
    for (length, dilation, padding), (weights, biases) in kernels.items():
        shares, largest = [], []
        for weight, bias in zip(weights.numpy()[:, 0], biases.numpy(), strict=True):
            outputs = []
            for start in range(-padding, 20 + padding - (length - 1) * dilation):
                places = [start + i * dilation for i in range(length)]
                outputs.append(
                    [
                        bias
                        + sum(w * one[0, place] for w, place in zip(weight, places, strict=True) if 0 <= place < 20)
                        for one in series
                    ]
                )
            shares.append((np.array(outputs) > 0).mean(0))
            largest.append(np.max(outputs, 0))
        columns += [*shares, *largest]
    np.testing.assert_allclose(found, np.array(columns).T, atol=1e-12)


def test_kernels_are_drawn_as_in_the_paper():
    kernels = random_kernels(150, 2000, seed=0)
    counts = {length: 0 for length in anchors_signals.LENGTHS}
    padded = 0
    for (length, dilation, padding), (weights, biases) in kernels.items():
        counts[length] += len(weights)
        padded += len(weights) * (padding > 0)
        assert (length - 1) * dilation < 150
        assert padding in (0, (length - 1) * dilation // 2)
        assert weights.mean(2).abs().max() < 1e-12
        assert biases.abs().max() <= 1
    assert sum(counts.values()) == 2000
    # Shares of a third and of a half, within four standard deviations.
    assert all(abs(count / 2000 - 1 / 3) < 4 * math.sqrt(2 / 9 / 2000) for count in counts.values())
    assert abs(padded / 2000 - 0.5) < 4 * math.sqrt(0.25 / 2000)


@pytest.mark.parametrize(("build", "steps"), [(perceptron, 24), (convolutions, 24)])
def test_networks_have_the_layers_of_the_paper(build, steps):
    expected = {
        perceptron: (steps + 1) * 500 + 2 * 501 * 500 + 501 * 2,
        convolutions: sum(filters * (inputs * width + 3) for inputs, filters, width in
                          ((1, 128, 8), (128, 256, 5), (256, 128, 3))) + 129 * 2,
    }  # fmt: skip
    model = build(steps, 2)
    assert sum(parameter.numel() for parameter in model.parameters()) == expected[build]
    assert model(torch.randn(5, 1, steps)).shape == (5, 2)


@pytest.mark.slow
@pytest.mark.parametrize("network", ["mlp", "fcn"])
def test_a_network_learns_planted_classes(network):
    """A wave of one frequency or of another, with noise."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(40) % 2
    steps = torch.arange(24) / 24
    waves = torch.stack([torch.sin(2 * math.pi * (2 + 3 * label) * steps) for label in labels])
    series = standardized((waves + 0.3 * torch.randn(40, 24, generator=generator))[:, None])
    torch.manual_seed(0)
    model = RECIPES[network].build(24, 2)
    fit(model, series, labels, replace(RECIPES[network], epochs=30))
    with torch.no_grad():
        assert (model.eval()(series).argmax(1) == labels).double().mean() > 0.9


def test_the_rate_is_halved_as_keras_does():
    """After ``patience`` epochs without a loss lower by 1e-4, down to the least rate."""
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2))
    seen = []

    def optimizer(parameters):
        made = torch.optim.SGD(parameters, lr=0.0)
        made.param_groups[0]["lr"] = 8.0
        made.step = lambda *_, **__: seen.append(made.param_groups[0]["lr"])  # weights stay, and so does the loss
        return made

    recipe = replace(RECIPES["mlp"], optimizer=optimizer, epochs=10, patience=3, least_rate=2.0)
    fit(model, torch.zeros(10, 1, 4), torch.arange(10) % 2, recipe)
    assert seen[::10] == [8, 8, 8, 8, 4, 4, 4, 2, 2, 2]


def test_within_the_printed_spread():
    row = versus_printed([0.9, 0.92], [0.95, 0.02], test=100)
    std = math.sqrt(2) * 0.01
    allowed = 3 * math.sqrt(std**2 / 2 + 0.02**2 / 10) + 0.01
    assert row["accuracy"] == pytest.approx(0.91)
    assert row["std"] == pytest.approx(std)
    assert (row["allowed"], row["excess"]) == (pytest.approx(allowed), pytest.approx(0.04 / allowed))


@needs_aeon
def test_which_series_are_stored_standardized():
    [row] = stored_moments(problem="ItalyPowerDemand")
    assert row["mean"] < 1e-6
    assert row["std"] < 1e-6
    [row] = stored_moments(problem="BasicMotions")
    assert row["mean"] > 0.1


@pytest.mark.slow
@needs_aeon
def test_the_printed_sets_are_trained_on(monkeypatch):
    monkeypatch.setattr(anchors_signals, "RECIPES", {"mlp": replace(RECIPES["mlp"], epochs=20)})
    [row] = deep_accuracy(problem="ItalyPowerDemand", network="mlp", printed=[0.954, 0.002], seeds=[0, 1])
    assert row["accuracy"] > 0.85
    assert row["runs"] == 2
    with pytest.raises(DataError, match="has no such set"):
        deep_accuracy(problem="Italy", network="mlp", printed=[0.9, 0.1], seeds=[0])
