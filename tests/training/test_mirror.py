"""W&B is a mirror: whatever it does, the run goes on, soon."""

import socket
import time

import pytest

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
