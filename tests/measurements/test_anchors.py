"""The anchors on tiny data, against closed forms and other implementations."""

import itertools

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from sklearn.datasets import load_wine
from sklearn.model_selection import train_test_split
from torch import nn

from normlab.data import dataset
from normlab.errors import DataError
from normlab.measurements import anchors
from normlab.measurements.training_images import training_images
from normlab.norms import normalization


def test_three_estimators_by_their_definitions():
    images = torch.cat(list(training_images({"name": "digits"}))).double().flatten(1) / 255
    (row,) = anchors.three_estimators(data={"name": "digits"}, published="own", estimator="pooled", std=[0.3])
    assert row["per_image"] == pytest.approx(images.std(1, correction=0).mean().item(), rel=1e-12)
    assert row["root_mean_variance"] == pytest.approx(images.var(1, correction=0).mean().sqrt().item(), rel=1e-12)
    assert row["pooled"] == pytest.approx(images.std(correction=0).item(), rel=1e-12)
    assert row["difference"] == pytest.approx(row["pooled"] - 0.3)
    steps = [row["root_mean_variance"] - row["per_image"], row["pooled"] - row["root_mean_variance"]]
    assert row["order"] == pytest.approx(min(steps))
    assert min(steps) > 0
    with pytest.raises(DataError, match="3 deviations for images of 1 channels"):
        anchors.three_estimators(data={"name": "digits"}, published="own", estimator="pooled", std=[0.3] * 3)
    with pytest.raises(DataError, match="expected one of per_image, root_mean_variance, pooled"):
        anchors.three_estimators(data={"name": "digits"}, published="own", estimator="median", std=[0.3])


@pytest.mark.parametrize("scaling", ["per_pixel", "unit"])
def test_logistic_regression_is_the_minimum_that_an_optimizer_of_its_own_finds(scaling):
    """One problem a class: half the squared norm of the weights, plus C times the summed logistic losses."""
    data = {"name": "digits", "limit": 300}
    (row,) = anchors.logistic_regression(data=data, scaling=scaling, strength=0.5)
    (x, labels), (test, expected) = anchors._arrays(data)
    mean, deviation = x.mean(0), x.std(0)
    deviation[deviation == 0] = 1
    x, test = [(part - mean) / deviation if scaling == "per_pixel" else part / 255 for part in (x, test)]
    scores = []
    for label in range(10):
        sign = np.where(labels == label, 1.0, -1.0)

        def loss(w, sign=sign):
            margin = sign * (x @ w[:-1] + w[-1])
            pull = -0.5 * sign / (1 + np.exp(margin))
            value = 0.5 * w[:-1] @ w[:-1] + 0.5 * np.logaddexp(0, -margin).sum()
            return value, np.append(x.T @ pull + w[:-1], pull.sum())

        w = minimize(loss, np.zeros(x.shape[1] + 1), jac=True, method="L-BFGS-B", options={"gtol": 1e-6}).x
        scores.append(test @ w[:-1] + w[-1])
    assert row["accuracy"] == pytest.approx((np.argmax(scores, 0) == expected).mean(), abs=0.004)  # one image or none
    assert row["converged"] == 1


def test_logistic_regression_says_that_it_did_not_converge():
    (row,) = anchors.logistic_regression(data={"name": "digits", "limit": 300}, scaling="raw", most_iterations=1)
    assert row["converged"] == 0


@pytest.mark.parametrize("count", [20, 200])
def test_whitened_inputs_have_the_identity_for_covariance(count):
    x = torch.from_numpy(np.random.default_rng(0).standard_normal((count, 30)) @ np.diag(np.arange(1, 31)))
    (inputs,) = anchors._whitened(x, x)
    rank = min(count - 1, 30)
    torch.testing.assert_close(inputs.T @ inputs / count, torch.eye(rank).double())
    if count <= 30:  # and all inner products are the same: the ground of the theorem
        same = count * torch.eye(count).double() - 1
        torch.testing.assert_close(inputs @ inputs.T, same)
    values = torch.linalg.eigvalsh(torch.cov(x.T, correction=0))[-rank:]
    (ridged,) = anchors._whitened(x, x, ridge=0.5)
    expected = (values / (values + 0.5 * values.mean())).sort().values
    torch.testing.assert_close((ridged.square().mean(0)).sort().values, expected)


@pytest.mark.slow
def test_whitening_everything_ends_at_chance_and_less_does_not():
    """On digits with 64 features, and 50 images that fill all directions which 50 can."""
    rows = anchors.whitening_to_chance(data={"name": "digits"}, images=30, test_images=20, width=32, seeds=range(8))
    assert {row["directions"] for row in rows if row["whitened"] == "everything"} == {49}
    mean = {
        arm: np.mean([row["accuracy"] for row in rows if row["whitened"] == arm]) for arm in ("nothing", "everything")
    }
    assert mean["nothing"] > 0.5
    assert mean["everything"] < 0.25
    assert all(row["train_accuracy"] == 1 for row in rows if row["whitened"] == "everything")
    with pytest.raises(DataError, match="give a larger limit"):
        anchors.whitening_to_chance(data={"name": "digits"}, images=5000, test_images=24)


@pytest.mark.slow
def test_sharpness_is_the_largest_eigenvalue_and_settles_where_theory_says():
    """A network small enough for its whole Hessian, at a rate whose threshold it reaches."""
    data = {"name": "digits", "limit": 60}
    options = {"data": data, "images": 40, "width": 6, "depth": 1, "rate": 0.28, "every": 20, "goal": 1.01}
    (start,) = anchors.edge_of_stability(**options, most_steps=0, tolerance=1e-4)
    x, labels, classes = anchors._standardized_pixels(data, 40, 0)
    torch.manual_seed(0)
    body = nn.Sequential(nn.Linear(64, 6), nn.Tanh(), nn.Linear(6, classes))
    shapes = [p.shape for p in body.parameters()]
    targets = torch.nn.functional.one_hot(labels, classes).double()

    def loss(flat):
        w, b, v, c = (part.view(s) for part, s in zip(flat.split([s.numel() for s in shapes]), shapes, strict=True))
        return 0.5 * (torch.tanh(x.double() @ w.T + b) @ v.T + c - targets).square().sum(1).mean()

    flat = torch.cat([p.detach().flatten() for p in body.parameters()]).double()
    largest = torch.linalg.eigvalsh(torch.autograd.functional.hessian(loss, flat))[-1].item()
    assert start["sharpness_at_start"] == pytest.approx(largest, rel=1e-3)
    assert start["train_accuracy"] < 1
    assert start["steps"] == 0
    (row,) = anchors.edge_of_stability(**options, most_steps=2000)
    assert row["crossed_at"] > 0
    assert 0.95 < row["ratio"] < 1.15
    with pytest.raises(DataError, match="descent diverged"):
        anchors.edge_of_stability(**(options | {"rate": 1e4}), most_steps=200)


def test_pixels_are_standardized_over_all_training_images():
    data = {"name": "digits", "limit": 100}
    loaded = dataset(**data)
    count = len(loaded.train) + len(loaded.validation)
    x, labels, _ = anchors._standardized_pixels(data, count, 3)
    varying = x.std(0) > 0
    assert x.mean(0).abs().max() < 1e-5
    torch.testing.assert_close(x.std(0, correction=0)[varying], torch.ones(int(varying.sum())))
    other, _, _ = anchors._standardized_pixels(data, 10, 3)
    torch.testing.assert_close(other, x[:10])
    assert len(labels) == count


def test_mistakes_by_hand():
    images = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (5, 3, 4, 4), dtype=np.uint8))
    mean, std = torch.tensor([0.2, 0.4, 0.6]).view(3, 1, 1), torch.tensor([0.1, 0.2, 0.3]).view(3, 1, 1)
    scheme = normalization("imagenet", mean=[0.2, 0.4, 0.6], std=[0.1, 0.2, 0.3])
    u = images.float() / 255
    right = (u - mean) / std
    by_hand = {
        "none": right,
        "divided by 256": (images.float() / 256 - mean) / std,
        "normalized twice": (right - mean) / std,
        "blue for red": (u[:, [2, 1, 0]] - mean) / std,
    }
    assert tuple(by_hand) == anchors.MISTAKES
    for mistake, expected in by_hand.items():
        torch.testing.assert_close(anchors._mistaken(scheme, images, mistake), expected, atol=1e-4, rtol=1e-4)
    for one, other in itertools.combinations(by_hand.values(), 2):
        assert (one - other).abs().max() > 1e-3


def test_a_trained_network_meets_the_mistakes():
    data = {"name": "photos", "limit": 400}
    rows = anchors.mistakes_at_test(data=data, arch={"name": "cnn", "width": 8}, epochs=8, resamples=200)
    by_mistake = {row["mistake"]: row for row in rows}
    assert by_mistake["none"]["accuracy"] > 0.3
    assert by_mistake["none"]["difference"] == 0
    for row in rows:
        assert row["difference"] == pytest.approx(row["accuracy"] - by_mistake["none"]["accuracy"])
        assert row["test_images"] == len(dataset(**data).test)
    assert abs(by_mistake["divided by 256"]["difference"]) < 0.05
    assert by_mistake["normalized twice"]["difference"] < -0.05
    with pytest.raises(DataError, match="requires three"):
        anchors.mistakes_at_test(data={"name": "digits"}, arch={"name": "cnn"})


def test_scalers_and_classifiers_count_right_answers():
    """The printed table of wine, whose nearest neighbors are those of a search by brute force."""
    printed = {"none": [33, 26, 35, 36, 36, 29], "standard": [33, 35, 36, 36, 36, 36]}
    rows = {
        (row["scaler"], row["classifier"]): row
        for row in anchors.scalers_and_classifiers(table="wine", printed=printed)
    }
    bunch = load_wine()
    noisy = bunch.data + np.random.default_rng(42).normal(0, 0.2, bunch.data.shape)
    train, test, labels, expected = train_test_split(noisy, bunch.target, test_size=0.2, random_state=42)
    for scaler in printed:
        center, spread = (train.mean(0), train.std(0)) if scaler == "standard" else (0.0, 1.0)
        x, other = (train - center) / spread, (test - center) / spread
        near = np.argsort(((other[:, None] - x) ** 2).sum(2), axis=1)[:, :5]
        answers = [np.bincount(labels[five]).argmax() for five in near]
        row = rows[scaler, "nearest neighbors"]
        assert row["right"] == (answers == expected).sum() == row["printed"] * 36
        assert row["rows_off"] == 0
    with pytest.raises(DataError, match="2 numbers for 6 classifiers"):
        anchors.scalers_and_classifiers(table="wine", printed={"none": [1, 2]})
    with pytest.raises(DataError, match="table=cars"):
        anchors.scalers_and_classifiers(table="cars", printed={})
