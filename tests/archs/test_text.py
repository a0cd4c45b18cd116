"""The networks for tokens, against formulas in float64 and the properties that their options promise."""

import pytest
import torch
import torch.nn.functional as F

from normlab.archs.layers import first_layer
from normlab.archs.text import Bag, TextTransformer, draw_embedding, make_norm, sinusoids
from normlab.errors import ConfigError, DataError
from normlab.theory.activations import layer_statistics

TOKENS = torch.tensor([[2, 3, 4, 0, 0], [5, 6, 7, 8, 2], [3, 3, 0, 0, 0]], dtype=torch.int32)[:, None]
LAYER_NORMS = ["none", "after_embedding", "pre", "post"]


def transformer(**options):
    torch.manual_seed(0)
    return TextTransformer((1, 5), 2, 9, **{"width": 8, "depth": 2, "heads": 2, **options})


@pytest.mark.parametrize("layer_norm", ["pre", "post"])  # PyTorch's layer always normalizes
@pytest.mark.parametrize("positions", ["learned", "none"])
def test_the_transformer_is_pytorchs_encoder_where_pytorch_has_one(layer_norm, positions):
    body = transformer(layer_norm=layer_norm, positions=positions).double().eval()
    x = body.embedding(TOKENS[:, 0])
    if positions == "learned":
        x = x + body.position
    padding = TOKENS[:, 0] == 0
    for block in body.blocks:
        layer = torch.nn.TransformerEncoderLayer(
            8, 2, 16, dropout=0.0, activation="gelu", batch_first=True, norm_first=layer_norm == "pre"
        ).double()
        norms = getattr(block, layer_norm)
        pairs = [
            (layer.self_attn, block.attention),
            (layer.linear1, block.mlp[0]),
            (layer.linear2, block.mlp[2]),
            (layer.norm1, norms[0]),
            (layer.norm2, norms[1]),
        ]
        for theirs, ours in pairs:
            theirs.load_state_dict(ours.state_dict())
        x = layer(x, src_key_padding_mask=padding)
    if layer_norm == "pre":
        x = body.final_norm(x)
    mean = torch.stack([text[~hidden].mean(0) for text, hidden in zip(x, padding, strict=True)])
    assert torch.allclose(body(TOKENS), body.head(mean), atol=1e-12)


@pytest.mark.parametrize("layer_norm", LAYER_NORMS)
def test_padding_changes_nothing(layer_norm):
    body = transformer(layer_norm=layer_norm).double()
    expected = body(TOKENS)
    with torch.no_grad():
        body.embedding.weight[0] = 7.0
        body.position[3:] *= 5  # seen by the second text only
    outputs = body(TOKENS)
    assert torch.allclose(outputs[[0, 2]], expected[[0, 2]], atol=1e-12)
    assert not torch.allclose(outputs[1], expected[1])
    assert torch.allclose(body(TOKENS[:1, :, :3]), expected[:1], atol=1e-12)  # without its padding


def test_order_counts_for_the_transformer_with_positions_only():
    turned = TOKENS[1:2].flip(2)
    assert not torch.allclose(transformer()(TOKENS[1:2]), transformer()(turned), atol=1e-6)
    free = transformer(positions="none").double()
    assert torch.allclose(free(TOKENS[1:2]), free(turned), atol=1e-12)


@pytest.mark.parametrize("layer_norm", ["none", "after_embedding"])
def test_the_bag_is_a_mean_of_embeddings(layer_norm):
    torch.manual_seed(0)
    body = Bag((1, 5), 3, 9, width=4, layer_norm=layer_norm, embedding_std=0.5).double()
    weight = body.embedding.weight
    if layer_norm == "after_embedding":
        weight = (weight - weight.mean(1, keepdim=True)) / (weight.var(1, correction=0, keepdim=True) + 1e-5).sqrt()
    for text, scores in zip(TOKENS[:, 0].tolist(), body(TOKENS), strict=True):
        mean = torch.stack([weight[token] for token in text if token]).mean(0)
        assert torch.allclose(scores, body.head.weight @ mean + body.head.bias, atol=1e-12)


@pytest.mark.parametrize(("std", "expected"), [(0.002, 0.002), (1.0, 1.0), ("fan_in", 64**-0.5)])
def test_the_embedding_starts_with_the_chosen_deviation(std, expected):
    torch.manual_seed(0)
    assert draw_embedding(2000, 64, std).weight.std().item() == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize("positions", ["learned", "sinusoidal"])
def test_positions_have_their_own_scale(positions):
    body = TextTransformer((1, 200), 2, 9, width=64, positions=positions, position_std=0.3, embedding_std=1.0)
    assert body.position.square().mean().sqrt().item() == pytest.approx(0.3, rel=0.03)
    assert ("position" in dict(body.named_parameters())) == (positions == "learned")


def test_sinusoids_have_unit_wavelengths_of_the_paper():
    table = sinusoids(50, 16).double()
    place, pair = 37, 5
    angle = torch.tensor(place / 10_000 ** (2 * pair / 16), dtype=torch.float64)
    assert torch.allclose(table[place, [pair, pair + 8]], torch.stack([angle.sin(), angle.cos()]), atol=1e-5)
    assert torch.allclose(table.square().sum(1), torch.full((50,), 8.0, dtype=torch.float64), atol=1e-5)


def test_rms_norm_divides_by_the_root_mean_square():
    x = torch.randn(5, 8, dtype=torch.float64) + 2
    expected = x / (x.square().mean(1, keepdim=True) + 0.1).sqrt()
    assert torch.allclose(make_norm("rms", 8, 0.1).double()(x), expected, atol=1e-12)
    assert torch.allclose(make_norm("layer", 8, 0.1).double()(x), F.layer_norm(x, (8,), eps=0.1), atol=1e-12)


def test_the_same_seed_gives_the_same_weights_whatever_the_norm_and_the_scale():
    plain = transformer(layer_norm="none", embedding_std=1.0)
    for layer_norm in LAYER_NORMS:
        other = dict(transformer(layer_norm=layer_norm, embedding_std=0.02).named_parameters())
        for name, parameter in plain.named_parameters():
            scale = 0.02 if name == "embedding.weight" else 1.0
            assert torch.allclose(other[name], scale * parameter, rtol=1e-5), name


def test_the_embedding_is_the_first_layer_and_its_activations_are_measured():
    body = transformer(embedding_std=0.5)
    assert first_layer(body) is body.embedding
    first, *_ = layer_statistics(body, F.cross_entropy, TOKENS.float(), torch.tensor([0, 1, 0]))
    assert first.name == "embedding"
    expected = body.embedding(TOKENS[:, 0]).square().mean().sqrt().item()
    assert first.activation_rms == pytest.approx(expected, rel=1e-5)
    assert first.gradient_norm > 0


@pytest.mark.parametrize("value", [9, -1, 2.5, float("nan")])
@pytest.mark.parametrize("make", [transformer, lambda: Bag((1, 5), 2, 9)])
def test_a_token_outside_the_vocabulary_is_refused(make, value):
    tokens = TOKENS.float()
    tokens[1, 0, 2] = value
    with pytest.raises(DataError, match=r"is no token: a vocabulary of 9 has the whole numbers 0 to 8"):
        make()(tokens)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": 9, "heads": 3}, "arch.width=9: expected an even multiple of arch.heads=3"),
        ({"width": 8, "heads": 3}, "arch.width=8: expected an even multiple of arch.heads=3"),
        (
            {"add_positions": "after_norm"},
            "needs arch.layer_norm=after_embedding and positions, not arch.layer_norm=pre",
        ),
    ],
)
def test_options_that_do_not_go_together_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        transformer(**options)
