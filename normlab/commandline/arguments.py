"""``GROUP=CHOICE GROUP.KEY=VALUE KEY=VALUE`` in, text out: the commands beside the main one, which compose no run."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import yaml

from normlab.commandline.paths import is_mark, read_path
from normlab.config import Section, check, choices, defaults, is_path, is_path_key, unknown_choice
from normlab.display import Display
from normlab.errors import ConfigError, fail, lack, reported
from normlab.process import prepare

S = TypeVar("S", bound=Section)


@contextmanager
def command(arguments: Sequence[str], text: str | None) -> Iterator[None]:
    """What every command does around its work: it answers ``--help``, and a mistake ends it as one line and a status.

    The status is 2 for a mistake of the user, 1 where the machine lacks something, 130 for Ctrl-C, 143 for SIGTERM.

    Args:
        arguments: of the command line.
        text: the command's docstring, which ``--help`` or ``-h`` prints.
    """
    prepare()
    with reported():
        answer_help(arguments, text)
        yield


def answer_help(arguments: Sequence[str], text: str | None) -> None:
    """Print a command's docstring and end with status 0, where it is asked for ``--help`` or ``-h``."""
    if {"--help", "-h"} & set(arguments):
        write(str(text).strip())
        sys.exit()


def write(text: str) -> None:
    """Print what the command was called for; if that cannot be written, the command fails, unless the reader left."""
    print(text, flush=True)
    if isinstance(sys.stdout, Display) and sys.stdout.error:
        error = sys.stdout.error
        fail(f"the output cannot be written: {lack(error) or error.strerror}", status=1)


def parsed(arguments: Sequence[str], schema: type[S], groups: Sequence[str] = ("data",)) -> tuple[S, dict[str, Any]]:
    """The command's own options, and the values of each group.

    Paths and single marks are plain text, as in the main command; other values are read as YAML.

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


def written(name: str) -> str:
    r"""A text as the value of a key that is no path: in double quotes unless it is one word of letters.

    >>> print(written("churn"), written("id no"), written("on"), written('5"'))
    churn "id no" "on" "5\""
    """
    is_word = re.fullmatch(r"[^\W\d]+", name) and isinstance(yaml.safe_load(name), str)
    if is_word and name.lower() not in ("nan", "inf"):  # numbers to Hydra
        return name
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'


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
    if is_mark(text):
        return text
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        raise ConfigError(f"{key}={text}: not a value") from None
