"""What the documentation prints can be typed: each command is run or listed with a reason, each name exists."""

import ast
import importlib.util
import pydoc
import re
import shlex
import sys
from pathlib import Path

import pytest
import torch

import normlab
from benchmarks import documented
from normlab.commandline.composing import expand, split_arguments
from normlab.commandline.request import read
from normlab.config import GROUPS, Section, choices, schema_of, studies
from normlab.data import dataset
from normlab.run import run

COMMANDS = documented.commands()
READ = [command for command in COMMANDS if command.text.startswith("python -m")]
CALLED = [command for command in COMMANDS if command.reason is None]
BLOCKS = [(page, block) for page, blocks in documented.python_blocks().items() for block in blocks]
RUN = [  # CONTRIBUTING's block is no program; an export takes ten seconds, and tests/training makes several
    pytest.param(page, block, marks=[pytest.mark.campaign] * ("export" in block), id=page)
    for page, block in BLOCKS
    if page != "CONTRIBUTING.md"
]


def test_every_reason_is_that_of_a_printed_command():
    assert documented.REASONS.keys() | documented.LONG <= {command.text for command in COMMANDS}


@pytest.mark.slow
@pytest.mark.parametrize("command", READ, ids=str)
def test_a_printed_command_can_be_read(command):
    """Its module, its keys and its choices exist; the jobs of the main command are composed and checked."""
    module, *arguments = shlex.split(command.text)[2:]
    module = importlib.import_module(module)
    assert module is normlab or callable(module.main)
    if command.reason is not None or "--help" in arguments:
        return
    if module is normlab:
        flags, overrides, _ = split_arguments(arguments)
        assert set(flags) <= {"-m"}
        assert overrides
        request = read(arguments)
        jobs, configs = expand(request.hydra_arguments, request.study)
        assert jobs
        assert None not in configs
        return
    for argument in arguments:
        key, equals, value = argument.partition("=")
        group, _, option = key.partition(".")
        if not equals:
            assert argument in studies() or re.match("path/|recordings/|customers|messages|scenes", argument)
        elif key in GROUPS:
            assert value in choices(key)
        elif group in GROUPS:
            assert any(option in schema_of(group, name).model_fields for name in choices(group))
        else:
            assert key in options_of(module).model_fields


def options_of(module):
    """The options of a command: of its module, or of the one that reads its request."""
    places = [module, sys.modules[getattr(module, "read_request", module.main).__module__]]
    (found,) = {place.Options for place in places if hasattr(place, "Options")}
    assert issubclass(found, Section)
    return found


@pytest.mark.parametrize(("page", "block"), BLOCKS)
def test_names_of_a_printed_block_exist(page, block):
    names = {
        ast.unparse(node)
        for node in ast.walk(ast.parse(block))
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "normlab"
    }
    assert all(pydoc.locate(name) for name in names)
    assert names or "class Halved" in block


@pytest.mark.parametrize(("page", "block"), RUN)
def test_a_printed_block_runs(page, block, make, here):
    """Beside a checkpoint in the folder runs/.../, which is a name like another."""
    if "runs" in block:
        text = "encode" in block
        options = {"data": "sms_like", "norm": "raw", "arch": "bag"} if text else {"arch": "linear"}
        made = run(make(**options, **{"data.limit": 60, "data.batch_size": 20, "trainer.max_epochs": 1}))
        Path(made["path"]).rename(here / "runs/...")
    images = dataset("digits", limit=100).train.images if page != "docs/schemes.md" else torch.rand(100, 3, 8, 8)
    exec(block, {"images": images, "inputs": images, "batches": images.split(50)})


@pytest.fixture(scope="module")
def furnished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("documented")
    documented.furnish(folder)
    return folder


@pytest.mark.campaign
@pytest.mark.parametrize("command", CALLED, ids=str)
def test_a_printed_command_runs(command, furnished):
    if re.search("basic_motions|japanese_vowels|forecast", command.text) and importlib.util.find_spec("aeon") is None:
        pytest.skip("needs normlab[series]")
    done = documented.call(command.text, furnished)
    assert done.returncode == 0, done.stderr
    assert done.stdout
    assert "Traceback" not in done.stderr
