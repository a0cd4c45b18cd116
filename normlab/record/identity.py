"""The identity of a run: the names of its choices, options that differ from defaults, seed, and content of the data.

Renaming or moving a class, or adding a key with a default, changes no older fingerprint:

- A choice counts by its NAME in ``configs/``, never by the Python address behind it.
- An option counts only if it differs from a *versioned* default. The defaults of version 2 are in ``defaults.json``,
  which is never edited: after a change of a default in ``configs/``, runs with the new value differ from the file, and
  get another fingerprint than the older runs. A key that is not in the file, because it was added later or belongs to
  a user's own scheme, counts if it differs from the default in the signature of its class or function.
- Data count by their content (:attr:`normlab.data.Source.content`), initial weights by the bytes of their file. Paths
  are not part of the fingerprint.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from normlab.config import Config, Section, is_place, schema_of
from normlab.errors import CheckpointError, ConfigError

VERSION = 2  # of the defaults, part of every fingerprint
DEFAULTS = Path(__file__).with_name("defaults.json")
GROUPS = ("data", "augment", "norm", "arch", "optim", "trainer")

# Keys that decide where or how fast a run is computed, but not its result.
OPERATIONAL = {
    "": ("logger", "study", "runs", "rerun"),
    "data": ("workers", "cache"),
    "trainer": ("accelerator", "progress", "threads", "checkpoint", "resume"),
}


def fingerprint(config: Config, content: str | None = None) -> str:
    """Hash of everything that decides the result of a run; 12 hexadecimal digits.

    Args:
        config: of the run.
        content: of its data, if known; None: the data are opened and hashed.

    Raises:
        CheckpointError: if the file of initial weights is missing.
        DataError: if the data are missing.
    """
    content = content or open_content(config)
    parts: dict[str, Any] = {"version": VERSION, "data_content": content, **differences(config.plain(), places=False)}
    if config.weights:
        if not config.weights.is_file():
            raise CheckpointError(f"weights={config.weights}: no such checkpoint")
        parts["weights"] = hashlib.blake2b(config.weights.read_bytes(), digest_size=8).hexdigest()
    return hashlib.blake2b(json.dumps(parts, sort_keys=True).encode(), digest_size=6).hexdigest()


def open_content(config: Config) -> str:
    """The content of a run's data, which are opened, and hashed unless the hash is cached.

    Raises:
        DataError: if the data are missing.
    """
    from normlab.data import open_source  # here, because it imports PyTorch

    return open_source(config.data).content


def differences(plain: Mapping[str, Any], places: bool = True) -> dict[str, Any]:
    """The names of a run's choices, and its options that differ from the versioned defaults.

    A study's committed records store this part of a configuration, and it decides whether a record belongs to a study.

    >>> differences({"norm": {"name": "centered", "mean": 0.4, "std": 1.0}, "seed": 3, "runs": "somewhere"})
    {'norm': {'name': 'centered', 'mean': 0.4}, 'seed': 3}

    Args:
        plain: the result of :meth:`normlab.config.Config.plain`, or its differences.
        places: include paths, by their last names only.
    """
    result: dict[str, Any] = {}
    for group, value in plain.items():
        if group in GROUPS:
            result[group] = _of_group(group, value, places)
        elif group == "weights":
            if value and places:
                result[group] = _last_name(value)
        elif group not in OPERATIONAL[""]:
            result[group] = value
    return result


def _of_group(group: str, part: Mapping[str, Any], places: bool) -> dict[str, Any]:
    name = part["name"]
    known, schema = versioned_defaults().get(group, {}).get(name, {}), _schema(group, name)
    result = {"name": name}
    for key, value in part.items():
        if key in ("name", "_target_", *OPERATIONAL.get(group, ())):
            continue
        if value == (known[key] if key in known else _signature_default(schema, key)):
            continue
        if schema is not None and is_place(schema, key):
            if places:
                result[key] = _last_name(value)
        else:
            result[key] = value
    return result


def with_defaults(stored: Mapping[str, Any]) -> dict[str, Any]:
    """The whole configuration of a run, from its differences from the defaults.

    Keys that were added after the versioned defaults get the defaults of their signatures, which were in effect. Keys
    that are gone since, and had their defaults, are left out.
    """
    result: dict[str, Any] = {"study": "default", "weights": None}
    for group, value in stored.items():
        if group not in GROUPS:
            result[group] = value
            continue
        schema = _schema(group, value["name"])
        later = {} if schema is None else {key: _signature_default(schema, key) for key in schema.model_fields}
        later = {key: default for key, default in later.items() if default is not _NO_DEFAULT and key != "name"}
        known = versioned_defaults().get(group, {}).get(value["name"], {})
        if schema is not None:
            known = {key: default for key, default in known.items() if key in schema.model_fields}
        result[group] = {"name": value["name"], **later, **known, **value}
    return result


@cache
def versioned_defaults() -> dict[str, dict[str, dict[str, Any]]]:
    """The options of every choice of every group as they were when version 2 of the fingerprint began."""
    return json.loads(DEFAULTS.read_text())


@cache
def _schema(group: str, name: str) -> type[Section] | None:
    try:
        return schema_of(group, name)
    except ConfigError:  # a choice that no longer exists, or whose library is not installed
        return None


_NO_DEFAULT = object()


def _signature_default(schema: type[Section] | None, key: str) -> Any:
    """The default of an option in JSON types; ``_NO_DEFAULT``, which equals no value, if there is none."""
    field = schema.model_fields.get(key) if schema else None
    if field is None or field.is_required():
        return _NO_DEFAULT
    default = field.get_default(call_default_factory=True)
    return list(default) if isinstance(default, tuple) else default


def _last_name(value: Any) -> Any:
    if isinstance(value, list):
        return [_last_name(part) for part in value]
    return Path(value).name if isinstance(value, str | Path) else value
