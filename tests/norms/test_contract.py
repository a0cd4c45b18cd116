"""Every scheme on inputs of every kind: random shapes, types and ranges against brute force in float64 with numpy."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from normlab import linear_hessian, normalization
from normlab.archs import Network
from normlab.config import choices, choose
from normlab.errors import DataError
from normlab.inputs import RANGES, range_of_type, select
from normlab.norms.moments import Sums
from normlab.norms.one_sample import decibels

NAMES = choices("norm")
IMAGENET, CLIP = (0.485, 0.456, 0.406, 0.229, 0.224, 0.225), (
    0.48145466, 0.4578275, 0.40821073, 0.26862954, 0.26130258, 0.27577711,
)  # fmt: skip
BY_TIME = ("cmn", "cmvn", "revin")
FAR = 2**30  # where neighbours in float32 lie 128 apart


def spread_of(values, over, statistic):
    """A statistic with the dimensions kept, and 1 in place of 0."""
    spread = statistic(values, axis=over, keepdims=True)
    return np.where(spread == 0, 1, spread)


def quotient(numerator, denominator):
    """Zero where the denominator is zero."""
    denominator = np.broadcast_to(denominator, numerator.shape)
    return np.divide(numerator, denominator, out=np.zeros(numerator.shape), where=denominator != 0)


def iqr(values, axis, keepdims):
    return stats.iqr(values, axis=axis, keepdims=keepdims)


def constants(u, numbers):
    count = len(numbers) // 2
    if u.shape[1] not in (1, count):
        return None
    mean, std = (np.reshape(part, (-1, *[1] * (u.ndim - 2))) for part in (numbers[:count], numbers[count:]))
    return (u - mean) / std


def brute_force(name, u, x):
    """What a scheme makes of its own training inputs with its default options; None where it refuses them."""
    channel, sample, time = (0, *range(2, u.ndim)), tuple(range(1, u.ndim)), tuple(range(2, u.ndim))
    if u.ndim == 2 and (name in BY_TIME or (name.endswith("_channel") and name != "per_channel")):
        return None
    match name:
        case "raw":
            return x
        case "unit" | "yolo":
            return u
        case "centered":
            return u - 0.5
        case "inception" | "vit":
            return (u - 0.5) / 0.5
        case "imagenet" | "clip":
            return constants(u, IMAGENET if name == "imagenet" else CLIP)
        case "dataset" | "standard" | "per_channel":
            return (centered(u, channel)) / spread_of(u, channel, exact_std)
        case "dataset_mean":
            return centered(u, channel)
        case "feature":
            return (centered(u, 0)) / spread_of(u, 0, exact_std)
        case "mean_image":
            return centered(u, 0)
        case "robust":
            return (u - np.median(u, channel, keepdims=True)) / spread_of(u, channel, iqr)
        case "min_max_dataset":
            return (u - u.min(channel, keepdims=True)) / spread_of(u, channel, np.ptp)
        case "max_abs":
            return u / spread_of(abs(u), channel, np.max)
        case "percentile":
            low, high = np.percentile(u, (0.5, 99.5), channel, keepdims=True)
            cut = np.clip(u, low, high) - u.mean(channel, keepdims=True)
            return quotient(cut, exact_std(u, channel, keepdims=True))
        case "per_image" | "per_image_channel" | "min_max" | "min_max_channel":
            over = tuple(range(2, u.ndim)) if name.endswith("channel") else sample
            center, spread = (np.mean, exact_std) if name.startswith("per") else (np.min, np.ptp)
            divisor = spread(u, axis=over, keepdims=True)
            return quotient(u - center(u, axis=over, keepdims=True), np.where(divisor == 0, 0, divisor + 1e-6))
        case "normalizer":
            return quotient(u, np.sqrt((u**2).sum(sample, keepdims=True)))
        case "peak":
            return quotient(u, abs(u).max(sample, keepdims=True))
        case "rms":
            return quotient(u, np.sqrt((u**2).mean(sample, keepdims=True))) * 0.1
        case "cmn":
            return centered(u, time)
        case "cmvn":
            std = exact_std(u, time, keepdims=True)
            return quotient(centered(u, time), np.where(std == 0, 0, std + 1e-6))
        case "revin":
            return (centered(u, time)) / np.sqrt(u.var(time, keepdims=True) + 1e-5)
        case "difference":
            if u.ndim != 3:
                return None
            steps = np.concatenate([np.zeros_like(u[..., :1]), np.diff(u)], axis=-1)
            many = max(1, steps[:, 0, 1:].size)
            return quotient(steps, np.sqrt((steps**2).sum((0, 2), keepdims=True) / many))
        case "learned":
            return u
    return NotImplemented


def centered(values, over):
    """Minus the mean, but exactly 0 for equal numbers."""
    equal = np.ptp(values, axis=over, keepdims=True) == 0
    return np.where(equal, 0, values - np.mean(values, axis=over, keepdims=True))


def exact_std(values, axis, keepdims):
    """numpy's, but exactly 0 for equal numbers."""
    equal = np.ptp(values, axis=axis, keepdims=keepdims) == 0
    return np.where(equal, 0, np.std(values, axis=axis, keepdims=keepdims))


@st.composite
def batches(draw):
    """Inputs of any type, with 0 to 2 positions, some of them constant, and a range."""
    dtype = draw(st.sampled_from(list(RANGES)))
    shape = (draw(st.integers(1, 9)), draw(st.integers(1, 3)), *draw(st.lists(st.integers(1, 5), max_size=2)))
    generator = np.random.default_rng(draw(st.integers(0, 2**32)))
    low, high = draw(st.sampled_from({
        torch.uint8: [(0, 255), (7, 9)],
        torch.uint16: [(0, 65535), (40000, 40100)],
        torch.int16: [(-32768, 32767), (-1000, 3000)],
        torch.int32: [(-(2**31), 2**31 - 1), (10**6, 10**6 + 50), (FAR, FAR + 99)],
        torch.float32: [(-1.0, 1.0), (270.0, 310.0), (0.0, 1e5)],
    }[dtype]))  # fmt: skip
    numbers = generator.uniform(low, high, shape)
    x = torch.from_numpy(numbers if dtype == torch.float32 else numbers.round()).to(dtype)
    if draw(st.booleans()):
        x[:, :1] = x[0].flatten()[0]
    if draw(st.booleans()):
        x[:1] = x[0].flatten()[0]
    return x, draw(st.sampled_from([None, (low, high), (-1000.0, 3000.0)]))


def u_of(x, ends):
    black, white = ends or range_of_type(x.dtype)
    return (x.double().numpy() - black) / (white - black)


FORMULAS = [name for name in NAMES if brute_force(name, np.ones((2, 3)), 0) is not NotImplemented]


def rounding_error(x, ends, expected, dtype):
    """How far output may lie from the exact one: a few roundings of numbers as large as the inputs.

    An error of u counts as much as the narrowest spread that a scheme may divide by is small. Of int32 the arithmetic
    is float64, whatever the type of the output.
    """
    u, (black, white) = u_of(x, ends), ends or range_of_type(x.dtype)
    rounding, largest = 16 * np.finfo(dtype).eps, np.abs(expected).max()
    size = max(1, (np.abs(x.double().numpy()).max() + abs(black)) / (white - black))  # of what u is a difference of
    if x.dtype == torch.int32 and dtype == np.float32:
        return rounding * largest + rounding_error(x, ends, expected, np.float64)
    axes = [(0, *range(2, u.ndim)), tuple(range(u.ndim)), tuple(range(1, u.ndim)), tuple(range(2, u.ndim)), (0,)]
    spreads = np.concatenate([np.ptp(u, axis=over).flatten() for over in axes if over])
    narrowest = spreads[spreads > 0].min(initial=size)
    return rounding * (largest * size / narrowest + size)


def check_formula(name, x, ends, pieces):
    """The scheme against brute force, in float64 and in float32."""
    scheme = normalization(name)
    if ends:
        scheme.set_range(*ends)
    expected = brute_force(name, u_of(x, ends), x.double().numpy())
    if expected is None:
        with pytest.raises(DataError):
            scheme.fit(x.split(pieces))(x)
        return
    single = scheme.fit(x.split(pieces))(x).detach()
    assert single.dtype == torch.float32
    actual = scheme.double()(x).detach().numpy()
    expected = np.broadcast_to(expected, actual.shape)
    errors = [rounding_error(x, ends, expected, dtype) for dtype in (np.float32, np.float64)]
    np.testing.assert_allclose(single.double().numpy(), expected, rtol=1e-6, atol=errors[0])
    size = max(1, np.abs(u_of(x, ends)).max()) if name not in ("raw",) else 1
    # u itself has an error of 1e-16 of its size, which a division by a small spread enlarges.
    spread = 1e-9 * size / max(np.ptp(u_of(x, ends)), 1e-6) if np.ptp(u_of(x, ends)) else 1e-9
    np.testing.assert_allclose(actual, expected, rtol=1e-9, atol=max(spread, 1e-9, errors[1]))


@pytest.mark.parametrize("name", FORMULAS)
@settings(max_examples=12)
@given(batch=batches(), pieces=st.integers(1, 9))
def test_every_formula_of_any_inputs(name, batch, pieces):
    check_formula(name, *batch, pieces)


@pytest.mark.parametrize("name", FORMULAS)
@pytest.mark.parametrize("ends", [None, (FAR, FAR + 99)])
def test_every_formula_of_large_integers(name, ends):
    generator = torch.Generator().manual_seed(0)
    check_formula(name, torch.randint(FAR, FAR + 100, (40, 3, 25), generator=generator).to(torch.int32), ends, 7)


@pytest.mark.parametrize(
    ("name", "options"), [*((name, {}) for name in NAMES if name != "raw"), ("learned", {"start": "dataset"})]
)
def test_integers_far_from_zero_are_those_near_it_under_their_own_range(name, options):
    """The same u gives the same output, and none of the 100 levels is lost."""
    shape = (60, 3, 16) if name == "difference" else (60, 3, 4, 4)
    near = torch.randint(0, 100, shape, generator=torch.Generator().manual_seed(0)).to(torch.int32)
    with torch.no_grad():
        expected = normalization(name, **options).set_range(0, 99).fit(near.split(7))(near)
        far = near + FAR
        actual = normalization(name, **options).set_range(FAR, FAR + 99).fit(far.split(7))(far)
    assert len(actual.unique()) >= 100 or name == "difference"
    # Of quantiles, rounding decides whether a level is a quantile: a rank then moves by a part of the level's share.
    tolerance = 0.02 if name == "quantile" else 1e-4
    torch.testing.assert_close(actual, expected, rtol=tolerance, atol=tolerance)


@settings(max_examples=15)
@given(batch=batches(), pieces=st.integers(1, 9))
def test_any_scheme_is_float32_finite_and_travels(batch, pieces):
    """Whatever the inputs: fitted piece by piece, saved and loaded, the output is the same. Not all fit all inputs."""
    x, ends = batch
    for name in NAMES:
        scheme = normalization(name, **({"grid": 1} if name == "per_region" else {}))
        if ends:
            scheme.set_range(*ends)
        try:
            output = scheme.fit(x.split(pieces))(x)
        except DataError:
            if name in ("raw", "unit"):  # which any inputs fit
                raise
            # one constant for three channels of two, a single training sample, a table without time ...
            continue
        assert output.dtype == torch.float32
        assert output.shape[2:] == x.shape[2:]
        assert output.isfinite().all()
        copy = normalization(name, **({"grid": 1} if name == "per_region" else {}))
        copy.load_state_dict(scheme.state_dict())
        assert torch.equal(copy(x), output), name


@pytest.mark.parametrize("dtype", [torch.uint8, torch.uint16, torch.int16])
@pytest.mark.parametrize("side", [1, 2, 200])
def test_sums_never_overflow(dtype, side):
    """The largest values of each type, alone and many: 200 x 200 squares of 255 do not fit into 32 bits."""
    ends = torch.iinfo(dtype)
    for x in (ends.max, ends.min):
        inputs = torch.full((2, 1, side, side), x, dtype=torch.int32).to(dtype)
        for dims in ((), (0,), (2, 3), (0, 2, 3), (1, 2, 3), (3,)):
            sums = Sums.of(inputs, dims)
            assert (sums.first == sums.count * x).all()
            assert (sums.second == sums.count * x * x).all()


def in_two_orders(name):
    """A scheme fitted to integers whose squares do not fit into 32 bits, at once, and shuffled in pieces."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(65000, 65536, (300, 2, 4, 4), generator=generator).to(torch.uint16)
    x[:, :, 0, 0] = 65535
    options = {"patch": 2} if name == "zca" else {}
    shuffled = select(x, torch.randperm(300, generator=generator))
    pieces = normalization(name, **options).fit(shuffled.split(7))
    return normalization(name, **options).fit([x]), pieces


@pytest.mark.parametrize("name", ["dataset", "feature", "robust", "percentile", "max_abs"])
def test_integers_of_16_bits_are_summed_exactly(name):
    whole, shuffled = in_two_orders(name)
    for key, value in whole.state_dict().items():
        assert torch.equal(value, shuffled.state_dict()[key])
    if name == "feature":
        assert (whole.std[:, 0, 0] == 1).all()


@pytest.mark.parametrize("name", ["zca", "adaptive"])
def test_products_and_averages_of_integers_hardly_depend_on_the_order(name):
    whole, shuffled = in_two_orders(name)
    for key, value in whole.state_dict().items():
        torch.testing.assert_close(value, shuffled.state_dict()[key], rtol=1e-9, atol=1e-9)


def test_floats_far_from_zero_keep_their_digits():
    """Sums of squares would lose all of them: a standard deviation of 1 at a mean of 1,000,000."""
    x = 1e6 + torch.randn(1000, 2, generator=torch.Generator().manual_seed(0))
    scheme = normalization("dataset").fit(x.split(13))
    offsets = x.double().numpy() - 1e6  # exact
    np.testing.assert_allclose(scheme.mean, 1e6 + offsets.mean(0), rtol=1e-15)
    np.testing.assert_allclose(scheme.std, offsets.std(0), rtol=1e-13)


def test_the_range_is_that_of_the_type_of_the_files_or_of_the_user():
    x = torch.tensor([[0], [4095]]).to(torch.uint16)
    assert normalization("unit")(x).flatten().tolist() == pytest.approx([0, 4095 / 65535])
    assert normalization("unit").set_range(0, 4095)(x).flatten().tolist() == [0, 1]
    assert normalization("inception").set_range(-4095, 4095)(x).flatten().tolist() == [0, 1]
    assert normalization("raw").set_range(0, 4095)(x).flatten().tolist() == [0, 4095]
    kelvin = torch.tensor([[270.0], [310.0]])
    assert normalization("unit")(kelvin).flatten().tolist() == [270, 310]
    fitted = normalization("unit").set_range(0, 4095).fit([x])
    assert fitted.black.item() == 0
    assert fitted.white.item() == 4095


@pytest.mark.parametrize(("black", "white"), [(1, 1), (2, 1), (0, math.inf), (math.nan, 1)])
def test_a_range_must_rise(black, white):
    with pytest.raises(DataError, match=r"data\.black=.* and data\.white=.*: black must be below white"):
        normalization("unit").set_range(black, white)


def test_a_fitted_scheme_keeps_its_range_and_its_type():
    x = torch.arange(8, dtype=torch.uint8).reshape(4, 2)
    scheme = normalization("dataset").fit([x])
    with pytest.raises(DataError, match="is fitted: set its range before"):
        scheme.set_range(0, 8)
    with pytest.raises(DataError, match="was fitted on inputs of uint8, given float32"):
        scheme(x.float())
    with pytest.raises(DataError, match="was fitted on inputs of uint8, given int16"):
        normalization("dataset").fit([x, x.to(torch.int16)])


@pytest.mark.parametrize("name", NAMES)
def test_to_fit_once_more_forgets_everything(name):
    """Also the range of the type of the earlier inputs; a range that the user has set stays."""
    shape = (60, 3, 16) if name == "difference" else (60, 3, 4, 4)
    levels = torch.randint(0, 200, shape, generator=torch.Generator().manual_seed(0))
    first, then = levels.to(torch.uint8), (300 * levels + 7).to(torch.uint16)
    for ends in (None, (0, 65000)):
        refitted, fresh = normalization(name), normalization(name)
        for scheme in (refitted, fresh) if ends else ():
            scheme.set_range(*ends)
        refitted.fit([first]).fit([then])
        fresh.fit([then])
        if not ends or fresh.is_fitted_from_data:  # else there was nothing to learn
            assert refitted.input_type == torch.uint16
        for key, value in fresh.state_dict().items():
            assert torch.equal(refitted.state_dict()[key], value), key
        with torch.no_grad():
            assert torch.equal(refitted(then), fresh(then))


def test_a_state_without_a_range_is_of_8_bits():
    images = torch.randint(0, 256, (9, 3, 4, 4), dtype=torch.uint8)
    scheme = normalization("dataset").fit([images])
    old = {key: value for key, value in scheme.state_dict().items() if key not in ("black", "white")}
    copy = normalization("dataset")
    copy.load_state_dict(old)
    assert torch.equal(copy(images), scheme(images))
    torch.testing.assert_close(copy.mean, scheme.mean)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", [n for n in NAMES if normalization(n).is_fitted_from_data])
def test_statistics_of_the_training_set_refuse_what_is_not_finite(name, bad):
    x = torch.rand(20, 3, *[4] * (name == "difference"))  # which is for series
    x[11, 2, ...] = bad
    with pytest.raises(DataError, match=r"the value at \[1, 2(, 0)?\] is -?(nan|inf): statistics need finite values"):
        normalization(name).fit(x.split(10))


@pytest.mark.parametrize("name", ["per_image", "min_max", "normalizer", "peak", "rms", "cmn", "cmvn"])
def test_a_sample_with_nan_is_nan_and_leaves_the_others(name):
    x = torch.rand(4, 1, 50)
    x[2, 0, 3] = math.nan
    output = normalization(name)(x)
    assert output[2].isnan().all()
    assert output[[0, 1, 3]].isfinite().all()


@pytest.mark.parametrize("name", ["dataset", "robust", "min_max_dataset", "max_abs", "percentile", "power", "feature"])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.uint16, torch.int32, torch.float32])
def test_one_sample_and_constant_features_have_scale_one(name, dtype):
    one = torch.tensor([[3, 0]]).to(dtype)
    scheme = normalization(name).set_range(0, 3).fit([one])
    expected = [1, 0] if name == "max_abs" else [0, 0]
    assert scheme(one).flatten().tolist() == expected
    beyond = torch.tensor([[6, 3]]).to(dtype)
    # A spread of 0 counts as 1; percentiles cut.
    assert scheme(beyond).flatten().tolist() == {"max_abs": [2, 1], "percentile": [0, 0]}.get(name, [1, 1])


def test_quantiles_need_two_values():
    with pytest.raises(DataError, match="at least 2 training values"):
        normalization("quantile").fit([torch.rand(1, 2)])


def test_exact_percentiles_of_too_many_floats_are_refused(monkeypatch):
    monkeypatch.setattr("normlab.norms.moments.MAX_KEPT_VALUES", 100)
    with pytest.raises(DataError, match=r"120 are more than 100: give data\.limit"):
        normalization("robust").fit(torch.rand(60, 2).split(20))
    normalization("robust").fit(torch.randint(0, 256, (60, 2), dtype=torch.uint8).split(20))  # counted, not kept


def test_percentiles_leave_out_a_value():
    """The air around a scan: as if it were not there."""
    generator = torch.Generator().manual_seed(0)
    inside = torch.randint(-200, 300, (10, 2, 6), generator=generator)
    padded = torch.cat([inside, torch.full((10, 2, 9), -1024)], 2)
    for dtype in (torch.int16, torch.int32, torch.float32):
        for options in ({}, {"per_image": True}, {"axes": "all"}, {"output": "unit", "per_image": True}):
            plain = normalization("percentile", **options).double().fit([inside.to(dtype)])
            masked = normalization("percentile", ignore=-1024.0, **options).double().fit(padded.to(dtype).split(3))
            torch.testing.assert_close(
                masked(padded.to(dtype))[..., :6], plain(inside.to(dtype)), rtol=1e-12, atol=1e-12
            )
    with pytest.raises(DataError, match=r"no value is left besides norm\.ignore"):
        normalization("percentile", ignore=7.0).fit([torch.full((3, 1), 7.0)])


@pytest.mark.parametrize(
    "name", ["dataset", "unit", "raw", "imagenet", "learned", "per_image_channel", "revin", "robust"]
)
def test_a_forecast_goes_back_to_the_units_of_the_inputs(name):
    x = 50 + 10 * torch.randn(8, 3, 40, generator=torch.Generator().manual_seed(0))
    scheme = normalization(name).fit([x]).double()
    past, y = x[..., :30], scheme(x)
    if name in ("per_image_channel", "revin"):  # whose statistics are those of the past
        y = scheme(past)
        back = scheme.denormalize(y, past)
        torch.testing.assert_close(back, past.double(), rtol=1e-7, atol=1e-7)
        flat = torch.full_like(past, 3.0)
        torch.testing.assert_close(scheme.denormalize(scheme(flat), flat), flat.double(), rtol=1e-7, atol=1e-7)
        return
    torch.testing.assert_close(scheme.denormalize(y[..., 30:], past), x[..., 30:].double(), rtol=1e-9, atol=1e-9)


def test_what_is_no_scale_and_shift_cannot_be_undone():
    x = torch.rand(30, 2, 20)
    for name, options in (("quantile", {}), ("power", {}), ("percentile", {}), ("cmvn", {"window": 5})):
        scheme = normalization(name, **options).fit([x])
        with pytest.raises(DataError, match="cannot be"):
            scheme.denormalize(scheme(x), x)


def test_gain_and_offset_of_a_recording():
    """A gain leaves peak, rms and normalizer as they are; an offset of a bin leaves cmn, with a gain cmvn."""
    x = torch.randn(3, 5, 200, generator=torch.Generator().manual_seed(0)).double()
    offset = torch.arange(5.0).double()[:, None]
    pairs = [("peak", 3 * x), ("rms", 3 * x), ("normalizer", 3 * x), ("cmn", x + offset), ("cmvn", 3 * x + offset)]
    for name, changed in pairs:
        scheme = normalization(name, **({"eps": 0} if name == "cmvn" else {})).double()
        torch.testing.assert_close(scheme(changed.float()), scheme(x.float()), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("level", [-30.0, -3.0, 0.0])
def test_levels_in_decibels(level):
    x = torch.randint(-32768, 32768, (4, 1, 1000), generator=torch.Generator().manual_seed(0)).to(torch.int16)
    loud = normalization("rms", level_db=level).set_range(0, 32768).double()(x)
    torch.testing.assert_close(20 * loud.square().mean((1, 2)).sqrt().log10(), torch.full((4,), level).double())
    high = normalization("peak", level_db=level).set_range(0, 32768).double()(x)
    torch.testing.assert_close(20 * high.abs().amax((1, 2)).log10(), torch.full((4,), level).double())
    assert not normalization("rms")(torch.zeros(2, 1, 9)).any()
    assert decibels(20.0) == 10


@pytest.mark.parametrize("axes", ["all", "channel", "position"])
def test_axes(axes):
    x = torch.rand(20, 2, 3, 5, generator=torch.Generator().manual_seed(0)) * 7
    over = {"all": (0, 1, 2, 3), "channel": (0, 2, 3), "position": (0,)}[axes]
    u = x.double().numpy()
    low, middle, high = (np.percentile(u, q, over, keepdims=True) for q in (25, 50, 75))
    output = normalization("robust", axes=axes).fit(x.split(3)).double()(x)
    np.testing.assert_allclose(output, (u - middle) / (high - low), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("dtype", list(RANGES))
@pytest.mark.parametrize("shape", [(40, 5), (40, 2, 3), (40, 2, 2, 2)])
def test_theory_takes_every_input(dtype, shape):
    """The spectrum against that of the outputs themselves in numpy."""
    generator = torch.Generator().manual_seed(0)
    x = (torch.rand(shape, generator=generator) * 200).to(dtype)
    for name in ("unit", "raw", "standard", "robust", "per_image", "learned", "zca"):
        scheme = normalization(name).fit([x]).double()
        rows = scheme(x).detach().flatten(1).numpy()
        rows = np.concatenate([rows, np.ones((len(rows), 1))], 1)
        expected = np.linalg.eigvalsh(rows.T @ rows / len(rows))[::-1]
        actual = linear_hessian(x, name).eigenvalues
        np.testing.assert_allclose(actual, expected, rtol=1e-9, atol=1e-9 * expected[0])


def test_a_network_takes_the_type_that_it_was_built_for():
    x = torch.rand(20, 1, 2, 2)
    scheme = normalization("standard").fit([x])
    network = Network(scheme, choose("arch", "mlp"), (1, 2, 2), ("a", "b"), input_type=torch.float32)
    assert network(x).shape == (20, 2)
    with pytest.raises(DataError, match="takes inputs of float32, not uint8"):
        network(x.byte())


def test_every_pair_of_names_for_one_formula():
    x = torch.rand(30, 3, 8) * 9
    for names in (("dataset", "standard", "per_channel"), ("unit", "yolo"), ("inception", "vit")):
        for one, other in itertools.pairwise(names):
            assert torch.equal(normalization(one).fit([x])(x), normalization(other).fit([x])(x))
