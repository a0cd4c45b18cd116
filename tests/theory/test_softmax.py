"""Softmax cross-entropy: our closed forms against automatic differentiation in float64."""

import pytest
import torch
import torch.nn.functional as F

import normlab
from normlab.theory.softmax import (
    class_factor,
    softmax_hessian,
)


@pytest.fixture
def problem():
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(40, 5, dtype=torch.float64, generator=generator)
    labels = torch.randint(0, 3, (40,), generator=generator)
    return inputs, labels, torch.randn(3, 5, dtype=torch.float64, generator=generator)


def by_autograd(inputs, labels, weights):
    def loss(flat):
        return F.cross_entropy(inputs @ flat.reshape(weights.shape).T, labels)

    return torch.func.hessian(loss)(weights.flatten())


def test_the_hessian_at_any_weights(problem):
    inputs, labels, weights = problem
    torch.testing.assert_close(
        softmax_hessian(weights, inputs), by_autograd(inputs, labels, weights), rtol=1e-10, atol=1e-12
    )


def test_the_hessian_at_zero_weights_is_a_kronecker_product(problem):
    inputs, labels, weights = problem
    second_moment = inputs.T @ inputs / len(inputs)
    expected = by_autograd(inputs, labels, torch.zeros_like(weights))
    found = torch.kron((torch.eye(3).double() - 1 / 3) / 3, second_moment)  # (1/C)(I - 11'/C) kron S
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(softmax_hessian(torch.zeros_like(weights), inputs), found)
    values = torch.linalg.eigvalsh(found)
    assert (values.abs() < 1e-12).sum() == 5  # one zero for each feature
    largest = torch.linalg.eigvalsh(second_moment)[-1].item()
    assert values[-1].item() == pytest.approx(largest / 3)  # the centring has eigenvalues 1 and 0


def test_the_two_formulas_of_claim_a13(problem):
    """J' (diag(p) - p p') J is the Hessian of one sample's loss; J' diag(p) (I - p p') J is not, nor symmetric."""
    inputs, labels, weights = problem
    x, p = inputs[0], torch.softmax(weights @ inputs[0], 0)
    jacobian = torch.kron(torch.eye(3, dtype=torch.float64), x[None])  # d logits / d W.flatten(), [C, C D]
    right = jacobian.T @ (torch.diag(p) - torch.outer(p, p)) @ jacobian
    claimed = jacobian.T @ torch.diag(p) @ (torch.eye(3, dtype=torch.float64) - torch.outer(p, p)) @ jacobian
    actual = by_autograd(inputs[:1], labels[:1], weights)
    torch.testing.assert_close(right, actual, rtol=1e-10, atol=1e-12)
    assert (claimed - actual).abs().max() > 0.1 * actual.abs().max()
    assert not torch.allclose(claimed, claimed.T)


@pytest.mark.parametrize("scaled", [False, True])
def test_class_factors_entry_by_entry(scaled):
    p = torch.softmax(torch.randn(4, dtype=torch.float64, generator=torch.Generator().manual_seed(0)), 0)
    found = class_factor(p, scaled)
    for i in range(4):
        for j in range(4):
            expected = p[i] * (float(i == j) - p[i] * p[j]) if scaled else p[i] * (float(i == j) - p[j])
            assert found[i, j].item() == pytest.approx(expected.item())
    # Only the Hessian leaves the loss as it is when all logits grow by the same.
    assert (found.sum(1).abs().max() < 1e-15) != scaled


def test_a_dense_hessian_that_would_not_fit_is_refused():
    with pytest.raises(ValueError, match="10 classes x 3073 features"):
        softmax_hessian(torch.zeros(10, 3073), torch.zeros(1, 3073))


def test_digits_in_full():
    """650 weights of the linear model on real digits."""
    digits = normlab.dataset("digits", limit=200)
    norm = normlab.normalization("dataset").fit(digits.training_images()).double()
    x = torch.cat([norm(digits.train.images).flatten(1), torch.ones(200, 1)], 1)
    weights = 0.1 * torch.randn(10, 65, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(
        softmax_hessian(weights, x), by_autograd(x, digits.train.labels, weights), rtol=1e-8, atol=1e-10
    )
