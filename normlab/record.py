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
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from normlab.config import PACKAGE, Config
from normlab.curve import COLUMNS
from normlab.errors import CheckpointError, ConfigError, NormlabError, RunningError

if TYPE_CHECKING:
    import pandas as pd

RECORD = "record.json"
PARTIAL, EARLIER = ".partial", ".earlier"
DONE = ("finished", "diverged")

# Keys that change where or how fast a run is computed, but not its result.
OPERATIONAL = {
    "": ("logger", "study", "runs", "rerun"),
    "data": ("root", "workers", "cache"),
    "trainer": ("accelerator", "progress", "threads", "checkpoint"),
}


def fingerprint(config: Config) -> str:
    """Hash of what determines the result of a run; 12 hexadecimal digits.

    Paths, logger, study and launcher are left out, so that a study can move to another machine. Instead of the path of
    an image folder the names and sizes of its files count, instead of that of initial weights their content.
    """
    plain = config.plain()
    for group, keys in OPERATIONAL.items():
        part = plain[group] if group else plain
        for key in keys:
            part.pop(key, None)
    root = getattr(config.data, "root", None)
    if config.data.name == "folder" and root is not None:
        from normlab.data.folder import find, listing  # here, because it brings PyTorch

        plain["data"]["files"] = listing(find(root, "data=folder"))
    if config.weights:
        if not config.weights.is_file():
            raise CheckpointError(f"weights={config.weights}: no such checkpoint")
        plain["weights"] = hashlib.blake2b(config.weights.read_bytes(), digest_size=8).hexdigest()
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


def require_writable(folder: Path, option: str = "runs") -> None:
    """Refuse a folder that cannot be written, before any work is done.

    Args:
        folder: made if it is not there.
        option: that it came from, for the message.

    Raises:
        ConfigError: with the reason.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ConfigError(
            f"{option}={folder}: cannot be written ({error.strerror}); choose another with {option}=FOLDER"
        ) from None


@contextmanager
def opened(config: Config, again: bool = True) -> Iterator[Path]:
    """A folder for a run that is in progress, which takes its final name when all went well.

    Until then an earlier record of the same run stays. A user's mistake leaves nothing behind; another exception leaves
    a record with status ``failed`` and its traceback, unless there is a better one.

    Args:
        config: of the run.
        again: make a run that has a record once more.

    Raises:
        RunningError: if another process is making this run, or has made it, where it is not to be made again.
    """
    final = folder(config)
    path = final.with_name(final.name + PARTIAL)
    with _alone(final):
        earlier = final.with_name(final.name + EARLIER)
        if earlier.exists() and not final.exists():  # killed while one folder took the other's place
            earlier.rename(final)
        if not again and existing(config):
            raise RunningError(f"{final}: another process has made this run")
        shutil.rmtree(path, ignore_errors=True)  # of a run that was killed
        path.mkdir(parents=True)
        try:
            yield path
        except NormlabError:
            shutil.rmtree(path, ignore_errors=True)
            raise
        except Exception as error:
            if existing(config) is None:
                (path / "traceback.txt").write_text(traceback.format_exc())
                last_line = traceback.format_exception_only(error)[-1].strip()
                write(path, describe(config) | {"status": "failed", "error": last_line, "metrics": {}})
                _replace(path, final)
            else:
                shutil.rmtree(path, ignore_errors=True)
            raise
        _replace(path, final)


@contextmanager
def _alone(final: Path) -> Iterator[None]:
    """Keep two processes from making the same run at once; the lock of a process that was killed falls with it."""
    locks = final.parent / ".locks"
    locks.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(locks / final.name, timeout=0):
            yield
    except Timeout:
        raise RunningError(f"{final}: another process is making this run") from None


def _replace(path: Path, final: Path) -> None:
    """Move a folder to its final name, in place of an earlier one."""
    earlier = final.with_name(final.name + EARLIER)
    shutil.rmtree(earlier, ignore_errors=True)
    if final.exists():
        final.rename(earlier)
    path.rename(final)
    shutil.rmtree(earlier, ignore_errors=True)


def _finished(path: Path) -> list[Path]:
    """Folders of records below a folder, less those of runs in progress or replaced."""
    return sorted(file.parent for file in path.rglob(RECORD) if not file.parent.name.endswith((PARTIAL, EARLIER)))


def describe(config: Config) -> dict[str, Any]:
    """The part of a record that is known before the run."""
    return {
        "fingerprint": fingerprint(config),
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
# Installed under another name, with the same code and numbers; records keep the first name, so that all compare.
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
    # What a run is made of; a scheme that is not tracked yet counts too.
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
    return frame({"path": str(folder), **read(folder)} for folder in _finished(Path(path)))


def frame(records: Iterable[dict[str, Any]]) -> pd.DataFrame:
    """Records as a table; see :func:`records` for its columns."""
    import pandas as pd

    rows = []
    for record in records:
        metrics = record.get("metrics", {})
        assert not metrics.keys() & record.keys()
        rows.append({**{key: value for key, value in record.items() if key != "metrics"}, **metrics})
    return pd.json_normalize(rows)


def curves(path: str | Path = "runs") -> pd.DataFrame:
    """All curves below a folder, a row a measurement.

    Columns: path, fingerprint, study, norm, arch, data, optim, lr, seed of the run; then step, epoch, split, metric
    and value.
    """
    import pandas as pd

    keys = ("fingerprint", "study", "norm", "arch", "data", "optim", "lr", "seed")
    frames = []
    for folder in _finished(Path(path)):
        curve, record = folder / "curve.csv", read(folder)
        if curve.is_file():
            frame = pd.read_csv(curve, float_precision="round_trip")
            for place, key in enumerate(keys):
                frame.insert(place, key, record[key])
            frame.insert(0, "path", str(folder))
            frames.append(frame)
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=["path", *keys, *COLUMNS])
