"""Paths and single marks on the command line: plain text, which neither YAML nor Hydra nor OmegaConf interprets."""

from __future__ import annotations

import os
import re

from normlab.errors import ConfigError

# One value of a sweep: in quotes, which are closed before a comma or at the end, or up to the next comma.
ELEMENT = re.compile(r"""[ ]*(".*?"|'.*?'|[^,]*?)[ ]*(?:,|$)""", re.DOTALL)

MARK = re.compile(r"""[^\w'"\[\]{}~]|\\t""")  # one sign that is no letter, quote or bracket; a tab also as \t


def is_mark(text: str) -> bool:
    r"""Whether a value is a mark between fields or of decimals, as in data.delimiter=';', whose quotes the shell takes.

    >>> is_mark(";"), is_mark(","), is_mark("|"), is_mark(r"\t"), is_mark("~"), is_mark("7")
    (True, True, True, True, False, False)
    """
    return MARK.fullmatch(text) is not None


def read_path(key: str, text: str) -> str | None:
    """The path that a user wrote as the value of a key.

    ``null`` is no path, and ``~`` at the start is the home folder. Quotes around the whole keep the text between them
    as it is.

    >>> read_path("data.root", "0123"), read_path("data.root", "a b #2"), read_path("weights", "null")
    ('0123', 'a b #2', None)
    >>> read_path("data.root", "'null'"), read_path("data.root", "it's")
    ('null', "it's")

    Args:
        key: for the message.
        text: the value.

    Raises:
        ConfigError: for an empty text.
    """
    if text == "null":
        return None
    in_quotes = len(text) > 1 and text[0] == text[-1] and text[0] in "\"'"
    path = text[1:-1] if in_quotes else os.path.expanduser(text)
    if not path:
        raise ConfigError(f"{key}=: expected a path, or null for none; . is the current folder")
    return path


def read_paths(key: str, text: str) -> list[str | None]:
    """The paths of a sweep, with commas between them; a path with a comma in it stands in quotes.

    >>> read_paths("data.root", "A, B,'a,b'")
    ['A', 'B', 'a,b']

    Raises:
        ConfigError: for an empty path.
    """
    if "," not in text:
        return [read_path(key, text)]
    paths, place, more = [], 0, True
    while more:
        element = ELEMENT.match(text, place)
        assert element is not None  # the third alternative matches anything up to a comma
        paths.append(read_path(key, element[1]))
        place, more = element.end(), element.end() > element.end(1) and text[element.end() - 1] == ","
    return paths
