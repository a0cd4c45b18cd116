"""Rescalings that leave a text network's outputs as they are, in float64; and the training that follows from them."""

import math

import pytest
import torch
import torch.nn.functional as F

from normlab.archs.text import Bag, TextTransformer
from normlab.theory.scale_freedom import free_scaling, norm_gain, rate_factor

TOKENS = torch.randint(2, 9, (6, 1, 5), generator=torch.Generator().manual_seed(1))
TOKENS[0, 0, 3:] = 0  # a text with padding
LABELS = torch.tensor([0, 1, 1, 0, 1, 0])
FORMS = [
    {"layer_norm": "none"},
    {"layer_norm": "after_embedding"},
    {"layer_norm": "after_embedding", "add_positions": "after_norm"},
    {"layer_norm": "after_embedding", "positions": "sinusoidal"},
    {"layer_norm": "after_embedding", "norm_type": "rms", "positions": "none"},
    {"layer_norm": "pre"},
    {"layer_norm": "pre", "norm_type": "rms"},
    {"layer_norm": "post"},
    {"layer_norm": "post", "positions": "sinusoidal"},
]


@torch.no_grad()
def rescale(body, scaling, factor):
    """Multiply each named parameter or buffer by ``factor`` to the power of its exponent, in place."""
    tensors = dict(body.named_parameters()) | dict(body.named_buffers())
    for name, exponent in scaling.items():
        tensors[name].mul_(factor**exponent)


def output_change(body, inputs, scaling, factor):
    """How far a rescaling moves the outputs: the largest change over the largest output, 0 if it is free."""
    tensors = dict(body.named_parameters()) | dict(body.named_buffers())
    saved = {name: tensors[name].detach().clone() for name in scaling}
    with torch.no_grad():
        before = body(inputs)
        rescale(body, scaling, factor)
        after = body(inputs)
        for name, value in saved.items():
            tensors[name].copy_(value)
    return ((after - before).abs().max() / before.abs().max()).item()


def transformer(eps=0.0, std=0.5, **options):
    torch.manual_seed(0)
    body = TextTransformer(
        (1, 5), 2, 9, width=8, depth=2, heads=2, norm_eps=eps, embedding_std=std, position_std=0.3, **options
    ).double()
    with torch.no_grad():  # biases start at 0, where a mistake in their exponent would not show
        for name, parameter in body.named_parameters():
            if name.endswith("bias"):
                parameter.normal_()
    return body


def bag(**options):
    torch.manual_seed(0)
    return Bag((1, 5), 2, 9, width=8, norm_eps=0.0, **options).double()


BODIES = [(transformer, form) for form in FORMS] + [(bag, {"layer_norm": name}) for name in ("none", "after_embedding")]


@pytest.mark.parametrize(
    ("make", "form"), BODIES, ids=lambda value: "-".join(value.values()) if isinstance(value, dict) else value.__name__
)
def test_a_free_scaling_changes_no_output_and_nothing_can_be_left_out(make, form):
    body = make(**form)
    scaling = free_scaling(body)
    for factor in (0.01, 3.7):
        assert output_change(body, TOKENS, scaling, factor) < 1e-9
    for name in scaling:
        rest = {key: value for key, value in scaling.items() if key != name}
        if rest:
            assert output_change(body, TOKENS, rest, 3.7) > 1e-3, f"{name} is not needed"


@pytest.mark.parametrize("add_positions", ["after_norm", "before_norm"])
def test_the_embedding_alone_is_free_only_if_positions_come_after_the_norm(add_positions):
    body = transformer(layer_norm="after_embedding", add_positions=add_positions)
    change = output_change(body, TOKENS, {"embedding.weight": 1}, 10.0)
    assert change < 1e-9 if add_positions == "after_norm" else change > 1e-2


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize(
    "form",
    [form for form in FORMS if form.get("positions") != "sinusoidal"],  # sinusoids are not trained
    ids=lambda form: "-".join(form.values()),
)
def test_training_after_a_free_scaling_is_the_same_with_the_rates_that_belong_to_it(form, optimizer):
    factor = 4.0
    outputs = []
    for scaled in (False, True):
        body = transformer(**form)
        scaling = free_scaling(body)
        if scaled:
            rescale(body, scaling, factor)
        groups = [
            {
                "params": [parameter],
                "lr": 0.01 * (rate_factor(scaling.get(name, 0), factor, optimizer) if scaled else 1.0),
            }
            for name, parameter in body.named_parameters()
        ]
        steps = torch.optim.SGD(groups, momentum=0.9) if optimizer == "sgd" else torch.optim.Adam(groups, eps=1e-300)
        for _ in range(4):
            steps.zero_grad()
            F.cross_entropy(body(TOKENS), LABELS).backward()
            steps.step()
        outputs.append(body(TOKENS))
    assert torch.allclose(*outputs, rtol=1e-6, atol=1e-8)
    untrained = transformer(**form)(TOKENS)
    assert not torch.allclose(outputs[0], untrained, rtol=1e-3)


def test_the_gradient_of_a_free_embedding_is_orthogonal_to_it_and_inverse_to_its_scale():
    norms = []
    for std in (0.5, 5.0):
        body = transformer(std=std, layer_norm="after_embedding", add_positions="after_norm")
        F.cross_entropy(body(TOKENS), LABELS).backward()
        weight = body.embedding.weight
        assert abs((weight.grad * weight).sum().item()) < 1e-12
        norms.append(weight.grad.norm().item())
    assert norms[0] / norms[1] == pytest.approx(10)


@pytest.mark.parametrize("std", [0.002, 0.02, 1.0])
def test_the_gain_is_the_root_mean_square_after_layer_norm(std):
    x = torch.randn(64, 4096, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * std
    measured = F.layer_norm(x, (4096,), eps=1e-5).square().mean().sqrt().item()
    assert measured == pytest.approx(norm_gain(std), rel=2e-3)
    assert norm_gain(std, 0.0) == 1.0
    assert math.isclose(norm_gain(math.sqrt(1e-5)), 0.5**0.5)


def test_another_network_has_no_embedding_to_scale():
    with pytest.raises(TypeError, match="Linear"):
        free_scaling(torch.nn.Linear(1, 1))
