"""The cost of batch normalization's running averages at evaluation: claims BO1 to BO5.

After a convolution, batch normalization trains equally under any scale and offset of the inputs, because it uses the
mean and the variance of the batch. At evaluation it uses running averages (Ioffe & Szegedy 2015, section 3.1), which
lag behind the weights. The cost of the lag grows with the ratio of the inputs' offset to their deviation.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from normlab.archs import Network
from normlab.config import PositiveFloat, PositiveInt, compose, data_label
from normlab.data import dataset
from normlab.measurements.registry import measurement

BATCH = 500  # images at once; does not change the result


@measurement
def recomputed_statistics(
    *,
    data: dict[str, Any],
    archs: Sequence[dict[str, Any]],
    norms: Sequence[str],
    rate: PositiveFloat = 0.01,
    epochs: PositiveInt = 10,
    seeds: Sequence[int] = (0, 1, 2, 3, 4),
) -> list[dict[str, Any]]:
    """Test accuracy of trained networks with their running averages, and with statistics of the training images.

    Columns: ``data``, ``arch``, ``norm``, ``seed``, the options of the architecture by name; ``accuracy``, as trained;
    ``recomputed``, with the mean and variance of all training images under the last weights
    (:func:`torch.optim.swa_utils.update_bn`); ``gain``, ``recomputed`` minus ``accuracy``.

    Args:
        data: options of :func:`normlab.dataset`.
        archs: name and options of each network; with batch normalization inside.
        norms: schemes.
        rate: learning rate of SGD with momentum.
        epochs: of training.
        seeds: of weights and batches.

    Raises:
        DataError: if the images are missing.
    """
    rows = []
    loaded = dataset(**data)
    for arch in archs:
        for norm in norms:
            for seed in seeds:
                network = _trained(data, arch, norm, rate, epochs, seed)
                before = _accuracy(network, loaded.test.images, loaded.test.labels)
                torch.optim.swa_utils.update_bn(loaded.train.images.split(BATCH), network)
                after = _accuracy(network, loaded.test.images, loaded.test.labels)
                about = {"data": data_label(data), "arch": arch["name"], "norm": norm, "seed": seed}
                about |= {key: value for key, value in arch.items() if key != "name"}
                rows.append({**about, "accuracy": before, "recomputed": after, "gain": after - before})
    return rows


def _accuracy(network: Network, images: Tensor, labels: Tensor) -> float:
    network.eval()
    with torch.no_grad():
        answers = torch.cat([network(part).argmax(1) for part in images.split(BATCH)])
    return (answers == labels).double().mean().item()


def _trained(data: dict[str, Any], arch: dict[str, Any], norm: str, rate: float, epochs: int, seed: int) -> Network:
    """The trained network of a run, whose folder is temporary."""
    from normlab.run import run  # here, because it imports Lightning, which most measurements do not need
    from normlab.training import load

    config = compose(
        "borders",
        seed,
        data=data,
        norm=norm,
        arch=arch,
        optim={"name": "sgd", "lr": rate},
        trainer={"name": "default", "max_epochs": epochs, "targets": []},
    )
    with tempfile.TemporaryDirectory() as folder:
        result = run(config.model_copy(update={"runs": Path(folder)}), progress="none")
        return load(Path(result["path"]) / "checkpoint.ckpt")
