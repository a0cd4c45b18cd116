import os
import sys
from importlib import import_module

import pytest
import torch
from hypothesis import HealthCheck, settings
from threadpoolctl import threadpool_limits

from normlab import __main__ as command
from normlab import inspect
from normlab.config import CONFIGS, GROUPS, choices, defaults, parse
from normlab.data import dataset

# pytest runs as many workers as there are cores. Where threads outnumber free cores, each operation of torch ends in
# OpenMP threads that spin while they wait for one that has no core: measured on two busy cores, a Hessian-vector
# product takes 200 ms with two threads, 10 ms with one or with OMP_WAIT_POLICY=PASSIVE. So each worker has one thread:
# in torch, in the linear algebra that is loaded already, and, by the environment, in what is loaded later and in the
# processes that tests start.
torch.set_num_threads(1)
threadpool_limits(1)
os.environ["OMP_NUM_THREADS"] = "1"

# How long an example takes is the machine's affair.
settings.register_profile("normlab", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("normlab")

# Schemes that take images; a difference in time is for series alone.
OF_IMAGES = [name for name in choices("norm") if name != "difference"]


@pytest.fixture(scope="session")
def photos():
    """Real photographs, uint8 [6000, 3, 32, 32] for training."""
    return dataset("photos")


@pytest.fixture(scope="session")
def random_images():
    """Uniform noise with every kind of degenerate image among it, uint8 [64, 3, 12, 12]."""
    images = torch.randint(0, 256, (64, 3, 12, 12), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    images[0], images[1], images[2] = 0, 255, 7
    images[3, 1] = 0
    return images


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty working directory, with a cache of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NORMLAB_CACHE", str(tmp_path / "cache"))
    return tmp_path


@pytest.fixture
def look(here, monkeypatch, capsys):
    """Run `python -m normlab.inspect` in this process: its status and what it printed."""

    def run(*arguments):
        try:
            inspect.main(list(arguments))
            status = 0
        except SystemExit as end:
            status = end.code
        return status, *capsys.readouterr()

    return run


@pytest.fixture
def call(here, monkeypatch, capsys):
    """Run the command in this process, in an empty folder: its status and what it printed."""
    monkeypatch.delenv("NORMLAB_DATA", raising=False)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["normlab", *arguments])
        try:
            command.main()
            status = 0
        except SystemExit as end:
            status = end.code
        return status, *capsys.readouterr()

    return run


def configuration(tmp_path, **changes):
    """A checked configuration: `arch="vit"` chooses, `**{"optim.lr": 0.1}` changes a key."""
    names = {"data": "digits", "augment": "none", "arch": "cnn", "optim": "sgd", "trainer": "default", "logger": "none"}
    names["norm"] = "unit"
    plain = {key: value for key, value in changes.items() if "." not in key}
    values = {group: defaults(group, plain.pop(group, names[group])) for group in GROUPS}
    values["trainer"] |= {"progress": "none", "max_epochs": 2}
    for key, value in changes.items():
        if "." in key:
            group, name = key.split(".")
            values[group][name] = value
    return parse({**values, "seed": 0, "runs": tmp_path / "runs", **plain})


@pytest.fixture
def make(tmp_path):
    assert CONFIGS.is_dir()
    return lambda **changes: configuration(tmp_path, **changes)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """What is for the campaign is slow too: ``-m "not slow"`` takes the place of ``-m "not campaign"``."""
    for item in items:
        if item.get_closest_marker("campaign"):
            item.add_marker(pytest.mark.slow)


@pytest.fixture
def studies_in(monkeypatch):
    """Puts a folder in the place of experiments/ for the studies. The ledger and the findings keep theirs."""

    def put(folder):
        for module in (
            "anchors",
            "findings",
            "ledger",
            "plans",
        ):  # imported later, they would keep it
            import_module(f"normlab.report.{module}")
        monkeypatch.setattr("normlab.config.EXPERIMENTS", folder)

    return put
