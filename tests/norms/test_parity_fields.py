"""Schemes of tables, scans, speech and series against the libraries of these fields, or their formulas by hand."""

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn import preprocessing
from sklearn.datasets import load_breast_cancer, load_diabetes, load_wine

from normlab import normalization
from normlab.errors import DataError
from normlab.norms.distribution import yeo_johnson


def close(ours, theirs, rtol=1e-10, atol=1e-10):
    np.testing.assert_allclose(np.asarray(ours), np.asarray(theirs), rtol=rtol, atol=atol)


def table(load):
    """A real table, float32 [N, C], with a constant column and one of two values."""
    x = load().data.astype(np.float32)
    x = np.concatenate([x, np.full((len(x), 1), 3.5, np.float32), (x[:, :1] > x[:, :1].mean()).astype(np.float32)], 1)
    return torch.from_numpy(x)


@pytest.mark.parametrize("load", [load_wine, load_breast_cancer, load_diabetes])
@pytest.mark.parametrize(
    ("name", "options", "theirs"),
    [
        ("standard", {}, preprocessing.StandardScaler()),
        ("robust", {}, preprocessing.RobustScaler()),
        ("robust", {"center": False}, preprocessing.RobustScaler(with_centering=False)),
        ("min_max_dataset", {}, preprocessing.MinMaxScaler()),
        ("max_abs", {}, preprocessing.MaxAbsScaler()),
        ("normalizer", {}, preprocessing.Normalizer()),
        ("normalizer", {"norm": "max"}, preprocessing.Normalizer("max")),
        ("quantile", {"quantiles": 80}, preprocessing.QuantileTransformer(n_quantiles=80, subsample=None)),
        (
            "quantile",
            {"quantiles": 50, "output": "normal"},
            preprocessing.QuantileTransformer(n_quantiles=50, output_distribution="normal", subsample=None),
        ),
    ],
)
def test_scalers_of_scikit_learn(load, name, options, theirs):
    """On unseen rows too, fitted in pieces."""
    x = table(load)
    train, test = x[::2], torch.cat([x[1::2], 3 * x[1::2]])
    theirs.fit(train.double().numpy())
    ours = normalization(name, **options).fit(train.split(17)).double()
    for rows in (train, test):
        close(ours(rows), theirs.transform(rows.double().numpy()))


@pytest.mark.parametrize("load", [load_wine, load_diabetes])
def test_power_transformer_of_scikit_learn(load):
    """The powers come from the same search for the largest likelihood, which ends within 1e-7."""
    x = table(load)
    theirs = preprocessing.PowerTransformer().fit(x.double().numpy())
    ours = normalization("power").fit(x.split(17)).double()
    close(ours.curve[:, 0], theirs.lambdas_, rtol=1e-6, atol=1e-6)
    close(ours(x), theirs.transform(x.double().numpy()), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("power", [-2.0, 0.0, 0.5, 1.0, 2.0, 3.7])
def test_yeo_johnson_of_scipy(power):
    u = np.random.default_rng(0).normal(0, 3, 200)
    u[0] = 0
    close(
        yeo_johnson(torch.from_numpy(u), torch.tensor(power, dtype=torch.float64)),
        stats.yeojohnson(u, power),
        rtol=1e-12,
    )


def test_integers_and_floats_have_one_power():
    x = torch.randint(0, 256, (500, 2), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    counted = normalization("power").fit(x.split(100)).double()(x)
    kept = normalization("power").set_range(0, 255).fit([x.float()]).double()(x.float())
    torch.testing.assert_close(counted, kept, rtol=1e-6, atol=1e-6)


def scans(dtype, seed=0):
    """Something like CT: air, soft tissue, a little bone, [12, 2, 9, 10]."""
    generator = np.random.default_rng(seed)
    tissue = generator.normal(40, 60, (12, 2, 9, 10))
    x = np.where(generator.random(tissue.shape) < 0.02, generator.uniform(500, 3000, tissue.shape), tissue)
    x[..., :2] = -1024
    return torch.from_numpy(x.round() if dtype != torch.float32 else x).to(dtype)


@pytest.mark.parametrize("dtype", [torch.int16, torch.int32, torch.float32])
@pytest.mark.parametrize("ignore", [None, -1024.0])
def test_ct_scheme_of_nnunet(dtype, ignore):
    """Clip at percentiles 0.5 and 99.5 of the foreground, then its mean and standard deviation before the clip."""
    train, test = scans(dtype), scans(dtype, 1)
    ours = normalization("percentile", ignore=ignore).fit(train.split(5)).double()(test)
    for channel in range(2):
        foreground = train[:, channel].double().numpy().ravel()
        foreground = foreground[foreground != ignore]
        low, high = np.percentile(foreground, (0.5, 99.5))
        theirs = np.clip(test[:, channel].double().numpy(), low, high)
        theirs -= foreground.mean()
        theirs /= max(foreground.std(), 1e-8)
        close(ours[:, channel], theirs)


@pytest.mark.parametrize("axes", ["all", "channel"])
def test_percentile_scaling_of_monai(axes):
    """ScaleIntensityRangePercentiles(lower, upper, b_min=0, b_max=1, clip=True, channel_wise=axes == "channel")."""
    x = scans(torch.int16)
    ours = normalization("percentile", low=2, high=98, per_image=True, output="unit", axes=axes).double()(x)
    for image, mine in zip(x.double().numpy(), ours, strict=True):
        for group in (image[:1], image[1:]) if axes == "channel" else (image,):
            a_min, a_max = np.percentile(group, 2), np.percentile(group, 98)
            theirs = np.clip((group - a_min) / (a_max - a_min), 0, 1)
            place = 0 if group is image or np.shares_memory(group, image[:1]) else 1
            close(mine[place : place + len(group)], theirs)


def sliding_by_kaldi(frames, window, center, min_window, variance):
    """kaldi-asr/kaldi, src/feat/feature-functions.cc, SlidingWindowCmn, frame by frame; [T, bins]."""
    count, output = len(frames), np.empty_like(frames)
    for t in range(count):
        if center:
            start = t - window // 2
            end = start + window
        else:
            start, end = t - window, t + 1
        if start < 0:
            start, end = 0, end - start
        if not center:
            end = max(t + 1, min_window)
        if end > count:
            start, end = max(0, start - (end - count)), count
        part = frames[start:end]
        output[t] = frames[t] - part.mean(0)
        if variance:
            output[t] = 0 if len(part) == 1 else output[t] / np.sqrt(np.maximum(part.var(0), 1e-10))
    return output


@pytest.mark.parametrize("center", [True, False])
@pytest.mark.parametrize(("window", "min_window"), [(600, 100), (30, 10), (31, 31), (1, 1)])
def test_sliding_cmvn_of_kaldi(center, window, min_window):
    frames = np.random.default_rng(0).normal(-4, 3, (150, 5)).astype(np.float32)
    x = torch.from_numpy(frames.T.copy())[None]
    for name, options in (("cmn", {}), ("cmvn", {"eps": 0.0})):
        scheme = normalization(name, window=window, centered=center, min_window=min_window, **options).double()
        theirs = sliding_by_kaldi(frames.astype(float), window, center, min_window, name == "cmvn")
        close(scheme(x)[0].T, theirs, atol=1e-9)
        whole = (x * 1000).to(torch.int16)  # integers, by exact sums
        theirs = sliding_by_kaldi(whole[0].double().numpy().T, window, center, min_window, name == "cmvn")
        close(scheme(whole)[0].T, theirs, atol=1e-9)


def test_sliding_needs_time():
    with pytest.raises(DataError, match=r"norm\.window=5 slides over time"):
        normalization("cmvn", window=5)(torch.rand(2, 3, 4, 4))
    with pytest.raises(DataError, match="a table has one number for each column"):
        normalization("cmn")(torch.rand(2, 3))


@pytest.mark.parametrize("affine", [True, False])
def test_revin_by_its_formula(affine):
    """Kim et al. 2022, eq. 1 to 3, as in the authors' code: x, then a forecast of another length on its scale."""
    x = 30 + 5 * torch.randn(6, 3, 96, generator=torch.Generator().manual_seed(0))
    scheme = normalization("revin", affine=affine).fit([x]).double()
    if affine:
        scheme.weight.data, scheme.bias.data = torch.tensor([0.5, 1.0, 2.0]).double(), torch.tensor([0, 1, -1]).double()
    w, b = (value.detach()[:, None].numpy() for value in (scheme.weight, scheme.bias))
    u = x.double().numpy()
    mean, stdev = u.mean(2, keepdims=True), np.sqrt(u.var(2, keepdims=True) + 1e-5)
    close(scheme(x).detach(), (u - mean) / stdev * w + b)
    forecast = torch.randn(6, 3, 24, generator=torch.Generator().manual_seed(1)).double()
    theirs = (forecast.numpy() - b) / (w + 1e-10) * stdev + mean
    close(scheme.denormalize(forecast, x).detach(), theirs)
    trained = {name for name, value in scheme.named_parameters() if value.requires_grad}
    assert trained == ({"weight", "bias"} if affine else set())
    assert len(scheme.trained()) == (6 if affine else 0)


def test_a_difference_is_given_back_to_the_last_value():
    x = torch.randint(-3000, 3000, (6, 3, 50), generator=torch.Generator().manual_seed(0)).to(torch.int16)
    scheme = normalization("difference").fit(x[..., :-1].split(2)).double()
    step = np.diff(x.double().numpy())
    rms = np.sqrt((step[..., :-1] ** 2).mean((0, 2)))[:, None]
    close(scheme(x[..., :-1])[..., 1:], step[..., :-1] / rms)
    close(scheme.denormalize(torch.from_numpy(step[..., -1:] / rms), x[..., :-1]), x[..., -1:].double().numpy())
    for shape in ((4, 3), (4, 3, 8, 8)):
        with pytest.raises(DataError, match="is for series"):
            normalization("difference").fit([torch.rand(shape)])


def test_standard_scores_of_numpy_on_16_bits():
    x = torch.randint(0, 65536, (50, 3, 6, 6), generator=torch.Generator().manual_seed(0)).to(torch.uint16)
    u = x.double().numpy() / 65535
    close(normalization("dataset").fit(x.split(7)).std.flatten(), u.std((0, 2, 3)), rtol=1e-14)
    per_image = normalization("dataset", estimator="per_image").fit(x.split(7))
    close(per_image.std.flatten(), u.std((2, 3)).mean(0), rtol=1e-14)
    floats = normalization("dataset", estimator="per_image").set_range(0, 65535).fit(x.float().split(7))
    close(floats.std, per_image.std, rtol=1e-14)
