"""Measurements by their names: what a study's file calls, wherever the function stands."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from typing import Any, TypeVar

from normlab.config import unknown_choice
from normlab.errors import ConfigError

Rows = list[dict[str, Any]]  # a row: labels and numbers by the names of their columns
F = TypeVar("F", bound=Callable[..., Rows])

_REGISTERED: dict[str, Callable[..., Rows]] = {}


def measurement(function: F) -> F:
    """Register a function under its own name, as a decorator.

    Args:
        function: takes keywords only, with values that YAML can write, and returns rows.

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
        ConfigError: for an unknown name, with the nearest one.
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
    """Where the function is written: a module that is imported anew defines no second function."""
    return function.__code__.co_filename, function.__code__.co_firstlineno
