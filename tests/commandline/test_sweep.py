"""Sweeps that are stopped, continued, repeated and run in parallel; what is skipped is what Hydra would compose."""

import io
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from filelock import FileLock
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from omegaconf import OmegaConf

import normlab.run as running
from normlab import record
from normlab.commandline import composing, sweep
from normlab.config import GROUPS, defaults, parse
from normlab.errors import RunningError
from normlab.run import run

QUICK = ["data=digits", "data.limit=60", "data.batch_size=16", "arch.width=4", "trainer.max_epochs=1", "logger=none"]
# Two trainings are the same to rounding, which threads and processors decide; in double precision it stays below 1e-9.
DOUBLE = "trainer.precision=64"


def spawn(folder, *arguments):
    environment = {**os.environ, "NORMLAB_CACHE": str(folder / "cache"), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "normlab", *arguments],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def records(folder):
    return {path.parent.name: json.loads(path.read_text()) for path in (folder / "runs").glob("*/record.json")}


def table(out):
    """The comparison, without the column of seconds and the line of counts."""
    return [line.rsplit(None, 1)[0] for line in out.splitlines() if line and "jobs:" not in line]


@pytest.mark.campaign
@pytest.mark.slow
@pytest.mark.parametrize("parallel", [False, True])
def test_a_sweep_that_is_killed_again_and_again_ends_as_if_undisturbed(tmp_path, parallel):
    """kill -9 of everything at random moments; then one more call runs what is missing, and nothing twice."""
    grid = ["-m", "+norm=raw,unit,zca", "seed=range(0,3)", *QUICK, DOUBLE]
    if parallel:
        grid += ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]
    (tmp_path / "calm").mkdir()
    (tmp_path / "killed").mkdir()
    calm = spawn(tmp_path / "calm", *grid)
    expected, err = calm.communicate(timeout=300)
    assert calm.returncode == 0, err
    chance = random.Random(0)
    for _ in range(3):
        process = spawn(tmp_path / "killed", *grid)
        while process.poll() is None and not (tmp_path / "killed/runs").exists():
            time.sleep(0.02)
        time.sleep(chance.uniform(0, 2))
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        for stored in records(tmp_path / "killed").values():
            assert stored["status"] == "finished"  # none is half-written
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "killed/runs").glob("*/record.json")}
    last = spawn(tmp_path / "killed", *grid)
    out, err = last.communicate(timeout=300)
    assert last.returncode == 0, err
    assert all(path.stat().st_mtime_ns == moment for path, moment in before.items())
    found, wanted = records(tmp_path / "killed"), records(tmp_path / "calm")
    assert found.keys() == wanted.keys()
    assert len(found) == 9
    for name in wanted:
        expected_loss = wanted[name]["metrics"]["test_loss"]
        assert found[name]["metrics"]["test_loss"] == pytest.approx(expected_loss, rel=1e-9)
    assert table(out) == table(expected)
    assert not list((tmp_path / "killed/runs").glob("*.partial"))


@pytest.mark.campaign
def test_a_killed_worker_ends_a_parallel_sweep_and_repeating_completes_it(tmp_path):
    grid = ["-m", "+norm=unit", "seed=range(0,6)", *QUICK, "hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]
    process = spawn(tmp_path, *grid)
    killed = False
    while process.poll() is None and not killed:
        time.sleep(0.05)
        if list(tmp_path.glob("runs/sweeps/*/*/started")):
            found = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True, check=False)
            for worker in found.stdout.split():
                line = Path(f"/proc/{worker}/cmdline").read_bytes().decode().replace("\0", " ")
                if "loky" in line and "resource_tracker" not in line and not killed:
                    os.kill(int(worker), signal.SIGKILL)
                    killed = True
    out, err = process.communicate(timeout=300)
    assert killed
    assert process.returncode == 1
    assert "the launcher broke down" in err
    assert "without an outcome" in out
    assert "the same command runs what is missing" in err
    assert "Traceback" not in err
    again = spawn(tmp_path, *grid)
    out, err = again.communicate(timeout=300)
    assert again.returncode == 0, err
    assert len(records(tmp_path)) == 6


def test_progress_counts_and_foretells(tmp_path):
    (tmp_path / sweep.SWEEP).write_text(
        json.dumps(
            {"total": 10, "skipped": {"0": "a", "1": "b"}, "refused": {}, "places": [], "started": time.time() - 60}
        )
    )
    for number, status in enumerate(["finished", "finished", "diverged"]):
        sweep.begin(tmp_path / str(number))
        sweep.note(tmp_path / str(number), number, [], status)
    sweep.begin(tmp_path / "3")
    found = sweep.progress(tmp_path)
    assert found == "5 of 10 done: 2 finished, 1 diverged, 2 skipped, 1 running, about 2 min left"


@pytest.mark.slow
def test_a_job_that_fails_has_its_traceback_and_leaves_the_others(call, tmp_path, monkeypatch):
    train = running.train

    def broken(config, *arguments):
        if config.seed == 1:
            raise RuntimeError("out of luck")
        return train(config, *arguments)

    monkeypatch.setattr(running, "train", broken)
    status, out, err = call("-m", "+norm=unit", "seed=range(0,3)", *QUICK)
    assert status == 1
    assert "3 jobs: 2 finished, 1 failed" in out
    assert "RuntimeError: out of luck" in err
    (traceback,) = tmp_path.glob("runs/sweeps/*/1/traceback.txt")
    assert "out of luck" in traceback.read_text()
    assert str(traceback.relative_to(tmp_path)) in err
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    status, out, _ = call("-m", "+norm=unit", "seed=range(0,3)", *QUICK)  # a failed run is tried again
    assert status == 0
    assert "3 jobs: 1 finished, 2 skipped" in out


@pytest.mark.slow
def test_hydra_composes_no_job_a_second_time(call, monkeypatch, tmp_path):
    """Unless it does something around a job that only its own launcher does."""
    composed, compose = [], ConfigLoaderImpl.load_sweep_config

    def counted(self, master, overrides):
        composed.append(overrides)
        return compose(self, master, overrides)

    monkeypatch.setattr(ConfigLoaderImpl, "load_sweep_config", counted)
    seen, update = [], running.train
    monkeypatch.setattr(running, "train", lambda *given: (seen.append(os.environ.get("SEEN")), update(*given))[1])
    assert call("-m", "+norm=unit", "seed=range(0,3)", *QUICK)[0] == 0
    assert (len(composed), seen) == (1, [None] * 3)  # what the jobs share
    assert call("-m", "+norm=unit", "seed=range(3,6)", *QUICK, "+hydra.job.env_set.SEEN=yes")[0] == 0
    assert (len(composed), seen) == (1 + 1 + 3, [None] * 3 + ["yes"] * 3)
    found = records(tmp_path)
    assert sorted(one["seed"] for one in found.values()) == list(range(6))


@pytest.mark.slow
def test_two_jobs_at_once_leave_the_records_of_one_after_the_other(tmp_path):
    grid = ["-m", "+norm=unit,zca", "seed=0,1", *QUICK, DOUBLE]
    losses = []
    for name, more in (("one", []), ("two", ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"])):
        (tmp_path / name).mkdir()
        process = spawn(tmp_path / name, *grid, *more)
        out, err = process.communicate(timeout=300)
        assert process.returncode == 0, err
        assert "4 jobs: 4 finished" in out
        assert err.count(": finished") == 4
        losses.append({key: one["metrics"]["test_loss"] for key, one in records(tmp_path / name).items()})
    assert losses[0] == pytest.approx(losses[1], rel=1e-9)


def test_a_job_that_cannot_be_composed_leaves_the_others(call):
    status, out, err = call("-m", "+norm=unit,imagenat,centered", *QUICK)
    assert status == 1
    assert "3 jobs: 2 finished, 1 refused" in out
    (line,) = [line for line in err.splitlines() if line.startswith("job norm=imagenat")]
    assert "no such choice; did you mean imagenet?" in line
    status, out, _ = call("-m", "+norm=unit,imagenat,centered", *QUICK)
    assert status == 1
    assert "3 jobs: 2 skipped, 1 refused" in out


@pytest.mark.slow
def test_the_status_does_not_depend_on_what_can_be_printed_or_written_down(call, monkeypatch, tmp_path):
    """A full standard output, and a disk that takes records but no word of the jobs; then a record that is damaged."""

    class Full(io.StringIO):
        def write(self, text):
            raise OSError(28, "No space left on device")

    grid = ["-m", "+norm=unit", "seed=0,1", *QUICK]
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", Full())
        patch.setattr(sweep, "OUTCOME", "no/such/folder/outcome.json")
        status, _, err = call(*grid)
        assert status == 0, err
        assert "not written down: " in err
    assert len(records(tmp_path)) == 2
    status, out, _ = call(*grid)
    assert (status, out.splitlines()[-1]) == (0, "2 jobs: 2 skipped")
    readers = iter([record.read, damaged])
    monkeypatch.setattr(record, "read", lambda place: next(readers)(place))
    status, out, err = call(*grid)
    assert status == 1
    assert "the record cannot be read (cut)" in err


def damaged(_):
    raise ValueError("cut")


@pytest.mark.slow
def test_what_changes_the_result_is_run_again_and_what_does_not_is_not(call, tmp_path):
    def counts(*more):
        return call("-m", "+norm=unit", "seed=0,1", *QUICK, *more)[1].splitlines()[-1]

    assert counts() == "2 jobs: 2 finished"
    assert counts("trainer.progress=lines", "trainer.threads=1", "study=other", "data.workers=0") == "2 jobs: 2 skipped"
    assert counts("rerun=true") == "2 jobs: 2 finished"
    for change in ("optim.lr=0.02", "augment=crop_flip", "trainer.targets=[0.3]", "data.split_seed=1", "seed=1,2"):
        assert "finished" in counts(change), change


@pytest.mark.slow
@pytest.mark.parametrize(
    "overrides",
    [
        ["++seed=3", "++optim.lr=1e-2", "data=digits", "+norm=zca"],
        ["+experiment=input_ranges", "+norm=raw", "++seed=4"],
        ["+experiment=input_ranges", "trainer=default", "+norm=raw"],
        ["+experiment=input_ranges", "++trainer.max_epochs=2", "optim=adam", "+norm=raw", "arch=vit"],
        ["data=photos", "+experiment=ordering", "arch=cnn", "+norm=raw", "++optim.lr=1e-3", "++seed=1"],
        ["data=digits", "+experiment=resnet_table", "arch=resnet", "++arch.blocks=2", "+norm=raw"],
        ["data=digits", "++data.limit=${seed}", "+experiment=ordering", "arch=cnn", "+norm=raw"],
        ["+norm=imagenet", "++norm.mean=[0,0,0]", "++optim.schedule=cosine", "++optim.clip_norm=null"],
        ["optim=gd", "++optim.lr=auto", "arch=linear", "++arch.bias=false", "+norm=learned"],
        ["+norm=unit", "~norm"],
        ["+norm=unit", "++study='a b'", "++runs=${study}"],
    ],
)
def test_a_skipped_job_is_what_hydra_would_have_composed(overrides, monkeypatch, tmp_path):
    from hydra import compose, initialize_config_dir

    from normlab.config import CONFIGS
    from normlab.errors import NormlabError

    monkeypatch.chdir(tmp_path)
    study = next((text.partition("=")[2] for text in overrides if text.startswith("+experiment=")), None)
    composing.offer_study(study)
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        try:
            wanted = record.folder(parse(OmegaConf.to_container(compose("config", overrides), resolve=True)))
        except NormlabError:
            wanted = None
    jobs, (config,) = composing.expand(overrides, study)
    assert len(jobs) == 1
    assert (None if config is None else record.folder(config)) == wanted


def test_two_processes_do_not_make_the_same_run(tmp_path, monkeypatch):
    names = {"data": "digits", "augment": "none", "norm": "unit", "arch": "linear", "optim": "gd", "trainer": "default"}
    values = {group: defaults(group, {**names, "logger": "none"}[group]) for group in GROUPS}
    values["trainer"]["max_epochs"] = 1
    config = parse({**values, "runs": tmp_path / "runs"})
    final = record.folder(config)
    (final.parent / ".locks").mkdir(parents=True)
    with FileLock(final.parent / ".locks" / final.name), pytest.raises(RunningError, match="another process"):
        run(config, progress="none")
    assert run(config, progress="none")["status"] == "finished"


@pytest.mark.parametrize(
    ("launcher", "threads"),
    [
        ({}, None),
        ({"n_jobs": 2}, 1),
        ({"n_jobs": -1}, 1),
        ({"n_jobs": 1}, 2),
        ({"cpus_per_task": 4}, 4),
        ({"ray": {"remote": {"num_cpus": 3}}}, 3),
        ({"ray": {"remote": {}}}, 1),
    ],
)
def test_jobs_at_once_share_the_cores(launcher, threads, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1}, raising=False)
    assert sweep.threads_for_each_job(OmegaConf.create(launcher)) == threads


def test_a_run_that_another_process_made_meanwhile_is_not_made_again(tmp_path):
    names = {"data": "digits", "augment": "none", "norm": "unit", "arch": "linear", "optim": "gd", "trainer": "default"}
    values = {group: defaults(group, {**names, "logger": "none"}[group]) for group in GROUPS}
    values["trainer"]["max_epochs"] = 1
    config = parse({**values, "runs": tmp_path / "runs"})
    path = Path(run(config, progress="none")["path"])
    written = (path / "record.json").stat().st_mtime_ns
    with pytest.raises(RunningError, match="has made this run"):
        run(config, progress="none", again=False)
    assert (path / "record.json").stat().st_mtime_ns == written
    # A kill between the two renames that put a new folder in the place of an earlier one.
    path.rename(path.with_name(path.name + ".earlier"))
    with pytest.raises(RunningError, match="has made this run"):
        run(config, progress="none", again=False)
    assert (path / "record.json").stat().st_mtime_ns == written


def test_a_sweep_that_cannot_write_ends_with_status_2(call, tmp_path):
    (tmp_path / "file").write_text("")
    status, out, err = call("-m", "+norm=unit", "seed=0,1", *QUICK, "runs=file/runs")
    assert status == 2
    assert "cannot be written" in err
    assert out == ""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("jobs", "names"),
    [
        (["+norm=unit", "seed=0,1", "trainer.threads=1,2"], ("trainer.threads=1", "trainer.threads=2")),
        (["+norm=unit", "study=one,two"], ("study='one'", "study='two'")),
        (["+norm=unit,unit"], ("norm=unit", "norm=unit")),
        (["+norm=unit", "data=folder", "data.root=lay/photos,photos"], ("photos", "photos")),
    ],
)
def test_two_jobs_that_are_the_same_run_are_refused_before_anything_is_trained(call, tmp_path, jobs, names):
    from PIL import Image

    for root in ("lay/photos", "photos"):
        for label in ("cat", "dog"):
            (tmp_path / root / label).mkdir(parents=True)
            for i in range(6):
                Image.new("RGB", (8, 8), (i * 9, 20, 30)).save(tmp_path / root / label / f"{i}.png")
    status, out, err = call("-m", *jobs, *(QUICK[2:] if "data=folder" in jobs else QUICK))
    assert (status, out, len(err.splitlines())) == (2, "", 1)
    for place, name in enumerate(names):
        assert re.search(rf"job \d+ \([^)]*{name.replace(chr(39), '.?')}[^)]*\)", err), (place, err)
    assert "are the same run" in err
    assert not list(tmp_path.rglob("record.json"))
