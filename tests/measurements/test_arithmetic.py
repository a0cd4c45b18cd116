"""Formulas and quantization against exact fractions, numpy and values known by hand."""

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import normlab
from normlab.measurements.arithmetic import (
    MODES,
    exponentials,
    formula_differences,
    overflowing_outputs,
    quantization_errors,
    quantized,
    ulps_apart,
)


def by(rows, **values):
    found = [row for row in rows if all(row[key] == value for key, value in values.items())]
    assert found, f"no row with {values}"
    return found


@settings(deadline=None)
@given(st.floats(-(2.0**100), 2.0**100, width=32), st.integers(0, 1000))
def test_ulps_count_the_floats_between(start, steps):
    end = np.float32(start)
    for _ in range(steps):
        end = np.nextafter(end, np.float32(np.inf))
    found = ulps_apart(torch.tensor(start, dtype=torch.float32), torch.tensor(end))
    assert found.item() == steps


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_ulps_across_zero_in_every_type(dtype):
    smallest = torch.finfo(dtype).smallest_normal
    one = torch.tensor([1.0, -smallest], dtype=dtype)
    other = torch.tensor([1 + torch.finfo(dtype).eps, smallest], dtype=dtype)
    subnormals = round(smallest / torch.finfo(dtype).smallest_normal * 2 ** -math.log2(torch.finfo(dtype).eps))
    assert ulps_apart(one, other).tolist() == [1, 2 * subnormals]


@pytest.mark.parametrize(("name", "dtype"), [("float64", np.float64), ("float32", np.float32), ("float16", np.float16)])
def test_the_formulas_against_numpy(name, dtype):
    x = np.arange(256).astype(dtype)
    one = x / dtype(127.5) - dtype(1)
    other = (x / dtype(255) - dtype(0.5)) / dtype(0.5)
    (row,) = by(formula_differences(), pair="x/127.5 - 1, (x/255 - 0.5)/0.5", dtype=name)
    assert row["different"] == (one != other).sum()
    gap = np.abs(one.astype(np.float64) - other.astype(np.float64)).max()
    assert row["epsilons"] == pytest.approx(gap / np.finfo(dtype).eps)


def test_what_is_equal_in_exact_arithmetic_and_what_is_not():
    rows = formula_differences()
    assert all(row["different"] == 0 for row in by(rows, dtype="exact"))
    assert all(row["different"] == 0 for row in by(rows, pair="(x/255 - 0)/1, x/255"))
    assert by(rows, pair="x * (1/255), x/255", dtype="float32")[0]["different"] > 0
    assert Fraction(200) / Fraction(255, 2) - 1 == (Fraction(200, 255) - Fraction(1, 2)) / Fraction(1, 2)


def test_where_the_exponential_overflows():
    rows = exponentials(arguments=[11.0, 12.0, 88.0, 89.0, 709.0, 1000.0])
    for row in rows:
        assert row["overflows"] == (row["argument"] > row["largest"])
    assert by(rows, dtype="float32", argument=88.0)[0]["overflows"] == 0
    assert by(rows, dtype="float32", argument=89.0)[0]["overflows"] == 1
    assert by(rows, dtype="float16", argument=12.0)[0]["overflows"] == 1
    assert by(rows, dtype="float64", argument=1000.0)[0]["overflows"] == 1


def test_scores_of_planted_size_overflow_where_they_must():
    data = {"name": "digits", "limit": 100}
    rows = overflowing_outputs(data=data, arch={"name": "linear", "init": "he"}, norms=["raw", "dataset"])
    x = normlab.dataset(**data).train.images.flatten(1).float()
    torch.manual_seed(0)
    layer = torch.nn.Linear(64, 10)
    torch.nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    scores = (x @ layer.weight.T).detach().double().numpy()
    raw, scaled = by(rows, dtype="float32", norm="raw")[0], by(rows, dtype="float32", norm="dataset")[0]
    assert raw["output"] == pytest.approx(np.abs(scores).max(), rel=1e-5)
    assert raw["score_exp"] == pytest.approx((scores > math.log(np.finfo(np.float32).max)).mean()) != 0
    assert raw["softmax"] == raw["scores"] == raw["first_layer"] == 0
    assert raw["input_exp"] > 0 == scaled["input_exp"] == scaled["score_exp"]


def test_scores_beyond_the_type_make_a_softmax_that_is_not_finite(monkeypatch):
    monkeypatch.setattr("torch.nn.init.kaiming_normal_", lambda weight, **_: torch.nn.init.constant_(weight, 1e4))
    rows = overflowing_outputs(
        data={"name": "digits", "limit": 20}, arch={"name": "linear", "init": "he"}, norms=["raw"], dtypes=["float16"]
    )
    assert rows[0]["scores"] == rows[0]["first_layer"] == rows[0]["softmax"] == 1


@settings(deadline=None)
@given(st.lists(st.floats(-50, 50), min_size=2, max_size=30), st.integers(2, 8), st.sampled_from(MODES))
def test_quantization_is_off_by_half_a_step_at_most_and_repeats_itself(values, bits, mode):
    x = torch.tensor([*values, 51.0], dtype=torch.float64)
    low, high = x.min().item(), x.max().item()
    once = quantized(x, low, high, bits=bits, mode=mode)
    span = {"affine": high - min(low, 0.0), "min-max": high - low, "symmetric": 2 * max(-low, high)}[mode]
    step = span / (2**bits - 1 - (mode == "symmetric"))
    # An integer zero-point moves one end of the range by half a step more.
    assert (once - x).abs().max().item() <= step * (1.0 if mode == "affine" else 0.5) * (1 + 1e-9)
    assert len(once.unique()) <= 2**bits
    torch.testing.assert_close(quantized(once, low, high, bits=bits, mode=mode), once, rtol=0, atol=1e-9)
    if mode != "min-max":
        assert quantized(torch.zeros(1), low, high, bits=bits, mode=mode).item() == 0


def test_quantization_against_pytorch():
    x = torch.randn(1000, generator=torch.Generator().manual_seed(0)) + 0.3
    low, high = x.min().item(), x.max().item()
    scale = (high - low) / 255
    expected = torch.fake_quantize_per_tensor_affine(x.double().float(), scale, round(-low / scale), 0, 255)
    found = quantized(x, low, high)
    assert ((found - expected).abs() > 1e-5).float().mean() < 0.01  # float32 may round a tie the other way


def test_eight_bits_hold_eight_bits():
    rows = quantization_errors(data={"name": "digits", "limit": 200}, norms=["raw", "unit", "centered", "dataset"])
    for norm in ("raw", "unit"):
        assert by(rows, norm=norm, mode="affine", range="tensor")[0]["error"] < 1e-12
    # 0 lies half a step off the grid of 256 levels from -0.5 to 0.5: where it must be exact, every pixel is not.
    half = 0.5 / 255 / (normlab.dataset("digits", limit=200).test.images.double().std(correction=0).item() / 255)
    assert by(rows, norm="centered", mode="affine", range="tensor")[0]["error"] == pytest.approx(half, rel=0.01)
    raw, centred = (by(rows, norm=n, mode="symmetric", range="tensor")[0] for n in ("raw", "centered"))
    assert raw["advantage"] == 0
    assert centred["advantage"] == pytest.approx(raw["error"] - centred["error"]) != 0


@pytest.mark.parametrize("bits", [8, 4])
def test_affine_schemes_tie_where_the_offset_is_free(bits):
    rows = quantization_errors(
        data={"name": "digits", "limit": 200}, norms=["raw", "unit", "inception", "imagenet", "dataset"], bits=bits
    )
    by_channel = [row["error_to_range"] for row in by(rows, mode="min-max", range="channel")]
    whole = [row["error"] for row in by(rows, mode="min-max", range="tensor")][:3]
    assert max(whole) - min(whole) < 1e-9
    assert len(by_channel) == 5
    if bits == 8:
        assert max(by_channel) < 1e-9


def test_the_error_of_coarse_quantization_by_hand():
    """2 bits of planted pixels under raw: range 0 to the largest, four levels."""
    data = {"name": "planted"}
    loaded = normlab.dataset(**data)
    x, train = loaded.test.images.double().numpy(), loaded.train.images
    step = train.max().item() / 3
    error = np.sqrt(((np.clip(np.rint(x / step), 0, 3) * step - x) ** 2).mean()) / x.std()
    (row,) = by(quantization_errors(data=data, norms=["raw"], bits=2), mode="affine", range="tensor")
    assert row["error"] == pytest.approx(error)
