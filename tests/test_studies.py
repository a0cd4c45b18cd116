"""Every study: its plan is sound, and its quick version runs and ends in tables and verdicts."""

import math
from functools import cache

import numpy as np
import pytest
from PIL import Image

from normlab import tables
from normlab.commandline.grid import expected
from normlab.config import EXPERIMENTS, studies
from normlab.data import load
from normlab.measurements.starts import network_at_start
from normlab.norms import build_scheme
from normlab.report import ledger, study
from normlab.run import run
from normlab.training.optimizers import build_optimizer

SMALLEST = ["quick=true", "seed=0", "data.limit=120", "data.batch_size=32", "trainer.max_epochs=1", "logger=none"]
WITH_RUNS = [name for name in studies() if study.plan(name).quick]


@cache
def smallest(name):
    """The runs of the smallest version, composed once a process."""
    return expected(name, SMALLEST)


@pytest.mark.parametrize("name", studies())
def test_a_study_has_a_readme_and_claims_that_somebody_made(name):
    text = (EXPERIMENTS / name / "README.md").read_text()
    plan = study.plan(name)
    assert plan.grid or plan.measure
    for claim in plan.claims:
        assert claim.statement or claim.id in ledger.entries()
        said = claim.id in text or claim.id not in ledger.entries()
        assert said, f"experiments/{name}/README.md does not name {claim.id}: say there what you expect"
        for rule in claim.rules:
            if rule.at != "measured":
                assert set(rule.over) <= {
                    key if key in ("arch", "data", "optim") else f"config.{key}" for key in plan.grid
                }


@pytest.mark.slow
@pytest.mark.parametrize("name", studies())
def test_a_verdict_needs_five_seeds(name):
    """Of those that compare runs: the seeds that confirm, else those of the grid. What is exact needs none."""
    plan = study.plan(name)
    if any(rule.at != "measured" for claim in plan.claims for rule in claim.rules):
        whole = [*["quick=true"] * bool(plan.quick), f"seed={plan.grid['seed']}"]
        seeds = range(*plan.confirm) if plan.confirm else {config.seed for config in expected(name, whole)}
        assert len(seeds) >= 5


@pytest.fixture(scope="module")
def loaded():
    """Each data set of the studies, read once."""
    known = {}

    def read(options):
        if repr(options) not in known:
            known[repr(options)] = load(options)
        return known[repr(options)]

    return read


@pytest.mark.slow
@pytest.mark.parametrize("name", WITH_RUNS)
def test_every_value_of_the_grid_builds_a_network_that_answers(here, monkeypatch, loaded, name):
    """Data, normalization, network and optimizer of the quick version, without training."""
    monkeypatch.delenv("NORMLAB_DATA", raising=False)
    jobs = smallest(name)
    assert not {config.data.name for config in jobs} & {"folder", "fashion_mnist"}
    for config in covering(study.plan(name), jobs):
        data = loaded(config.data)
        norm = build_scheme(config.norm, data.front).set_range(data.black, data.white).fit(data.training_inputs())
        network = network_at_start(data, norm, config.arch, config.seed)
        build_optimizer(config.optim, network)
        images, _ = next(data.train.batches(4))
        assert network(images).shape == (4, len(data.classes))


@pytest.mark.slow
@pytest.mark.parametrize("name", WITH_RUNS)
def test_two_runs_end_in_tables_and_verdicts(here, monkeypatch, name):
    """The last run and the first of those farthest from it in the grid; one seed, one epoch, 120 images.

    Figures are drawn in tests/report.
    """
    monkeypatch.delenv("NORMLAB_DATA", raising=False)
    jobs, plan = smallest(name), study.plan(name)
    last = values_of(plan, jobs[-1])
    for config in (jobs[-1], max(jobs, key=lambda other: len(values_of(plan, other) - last))):
        assert run(config, progress="none")["status"] in ("finished", "diverged")
    found, verdicts = tables.make(name, here / "runs", here / "results", SMALLEST, draw=False)
    assert len(found.records) == 2
    assert [verdict.claim.id for verdict in verdicts] == [claim.id for claim in plan.claims]
    # One seed decides nothing that is drawn.
    drawn = [cell for verdict in verdicts for cell in verdict.cells if "<=" not in cell.name]
    assert {cell.result for cell in drawn} <= {"not tested", "undecided"}
    assert (here / "results" / name / "README.md").is_file()


@pytest.mark.slow
def test_the_full_imagenet_study_composes_and_makes_a_step(here):
    """On a folder of ImageNet's shape, two classes of six photographs; on one device, with four images a batch."""
    generator = np.random.default_rng(0)
    for split, count in (("train", 6), ("val", 2)):
        for name in ("n01440764", "n01443537"):
            (here / "imagenet" / split / name).mkdir(parents=True)
            for i in range(count):
                pixels = generator.integers(0, 256, (250, 300, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(here / "imagenet" / split / name / f"{name}_{i}.JPEG")
    full = expected("imagenet_table", [f"data.root={here / 'imagenet'}"])
    assert len(full) == 20
    assert {config.norm.name for config in full} == {"raw", "unit", "imagenet", "per_image"}
    assert {(config.trainer.max_epochs, config.trainer.devices, config.arch.name) for config in full} == {
        (90, 8, "resnet50")
    }
    one = ["trainer.devices=1", "data.batch_size=4", "data.workers=0", "trainer.max_steps=1", "optim.warmup_epochs=0"]
    small = expected("imagenet_table", [f"data.root={here / 'imagenet'}", *one, "norm=per_image", "seed=0"])
    result = run(small[0], progress="none")
    assert result["status"] == "finished"
    assert result["metrics"]["steps"] == 1
    assert math.isfinite(result["metrics"]["test_loss"])


def covering(plan, configs):
    """As many of the configurations as show every value of every key of the grid."""
    seen, chosen = set(), []
    for config in configs:
        values = values_of(plan, config)
        if not values <= seen:
            seen |= values
            chosen.append(config)
    return chosen


def values_of(plan, config):
    """What a run has for each key of the grid."""
    return {(key, str(value_of(config, key))) for key in plan.grid}


def value_of(config, key):
    """What a run has for a key of the grid."""
    part = config
    for name in key.split("."):
        part = getattr(part, name, None)
    return getattr(part, "name", part)
