"""``GROUP=CHOICE GROUP.KEY=VALUE KEY=VALUE`` in, text out: the commands beside the main one, which compose no run."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any, TypeVar

import yaml

from normlab.commandline.paths import read_path
from normlab.config import Section, check, choices, defaults, is_path, is_path_key, unknown_choice
from normlab.errors import ConfigError

S = TypeVar("S", bound=Section)


def answer_help(arguments: Sequence[str], text: str | None) -> None:
    """Print a command's docstring and end with status 0, where it is asked for ``--help`` or ``-h``."""
    if {"--help", "-h"} & set(arguments):
        write(str(text).strip())
        sys.exit()


def write(text: str) -> None:
    """Print, to a reader who may leave early."""
    try:
        print(text, flush=True)
    except BrokenPipeError:  # head has seen enough; Python would complain again when it closes the output
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def parsed(arguments: Sequence[str], schema: type[S], groups: Sequence[str] = ("data",)) -> tuple[S, dict[str, Any]]:
    """The command's own options, and the values of each group.

    Paths are plain text, as in the main command; other values are read as YAML.

    Args:
        arguments: of the command line.
        schema: of the options; a tuple in it takes ``key=a,b``. ``norms``, if it has it, must name schemes.
        groups: whose choices and keys the command takes; the first must be chosen, another is left out if it is not.

    Raises:
        ConfigError: for an unknown key or a bad value.
    """
    own: dict[str, Any] = {}
    chosen: dict[str, dict[str, Any]] = {}
    for argument in arguments:
        key, text = key_and_text(argument)
        group, _, option = key.partition(".")
        if group in groups:
            chosen.setdefault(group, {})[option] = read_path(key, text) if is_path_key(key) else _value(key, text)
        else:
            own[key] = _own_value(schema, key, text)
    options = check(schema, own)
    for name in getattr(options, "norms", None) or ():
        if name not in choices("norm"):
            raise unknown_choice("norms", name, choices("norm"))
    for group in groups[:1]:
        if "" not in chosen.get(group, {}):
            raise ConfigError(f"which {group}? Add {group}=NAME with NAME one of {', '.join(choices(group))}")
    for group, values in chosen.items():
        if "" not in values:
            raise ConfigError(f"which {group}? {group}.{next(iter(values))} is given, but not {group}=NAME")
    return options, {group: {**defaults(group, str(values.pop(""))), **values} for group, values in chosen.items()}


def key_and_text(argument: str) -> tuple[str, str]:
    """The two sides of KEY=VALUE.

    >>> key_and_text("+limit=50")
    ('limit', '50')

    Raises:
        ConfigError: for what is no such pair.
    """
    key, equals, text = argument.lstrip("+").partition("=")
    if not equals:
        raise ConfigError(f"{argument}: expected KEY=VALUE, as in: data=digits")
    return key, text


def _own_value(schema: type[Section], key: str, text: str) -> Any:
    """The value of one of the command's own options."""
    annotation = schema.model_fields[key].annotation if key in schema.model_fields else None
    if is_path(annotation):
        return read_path(key, text)
    if "tuple" not in str(annotation):
        return _value(key, text)
    if not text.strip("[] "):
        raise ConfigError(f"{key}=: nothing given; expected {key}=A,B,...")
    return [_value(key, part) for part in text.strip("[]").split(",")]


def _value(key: str, text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        raise ConfigError(f"{key}={text}: not a value") from None
