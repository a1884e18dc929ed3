"""What a run says of itself, with `logging` and without."""

from __future__ import annotations

import subprocess
import sys

import pytest

SCRIPT = """
import sys
sys.modules.pop("logging", None)  # the hook of an editable install has imported it by itself
{before}
from capture import Experiment
ex = Experiment("talk", observers=["file:runs"])

@ex.config
def defaults():
    lr = 0.1

@ex.main
def main(lr{argument}):
    {inside}
    return lr

ex.run()
print("logging" in sys.modules)
"""


def run(tmp_path, before="", argument="", inside="pass"):
    script = tmp_path / "talk.py"
    script.write_text(SCRIPT.format(before=before, argument=argument, inside=inside), encoding="utf-8")
    done = subprocess.run([sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True, check=True)
    return done.stdout.split(), done.stderr.splitlines()


def test_a_run_reads_the_same_whether_logging_is_imported_or_not(tmp_path):
    """Doing without `logging` is an economy that nobody should be able to see."""
    (loaded, plain), (also, logged) = run(tmp_path), run(tmp_path, before="import logging")
    assert (loaded, also) == (["False"], ["True"])
    assert [line.replace('"1"', '"2"') for line in plain] == logged
    assert logged[0] == "INFO - talk - Running command 'main'"


def test_the_log_says_where_the_run_went(tmp_path):
    """Recording is the default, so somebody who did not ask for it must be told where the record is."""
    _, lines = run(tmp_path)
    assert f'INFO - talk - Started run with ID "1" in file://{tmp_path}/runs' in lines


def test_logging_that_is_imported_in_main_is_set_up_by_the_next_line_of_the_run(tmp_path):
    """From then on there is one log, and its handlers decide what is seen."""
    loaded, lines = run(tmp_path, inside="import logging; logging.getLogger('talk').setLevel('WARNING')")
    assert loaded == ["True"]
    assert not [line for line in lines if "Result" in line]


def test_a_captured_function_gets_a_real_logger(tmp_path):
    """`_log` has all that loggers have, and the name that Sacred gives it."""
    inside = "_log.error('%s %s', type(_log).__name__, _log.isEnabledFor(20))"
    loaded, lines = run(tmp_path, argument=", _log", inside=inside)
    assert loaded == ["True"]
    assert "ERROR - talk.main - Logger True" in lines


def test_a_log_passes_on_everything_else():
    """Code that was given the run's logger may call whatever a logger has."""
    import copy
    import logging

    from capture.logs import RunLog

    log = RunLog("some", lambda: logging.getLogger("some"))
    assert log.getChild("part").name == "some.part"
    assert log.logger is logging.getLogger("some")
    assert copy.copy(log).logger is log.logger
    with pytest.raises(AttributeError):
        log.no_such_thing
