"""Whole runs, small ones, against plain PyTorch and against what a record promises."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import normlab
from normlab import record
from normlab.archs import Network
from normlab.archs.losses import squared_error
from normlab.data import MemorySplit, load
from normlab.errors import CheckpointError, ConfigError
from normlab.record import Curve
from normlab.run import run
from normlab.training import Training, probe, trainer
from normlab.training.probe import MEASURED
from normlab.training.trainer import has_loopback
from tests.conftest import OF_IMAGES

# Two trainings are compared in double precision: there rounding, which threads and processors decide, stays far below
# 1e-9 over these few steps, and anything else that differs shows.
DOUBLE = {"trainer.precision": "64"}
SAME = 1e-9


def losses(result):
    rows = Curve.read(Path(result["path"]) / "curve.csv")
    return [row.value for row in rows if row.split == "train" and row.metric == "loss"]


def bare_loop(config, epochs, optimizer, order_seed):
    """The same training in double precision, without normlab's loader, module or Lightning."""
    data = load(config.data)
    norm = config.norm.build().fit(data.training_images())
    torch.manual_seed(config.seed)
    network = Network(norm, config.arch, data.shape, data.classes).double()
    update = optimizer(network.body.parameters())
    seen = []
    for epoch in range(epochs):
        generator = torch.Generator().manual_seed(order_seed * 1_000_003 + epoch)
        for index in torch.randperm(len(data.train), generator=generator).split(config.data.batch_size):
            x = data.train.images[index].double() * norm.scale + norm.shift
            loss = F.cross_entropy(network.body(x), data.train.labels[index])
            update.zero_grad()
            loss.backward()
            update.step()
            seen.append(loss.item())
    return seen, network, data


@pytest.mark.parametrize(
    ("changes", "optimizer"),
    [
        ({"optim.lr": 0.05}, lambda p: torch.optim.SGD(p, 0.05, momentum=0.9)),
        ({"optim.lr": 0.02, "optim.nesterov": True}, lambda p: torch.optim.SGD(p, 0.02, momentum=0.9, nesterov=True)),
        ({"optim": "adam", "optim.lr": 0.002}, lambda p: torch.optim.Adam(p, 0.002)),
        ({"optim": "adamw", "optim.weight_decay": 0.1}, lambda p: torch.optim.AdamW(p, 1e-3, weight_decay=0.1)),
    ],
)
def test_the_curve_is_that_of_a_bare_loop(make, changes, optimizer):
    config = make(**changes, **DOUBLE, norm="dataset", seed=3)
    expected, network, data = bare_loop(config, 2, optimizer, 3)
    result = run(config)
    np.testing.assert_allclose(losses(result), expected, rtol=SAME)
    with torch.no_grad():
        scores = network(data.test.images)
    accuracy = (scores.argmax(1) == data.test.labels).double().mean().item()
    assert result["metrics"]["test_accuracy"] == pytest.approx(accuracy)
    assert result["metrics"]["test_loss"] == pytest.approx(F.cross_entropy(scores, data.test.labels).item(), rel=SAME)


@pytest.mark.parametrize("momentum", [0.0, 0.5])
def test_full_batch_descent_is_the_recurrence(make, momentum):
    """Squared error in float64: w <- w - lr S w + ..., from the closed form of the gradient, over 30 steps."""
    config = make(
        arch="linear", optim="gd", norm="dataset", **{
            "optim.lr": 0.02, "optim.momentum": momentum, "trainer.precision": 64, "trainer.max_epochs": 30
        }
    )  # fmt: skip
    data = load(config.data)
    norm = config.norm.build().fit(data.training_images()).double()
    x = norm(data.train.images).flatten(1).numpy()
    x = np.hstack([x, np.ones((len(x), 1))])
    y = np.eye(10)[data.train.labels.numpy()]
    w, velocity, expected = np.zeros((65, 10)), np.zeros((65, 10)), []
    for _ in range(30):
        error = x @ w - y
        expected.append(0.5 * (error**2).sum() / len(x))
        velocity = momentum * velocity + x.T @ error / len(x)
        w = w - 0.02 * velocity
    np.testing.assert_allclose(losses(run(config)), expected, rtol=1e-12)


def test_same_seed_same_curve_other_seed_another(make):
    first, second = run(make(augment="jitter", **DOUBLE)), run(make(augment="jitter", **DOUBLE))
    np.testing.assert_allclose(losses(first), losses(second), rtol=SAME)
    assert first["metrics"]["test_loss"] == pytest.approx(second["metrics"]["test_loss"], rel=SAME)
    other = losses(run(make(augment="jitter", seed=1, **DOUBLE)))
    assert (np.abs(np.array(other) / losses(first) - 1) > 1e-4).all()


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {"optim.schedule": "cosine", "optim.warmup_epochs": 1, "optim.clip_norm": 1.0, "norm": "learned"},
        {"optim": "adam", "augment": "crop_flip"},
        # Diverges, and stops inside an epoch, where the losses are read.
        {"optim.lr": 1e4, "norm": "raw", "data.batch_size": 2},
    ],
)
@pytest.mark.parametrize("size", [4, 1000])
def test_bundles_of_batches_change_nothing(make, monkeypatch, changes, size):
    options = {"data.limit": 120, "data.batch_size": 8, "arch": "cnn", "arch.width": 4, **changes}
    monkeypatch.setattr(trainer, "BUNDLE", size)
    counted, curves, update = [], [], Training._update
    for bundled in (True, False):
        calls = []
        with monkeypatch.context() as patch:
            if not bundled:
                patch.setattr(trainer, "_is_bundled", lambda *_: False)
            patch.setattr(Training, "_update", lambda *given, calls=calls: calls.append(update(*given)))
            result = run(make(**options, rerun=True))
        counted.append(len(calls))
        curves.append((Path(result["path"]) / "curve.csv").read_bytes())
    assert curves[0] == curves[1]
    assert counted[0] == counted[1]


def test_augmentation_differs_between_epochs(make, monkeypatch):
    """The draws of a whole run: none comes twice, and the same seed draws the same again."""
    from normlab.training import module

    class Watched(module.Augment):
        def _uniform(self, images):
            draws = super()._uniform(images)
            seen.append(draws[0].item())
            return draws

    monkeypatch.setattr(module, "Augment", Watched)
    seen = []
    config = make(augment="jitter", **{"data.limit": 128, "trainer.max_epochs": 4})
    run(config)
    first, seen = seen, []
    assert len(set(first)) == len(first) == 8  # brightness and contrast in four epochs of one batch
    run(config)
    assert seen == first


def test_schemes_start_from_the_same_weights_and_batches(make):
    """`learned` has parameters of its own; its network starts as that of `unit`, whose function it equals."""
    learned, unit = (losses(run(make(norm=norm, **DOUBLE)))[0] for norm in ("learned", "unit"))
    assert learned == pytest.approx(unit, rel=1e-5)  # log sigma is kept in single precision


@pytest.mark.slow
def test_test_images_never_enter_a_fit(make, monkeypatch):
    """With other test images everything stays but the test metrics; adaptive and learned schemes included."""
    from normlab import run as module

    for norm in ("dataset", "zca", "adaptive", "learned"):
        config = make(norm=norm, **DOUBLE)
        first = run(config)

        def poisoned(options, source):
            data = load(options, source)
            test = MemorySplit(255 - data.test.images, data.test.labels.flip(0))
            return module.Dataset(data.name, data.train, data.validation, test, data.classes, data.content, data.key)

        with monkeypatch.context() as patch:
            patch.setattr(module, "load", poisoned)
            second = run(config)
        metrics = {key: value for key, value in first["metrics"].items() if "second" not in key}
        for key, value in metrics.items():
            if key.startswith("test"):
                assert second["metrics"][key] != value
            else:
                assert second["metrics"][key] == pytest.approx(value, rel=SAME, nan_ok=True), key
        assert first["normalized"].pop("shape") == second["normalized"].pop("shape")
        assert first["normalized"] == pytest.approx(second["normalized"], rel=SAME)


def test_validation_images_never_enter_a_fit(make, monkeypatch):
    from normlab import run as module

    config = make(norm="dataset", **DOUBLE)
    first = run(config)

    def poisoned(options, source):
        data = load(options, source)
        validation = MemorySplit(255 - data.validation.images, data.validation.labels)
        return module.Dataset(data.name, data.train, validation, data.test, data.classes, data.content, data.key)

    monkeypatch.setattr(module, "load", poisoned)
    second = run(config)
    np.testing.assert_allclose(losses(first), losses(second), rtol=SAME)
    assert first["metrics"]["test_loss"] == pytest.approx(second["metrics"]["test_loss"], rel=SAME)
    assert first["metrics"]["validation_loss"] != pytest.approx(second["metrics"]["validation_loss"], rel=1e-3)


def test_divergence_is_a_result(make):
    result = run(make(arch="linear", norm="raw", **{"optim.lr": 1.0, "trainer.max_epochs": 50}))
    assert result["status"] == "diverged"
    seen = losses(result)
    assert result["diverged_at"] == len(seen) - 1
    assert not math.isfinite(seen[-1])
    assert all(map(math.isfinite, seen[:-1]))
    assert math.isnan(result["metrics"]["test_accuracy"])
    assert math.isfinite(result["metrics"]["best_train_loss"])
    stored = record.read(Path(result["path"]))
    assert stored["status"] == "diverged"
    assert math.isnan(stored["metrics"]["test_accuracy"])
    assert not (Path(result["path"]) / "checkpoint.ckpt").exists()


def test_targets_and_the_early_end(make):
    result = run(
        make(
            norm="dataset", **{"trainer.max_epochs": 40, "trainer.targets": [0.3, 0.6], "trainer.stop_at_target": True}
        )
    )
    metrics = result["metrics"]
    assert metrics["epochs"] < 40
    assert metrics["validation_accuracy"] >= 0.6
    assert metrics["epochs_to"]["0.6"] == metrics["epochs"]
    assert metrics["epochs_to"]["0.3"] <= metrics["epochs_to"]["0.6"]
    missed = run(make(norm="dataset", **{"trainer.max_epochs": 1, "trainer.targets": [1.0]}))
    assert missed["metrics"]["epochs_to"] == {"1": math.inf}
    assert record.read(Path(missed["path"]))["metrics"]["steps_to"]["1"] == math.inf


def test_evaluation_at_steps(make):
    result = run(make(**{"trainer.eval_every_steps": 4}))
    rows = Curve.read(Path(result["path"]) / "curve.csv")
    steps = [row.step for row in rows if (row.split, row.metric) == ("validation", "accuracy")]
    assert steps == [0, 4, 8, 12, 16, 20, 22]


def test_max_steps(make):
    result = run(make(**{"trainer.max_steps": 7, "trainer.max_epochs": 9}))
    assert len(losses(result)) == 7
    assert result["metrics"]["steps"] == 7


@pytest.mark.slow
def test_clipping_bounds_the_step(make):
    """With a tiny norm allowed, one step of plain descent moves the weights by lr times that norm."""
    config = make(optim="gd", **{"optim.lr": 1.0, "optim.clip_norm": 1e-3, "trainer.max_epochs": 1})
    result = run(config)
    trained = normlab.load(Path(result["path"]) / "checkpoint.ckpt")
    data = load(config.data)
    torch.manual_seed(0)
    start = Network(config.norm.build(), config.arch, data.shape, data.classes)
    moved = [(a - b).flatten() for a, b in zip(trained.parameters(), start.parameters(), strict=True)]
    assert torch.cat(moved).norm().item() == pytest.approx(1e-3, rel=1e-3)


def test_schedule_reaches_the_rate_and_falls_to_zero():
    from normlab.config import SGD
    from normlab.training.optimizers import schedule

    options = SGD(name="sgd", lr=0.1, schedule="cosine", warmup_epochs=2)
    factor = schedule(options, steps_per_epoch=5, total_steps=50)
    assert [factor(step) for step in range(10)] == pytest.approx([(step + 1) / 10 for step in range(10)])
    assert factor(10) == 1
    assert factor(30) == pytest.approx(0.5)
    assert factor(50) == pytest.approx(0)


def test_start_measurements_against_autograd(make):
    config = make(norm="imagenet", **{"trainer.max_epochs": 1})
    metrics = run(config)["metrics"]
    data = load(config.data)
    norm = config.norm.build()
    torch.manual_seed(0)
    network = Network(norm, config.arch, data.shape, data.classes)
    order = torch.randperm(len(data.train), generator=torch.Generator().manual_seed(0))[:128]
    F.cross_entropy(network(data.train.images[order]), data.train.labels[order]).backward()
    first = network.body.layers[0]
    output = first(norm(data.train.images[order]))
    gradients = torch.cat([p.grad.flatten() for p in network.parameters()])
    assert metrics["first_layer_activation_rms"] == pytest.approx(output.square().mean().sqrt().item(), rel=1e-5)
    assert metrics["first_layer_gradient_norm"] == pytest.approx(first.weight.grad.norm().item(), rel=1e-5)
    assert metrics["gradient_norm"] == pytest.approx(gradients.norm().item(), rel=1e-5)


def test_the_record_holds_what_it_should(make):
    config = make(norm="zca", seed=0, study="mine")
    result = run(config)
    stored = record.read(Path(result["path"]))
    written, returned = (
        json.dumps({key: value for key, value in one.items() if key != "path" and value is not None}, sort_keys=True)
        for one in (stored, result)
    )
    assert written == returned
    assert stored["status"] == "finished"
    assert stored["fingerprint"] == record.fingerprint(config)
    assert (stored["norm"], stored["arch"], stored["data"], stored["optim"]) == ("zca", "cnn", "digits", "sgd")
    assert stored["seed"] == 0
    assert stored["lr"] == config.optim.lr
    assert stored["config"] == config.plain()
    assert stored["provenance"]["versions"]["torch"].startswith(torch.__version__.split("+")[0])
    assert stored["provenance"]["data_key"] == load(config.data).key
    assert "hostname" not in json.dumps(stored).lower()
    frame = normlab.records(config.runs)
    assert len(frame) == 1
    assert frame.loc[0, "test_accuracy"] == stored["metrics"]["test_accuracy"]
    assert frame.loc[0, "epochs_to.0.5"] == stored["metrics"]["epochs_to"]["0.5"]
    assert frame.loc[0, "seconds.fit"] == stored["seconds"]["fit"]
    assert frame.loc[0, "training_seconds"] == stored["metrics"]["training_seconds"]
    curve = normlab.curves(config.runs)
    assert curve[curve.metric.eq("loss") & curve.split.eq("train")].value.tolist() == losses(result)


def test_a_bug_leaves_a_failed_record_with_its_traceback(make, monkeypatch):
    from normlab import run as module

    def broken(*_):
        raise RuntimeError("out of luck")

    monkeypatch.setattr(module, "train", broken)
    config = make()
    with pytest.raises(RuntimeError, match="out of luck"):
        run(config)
    stored = record.read(record.folder(config))
    assert (stored["status"], stored["error"]) == ("failed", "RuntimeError: out of luck")
    assert "out of luck" in (record.folder(config) / "traceback.txt").read_text()
    assert record.existing(config) is None


def test_a_mistake_leaves_no_record(make):
    config = make(**{"data.batch_size": 5000})
    with pytest.raises(ConfigError, match=r"data\.batch_size=5000: larger than the training set of 1295 images"):
        run(config)
    assert not record.folder(config).exists()


@pytest.mark.slow
def test_a_checkpoint_carries_its_normalization(make):
    for norm in OF_IMAGES:
        config = make(norm=norm, arch="linear", **DOUBLE, **{"optim.lr": 1e-6, "trainer.max_epochs": 1})
        result = run(config)
        network = normlab.load(Path(result["path"]) / "checkpoint.ckpt")
        data = load(config.data)
        with torch.no_grad():
            accuracy = (network(data.test.images).argmax(1) == data.test.labels).double().mean().item()
        assert accuracy == pytest.approx(result["metrics"]["test_accuracy"])
        assert network.classes == data.classes
        assert not network.training


@pytest.mark.parametrize("arch", ["linear", "mlp", "cnn", "resnet", "allconv", "vit"])
def test_every_small_architecture_loads_back(make, arch):
    result = run(make(arch=arch, **{"trainer.max_epochs": 1}))
    network = normlab.load(Path(result["path"]) / "checkpoint.ckpt")
    assert network(torch.zeros(2, 1, 8, 8, dtype=torch.uint8)).shape == (2, 10)


def test_starting_from_a_checkpoint(make):
    trained = run(make(**{"trainer.max_epochs": 8}))
    path = Path(trained["path"]) / "checkpoint.ckpt"
    continued = run(make(weights=path, **{"optim.lr": 1e-9, "trainer.max_epochs": 1}))
    start, end = (normlab.load(Path(one["path"]) / "checkpoint.ckpt").state_dict() for one in (trained, continued))
    assert start.keys() == end.keys()
    for name, value in start.items():  # an epoch at a rate of 1e-9 moves nothing
        torch.testing.assert_close(end[name], value, rtol=0, atol=1e-6)
    with pytest.raises(CheckpointError, match=r"another network .*arch=cnn"):
        run(make(weights=path, arch="mlp"))
    with pytest.raises(CheckpointError, match=r"another network .*layers\.0\.weight is"):
        run(make(weights=path, **{"arch.width": 8}))


def test_unreadable_checkpoints(tmp_path):
    with pytest.raises(CheckpointError, match="no such checkpoint"):
        normlab.load(tmp_path / "none.ckpt")
    (tmp_path / "text.ckpt").write_text("not a checkpoint")
    with pytest.raises(CheckpointError, match="not readable"):
        normlab.load(tmp_path / "text.ckpt")
    torch.save({"state_dict": {}}, tmp_path / "foreign.ckpt")
    with pytest.raises(CheckpointError, match="not a checkpoint of normlab"):
        normlab.load(tmp_path / "foreign.ckpt")


def test_bfloat16_trains(make):
    result = run(make(norm="dataset", **{"trainer.precision": "bf16-mixed"}))
    assert result["status"] == "finished"
    assert result["metrics"]["test_accuracy"] > 0.3


@pytest.mark.parametrize("internal_norm", ["none", "batch", "layer", "group"])
def test_a_single_leftover_image_breaks_no_internal_norm(make, internal_norm):
    result = run(make(arch="mlp", **{"data.limit": 129, "arch.internal_norm": internal_norm}))
    assert result["status"] == "finished"
    assert len(losses(result)) == 2


@pytest.mark.slow
@pytest.mark.skipif(not has_loopback(), reason="no loopback network")
def test_two_processes_have_the_curve_of_one(make):
    """Lightning's DDP in spawned processes, on the CPU.

    Each takes half of every batch; the mean of their gradients is that of the batch. Rank 0 writes the curve, and the
    record counts every test image.
    """
    options = {**DOUBLE, "data.limit": 256, "trainer.max_epochs": 2}
    one, two = (run(make(norm="dataset", **options, **{"trainer.devices": devices})) for devices in (1, 2))
    curves = [
        [(row.step, row.split, row.metric, row.value) for row in Curve.read(Path(result["path"]) / "curve.csv")]
        for result in (one, two)
    ]
    ours, theirs = (sorted(row for row in rows if row[1] != "start") for rows in curves)
    assert [row[:3] for row in ours] == [row[:3] for row in theirs]
    # To the rounding of single precision, 6e-8: the greatest difference seen was 8e-9, though all else is in double.
    np.testing.assert_allclose([row[3] for row in ours], [row[3] for row in theirs], rtol=1e-7)
    assert two["status"] == "finished"
    network = normlab.load(Path(two["path"]) / "checkpoint.ckpt")
    data = load(make(**{"data.limit": 256}).data)
    with torch.no_grad():
        accuracy = (network(data.test.images).argmax(1) == data.test.labels).double().mean().item()
    assert accuracy == pytest.approx(two["metrics"]["test_accuracy"])
    assert len(losses(two)) == len(losses(one)) > 0


@pytest.mark.slow
def test_a_linear_run_carries_its_prediction(make):
    """Planted data in float64, 1,000 steps: the measured curve is the predicted one to 1e-6 relative."""
    config = make(
        data="planted", arch="linear", optim="gd", norm="dataset_mean",
        **{"trainer.precision": 64, "trainer.max_epochs": 1001, "trainer.eval_every_epochs": 1001},
    )  # fmt: skip
    result = run(config)
    rows = Curve.read(Path(result["path"]) / "curve.csv")
    predicted = [row.value for row in rows if row.split == "theory"]
    measured = [row.value for row in rows if row.split == "train"]
    assert len(predicted) == len(measured) == 1001
    np.testing.assert_allclose(measured, predicted, rtol=1e-6)
    metrics = result["metrics"]
    assert result["lr"] == pytest.approx(1 / metrics["lambda_max"])
    assert metrics["rank"] == metrics["features"] == 17
    assert metrics["predicted_iterations"]["0.1"] == metrics["measured_iterations"]["0.1"]
    assert metrics["predicted_iterations"]["0.01"] > 1001
    assert metrics["measured_iterations"]["0.01"] == math.inf
    assert metrics["curve_deviation"] < 1e-9


@pytest.mark.slow
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_descent_is_stable_below_the_predicted_rate_and_not_above(make, momentum):
    def final(share):
        rate = share * 2 * (1 + momentum) / lambda_max
        result = run(
            make(arch="linear", optim="gd", norm="dataset", **{
                "optim.lr": rate, "optim.momentum": momentum, "trainer.max_epochs": 800,
                "trainer.eval_every_epochs": 800, "trainer.precision": 64,
            })
        )  # fmt: skip
        return losses(result)

    lambda_max = run(make(arch="linear", norm="dataset", **{"optim.lr": 1e-3}))["metrics"]["lambda_max"]
    below, above = final(0.99), final(1.01)
    assert below[-1] < below[0]
    assert not above[-1] < above[0]


def test_a_rate_from_theory_needs_a_theory(make):
    with pytest.raises(ConfigError, match=r"optim\.lr=auto is 1/lambda_max of the linear model"):
        run(make(arch="mlp", optim="gd"))


def test_start_measurements_of_full_batches_are_those_of_all_images(make):
    """On 1,295 images, in two chunks: the same gradient as one batch of all of them."""
    chunked = run(make(optim="gd", **{"optim.lr": 1e-3, "trainer.max_epochs": 1}))["metrics"]
    whole = run(make(**{"optim.lr": 1e-3, "trainer.max_epochs": 1, "data.batch_size": 1295}))["metrics"]
    for metric in ("gradient_norm", "first_layer_gradient_norm", "first_layer_activation_rms"):
        assert chunked[metric] == pytest.approx(whole[metric], rel=1e-4)


def test_evaluation_steps_of_full_batch_descent_are_updates(make):
    result = run(make(optim="gd", **{"optim.lr": 1e-3, "trainer.max_epochs": 4, "trainer.eval_every_steps": 2}))
    rows = Curve.read(Path(result["path"]) / "curve.csv")
    assert [row.step for row in rows if (row.split, row.metric) == ("validation", "loss")] == [0, 2, 4]


@pytest.mark.parametrize("norm", OF_IMAGES)
def test_mixed_precision_leaves_the_normalization_alone(make, norm):
    data = load(make().data)
    scheme = normlab.normalization(norm).fit(data.training_images())
    network = Network(scheme, make(arch="cnn").arch, data.shape, data.classes)
    seen = []
    network.body.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].clone()))
    with torch.autocast("cpu", torch.bfloat16):
        assert network(data.test.images[:4]).dtype == torch.bfloat16
    torch.testing.assert_close(seen[0], scheme(data.test.images[:4]))  # float32, to its rounding


def test_squared_error_keeps_its_digits_in_mixed_precision():
    scores = torch.tensor([[0.1, 0.7]], dtype=torch.bfloat16)
    exact = 0.5 * ((scores[0, 0].item()) ** 2 + (scores[0, 1].item() - 1) ** 2)
    assert squared_error(scores, torch.tensor([1])).item() == pytest.approx(exact, rel=1e-6)


def test_a_diverged_run_counts_nothing_after_its_divergence(make):
    result = run(make(arch="linear", norm="raw", **{"optim.lr": 100.0, "trainer.targets": [0.05]}))
    metrics = result["metrics"]
    assert result["status"] == "diverged"
    assert metrics["steps"] == result["diverged_at"]
    assert math.isnan(metrics["test_accuracy"])
    assert metrics["best_epoch"] == 0  # before training, the only evaluation of a network that was whole
    late = run(make(arch="linear", norm="raw", **{"optim.lr": 1e30, "trainer.max_steps": 2}))
    assert late["status"] == "diverged"
    assert math.isnan(late["metrics"]["test_loss"])


def test_a_mistake_or_an_interruption_keeps_the_earlier_record(make, monkeypatch):
    from normlab import run as module

    config = make(**DOUBLE)
    first = run(config)
    with pytest.raises(ConfigError):
        run(make(**DOUBLE, **{"trainer.accelerator": "gpu"}))  # the same fingerprint

    def interrupted(*_):
        raise KeyboardInterrupt

    def broken(*_):
        raise RuntimeError("out of luck")

    for failing, error in ((interrupted, KeyboardInterrupt), (broken, RuntimeError)):
        with monkeypatch.context() as patch:
            patch.setattr(module, "train", failing)
            with pytest.raises(error):
                run(config)
    stored = record.read(Path(first["path"]))
    assert stored["metrics"]["test_loss"] == first["metrics"]["test_loss"]
    assert (Path(first["path"]) / "checkpoint.ckpt").is_file()
    assert len(normlab.records(config.runs)) == 1
    again = run(config)
    assert again["metrics"]["test_loss"] == pytest.approx(first["metrics"]["test_loss"], rel=SAME)
    assert [path.name for path in config.runs.glob("[!.]*")] == [Path(first["path"]).name]


def test_frames_of_nothing_have_their_columns(tmp_path):
    assert len(normlab.records(tmp_path)) == 0
    assert {"step", "epoch", "split", "metric", "value"} <= set(normlab.curves(tmp_path))


def test_a_checkpoint_cannot_choose_what_code_runs(make):
    result = run(make(**{"trainer.max_epochs": 1}))
    path = Path(result["path"]) / "checkpoint.ckpt"
    saved = torch.load(path, weights_only=True)
    saved["normlab"]["norm"]["_target_"] = "this.s"
    torch.save(saved, path)
    with pytest.raises(CheckpointError, match=r"names this\.s, which is not part of normlab"):
        normlab.load(path)


def test_a_probe_records_curvature_and_layers_and_changes_nothing(make):
    """Before the first update lambda_max is that of the theory; the training goes on as without the probe."""
    changes = {"arch": "linear", "optim": "gd", "norm": "feature", "trainer.max_epochs": 4, **DOUBLE}
    plain = run(make(**changes))
    probed = run(make(**changes, **{"trainer.probe_steps": [0, 2, 4, 9], "trainer.probe_images": 10_000}))
    found = probed["metrics"]["lambda_max_at"]
    assert list(found) == ["0", "2", "4"]  # the run ends after 4 updates
    # The quadratic has the same curvature everywhere.
    assert list(found.values()) == pytest.approx([plain["metrics"]["lambda_max"]] * 3, rel=2e-3)
    for key in ("test_loss", "train_loss", "validation_accuracy"):
        assert probed["metrics"][key] == pytest.approx(plain["metrics"][key], rel=SAME)
    rows = [row for row in Curve.read(Path(probed["path"]) / "curve.csv")]
    steps = [row.step for row in rows if row.split != "theory"]
    assert steps == sorted(steps)
    assert {row.metric for row in rows if row.split == "probe"} == {
        "lambda_max",
        *(f"{name}.layer" for name in MEASURED),
    }
    assert "lambda_max_at" not in plain["metrics"]


def test_a_probe_under_batch_normalization_leaves_its_averages_alone(make, monkeypatch):
    """Nothing computes with the averages while a probe looks, so not a bit of them changes; nor of the weights."""
    measure, looked = probe.Probe._measure, []

    def watched(self, module):
        before = {key: value.clone() for key, value in module.network.state_dict().items()}
        measured = measure(self, module)
        after = module.network.state_dict()
        looked.append(all(torch.equal(value, after[key]) for key, value in before.items()))
        counts = {int(value) for key, value in before.items() if key.endswith("num_batches_tracked")}
        assert counts == {1}  # batch normalization that has averages, of one update
        return measured

    monkeypatch.setattr(probe.Probe, "_measure", watched)
    changes = {"arch": "resnet", "arch.width": 2, "trainer.max_epochs": 1, "data.limit": 200}
    result = run(make(**changes, **{"trainer.probe_steps": [1]}))
    assert looked == [True]
    assert result["metrics"]["lambda_max_at"]["1"] > 0


def test_what_a_learned_normalization_became_is_recorded(make):
    result = run(make(data="photos", norm="learned", **{"data.limit": 200, "optim.lr": 0.05}))
    norm = normalized(result["path"])
    for channel in range(3):
        mean, std = result["metrics"][f"learned_mean.{channel}"], result["metrics"][f"learned_std.{channel}"]
        assert (mean, std) == pytest.approx((norm.mu[channel].item(), norm.log_sigma[channel].exp().item()), rel=1e-6)
        assert abs(mean) > 1e-6 < abs(std - 1)
    assert not any(key.startswith("learned") for key in run(make())["metrics"])


def normalized(path):
    return normlab.load(f"{path}/checkpoint.ckpt").norm


def test_layers_are_recorded_at_the_first_and_the_last_probe(make):
    result = run(make(**{"trainer.probe_steps": (0, 3, 22), "trainer.probe_images": 100}))
    rows = Curve.read(Path(result["path"]) / "curve.csv")
    for place, step in (("start", 0), ("end", 22)):
        found = result["metrics"][f"layers_at_{place}"]
        expected = {
            r.metric: r.value for r in rows if r.split == "probe" and r.step == step and r.metric != "lambda_max"
        }
        assert found == expected
        assert {"activation_rms.layers.0", "activation_offset.layers.0", "gradient_norm.layers.14"} <= set(found)
    assert result["metrics"]["layers_at_start"] != result["metrics"]["layers_at_end"]
