"""A run is known by the names of its choices, the options that differ from their defaults, and its data's content."""

import json
import shutil

import numpy as np
import pytest
import yaml
from PIL import Image

from normlab import config as schema
from normlab import record
from normlab.config import CONFIGS, GROUPS, choices, defaults, parse
from normlab.errors import ConfigError
from normlab.norms import Fixed
from normlab.record import identity


def composed(**changes):
    """The default run under `unit` on digits, with keys changed: `composed(**{"optim.lr": 0.1})`."""
    main = yaml.safe_load((CONFIGS / "config.yaml").read_text())
    names = {key: name for entry in main["defaults"] if isinstance(entry, dict) for key, name in entry.items()}
    names |= {"norm": "unit", "data": "digits"}
    top = {key: main[key] for key in ("seed", "study", "runs", "rerun", "weights")}
    values = top | {group: defaults(group, changes.pop(group, names[group])) for group in GROUPS}
    for key, value in changes.items():
        *path, last = key.split(".")
        node = values[path[0]] if path else values
        node[last] = value
    return parse(values)


def moved_to(monkeypatch, target):
    """Let the file of `unit` name another class."""
    real = schema.defaults

    def changed(group, name):
        return real(group, name) | ({"_target_": target} if (group, name) == ("norm", "unit") else {})

    monkeypatch.setattr(schema, "defaults", changed)


def write_pets(folder, color=0, size=8):
    for name in ("cat", "dog"):
        (folder / name).mkdir(parents=True)
        for place in range(4):
            Image.new("RGB", (size, size), (color, place, 0)).save(folder / name / f"{place}.bmp")
    return folder


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("NORMLAB_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize(
    ("changes", "same"),
    [
        ({"runs": "elsewhere"}, True),
        ({"study": "another"}, True),
        ({"rerun": True}, True),
        ({"logger": "none"}, True),
        ({"logger.mode": "online"}, True),
        ({"trainer.progress": "none"}, True),
        ({"trainer.threads": 1}, True),
        ({"trainer.accelerator": "cpu"}, True),
        ({"data.workers": 7}, True),
        ({"optim.lr": 1e-2}, True),  # the default, written differently
        ({"optim.lr": 0.02}, False),
        ({"seed": 1}, False),
        ({"norm": "yolo"}, False),
        ({"norm.std": 0.9}, False),
        ({"arch.width": 8}, False),
        ({"data.limit": 100}, False),
        ({"data.split_seed": 1}, False),
        ({"data": "planted"}, False),
        ({"augment": "jitter"}, False),
        ({"trainer.max_epochs": 11}, False),
        ({"trainer.precision": 64}, False),
        ({"trainer.devices": 2}, False),
    ],
)
def test_the_fingerprint_tells_results_apart(changes, same):
    assert (record.fingerprint(composed(**changes)) == record.fingerprint(composed())) is same


def test_a_split_seed_that_follows_the_seed_is_a_number_in_the_run():
    one, two = (composed(seed=seed, **{"data.split_seed": "seed"}) for seed in (3, 4))
    assert (one.data.split_seed, two.data.split_seed) == (3, 4)
    assert record.fingerprint(one) == record.fingerprint(composed(seed=3, **{"data.split_seed": 3}))


def test_the_address_of_a_class_has_no_part_in_the_fingerprint(monkeypatch):
    """The class behind a scheme moves to another module under another name."""
    import normlab.norms as home

    before = record.fingerprint(composed())
    monkeypatch.setattr(home, "Affine2", Fixed, raising=False)
    moved_to(monkeypatch, "normlab.norms.Affine2")
    moved = composed(**{"norm._target_": "normlab.norms.Affine2"})
    assert moved.norm.address == "normlab.norms.Affine2"
    assert record.fingerprint(moved) == before


def test_a_key_that_is_added_with_a_default_leaves_older_fingerprints(monkeypatch):
    class WithClip(Fixed):
        def __init__(self, *, mean: float = 0.0, std: float = 1.0, clip: float | None = None) -> None:
            super().__init__(mean=mean, std=std)

    import normlab.norms as home

    before = record.fingerprint(composed())
    monkeypatch.setattr(home, "WithClip", WithClip, raising=False)
    later = {**defaults("norm", "unit"), "_target_": "normlab.norms.WithClip", "clip": None}
    monkeypatch.setattr(identity, "_schema", lambda group, name: schema.schema_of(group, name, _target(group, name)))

    def _target(group, name):
        return later["_target_"] if (group, name) == ("norm", "unit") else None

    plain = composed().plain()
    moved_to(monkeypatch, "normlab.norms.WithClip")

    def of(**options):
        return parse({**plain, "norm": {**later, **options}})

    assert record.fingerprint(of()) == before
    assert record.fingerprint(of(clip=3.0)) != before


def test_a_default_that_changes_in_the_configs_makes_other_runs(monkeypatch):
    """Defaults are versioned: the new one differs from the old one, and the old runs keep what they were."""
    before, explicit = record.fingerprint(composed()), record.fingerprint(composed(**{"optim.lr": 0.5}))
    real = schema.defaults
    changed = lambda group, name: {**real(group, name), **({"lr": 0.5} if (group, name) == ("optim", "sgd") else {})}  # noqa: E731
    monkeypatch.setattr(schema, "defaults", changed)
    monkeypatch.setitem(globals(), "defaults", changed)
    assert record.fingerprint(composed()) == explicit != before


def test_the_versioned_defaults_hold_every_choice_that_they_began_with():
    """A later choice need not be there; a choice that is there is not edited, which the committed records show."""
    known = identity.versioned_defaults()
    assert set(known) == set(identity.GROUPS)
    for group, entries in known.items():
        assert set(entries) <= set(choices(group)), f"{group}: a choice is gone; older records need its defaults"


def test_a_whole_configuration_comes_back_from_its_differences():
    config = composed(data="folder", arch="vit", **{"data.root": "/some/where/pets", "optim.lr": 0.3, "seed": 5})
    short = record.differences(config.plain())
    assert short["data"] == {"name": "folder", "root": "pets"}
    assert short["optim"] == {"name": "sgd", "lr": 0.3}
    assert record.differences(short) == short
    whole = record.with_defaults(json.loads(json.dumps(short)))
    plain = config.plain()
    for group in identity.GROUPS:
        kept = {key: value for key, value in plain[group].items() if key in whole[group]}
        assert whole[group] == {**kept, **({"root": "pets"} if group == "data" else {})}


def test_the_content_of_a_folder_decides_and_not_its_place(tmp_path):
    def of(root):
        return record.fingerprint(composed(data="folder", **{"data.root": root}))

    here, there = write_pets(tmp_path / "here" / "pets"), write_pets(tmp_path / "there" / "animals")
    other = write_pets(tmp_path / "other" / "pets", color=1)  # files of the same names and sizes
    sizes = [sorted(path.stat().st_size for path in root.rglob("*.bmp")) for root in (here, other)]
    assert sizes[0] == sizes[1]
    assert of(here) == of(there) != of(other)


def test_a_changed_folder_is_noticed_wherever_it_takes_part(tmp_path):
    """A mixture is made of its parts; a file of the same size and time of change replaces another."""
    root = write_pets(tmp_path / "pets")
    mixed = composed(data="mixture", **{"data.parts": [f"{root}/", "digits"], "data.size": 8})
    before = record.fingerprint(mixed)
    changed = root / "cat" / "0.bmp"
    moment = changed.stat()
    Image.new("RGB", (8, 8), (255, 255, 255)).save(changed)
    import os

    os.utime(changed, ns=(moment.st_atime_ns, moment.st_mtime_ns))
    assert changed.stat().st_size == moment.st_size
    assert record.fingerprint(mixed) != before


def test_a_mixture_does_not_carry_the_paths_of_its_parts(tmp_path):
    def of(root):
        return record.fingerprint(composed(data="mixture", **{"data.parts": [f"{root}/", "digits"], "data.size": 8}))

    assert of(write_pets(tmp_path / "here" / "pets")) == of(write_pets(tmp_path / "there" / "animals"))


def test_a_run_of_other_data_never_takes_the_folder_of_an_earlier_one(tmp_path):
    """Two folders of the same file names and sizes: each has a record of its own."""
    from normlab.run import run

    made = []
    for name, color in (("a", 0), ("b", 255)):
        root = write_pets(tmp_path / name / "pets", color)
        changes = {
            "data.root": root,
            "data.batch_size": 2,
            "runs": tmp_path / "runs",
            "logger": "none",
            "arch": "linear",
        }
        made.append(run(composed(data="folder", **{**changes, "trainer.max_epochs": 1, "trainer.progress": "none"})))
    assert made[0]["path"] != made[1]["path"]
    assert made[0]["data_content"] != made[1]["data_content"]
    assert len(record.read_all(tmp_path / "runs")) == 2
    for one in made:
        answers = record.unpack(one["correct"], one["provenance"]["images"]["test"])
        assert answers.mean() == pytest.approx(one["metrics"]["test_accuracy"])


def test_initial_weights_count_by_their_content(tmp_path):
    def of(name, content):
        (tmp_path / name).write_bytes(content)
        return record.fingerprint(composed(weights=tmp_path / name))

    assert of("a.ckpt", b"one") == of("b.ckpt", b"one") != of("b.ckpt", b"two")


def test_a_record_whose_defaults_have_changed_since_is_not_taken_for_the_same_run(tmp_path):
    """A fingerprint leaves out a default of a signature; if it changes, the stored configuration still tells."""
    config = composed(runs=tmp_path / "runs")
    place = record.folder(config)
    place.mkdir(parents=True)
    described = record.describe(config) | {"status": "finished", "metrics": {}}
    described["config"]["arch"]["width"] = 99
    record.write(place, described)
    with pytest.raises(ConfigError, match=r"was made with arch\.width=99, not 16"):
        record.existing(config)


def test_a_damaged_record_is_named_and_the_others_are_read(tmp_path, caplog):
    for seed in range(3):
        config = composed(seed=seed, runs=tmp_path / "runs")
        place = record.folder(config)
        place.mkdir(parents=True)
        record.write(place, record.describe(config) | {"status": "finished", "metrics": {"test_accuracy": 0.5}})
    (place / "record.json").write_text('{"fingerprint": "0123')
    frame = record.records(tmp_path / "runs")
    assert sorted(frame.seed) == [0, 1]
    assert place.name in caplog.text
    assert frame.test_accuracy.tolist() == [0.5, 0.5]
    assert np.isnan(frame.test_loss).all()


def test_records_of_the_first_schema_still_read(tmp_path):
    config = composed(runs=tmp_path / "runs")
    old = record.describe(config) | {"status": "finished", "metrics": {"test_accuracy": 0.25}}
    for later in ("schema", "data_content"):
        del old[later]
    place = tmp_path / "runs" / "old"
    place.mkdir(parents=True)
    (place / "record.json").write_text(json.dumps(old))
    (frame,) = record.records(tmp_path / "runs").itertuples()
    assert frame.test_accuracy == 0.25
    assert frame.schema == 2
    shutil.rmtree(place)
