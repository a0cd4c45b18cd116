"""The command as a user meets it: what it prints, how it ends, what it leaves."""

import importlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

import normlab as normlab_package
from normlab import normalization, record
from normlab.commandline.sweep import own_schemes_of_other_code
from normlab.config import CONFIGS, EXPERIMENTS, GROUPS, choices
from normlab.training.trainer import has_loopback

QUICK = ["data=digits", "trainer.max_epochs=1", "logger=none"]


def spawn(folder, *arguments, **options):
    environment = {**os.environ, "NORMLAB_CACHE": str(folder / "cache"), "CUDA_VISIBLE_DEVICES": ""}
    line = [sys.executable, "-m", "normlab", *arguments]
    return subprocess.Popen(
        line, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
    )


def normlab(folder, *arguments):
    process = spawn(folder, *arguments)
    out, err = process.communicate(timeout=300)
    return process.returncode, out, err


def only_record(folder):
    (path,) = Path(folder).glob("runs/*/record.json")
    return json.loads(path.read_text()), path.parent


@pytest.mark.slow
def test_the_first_command(tmp_path):
    """The README's first line, shortened to one epoch: status 0, a table, a record, a W&B file; no account asked."""
    status, out, err = normlab(tmp_path, "+norm=imagenet", "trainer.max_epochs=1")
    assert status == 0, err
    assert "test accuracy" in out
    stored, folder = only_record(tmp_path)
    assert stored["status"] == "finished"
    assert stored["metrics"]["test_accuracy"] > 0.2  # chance is 0.1
    assert str(folder.relative_to(tmp_path)) in out
    assert list(folder.glob("wandb/offline-run-*/run-*.wandb"))
    assert (folder / "curve.csv").read_text().startswith("step,epoch,split,metric,value\n0,0.0,")
    assert "epoch 1/1" in err
    assert "Traceback" not in err


def test_help_shows_every_group_and_choice(call):
    status, out, _ = call("--help")
    assert status == 0
    for group in GROUPS:
        assert f"{group}: {', '.join(choices(group))}" in out


@pytest.mark.parametrize("flag", ["--help", "-h"])
@pytest.mark.parametrize("name", ["conditioning", "curvature", "inspect", "measure", "mismatch", "stability", "tables"])
def test_help_of_the_other_commands_is_their_docstring(here, capsys, name, flag):
    module = importlib.import_module(f"normlab.{name}")
    with pytest.raises(SystemExit) as end:
        module.main([flag, "dta=digits"])
    assert not end.value.code
    assert capsys.readouterr() == (module.__doc__.strip() + "\n", "")
    assert not list(here.iterdir())


def test_norm_with_and_without_plus(call, tmp_path):
    for argument in ("norm=centered", "+norm=centered"):
        status, out, err = call(argument, *QUICK, "rerun=true")
        assert status == 0, err
        assert "centered" in out
    assert only_record(tmp_path)[0]["norm"] == "centered"


def images(folder, count=6, side=8, names=("cat", "dog")):
    for name in names:
        (folder / name).mkdir(parents=True)
        for i in range(count):
            Image.new("RGB", (side, side), (i * 9, 20, 30)).save(folder / name / f"{i}.png")
    return folder


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "which normalization? Add +norm=NAME"),
        (["+norm=foo"], "norm=foo: no such choice"),
        (["+norm=imagnet"], "did you mean imagenet?"),
        (["+norm=unit", "arch=vitt"], "arch=vitt: no such choice; did you mean vit?"),
        (["+norm=unit", "data=photo"], "data=photo: no such choice; did you mean photos?"),
        (["+norm=unit", "seeed=1"], "seeed: unknown key; did you mean seed?"),
        (["+norm=unit", "+optim.foo=1"], "optim.foo: unknown key"),
        (["+norm=unit", "optim.lr=nan"], "optim.lr=nan: should be a finite number"),
        (["+norm=unit", "optim.lr=-0.1"], "optim.lr=-0.1: should be greater than 0"),
        (["+norm=unit", "data.batch_size=99999"], "larger than the training set of 1295 images"),
        (["+norm=unit", "data=folder"], "data=folder needs data.root=FOLDER"),
        (["+norm=unit", "data=folder", "data.root=nowhere"], "data.root=nowhere: there is no folder nowhere"),
        (["+norm=unit", "data=folder", "data.root=empty"], "it is empty"),
        (["+norm=unit", "data=folder", "data.root=corrupt"], "corrupt/cat/2.png"),
        (["+norm=unit", "data=folder", "data.root=zero"], "the file is empty"),
        (["+norm=unit", "data=folder", "data.root=sizes"], "give data.image_size"),
        (["+norm=unit", "data=folder", "data.root=single"], "class 'lonely' has 1 image"),
        (["+norm=unit", "arch=vit", "arch.patch_size=3"], "arch.patch_size=3 does not divide images of 8x8"),
        (["+norm=unit", "runs=file/runs"], "runs=file/runs: cannot be written"),
        (["+norm=unit", "weights=none.ckpt"], "none.ckpt: no such checkpoint"),
        (["+norm=unit", "trainer.accelerator=gpu"], "trainer.accelerator=gpu"),
        (["+norm=unit", "nonsense"], "nonsense"),
        (["-m", "+norm=unit,raw", "--cfg", "job"], "--cfg shows the configuration of one run: leave out -m"),
        (["-m", "+norm=unit,raw", "hydra/sweeper=basic"], "hydra/sweeper=basic: a sweep needs the sweeper of normlab"),
        (["+norm=unit", "+experiment=nothing"], "nothing"),
    ],
)
def test_mistakes_end_with_one_line_and_no_record(call, tmp_path, arguments, message, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    (tmp_path / "file").write_text("")
    (tmp_path / "empty").mkdir()
    (images(tmp_path / "corrupt") / "cat" / "2.png").write_bytes(b"\x89PNG\r\n\x1a\n nothing more")
    (images(tmp_path / "zero") / "dog" / "0.png").write_bytes(b"")
    Image.new("RGB", (9, 9)).save(images(tmp_path / "sizes") / "dog" / "big.png")
    images(images(tmp_path / "single"), 1, names=("lonely",))
    if not any(argument.startswith("data=") for argument in arguments):
        arguments = [*arguments, "data=digits"]
    status, out, err = call(*arguments, "logger=none", "trainer.max_epochs=1")
    assert status == 2
    assert message in err
    # Before it, at most what the data hold.
    assert len([line for line in err.splitlines() if not line.startswith("data: ")]) == 1, err
    assert out == ""
    assert not list(tmp_path.rglob("record.json"))
    assert not list((tmp_path / "runs").glob("[!.]*"))


def test_on_corrupt_skip_goes_on_and_counts(call, tmp_path):
    (images(tmp_path / "corrupt", 20) / "cat" / "2.png").write_bytes(b"")
    status, _, err = call(
        "+norm=unit", "data=folder", "data.root=corrupt", "data.on_corrupt=skip", "data.batch_size=8", *QUICK[1:]
    )
    assert status == 0, err
    stored, _ = only_record(tmp_path)
    skipped, *duplicates = stored["provenance"]["data_notes"]  # images of one color are alike, which is reported too
    assert skipped == "1 image: unreadable, skipped"
    assert all(note.startswith("DUPLICATES") for note in duplicates)
    assert sum(stored["provenance"]["images"].values()) == 39


def test_a_sweep_prints_one_table_and_skips_what_is_done(call, tmp_path):
    grid = ["-m", "+norm=raw,imagenet", "seed=range(0,2)", *QUICK]
    status, out, err = call(*grid)
    assert status == 0, err
    assert "4 jobs: 4 finished" in out
    assert [line.split()[:2] for line in out.splitlines()[2:4]] == [["raw", "2"], ["imagenet", "2"]]
    assert err.count("data: digits: 10 classes") == 1
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("runs/*/record.json")}
    assert len(before) == 4
    status, again, _ = call(*grid)
    assert "4 jobs: 4 skipped" in again
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert again.splitlines()[:4] == out.splitlines()[:4]


def test_a_skipped_run_of_a_users_own_scheme_may_be_of_another_formula(call, monkeypatch):
    monkeypatch.setattr("normlab.commandline.sweep.versioned_defaults", lambda: {"norm": {"raw": {}}})
    origin = {**record.provenance(), "commit": "b", "dirty": True}
    monkeypatch.setattr("normlab.record.provenance", lambda: origin)
    grid = ["-m", "+norm=raw,unit", *QUICK]
    assert "rerun" not in call(*grid)[2]
    _, _, err = call(*grid)
    assert "2 of 2 jobs have a record already" in err
    assert "norm=unit: the code has changed since such a record, or may have; if the scheme has, rerun=true" in err
    assert "norm=raw: the code" not in err


@pytest.mark.parametrize(
    ("then", "now", "told"),
    [
        (("a", False), ("a", False), False),
        (("a", False), ("b", False), True),
        (("a", True), ("a", False), True),
        (("a", False), ("a", True), True),
        ((None, None), (None, None), True),
    ],
)
def test_own_schemes_of_other_code(monkeypatch, then, now, told):
    monkeypatch.setattr("normlab.record.provenance", lambda: dict(zip(("commit", "dirty"), now, strict=True)))
    known = [
        {"config": {"norm": {"name": name}}, "provenance": dict(zip(("commit", "dirty"), then, strict=True))}
        for name in ("zca", "mine")
    ]
    assert own_schemes_of_other_code(known) == ["mine"] * told


def test_the_version_is_that_of_normlab(call):
    status, out, _ = call("--version")
    assert (status, out.split()[0]) == (0, "normlab")
    assert out.count("\n") == 1


def test_a_folder_of_configurations_adds_no_name(call, tmp_path):
    """It may change what a name means, where no code is chosen."""
    for path, content in {
        "norm/mine.yaml": "name: mine\n_target_: normlab.norms.schemes.raw\n",
        "optim/slow.yaml": (CONFIGS / "optim/sgd.yaml").read_text().replace("lr: 0.01", "lr: 0.001"),
    }.items():
        (tmp_path / "own" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "own" / path).write_text(content)
    status, _, err = call("--config-dir", "own", "+norm=mine", *QUICK)
    assert status == 2
    assert "norm=mine: no such choice in" in err
    assert "as of --config-dir, adds no name: put it there; choose from" in err
    assert err.count("\n") == 1
    assert call("--config-dir", "own", "+norm=unit", "optim=slow", *QUICK)[0] == 0


def test_a_bad_job_leaves_the_others_of_a_sweep(call, tmp_path):
    status, out, err = call("-m", "+norm=unit", "optim.lr=0.1,nan,0.2", *QUICK)
    assert status == 1
    assert "3 jobs: 2 finished, 1 refused" in out
    assert "optim.lr=nan: should be a finite number" in err
    assert len(list(tmp_path.glob("runs/*/record.json"))) == 2


def test_a_failing_wandb_does_not_stop_a_run(call, tmp_path, monkeypatch):
    import wandb

    def broken(**_):
        raise RuntimeError("no W&B today")

    monkeypatch.setattr(wandb, "init", broken)
    status, _, err = call("+norm=unit", "data=digits", "trainer.max_epochs=1")
    assert status == 0
    assert "W&B did not start (RuntimeError: no W&B today)" in err
    assert only_record(tmp_path)[0]["status"] == "finished"


@pytest.mark.slow
def test_interrupting_leaves_no_record(tmp_path):
    process = spawn(
        tmp_path, "+norm=unit", "data=digits", "trainer.max_epochs=100000", "logger=none",
        # Where the tests run in the background of a shell, Ctrl-C is ignored, and children would inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    for line in process.stderr:
        if line.startswith("epoch"):
            break
    process.send_signal(signal.SIGINT)
    try:
        _, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130
    assert "interrupted" in err
    assert "Traceback" not in err
    assert not list(tmp_path.rglob("record.json"))


@pytest.mark.slow
def test_killing_leaves_no_record_and_repeating_completes_it(tmp_path):
    arguments = ["+norm=unit", "data=digits", "logger=none", "trainer.progress=lines"]
    process = spawn(tmp_path, *arguments, "trainer.max_epochs=60")
    for line in process.stderr:
        if line.startswith("epoch"):
            break
    process.kill()
    process.communicate()  # closes its pipes
    time.sleep(0.1)
    assert not list(tmp_path.rglob("record.json"))
    status, _, err = normlab(tmp_path, *arguments, "trainer.max_epochs=60")
    assert status == 0, err
    stored, folder = only_record(tmp_path)
    assert stored["metrics"]["epochs"] == 60
    steps = [line for line in (folder / "curve.csv").read_text().splitlines() if ",train,loss," in line]
    assert len(steps) == 60 * 11


@pytest.mark.slow
def test_nothing_is_imported_that_a_run_does_not_use(tmp_path):
    """A mistake in the configuration is answered without PyTorch; a run without W&B does not import it."""
    code = (
        "import sys; sys.argv = ['normlab', *{arguments!r}]\n"
        "from normlab.__main__ import main\n"
        "try:\n    main()\nexcept SystemExit: pass\n"
        "print(sorted(set({modules!r}) & set(sys.modules)))"
    )
    modules = ["torch", "wandb", "pandas", "timm", "sklearn", "skimage", "albumentations"]

    def imported(*arguments):
        line = [sys.executable, "-c", code.format(arguments=arguments, modules=modules)]
        done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, check=True)
        return done.stdout.splitlines()[-1]

    assert imported("norm=zcaa") == "[]"
    assert imported("+norm=unit", "logger=none", "trainer.max_epochs=1", "arch=linear") == "['torch']"


def test_names_at_the_top_of_the_package():
    import normlab as package

    assert package.normalization is normalization
    assert package.records is record.records
    assert {"dataset", "load", "curves"} <= set(dir(package))
    with pytest.raises(AttributeError):
        package.nothing  # noqa: B018


@pytest.mark.campaign
@pytest.mark.skipif(not has_loopback(), reason="no loopback network")
def test_two_processes_by_the_command(call, tmp_path):
    status, _, err = call("+norm=unit", "data=digits", "trainer.devices=2", "trainer.max_epochs=3")
    assert status == 0, err
    stored, folder = only_record(tmp_path)
    assert stored["status"] == "finished"
    assert len(list(folder.glob("wandb/offline-run-*"))) == 1
    assert "less than the current step" not in err


@pytest.mark.slow
def test_jobs_of_a_sweep_are_runs_of_their_own_in_wandb(call, tmp_path):
    status, _, err = call("-m", "+norm=unit,raw", "data=digits", "trainer.max_epochs=1")
    assert status == 0, err
    assert len(list(tmp_path.glob("runs/*/wandb/offline-run-*/*.wandb"))) == 2


def test_keys_that_change_no_result_do_not_split_the_table(call):
    call("+norm=unit", *QUICK, "trainer.progress=lines")
    _, out, _ = call("-m", "+norm=unit", "seed=0,1", *QUICK)
    assert "1 finished, 1 skipped" in out
    assert [line.split()[:2] for line in out.splitlines()[2:3]] == [["unit", "2"]]


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["checkout", "wheel"])
def test_a_study_is_found_by_its_name_whatever_folders_lie_beside_it(tmp_path, layout):
    """In a checkout in which a first run was made, and in a wheel: no folder becomes a config group of its own."""
    package, home = Path(normlab_package.__file__).parent, tmp_path / "home"
    beside = home / "normlab" if layout == "wheel" else home
    code = shutil.ignore_patterns("__pycache__")
    for path, copy in (
        (package, home / "normlab"),
        (CONFIGS, beside / "configs"),
        (EXPERIMENTS, beside / "experiments"),
    ):
        shutil.copytree(path, copy, ignore=code, dirs_exist_ok=True)
    shutil.copytree(CONFIGS.parent / "hydra_plugins", home / "hydra_plugins", ignore=code)
    for name in ("runs", "results", "data", "seed", "weights"):
        (beside / name).mkdir(exist_ok=True)
        (home / name).mkdir(exist_ok=True)
    quick = [
        "quick=true",
        "norm=raw,unit",
        "data=digits",
        "data.limit=60",
        "data.batch_size=16",
        "trainer.max_epochs=1",
    ]
    line = ["-m", "experiment=input_ranges", *quick, "seed=0", "arch=linear", "logger=none", "runs=foo"]
    environment = {**os.environ, "PYTHONPATH": str(home), "NORMLAB_CACHE": str(tmp_path / "cache")}
    done = subprocess.run(
        [sys.executable, "-m", "normlab", *line], cwd=home, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("2 jobs: 2 finished\n")
    stored = [json.loads(path.read_text()) for path in home.glob("foo/*/record.json")]
    assert {(found["study"], found["norm"]) for found in stored} == {("input_ranges", "raw"), ("input_ranges", "unit")}


@pytest.mark.slow
@pytest.mark.parametrize("study", ["experiment=ordering", "+experiment=ordering"])
def test_confirming_before_the_runs_that_choose_ends_with_one_line(call, study):
    status, out, err = call("-m", study, "confirm=true")
    assert (status, out) == (2, "")
    assert err.splitlines()[-1].startswith("normlab: study ordering: none of its 270 runs has a record")


@pytest.mark.parametrize("arguments", [("confirm=true",), ("-m", "confirm=true"), ("norm=unit", "confirm=true")])
def test_confirming_without_a_study_ends_with_one_line(call, arguments):
    status, out, err = call(*arguments)
    assert (status, out, len(err.splitlines())) == (2, "", 1)
    assert "confirm=true requires a sweep of a study that has confirming seeds" in err


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["0123", "off", "a#b", "a b #2", "x: y", "k=v", "[1]", "2024-01-01", "it's", "${seed}"]
)
def test_a_folder_of_images_is_found_by_its_plain_name(call, tmp_path, name):
    images(tmp_path / name)
    status, out, err = call(
        "norm=unit", "data=folder", f"data.root={name}", "data.batch_size=2", *QUICK[1:], "runs=a #1"
    )
    assert status == 0, err
    assert "a #1/folder-" in out
    (path,) = (tmp_path / "a #1").glob("*/record.json")
    assert json.loads(path.read_text())["config"]["data"]["root"] == name


def test_a_sweep_over_folders_takes_commas_and_quotes(call, tmp_path):
    images(tmp_path / "a,b", count=6)
    images(tmp_path / "that's", count=7)
    roots = "data.root='a,b',that's"
    status, out, err = call("-m", "norm=unit", "data=folder", roots, "data.batch_size=2", *QUICK[1:])
    assert status == 0, err
    assert out.endswith("2 jobs: 2 finished\n")
    stored = [json.loads(path.read_text()) for path in tmp_path.glob("runs/*/record.json")]
    assert {found["config"]["data"]["root"] for found in stored} == {"a,b", "that's"}
