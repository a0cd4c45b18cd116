"""``GROUP=CHOICE GROUP.KEY=VALUE KEY=VALUE`` in, text out: the commands beside the main one, which compose no run."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any, TypeVar

import yaml

from normlab.config import Section, check, choices, defaults, unknown_choice
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
        key, value = key_and_value(argument)
        group, _, option = key.partition(".")
        if group in groups:
            chosen.setdefault(group, {})[option] = value
        elif _is_list(schema, key):
            text = argument.partition("=")[2]
            if not text.strip("[] "):
                raise ConfigError(f"{key}=: nothing given; expected {key}=A,B,...")
            own[key] = [key_and_value(f"{key}={part}")[1] for part in text.strip("[]").split(",")]
        else:
            own[key] = value
    options = check(schema, own)
    for name in getattr(options, "norms", None) or ():
        if name not in choices("norm"):
            raise unknown_choice("norms", name, choices("norm"))
    if "" not in chosen.get(groups[0], {}):
        raise ConfigError(f"which {groups[0]}? Add {groups[0]}=NAME with NAME one of {', '.join(choices(groups[0]))}")
    for group, values in chosen.items():
        if "" not in values:
            raise ConfigError(f"which {group}? {group}.{next(iter(values))} is given, but not {group}=NAME")
    return options, {group: {**defaults(group, str(values.pop(""))), **values} for group, values in chosen.items()}


def key_and_value(argument: str) -> tuple[str, Any]:
    """The two sides of KEY=VALUE, the value as YAML reads it.

    >>> key_and_value("limit=50")
    ('limit', 50)

    Raises:
        ConfigError: for what is no such pair.
    """
    key, equals, text = argument.lstrip("+").partition("=")
    if not equals:
        raise ConfigError(f"{argument}: expected KEY=VALUE, as in: data=digits")
    try:
        return key, yaml.safe_load(text)
    except yaml.YAMLError:
        raise ConfigError(f"{argument}: not a value") from None


def _is_list(schema: type[Section], key: str) -> bool:
    field = schema.model_fields.get(key)
    return field is not None and "tuple" in str(field.annotation)
