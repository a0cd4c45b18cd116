"""Regression: the loss, R2 and RMSE, theory, and answers in the unit of the target."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import LinearRegression
from sklearn.metrics import r2_score, root_mean_squared_error

from normlab.archs.folding import folded
from normlab.archs.losses import loss_of
from normlab.config import choose
from normlab.data import load
from normlab.errors import NormlabError
from normlab.inputs import Target
from normlab.record import Measurement, Stored, frame, summarize
from normlab.report import document, study, tables
from normlab.report.terminal import comparison_table, run_table
from normlab.run import run
from normlab.theory.descent import descent
from normlab.theory.prediction import dataset_moments
from normlab.training.checkpoint import load as load_checkpoint
from normlab.training.meters import Deviation
from tests.conftest import configuration


def trained(folder, **changes):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NORMLAB_CACHE", str(folder / "cache"))
        choices = {"data": "diabetes", "norm": "dataset", "arch": "linear", "optim": "gd", "trainer.precision": "64"}
        return run(configuration(folder, **{**choices, **changes}))


@pytest.fixture(scope="module")
def linear(tmp_path_factory):
    """Full-batch descent on the linear model, 60 steps in double precision."""
    return trained(tmp_path_factory.mktemp("linear"), **{"trainer.max_epochs": 60, "trainer.targets": [0.4, 0.99]})


@pytest.fixture(scope="module")
def diabetes():
    return load(choose("data", "diabetes"))


def test_the_meter_agrees_with_scikit_learn():
    generator = np.random.default_rng(0)
    y, answers = generator.normal(150, 70, 500), generator.normal(150, 70, 500)
    target = Target(140.0, 60.0)
    loss, meter = loss_of("squared_error", target), Deviation(target)
    for part in np.array_split(np.arange(500), 7):
        scores = torch.from_numpy(target.standardized(answers[part]))[:, None]
        labels = torch.from_numpy(y[part])
        meter.add(loss(scores, labels), scores, labels)
    values = meter.values(meter.sums)
    assert values["r2"] == pytest.approx(r2_score(y, answers), rel=1e-10)
    assert values["rmse"] == pytest.approx(root_mean_squared_error(y, answers), rel=1e-10)
    assert values["loss"] == pytest.approx(0.5 * np.mean(((answers - y) / 60) ** 2), rel=1e-10)


def test_equal_labels_have_no_r2():
    meter = Deviation(Target(0.0, 1.0))
    meter.add(torch.tensor(0.5), torch.zeros(4, 1), torch.ones(4))
    assert math.isnan(meter.values(meter.sums)["r2"])
    assert meter.values(meter.sums)["rmse"] == 1.0


def test_descent_follows_the_theory(linear):
    metrics = linear["metrics"]
    assert metrics["curve_deviation"] < 1e-9
    assert metrics["predicted_iterations"]["0.01"] == metrics["measured_iterations"]["0.01"] <= 60
    # The condition number is that of the standardized columns with a column of ones.
    split = load(choose("data", "diabetes")).train
    x = split.inputs.double().numpy()
    x = np.column_stack([(x - x.mean(0)) / x.std(0), np.ones(len(x))])
    assert metrics["condition_number"] == pytest.approx(np.linalg.cond(x.T @ x), rel=1e-6)


@pytest.mark.parametrize("standardize", [True, False])
def test_the_optimum_of_the_theory_is_that_of_least_squares(standardize):
    data = load(choose("data", "diabetes", standardize_target=standardize))
    norm = choose("norm", "dataset").build().fit(data.training_inputs())
    theory = descent(dataset_moments(data, norm), bias=True)
    x, y = data.train.inputs.double().numpy(), data.train.labels.double().numpy()
    scale = y.std() if standardize else 1.0
    residual = y - LinearRegression().fit(x, y).predict(x)
    assert theory.optimum == pytest.approx(0.5 * np.mean((residual / scale) ** 2), rel=1e-6)
    start = (y - y.mean()) / scale if standardize else y
    assert theory.initial == pytest.approx(0.5 * np.mean(start**2), rel=1e-9)


def test_the_network_answers_in_the_unit_of_the_target(linear, diabetes):
    network = load_checkpoint(f"{linear['path']}/checkpoint.ckpt").double()
    assert network.target == pytest.approx(diabetes.target)
    with torch.no_grad():
        answers = network(diabetes.test.inputs)[:, 0].numpy()
    y = diabetes.test.labels.double().numpy()
    assert linear["metrics"]["test_r2"] == pytest.approx(r2_score(y, answers), rel=1e-6)
    assert linear["metrics"]["test_rmse"] == pytest.approx(root_mean_squared_error(y, answers), rel=1e-6)
    assert 0.3 < linear["metrics"]["test_r2"] < 0.6


def test_the_folded_network_answers_the_same(linear, diabetes):
    network = load_checkpoint(f"{linear['path']}/checkpoint.ckpt")
    other, text = folded(network)
    assert text.startswith("folded into")
    with torch.no_grad():
        expected, actual = network(diabetes.test.inputs), other(diabetes.test.inputs)
    assert actual.numpy() == pytest.approx(expected.numpy(), rel=1e-3)


def test_the_record_has_r2_wherever_accuracy_stands(linear):
    metrics = linear["metrics"]
    assert linear["status"] == "finished"
    assert linear["correct"] is None
    assert not [name for name in metrics if "accuracy" in name]
    assert {"test_r2", "validation_r2", "best_validation_r2", "test_rmse", "validation_rmse"} <= set(metrics)
    assert 0 < metrics["epochs_to"]["0.4"] < math.inf
    assert metrics["epochs_to"]["0.99"] == math.inf
    assert linear["config"]["data"]["standardize_target"] is True
    assert linear["target"] == {"mean": pytest.approx(152, abs=8), "std": pytest.approx(77, abs=8)}
    shown = run_table(linear)
    assert "test R2" in shown
    assert "validation R2" in shown
    assert "accuracy" not in shown
    assert "test R2" in comparison_table([linear, linear])
    assert frame([linear]).test_r2.item() == metrics["test_r2"]


def test_a_summary_of_r2_is_by_the_curve():
    rows = [Measurement(0, 0.0, "validation", "r2", -0.5), Measurement(0, 0.0, "validation", "loss", 1.0)]
    rows += [Measurement(10, 1.0, "validation", "r2", 0.5), Measurement(10, 1.0, "validation", "rmse", 3.0)]
    metrics = summarize(rows, (0.4,))
    assert metrics["validation_r2"] == metrics["best_validation_r2"] == 0.5
    assert metrics["validation_area_under_curve"] == 0.0
    assert metrics["validation_rmse"] == 3.0
    assert math.isnan(metrics["test_r2"])


def test_a_divergence_is_a_result(tmp_path):
    result = trained(tmp_path, **{"optim.lr": 1e6, "trainer.max_epochs": 80, "trainer.precision": "32"})
    assert result["status"] == "diverged"
    assert math.isnan(result["metrics"]["test_r2"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"arch": "mlp"}, r"arch\.loss=squared_error"),
        ({"augment": "crop_flip"}, "augment=crop_flip: for images only; diabetes has tables"),
        ({"trainer.shifts": ["brightness"]}, "brightness is for images; the inputs are tables"),
    ],
)
def test_what_a_table_cannot_have_is_refused(tmp_path, changes, message):
    with pytest.raises(NormlabError, match=message):
        trained(tmp_path, **changes, **({"optim.lr": 0.1} if "arch" in changes else {}))


def test_a_study_of_regressions_is_tabled_by_r2(tmp_path):
    runs = [
        trained(tmp_path / f"{norm}{seed}", norm=norm, seed=seed, **{"data.split_seed": seed, "trainer.max_epochs": 3})
        for norm in ("dataset", "unit")
        for seed in (0, 1)
    ]
    plan = study.plan("learning_rates")
    found = study.Study("learning_rates", plan, tuple(Stored(one, Path(one["path"])) for one in runs), 4)
    assert found.score == "r2"
    rows = tables.wide(found, found.runs).set_index("norm")
    expected = [one["metrics"]["test_r2"] for one in runs]
    assert rows.accuracy["dataset"] == pytest.approx(np.mean(expected[:2]))
    assert list(found.best_rates.norm) == ["dataset", "unit"]
    gap = tables.differences(found, found.runs)
    assert gap.difference.item() == pytest.approx(np.mean(expected[2:]) - np.mean(expected[:2]))
    assert "test R2" in tables.shown_wide(found, tables.wide(found, found.runs))
    drawings = {one.name: one for one in document.drawings_of_runs(found, found.runs, gap, "best", "")}
    assert drawings["convergence"].caption.startswith("Validation R2")
    drawings["convergence"].draw(tmp_path / "convergence")
    drawings["differences"].draw(tmp_path / "differences")
