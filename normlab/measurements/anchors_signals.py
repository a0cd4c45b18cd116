"""What others printed about series and recordings, measured again: the anchors S1, S4 and A1."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from normlab.config import choose
from normlab.data import recordings
from normlab.data.folder import find
from normlab.errors import DataError
from normlab.measurements.registry import Rows, measurement
from normlab.norms.log_mel import Front, LogMel

LENGTHS = (7, 9, 11)  # of ROCKET's kernels


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
    mean, std = float(np.mean(accuracies)), float(np.std(accuracies, ddof=1)) if len(seeds) > 1 else math.nan
    spread = math.sqrt((std**2 + printed[1] ** 2) / len(seeds))
    allowed = 3 * spread + 1 / len(source.test)
    row: dict[str, Any] = {"problem": problem, "scale": scale, "offset": offset, "runs": len(seeds)}
    return [
        {
            **row,
            "printed": printed[0],
            "accuracy": mean,
            "std": std,
            "difference": mean - printed[0],
            "allowed": allowed,
            "excess": abs(mean - printed[0]) / allowed,
        }
    ]


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
