import pytest

from normlab.config import CONFIGS, GROUPS, defaults, parse


def configuration(tmp_path, **changes):
    """A checked configuration: `arch="vit"` chooses, `**{"optim.lr": 0.1}` changes a key."""
    names = {"data": "digits", "augment": "none", "arch": "cnn", "optim": "sgd", "trainer": "default", "logger": "none"}
    names["norm"] = "unit"
    plain = {key: value for key, value in changes.items() if "." not in key}
    values = {group: defaults(group, plain.pop(group, names[group])) for group in GROUPS}
    values["trainer"] |= {"progress": "none", "max_epochs": 2}
    for key, value in changes.items():
        if "." in key:
            group, name = key.split(".")
            values[group][name] = value
    return parse({**values, "seed": 0, "runs": tmp_path / "runs", **plain})


@pytest.fixture
def make(tmp_path):
    assert CONFIGS.is_dir()
    return lambda **changes: configuration(tmp_path, **changes)
