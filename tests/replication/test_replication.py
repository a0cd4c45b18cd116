import ast
import itertools
import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import stats
from torch import nn

import replication
from normlab.config import choose
from replication import behind_batch_norm, images, least_squares, linear, nothing_inside, summary, training
from replication.training import Recipe

FOLDER = Path(replication.__file__).parent


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.mark.slow
def test_it_has_no_line_of_the_harness():
    files = sorted(FOLDER.glob("*.py"))
    assert len(files) > 5
    for file in files:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                assert not any(alias.name.split(".")[0] == "normlab" for alias in node.names), file
            if isinstance(node, ast.ImportFrom):
                assert (node.module or "").split(".")[0] != "normlab", file
    every = ", ".join(f"replication.{file.stem}" for file in files if file.stem != "__init__")
    script = f"import sys, {every}; print([name for name in sys.modules if name.startswith('normlab')])"
    output = subprocess.run(
        [sys.executable, "-c", script], cwd=FOLDER.parent, capture_output=True, text=True, check=True
    )
    assert output.stdout.strip() == "[]"


# Images


def test_a_folder_is_read_as_it_is(tmp_path):
    drawn = np.random.default_rng(0).integers(0, 256, (2, 2, 3, 5, 4, 3), dtype=np.uint8)  # part, class, image, H, W, C
    for part, name in enumerate(("train", "test")):
        for label, folder in enumerate(("cat", "dog")):
            (tmp_path / name / folder).mkdir(parents=True)
            for number in range(3):
                Image.fromarray(drawn[part, label, number]).save(tmp_path / name / folder / f"{number}.png")
    for part, read in enumerate(images.read(tmp_path)):
        assert read.labels.tolist() == [0, 0, 0, 1, 1, 1]
        assert read.pixels.dtype == torch.uint8
        np.testing.assert_array_equal(read.pixels.permute(0, 2, 3, 1), drawn[part].reshape(6, 5, 4, 3))


@pytest.mark.parametrize("size", [None, 500])
def test_each_seed_has_its_own_split(size):
    train, test = images.digits()
    numbered = images.Images(torch.arange(len(train.labels))[:, None, None, None], train.labels)
    parts = [images.split(numbered, test, seed, size) for seed in (0, 0, 1)]
    drawn = [set(part.train.pixels.flatten().tolist()) for part in parts]
    held = [set(part.validation.pixels.flatten().tolist()) for part in parts]
    total = size or len(train.labels)
    assert (len(drawn[0]), len(held[0])) == (total - total // 10, total // 10)
    assert not drawn[0] & held[0]
    assert (drawn[0], held[0]) == (drawn[1], held[1])
    assert held[0] != held[2]
    assert parts[0].test is test
    for part in parts:
        torch.testing.assert_close(part.train.labels, train.labels[part.train.pixels.flatten()])


# Training


@pytest.mark.parametrize("network", ["cnn", "allconv"])
@pytest.mark.parametrize("batch_norm", [False, True])
def test_networks_are_those_of_the_harness(network, batch_norm):
    """Two implementations, one set of weights: the same scores."""
    ours = training.build(Recipe(network=network, batch_norm=batch_norm), 3, 10)
    theirs = choose("arch", network, internal_norm="batch" if batch_norm else "none").build((3, 32, 32), 10)
    weights = [value for key, value in ours.state_dict().items()]
    theirs.load_state_dict(dict(zip(theirs.state_dict(), weights, strict=True)))
    x = torch.randn(4, 3, 32, 32)
    torch.testing.assert_close(ours(x), theirs(x))


def test_ranges():
    pixels = images.digits()[0].pixels.repeat(1, 2, 1, 1)
    pixels[:, 1] //= 2
    x = pixels.numpy().astype(np.float64)
    scaled = {}
    for scheme in ("raw", "unit", "dataset"):
        scale, shift = training.scale_and_shift(scheme, pixels)
        scaled[scheme] = (pixels * scale + shift).numpy()
    np.testing.assert_array_equal(scaled["raw"], x)
    np.testing.assert_allclose(scaled["unit"], x / 255, rtol=1e-6)
    expected = (x - x.mean((0, 2, 3), keepdims=True)) / x.std((0, 2, 3), keepdims=True)
    np.testing.assert_allclose(scaled["dataset"], expected, atol=1e-5)


@pytest.mark.parametrize("network", ["cnn", "allconv"])
@pytest.mark.parametrize("batch_norm", [False, True])
def test_a_scale_of_the_input_is_a_scale_of_the_first_weights(network, batch_norm):
    """Raw pixels and [0, 1] are one function, under weights of the first layer that differ by 255."""
    body = training.build(Recipe(network=network, batch_norm=batch_norm), 3, 10).double()
    pixels = torch.randint(0, 256, (8, 3, 16, 16)).double()
    raw = body(pixels)
    body[0].weight.data *= 255
    torch.testing.assert_close(body(pixels / 255), raw, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("network", ["cnn", "allconv"])
def test_batch_norm_hides_the_scale_of_the_input(network):
    body = training.build(Recipe(network=network, batch_norm=True), 3, 10).double()
    for layer in body:
        if isinstance(layer, nn.BatchNorm2d):
            layer.eps = 1e-30
    pixels = torch.randint(0, 256, (8, 3, 16, 16)).double()
    torch.testing.assert_close(body(pixels / 255), body(pixels), rtol=1e-10, atol=1e-10)
    plain = training.build(Recipe(network=network), 3, 10).double()
    assert not torch.allclose(plain(pixels / 255), plain(pixels), rtol=0.1)


def test_initial_weights():
    for init, variance in (("he", 2 / (9 * 64)), ("torch", 1 / (3 * 9 * 64))):
        layer = training.build(Recipe(network="allconv", init=init), 3, 10)[8]
        assert layer.weight.shape == (128, 64, 3, 3)
        assert layer.weight.var().item() == pytest.approx(variance, rel=0.05)
        assert bool(layer.bias.eq(0).all()) == (init == "he")


def test_the_rate_follows_torchs_cosine():
    recipe = Recipe(epochs=5, warmup=0)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    reference = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=35)
    for step in range(35):
        assert training.factor(recipe, step, 7) == pytest.approx(optimizer.param_groups[0]["lr"], abs=1e-12)
        optimizer.step()
        reference.step()


@pytest.mark.parametrize("schedule", ["cosine", "constant"])
def test_warmup_is_linear_and_ends_at_the_full_rate(schedule):
    factors = [training.factor(Recipe(epochs=4, warmup=1, schedule=schedule), step, 10) for step in range(40)]
    np.testing.assert_allclose(factors[:10], np.arange(1, 11) / 10)
    assert factors[10] == 1
    assert all(a >= b for a, b in itertools.pairwise(factors[10:]))
    assert factors[-1] == 1 if schedule == "constant" else 0 < factors[-1] < 0.01


def test_crops_and_flips_are_windows_of_the_padded_image():
    pixels = torch.randint(1, 256, (400, 2, 6, 5), dtype=torch.uint8)
    padded = np.pad(pixels.numpy(), ((0, 0), (0, 0), (4, 4), (4, 4)))
    generator = torch.Generator().manual_seed(1)
    seen = set()
    for image, cut in zip(padded, training.crop_and_flip(pixels, generator).numpy(), strict=True):
        places = [
            (top, left, flipped)
            for top in range(9)
            for left in range(9)
            for flipped in (False, True)
            if np.array_equal(cut, image[:, top : top + 6, left : left + 5][..., :: -1 if flipped else 1])
        ]
        assert len(places) >= 1
        seen.update(places)
    assert {top for top, _, _ in seen} == {left for _, left, _ in seen} == set(range(9))
    assert {flipped for _, _, flipped in seen} == {False, True}


def test_the_seed_decides_a_run():
    parts = images.split(*images.digits(), seed=0)
    recipe = Recipe(epochs=1, rate=0.1, augment=True)
    one, again, other = (training.train(recipe, "unit", parts, seed) for seed in (3, 3, 4))
    assert one == again
    assert one != other
    assert not one["diverged"]


def test_a_run_that_diverges_counts_as_a_guess():
    parts = images.split(*images.digits(), seed=0)
    result = training.train(Recipe(epochs=2, rate=1e6), "raw", parts, 0)
    assert result == {"validation": 0.1, "test": 0.1, "diverged": True}


# The linear model


def inputs(n, d, seed=0):
    """[n, d] of very different scales and correlated, in two channels."""
    generator = np.random.default_rng(seed)
    mixing = generator.normal(size=(d, d)) * np.geomspace(1, 30, d)
    return torch.from_numpy(generator.normal(size=(n, d)) @ mixing.T + generator.normal(size=d))


def test_whitened_inputs_have_the_identity_as_covariance():
    x = inputs(200, 12)
    seen = linear.fit("whitened", x, 2)(x).numpy()
    np.testing.assert_allclose(seen.mean(0), 0, atol=1e-10)
    np.testing.assert_allclose(np.cov(seen.T, ddof=0), np.eye(12), atol=1e-8)


def test_whitening_is_the_symmetric_one():
    matrix = linear.fit("whitened", inputs(200, 12), 2).matrix
    torch.testing.assert_close(matrix, matrix.T)
    assert torch.linalg.eigvalsh(matrix).min() > 0


def test_with_fewer_images_than_features_whitening_leaves_n_minus_1_directions():
    x = inputs(8, 12)
    seen = linear.fit("whitened", x, 2)(x).numpy()
    expected = [0.0] * 5 + [1.0] * 7
    np.testing.assert_allclose(np.linalg.eigvalsh(np.cov(seen.T, ddof=0)), expected, atol=1e-8)
    # All images are equally far from each other: nothing is left to generalize from (Wadia et al. 2021).
    distances = np.linalg.norm(seen[:, None] - seen[None], axis=2)[~np.eye(8, dtype=bool)]
    np.testing.assert_allclose(distances, distances[0])


def test_standardized_inputs_have_unit_channels():
    x = inputs(50, 12)
    seen = linear.fit("standardized", x, 2)(x).numpy().reshape(50, 2, 6)
    np.testing.assert_allclose(seen.mean((0, 2)), 0, atol=1e-12)
    np.testing.assert_allclose(seen.std((0, 2)), 1)


@pytest.mark.parametrize("n", [60, 8])
def test_infinite_descent_solves_the_normal_equations_with_the_least_norm(n):
    x, targets = inputs(n, 12), torch.from_numpy(np.random.default_rng(1).normal(size=(n, 3)))
    (solution,) = linear.descend(x, targets, [math.inf])
    augmented = torch.cat([x, torch.ones(n, 1)], 1)
    error = solution(x) - targets
    torch.testing.assert_close(augmented.T @ error, torch.zeros(13, 3, dtype=torch.double), rtol=0, atol=1e-7)
    centered = (x - x.mean(0)).numpy()
    expected = np.linalg.lstsq(centered, (targets - targets.mean(0)).numpy(), rcond=1e-9)[0]
    np.testing.assert_allclose(solution.weights, expected, atol=1e-8)


def test_finite_descent_is_gradient_descent():
    x, targets = inputs(40, 6), torch.from_numpy(np.random.default_rng(1).normal(size=(40, 3)))
    counts = [0, 1, 7, 50]
    solutions = dict(zip(counts, linear.descend(x, targets, counts), strict=True))
    weights = torch.zeros(6, 3, dtype=torch.double, requires_grad=True)
    largest = np.linalg.eigvalsh(np.cov(x.numpy().T, ddof=0))[-1]
    for step in range(51):
        bias = (targets - x @ weights).mean(0)
        if step in solutions:
            torch.testing.assert_close(solutions[step].weights, weights.detach())
            torch.testing.assert_close(solutions[step].bias, bias.detach())
        loss = (x @ weights + bias - targets).square().sum() / (2 * len(x))
        (gradient,) = torch.autograd.grad(loss, weights)
        weights = (weights - gradient / largest).detach().requires_grad_()


def test_least_squares_does_not_see_an_invertible_transformation():
    """And whitened inputs are there after one step."""
    x, held_out = inputs(60, 12), inputs(30, 12, seed=0)
    targets = torch.from_numpy(np.random.default_rng(1).normal(size=(60, 3)))
    scores = {}
    for scheme in ("standardized", "whitened"):
        transform = linear.fit(scheme, x, 2)
        for count, solution in zip((1, math.inf), linear.descend(transform(x), targets, (1, math.inf)), strict=True):
            scores[scheme, count] = solution(transform(held_out))
    torch.testing.assert_close(scores["whitened", math.inf], scores["standardized", math.inf], rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(scores["whitened", 1], scores["whitened", math.inf], rtol=1e-6, atol=1e-6)
    assert not torch.allclose(scores["standardized", 1], scores["standardized", math.inf], rtol=0.1)


# Tables and commands


def test_interval_is_students():
    values = np.random.default_rng(0).normal(size=7).tolist()
    mean, half = summary.interval(values)
    low, high = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    np.testing.assert_allclose([mean - half, mean + half], [low, high])
    assert summary.interval([0.5]) == (0.5, math.inf)
    assert summary.percent([0.5]) == "50.0"  # nothing that looks like an interval


@pytest.mark.slow
@pytest.mark.parametrize(
    ("contrast", "options", "cells"),
    [
        (behind_batch_norm, ["--rates", "0.02", "0.1", "--network", "cnn"], ["cosine", "constant"]),
        (nothing_inside, ["--adam", "0.001", "0.004", "--optimizers", "adam"], ["he, adam", "torch, adam"]),
    ],
)
def test_trained_contrasts_end_to_end(tmp_path, contrast, options, cells):
    rows = contrast.main(["--quick", "--json", str(tmp_path / "deep" / "result.json"), *options])
    written = json.loads((tmp_path / "deep" / "result.json").read_text())
    assert written["table"] == rows
    assert [(row["cell"], row["scheme"]) for row in rows] == [
        (cell, scheme) for cell in cells for scheme in ("raw", "unit", "dataset")
    ]
    for row in rows:
        runs = [run for run in written["runs"] if (run["cell"], run["scheme"]) == (row["cell"], row["scheme"])]
        choosing = {run["rate"]: run["validation"] for run in runs if run["seed"] >= 1000}
        counted = [run for run in runs if run["seed"] < 1000]
        assert len(choosing) == 2
        assert [run["seed"] for run in counted] == [0, 1]
        assert {run["rate"] for run in counted} == {max(choosing, key=choosing.get)}
        mean = np.mean([run["test"] for run in counted])
        assert row["test accuracy %"].startswith(f"{100 * mean:.1f} +- ")
        assert row["n"] == 2


def test_least_squares_end_to_end(tmp_path, capsys):
    rows = least_squares.main(["--quick", "--json", str(tmp_path / "result.json")])
    written = json.loads((tmp_path / "result.json").read_text())
    assert written["table"] == rows
    assert [(row["images"], row["steps"]) for row in rows] == [
        (size, steps) for size in (100, 1000) for steps in ("10", "100", "1000", "infinite")
    ]
    assert all(row["n"] == 3 for row in rows)
    assert str(rows[0]["whitened, test %"]) in capsys.readouterr().out
    for row in rows:
        runs = [run for run in written["runs"] if (run["images"], run["steps"]) == (row["images"], row["steps"])]
        for scheme in ("standardized", "whitened"):
            tests = [run["test"] for run in runs if run["scheme"] == scheme]
            assert len(tests) == 3
            assert row[f"{scheme}, test %"].startswith(f"{100 * np.mean(tests):.1f} +- ")
            assert min(tests) > 0.5
        if row["steps"] == "infinite":
            assert row["whitened minus standardized, points"] == "0.0 +- 0.0"


@pytest.mark.parametrize("contrast", [behind_batch_norm, nothing_inside, least_squares])
def test_without_a_folder_it_says_what_to_give(contrast):
    with pytest.raises(SystemExit, match="give the folder with train/ and test/, or --quick"):
        contrast.main([])


def test_too_many_images_are_refused(tmp_path):
    for name in ("train", "test"):
        (tmp_path / name / "cat").mkdir(parents=True)
        Image.new("RGB", (4, 4)).save(tmp_path / name / "cat" / "0.png")
    with pytest.raises(SystemExit, match="--images 50000: there are 1 training images"):
        least_squares.main([str(tmp_path)])


@pytest.mark.slow
def test_the_batch_is_an_option(tmp_path):
    options = ["--quick", "--adam", "0.001", "--optimizers", "adam", "--json", str(tmp_path / "result.json")]
    accuracies = [
        [row["test accuracy %"] for row in nothing_inside.main([*options, *more])] for more in ([], ["--batch", "32"])
    ]
    assert accuracies[0] != accuracies[1]


@pytest.mark.slow
def test_a_rate_that_is_given_is_not_chosen(tmp_path):
    options = ["--inits", "he", "--optimizers", "sgd", "--schemes", "raw", "--at", "raw=1e-4", "dataset=0.05"]
    rows = nothing_inside.main(["--quick", "--json", str(tmp_path / "result.json"), *options])
    assert [(row["cell"], row["scheme"], row["rate"]) for row in rows] == [
        ("he, sgd", "raw", "0.0001"),
        ("he, sgd", "dataset", "0.05"),
    ]
    assert len(json.loads((tmp_path / "result.json").read_text())["runs"]) == 2 * 2  # none that chooses


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--at", "raw=1", "raw=2"], "one rate for each"),
        (["--schemes", "raw", "--at", "unit=1"], "one rate for each"),
        (["--at", "raw=1"], "a rate is one row's, not that of he, sgd, torch, sgd, he, adam, torch, adam"),
    ],
)
def test_rates_that_nothing_is_trained_at_are_refused(options, message):
    with pytest.raises(SystemExit, match=message):
        nothing_inside.main(["--quick", *options])


def test_a_rate_of_an_unknown_scheme_is_refused(capsys):
    with pytest.raises(SystemExit):
        nothing_inside.main(["--quick", "--at", "whitened=0.1"])
    assert "whitened: expected one of raw, unit, dataset" in capsys.readouterr().err
