"""The folder of a run: record.json and curve.csv, the only source of every table."""

from __future__ import annotations

import json
import logging
import os
import shutil
import tempfile
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from pydantic_core import from_json

from normlab.config import Config, is_place, schema_of
from normlab.errors import ConfigError, NormlabError, RunningError, lack
from normlab.files import write_whole
from normlab.record.identity import GROUPS, OPERATIONAL, fingerprint, open_content
from normlab.record.origin import provenance
from normlab.record.schema import SCHEMA, Record, upgrade

log = logging.getLogger(__name__)

RECORD, CURVE, CHECKPOINT = "record.json", "curve.csv", "checkpoint.ckpt"
STATE = "state.ckpt"  # of a training in progress, which another process can continue
PARTIAL, EARLIER = ".partial", ".earlier"
DONE = ("finished", "diverged")
NEEDED = {"fingerprint": str, "config": dict, "metrics": dict, "seed": int, "norm": str, "arch": str, "data": str}


def folder(config: Config, content: str | None = None) -> Path:
    """The folder of a run, named by its choices and its fingerprint.

    Args:
        config: of the run.
        content: of its data, if known; see :func:`normlab.record.fingerprint`.
    """
    words = [config.data.name, config.arch.name, config.norm.name, config.optim.name, f"seed{config.seed}"]
    return config.runs / "-".join([*words, fingerprint(config, content)])


def existing(config: Config, content: str | None = None) -> dict[str, Any] | None:
    """The record of this run, if it finished or diverged before; else None.

    Raises:
        ConfigError: if the record has the same fingerprint but other options, because a default has changed since.
    """
    place = folder(config, content)
    try:
        record = read(place)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, NormlabError) as error:
        log.warning("%s: %s is damaged (%s), so the run counts as missing", place, RECORD, error)
        return None
    if record.get("status") not in DONE:
        return None
    _require_agreement(record["config"], config.plain(), place)
    return record


def _require_agreement(stored: Mapping[str, Any], now: Mapping[str, Any], place: Path) -> None:
    """Refuse a record with another value of an option that the fingerprint left out as a default of a signature."""
    for group in GROUPS:
        left_out = {"_target_", *OPERATIONAL.get(group, ())}
        schema = schema_of(group, now[group]["name"], now[group].get("_target_"))
        for key in (stored[group].keys() & now[group].keys()) - left_out:
            if stored[group][key] != now[group][key] and not is_place(schema, key):
                raise ConfigError(
                    f"{place} was made with {group}.{key}={stored[group][key]}, not {now[group][key]}: a default has "
                    f"changed since. Choose the value with {group}.{key}=VALUE, or run it again with rerun=true"
                )


def read(path: Path | str) -> dict[str, Any]:
    """The record in a folder, with NaN and infinities.

    Raises:
        OSError: if there is no record.
        ValueError: if the record is damaged.
        NormlabError: if a newer release wrote the record.
    """
    number = os.open(f"{path}/{RECORD}", os.O_RDONLY)  # over many runs, pathlib takes longer than the parser
    try:
        stored = _parsed(os.read(number, os.fstat(number).st_size))
    finally:
        os.close(number)
    if not isinstance(stored, dict) or not {"fingerprint", "status", "config"} <= stored.keys():
        raise ValueError("not the record of a run")
    stored = upgrade(stored)
    if missing := [key for key, kinds in NEEDED.items() if not isinstance(stored.get(key), kinds)]:
        raise ValueError(f"not the record of a run: {missing[0]} is missing or of another type")
    if stored["status"] in DONE and "test_accuracy" not in stored["metrics"]:
        raise ValueError(f"{stored['status']}, but without metrics")
    return stored


def _parsed(content: bytes) -> Any:
    try:  # a quarter of json's time, but it refuses half of a surrogate pair, as in file names
        return from_json(content)
    except ValueError:
        pass
    try:
        return json.loads(content)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def read_all(path: Path) -> list[dict[str, Any]]:
    """All records below a folder, each with its folder as ``path``; a damaged record is left out, with a warning."""
    return list(read_each(path))


def read_each(path: Path) -> Iterator[dict[str, Any]]:
    """The same one by one, for more records than one wants to hold at once."""
    for place in find(path):
        try:
            yield {"path": place, **read(place)}
        except (OSError, ValueError, NormlabError) as error:
            log.warning("%s: left out, its %s cannot be read (%s)", place, RECORD, error)


def write(path: Path, record: Mapping[str, Any]) -> None:
    """Check a record and write it whole or not at all.

    Raises:
        ValueError: if it does not match :class:`normlab.record.Record`.
    """
    write_whole(path / RECORD, json.dumps(Record.model_validate(record).plain(), indent=2))


def require_writable(folder: Path, option: str = "runs") -> None:
    """Refuse a folder that cannot be written, before any work is done.

    Args:
        folder: created if it does not exist.
        option: the option that named the folder, for the message.

    Raises:
        ConfigError: with the reason.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ConfigError(
            f"{option}={folder}: cannot be written ({error.strerror}); choose another folder with {option}=FOLDER"
        ) from None


@contextmanager
def opened(config: Config, again: bool = True, content: str | None = None) -> Iterator[Path]:
    """A temporary folder for a run in progress, which gets its final name when the run ends without an exception.

    An earlier record of the same run stays until then. After a user's mistake the temporary folder is deleted. After
    another exception it becomes a record with status ``failed`` and a traceback, unless a finished record is kept.

    Args:
        config: of the run.
        again: run it again if it has a record.
        content: of its data, if known.

    Raises:
        RunningError: if another process is running this run, or (unless ``again``) has finished it.
    """
    if content is None:
        content = open_content(config)
    final = folder(config, content)
    path = final.with_name(final.name + PARTIAL)
    with _alone(final):
        earlier = final.with_name(final.name + EARLIER)
        if earlier.exists() and not final.exists():  # a process was killed while it replaced the folder
            earlier.rename(final)
        if not again and existing(config, content):
            raise RunningError(f"{final}: another process has made this run")
        if not (config.trainer.resume and (path / STATE).is_file()):
            shutil.rmtree(path, ignore_errors=True)  # left by a run that was killed
        spare = [os.open(os.devnull, os.O_RDONLY) for _ in range(3)]  # to delete folders where no more may be opened
        path.mkdir(parents=True, exist_ok=True)
        try:
            yield path
            _close(spare)
        except NormlabError:
            _close(spare)
            shutil.rmtree(path, ignore_errors=True)
            raise
        except Exception as error:
            _close(spare)
            _fail(path, final, config, content, error)
            raise
        except BaseException:  # Ctrl-C or SIGTERM
            _close(spare)
            if not (config.trainer.resume and (path / STATE).is_file()):
                shutil.rmtree(path, ignore_errors=True)
            raise
        (path / STATE).unlink(missing_ok=True)
        _replace(path, final)


def _close(numbers: list[int]) -> None:
    while numbers:
        os.close(numbers.pop())


def _fail(path: Path, final: Path, config: Config, content: str, error: Exception) -> None:
    """Make a record of a failed run, with its traceback; delete its folder if a result is kept or the disk is full."""
    if _has_result(final):
        shutil.rmtree(path, ignore_errors=True)
        return
    for large in path.glob("*.ckpt"):  # half-written, perhaps, on a disk that is full
        large.unlink(missing_ok=True)
    last_line = traceback.format_exception_only(error)[-1].strip()
    failed = describe(config, content) | {"status": "failed", "error": last_line, "metrics": {}}
    try:
        (path / "traceback.txt").write_text("".join(traceback.format_exception(error)))
        write(path, failed)
        _replace(path, final)
    except OSError as second:
        shutil.rmtree(path, ignore_errors=True)
        log.warning("%s: no record of the failure (%s)", final, lack(second) or second)


def _has_result(place: Path) -> bool:
    """Whether a folder has the record of a run that finished or diverged, whatever its options were."""
    try:
        return read(place)["status"] in DONE
    except (OSError, ValueError, NormlabError):
        return False


@contextmanager
def _alone(final: Path) -> Iterator[None]:
    """Keep two processes from running the same run at once; the lock of a killed process is released."""
    locks = final.parent / ".locks"
    locks.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(locks / final.name, timeout=0):
            yield
    except Timeout:
        raise RunningError(f"{final}: another process is running this run now") from None


def _replace(path: Path, final: Path) -> None:
    """Move a folder to its final name, replacing an earlier folder."""
    earlier = final.with_name(final.name + EARLIER)
    shutil.rmtree(earlier, ignore_errors=True)
    if final.exists():
        final.rename(earlier)
    path.rename(final)
    shutil.rmtree(earlier, ignore_errors=True)


def find(path: Path) -> list[str]:
    """Folders with records below a folder, without runs that are in progress or replaced; sorted.

    A run's folder holds no other run, so nothing below it is looked at.
    """
    found, left = list[str](), [str(path)] if path.is_dir() else []
    while left:
        place = left.pop()
        if os.path.isfile(f"{place}/{RECORD}"):
            if not place.endswith((PARTIAL, EARLIER)):
                found.append(place)
            continue
        with suppress(FileNotFoundError, PermissionError), os.scandir(place) as entries:  # a run may just be renamed
            left += [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
    return sorted(found, key=lambda place: place.split(os.sep))


def describe(config: Config, content: str | None = None) -> dict[str, Any]:
    """The part of a record that is known before the run."""
    if content is None:
        content = open_content(config)
    return {
        "schema": SCHEMA,
        "fingerprint": fingerprint(config, content),
        "study": config.study,
        "norm": config.norm.name,
        "arch": config.arch.name,
        "data": config.data.name,
        "optim": config.optim.name,
        "lr": config.optim.lr,
        "seed": config.seed,
        "data_content": content,
        "config": config.plain(),
        "provenance": provenance(),
    }
