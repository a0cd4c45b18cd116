"""Importing normlab changes nothing of a user's process, and training leaves it as it was."""

import logging
import subprocess
import sys
import warnings

import pytest

from normlab.training.quiet import LOGGERS, hushed

IMPORTS = """
import logging, warnings
import pytorch_lightning, torch, torchvision, sklearn.datasets, pandas
def state():
    names = ("", *%r)
    return warnings.filters[:], [logging.getLogger(name).level for name in names], logging.getLogger().handlers[:]
before = state()
import normlab
for name in normlab.__all__:
    getattr(normlab, name)
assert state() == before, state()
"""


@pytest.mark.slow
def test_importing_changes_no_log_level_and_no_warning_filter():
    subprocess.run([sys.executable, "-c", IMPORTS % (LOGGERS,)], check=True)


def test_silence_ends_also_after_an_exception():
    before = warnings.filters[:], [logging.getLogger(name).level for name in LOGGERS]
    levels = []

    @hushed()
    def fail():
        levels.extend(logging.getLogger(name).level for name in LOGGERS)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert levels == [logging.WARNING] * len(LOGGERS)
    assert (warnings.filters[:], [logging.getLogger(name).level for name in LOGGERS]) == before
