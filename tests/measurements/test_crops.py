"""Crops: the relation between two of them against numpy, planted changes, and what eps, clip and channels do to it."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from normlab.measurements.crops import (
    Crop,
    best_affine_residual,
    contrast_and_brightness,
    crop_pair,
    crop_relations,
    implied_changes,
)


@settings(deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.floats(0.05, 1), st.floats(0, 1), st.integers(0, 2**31))
def test_a_pair_lies_in_the_image_and_shares_a_pixel(height, width, low, more, seed):
    high = low + more * (1 - low)
    first, second = crop_pair(height, width, (low, high), torch.Generator().manual_seed(seed))
    for crop in (first, second):
        assert 0 <= crop.top <= height - crop.side
        assert 0 <= crop.left <= width - crop.side
    rows, columns = first.shared(second)
    assert rows.stop > rows.start
    assert columns.stop > columns.start
    image = torch.arange(height * width).reshape(1, height, width)
    inside = set(first.of(image).flatten().tolist()) & set(second.of(image).flatten().tolist())
    assert inside == set(image[0, rows, columns].flatten().tolist())


def test_all_places_of_a_crop_are_drawn():
    generator = torch.Generator().manual_seed(0)
    tops = {crop_pair(8, 8, (0.25, 0.25), generator)[0].top for _ in range(300)}
    assert tops == set(range(5))


@settings(deadline=None)
@given(st.floats(0.1, 10), st.floats(-5, 5))
def test_a_planted_change_of_contrast_and_brightness(contrast, brightness):
    x = torch.tensor([0.3, -1.0, 2.0, 0.7], dtype=torch.float64)
    assert best_affine_residual(x, contrast * x + brightness) < 1e-12
    assert best_affine_residual(x, contrast * x**2 + brightness) > 0.1


def test_the_formula_against_numpy():
    image = torch.rand(3, 9, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    first, second = Crop(0, 0, 6), Crop(2, 3, 5)
    a, b = first.of(image).numpy(), second.of(image).numpy()
    contrast, brightness = contrast_and_brightness(first.of(image), second.of(image))
    pixel = image[:, 3, 4].numpy()
    one, other = (pixel - a.mean()) / a.std(), (pixel - b.mean()) / b.std()
    np.testing.assert_allclose(contrast.item() * one + brightness.item(), other)


def test_what_breaks_the_relation():
    rows = crop_relations(data={"name": "photos", "limit": 40}, eps=[0.0, 0.01], clips=[0.0, 0.5], pairs=40)
    found = {(row["norm"], row["eps"], row["clip"]): row for row in rows}
    plain, channel = found["per_image", 0.0, 0.0], found["per_image_channel", 0.0, 0.0]
    assert plain["pairs"] == 40
    assert max(plain["formula_error"], plain["residual"], channel["formula_error"]) < 1e-9
    # By channel there are three changes, each exact, and no single one.
    assert channel["channel_residual"] < 1e-9 < 1e-3 < channel["residual"]
    # eps changes the numbers, not the kind; a clip changes the kind.
    assert found["per_image", 0.01, 0.0]["formula_error"] > 1e-4
    assert found["per_image", 0.01, 0.0]["residual"] < 1e-9
    assert found["per_image", 0.0, 0.5]["residual"] > 1e-3
    assert found["per_image", 0.0, 0.5]["clipped"] > 0 == plain["clipped"]


def test_whole_images_imply_no_change():
    (row,) = implied_changes(data={"name": "digits", "limit": 50}, shares=(1.0, 1.0), pairs=50)
    assert row["median_contrast"] == row["contrast_5"] == row["contrast_95"] == 1
    assert row["median_brightness"] == row["over_20_percent"] == 0


def test_smaller_crops_imply_larger_changes():
    small, large = (
        implied_changes(data={"name": "digits", "limit": 100}, shares=shares, pairs=200)[0]
        for shares in ((0.15, 0.3), (0.7, 1.0))
    )
    assert small["median_contrast"] > large["median_contrast"] > 1
    assert small["median_brightness"] > large["median_brightness"] > 0
    assert small["contrast_5"] < 1 < small["contrast_95"]
