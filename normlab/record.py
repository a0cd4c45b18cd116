"""The record of a run: one folder with record.json and curve.csv, the only source of every table."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import platform
import shutil
import subprocess
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from normlab.config import PACKAGE, Config
from normlab.errors import ConfigError, NormlabError

if TYPE_CHECKING:
    import pandas as pd

RECORD = "record.json"
DONE = ("finished", "diverged")

# Keys that change where or how fast a run is computed, but not its result.
OPERATIONAL = {
    "": ("logger", "study", "runs", "rerun"),
    "data": ("root", "stream", "memory_gb", "workers", "cache"),
    "trainer": ("accelerator", "progress", "threads", "checkpoint"),
}


def fingerprint(config: Config) -> str:
    """Hash of what determines the result of a run; 12 hexadecimal digits.

    Paths, logger, study and launcher are left out, so that a study can move to another machine. Of a data folder and
    of initial weights the name stays, without the path to it: other data is another run.
    """
    plain = config.plain()
    for group, keys in OPERATIONAL.items():
        part = plain[group] if group else plain
        for key in keys:
            if key == "root" and part.get(key):
                part[key] = Path(part[key]).name
            else:
                part.pop(key, None)
    if plain["weights"]:
        plain["weights"] = Path(plain["weights"]).parent.name
    return hashlib.blake2b(json.dumps(plain, sort_keys=True).encode(), digest_size=6).hexdigest()


def folder(config: Config) -> Path:
    """The folder of a run: its choices in words, and its fingerprint."""
    words = [config.data.name, config.arch.name, config.norm.name, config.optim.name, f"seed{config.seed}"]
    return config.runs / "-".join([*words, fingerprint(config)])


def existing(config: Config) -> dict[str, Any] | None:
    """The record of the same run, if it finished or diverged before."""
    try:
        record = read(folder(config))
    except (OSError, ValueError):
        return None
    return record if record.get("status") in DONE else None


def read(path: Path) -> dict[str, Any]:
    """The record in a folder; NaN and infinities come back as they were written."""
    return json.loads((path / RECORD).read_text())


def write(path: Path, record: dict[str, Any]) -> None:
    """Write a record so that it is there whole or not at all."""
    handle, temporary = tempfile.mkstemp(dir=path, suffix=".tmp")
    try:
        with os.fdopen(handle, "w") as file:
            json.dump(record, file, indent=2)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path / RECORD)
    except BaseException:
        os.unlink(temporary)
        raise


def require_writable(runs: Path) -> None:
    """Refuse a runs folder that cannot be written, before any work is done.

    Raises:
        ConfigError: with the reason.
    """
    try:
        runs.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=runs):
            pass
    except OSError as error:
        raise ConfigError(
            f"runs={runs}: cannot be written ({error.strerror}); choose another with runs=FOLDER"
        ) from None


@contextmanager
def opened(config: Config) -> Iterator[Path]:
    """The folder of a run, empty of an earlier try.

    A user's mistake that shows only now leaves no folder. Any other exception leaves a record with status ``failed``
    and its traceback.
    """
    path = folder(config)
    path.mkdir(parents=True, exist_ok=True)
    # An earlier record goes first, so that a run that is killed halfway does not show the old one's numbers.
    for name in (RECORD, "curve.csv", "checkpoint.ckpt", "traceback.txt"):
        (path / name).unlink(missing_ok=True)
    try:
        yield path
    except NormlabError:
        shutil.rmtree(path, ignore_errors=True)
        raise
    except Exception as error:
        (path / "traceback.txt").write_text(traceback.format_exc())
        last_line = traceback.format_exception_only(error)[-1].strip()
        write(path, describe(config) | {"status": "failed", "error": last_line, "metrics": {}})
        raise


def describe(config: Config) -> dict[str, Any]:
    """The part of a record that is known before the run."""
    return {
        "fingerprint": fingerprint(config),
        "status": None,
        "study": config.study,
        "norm": config.norm.name,
        "arch": config.arch.name,
        "data": config.data.name,
        "optim": config.optim.name,
        "lr": config.optim.lr,
        "seed": config.seed,
        "config": config.plain(),
        "provenance": provenance(),
    }


PACKAGES = ("normlab", "torch", "torchvision", "lightning", "hydra-core", "numpy", "scikit-learn", "scikit-image")


@functools.cache
def provenance() -> dict[str, Any]:
    """Commit, versions and machine; no host name."""
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = "not installed"
    commit = _git("rev-parse", "HEAD")
    return {
        "commit": commit,
        "dirty": bool(_git("status", "--porcelain", "--untracked-files=no")) if commit else None,
        "versions": versions,
        "processor": _processor(),
        "cores": os.cpu_count(),
    }


def _git(*arguments: str) -> str | None:
    """Answer of git about the checkout that this package lies in; None for an installed package."""
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


def records(path: str | Path = "runs") -> pd.DataFrame:
    """All records below a folder, a row a run.

    Columns: path (of the run's folder), fingerprint, status (finished, diverged or failed), study, norm, arch, data,
    optim, lr, seed, diverged_at (step); each metric by its name, with ``epochs_to.0.7`` and ``steps_to.0.7`` for a
    target (infinite if missed); ``normalized.mean`` and the like, of the training images as the network sees them;
    ``config.*``, the resolved configuration; ``provenance.*``; ``seconds.*``. A missing number is NaN.
    """
    import pandas as pd

    rows = []
    for file in sorted(Path(path).rglob(RECORD)):
        record = read(file.parent)
        metrics = record.pop("metrics", {})
        rows.append({"path": str(file.parent), **record, **metrics})
    return pd.json_normalize(rows)


def curves(path: str | Path = "runs") -> pd.DataFrame:
    """All curves below a folder, a row a measurement.

    Columns: path, fingerprint, study, norm, arch, data, optim, lr, seed of the run; then step, epoch, split, metric
    and value.
    """
    import pandas as pd

    keys = ("fingerprint", "study", "norm", "arch", "data", "optim", "lr", "seed")
    frames = []
    for file in sorted(Path(path).rglob(RECORD)):
        curve, record = file.parent / "curve.csv", read(file.parent)
        if curve.is_file():
            frame = pd.read_csv(curve, float_precision="round_trip")
            for place, key in enumerate(keys):
                frame.insert(place, key, record[key])
            frame.insert(0, "path", str(file.parent))
            frames.append(frame)
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=["path", *keys])
