"""The origin of a record: commit, versions, machine."""

from __future__ import annotations

import functools
import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

from normlab.config import PACKAGE

PACKAGES = (
    "normlab",
    "torch",
    "torchvision",
    "lightning",
    "hydra-core",
    "numpy",
    "scikit-learn",
    "scikit-image",
    "pillow",
)
# Installed under another name, with the same code; records keep the first name, so that they can be compared.
INSTALLED_AS = {"lightning": "pytorch-lightning"}


@functools.cache
def provenance() -> dict[str, Any]:
    """Commit, versions and machine; no host name."""
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(INSTALLED_AS.get(name, name))
        except metadata.PackageNotFoundError:
            versions[name] = "not installed"
    commit = _git("rev-parse", "HEAD")
    if commit:  # the version of a checkout counts commits up to its installation, which may be long ago
        versions["normlab"] = versions["normlab"].partition(".dev")[0]
    # The files that decide a run; a new scheme that git does not track yet counts, too.
    changes = (
        _git("status", "--porcelain", "--", "configs", "experiments", "hydra_plugins", "normlab") if commit else None
    )
    return {
        "commit": commit,
        "dirty": bool(changes) if commit else None,
        "versions": versions,
        "processor": _processor(),
        "cores": os.cpu_count(),
    }


def _git(*arguments: str) -> str | None:
    """Output of git in the checkout of this package; None if the package is installed without a checkout."""
    root = PACKAGE.parent
    if not (root / ".git").exists():
        return None
    try:
        answer = subprocess.run(["git", "-C", root, *arguments], capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip()


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
