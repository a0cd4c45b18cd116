"""Bisection for the largest stable rate, and theory against real runs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from normlab.theory.stability import largest_stable_rate


@given(edge=st.floats(1e-6, 1e6), factor=st.floats(1e-4, 1e4), resolution=st.sampled_from([0.1, 0.005, 1e-6]))
def test_the_edge_is_found_from_any_guess(edge, factor, resolution):
    low, high = largest_stable_rate(lambda rate: rate <= edge, edge * factor, resolution)
    assert low <= edge < high <= low * (1 + resolution)


@pytest.mark.parametrize("always", [True, False])
def test_no_edge(always):
    with pytest.raises(ValueError, match="no limit of stability"):
        largest_stable_rate(lambda rate: always, 1.0)
