"""Distances of channel moments from 0 and 1."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from normlab.measurements.domains import domain_moments, moment_distance
from normlab.measurements.training_images import training_images


@settings(max_examples=30, deadline=None)
@given(st.floats(-3, 3), st.floats(0.1, 3))
def test_moment_distance_is_that_of_the_normal_distributions(mean, std):
    grid = stats.norm.ppf((np.arange(20_000) + 0.5) / 20_000)  # quantiles: the distance of order 2 in one dimension
    expected = math.sqrt(np.mean((mean + std * grid - grid) ** 2))
    assert moment_distance(torch.tensor([mean]), torch.tensor([std])) == pytest.approx(expected, rel=1e-3, abs=1e-3)


def test_domain_moments():
    rows = {
        row["norm"]: row
        for row in domain_moments(data={"name": "digits"}, domain="other", norms=["imagenet", "dataset"])
    }
    u = torch.cat(list(training_images({"name": "digits"}))).double() / 255
    means = [(u.mean().item() - m) / s for m, s in zip((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), strict=True)]
    stds = [u.std(correction=0).item() / s for s in (0.229, 0.224, 0.225)]
    assert rows["imagenet"]["mean"] == pytest.approx(np.mean(means))
    assert rows["imagenet"]["std"] == pytest.approx(np.mean(stds))
    expected = math.sqrt(np.mean(np.square(means) + np.square(np.array(stds) - 1)))
    assert rows["imagenet"]["distance"] == pytest.approx(expected)
    assert rows["dataset"]["distance"] < 1e-9
    assert rows["dataset"]["domain"] == "other"
