"""trainer.compile=true: the same training, compiled; and one line where it cannot be compiled.

The backends of these tests write no C++, which would take minutes; docs/running.md says what was seen of the usual one.
"""

import functools
from pathlib import Path

import numpy as np
import pytest
import torch

from normlab import record
from normlab.errors import ConfigError
from normlab.record import Curve
from normlab.run import run

OPTIONS = {"arch": "linear", "norm": "dataset", "trainer.precision": "64", "data.limit": 120, "data.batch_size": 40}


@pytest.fixture(autouse=True)
def fresh():
    torch._dynamo.reset()


def losses(result):
    return [row.value for row in Curve.read(Path(result["path"]) / "curve.csv") if row.metric == "loss"]


@pytest.mark.slow
def test_a_compiled_network_trains_as_any_other(make, monkeypatch):
    graphs = []

    def counted(graph, inputs):
        graphs.append(graph)
        return graph

    plain = run(make(**OPTIONS))
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend=counted))
    compiled = run(make(**OPTIONS, **{"trainer.compile": True}))
    assert graphs
    np.testing.assert_allclose(losses(compiled), losses(plain), rtol=1e-9)
    assert plain["fingerprint"] != compiled["fingerprint"]  # its rounding differs


def test_a_network_that_cannot_be_compiled_ends_with_one_line(make, monkeypatch):
    def broken(graph, inputs):
        raise RuntimeError("no C++ compiler")

    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend=broken))
    config = make(**OPTIONS, **{"trainer.compile": True})
    with pytest.raises(ConfigError, match="the network is not compiled here: no C"):
        run(config)
    assert not record.folder(config).exists()
