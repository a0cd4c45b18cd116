"""What a command imports before it does its work: nothing that it does not use."""

import os
import subprocess
import sys

import pytest

HEAVY = {"matplotlib", "pandas", "scipy.signal", "scipy.stats", "sklearn", "skimage", "timm", "torchvision"}
HEAVY |= {"transformers"}
LATER = {"torch", "pytorch_lightning", "wandb"}
RUN = "from normlab.__main__ import main; sys.argv[1:] = {arguments!r}; main()"
COMMAND = "import normlab.{name} as command; command.main({arguments!r})"


def imported(code, folder):
    """Names of the modules that a fresh process has imported at the end of this code."""
    report = f"import sys\ntry:\n    {code}\nexcept SystemExit as end:\n    assert not end.code\n"
    report += "sys.__stderr__.write('\\nIMPORTED ' + ' '.join(sys.modules))"
    environment = {**os.environ, "NORMLAB_CACHE": str(folder / "cache"), "CUDA_VISIBLE_DEVICES": ""}
    line = [sys.executable, "-c", report]
    answer = subprocess.run(line, cwd=folder, env=environment, capture_output=True, text=True, check=True, timeout=300)
    return set(answer.stderr.rpartition("IMPORTED ")[2].split())


def test_the_package_imports_nothing_heavy(tmp_path):
    assert not imported("import normlab", tmp_path) & (
        HEAVY | {"torch", "numpy", "hydra", "pytorch_lightning", "wandb"}
    )


@pytest.mark.slow
def test_a_run_imports_lightning_and_none_of_its_metrics(tmp_path):
    arguments = ["+norm=unit", "data=digits", "arch=linear", "trainer.max_epochs=1", "logger=none"]
    names = imported(RUN.format(arguments=arguments), tmp_path)
    assert list(tmp_path.glob("runs/*/record.json"))
    assert {"torch", "pytorch_lightning"} <= names
    assert not names & (HEAVY | {"wandb", "torchmetrics.functional", "torchmetrics.classification"})


@pytest.mark.parametrize("name", ["inspect", "tables"])
def test_help_needs_no_pytorch(tmp_path, name):
    names = imported(COMMAND.format(name=name, arguments=["--help"]), tmp_path)
    assert not names & (HEAVY | LATER)


def test_the_help_of_the_main_command_needs_no_pytorch(tmp_path):
    assert not imported(RUN.format(arguments=["--help"]), tmp_path) & (HEAVY | LATER)


METRICS = """
import sys
from normlab.process import import_lightning
import_lightning()
assert "torchmetrics.classification" not in sys.modules
import pytorch_lightning, torch, torchmetrics
from torchmetrics.classification import MulticlassAccuracy
accuracy = torchmetrics.Accuracy(task="multiclass", num_classes=3, average="micro")
accuracy.update(torch.tensor([0, 1, 2, 2]), torch.tensor([0, 1, 1, 2]))
assert accuracy.compute() == 0.75
assert isinstance(accuracy, MulticlassAccuracy)
assert issubclass(MulticlassAccuracy, pytorch_lightning.core.module.Metric)  # which Lightning tests for in self.log
assert set(torchmetrics.__all__) <= set(vars(torchmetrics))
"""


@pytest.mark.campaign  # a process that imports everything
def test_the_metrics_are_there_for_whoever_asks():
    subprocess.run([sys.executable, "-c", METRICS], check=True, timeout=300)


ANOTHER_RELEASE = """
import importlib, sys
from normlab import process
original = importlib.import_module
def import_module(name, package=None):
    if name == "torchmetrics.metric":
        raise ImportError(name)
    return original(name, package)
process.importlib.import_module = import_module
process.import_lightning()
assert "torchmetrics.classification" in sys.modules
"""


@pytest.mark.campaign  # a process that imports everything
def test_lightning_is_imported_as_always_where_torchmetrics_is_made_in_another_way():
    subprocess.run([sys.executable, "-c", ANOTHER_RELEASE], check=True, timeout=300)
