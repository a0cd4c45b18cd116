"""The page for practitioners quotes what the tables say."""

import math
import re
from dataclasses import replace
from types import SimpleNamespace

import pytest
from matplotlib.figure import Figure

from normlab import tables
from normlab.errors import ConfigError
from normlab.report import advice, study
from normlab.report.advice import write_advice
from normlab.report.effects import DATA, LEFT, PANELS, RIGHT, _mark, effects, panel, write_effects
from normlab.report.findings import accuracy_at
from normlab.report.numbers import Numbers
from normlab.report.page import _shown
from normlab.report.sensitivity import compare
from normlab.report.tables import differences, wide
from tests.report.planted_records import OVERRIDES, plant


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    runs = tmp_path_factory.mktemp("advice") / "runs"
    plant(runs)
    return tables.make("learning_rates", runs, runs.parent / "results", OVERRIDES)


@pytest.mark.slow
def test_numbers_are_those_of_the_tables(made):
    of, frames = Numbers([made]), made[0].at_rates
    best = wide(made[0], frames["best"]).set_index("norm")
    assert of.accuracy("learning_rates", "unit") == f"{100 * best.accuracy['unit']:.1f}%"
    assert of.rate("learning_rates", "unit") == "1"
    less = differences(made[0], frames["common"]).set_index("norm").loc["unit"]
    expected = f"{100 * less.difference:+.1f} [{100 * less.low:+.1f}, {100 * less.high:+.1f}] points"
    assert of.gain("learning_rates", "unit", "common") == expected
    rows = frames["best"]
    assert of.mean("learning_rates", "raw", "lr") == rows[rows.norm == "raw"].lr.mean()
    assert of.runs() == of.runs("learning_rates") == 72
    assert of.verdict("C01") == "not tested"
    assert of.verdict("LR1") == made[1][0].result
    with pytest.raises(ConfigError, match="learning_rates has no factor arch"):
        of.accuracy("learning_rates", "unit", arch="cnn")
    with pytest.raises(ConfigError, match="has 0 rows for zca"):
        of.accuracy("learning_rates", "zca")


@pytest.mark.slow
def test_effects_are_the_differences_from_the_data_sets_own_statistics(made, tmp_path):
    frame = effects([made[0], made[0]])  # runs that two studies share count once
    assert frame.scheme.to_list() == ["raw", "unit", "centered"]
    assert set(frame.study) == {("learning_rates", "learning_rates")}
    known = differences(made[0], made[0].at_rates["best"], "dataset").set_index("norm")
    for row in frame.itertuples():
        assert row.difference == pytest.approx(100 * known.difference[row.scheme])
        assert (row.n, row.network, row.inside, row.optimizer) == (6, "cnn", "nothing", "sgd")
        assert row.low < row.difference < row.high
    # Planted: unit and dataset reach 80% at their best rates, centered 65%.
    assert frame.set_index("scheme").difference.to_dict() == pytest.approx(
        {"unit": 0, "centered": -15, "raw": 0}, abs=1
    )
    path = write_effects([made[0]], tmp_path)
    assert len([line for line in path.read_text().splitlines() if line.startswith("| cnn")]) == 3
    assert (tmp_path / "effects.png").stat().st_size > 5_000
    assert write_effects([], tmp_path) is None


def with_divergence(one, norm, lr, seed):
    """The study with one run that diverged."""

    def changed(stored):
        found = stored.record
        if (found["norm"], found["lr"], found["seed"]) != (norm, lr, seed):
            return stored
        metrics = found["metrics"] | {"test_accuracy": math.nan, "validation_accuracy": math.nan}
        return replace(stored, record=found | {"status": "diverged", "metrics": metrics})

    return replace(one, stored=tuple(map(changed, one.stored)))


def test_pairs_that_a_divergence_takes_away_are_told_wherever_the_difference_is(made, tmp_path):
    lost = with_divergence(made[0], "unit", 1.0, 3)
    frame = effects([lost]).set_index("scheme")
    assert frame.n.to_dict() == {"raw": 6, "unit": 5, "centered": 6}
    text = write_effects([lost], tmp_path, draw_it=False).read_text()
    assert text.count("| 5 (1 lost to divergence) |") == 1
    assert _shown(frame.loc["unit"])["pairs"] == "5 (1 lost to divergence)"
    assert (
        Numbers([(lost, made[1])]).gain("learning_rates", "unit").endswith("points (1 of 6 pairs lost to divergence)")
    )
    assert accuracy_at(lost, "unit", 1.0).endswith("over 5 seeds, 1 more diverged")
    assert accuracy_at(made[0], "unit", 1.0).endswith("over 6 seeds")


def test_a_change_under_which_runs_diverge_leaves_a_conclusion_open(made):
    """Those that are left may all lie beyond the margin, because those that would not have diverged."""
    lost = with_divergence(made[0], "centered", 0.01, 3)
    for one, variant in ((made[0], lost), (lost, made[0])):
        frame = compare(one, {"as it is": one, "other": variant}).set_index(["change", "norm"])
        assert frame.changed_high["other", "centered"] < -0.02
        assert frame.conclusion["other", "centered"] == "open"
        assert frame.conclusion["other", "unit"] == frame.conclusion["as it is", "unit"]
    assert compare(made[0], {"as it is": made[0]}).set_index("norm").conclusion["centered"] == "stays"


@pytest.mark.parametrize(("points", "place", "text"), [(21.9, RIGHT, ["+22"]), (-56.6, LEFT, ["-57"]), (4.9, 4.9, [])])
def test_an_effect_beyond_the_figure_is_drawn_at_its_edge_with_its_number(points, place, text):
    axes = Figure().subplots()
    cell = {"data": "photos", "schedule": "cosine", "init": "he", "optimizer": "sgd", "images": "2,000"}
    _mark(axes, SimpleNamespace(**cell, difference=points, low=points - 9, high=points + 9), 0.0)
    drawn = [x for line in axes.lines for x in line.get_xdata()]
    assert place in drawn
    assert all(LEFT <= x <= RIGHT for x in drawn)
    assert [one.get_text() for one in axes.texts] == text


def test_what_weighs_more_is_drawn_larger_and_darker():
    def mark(**changes):
        axes = Figure().subplots()
        cell = {"data": "digits", "schedule": "cosine", "optimizer": "sgd", "images": "2,000", **changes}
        _mark(axes, SimpleNamespace(**cell, difference=0.0, low=-1.0, high=1.0), 0.0)
        return axes.lines[-1]

    sizes = [mark(images=images).get_markersize() for images in ("400", "6,000", "45,000", "400 and 20,000")]
    assert sizes[0] < sizes[1] < sizes[2] == sizes[3]
    assert mark(schedule="constant").get_alpha() < mark().get_alpha() == 1
    assert (mark(schedule="constant").get_markerfacecolor(), mark().get_markerfacecolor()) == ("white", DATA["digits"])


def test_the_page_waits_for_its_studies_and_quotes_them(made, tmp_path, monkeypatch):
    assert write_advice([made], tmp_path) is None  # it begins with ordering
    monkeypatch.setattr(Numbers, "has", lambda self, *studies: set(studies) <= {"ordering"} or "learning" in studies[0])
    (tmp_path / "text.md").write_text(
        'raw {{ of.accuracy("learning_rates", "raw") }}, {{ of.verdict("LR1") }}\n'
        '{% if of.has("light") %}\n{{ of.accuracy("light", "raw") }}\n{% endif %}\n'
    )
    monkeypatch.setattr(advice, "TEMPLATE", tmp_path / "text.md")
    path = write_advice([made], tmp_path)
    assert path.read_text() == f"raw {Numbers([made]).accuracy('learning_rates', 'raw')}, holds\n"


def test_each_piece_of_advice_names_its_conditions_and_what_would_overturn_it():
    page = re.sub(r"\{\{.*?\}\}", "looked up", advice.TEMPLATE.read_text())
    rows = [row for row in page.partition("## Why")[0].splitlines() if row.startswith("| ")]
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    assert cells[0][3:] == ["under these conditions", "what would overturn it"]
    assert 0 < len(cells[2:]) <= 10
    assert all(len(row) == 5 and all(row) for row in cells)


def test_measured_numbers_are_means_over_the_rows():
    rows = [{"norm": "raw", "padding": "zeros", "seed": seed, "recomputed": 0.4 + seed / 10} for seed in (0, 1)]
    entry = {"measure": "recomputed_statistics", "rows": rows, "provenance": {}}
    found = study.Study("borders", study.plan("borders"), (), 0, (entry,))
    numbers = Numbers([(found, [])])
    assert numbers.has_measured("borders")
    assert not numbers.has_measured("mismatch")
    assert numbers.measured("borders", "recomputed", norm="raw", padding="zeros") == pytest.approx(0.45)
    with pytest.raises(ConfigError, match="has no measured rows"):
        numbers.measured("borders", "recomputed", norm="dataset")


@pytest.mark.parametrize(
    ("network", "inside", "init", "place"),
    [
        ("cnn", "nothing", "he", 0),
        ("cnn", "nothing", "torch", 1),
        ("allconv", "batch", "torch", 2),
        ("cnn", "group", "he", 3),
        ("vit", "layer", "-", 4),
        ("linear", "nothing", "zeros", 5),
        ("pretrained", "batch", "-", 6),
    ],
)
def test_an_effect_stands_in_the_panel_of_its_network_and_initial_weights(network, inside, init, place):
    assert panel(SimpleNamespace(network=network, inside=inside, init=init)) == PANELS[place]
