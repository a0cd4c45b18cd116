"""Measurements by name: one function a name, all of them, and what a study's file may write."""

import importlib
import inspect
import pkgutil

import pytest

import normlab.measurements
from normlab.config import check
from normlab.errors import ConfigError
from normlab.measurements import measurement, measurement_by_name, measurements
from normlab.report.study import Measurement


def test_every_name_is_that_of_a_function_of_the_package_that_takes_keywords_alone():
    modules = {f"normlab.measurements.{module.name}" for module in pkgutil.iter_modules(normlab.measurements.__path__)}
    assert "saturated_units" in measurements()
    for name in measurements():
        function = measurement_by_name(name)
        assert function.__name__ == name
        assert function.__module__ in modules
        assert {part.kind for part in inspect.signature(function).parameters.values()} <= {
            inspect.Parameter.KEYWORD_ONLY
        }


def test_a_second_function_of_a_name_is_an_error_and_the_same_lines_again_are_not():
    def saturated_units():
        return []

    with pytest.raises(ConfigError, match=r"measurement saturated_units: .*first_layer and again in .*test_registry"):
        measurement(saturated_units)
    before = measurement_by_name("saturated_units")
    module = importlib.reload(importlib.import_module(before.__module__))
    assert measurement_by_name("saturated_units") is module.saturated_units


def test_an_unknown_name_is_refused_with_the_nearest():
    with pytest.raises(ConfigError, match="no such choice; did you mean saturated_units"):
        measurement_by_name("saturated_unit")


@pytest.mark.parametrize(
    ("written", "options"),
    [
        ("planted_coupling", {}),
        ({"planted_coupling": None}, {}),
        ({"planted_coupling": {}}, {}),
        ({"planted_coupling": {"data": "digits", "seed": 1}}, {"data": {"name": "digits"}, "seed": 1}),
        ({"planted_coupling": {"data": {"name": "digits", "limit": 5}}}, {"data": {"name": "digits", "limit": 5}}),
    ],
)
def test_ways_to_write_a_call(written, options):
    call = check(Measurement, written)
    assert (call.measure, call.options) == ("planted_coupling", options)


@pytest.mark.parametrize("written", [{}, {"one": {}, "two": {}}, 5, ["one"]])
def test_what_is_no_call_is_refused(written):
    with pytest.raises(ConfigError, match="expected one name and its options"):
        check(Measurement, written)
