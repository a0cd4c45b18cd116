"""A run on texts: tokens pass unchanged, the checkpoint takes texts again, and what would change tokens is refused."""

import json
from pathlib import Path

import pytest
import torch

import normlab
from normlab.archs.folding import folded
from normlab.config import choices, choose, compose
from normlab.data import dataset, load, open_source
from normlab.data.text import make_source
from normlab.data.tokens import UNKNOWN, Tokenization, restore
from normlab.errors import ConfigError, DataError
from normlab.measurements.starts import network_at_start
from normlab.norms import normalization, require_unchanged_tokens
from normlab.record import fingerprint
from normlab.run import run

DATA = {"name": "sms_like", "messages": 200, "length": 12, "batch_size": 32}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of a small transformer: its record, and its folder of runs."""
    place = tmp_path_factory.mktemp("runs")
    arch = {"name": "text_transformer", "width": 16, "heads": 2, "depth": 1, "layer_norm": "after_embedding"}
    optim = {"name": "adam", "lr": 0.01}
    trainer = {"name": "default", "max_epochs": 3, "probe_steps": [0]}
    config = compose("texts", data=DATA, norm="raw", arch=arch, optim=optim, trainer=trainer)
    return run(config.model_copy(update={"runs": place}), progress="none")


def test_a_run_on_texts_leaves_a_record_with_what_was_cut_and_unknown(trained):
    data = dataset(**DATA)
    assert trained["status"] == "finished"
    assert trained["provenance"]["data_notes"] == list(data.notes)
    assert any("cut to data.length=12" in note for note in data.notes)
    assert (trained["normalized"]["min"], trained["normalized"]["max"]) == (0, data.tokens - 1)
    curve = (Path(trained["path"]) / "curve.csv").read_text()
    assert "probe,activation_rms.embedding," in curve
    assert "probe,lambda_max," in curve


@pytest.mark.slow
def test_the_command_ends_with_a_table_and_a_record(call):
    options = ["trainer.max_epochs=1", "data.messages=100", "logger=none"]
    status, printed, said = call("+norm=raw", "data=sms_like", "arch=bag", *options)
    assert status == 0, said
    assert "test accuracy" in printed
    assert "bag on sms_like" in printed


def test_a_loaded_network_takes_texts_as_it_was_trained_on_them(trained):
    path = f"{trained['path']}/checkpoint.ckpt"
    network, data = normlab.load(path), dataset(**DATA)
    texts = open_source(choose("data", **DATA)).train.pictures.texts
    tokens = network.encode(texts)
    assert {tuple(row) for row in tokens[:, 0].tolist()} >= {tuple(row) for row in data.test.inputs[:, 0].tolist()}
    assert network.classes == ("ham", "spam")
    with torch.no_grad():
        right = (network(data.test.inputs).argmax(1) == data.test.labels).double().mean().item()
    assert right == trained["metrics"]["test_accuracy"]
    assert (network.encode(["zyzzyva"])[0, 0, 0] == UNKNOWN).item()
    with pytest.raises(DataError, match="takes inputs of int32, not int64"):
        network(tokens.long())
    assert folded(network) == (network, "kept as a layer: it passes tokens as they are")


def test_another_network_takes_no_texts():
    data = dataset("planted")
    with pytest.raises(DataError, match="takes no texts"):
        network_at_start(data, normalization("unit"), {"name": "linear"}, 0).encode(["a"])


@pytest.mark.parametrize("name", [name for name in choices("norm") if name != "raw"])
def test_every_scheme_that_would_change_tokens_is_refused(name):
    norm = normalization(name).set_range(0, 99)
    with pytest.raises(ConfigError, match=f"norm={name}: would change the tokens of texts.*use norm=raw") as refusal:
        require_unchanged_tokens(norm, name, 100)
    assert "\n" not in str(refusal.value)


def test_raw_passes_every_token_of_a_large_vocabulary():
    norm = normalization("raw").set_range(0, 10**6)
    require_unchanged_tokens(norm, "raw", 10**6)
    ids = torch.arange(10**6, dtype=torch.int32).reshape(1, 1, -1)
    assert torch.equal(norm(ids).long(), ids.long())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"norm": "dataset"}, "norm=dataset: would change the tokens"),
        ({"arch": "mlp"}, "arch=mlp takes no texts: use arch=text_transformer or arch=bag"),
        ({"data": {"name": "digits", "limit": 50}}, "arch=bag takes texts: choose such data"),
        ({"augment": "crop_flip"}, "augment=crop_flip: for images only"),
        ({"trainer": {"name": "default", "shifts": ["brightness"]}}, "trainer.shifts"),
        ({"data": {**DATA, "white": 9.0}}, "data.black and data.white: the tokens of data=sms_like have no range"),
        ({"data": {**DATA, "image_size": 8}}, "data.image_size=8: data=sms_like holds no images"),
    ],
)
def test_what_does_not_suit_texts_is_refused_before_training(options, message, here):
    config = compose("texts", **{"data": DATA, "norm": "raw", "arch": "bag", "optim": "sgd", **options})
    with pytest.raises((ConfigError, DataError), match=message) as refusal:
        run(config, progress="none")
    assert "\n" not in str(refusal.value)


def test_each_split_has_the_vocabulary_of_its_own_training_texts():
    source = open_source(choose("data", **DATA))
    vocabularies = []
    for seed in (0, 1):
        data = load(choose("data", **DATA, split_seed=seed), source)
        words = set(restore(data.tokenizer).get_vocab()) - {"[PAD]", "[UNK]"}
        counts = torch.bincount(data.train.inputs.flatten())
        # Every token but the two special ones occurs in the training texts, unless only behind the cut.
        assert len(counts) <= data.tokens
        vocabularies.append(words)
    assert vocabularies[0] != vocabularies[1]
    tests = load(choose("data", **DATA, split_seed=0, test=0.9, validation=0.5), source)
    assert tests.tokens < data.tokens / 2  # a few training texts have few words, however many the test texts have


def test_equal_texts_are_in_one_split_and_said():
    texts = [f"text {place % 60} of  many" if place < 120 else f"TEXT {place - 120} of many" for place in range(180)]
    labels = ["ham" if place % 60 % 2 else "spam" for place in range(180)]
    labels[61] = "spam"
    source = make_source(labels, texts, Tokenization(min_count=1), [])
    assert source.notes == ("120 texts repeat another, 1 of them with another label; equal texts stay in one split",)
    data = load(choose("data", "sms_like", min_count=1), source)
    rows = [set(map(tuple, split.inputs[:, 0].tolist())) for split in data.splits.values()]
    # The number may be unknown outside training, but then the rest of the text is the same for all of them.
    known = [{row for row in split if UNKNOWN not in row} for split in rows]
    assert not known[0] & known[1]
    assert not known[0] & known[2]
    assert 40 <= len(known[0]) <= 46  # of 60 groups, minus a fifth for the test and a tenth of the rest for validation


def test_the_identity_of_texts_is_their_content(tmp_path):
    lines = "label\ttext\n" + "".join(f"{'ham' if n % 2 else 'spam'}\tmessage {n}\n" for n in range(40))
    for name, content in (("a.tsv", lines), ("b.tsv", lines.replace("message 7", "another 7"))):
        (tmp_path / name).write_text(content)
    (tmp_path / "deeper").mkdir()
    (tmp_path / "deeper" / "c.csv").write_text(lines.replace("\t", ","))
    parts = {"norm": "raw", "arch": "bag", "optim": "sgd"}

    def identity(path, **options):
        return fingerprint(compose("texts", data={"name": "text", "root": str(tmp_path / path), **options}, **parts))

    assert identity("a.tsv") == identity("deeper/c.csv")
    assert identity("a.tsv") != identity("b.tsv")
    assert identity("a.tsv") != identity("a.tsv", length=5)
    assert identity("a.tsv", length=64) == identity("a.tsv")


def test_a_record_of_texts_is_plain_json(trained):
    record = json.loads((Path(trained["path"]) / "record.json").read_text())
    assert record["arch"] == "text_transformer"
    assert record["data"] == "sms_like"
