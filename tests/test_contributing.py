"""What CONTRIBUTING.md tells a newcomer to do, done in a copy of the checkout."""

import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.campaign  # four starts of a process
@pytest.mark.slow
def test_the_scheme_of_the_guide_runs(tmp_path):
    if not (ROOT / "CONTRIBUTING.md").is_file():
        pytest.skip("an installed package has no guide")
    guide = (ROOT / "CONTRIBUTING.md").read_text()
    for folder in ("normlab", "configs", "experiments", "hydra_plugins"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    code, choice = (re.search(rf"    ```{kind}\n(.*?)    ```", guide, re.DOTALL)[1] for kind in ("python", "yaml"))
    (tmp_path / "normlab/norms/halved.py").write_text(textwrap.dedent(code))
    (tmp_path / "configs/norm/halved.yaml").write_text(textwrap.dedent(choice))

    def call(*overrides):
        command = [sys.executable, "-m", "normlab", "+norm=halved", "data=digits", "arch=linear", *overrides]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)

    done = call("trainer.max_epochs=1", "logger=none")
    assert done.returncode == 0, done.stderr
    assert "halved" in done.stdout
    wrong = call("norm.limit=-1")
    assert wrong.returncode == 2
    assert "norm.limit" in wrong.stderr
    # A type without its import is one line, too.
    code = textwrap.dedent(code).replace("from normlab.config import PositiveFloat\n", "")
    (tmp_path / "normlab/norms/halved.py").write_text(code)
    broken = call()
    assert broken.returncode == 2
    assert broken.stderr.strip().splitlines()[-1] == (
        "normlab: normlab.norms.halved.Halved: name 'PositiveFloat' is not defined: its types need an import"
    )
