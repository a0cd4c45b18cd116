"""Statistics of batch normalization, as trained and recomputed."""

import pytest
import torch

from normlab.data import dataset
from normlab.measurements import borders
from normlab.measurements.borders import recomputed_statistics

DATA = {"name": "digits", "limit": 200, "batch_size": 32}
ARCHS = [{"name": "cnn", "width": 4, "internal_norm": "batch"}]


def test_recomputed_statistics_are_those_of_the_training_images(monkeypatch):
    kept = []
    trained = borders._trained

    def keep(*arguments):
        kept.append(trained(*arguments))
        return kept[-1]

    monkeypatch.setattr(borders, "_trained", keep)
    (row,) = recomputed_statistics(data=DATA, archs=ARCHS, norms=["unit"], epochs=2, seeds=[0])
    (network,) = kept
    loaded = dataset(**DATA)
    convolution, normalization = network.body.layers[0], network.body.layers[1]
    with torch.no_grad():
        seen = convolution(network.norm(loaded.train.images))
        answers = network(loaded.test.images).argmax(1)
    torch.testing.assert_close(normalization.running_mean, seen.mean((0, 2, 3)), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(normalization.running_var, seen.var((0, 2, 3)), rtol=1e-3, atol=1e-5)
    assert row["recomputed"] == (answers == loaded.test.labels).double().mean().item()
    assert row["gain"] == row["recomputed"] - row["accuracy"]


def test_without_batch_normalization_there_is_nothing_to_gain():
    rows = recomputed_statistics(
        data=DATA, archs=[{"name": "cnn", "width": 4}], norms=["raw", "unit"], epochs=1, seeds=[0, 1]
    )
    assert [row["gain"] for row in rows] == [0.0] * 4
    assert {(row["norm"], row["seed"]) for row in rows} == {("raw", 0), ("raw", 1), ("unit", 0), ("unit", 1)}
    assert rows[0]["width"] == pytest.approx(4)
