"""The search for learning rates: where it ends on planted curves; a study that is searched, killed and confirmed."""

import json
import os
import random
import re
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from normlab import tables
from normlab.commandline.grid import expected, load
from normlab.commandline.rates import MOST_STEPS, best_step, next_steps, search
from normlab.config import check
from normlab.errors import ConfigError
from normlab.report import study
from normlab.report.study import Rates
from normlab.report.tables import shown_wide, wide
from tests.conftest import configuration


def end_of_search(score):
    """The scores of all steps that the search tries on a curve; they are new each time, and lie side by side."""
    scores = {}
    while steps := next_steps(scores):
        assert not set(steps) & set(scores)
        scores |= {step: score(step) for step in steps}
        assert sorted(scores) == list(range(min(scores), max(scores) + 1))
    return scores


@pytest.mark.parametrize("peak", range(-MOST_STEPS + 1, MOST_STEPS))
def test_the_peak_of_a_unimodal_curve_is_found_and_is_inside(peak):
    scores = end_of_search(lambda step: -abs(step - peak))
    assert best_step(scores) == peak
    assert min(scores) < peak < max(scores)
    assert len(scores) == max(3, abs(peak) + 3)  # no step more than it takes


@pytest.mark.parametrize(("slope", "end"), [(1, MOST_STEPS), (-1, -MOST_STEPS)])
def test_a_monotone_curve_ends_at_the_bound(slope, end):
    scores = end_of_search(lambda step: slope * step)
    assert best_step(scores) == end
    assert len(scores) == MOST_STEPS + 2


def test_a_flat_curve_is_followed_both_ways_to_the_bounds():
    scores = end_of_search(lambda step: 0.1)
    assert (min(scores), max(scores)) == (-MOST_STEPS, MOST_STEPS)
    assert best_step(scores) == -MOST_STEPS  # at the edge, which is said


@pytest.mark.parametrize("start", [-8, -4, -2, 3, 6])
def test_where_the_first_rates_do_not_train_the_ones_that_do_are_found(start):
    """Chance at all rates but a few, above or below those that were tried first."""
    scores = end_of_search(lambda step: 0.5 if step in (start, start + 1) else 0.1)
    assert best_step(scores) == start
    assert min(scores) < start
    assert max(scores) > start + 1


def test_a_plateau_has_worse_rates_on_both_sides_at_the_end():
    scores = end_of_search(lambda step: 1.0 if -3 <= step <= 4 else 0.7)
    assert (min(scores), max(scores)) == (-4, 5)
    assert best_step(scores) == -3


@pytest.mark.parametrize("largest", range(-MOST_STEPS + 1, 4))
def test_divergence_above_a_rate_leads_below_it(largest):
    """Better up to the largest stable rate, above it nothing: a diverged run counts 0."""
    scores = end_of_search(lambda step: 0.5 + 0.01 * step if step <= largest else 0.0)
    assert best_step(scores) == largest
    assert scores[largest + 1] == 0


def test_on_noisy_curves_it_ends_with_the_best_inside_or_at_the_bound():
    generator = np.random.default_rng(0)
    ends = 0
    for _ in range(300):
        peak, noise = generator.uniform(-12, 12), generator.normal(0, 1, 2 * MOST_STEPS + 1)
        scores = end_of_search(lambda step, peak=peak, noise=noise: -abs(step - peak) + noise[step + MOST_STEPS])
        best = best_step(scores)
        assert min(scores) < best < max(scores) or abs(best) == MOST_STEPS
        ends += abs(best) == MOST_STEPS
    assert 0 < ends < 100


def test_all_seeds_of_a_cell_have_a_score_before_a_rate_counts(tmp_path):
    rates = Rates(around=({"lr": 0.1}, {"norm": "raw", "lr": 1e-4}))
    configs = [configuration(tmp_path, norm=norm, seed=seed) for norm in ("unit", "raw") for seed in (0, 1)]
    jobs = [[f"+norm={config.norm.name}", f"++seed={config.seed}"] for config in configs]
    known = {("unit", lr, seed): lr for lr in (0.05, 0.1, 0.2) for seed in (0, 1)}
    known |= {("raw", lr, seed): -lr for lr in (5e-5, 1e-4, 2e-4) for seed in (0, 1) if (lr, seed) != (2e-4, 1)}
    score = lambda config: known.get((config.norm.name, config.optim.lr, config.seed))  # noqa: E731
    made, runs, (unit, raw) = search(jobs, configs, rates, score)
    assert (unit.steps, unit.waits) == ((-1, 0, 1, 2), True)
    assert (raw.steps, raw.waits) == ((-1, 0, 1), True)
    assert [(config.norm.name, config.optim.lr, config.seed) for config in runs] == [
        *((("unit"), lr, seed) for lr in (0.05, 0.1, 0.2, 0.4) for seed in (0, 1)),
        *((("raw"), lr, seed) for lr in (5e-5, 1e-4, 2e-4) for seed in (0, 1)),
    ]
    assert made[-1] == ["+norm=raw", "++seed=1", "++optim.lr=0.0002"]
    # The mean over seeds decides: raw's is now best in the middle, though seed 1 alone would go down.
    known |= {("raw", 2e-4, 1): -1.0, ("raw", 1e-4, 0): 5.0, ("unit", 0.4, 0): 0.0, ("unit", 0.4, 1): 0.1}
    _, runs, (unit, raw) = search(jobs, configs, rates, score)
    assert (unit.steps, unit.waits, unit.at_edge) == ((-1, 0, 1, 2), False, False)
    assert (raw.steps, raw.waits, raw.at_edge) == ((-1, 0, 1), False, False)


def test_the_last_entry_that_fits_says_where_the_search_starts(tmp_path):
    rates = Rates(
        around=({"lr": 0.1}, {"arch.init": "torch", "lr": 0.2}, {"optim": "adam", "norm": "raw", "lr": "1e-3"})
    )
    assert rates.start(configuration(tmp_path)) == 0.1
    assert rates.start(configuration(tmp_path, **{"arch.init": "torch"})) == 0.2
    assert rates.start(configuration(tmp_path, optim="adam", norm="raw", **{"arch.init": "torch"})) == 1e-3
    assert rates.start(configuration(tmp_path, optim="adam")) == 0.1
    with pytest.raises(ConfigError, match="no entry fits norm=unit"):
        Rates(around=({"norm": "raw", "lr": 1},)).start(configuration(tmp_path))
    with pytest.raises(ConfigError, match=r"has no key arch\.depht"):
        Rates(around=({"arch.depht": 2, "lr": 1},)).start(configuration(tmp_path))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"around": []}, "at least 1 item"),
        ({"around": [{"norm": "raw"}]}, "expected a positive number as lr"),
        ({"around": [{"lr": 0}]}, "expected a positive number as lr"),
        ({"around": [{"lr": "fast"}]}, "expected a positive number as lr"),
        ({"around": [{"lr": 1}], "factor": 1}, "greater than 1"),
    ],
)
def test_a_plan_whose_rates_make_no_sense_is_refused(changed, message):
    with pytest.raises(ConfigError, match=message):
        check(study.Plan, {"question": "?", "budget": "none", "rates": changed})


def test_a_plan_with_both_a_search_and_rates_in_its_grid_is_refused():
    content = {"question": "?", "budget": "none", "grid": {"optim.lr": 1}, "rates": {"around": [{"lr": 1}]}}
    with pytest.raises(ConfigError, match="both say which learning rates are run"):
        check(study.Plan, content)


SEARCHED = """# @package _global_
study: searched
defaults: [{override /data: digits}, {override /logger: none}]
data: {limit: 60, batch_size: 16}
arch: {width: 4}
trainer: {max_epochs: 2, checkpoint: false}
experiment:
  question: "Which?"
  grid: {norm: "raw,unit", seed: "range(0,2)"}
  rates: {factor: 4, around: [{lr: 1e-5}, {norm: unit, lr: 0.02}]}
  confirm: [5, 8]
  sensitivity: {grid: {seed: 0}, confirm: [5, 7], changes: {wide: {arch.width: 8}}}
  quick: {optim.lr: 0.1}
  budget: none
  reference: unit
  claims:
    - {id: SR1, statement: It does., at: best, rules: [unit > raw]}
    - {id: SR2, statement: It is as good., at: best, rules: [unit = dataset ± 0.1]} # no run has dataset
"""


@pytest.fixture
def searched(here, studies_in):
    """A study that searches the rates of two schemes, in an experiments folder of its own."""
    (here / "experiments/searched").mkdir(parents=True)
    (here / "experiments/searched/study.yaml").write_text(SEARCHED)
    studies_in(here / "experiments")


def rates_of(runs=Path("runs")):
    """The rates that were run of each scheme, with their mean validation accuracy."""
    found = {}
    for path in runs.glob("*/record.json"):
        stored = json.loads(path.read_text())
        score = stored["metrics"]["validation_accuracy"] if stored["status"] == "finished" else 0.0
        if stored["seed"] < 5:
            found.setdefault(stored["norm"], {}).setdefault(stored["lr"], []).append(score)
    return {norm: {lr: sum(each) / len(each) for lr, each in sorted(rates.items())} for norm, rates in found.items()}


@pytest.mark.slow
def test_a_searched_study_ends_with_the_best_rates_inside_and_confirms_them(searched, call):
    status, out, err = call("-m", "+experiment=searched", "confirm=true")
    assert (status, out) == (2, "")  # nothing to choose by yet
    assert "none of its 12 runs has a record" in err
    status, out, err = call("-m", "+experiment=searched")
    assert status == 0, err
    tried = rates_of()
    total = sum(map(len, tried.values())) * 2
    assert total > 12  # the start of raw is too small: it was extended
    ended = re.search(r"\n(\d+) jobs: (\d+) finished(?:, (\d+) diverged)?\n$", out)
    assert [int(ended[1]), int(ended[2]) + int(ended[3] or 0)] == [total, total]
    assert "the best is inside of what was tried in 2 of 2 cells" in err
    assert "12 so far done" in err
    for norm, scores in tried.items():
        rates = list(scores)
        assert rates[0] < max(scores, key=scores.get) < rates[-1], norm
        assert [rates[i + 1] / rates[i] for i in range(len(rates) - 1)] == pytest.approx(
            [4] * (len(rates) - 1), rel=1e-3
        )
    found = load("searched", Path("runs"), Path("results/searched"))
    assert (len(found.records), found.missing) == (total, 2 * 3)
    assert dict(zip(found.best_rates.norm, found.best_rates.lr, strict=True)) == {
        norm: max(scores, key=scores.get) for norm, scores in tried.items()
    }
    again = call("-m", "+experiment=searched")
    assert again[1].endswith(f"{total} jobs: {total} skipped\n")
    assert "the best is inside of what was tried in 2 of 2 cells" in again[2]
    assert call("-m", "+experiment=searched", "confirm=true")[1].endswith("6 jobs: 6 finished\n")
    found = load("searched", Path("runs"), Path("results/searched"))
    assert found.missing == 0
    best = found.at_rates["best"]
    assert set(best.seed) == {5, 6, 7}
    frame = wide(found, best)
    assert not frame.at_edge.any()
    assert dict(zip(frame.norm, frame.tried, strict=True)) == {norm: len(scores) for norm, scores in tried.items()}
    low = min(tried["raw"])
    assert shown_wide(found, frame)["rates tried"][0] == f"{len(tried['raw'])}, {low:g} to {max(tried['raw']):g}"
    # What is kept beside the tables is enough, and gives the same search, without the runs.
    tables.make("searched", Path("runs"), Path("results"), [])
    kept = load("searched", Path("elsewhere"), Path("results/searched"))
    assert len(kept.records) == total + 6
    assert kept.missing == 0


@pytest.mark.slow
def test_a_change_of_a_plan_is_searched_confirmed_and_compared(searched, call):
    for arguments in ([], ["confirm=true"], ["sensitivity=wide"], ["sensitivity=wide", "confirm=true"]):
        status, out, err = call("-m", "+experiment=searched", *arguments)
        assert status == 0, err
        assert "failed" not in out
        if arguments == ["confirm=true"]:  # a change without runs is named
            tables.make("searched", Path("runs"), Path("results"), [], draw=False)
            assert "arch.width=8: not run." in Path("results/searched/README.md").read_text()
    assert out.endswith("4 jobs: 4 finished\n")  # two schemes, seeds 5 and 6, each at its best rate
    own = load("searched", Path("runs"), Path("results/searched"))
    assert {one["config"]["arch"]["width"] for one in own.records} == {4}
    tables.make("searched", Path("runs"), Path("results"), [])
    page = Path("results/searched/README.md").read_text()
    kept = load("searched", Path("elsewhere"), Path("results/searched"), change="wide")
    assert (kept.missing, kept.records[0]["config"]["arch"]["width"]) == (0, 8)
    best = kept.at_rates["best"]
    assert set(best.seed) == {5, 6}
    table = best.pivot(index="seed", columns="norm", values="test_accuracy")
    difference = 100 * float((table.raw - table.unit).mean())
    (row,) = [line for line in page.splitlines() if line.startswith("| arch.width=8 ")]
    assert f"{difference:+.1f} [" in row
    assert {cell.strip() for cell in row.split("|")} >= {"raw", "2"}
    (row,) = [line for line in page.splitlines() if line.startswith("| SR1 ")]
    assert "3 pairs, a verdict needs 5" in row.split("|")[2]
    assert "2 pairs, a verdict needs 5" in row.split("|")[3]
    assert "Not asked by these changes: SR2.\n" in page


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-m", "+experiment=searched", "sensitivity=deep"], "wide"),
        (["-m", "+experiment=searched", "sensitivity=wide", "quick=true"], "leave one out"),
        (["-m", "norm=unit", "sensitivity=wide"], "requires a sweep of a study whose plan has changes"),
        (["+experiment=searched", "sensitivity=wide"], "requires a sweep of a study whose plan has changes"),
    ],
)
def test_a_change_that_cannot_be_made_is_refused(searched, call, arguments, message):
    status, out, err = call(*arguments)
    assert (status, out) == (2, "")
    assert message in err


def test_a_rate_that_is_given_is_not_searched(searched, call):
    out = call("-m", "+experiment=searched", "quick=true")[1]
    assert out.endswith("4 jobs: 4 finished\n")
    assert set(rates_of()["unit"]) == {0.1}
    assert len(expected("searched", ["optim.lr=1,2"])) == 8


@pytest.mark.slow
def test_a_job_that_fails_ends_the_search_in_its_cell_alone(searched, call, tmp_path, monkeypatch):
    import normlab.run as running

    train = running.train

    def broken(config, *arguments):
        if config.norm.name == "unit" and config.seed == 1 and config.optim.lr == 0.02:
            raise RuntimeError("out of luck")
        return train(config, *arguments)

    monkeypatch.setattr(running, "train", broken)
    status, out, err = call("-m", "+experiment=searched")
    assert status == 1
    assert "1 failed" in out
    assert "the best is inside of what was tried in 1 of 2 cells" in err
    assert "norm=unit: 0.005 to 0.08: runs are missing" in err
    assert set(rates_of()["unit"]) == {0.005, 0.02, 0.08}
    assert "by which the rates are chosen" in call("-m", "+experiment=searched", "confirm=true")[2]
    monkeypatch.setattr(running, "train", train)
    status, out, err = call("-m", "+experiment=searched")
    assert status == 0
    assert "the best is inside of what was tried in 2 of 2 cells" in err


@pytest.mark.campaign
@pytest.mark.slow
def test_a_parallel_search_that_is_killed_ends_as_if_undisturbed(searched, call, tmp_path):
    assert call("-m", "+experiment=searched")[0] == 0
    calm = rates_of()
    script = (
        "import sys, pathlib; from normlab import config; config.EXPERIMENTS = pathlib.Path('experiments').resolve()\n"
        "from normlab import __main__ as command\n"
        "command.main()\n"
    )
    arguments = ["-m", "+experiment=searched", "runs=killed", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]
    chance = random.Random(0)
    for attempt in range(3):
        process = spawn(script, arguments, tmp_path)
        if attempt < 2:
            while process.poll() is None and not (tmp_path / "killed").exists():
                time.sleep(0.02)
            time.sleep(chance.uniform(0, 2))
            os.killpg(process.pid, signal.SIGKILL)
        _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    ended = rates_of(Path("killed"))
    assert {norm: set(scores) for norm, scores in ended.items()} == {norm: set(scores) for norm, scores in calm.items()}


def spawn(script, arguments, folder):
    import subprocess
    import sys

    return subprocess.Popen(
        [sys.executable, "-c", script, *arguments],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
