import copy
import itertools
import math

import pytest
import torch
from torch import nn

from normlab.archs import Network
from normlab.config import choices, choose
from normlab.errors import ConfigError, DataError
from normlab.norms import normalization

SHAPES = [(3, 32, 32), (1, 8, 8), (1, 28, 28)]
NORMS = ["none", "batch", "layer", "group"]
ACTIVATIONS = ["relu", "tanh", "sigmoid", "gelu"]
INITS = ["torch", "he", "xavier", "lecun"]
PADDINGS = ["zeros", "reflect", "replicate", "circular"]
# Images of any number of channels. ImageNet's weights take three: test_pretrained.py. The others take series or texts.
ANY_CHANNELS = sorted(set(choices("arch")) - {"pretrained", "cnn1d", "bag", "text_transformer"})
SMALL = {"mlp": {"width": 16}, "cnn": {"width": 8}, "resnet": {"width": 8}, "allconv": {"width": 8}}


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def build(name, shape, classes=5, **options):
    return choose("arch", name, **options).build(shape, classes)


def normal(batch, shape):
    return torch.randn(batch, *shape)


@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", ANY_CHANNELS)
def test_every_choice_maps_images_to_scores(name, shape):
    network = build(name, shape)
    scores = network(normal(2, shape))
    assert scores.shape == (2, 5)
    assert scores.dtype == torch.float32
    assert scores.isfinite().all()
    nn.functional.cross_entropy(scores, torch.tensor([0, 4])).backward()
    for parameter in network.parameters():
        assert parameter.grad is not None
        assert parameter.grad.isfinite().all()


@pytest.mark.parametrize("shape", [(3, 12, 20), (2, 16, 8)])
@pytest.mark.parametrize("name", sorted(set(ANY_CHANNELS) - {"resnet50"}))
def test_images_need_not_be_square_nor_of_1_or_3_channels(name, shape):
    assert build(name, shape)(normal(2, shape)).shape == (2, 5)


@pytest.mark.parametrize("name", sorted(SMALL))
@pytest.mark.parametrize(("norm", "activation", "init"), list(itertools.product(NORMS, ACTIVATIONS, INITS)))
def test_internal_norms_activations_and_inits(name, norm, activation, init):
    network = build(name, (3, 8, 8), internal_norm=norm, activation=activation, init=init, **SMALL[name])
    scores = network(normal(4, (3, 8, 8)))
    assert scores.shape == (4, 5)
    assert scores.isfinite().all()
    scores.square().sum().backward()
    gradients = [parameter.grad for parameter in network.parameters()]
    assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients)
    assert all(gradient.abs().max() > 0 for gradient in (gradients[0], gradients[-1]))


@pytest.mark.parametrize("name", sorted(SMALL))
@pytest.mark.parametrize(
    ("norm", "kinds"),
    [
        ("none", ()),
        ("batch", (nn.BatchNorm1d, nn.BatchNorm2d)),
        ("layer", (nn.LayerNorm, nn.GroupNorm)),
        ("group", (nn.GroupNorm,)),
    ],
)
def test_internal_norm_chooses_the_layers(name, norm, kinds):
    every = (nn.BatchNorm1d, nn.BatchNorm2d, nn.LayerNorm, nn.GroupNorm)
    found = [layer for layer in build(name, (3, 8, 8), internal_norm=norm).modules() if isinstance(layer, every)]
    assert bool(found) == (norm != "none")
    assert all(isinstance(layer, kinds) for layer in found)


@pytest.mark.parametrize("name", sorted(SMALL))
@pytest.mark.parametrize(
    ("activation", "kind"), [("relu", nn.ReLU), ("tanh", nn.Tanh), ("sigmoid", nn.Sigmoid), ("gelu", nn.GELU)]
)
def test_activation_chooses_the_layers(name, activation, kind):
    every = (nn.ReLU, nn.Tanh, nn.Sigmoid, nn.GELU)
    found = [layer for layer in build(name, (3, 8, 8), activation=activation).modules() if isinstance(layer, every)]
    assert {type(layer) for layer in found} == {kind}


@pytest.mark.parametrize(("width", "groups"), [(16, 2), (64, 8), (8, 1), (4, 1), (12, 1), (20, 2)])
def test_group_norm_has_groups_of_about_8_channels(width, groups):
    def found(norm):
        network = build("cnn", (3, 8, 8), width=width, depth=1, internal_norm=norm)
        return [layer.num_groups for layer in network.modules() if isinstance(layer, nn.GroupNorm)]

    assert found("group") == [groups]
    assert found("layer") == [1]


def fans(layer):
    area = layer.weight[0, 0].numel() if isinstance(layer, nn.Conv2d) else 1
    return layer.weight.shape[1] * area, layer.weight.shape[0] * area


VARIANCES = {
    "he": lambda fan_in, fan_out: 2 / fan_in,
    "xavier": lambda fan_in, fan_out: 2 / (fan_in + fan_out),
    "lecun": lambda fan_in, fan_out: 1 / fan_in,
    "torch": lambda fan_in, fan_out: 1 / (3 * fan_in),
}


@pytest.mark.parametrize("init", INITS)
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("mlp", {"width": 300}),
        ("cnn", {"width": 48}),
        ("resnet", {"width": 48}),
        ("linear", {}),
        ("allconv", {"width": 48, "internal_norm": "group"}),
    ],
)
def test_variance_of_the_initial_weights(name, options, init):
    network = build(name, (3, 20, 20), classes=200, init=init, **options)
    layers = [layer for layer in network.modules() if isinstance(layer, nn.Linear | nn.Conv2d)]
    large = [layer for layer in layers if layer.weight.numel() > 15_000]
    assert len(large) >= min(3, len(layers))
    for layer in large:
        # The variance of n normal numbers is known to sqrt(2 / n), which is 1.2% at most.
        assert layer.weight.var().item() == pytest.approx(VARIANCES[init](*fans(layer)), rel=0.05)
        assert layer.weight.mean().item() == pytest.approx(0, abs=0.05 * layer.weight.std().item())
    for layer in layers:
        assert bool(layer.bias.eq(0).all()) == (init != "torch")


@pytest.mark.parametrize("init", ["he", "xavier", "lecun"])
def test_initial_weights_are_normal(init):
    weight = build("mlp", (1, 20, 20), init=init, width=500).layers[1].weight
    kurtosis = ((weight - weight.mean()) / weight.std()).pow(4).mean().item()
    assert kurtosis == pytest.approx(3, abs=0.1)


def test_he_keeps_the_second_moment_of_relu_networks():
    network = build("mlp", (1, 30, 30), width=1000, depth=6, init="he")
    hidden = nn.Sequential(*network.layers[:-1])(
        normal(200, (1, 30, 30))
    )  # after the last ReLU: half of the variance 2
    assert hidden.square().mean().item() == pytest.approx(1, rel=0.3)


@pytest.mark.parametrize("name", ["mlp", "cnn", "resnet", "allconv", "linear", "vit", "timm", "resnet18"])
def test_the_seed_decides_the_weights(name):
    options = {"init": "he"} if name == "linear" else {}

    def drawn(seed):
        torch.manual_seed(seed)
        return torch.cat([p.flatten() for p in build(name, (3, 16, 16), **options).parameters()])

    assert torch.equal(drawn(1), drawn(1))
    assert not torch.equal(drawn(1), drawn(2))


def test_linear_is_a_linear_map():
    network = build("linear", (2, 3, 4), init="he")
    x = normal(6, (2, 3, 4))
    expected = x.reshape(6, 24) @ network.layer.weight.T + network.layer.bias
    torch.testing.assert_close(network(x), expected)


@pytest.mark.parametrize("bias", [True, False])
def test_linear_starts_at_zero(bias):
    network = build("linear", (3, 8, 8), bias=bias)
    assert network(normal(4, (3, 8, 8))).eq(0).all()
    assert len(list(network.parameters())) == (2 if bias else 1)
    assert (network.layer.bias is not None) == bias


@pytest.mark.parametrize("init", INITS)
def test_linear_without_bias_maps_zero_to_zero(init):
    network = build("linear", (3, 8, 8), bias=False, init=init)
    assert network(torch.zeros(1, 3, 8, 8)).eq(0).all()
    assert network(normal(1, (3, 8, 8))).abs().min() > 0


def test_mlp_depth():
    for depth in (0, 1, 4):
        assert sum(isinstance(layer, nn.Linear) for layer in build("mlp", (1, 8, 8), depth=depth).layers) == depth + 1


@pytest.mark.parametrize("blocks", [1, 3])
def test_resnet_has_6_blocks_plus_2_layers(blocks):
    network = build("resnet", (3, 32, 32), blocks=blocks)
    layers = [layer for layer in network.modules() if isinstance(layer, nn.Linear | nn.Conv2d)]
    projections = [layer for layer in layers if isinstance(layer, nn.Conv2d) and layer.kernel_size == (1, 1)]
    assert len(layers) - len(projections) == 6 * blocks + 2
    assert len(projections) == 2


@pytest.mark.parametrize(("shape", "depth"), [((3, 32, 32), 6), ((1, 8, 8), 4), ((1, 28, 28), 5), ((3, 64, 8), 4)])
def test_cnn_too_deep(shape, depth):
    with pytest.raises(
        ConfigError, match=rf"arch\.depth={depth}: images of {shape[1]}x{shape[2]} .* {depth - 1} times"
    ):
        build("cnn", shape, depth=depth)
    assert build("cnn", shape, depth=depth - 1, width=2)(normal(1, shape)).shape == (1, 5)


def multiply_adds(network, shape):
    """Of one image, counted where they are done: each output of a layer takes one for each weight it is made with."""
    counts = []

    def count(layer, _, output):
        counts.append(output[0].numel() * layer.weight[0].numel())

    for layer in network.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            layer.register_forward_hook(count)
    network.eval()(normal(1, shape))
    return sum(counts)


@pytest.mark.parametrize("size", [32, 33, 9, 5])
@pytest.mark.parametrize("width", [32, 6])
def test_allconv_multiply_adds(size, width):
    pixels = [math.ceil(size / 2**stage) ** 2 for stage in (1, 2, 3)]
    first = 27 * width * pixels[0]
    strided = sum(9 * width**2 * 2 ** (2 * stage - 1) * pixels[stage] for stage in (1, 2))
    same = sum(9 * width**2 * 4**stage * pixels[stage] for stage in (0, 1, 2))
    counted = multiply_adds(build("allconv", (3, size, size), classes=10, width=width), (3, size, size))
    assert counted == first + strided + same + 4 * width * 10
    if (size, width) == (32, 32):
        assert counted == 9_659_648  # the 9.7 million of its docstring


def test_allconv_has_no_pooling_but_the_mean():
    network = build("allconv", (3, 32, 32))
    convolutions = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d)]
    assert [(layer.in_channels, layer.out_channels, layer.stride[0]) for layer in convolutions] == [
        (3, 32, 2),
        (32, 32, 1),
        (32, 64, 2),
        (64, 64, 1),
        (64, 128, 2),
        (128, 128, 1),
    ]
    pools = (nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d)
    assert [type(layer) for layer in network.modules() if isinstance(layer, pools)] == [nn.AdaptiveAvgPool2d]


def biased(norm):
    """The same network with a bias in each convolution, without one, and images, in float64."""
    network = build("allconv", (3, 16, 16), width=8, internal_norm=norm).double()
    images = normal(8, (3, 16, 16)).double()
    without = copy.deepcopy(network)
    for ours, theirs in zip(network.modules(), without.modules(), strict=True):
        if isinstance(ours, nn.Conv2d):
            ours.bias = nn.Parameter(torch.randn(ours.out_channels, dtype=torch.double))
            theirs.bias = None
    return network, without, images


@pytest.mark.parametrize("norm", NORMS)
def test_allconv_leaves_out_a_bias_exactly_where_it_is_redundant(norm):
    """A bias is redundant if a network in training gives the same scores with any bias."""
    layers = build("allconv", (3, 16, 16), internal_norm=norm).modules()
    has = {layer.bias is not None for layer in layers if isinstance(layer, nn.Conv2d)}
    one, other, images = biased(norm)
    redundant = torch.allclose(one(images), other(images), atol=1e-9)
    assert has == {not redundant}


@pytest.mark.parametrize(
    ("shape", "halvings"), [((3, 32, 32), 5), ((3, 33, 33), 6), ((1, 8, 8), 3), ((1, 7, 28), 3), ((1, 1, 9), 0)]
)
def test_allconv_too_deep(shape, halvings):
    with pytest.raises(
        ConfigError,
        match=rf"arch\.stages={halvings + 1}: images of {shape[1]}x{shape[2]} pixels .* {halvings} times at most",
    ):
        build("allconv", shape, stages=halvings + 1)
    if halvings:
        assert build("allconv", shape, stages=halvings, width=2)(normal(2, shape)).shape == (2, 5)


@pytest.mark.parametrize("shape", [(3, 31, 31), (1, 13, 27), (2, 5, 9)])
def test_allconv_takes_odd_sizes(shape):
    network = build("allconv", shape, width=4)
    maps = network.layers[:-3](normal(2, shape))
    assert maps.shape == (2, 16, math.ceil(shape[1] / 8), math.ceil(shape[2] / 8))
    assert network(normal(2, shape)).shape == (2, 5)


@pytest.mark.parametrize(
    ("shape", "patch_size"), [((3, 32, 32), 5), ((1, 28, 28), 8), ((3, 32, 30), 4), ((1, 8, 8), 16)]
)
def test_vit_patches_must_divide_the_image(shape, patch_size):
    with pytest.raises(
        ConfigError, match=rf"arch\.patch_size={patch_size} does not divide images of {shape[1]}x{shape[2]}"
    ):
        build("vit", shape, patch_size=patch_size)


def test_vit_heads_must_divide_the_width():
    with pytest.raises(ConfigError, match=r"arch\.width=50 .* arch\.heads=4"):
        build("vit", (3, 32, 32), width=50)


def test_vit_tokens_and_positions():
    network = build("vit", (3, 8, 12), patch_size=4, width=8, depth=1, heads=2)
    assert network.position.shape == (6, 8)
    x = normal(2, (3, 8, 12))
    swapped = torch.cat([x[..., 4:8], x[..., :4], x[..., 8:]], 3)  # two patches change places
    assert not torch.allclose(network(x), network(swapped), atol=1e-5)
    nn.init.zeros_(network.position)
    torch.testing.assert_close(network(x), network(swapped), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["cnn", "resnet", "allconv"])
def test_padding_changes_the_output_of_the_same_weights(name):
    shape = (3, 16, 16)
    networks = {padding: build(name, shape, padding=padding) for padding in PADDINGS}
    x = normal(2, shape) + 1
    outputs = []
    for network in networks.values():
        network.load_state_dict(networks["zeros"].state_dict())
        outputs.append(network.eval()(x))
    assert all(not torch.allclose(a, b, atol=1e-4) for a, b in itertools.combinations(outputs, 2))


@pytest.mark.parametrize("padding", ["reflect", "replicate", "circular"])
def test_padding_with_own_pixels_keeps_a_constant_image_constant(padding):
    for name, constant in ((padding, True), ("zeros", False)):
        outputs = build("cnn", (3, 16, 16), padding=name).layers[0](torch.ones(1, 3, 16, 16))
        assert torch.allclose(outputs, outputs[..., :1, :1], atol=1e-5) == constant


@pytest.mark.parametrize("padding", PADDINGS)
def test_padding_of_small_images(padding):
    """4x4, the size of data=planted, is 1x1 in the last stage, where there is nothing to reflect."""
    assert build("cnn", (1, 8, 8), padding=padding)(normal(2, (1, 8, 8))).shape == (2, 5)

    def small():
        return Network(normalization("unit"), choose("arch", "resnet", padding=padding), (1, 4, 4), tuple("abcde"))

    if padding == "reflect":
        with pytest.raises(ConfigError, match=r"arch=resnet cannot take images of 1x4x4: .*Padding size"):
            small()
    else:
        assert small().eval()(torch.zeros(1, 1, 4, 4, dtype=torch.uint8)).shape == (1, 5)


def test_timm_by_name():
    network = build("timm", (1, 28, 28), model="resnet18")
    assert network.conv1.in_channels == 1
    assert network(normal(2, (1, 28, 28))).shape == (2, 5)
    assert build("timm", (3, 32, 32), model="vit_tiny_patch16_224")(normal(2, (3, 32, 32))).shape == (2, 5)


def test_timm_unknown_model():
    with pytest.raises(ConfigError, match=r"^arch\.model=resnet10: [^\n]*similar names: [^\n]*resnet10[^\n]*$"):
        build("timm", (3, 32, 32), model="resnet10")
    with pytest.raises(ConfigError, match=r"arch\.model=gibberish"):
        build("timm", (3, 32, 32), model="gibberish")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "shape"), [("convnext_atto", (1, 28, 28)), ("vit_tiny_patch16_224", (1, 8, 8)), ("vgg11", (1, 28, 28))]
)
def test_timm_network_that_cannot_take_such_images(model, shape):
    with pytest.raises(ConfigError, match=r"arch=timm cannot take images of|arch\.model="):
        Network(normalization("unit"), choose("arch", "timm", model=model), shape, tuple("abcde"))(
            torch.zeros(2, *shape, dtype=torch.uint8)
        )


def test_torchvision_networks_for_grey_images():
    network = build("resnet18", (1, 32, 32))
    assert network.conv1.weight.shape == (64, 1, 7, 7)
    expected = 2 / (64 * 49)  # He's, by fan_out, as in torchvision
    assert network.conv1.weight.var().item() == pytest.approx(expected, rel=0.15)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", ["linear", "mlp", "cnn", "resnet", "allconv", "vit"])
def test_network_takes_uint8_and_gives_scores(name, shape):
    images = torch.randint(0, 256, (3, *shape), dtype=torch.uint8)
    options = {"init": "he"} if name == "linear" else {}
    network = Network(normalization("unit"), choose("arch", name, **options), shape, tuple("abcde")).eval()
    before = images.clone()
    scores = network(images)
    assert torch.equal(images, before)
    assert scores.shape == (3, 5)
    assert scores.dtype == torch.float32
    assert network.input_shape == network.normalized_shape == shape
    torch.testing.assert_close(scores, network.body(images.float() / 255), rtol=1e-4, atol=1e-5)


def test_network_refuses_floats():
    network = Network(normalization("unit"), choose("arch", "mlp"), (1, 8, 8), ("a", "b"))
    with pytest.raises(DataError, match="uint8"):
        network(torch.rand(2, 1, 8, 8))


@pytest.mark.parametrize("name", ["linear", "mlp", "cnn", "resnet", "allconv", "vit", "timm", "resnet18"])
def test_grey_images_under_imagenet_constants_become_three_channels(name):
    network = Network(normalization("imagenet"), choose("arch", name), (1, 8, 8), tuple("abcde"))
    assert network.input_shape == (1, 8, 8)
    assert network.normalized_shape == (3, 8, 8)
    first = next(layer for layer in network.body.modules() if isinstance(layer, nn.Linear | nn.Conv2d))
    assert first.weight.shape[1] == (192 if name in ("linear", "mlp") else 3)
    assert network(torch.randint(0, 256, (2, 1, 8, 8), dtype=torch.uint8)).shape == (2, 5)


def test_network_is_told_its_shape_or_finds_out():
    arch = choose("arch", "mlp")
    told = Network(normalization("imagenet"), arch, (1, 8, 8), ("a", "b"), normalized_shape=(3, 8, 8))
    assert told.body.layers[1].in_features == 192


@pytest.mark.parametrize("name", ["cnn", "resnet", "allconv"])
def test_channels_last_changes_no_score(name):
    shape = (3, 16, 16)
    network = Network(normalization("unit"), choose("arch", name), shape, tuple("abcde")).eval()
    assert network.channels_last
    plain = build(name, shape).eval()
    plain.load_state_dict(network.body.state_dict())
    images = torch.randint(0, 256, (4, *shape), dtype=torch.uint8)
    torch.testing.assert_close(network(images), plain(images.float() / 255), rtol=1e-4, atol=1e-5)
