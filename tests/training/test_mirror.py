"""W&B is a mirror: whatever it does, the run goes on, soon."""

import json
import math
import os
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml
from wandb.proto import wandb_internal_pb2
from wandb.sdk.launch.sweeps import utils as sweeps

from normlab import record
from normlab.config import ROOT
from normlab.errors import ConfigError
from normlab.run import run
from normlab.training import mirror

OPTIONS = {"arch": "linear", "data.limit": 60, "data.batch_size": 20, "trainer.max_epochs": 1, "logger": "wandb"}


@pytest.fixture(autouse=True)
def reachable(monkeypatch):
    monkeypatch.setattr(mirror, "_unreachable", set())


def leave(**_):
    raise SystemExit(3)


def fail(**_):
    raise RuntimeError("out\nof luck")


def hang(**_):
    time.sleep(60)


@pytest.mark.parametrize(
    ("act", "line"),
    [
        (leave, "W&B did not start (it called sys.exit(3)); the run goes on without it"),
        (fail, "W&B did not start (RuntimeError: out); the run goes on without it"),
        (hang, "W&B did not start (TimeoutError: no answer in 0.2 s); the run goes on without it"),
    ],
)
def test_a_wandb_that_does_not_start(make, monkeypatch, caplog, act, line):
    monkeypatch.setattr("wandb.init", act)
    monkeypatch.setattr(mirror, "START_SECONDS", -1.8)
    if act is not hang:
        monkeypatch.setattr(mirror, "START_SECONDS", 8)
    assert run(make(**OPTIONS))["status"] == "finished"
    assert line in caplog.text


class LeavesLater:
    summary = property(lambda self: self)

    def define_metric(self, *_, **__):
        pass

    def log(self, *_, **__):
        raise SystemExit(4)


def test_a_wandb_that_leaves_in_the_middle(make, monkeypatch, caplog):
    monkeypatch.setattr("wandb.init", lambda **_: LeavesLater())
    assert run(make(**OPTIONS))["status"] == "finished"
    assert caplog.text.count("W&B failed (it called sys.exit(4)); the run goes on without it") == 1


@pytest.mark.parametrize("silent", [True, False])
def test_a_server_that_does_not_answer_is_asked_once_in_a_process(make, monkeypatch, caplog, silent):
    """One that takes the connection and says nothing, and one that is not there."""
    server = socket.create_server(("127.0.0.1", 0))
    if not silent:
        server.close()
    address = f"http://127.0.0.1:{server.getsockname()[1] if silent else 9}"
    monkeypatch.setattr(mirror, "ANSWER_SECONDS", 0.2)
    monkeypatch.setenv("WANDB_BASE_URL", address)
    monkeypatch.setattr("wandb.init", fail)
    config = make(**OPTIONS, **{"logger.mode": "online"})
    monkeypatch.setattr("wandb.setup", lambda: type("Setup", (), {"settings": type("S", (), {"base_url": address})}))
    for _ in range(2):
        assert run(config)["status"] == "finished"
    assert caplog.text.count(f"W&B did not start (OSError: {address} does not answer: ") == 1
    server.close()


def sent_to(folder):
    """What was sent to the only offline run below a folder: W&B's own messages.

    W&B's service writes them in a process of its own, and may end after the run: its last message is the exit.
    """
    (path,) = folder.glob("wandb/offline-run-*/run-*.wandb")
    patience = time.monotonic() + 60
    while not of_kind(messages := messages_in(path.read_bytes()), "exit") and time.monotonic() < patience:
        time.sleep(0.05)
    return messages


def messages_in(content):
    """The messages in a log of LevelDB's format, but a last one that is not whole.

    Seven bytes begin the file, and each piece of a message: checksum, length, and whether it is whole (1), a
    beginning (2), a middle (3) or an end (4). No piece crosses a multiple of 32,768 bytes.
    """
    at, messages, message = 7, [], b""
    while at + 7 <= len(content):
        if 32768 - at % 32768 < 7:
            at += 32768 - at % 32768
            continue
        _, length, kind = struct.unpack("<IHB", content[at : at + 7])
        if at + 7 + length > len(content):
            break
        message = (message if kind in (3, 4) else b"") + content[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):
            messages.append(wandb_internal_pb2.Record.FromString(message))
    return messages


def of_kind(messages, kind):
    return [getattr(message, kind) for message in messages if message.WhichOneof("record_type") == kind]


def history(messages):
    """The rows that were logged, with the keys as they were given."""
    return [
        {item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in row.item}
        for row in of_kind(messages, "history")
    ]


@pytest.fixture(scope="module")
def mirrored_run(tmp_path_factory):
    """The record of a run with everything that W&B can get, and what it got."""
    from tests.conftest import configuration

    options = OPTIONS | {"logger.log_model": True, "study": "mine", "trainer.max_epochs": 2, "norm": "imagenet"}
    made = run(configuration(tmp_path_factory.mktemp("mirrored"), data="digits", **options))
    return made, sent_to(Path(made["path"]))


def test_a_run_is_found_by_its_choices(mirrored_run):
    made, messages = mirrored_run
    first = of_kind(messages, "run")[0]
    assert first.display_name == Path(made["path"]).name
    assert (first.run_group, first.job_type, first.project) == ("mine", "train", "normlab")
    assert set(first.tags) == {"imagenet", "digits", "linear", "sgd"}
    config = {item.key: json.loads(item.value_json) for item in first.config.update}
    assert {key: config[key] for key in made["config"] if key != "runs"} == {
        key: value for key, value in made["config"].items() if key != "runs"
    }


def test_the_curve_arrives_and_is_drawn_over_steps_and_epochs(mirrored_run):
    made, messages = mirrored_run
    by_epoch = {
        metric.glob_name or metric.name for metric in of_kind(messages, "metric") if metric.step_metric == "epoch"
    }
    assert {name.split("/")[0] for name in by_epoch} == {"validation", "test"}
    rows = history(messages)
    for measured in record.Curve.read(Path(made["path"]) / "curve.csv"):
        key = f"{measured.split}/{measured.metric}"
        (found,) = [row for row in rows if row["_step"] == measured.step and key in row]
        assert found[key] == pytest.approx(measured.value)
        assert found["epoch"] == measured.epoch


def test_the_summary_is_the_record(mirrored_run):
    made, messages = mirrored_run
    summary = {}
    for update in of_kind(messages, "summary"):
        summary |= {item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in update.update}
    assert summary["status"] == "finished"
    for name, value in made["metrics"].items():
        if isinstance(value, float) and math.isfinite(value):
            assert summary[name] == pytest.approx(value)


def test_the_histogram_is_that_of_the_normalized_inputs(mirrored_run):
    made, messages = mirrored_run
    (row,) = [row for row in history(messages) if "normalized_inputs.values" in row]
    assert row["normalized_inputs._type"] == "histogram"
    assert row["_step"] == 0
    assert sum(row["normalized_inputs.values"]) == 60 * 3 * 8 * 8
    assert row["normalized_inputs.bins"][0] == pytest.approx(made["normalized"]["min"], rel=1e-6)
    assert row["normalized_inputs.bins"][-1] == pytest.approx(made["normalized"]["max"], rel=1e-6)


def test_the_model_is_an_artifact(mirrored_run):
    made, messages = mirrored_run
    (model,) = of_kind(messages, "artifact")
    assert (model.name, model.type) == (Path(made["path"]).name, "model")
    (file,) = model.manifest.contents
    assert file.path == "checkpoint.ckpt"
    assert file.size == (Path(made["path"]) / "checkpoint.ckpt").stat().st_size


def test_no_model_without_a_checkpoint(make):
    with pytest.raises(ConfigError, match=r"logger.log_model=true sends the checkpoint"):
        make(**OPTIONS, **{"logger.log_model": True, "trainer.checkpoint": False})


def test_random_numbers_are_the_same_with_and_without(make):
    def after(**options):
        run(make(**OPTIONS | options, **{"data.stream": True, "data.workers": 0}, rerun=True))
        return torch.rand(1)

    assert after() == after(logger="none")


SWEEP = ["-m", "+norm=unit,raw", "study=mine", "data=digits", "data.limit=60", "data.batch_size=16", "arch=linear"]
SWEEP += ["trainer.max_epochs=1", "trainer.progress=none"]


@pytest.mark.slow
def test_the_table_of_a_sweep_arrives(call, tmp_path):
    """As it is printed, in a run of its own; a sweep that runs nothing sends nothing."""
    status, out, err = call(*SWEEP)
    assert status == 0, err
    (folder,) = tmp_path.glob("runs/sweeps/*")
    messages = sent_to(folder)
    first = of_kind(messages, "run")[0]
    assert (first.run_group, first.job_type) == ("mine", "sweep")
    (path,) = folder.glob("wandb/offline-run-*/files/media/table/comparison*.json")
    table = json.loads(path.read_text())
    printed = [line.split("  ") for line in out.splitlines()]
    cells = [[cell.strip() for cell in line if cell.strip()] for line in printed]
    assert [table["columns"], *([str(cell) for cell in row] for row in table["data"])] == [cells[0], *cells[2:4]]
    assert call(*SWEEP)[0] == 0
    assert len(list(tmp_path.glob("runs/sweeps/*/wandb"))) == 1


@pytest.mark.campaign  # a process that imports everything
@pytest.mark.slow
def test_an_agent_of_wandb_starts_runs(tmp_path):
    """The command of the sweep file with one combination of its parameters, as an agent calls it."""
    sweep = yaml.safe_load((ROOT / "docs/sweep.yaml").read_text())
    chosen = {key: values["values"][0] for key, values in sweep["parameters"].items()}
    given = {key: {"value": value} for key, value in chosen.items()}
    (tmp_path / "parameters.yaml").write_text(yaml.safe_dump({"wandb_version": 1, **given}))
    agent = {"SWEEP_ID": "abcdefgh", "RUN_ID": "12345678", "SWEEP_PARAM_PATH": str(tmp_path / "parameters.yaml")}
    macros = sweeps.create_sweep_command_args({"args": given})
    macros |= {"program": [sweep["program"]], "env": [], "interpreter": []}
    command = [part for word in sweep["command"] for part in macros.get(word.strip("${}"), [word])]
    command[command.index("logger.mode=online")] = "logger.mode=offline"
    done = subprocess.run(
        [sys.executable, *command, "data.limit=60", "data.batch_size=16", "trainer.max_epochs=1"],
        cwd=tmp_path,
        env=os.environ | {f"WANDB_{name}": value for name, value in agent.items()} | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    (folder,) = tmp_path.glob("runs/*-seed*")
    first = of_kind(sent_to(folder), "run")[0]
    assert (first.sweep_id, first.run_id) == ("abcdefgh", "12345678")
    made = record.read(folder)
    assert [made["norm"], made["lr"], made["seed"]] == [chosen["norm"], chosen["optim.lr"], chosen["seed"]]
    assert sweep["metric"]["name"] in made["metrics"]
    assert sweep["metric"]["name"].startswith("best_validation")  # no choice by test images
