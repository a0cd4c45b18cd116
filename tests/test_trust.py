"""What strangers chose is data, never code: files, names and arguments that try to be more. See SECURITY.md."""

import io
import json
import os
import struct
import sys
import zlib
from pathlib import Path

import pandas as pd
import pytest
import torch

import normlab
from normlab import record
from normlab.commandline import arguments
from normlab.config import parse, study_file
from normlab.data import cache
from normlab.errors import CheckpointError, ConfigError
from normlab.files import to_csv
from normlab.pictures import CorruptImageError, read_picture
from normlab.record import STATE
from normlab.report.page import article
from normlab.training.checkpoint import start_from
from normlab.training.resume import Resumption


class Attack:
    """Touches a file when it is unpickled."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return open, (str(self.mark), "w")


@pytest.fixture
def mark(tmp_path):
    """A file that only attackers' code would make."""
    yield tmp_path / "mark"
    assert not (tmp_path / "mark").exists()


def test_an_attack_by_pickle_touches_nothing(tmp_path, mark, monkeypatch, caplog):
    path = tmp_path / "checkpoint.ckpt"
    torch.save({"normlab": Attack(mark), "state_dict": {}}, path)
    with pytest.raises(CheckpointError, match="not readable as a checkpoint"):
        normlab.load(path)
    with pytest.raises(CheckpointError, match="not readable as a checkpoint"):
        start_from(torch.nn.Identity(), path)
    torch.save({"resume": Attack(mark)}, tmp_path / STATE)
    assert not Resumption(tmp_path / STATE).exists
    monkeypatch.setenv("NORMLAB_CACHE", str(tmp_path))
    torch.save({"a": Attack(mark)}, tmp_path / "entry.pt")
    assert cache.remember("entry", lambda: {"a": 1}, {"a": int}) == {"a": 1}
    assert "is unreadable" in caplog.text


def test_a_tag_of_yaml_is_no_call(tmp_path, mark, monkeypatch):
    attack = f"!!python/object/apply:os.mkdir [{mark}]"
    with pytest.raises(ConfigError, match="not a value"):
        arguments._value("limit", attack)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "study.yaml").write_text(f"norm: {attack}\n")
    monkeypatch.setattr("normlab.config.EXPERIMENTS", tmp_path)
    with pytest.raises(ConfigError, match="could not determine a constructor"):
        study_file("mine")


@pytest.mark.parametrize(
    "attack",
    [
        "++norm={name:unit,_target_:os.mkdir}",
        "+norm={name:unit,'_target_':os.mkdir}",
        "norm._target_=os.mkdir",
        "+norm.extra._target_=os.mkdir",
        "hydra.callbacks.mine._target_=os.mkdir",
        "+hydra.callbacks={mine:{_target_:os.mkdir}}",
        "++arch.name=../../mine",
        "++norm={name:../../mine}",
        "experiment=../../mine",
    ],
)
def test_arguments_choose_by_name_only(call, attack):
    status, out, err = call("+norm=unit", attack, "data=digits", "trainer.max_epochs=1", "logger=none")
    assert (status, out) == (2, ""), err
    assert "Traceback" not in err
    assert not list(Path().rglob("record.json"))


def test_a_target_in_a_record_is_not_imported(make, tmp_path, monkeypatch):
    (tmp_path / "attack.py").write_text("raise SystemError('attackers code ran')")
    monkeypatch.syspath_prepend(str(tmp_path))
    config = make()
    plain = config.plain()
    for group in ("norm", "arch", "data"):
        plain[group]["_target_"] = "attack.run"
    stored = record.describe(config) | {"status": "finished", "metrics": {"test_accuracy": 0.5}, "config": plain}
    place = record.folder(config)
    place.mkdir(parents=True)
    (place / "record.json").write_text(json.dumps(stored))
    assert record.existing(config)
    assert len(normlab.records(config.runs)) == 1
    assert len(record.find_runs(config.runs)) == 1
    with pytest.raises(ConfigError, match=r"_target_=attack\.run, expected normlab"):
        parse(plain)
    assert "attack" not in sys.modules


def test_names_on_a_page_are_text(tmp_path):
    (tmp_path / "secret.png").write_bytes(b"a secret")
    (tmp_path / "study").mkdir()
    lines = [
        "# <script>alert(1)</script>",
        "",
        "![mine](../secret.png)",
        "",
        "![mine](https://example.org/count.png)",
        "",
        "| <img src=x onerror=alert(1)> | ![mine](https://example.org/count.png) | [mine](javascript:alert(1)) |",
        "| --- | --- | --- |",
        "| a | b | c |",
    ]
    (tmp_path / "study" / "README.md").write_text("\n".join(lines))
    text = article(tmp_path / "study" / "README.md", "study").html
    for part in ("<script", "<img", "href=", "YSBzZWNyZXQ", "src="):
        assert part not in text.lower().replace("&lt;img src=x", ""), part


def test_no_text_in_a_csv_is_a_formula():
    names = ["=cmd|' /C calc'!A0", "+1+1", "-2+3", "@SUM(A1)", "\t=1", "-", "-0.5", "cat", 'say "a",b']
    text = to_csv(pd.DataFrame({"class": names, "change": -1.5}))
    again = pd.read_csv(io.StringIO(text), keep_default_na=False)["class"].tolist()
    assert again == [f"'{name}" for name in names[:5]] + names[5:]
    assert all(float(line.rsplit(",", 1)[1]) == -1.5 for line in text.splitlines()[1:])


def test_a_decompression_bomb_is_a_broken_image(tmp_path):
    """A PNG of 10 GiB in 10 MB, cut to what its header says."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    path = tmp_path / "bomb.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 1000)))
    with pytest.raises(CorruptImageError, match="more than 178,956,970 pixels"):
        read_picture(path)


@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_a_special_file_among_images_is_a_broken_image(tmp_path, kind):
    path = tmp_path / "x.png"
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero")
    with pytest.raises(CorruptImageError, match="not a regular file, but a pipe, a socket or a device"):
        read_picture(path)
