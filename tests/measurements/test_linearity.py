"""One step of descent and the curvature at the start, against brute force in float64."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from normlab.config import choose
from normlab.data import Loader, dataset
from normlab.measurements.linearity import linearized_steps
from normlab.measurements.start_curvature import start_curvature
from normlab.norms import normalization

DATA = {"name": "digits", "limit": 60}
MLP = {"name": "mlp", "width": 6, "depth": 1, "activation": "tanh"}


def brute(seed):
    """Loss as a function of all weights, weights, gradient and Hessian of the same network."""
    loaded = dataset(**DATA)
    norm = normalization("dataset").fit(loaded.training_images())
    images, labels = next(iter(Loader(loaded.train, 50, shuffle_seed=0)))
    x = norm(images).double()
    torch.manual_seed(seed)
    body = choose("arch", **MLP).build(loaded.shape, 10).double()
    names = [name for name, _ in body.named_parameters()]
    shapes = [p.shape for p in body.parameters()]
    weights = torch.cat([p.detach().flatten() for p in body.parameters()])

    def loss(w):
        parts = torch.split(w, [s.numel() for s in shapes])
        values = {name: part.reshape(s) for name, part, s in zip(names, parts, shapes, strict=True)}
        return F.cross_entropy(torch.func.functional_call(body, values, (x,)), labels)

    return loss, weights, torch.func.grad(loss)(weights), torch.autograd.functional.hessian(loss, weights)


@pytest.mark.parametrize("seed", [0, 3])
def test_a_step_is_what_brute_force_makes_of_it(seed):
    rows = linearized_steps(data=DATA, archs=[MLP], norms=["dataset"], rates=(0.01, 1.0), images=50, seeds=(seed,))
    loss, weights, g, h = brute(seed)
    top = torch.linalg.eigvalsh(h)[-1]
    for row in rows:
        eta = row["rate"] * 2 / top
        change = (loss(weights - eta * g) - loss(weights)).item()
        first = (-eta * g @ g).item()
        second = first + (eta**2 * g @ h @ g / 2).item()
        # ARPACK's tolerance of the largest eigenvalue is 1e-3.
        np.testing.assert_allclose(
            [row["change"], row["first_order"], row["second_order"]], [change, first, second], rtol=1e-2
        )
        assert row["first_order_error"] == pytest.approx(abs(first - change) / abs(change), abs=2e-3)
    small = rows[0]
    assert small["second_order_error"] < small["first_order_error"] / 10


def test_the_stable_rate_is_that_of_the_hessian():
    (row,) = start_curvature(data=DATA, archs=[MLP], norms=["dataset"], momentum=0.5, images=50, seeds=(3,))
    top = torch.linalg.eigvalsh(brute(3)[3])[-1].item()
    assert row["lambda_max"] == pytest.approx(top, rel=1e-3)
    assert row["stable_rate"] == pytest.approx(2 * 1.5 / top, rel=1e-3)
    assert (row["arch"], row["norm"], row["seed"], row["width"]) == ("mlp", "dataset", 3, 6)
