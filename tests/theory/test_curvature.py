"""Hessian-vector products, Lanczos and trace against brute-force Hessians in float64."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

import normlab
from normlab.archs.losses import squared_error
from normlab.config import choose
from normlab.errors import DataError
from normlab.theory import curvature as curvature_module
from normlab.theory.curvature import Curvature
from normlab.theory.softmax import softmax_hessian

SMALL = {
    "linear": {"init": "lecun"},
    "mlp": {"width": 4},
    "cnn": {"width": 2, "depth": 1},
    "resnet": {"width": 1},
    "vit": {"width": 4, "depth": 1, "heads": 2},
}


@pytest.fixture(scope="module")
def batch():
    digits = normlab.dataset("digits", limit=24)
    norm = normlab.normalization("feature").fit(digits.training_images()).double()
    return norm(digits.train.images), digits.train.labels


def built(name):
    torch.manual_seed(0)
    return choose("arch", name, **SMALL[name]).build((1, 8, 8), 10).double()


def functional(curvature):
    """The loss as a function of one flat vector, and the vector."""
    body, named = curvature.body, dict(curvature.body.named_parameters())

    def loss(vector):
        parts = vector.split([parameter.numel() for parameter in named.values()])
        weights = {name: part.view_as(named[name]) for name, part in zip(named, parts, strict=True)}
        return curvature.loss(torch.func.functional_call(body, weights, (curvature.inputs,)), curvature.targets)

    return loss, torch.cat([parameter.detach().flatten() for parameter in named.values()])


def by_autograd(curvature):
    with sdpa_kernel(SDPBackend.MATH):
        return torch.autograd.functional.hessian(*functional(curvature))


@pytest.mark.slow
@pytest.mark.parametrize("loss", [F.cross_entropy, squared_error])
@pytest.mark.parametrize("name", SMALL)
def test_products_and_the_largest_eigenvalue(name, loss, batch):
    curvature = Curvature(built(name), loss, *batch)
    hessian = by_autograd(curvature)
    vector = torch.randn(curvature.size, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(curvature.product(vector), hessian @ vector, rtol=1e-9, atol=1e-11)
    eigenvalues = torch.linalg.eigvalsh(hessian)
    assert curvature.lambda_max(1e-9) == pytest.approx(eigenvalues[-1].item(), rel=1e-8)
    assert curvature.lambda_max() == pytest.approx(eigenvalues[-1].item(), rel=5e-3)


@pytest.mark.parametrize("name", ["linear", "mlp", "cnn"])
def test_products_against_torch_func(name, batch):
    """torch.func's own brute force, for networks whose layers it differentiates rightly."""
    curvature = Curvature(built(name), F.cross_entropy, *batch)
    loss, vector = functional(curvature)
    hessian = torch.func.hessian(loss)(vector)
    direction = torch.linspace(-1, 1, curvature.size, dtype=torch.float64)
    torch.testing.assert_close(curvature.product(direction), hessian @ direction, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("name", ["resnet", "vit"])
def test_products_against_finite_differences(name, batch):
    """Layer and batch normalization, whose second derivatives torch.func gets wrong (pytorch issues 196699, 196700)."""
    curvature = Curvature(built(name), F.cross_entropy, *batch)
    loss, vector = functional(curvature)
    direction = torch.randn(curvature.size, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    step = 1e-6

    def gradient(at):
        at = at.clone().requires_grad_()
        return torch.autograd.grad(loss(at), at)[0]

    difference = (gradient(vector + step * direction) - gradient(vector - step * direction)) / (2 * step)
    found = curvature.product(direction)
    # A ReLU may change its side within the step, so a few entries are allowed to be off.
    assert ((found - difference).norm() / difference.norm()).item() < 1e-4


def test_the_linear_model_with_squared_error_has_the_second_moment_matrix(batch):
    curvature = Curvature(built("linear"), squared_error, *batch)
    expected = normlab.linear_hessian(batch[0].flatten(1))
    assert curvature.lambda_max(1e-10) == pytest.approx(expected.lambda_max, rel=1e-8)
    trace, error = curvature.trace(200)
    assert abs(trace - 10 * expected.eigenvalues.sum().item()) < 4 * error


def test_the_linear_model_with_softmax_has_its_closed_form(batch):
    body = built("linear")
    ones = torch.cat([batch[0].flatten(1), torch.ones(24, 1, dtype=torch.float64)], 1)
    weights = torch.cat([body.layer.weight, body.layer.bias[:, None]], 1).detach()
    expected = torch.linalg.eigvalsh(softmax_hessian(weights, ones))[-1].item()
    assert Curvature(body, F.cross_entropy, *batch).lambda_max(1e-10) == pytest.approx(expected, rel=1e-8)


def test_trace_is_within_its_error(batch):
    curvature = Curvature(built("cnn"), F.cross_entropy, *batch)
    trace, error = curvature.trace(400)
    exact = by_autograd(curvature).trace().item()
    assert abs(trace - exact) < 4 * error
    assert error < 0.2 * abs(exact)


@pytest.mark.slow
def test_the_density_has_the_mass_and_the_moments_of_the_spectrum(batch):
    curvature = Curvature(built("mlp"), F.cross_entropy, *batch)
    grid, density = curvature.density(products=80, points=4096, repeats=20)
    eigenvalues = torch.linalg.eigvalsh(by_autograd(curvature))
    assert torch.trapezoid(density, grid).item() == pytest.approx(1, abs=1e-6)
    # Bumps of width 3 of 1024th of the range blur the second moment a little.
    spread = (grid[-1] - grid[0]).item()
    mean = torch.trapezoid(density * grid, grid).item()
    assert abs(mean - eigenvalues.mean().item()) < 0.02 * spread
    above = grid > eigenvalues[-1] / 2
    share = torch.trapezoid(density[above], grid[above]).item()
    assert share == pytest.approx((eigenvalues > eigenvalues[-1] / 2).double().mean().item(), abs=0.02)


def test_a_network_is_not_changed_by_being_looked_at(batch):
    network = choose("arch", "resnet", width=2).build((1, 8, 8), 10).double()
    network(batch[0]).sum().backward()
    network.eval()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    gradients = [parameter.grad.clone() for parameter in network.parameters()]
    state = torch.random.get_rng_state()
    curvature = Curvature(network, F.cross_entropy, *batch)
    curvature.lambda_max()
    curvature.trace(2)
    curvature.density(5)
    assert not network.training
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    assert all(torch.equal(p.grad, g) for p, g in zip(network.parameters(), gradients, strict=True))
    assert torch.equal(torch.random.get_rng_state(), state)


def test_scores_that_are_not_finite_have_no_hessian():
    layer = nn.Linear(2, 2)
    nn.init.constant_(layer.weight, float("inf"))
    with pytest.raises(DataError, match="not finite"):
        Curvature(layer, F.cross_entropy, torch.ones(3, 2), torch.zeros(3, dtype=torch.int64))


def test_a_loss_without_curvature_has_a_largest_eigenvalue_of_zero():
    """Saturated scores: ARPACK refuses a matrix of zeros."""
    layer = nn.Linear(3, 2, bias=False)
    nn.init.constant_(layer.weight[0].data, 1e6)
    nn.init.constant_(layer.weight[1].data, -1e6)
    curvature = Curvature(layer, F.cross_entropy, torch.ones(4, 3), torch.zeros(4, dtype=torch.int64))
    assert curvature.lambda_max() == 0.0
    assert curvature.trace()[0] == 0.0
    with pytest.raises(DataError, match="no spectral density"):
        curvature.density()


@pytest.mark.parametrize(
    "eigenvalues",
    [
        torch.ones(300),
        torch.cat([torch.full((10,), 2.0), torch.ones(290)]),
        torch.cat([torch.full((2,), 2.0), torch.linspace(-1, 2, 298)]),
        torch.cat([torch.ones(150) + 1e-6 * torch.arange(150), torch.linspace(-3, 1, 150)]),
    ],
    ids=["all equal", "two clusters", "two copies and no gap", "a narrow cluster"],
)
def test_the_largest_eigenvalue_of_a_clustered_spectrum(eigenvalues):
    """The loss is the quadratic 1/2 w' D w of the weights, whose Hessian is D."""
    eigenvalues = eigenvalues.double()
    layer = nn.Linear(len(eigenvalues), 1, bias=False).double()
    body = Weights(layer)
    curvature = Curvature(body, lambda w, _: 0.5 * (eigenvalues * w * w).sum(), torch.ones(1), torch.zeros(1))
    largest = eigenvalues.max().item()
    assert curvature.lambda_max(1e-6) == pytest.approx(largest, rel=1e-6)


class Weights(nn.Module):
    """A network whose scores are its weights."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, _):
        return self.layer.weight


def test_a_largest_eigenvalue_that_is_not_found_is_an_error_that_says_what_to_do(monkeypatch):
    monkeypatch.setattr(curvature_module, "MOST_RESTARTS", 1)
    eigenvalues = torch.linspace(-1, 1, 3000).double()
    body = Weights(nn.Linear(3000, 1, bias=False).double())
    found = Curvature(body, lambda w, _: 0.5 * (eigenvalues * w * w).sum(), torch.ones(1), torch.zeros(1))
    with pytest.raises(DataError, match=r"not found to 1e-12 in 1 restarts .* accept a larger tolerance"):
        found.lambda_max(1e-12)
