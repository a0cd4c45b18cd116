from pathlib import Path

import pytest
import yaml

from normlab.config import CONFIGS, GROUPS, choices, choose, defaults, parse, parse_group
from normlab.errors import ConfigError


def composed(**changes):
    """The default run under `unit`, with keys changed: `composed(**{"optim.lr": 0.1})`."""
    main = yaml.safe_load((CONFIGS / "config.yaml").read_text())
    names = {key: name for entry in main["defaults"] if isinstance(entry, dict) for key, name in entry.items()}
    names["norm"] = "unit"
    top = {key: main[key] for key in ("seed", "study", "runs", "rerun", "weights")}
    values = top | {group: defaults(group, changes.pop(group, names[group])) for group in GROUPS}
    for key, value in changes.items():
        *path, last = key.split(".")
        node = values[path[0]] if path else values
        node[last] = value
    return values


@pytest.mark.parametrize("group", GROUPS)
def test_every_choice_is_named_as_its_file_and_lists_every_option(group):
    """Hydra lets a user change only what the file lists, and a file that says nothing hides an option."""
    for name in choices(group):
        written = defaults(group, name)
        assert written["name"] == name
        checked = parse_group(group, {**written, "root": "x"} if name == "folder" else written)
        hidden = set(checked.model_dump(by_alias=True)) - set(written) - {"full_batch"}
        assert not hidden, f"{group}/{name}.yaml does not list {hidden}"


@pytest.mark.parametrize("group", ["norm", "data", "arch"])
def test_files_and_signatures_agree_on_defaults(group):
    """Building a class without a file gives what the file says, unless the file's purpose is to differ."""
    for name in choices(group):
        written = {key: value for key, value in defaults(group, name).items() if key not in ("name", "_target_")}
        choice = choose(group, name)
        for key, value in written.items():
            actual = getattr(choice, key)
            expected = tuple(value) if isinstance(actual, tuple) else Path(value) if isinstance(actual, Path) else value
            assert actual == expected, f"{name}: {key}"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sed": 3}, "sed: unknown key; did you mean seed?"),
        ({"optim.lrr": 1}, "optim.lrr: unknown key; did you mean lr?"),
        ({"norm.eps": 1}, "norm.eps: unknown key; choose from mean, std"),
        ({"arch.widht": 1}, "arch.widht: unknown key; did you mean width?"),
        ({"data.limits": 1}, "data.limits: unknown key; did you mean limit?"),
        ({"optim": "adam", "optim.momentum": 0.9}, "optim.momentum: unknown key"),
        ({"optim.lr": -1}, "optim.lr=-1: should be greater than 0"),
        ({"optim.lr": 0}, "optim.lr=0: should be greater than 0"),
        ({"optim.lr": float("nan")}, "optim.lr=nan: should be a finite number"),
        ({"optim.lr": float("inf")}, "optim.lr=inf: should be a finite number"),
        ({"optim.lr": "fast"}, "optim.lr=fast: should be a valid number"),
        ({"optim.momentum": 0, "optim.nesterov": True}, "nesterov=true needs a momentum above 0"),
        ({"arch.activation": "swish"}, "arch.activation=swish: should be 'relu', 'tanh', 'sigmoid' or 'gelu'"),
        ({"arch.loss": "hinge"}, "arch.loss=hinge: should be 'cross_entropy' or 'squared_error'"),
        ({"trainer.targets": [1.5]}, "trainer.targets.0=1.5: should be less than or equal to 1"),
        ({"trainer.max_epochs": 2.5}, "trainer.max_epochs=2.5: should be a valid integer"),
        ({"trainer.precision": "fp8"}, "trainer.precision=fp8: should be '32', '64' or 'bf16-mixed'"),
        ({"data.validation": 1}, "data.validation=1: should be less than 1"),
        ({"data.batch_size": 0}, "data.batch_size=0: should be greater than 0"),
        ({"logger.mode": "sometimes"}, "logger.mode=sometimes: should be 'offline' or 'online'"),
        ({"seed": -1}, "seed=-1: should be greater than or equal to 0"),
        ({"augment.resized_crop": [0.9, 0.5]}, "the smallest share of the area comes first"),
        ({"norm": None}, "which normalization? Add +norm=NAME"),
        ({"norm": "unit"}, "norm=unit: expected one of these names: "),
        ({"optim": {"lr": 1}}, "optim={'lr': 1}: expected one of these names: adam"),
        ({"norm._target_": "normlab.norms.Nothing"}, "norm.name=unit: _target_=normlab.norms.Nothing, expected"),
        ({"norm": {"name": "unit", "_target_": "os.system"}}, "norm.name=unit: _target_=os.system, expected"),
        ({"norm": {"name": "../../mine", "_target_": "os.system"}}, "norm=../../mine: no such choice"),
        ({"arch": {"name": "cnn", "_target_": "subprocess.run"}}, "arch.name=cnn: _target_=subprocess.run, expected"),
        ({"norm.std": 0}, "norm.std=0: should be greater than 0"),
        ({"norm.mean": []}, "norm.mean=[]: "),
        ({"seed": True}, "seed=True: should be a valid integer"),
        ({"optim.warmup_epochs": 11}, "optim.warmup_epochs=11 is longer than trainer.max_epochs=10"),
        ({"trainer.stop_at_target": True, "trainer.targets": []}, "needs a target in trainer.targets"),
    ],
)
def test_bad_input_names_the_key_and_what_was_expected(changes, message):
    values = composed()
    for key, value in changes.items():
        if "." in key:
            group, name = key.split(".")
            values[group][name] = value
        elif key == "optim" and value == "adam":
            values["optim"] = defaults("optim", "adam")
        else:
            values[key] = value
    with pytest.raises(ConfigError) as caught:
        parse(values)
    assert message in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_several_mistakes_get_a_line_each():
    with pytest.raises(ConfigError) as caught:
        parse(composed(**{"optim.lr": -1, "optim.momentum": 2}))
    assert len(str(caught.value).splitlines()) == 2


def test_without_a_norm_all_schemes_are_listed():
    values = composed()
    del values["norm"]
    with pytest.raises(ConfigError) as caught:
        parse(values)
    assert all(name in str(caught.value) for name in choices("norm"))
