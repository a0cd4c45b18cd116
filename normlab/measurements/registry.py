"""Measurements by their names, which a study's file calls, whatever module the function is in."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from typing import Any, TypeVar

from normlab.config import unknown_choice
from normlab.errors import ConfigError

Rows = list[dict[str, Any]]  # each row: labels and numbers by column
F = TypeVar("F", bound=Callable[..., Rows])

_REGISTERED: dict[str, Callable[..., Rows]] = {}


def measurement(function: F) -> F:
    """Register a function under its own name, as a decorator.

    Args:
        function: with keyword-only parameters, whose values YAML can express; returns rows.

    Raises:
        ConfigError: if another function has that name.
    """
    name = function.__name__
    other = _REGISTERED.get(name, function)
    if _place(other) != _place(function):
        raise ConfigError(f"measurement {name}: defined in {other.__module__} and again in {function.__module__}")
    _REGISTERED[name] = function
    return function


def measurements() -> list[str]:
    """The names of all measurements, sorted."""
    _import_all()
    return sorted(_REGISTERED)


def measurement_by_name(name: str) -> Callable[..., Rows]:
    """The function that is registered under a name.

    >>> measurement_by_name("planted_coupling")()[0]
    {'error': 'independent of x', 'mean': 0.0, 'product': 0.0, 'covariance': 0.0}

    Raises:
        ConfigError: for an unknown name; suggests the nearest name.
    """
    if name not in _REGISTERED:
        _import_all()
    if name not in _REGISTERED:
        raise unknown_choice("measurement", name, sorted(_REGISTERED))
    return _REGISTERED[name]


def _import_all() -> None:
    """Import every module of the package, so that all functions are registered."""
    package = importlib.import_module(__package__)
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{__package__}.{module.name}")


def _place(function: Callable[..., Rows]) -> tuple[str, int]:
    """The file and line of the function, by which a module that is imported again registers the same function."""
    return function.__code__.co_filename, function.__code__.co_firstlineno
