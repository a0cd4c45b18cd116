"""Tables, figures, verdicts and page of a study whose records are planted."""

import json
import math
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import matplotlib.image
import numpy as np
import pandas as pd
import pytest

import normlab
from normlab import measure, record, tables
from normlab.commandline.grid import expected, load
from normlab.config import EXPERIMENTS, check, studies
from normlab.errors import ConfigError, DataError
from normlab.measurements import measurements, registry
from normlab.record import store
from normlab.report import ledger, study
from normlab.report.document import ONE_SPLIT, OWN_SPLITS, OWN_TESTS, seeds_draw
from normlab.report.origin import origin
from normlab.report.page import write_page
from normlab.report.tables import differences, shown_wide, wide
from normlab.verdicts import Claim, Verdict
from tests.report.planted_records import BEST, OVERRIDES, RATES, plant


def shows_something(path):
    """Whether a picture has more than lines and letters in gray: something is drawn in a color."""
    pixels = matplotlib.image.imread(path)[..., :3]
    return float(np.ptp(pixels, axis=-1).max()) > 0.2


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    runs = tmp_path_factory.mktemp("planted") / "runs"
    plant(runs)
    return runs


@pytest.fixture(scope="module")
def made(planted):
    return tables.make("learning_rates", planted, planted.parent / "results", OVERRIDES)


@pytest.mark.slow
def test_the_best_rate_is_chosen_for_each_scheme_on_validation(made):
    found = made[0].at_rates
    assert len(found["all"]) == 72
    assert dict(zip(found["best"].norm, found["best"].lr, strict=True)) == BEST
    assert set(found["common"].lr) == {0.01}
    frame = wide(made[0], found["best"]).set_index("norm")
    assert frame.at_edge.to_dict() == {"raw": True, "unit": True, "centered": False, "dataset": False}


@pytest.mark.slow
def test_the_range_of_rates_that_train_is_that_of_each_seed(made):
    """unit trains at all of 1e-4, 1e-2 and 1 (0.5 is above 0.2), raw at 1e-4 alone, where it does not diverge."""
    found = made[0].at_rates["range"].set_index(["norm", "seed"]).sort_index()
    assert len(found) == 4 * 6
    assert set(found.loc["raw"].largest_rate) == set(found.loc["raw"].smallest_rate) == {1e-4}
    assert set(found.loc["raw"].trained) == {1 / 3}
    assert set(found.loc["unit"].largest_rate) == {1.0}
    assert set(found.loc["unit"].decades) == {4.0}
    assert set(found.loc["unit"].best_rate) == {1.0}
    runs = made[0].runs
    assert set(runs[runs.status == "diverged"].failed) == {1.0}
    assert runs.diverged.sum() == 12
    unit = runs[(runs.norm == "unit") & (runs.lr == 1.0)]
    assert unit.seed_deviation.to_numpy() == pytest.approx((unit.test_accuracy - unit.test_accuracy.median()).abs())


def test_each_oddity_is_shown_as_what_it_is(made):
    runs = made[0].at_rates["common"]
    one = wide(made[0], runs).set_index("norm")
    assert one.diverged["raw"] == 1.0
    assert math.isnan(one.accuracy["raw"])
    assert one.reached["centered"] == 0
    assert math.isinf(one.epochs_median["centered"])
    shown = shown_wide(made[0], wide(made[0], runs))
    assert shown["test accuracy"][0] == "-"
    assert shown["diverged"][0] == "100%"
    assert shown["median epochs to 0.7"][2] == "never"
    less = differences(made[0], runs).set_index("norm")
    assert less.lost["raw"] == 6
    assert less.n["raw"] == 0
    assert less.n["unit"] == 6
    nobody = runs.assign(**{"epochs_to.0.7": math.inf})
    assert differences(made[0], nobody).later.isna().all()


def test_means_intervals_and_pairs_against_pandas(made):
    found = made[0].at_rates["best"]
    for row in wide(made[0], found).itertuples():
        values = found[found.norm == row.norm].test_accuracy
        assert row.accuracy == pytest.approx(values.mean())
        assert row.accuracy_high - row.accuracy_low == pytest.approx(
            2 * 2.5705818 * values.std() / math.sqrt(6), rel=1e-6
        )
        assert row.epochs_median == (math.inf if row.norm == "centered" else np.median([2, 3, 4, 5, 6, 7]))
        # A run that needs more epochs than the longest run has counts as the longest.
        assert row.epochs_mean == (
            4 if row.norm == "centered" else pytest.approx(np.minimum(np.arange(2, 8), 4).mean())
        )
    for row in differences(made[0], found).itertuples():
        pairs = found.pivot_table(index="seed", columns="norm", values="test_accuracy")
        assert row.difference == pytest.approx((pairs[row.norm] - pairs.dataset).mean())
        # dataset takes 2, 3, 4 and more epochs, of which four are trained; centered never gets there.
        assert row.later == (pytest.approx(np.mean([2, 1, 0, 0, 0, 0])) if row.norm == "centered" else 0)
    shown = shown_wide(made[0], wide(made[0], found))
    assert dict(zip(shown["scheme"], shown["median epochs to 0.7"], strict=True)) == {
        "raw": "4.5 (45 steps)",
        "unit": "4.5 (45 steps)",
        "centered": "never",
        "dataset": "4.5 (45 steps)",
    }


def test_the_verdicts_follow_the_rules(made):
    found = {verdict.claim.id: verdict.result for verdict in made[1]}
    # Raw pixels diverge at the common rate, which counts as chance; at its best rate each of the others has 0.8.
    assert found == {"LR1": "holds", "LR2": "holds", "LR3": "holds", "LR4": "holds"}


def test_the_document_names_what_made_it(made, planted):
    text = (planted.parent / "results/learning_rates/README.md").read_text()
    assert "72 runs, 12 of them diverged." in text
    assert "(edge of the grid)" in text
    assert "python -m normlab -m +experiment=learning_rates" in text
    assert record.provenance()["processor"] in text
    folder = planted.parent / "results/learning_rates"
    for name in ("differences_best", "rates_best"):  # what the page shows lies beside it, the rest in more/
        assert f"({name}.png)" in text
        assert (folder / f"{name}.png").read_bytes() == (folder / f"more/{name}.png").read_bytes()
    assert text.count("![") == len(list(folder.glob("*.png"))) == 2
    for name in ("convergence_best", "time_common", "differences_common"):
        assert f"- {name}: " in text
    for name in ("convergence_best", "time_common", "differences_best", "rates_best"):
        assert shows_something(folder / f"more/{name}.png")
        assert (folder / f"more/{name}.svg").stat().st_size > 5000
    assert "\\toprule" in (folder / "more/accuracy_best.tex").read_text()


def test_the_page_answers_before_it_shows_tables(made, planted):
    text = (planted.parent / "results/learning_rates/README.md").read_text()
    places = [text.index(made[0].plan.question), text.index("## Verdicts"), text.index("### LR1: holds")]
    places += [text.index("## Figures"), text.index("## Accuracy at the common"), text.index("## How it was made")]
    assert places == sorted(places)


def test_the_page_says_whether_seeds_draw_their_own_images(made, planted):
    text = (planted.parent / "results/learning_rates/README.md").read_text()
    assert (ONE_SPLIT in text, OWN_SPLITS in text) == (True, False)
    runs = made[0].runs
    own = runs.assign(**{"config.data.split_seed": runs.seed})
    assert seeds_draw(own.assign(test_key="all")) == seeds_draw(own.assign(test_key=None)) == OWN_SPLITS
    assert seeds_draw(own.assign(test_key=[f"of {seed}" for seed in own.seed])) == OWN_TESTS
    assert seeds_draw(runs.assign(**{"config.data.split_seed": 3})) == ONE_SPLIT
    # Two splits, each for all seeds: a factor, not a draw.
    both = [runs.assign(**{"config.data.split_seed": split}) for split in (1, 2)]
    assert seeds_draw(pd.concat(both)) == ONE_SPLIT


def test_the_origin_names_each_version_once(made):
    about = made[0].records[0]["provenance"]
    other = about | {"commit": "0123456789abcdef", "dirty": True, "versions": about["versions"] | {"torch": "0.0.1"}}
    records = [{**one, "provenance": about} for one in made[0].records[:2]]
    study_ = replace(made[0], measured=({"provenance": other},))
    study_.__dict__["records"] = records
    text = origin(study_)
    assert text.startswith("commits ")
    assert "0123456789 with uncommitted changes" in text
    assert "abcdef" not in text
    assert text.count("numpy ") == 1
    assert f"torch 0.0.1 and {about['versions']['torch']}," in text
    assert text.count(about["processor"]) == 1


@pytest.mark.slow
def test_results_alone_make_the_same_again(planted, made, tmp_path):
    """From records.jsonl and curves.csv.gz, without a run: the same bytes; without drawing, the same page."""
    first, again = planted.parent / "results/learning_rates", tmp_path / "results/learning_rates"
    (again / "more").mkdir(parents=True)
    for name in (store.RECORDS, store.CURVES):
        shutil.copy(first / name, again / name)
    for name in ("stale.csv", "more/stale.csv"):
        (again / name).write_text("of an earlier call")
    tables.make("learning_rates", tmp_path / "no runs", tmp_path / "results", OVERRIDES, draw=False)
    for name in ("README.md", "verdicts.json", store.RECORDS, store.CURVES, store.LIST):
        assert (again / name).read_bytes() == (first / name).read_bytes(), name
    assert not list(again.rglob("*.png"))
    tables.make("learning_rates", tmp_path / "no runs", tmp_path / "results", OVERRIDES)
    files = sorted(path.relative_to(first) for path in first.rglob("*") if path.is_file())
    assert files == sorted(path.relative_to(again) for path in again.rglob("*") if path.is_file())
    for name in files:
        assert (again / name).read_bytes() == (first / name).read_bytes(), name


@pytest.mark.slow
def test_new_runs_are_kept_beside_older_ones(planted, made, tmp_path):
    results = planted.parent / "results"
    narrow = [RATES, "seed=range(0,2)", "trainer.max_epochs=4"]
    kept = tmp_path / "kept"
    tables.make("learning_rates", planted, kept, narrow, draw=False)
    assert len(store.read_kept(kept / "learning_rates")) == 24
    tables.make("learning_rates", planted, kept, OVERRIDES, draw=False)
    for name in (store.RECORDS, store.CURVES):
        assert (kept / "learning_rates" / name).read_bytes() == (results / "learning_rates" / name).read_bytes()


def test_kept_records_hold_no_path_and_few_points(planted, made):
    text = (planted.parent / "results/learning_rates" / store.RECORDS).read_text()
    assert str(planted.parent) not in text
    assert len(store.read_kept(planted.parent / "results/learning_rates")) == 72
    curves = pd.read_csv(planted.parent / "results/learning_rates" / store.CURVES)
    assert curves.fingerprint.count() == 72  # in the first row of each run
    training = curves.assign(fingerprint=curves.fingerprint.ffill()).query("split == 'train'")
    points = training.groupby("fingerprint").size()
    assert points.max() <= store.TRAIN_POINTS
    assert normlab.records(planted).shape[0] == 72


@pytest.mark.slow
def test_missing_runs_and_a_single_seed(planted, tmp_path):
    runs = tmp_path / "runs"
    shutil.copytree(planted, runs)
    for path in runs.glob("*-centered-*"):
        if "seed5" in path.name:
            shutil.rmtree(path)
    for path in runs.glob("*-unit-*"):
        if "seed0" not in path.name:
            shutil.rmtree(path)
    found, verdicts = tables.make("learning_rates", runs, tmp_path / "results", OVERRIDES)
    assert (len(found.records), found.missing) == (54, 18)
    text = (tmp_path / "results/learning_rates/README.md").read_text()
    assert "18 of the grid's 72 runs are missing." in text
    frame = wide(found, found.at_rates["best"]).set_index("norm")
    assert frame.n.to_dict() == {"raw": 6, "unit": 1, "centered": 5, "dataset": 6}
    assert math.isnan(frame.accuracy_low["unit"])
    assert next(v for v in verdicts if v.claim.id == "LR2").result == "not tested"


def test_a_study_without_records_says_how_to_run_it(tmp_path):
    with pytest.raises(DataError, match=r"python -m normlab -m \+experiment=learning_rates seed=7"):
        load("learning_rates", tmp_path, tmp_path, ["seed=7"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["learning_rate"], "did you mean learning_rates?"),
        (["learning_rates", "seed=0"], "seed=0: a study that was run with changes requires results=FOLDER of its own"),
        (["learning_rates", "seed=0", "results=./results"], "requires results=FOLDER of its own"),
        (["seed=0"], "seed=0: name the study"),
        (["learning_rates", "optim.lrr=0", "results=out"], "all of its 120 jobs are refused"),
        (["learning_rates", "seed=range(0,", "results=out"], "no viable alternative at input 'range(0,'"),
    ],
)
def test_mistakes_end_with_one_line(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as end:
        tables.main(arguments)
    assert end.value.code == 2
    err = capsys.readouterr().err
    assert message in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize("name", studies())
def test_pictures_and_claims_of_a_study_name_what_there_is(name):
    """Its pictures draw what it measures, and its rules judge that."""
    plan = study.plan(name)
    calls = {call.measure for call in plan.measure}
    assert calls <= set(measurements())
    assert {picture.call for picture in plan.pictures} <= calls
    for claim in plan.claims:
        for rule in claim.rules:
            assert getattr(rule, "where", {}).get("call", "training") in calls | {"training"}


@pytest.mark.slow
@pytest.mark.parametrize("name", studies())
def test_every_study_has_a_plan_and_a_header(name):
    plan = study.plan(name)
    assert plan.question.endswith("?")
    header = (EXPERIMENTS / name / "README.md").read_text()
    assert len({claim.id for claim in plan.claims}) == len(plan.claims)
    for call in plan.measure:
        assert call.measure in measurements()
        assert f"normlab.measure {name}" in header
    if plan.grid:
        assert f"+experiment={name}" in header
        jobs = expected(name, ["quick=true"] if plan.quick else [])
        # Without the content of the data, which need not be here; jobs that differ in their folders differ in its path.
        assert (
            len({record.fingerprint(config, f"{getattr(config.data, 'root', None)}") for config in jobs})
            == len(jobs)
            > 1
        )


def test_a_bad_plan_is_refused(studies_in, tmp_path):
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad/study.yaml").write_text("experiment: {question: 'why?', grid: {}, budget: none, refrence: unit}")
    studies_in(tmp_path)
    with pytest.raises(ConfigError, match=r"refrence: unknown key; did you mean reference\?"):
        study.plan("bad")


class Page(HTMLParser):
    """What a page says to those who do not see it, and what it would load."""

    def __init__(self):
        super().__init__()
        self.ids, self.links, self.headings, self.loads, self.problems = [], [], [], [], []
        self.regions = []

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.ids += [given["id"]] if "id" in given else []
        if tag == "a":
            self.links.append(given["href"])
        if tag[0] == "h" and tag[1:].isdigit():
            self.headings.append(int(tag[1]))
        if tag == "img" and not given.get("alt"):
            self.problems.append("a picture without alternative text")
        if tag == "th" and "scope" not in given:
            self.problems.append("a heading of a table without scope")
        self.loads += [given[key] for key in ("src",) if key in given] + ([given["href"]] if tag == "link" else [])
        self.regions += [given["aria-label"]] if given.get("role") == "region" else []
        if tag == "html" and given.get("lang") != "en":
            self.problems.append("no language")


def test_the_page_is_whole_and_accessible(made, planted):
    results = planted.parent / "results"
    (results / "conditioning/somewhere").mkdir(parents=True, exist_ok=True)
    (results / "conditioning/somewhere/conditioning.md").write_text("# A & B <script>\n\n| a |\n| - |\n| 1 |\n")
    (results / "benchmarks").mkdir(exist_ok=True)
    (results / "benchmarks/learning_rates.md").write_text("# learning_rates\n\n| the study's title |\n| - |\n| 1 |\n")
    ledger.write_ledger([made], results)
    text = write_page([made], results).read_text()
    page = Page()
    page.feed(text)
    assert page.problems == []
    assert all(source.startswith("data:image/webp;base64,") for source in page.loads)
    assert len(page.loads) == 1  # one figure a document, the other in words
    assert len(set(page.ids)) == len(page.ids)
    assert len(set(page.regions)) == len(page.regions) > 2
    assert {link[1:] for link in page.links} <= set(page.ids)
    assert page.headings[0] == 1
    assert all(b - a <= 1 for a, b in zip(page.headings, page.headings[1:], strict=False))
    assert text.count("<script>") == 1  # the page's own, none out of a heading
    assert "LR1: holds" in text
    assert text.count("<tr data-kind=") == 3
    assert "LR1" in text
    assert json.loads((results / "learning_rates/verdicts.json").read_text())[0]["verdict"] == "holds"
    assert "http" not in text.replace("http-equiv", "")
    assert Path(results / "index.html").is_file()


@pytest.mark.slow
def test_the_ledger_has_every_claim_once_with_its_verdict(made, planted, tmp_path, monkeypatch):
    text = ledger.write_ledger([], tmp_path).read_text()
    known = ledger.entries()
    assert len(known) == 20 + 9 + 23 + 4
    assert all(f"| {id_} " in text for id_ in known)
    assert "56 not tested" in text
    claim = check(Claim, {"id": "C01", "rules": [made[1][0].claim.rules[0].model_dump()], "instead": "Something else."})
    cell = made[1][0].cells[0]
    verdict = Verdict(claim, (replace(cell, result="refuted"),))
    text = ledger.write_ledger([(made[0], [verdict])], tmp_path).read_text()
    assert "55 not tested, 1 refuted" in text
    assert "## C01: refuted (" in text
    assert "Instead: Something else." in text
    assert "[learning_rates](learning_rates/README.md)" in text
    assert "python -m normlab -m +experiment=learning_rates" in text
    # A second study that finds the opposite makes a condition; one with rules of its own does, too.
    plans = [made[0].plan.model_copy(update={"grid": {"arch": arch}}) for arch in ("cnn", "vit")]
    cnn, vit = (replace(made[0], plan=plan, name=f"on_{plan.grid['arch']}") for plan in plans)
    other = Verdict(claim, (cell,))
    for second in (other, Verdict(check(Claim, {"id": "C01", "rules": ["raw > unit + 0.5"]}), (cell,))):
        text = ledger.write_ledger([(cnn, [verdict]), (vit, [second])], tmp_path).read_text()
        assert "55 not tested, 1 holds if" in text
        assert "## C01: holds if study=on_vit; refuted elsewhere" in text
    # What both studies' tests, corrected as one, would leave open is named.
    close = replace(cell, p_for=0.03, p_against=0.97, p=0.03)
    text = ledger.write_ledger(
        [(cnn, [Verdict(claim, (close,))]), (vit, [Verdict(claim, (close,))])], tmp_path
    ).read_text()
    assert "Open if the tests of all its studies were corrected as one: on_cnn: " in text
    # One that was not run decides nothing.
    idle = Verdict(other.claim, (replace(cell, result="not tested", why="no runs"),))
    text = ledger.write_ledger([(cnn, [idle]), (vit, [other])], tmp_path).read_text()
    assert "## C01: holds (not tested in on_cnn)" in text
    # What no study tests of a claim is named behind what was found of the rest.
    half = check(Claim, claim.model_dump() | {"id": "C19"})
    text = ledger.write_ledger([(cnn, [Verdict(half, (cell,))])], tmp_path).read_text()
    assert "## C19: holds (not tested: that images need centring)" in text


def rows_of(*, data, factor=2.0, note=None):
    """A measuring function: a row with the mean pixel times a factor."""
    import normlab

    images = normlab.dataset(**data).train.images
    ends = {"value_low": 1.0, "value_high": 9.0}
    return [
        {"data": data["name"], "images": len(images), "value": images.double().mean() * factor, "note": note, **ends}
    ]


@pytest.mark.slow
def test_without_its_data_a_study_is_what_lies_in_the_results(tmp_path, monkeypatch):
    monkeypatch.setenv("NORMLAB_DATA", str(tmp_path))
    kept = Path(__file__).parents[2] / "results/inside"
    found = load("inside", tmp_path / "runs", kept)
    assert len(found.records) == len(store.read_kept(kept)) > 0


@pytest.fixture
def tiny(tmp_path, monkeypatch, studies_in):
    """A study of one measurement, whose function stands in this file."""
    (tmp_path / "studies/tiny").mkdir(parents=True)
    calls = [{"rows_of": {"data": {"name": "digits", "limit": 50}, "note": None}}]
    calls.append({"rows_of": {"data": {"name": "folder", "root": "nowhere"}}})
    rules = [
        {"kind": "within", "at": "measured", "metric": "value", "where": {"call": "rows_of"}, "low": 0, "high": 600},
        {"kind": "estimated", "at": "measured", "metric": "value", "low": 0, "high": 5},
    ]
    drawn = {"call": "rows_of", "x": "data", "y": "value", "by": "data", "caption": "Values"}
    plan = {"question": "Is it so?", "budget": "none", "measure": calls, "claims": [{"id": "A01", "rules": rules}]}
    plan["pictures"] = [drawn | {"name": "plain"}, drawn | {"name": "ends", "interval": ["value_low", "value_high"]}]
    (tmp_path / "studies/tiny/study.yaml").write_text(json.dumps({"experiment": plan}))
    studies_in(tmp_path / "studies")
    monkeypatch.setitem(registry._REGISTERED, "rows_of", rows_of)
    return tmp_path


def test_measurements_are_made_once_kept_and_judged(tiny, capsys):
    out = tiny / "results"
    measure.main(["tiny", f"results={out}"])
    err = capsys.readouterr().err
    assert "tiny 1/2: rows_of" in err
    assert "left out: data.root=nowhere: there is no folder" in err
    before = (out / "tiny" / study.MEASUREMENTS).read_bytes()
    measure.main(["tiny", f"results={out}"])
    assert "tiny 1/2" not in capsys.readouterr().err
    assert (out / "tiny" / study.MEASUREMENTS).read_bytes() == before
    found, (verdict,) = tables.make("tiny", tiny / "runs", out, [])
    assert [cell.result for cell in verdict.cells] == ["holds", "undecided"]
    assert [cell.interval.n for cell in verdict.cells] == [1, found.measurements["images"][0]]
    assert verdict.result == "undecided"
    assert len(found.measurements) == 1
    text = (out / "tiny/README.md").read_text()
    assert "| digits |" in text
    assert "python -m normlab.measure tiny" in text
    for name in ("plain", "ends"):
        assert f"![Values]({name}.png)" in text
        assert matplotlib.image.imread(out / "tiny" / f"{name}.png").std() > 0.05


def test_a_study_without_measurements_or_a_wrong_name_ends_with_one_line(tiny, capsys, monkeypatch):
    with pytest.raises(SystemExit):
        measure.main(["tinny"])
    assert "did you mean tiny?" in capsys.readouterr().err
    monkeypatch.setitem(registry._REGISTERED, "rows_off", registry._REGISTERED.pop("rows_of"))
    with pytest.raises(SystemExit):
        measure.main(["tiny", f"results={tiny / 'out'}"])
    assert "measurement=rows_of: no such choice; did you mean rows_off?" in capsys.readouterr().err


def test_only_complete_rates_are_compared(planted, tmp_path):
    """One lucky seed at another rate must not win, and one rate alone is no choice of the best."""
    runs = tmp_path / "runs"
    shutil.copytree(planted, runs)
    for path in runs.iterdir():
        if (path / "record.json").is_file():
            lr, seed = (json.loads((path / "record.json").read_text())[key] for key in ("lr", "seed"))
            if lr == 1.0 and seed > 0:
                shutil.rmtree(path)
    found = load("learning_rates", runs, tmp_path / "results", OVERRIDES)
    assert 1.0 not in set(found.at_rates["best"].lr)
    for path in runs.iterdir():
        if (path / "record.json").is_file() and json.loads((path / "record.json").read_text())["lr"] != 1e-4:
            shutil.rmtree(path)
    found = load("learning_rates", runs, tmp_path / "results", OVERRIDES)
    assert found.sweeps_rates
    assert len(found.at_rates["common"]) == 0


@pytest.mark.slow
def test_kept_records_of_a_larger_grid_stay(planted, made, tmp_path):
    results = tmp_path / "results"
    shutil.copytree(planted.parent / "results", results)
    narrow = [RATES, "seed=range(0,2)", "trainer.max_epochs=4"]
    found, _ = tables.make("learning_rates", tmp_path / "none", results, narrow)
    assert (len(found.records), found.expected) == (24, 24)
    found, _ = tables.make("learning_rates", tmp_path / "none", results, OVERRIDES)
    assert (len(found.records), found.expected) == (72, 72)


@pytest.mark.slow
def test_damaged_results_are_named(planted, made, tmp_path):
    results = tmp_path / "results/learning_rates"
    shutil.copytree(planted.parent / "results/learning_rates", results)
    (results / store.CURVES).write_bytes((results / store.CURVES).read_bytes()[:99])
    with pytest.raises(DataError, match="is damaged"):
        _ = load("learning_rates", tmp_path / "none", results, OVERRIDES).curves


@pytest.mark.slow
def test_what_a_sweep_varies_besides_makes_cells(tmp_path):
    """Groups, a key that is null in half of the runs, and a list; chosen on the command line."""
    overrides = ["optim.lr=1e-2", "seed=range(0,2)", "arch=cnn,vit", "augment=none,crop_flip", "data.limit=null,100"]
    plant(tmp_path / "runs", overrides)
    found, _ = tables.make("learning_rates", tmp_path / "runs", tmp_path / "results", overrides)
    assert found.factors == ["arch", "config.augment.name", "config.data.limit"]
    frame = pd.read_csv(tmp_path / "results/learning_rates/more/accuracy.csv", keep_default_na=False)
    assert len(frame) == 4 * 2 * 2 * 2
    assert set(frame["config.data.limit"]) == {"null", "100"}
    assert set(frame.n) == {2}
    assert set(differences(found, found.at_rates["all"]).n) == {0, 2}
    assert "| arch " in (tmp_path / "results/learning_rates/README.md").read_text()


CONFIRMED = """# @package _global_
study: small
defaults: [{override /data: digits}, {override /logger: none}]
data: {limit: 60, batch_size: 16}
arch: {width: 4}
trainer: {max_epochs: 1, checkpoint: false}
experiment:
  question: "Which?"
  grid: {norm: "raw,unit", optim.lr: "1e-3,1e-1", seed: "range(0,2)"}
  confirm: [5, 8]
  budget: none
"""


@pytest.fixture
def small(here, studies_in):
    """A study of eight runs with three seeds to confirm, in an experiments folder of its own."""
    (here / "experiments/small").mkdir(parents=True)
    (here / "experiments/small/study.yaml").write_text(CONFIRMED)
    studies_in(here / "experiments")


def test_a_plan_that_changes_in_one_process_is_composed_again(small, here):
    assert {config.arch.width for config in expected("small")} == {4}
    (here / "experiments/small/study.yaml").write_text(CONFIRMED.replace("width: 4", "width: 8"))
    assert {config.arch.width for config in expected("small")} == {8}


@pytest.mark.slow
def test_seeds_that_confirm_are_run_at_the_best_rates_alone(small, call):
    assert call("-m", "+experiment=small")[1].endswith("8 jobs: 8 finished\n")
    chosen = load("small", Path("runs"), Path("results/small"))
    assert chosen.missing == 2 * 3
    before = chosen.at_rates["best"]
    assert set(before.seed) == {0, 1}
    status, out, _ = call("-m", "+experiment=small", "confirm=true")
    assert (status, out.endswith("6 jobs: 6 finished\n")) == (0, True)
    found = load("small", Path("runs"), Path("results/small"))
    assert found.missing == 0
    pd.testing.assert_frame_equal(found.best_rates, chosen.best_rates)
    by_rate = found.at_rates
    assert set(by_rate["best"].seed) == {5, 6, 7}
    assert len(by_rate["best"]) == 6
    assert set(by_rate["all"].seed) == set(by_rate["range"].seed) == {0, 1}
    rates = dict(zip(by_rate["best"].norm, by_rate["best"].lr, strict=True))
    assert rates == dict(zip(found.best_rates.norm, found.best_rates.lr, strict=True))
    assert call("-m", "+experiment=small", "confirm=true")[1].endswith("6 jobs: 6 skipped\n")
    # What was kept beside the tables is enough, without the runs.
    tables.make("small", Path("runs"), Path("results"), [])
    again = load("small", Path("elsewhere"), Path("results/small"))
    assert len(again.at_rates["best"]) == 6
    # Of the answers to the single test images, those of the runs that decide.
    assert {one.record["seed"] for one in again.stored if one.record["correct"] is not None} == {5, 6, 7}
    assert {one.record["seed"] for one in found.stored if one.record["correct"] is not None} == {0, 1, 5, 6, 7}


@pytest.mark.slow
def test_a_run_that_chooses_in_one_study_and_decides_in_another_keeps_its_answers(small, call, here):
    assert call("-m", "+experiment=small")[1].endswith("8 jobs: 8 finished\n")
    tables.make("small", Path("runs"), Path("results"), [])
    (here / "experiments/wide").mkdir()
    wide = CONFIRMED.replace("  confirm: [5, 8]\n", "").replace("study: small", "study: wide")
    (here / "experiments/wide/study.yaml").write_text(wide)
    tables.make("wide", Path("runs"), Path("results"), [])
    for name in ("wide", "small"):  # and a second time, which leaves it so
        tables.make(name, Path("elsewhere"), Path("results"), [])
        found = load("wide", Path("elsewhere"), Path("results/wide"))
        assert len(found.stored) == 8
        assert all(one.record["correct"] is not None for one in found.stored)


@pytest.mark.slow
def test_with_one_rate_the_seeds_that_confirm_are_a_second_sample(small, call, here):
    file = here / "experiments/small/study.yaml"
    file.write_text(CONFIRMED.replace('optim.lr: "1e-3,1e-1"', 'optim.lr: "1e-1"'))
    assert call("-m", "+experiment=small")[1].endswith("4 jobs: 4 finished\n")
    assert set(load("small", Path("runs"), Path("results/small")).at_rates["best"].seed) == {0, 1}
    assert call("-m", "+experiment=small", "confirm=true")[1].endswith("6 jobs: 6 finished\n")
    found = load("small", Path("runs"), Path("results/small"))
    assert set(found.at_rates["best"].seed) == {5, 6, 7}
    assert set(found.at_rates["all"].seed) == {0, 1}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("-m", "+experiment=small", "confirm=true", "quick=true"),
            "quick=true requires a sweep of a study",
        ),
        (("-m", "+experiment=small", "confirm=true", "seed=3"), "confirm=true sets the seeds itself"),
        (("-m", "+norm=unit", "confirm=true"), "confirm=true requires a sweep of a study"),
        (("-m", "+experiment=small", "confirm=true"), "none of its 8 runs has a record"),
    ],
)
def test_confirming_what_is_not_there_is_refused(small, call, arguments, message):
    status, out, err = call(*arguments)
    assert (status, out) == (2, "")
    assert message in err


def test_a_study_that_is_measured_but_not_run_says_so(small, here):
    plan_ = here / "experiments/small/study.yaml"
    claims = """  claims:
    - {id: X1, statement: x, rules: [{kind: within, at: measured, metric: value, low: 0, high: 1, where: {call: f}}]}
    - {id: X2, statement: x, rules: [{kind: superior, at: best, first: {norm: raw}, second: {norm: unit}}]}
"""
    plan_.write_text(CONFIRMED + claims)
    entry = {"measure": "f", "with": {}, "rows": [{"value": 0.5}], "provenance": record.provenance()}
    (here / "results/small").mkdir(parents=True)
    (here / "results/small/measurements.jsonl").write_text(json.dumps(entry) + "\n")
    found, verdicts = tables.make("small", Path("runs"), Path("results"), [])
    assert [verdict.result for verdict in verdicts] == ["holds", "not tested"]
    assert "8 of the grid's 8 runs are missing." in (here / "results/small/README.md").read_text()
    assert found.missing == 8


def test_a_rule_on_accuracies_of_regressions_is_refused():
    content = {"question": "?", "budget": "none", "claims": [{"id": "X1", "statement": "?", "rules": ["unit > raw"]}]}
    found = SimpleNamespace(name="one", score="r2", plan=check(study.Plan, content))
    with pytest.raises(ConfigError, match="study one: X1: its runs have no accuracy: write `in test_r2`"):
        study._require_score(found)
    content["claims"][0]["rules"] = ["unit > raw in test_r2"]
    study._require_score(SimpleNamespace(name="one", score="r2", plan=check(study.Plan, content)))


def test_a_study_without_records_is_told_and_a_wrong_text_ends_the_command(tmp_path, monkeypatch, capsys):
    def make(name, *rest):
        raise error

    monkeypatch.setattr(tables, "make", make)
    error = DataError("no records")
    tables.main([f"results={tmp_path}", "figures=false"])
    assert capsys.readouterr().out.count("no records\n") == len(studies())
    error = ConfigError("findings.md: no such cell")
    with pytest.raises(SystemExit) as ended:
        tables.main([f"results={tmp_path}", "figures=false"])
    assert (ended.value.code, capsys.readouterr().err) == (2, "normlab: findings.md: no such cell\n")
