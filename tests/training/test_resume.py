"""A run that is killed goes on from its last whole epoch, and ends as one that was never killed, to the last bit."""

import multiprocessing
import os
import signal
import warnings
from pathlib import Path

import pytest
import torch

from normlab import record
from normlab.errors import Terminated
from normlab.record import STATE, Curve
from normlab.run import run
from normlab.training.resume import Resumption


def in_another_process(config, epoch, number):
    """Run, and send a signal to the process after this many epochs; its exit code."""

    def work():
        keep = Resumption.keep

        def keep_and_kill(self, trainer):
            keep(self, trainer)
            if trainer.current_epoch + 1 == epoch:
                os.kill(os.getpid(), number)

        Resumption.keep = keep_and_kill
        signal.signal(signal.SIGTERM, terminate)
        try:
            run(config)
        except Terminated:
            os._exit(143)

    def terminate(*_):
        raise Terminated

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of fork in a process with threads, which are idle
        process = multiprocessing.get_context("fork").Process(target=work)
        process.start()
    process.join()
    return process.exitcode


def curve(place):
    return Curve.read(Path(place) / "curve.csv")


CASES = {
    "augmented, scheduled, momentum": {
        "augment": "jitter", "optim.schedule": "cosine", "optim.warmup_epochs": 3, "trainer.eval_every_epochs": 3,
        "trainer.max_epochs": 100,
    },
    "adam, learned normalization": {"optim": "adam", "norm": "learned", "trainer.eval_every_steps": 7},
    "whole batches": {"optim": "gd", "arch": "linear", "optim.lr": 0.05, "optim.momentum": 0.5},
    "batch norm, end by steps": {"arch": "resnet", "arch.width": 4, "trainer.max_steps": 35, "augment": "crop_flip"},
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("changes", CASES.values(), ids=CASES.keys())
def test_a_killed_run_goes_on_and_ends_as_one_that_was_never_killed(make, tmp_path, monkeypatch, caplog, changes):
    monkeypatch.setattr("normlab.training.resume.MOST", 1e9)  # keep the state after every epoch
    options = {"data.limit": 40, "data.batch_size": 20, "trainer.max_epochs": 20, "trainer.resume": True} | changes
    calm = run(make(runs=tmp_path / "calm", **options))
    config = make(runs=tmp_path / "killed", **options)
    epoch = config.trainer.max_epochs * 7 // 10
    assert in_another_process(config, epoch, signal.SIGKILL) == -signal.SIGKILL
    (partial,) = (tmp_path / "killed").glob("*.partial")
    Curve(partial / "curve.csv").append(curve(partial)[:3])  # what was measured after the last state counts for nothing
    resumed = run(config)
    assert f"going on after epoch {epoch} of {config.trainer.max_epochs}" in caplog.text
    assert curve(resumed["path"]) == curve(calm["path"])
    ours, theirs = (
        {key: value for key, value in one["metrics"].items() if "second" not in key} for one in (resumed, calm)
    )
    assert str(ours) == str(theirs)
    assert sorted(path.name for path in Path(resumed["path"]).iterdir()) == [
        "checkpoint.ckpt",
        "curve.csv",
        "record.json",
    ]
    weights = [torch.load(Path(one["path"]) / "checkpoint.ckpt")["state_dict"] for one in (resumed, calm)]
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())
    assert not list((tmp_path / "killed").glob("*.partial"))


def test_sigterm_leaves_a_run_resumable_and_a_damaged_state_starts_it_again(make, tmp_path):
    options = {"data.limit": 40, "data.batch_size": 20, "trainer.max_epochs": 12, "trainer.resume": True}
    config = make(runs=tmp_path / "killed", **options)
    assert in_another_process(config, 7, signal.SIGTERM) == 143
    (partial,) = (tmp_path / "killed").glob("*.partial")
    assert (partial / STATE).is_file()
    calm = run(make(runs=tmp_path / "calm", **options))
    (partial / STATE).write_bytes((partial / STATE).read_bytes()[:100])
    resumed = run(config)
    assert curve(resumed["path"]) == curve(calm["path"])
    assert record.fingerprint(config) == record.fingerprint(make(**{**options, "trainer.resume": False}))
