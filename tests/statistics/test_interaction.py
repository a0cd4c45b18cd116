"""Interactions against closed forms of the balanced design, and against simulated units."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.stats.anova import AnovaRM

from normlab.statistics import interaction, paired_difference, t_test


def frame_of(values, names=("seed", "norm.name", "optim.name", "test accuracy")):
    """Rows in a shuffled order, of values [n, a, b]."""
    rows = [(i, f"norm{j}", f"optim{k}", values[i, j, k]) for i, j, k in np.ndindex(values.shape)]
    return pd.DataFrame(rows, columns=names).sample(frac=1, random_state=0)


def found_in(values):
    return interaction(frame_of(values), "test accuracy", "norm.name", "optim.name", "seed")


def sums_of_squares(values):
    """Of the interaction, and of the residual of all cells around unit + cell; [..., n, a, b]."""
    mean = values.mean(axis=(-3, -2, -1), keepdims=True)
    cell = values.mean(axis=-3, keepdims=True)
    rows, columns = cell.mean(axis=-1, keepdims=True), cell.mean(axis=-2, keepdims=True)
    unit = values.mean(axis=(-2, -1), keepdims=True)
    of_interaction = values.shape[-3] * ((cell - rows - columns + mean) ** 2).sum(axis=(-3, -2, -1))
    return of_interaction, ((values - cell - unit + mean) ** 2).sum(axis=(-3, -2, -1))


def f_and_p(values):
    n, a, b = values.shape[-3:]
    top, bottom = (a - 1) * (b - 1), (a * b - 1) * (n - 1)
    between, within = sums_of_squares(values)
    f = between / top / (within / bottom)
    return f, stats.f.sf(f, top, bottom)


@pytest.mark.parametrize("shape", [(5, 2, 2), (2, 2, 2), (5, 3, 2), (4, 2, 5), (10, 3, 4)])
def test_f_is_the_closed_form_of_the_balanced_design(shape):
    n, a, b = shape
    generator = np.random.default_rng(shape)
    values = 0.9 + generator.normal(0, 0.1, (n, 1, 1)) + generator.normal(0, 0.01, shape)
    values[:, -1, -1] += 0.01
    found = found_in(values)
    f, p = f_and_p(values)
    assert found.statistic == pytest.approx(f, rel=1e-8)
    assert found.p_value == pytest.approx(p, rel=1e-8)
    assert found.degrees_of_freedom == ((a - 1) * (b - 1), (a * b - 1) * (n - 1))
    assert (found.estimate is not None) == (a == b == 2)


def test_by_hand():
    """Differences of differences 3, 1, 2: mean 2. Of the sums of squares, 3 is the interaction's and 0.5 noise."""
    values = np.zeros((3, 2, 2))
    values[:, 1, 1] = [3, 1, 2]
    found = found_in(values)
    assert found.estimate == paired_difference([3, 1, 2], [0, 0, 0])
    assert found.estimate.estimate == 2
    # Interaction: 3 * 2^2 / 4 = 3. Within units, around the cells: (1 + 1 + 0) * (1 - 1/4) = 1.5, with 6 degrees.
    assert found.degrees_of_freedom == (1, 6)
    assert found.statistic == pytest.approx(3 / (1.5 / 6), rel=1e-12)
    assert found.p_value == pytest.approx(stats.f.sf(12, 1, 6), rel=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_of_two_levels_t_squared_is_repeated_measures_anova(seed):
    """The estimate's t is the F of statsmodels' AnovaRM, which judges by the interaction's own noise."""
    values = np.random.default_rng(seed).normal(size=(6, 2, 2))
    found = found_in(values)
    table = (
        AnovaRM(frame_of(values, ("seed", "f", "g", "y")), "y", "seed", within=["f", "g"]).fit().anova_table.loc["f:g"]
    )
    first, second = values[:, 1, 1] - values[:, 1, 0], values[:, 0, 1] - values[:, 0, 0]
    assert t_test(first, second) == pytest.approx(table["Pr > F"], rel=1e-8)
    assert found.estimate == paired_difference(first, second)
    between, within = sums_of_squares(values)
    assert between == pytest.approx(6 * found.estimate.estimate**2 / 4, rel=1e-9)
    assert found.statistic * within / 15 == pytest.approx(
        table["F Value"] * np.var(first - second, ddof=1) / 4, rel=1e-8
    )


def test_main_effects_units_and_a_common_offset_do_not_count():
    generator = np.random.default_rng(0)
    values = generator.normal(size=(5, 2, 3))
    moved = values + 1e4 + 100 * generator.normal(size=(5, 1, 1)) + [[10], [20]] + np.array([5, 50, 500])
    f, p = found_in(values).statistic, found_in(values).p_value
    assert found_in(moved).statistic == pytest.approx(f, rel=1e-6)
    assert found_in(-3 * values).p_value == pytest.approx(p, rel=1e-9)
    crossed = values + np.array([[0, 0, 0], [0, 0, 5]])
    assert found_in(crossed).p_value < 1e-3 < p


def test_the_estimate_turns_with_the_order_of_levels():
    values = np.random.default_rng(1).normal(size=(5, 2, 2))
    found = found_in(values).estimate
    frame = frame_of(values)
    frame["norm.name"] = pd.Categorical(frame["norm.name"], ["norm1", "norm0", "unused"])
    turned = interaction(frame, "test accuracy", "norm.name", "optim.name", "seed").estimate
    assert turned.estimate == pytest.approx(-found.estimate, rel=1e-12)
    assert (turned.low, turned.high) == pytest.approx((-found.high, -found.low), rel=1e-12)
    both = interaction(frame, "test accuracy", "optim.name", "norm.name", "seed").estimate
    assert both.estimate == pytest.approx(turned.estimate, rel=1e-12)


def test_without_noise_any_interaction_is_one():
    """0.1 steps, which round: what is left of the sums of squares is no noise to judge by."""
    additive = 0.1 * np.arange(5)[:, None, None] + np.array([[0.1, 0.3], [0.4, 0.6]])
    found = found_in(additive)
    assert (found.statistic, found.p_value) == (0, 1)
    assert (found.estimate.low, found.estimate.high) == (0, 0)
    crossed = additive + np.array([[0, 0], [0, 0.1]])
    found = found_in(crossed)
    assert (found.statistic, found.p_value) == (math.inf, 0)
    assert found.estimate.low == found.estimate.high == pytest.approx(0.1)
    constant = found_in(np.full((5, 2, 2), 0.7))
    assert (constant.statistic, constant.p_value) == (0, 1)


def test_one_unit_leaves_nothing_to_judge_by():
    found = found_in(np.arange(4.0).reshape(1, 2, 2) ** 2)
    assert found.estimate.estimate == (9 - 4) - (1 - 0)
    assert math.isnan(found.estimate.low)
    assert math.isnan(found.statistic)
    assert math.isnan(found.p_value)
    assert found.degrees_of_freedom == (1, 0)


def test_a_missing_cell_is_named():
    frame = frame_of(np.random.default_rng(0).normal(size=(3, 2, 2)))
    at = (frame["seed"] == 1) & (frame["norm.name"] == "norm1") & (frame["optim.name"] == "optim0")

    def of(changed):
        return interaction(changed, "test accuracy", "norm.name", "optim.name", "seed")

    where = r"of test accuracy at seed=1, norm.name=norm1, optim.name=optim0"
    with pytest.raises(ValueError, match=rf"^no value {where}"):
        of(frame[~at])
    with pytest.raises(ValueError, match=rf"^2 values {where}"):
        of(pd.concat([frame, frame[at]]))
    for bad in (math.nan, math.inf):
        with pytest.raises(ValueError, match=rf"^no finite value {where}"):
            of(frame.assign(**{"test accuracy": frame["test accuracy"].mask(at, bad)}))
    with pytest.raises(ValueError, match=r"^no value of test accuracy at seed=0, norm.name=norm1, optim.name=optim0"):
        of(frame[(frame["norm.name"] == "norm0") | (frame["optim.name"] == "optim1")])
    with pytest.raises(ValueError, match=r"^a row has no norm.name"):
        of(frame.assign(**{"norm.name": frame["norm.name"].mask(at)}))
    with pytest.raises(ValueError, match=r"^norm.name has 1 level"):
        of(frame[frame["norm.name"] == "norm0"])


def simulated(units_differ_in, n=5, studies=2000):
    """Studies without an interaction in the mean, [studies, n, 2, 2]."""
    generator = np.random.default_rng(3)
    values = generator.normal(size=(studies, n, 1, 1)) + generator.normal(size=(studies, n, 2, 2))
    if units_differ_in == "a factor":
        values[..., 1, :] += generator.normal(0, 5, (studies, n, 1))
    elif units_differ_in == "the interaction":
        values[..., 1, 1] += generator.normal(0, 5, (studies, n))
    return values


@pytest.mark.parametrize(
    ("units_differ_in", "least", "most"),
    [("nothing", 0.035, 0.065), ("a factor", 0, 0.005), ("the interaction", 0.07, 1)],
)
def test_what_f_and_the_estimate_assume(units_differ_in, least, most):
    """Rejections at 5% where there is no interaction, by F and by the estimate.

    5.5% and 4.6% if a unit moves all its cells alike, 0.05% and 4.6% if units differ in a factor, 8.4% and 4.9% if they
    differ in the interaction.
    """
    values = simulated(units_differ_in)
    by_f = np.mean(f_and_p(values)[1] < 0.05)
    contrast = values[..., 1, 1] - values[..., 1, 0] - values[..., 0, 1] + values[..., 0, 0]
    by_estimate = np.mean(stats.ttest_1samp(contrast, 0, axis=1).pvalue < 0.05)
    assert least <= by_f <= most
    assert 0.035 <= by_estimate <= 0.065
