"""What others printed about series and recordings, measured again: the anchors S1, S2, S4 and A1."""

from __future__ import annotations

import copy
import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from normlab.config import choose
from normlab.data import recordings
from normlab.data.folder import find
from normlab.errors import DataError
from normlab.measurements.registry import Rows, measurement
from normlab.norms.log_mel import Front, LogMel

LENGTHS = (7, 9, 11)  # of ROCKET's kernels
PRINTED_RUNS = 10  # of each mean in print


@measurement
def rocket_accuracy(
    *,
    problem: str,
    printed: Sequence[float],
    seeds: Sequence[int],
    kernels: int = 10_000,
    scale: float = 1.0,
    offset: float = 0.0,
) -> Rows:
    """ROCKET's accuracy on a set of the archive, beside the printed one.

    Dempster et al. 2019, arXiv:1910.13051: random convolutions, of each the share of positive values and the maximum,
    and a ridge classifier whose penalty is chosen by leave-one-out among ten from 1e-3 to 1e3, on features that are
    centered and divided by their length, as scikit-learn's ``normalize=True`` did.

    Args:
        problem: of the archive, inside the package aeon.
        printed: mean and standard deviation over ten runs.
        seeds: of the kernels.
        kernels: number of convolutions.
        scale: factor on all values, training and test.
        offset: added to all values after that.

    Returns:
        One row: ``accuracy`` and ``std`` over the seeds; ``difference`` from the printed mean; ``allowed``, three
        standard errors of that difference, and one test series, whose answer can fall either way; ``excess``, their
        ratio.
    """
    from sklearn.linear_model import RidgeClassifierCV

    source = choose("data", "aeon", problem=problem).build()
    assert source.test is not None
    parts = [part.pictures.double() * scale + offset for part in (source.train, source.test)]
    accuracies = []
    for seed in seeds:
        convolutions = random_kernels(parts[0].shape[-1], kernels, seed)
        train, test = (rocket_features(part, convolutions) for part in parts)
        center = train.mean(0)
        length = np.linalg.norm(train - center, axis=0)
        length[length == 0] = 1
        ridge = RidgeClassifierCV(alphas=np.logspace(-3, 3, 10))
        ridge.fit((train - center) / length, source.train.labels.numpy())
        right = ridge.predict((test - center) / length) == source.test.labels.numpy()
        accuracies.append(float(right.mean()))
    row = {"problem": problem, "scale": scale, "offset": offset}
    return [row | versus_printed(accuracies, printed, len(source.test))]


def versus_printed(accuracies: Sequence[float], printed: Sequence[float], test: int) -> dict[str, float]:
    """Accuracies of runs against a printed mean and deviation of ten runs, on the same test series.

    Args:
        accuracies: one for each seed.
        printed: mean and standard deviation.
        test: number of test series.
    """
    mean, std = float(np.mean(accuracies)), float(np.std(accuracies, ddof=1)) if len(accuracies) > 1 else math.nan
    allowed = 3 * math.sqrt(std**2 / len(accuracies) + printed[1] ** 2 / PRINTED_RUNS) + 1 / test
    return {
        "runs": len(accuracies),
        "printed": printed[0],
        "accuracy": mean,
        "std": std,
        "difference": mean - printed[0],
        "allowed": allowed,
        "excess": abs(mean - printed[0]) / allowed,
    }


@measurement
def deep_accuracy(
    *, problem: str, network: Literal["mlp", "fcn"], printed: Sequence[float], seeds: Sequence[int]
) -> Rows:
    """Accuracy of a network for series on a set of the archive, beside the printed one.

    Wang, Yan & Oates 2017, arXiv:1611.06455, trained as in Ismail Fawaz et al. 2019, arXiv:1809.04356: batches of a
    tenth of the training set, 16 at most; the rate is halved where the training loss stands still; of all epochs the
    weights with the lowest training loss count. The optimizers have the constants that Keras had then.

    Args:
        problem: of the archive, inside the package aeon; its series are standardized one by one.
        network: ``mlp``, three layers of 500 with dropout, Adadelta, 5,000 epochs; or ``fcn``, three convolutions with
            batch normalization, Adam, 2,000 epochs.
        printed: mean and standard deviation over ten runs.
        seeds: of weights, order and dropout.

    Returns:
        One row, as :func:`rocket_accuracy` has it.
    """
    source = choose("data", "aeon", problem=problem).build()
    assert source.test is not None
    (train, test), classes = (
        [(standardized(part.pictures.float()), part.labels) for part in (source.train, source.test)],
        len(source.classes),
    )
    recipe = RECIPES[network]
    accuracies = []
    for seed in seeds:
        torch.manual_seed(seed)
        model = recipe.build(train[0].shape[-1], classes)
        fit(model, *train, recipe)
        with torch.no_grad():
            accuracies.append((model.eval()(test[0]).argmax(1) == test[1]).double().mean().item())
    return [{"problem": problem, "network": network} | versus_printed(accuracies, printed, len(source.test))]


def standardized(series: Tensor) -> Tensor:
    """Each series with a mean of 0 and a deviation of 1, as the archive holds them; [N, 1, T]."""
    centered = series - series.mean(2, keepdim=True)
    return centered / centered.square().mean(2, keepdim=True).sqrt()


@dataclass(frozen=True)
class Recipe:
    """How a network of print was trained.

    Attributes:
        build: the network from the number of steps and of classes.
        optimizer: from the parameters.
        epochs: number of epochs.
        patience: epochs without a lower training loss, by 1e-4, until the rate is halved.
        least_rate: below which it is not halved.
    """

    build: Callable[[int, int], nn.Module]
    optimizer: Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]
    epochs: int
    patience: int
    least_rate: float


def perceptron(steps: int, classes: int) -> nn.Module:
    """Three layers of 500 units with dropout (Wang et al. 2017, section II.A); Keras' initial weights."""
    layers: list[nn.Module] = [nn.Flatten()]
    for inputs, dropout in ((steps, 0.1), (500, 0.2), (500, 0.2)):
        layers += [nn.Dropout(dropout), nn.Linear(inputs, 500), nn.ReLU()]
    return as_in_keras(nn.Sequential(*layers, nn.Dropout(0.3), nn.Linear(500, classes)))


def convolutions(steps: int, classes: int) -> nn.Module:
    """Convolutions of 128, 256 and 128 filters, mean over time (Wang et al. 2017, section II.B)."""
    layers: list[nn.Module] = []
    for inputs, filters, width in ((1, 128, 8), (128, 256, 5), (256, 128, 3)):
        padding = nn.ConstantPad1d(((width - 1) // 2, width // 2), 0.0)
        norm = nn.BatchNorm1d(filters, eps=1e-3, momentum=0.01)
        layers += [padding, nn.Conv1d(inputs, filters, width), norm, nn.ReLU()]
    return as_in_keras(nn.Sequential(*layers, nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(128, classes)))


def as_in_keras(model: nn.Module) -> nn.Module:
    """Keras' initial weights: even, by Glorot & Bengio 2010, and biases of 0."""
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Conv1d):
            nn.init.xavier_uniform_(module.weight)
            assert module.bias is not None
            nn.init.zeros_(module.bias)
    return model


RECIPES = {
    "mlp": Recipe(perceptron, partial(torch.optim.Adadelta, lr=1.0, rho=0.95, eps=1e-7), 5000, 200, 0.1),
    "fcn": Recipe(convolutions, partial(torch.optim.Adam, lr=1e-3, eps=1e-7), 2000, 50, 1e-4),
}


def fit(model: nn.Module, series: Tensor, labels: Tensor, recipe: Recipe) -> None:
    """Train a network, and leave it with the weights of the epoch whose training loss was the lowest."""
    optimizer = recipe.optimizer(model.parameters())
    schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, factor=0.5, patience=recipe.patience - 1, threshold=1e-4, threshold_mode="abs",
        min_lr=recipe.least_rate,
    )  # fmt: skip
    batch = max(1, min(len(series) // 10, 16))
    lowest, best = math.inf, copy.deepcopy(model.state_dict())
    for _ in range(recipe.epochs):
        model.train()
        total = 0.0
        for rows in torch.randperm(len(series)).split(batch):
            loss = F.cross_entropy(model(series[rows]), labels[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(rows)
        schedule.step(total)
        if total < lowest:
            lowest, best = total, copy.deepcopy(model.state_dict())
    model.load_state_dict(best)


Kernels = dict[tuple[int, int, int], tuple[Tensor, Tensor]]  # length, dilation, padding: weights [K, 1, L], biases [K]


def random_kernels(steps: int, count: int, seed: int) -> Kernels:
    """ROCKET's kernels for series of so many steps, by their shape (section 3.1 of the paper).

    Weights are normal and centered, biases even on -1..1, dilations 2^x with x even up to what fits, and half of the
    kernels are padded so that they reach over the ends.
    """
    generator = np.random.default_rng(seed)
    lengths = generator.choice([length for length in LENGTHS if length <= steps], count)
    dilations = (2 ** generator.uniform(0, np.log2((steps - 1) / (lengths - 1)))).astype(int)
    paddings = np.where(generator.integers(0, 2, count) == 1, (lengths - 1) * dilations // 2, 0)
    kernels: Kernels = {}
    for shape in sorted(Counter(zip(lengths.tolist(), dilations.tolist(), paddings.tolist(), strict=True)).items()):
        (length, dilation, padding), number = shape
        weights = generator.normal(0, 1, (number, 1, length))
        weights -= weights.mean(2, keepdims=True)
        biases = generator.uniform(-1, 1, number)
        kernels[length, dilation, padding] = torch.from_numpy(weights), torch.from_numpy(biases)
    return kernels


def rocket_features(series: Tensor, kernels: Kernels) -> NDArray[np.float64]:
    """Share of positive values and maximum of each convolution, [N, 2 K]; series float64 [N, 1, T]."""
    columns = []
    for (_, dilation, padding), (weights, biases) in kernels.items():
        for part in torch.arange(len(weights)).split(64):  # keeps the outputs small
            output = F.conv1d(series, weights[part], biases[part], padding=padding, dilation=dilation)
            columns += [(output > 0).double().mean(2), output.amax(2)]
    return torch.cat(columns, 1).numpy()


@measurement
def stored_moments(*, problem: str) -> Rows:
    """Whether the series of a set are stored standardized, each channel of each series by itself.

    Args:
        problem: of the archive, inside the package aeon.

    Returns:
        One row: ``mean``, the largest absolute mean of a series, and ``std``, the largest distance of a standard
        deviation (ddof 1) from 1, over channels and series of both splits.
    """
    source = choose("data", "aeon", problem=problem).build()
    assert source.test is not None
    x = torch.cat([source.train.pictures, source.test.pictures]).double()
    return [
        {
            "problem": problem,
            "mean": x.mean(2).abs().max().item(),
            "std": (x.std(2, correction=1) - 1).abs().max().item(),
        }
    ]


@measurement
def filter_bank_moments(*, root: str, constants: Sequence[float], frames: int = 1024) -> Rows:
    """Mean and standard deviation of log-mel values under AST's front end, beside AST's constants.

    Args:
        root: a folder of recordings below NORMLAB_DATA; resampled to AST's 16,000 samples in a second.
        constants: mean and standard deviation in print.
        frames: to which AST pads, with zeros after the logarithm.

    Returns:
        A row without and one with padding: ``mean`` and ``std`` of all values, and ``distance``, how far these are from
        the mean 0 and deviation 1 that the constants promise: sqrt(m^2 + (s - 1)^2).

    Raises:
        DataError: if there is no such folder, or no recording in it.
    """
    folder = find(Path(root), "A1")
    paths = recordings.recordings_below(folder, lambda error: None)
    if not paths:
        raise DataError(f"{folder}: no recordings in it")
    layer = Front("kaldi", 16000, mels=128, window_ms=25.0, hop_ms=10.0).build()
    assert isinstance(layer, LogMel)
    sums = np.zeros(3)
    for path in paths:
        recording = recordings.read(path)
        waveform = torch.from_numpy(recordings.resample(recording.mono, recording.rate, 16000))
        values = layer(waveform[None, None])[0].double()[:, :frames]
        sums += [values.numel(), values.sum().item(), values.square().sum().item()]
    rows = []
    for padded, count in (("no", sums[0]), ("yes", len(paths) * 128 * frames)):
        mean = sums[1] / count
        std = math.sqrt(sums[2] / count - mean**2)
        m, s = (mean - constants[0]) / constants[1], std / constants[1]
        rows.append(
            {
                "folder": Path(root).name,
                "padded": padded,
                "recordings": len(paths),
                "mean": mean,
                "std": std,
                "distance": math.hypot(m, s - 1),
            }
        )
    return rows
