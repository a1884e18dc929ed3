"""What every test gets: a home, a state folder and an environment of its own."""

from __future__ import annotations

import gc
import itertools
import logging
import os
import shutil
import tempfile

import pytest
from hypothesis import HealthCheck, settings

pytest_plugins = ["tests.servers.fixtures"]

_HOME = tempfile.mkdtemp(prefix="capture-tests-")
_NUMBER = itertools.count(1)

#: Folders whose tests are slow as a whole: they start processes, servers, or both, or measure.
SLOW_FOLDERS = ("bench", "e2e", "examples", "faults", "servers", "viewers")
#: Folders of which each test needs what `python -m tests.servers install` installs.
SERVER_FOLDERS = ("faults", "servers", "viewers")


def pytest_configure(config):
    """Cut the session off from the user's settings, before any test module is imported.

    `os.environ` is changed, not only a fixture's copy, so that subprocesses and class-level set-up inherit it too.
    """
    for name in list(os.environ):
        foreign = name.startswith(("CAPTURE_", "SLURM_", "XDG_")) or name in ("RANK", "WORLD_SIZE", "LOCAL_RANK")
        # PYTHONUNBUFFERED above all, which hides that a script's output comes in blocks
        if foreign or (name.startswith("PYTHON") and name != "PYTHONPATH"):
            del os.environ[name]
    os.environ.update(
        HOME=_HOME,
        USERPROFILE=_HOME,
        CAPTURE_STATE_DIR=os.path.join(_HOME, "state"),
        # On a machine that does much else, what takes milliseconds takes seconds; tests of these limits set their own.
        CAPTURE_PROBES__END_WAIT_S="60",
        CAPTURE_LINEAGE__END_WAIT_S="60",
        CAPTURE_GIT__TIMEOUT_S="60",
        GIT_CONFIG_NOSYSTEM="1",
        GIT_AUTHOR_NAME="A. Tester",
        GIT_AUTHOR_EMAIL="tester@example.org",
        GIT_COMMITTER_NAME="A. Tester",
        GIT_COMMITTER_EMAIL="tester@example.org",
    )

    from tests.servers.fixtures import are_required

    # No example is judged by how long it took: the machine may be busy. CI judges a commit, not its luck, and tries the
    # same examples each time; whoever runs the tests by hand looks for new ones.
    settings.register_profile("any", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.register_profile("ci", settings.get_profile("any"), derandomize=True)
    settings.load_profile("ci" if are_required() else "any")


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config):
    """Let ``-n 2`` keep together what belongs together; see below."""
    if getattr(config.option, "numprocesses", None) and config.option.dist == "no":
        config.option.dist = "loadgroup"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config, items):
    """Mark what is slow by a rule, and give the tests that share a server to one process, so that it is started once.

    The rules, which docs/design.md tells to developers: a test that needs a server is slow, and so is all of
    `SLOW_FOLDERS`. Other tests are quick, but for those that are marked by hand because they take more than some tenths
    of a second.
    """
    from tests.servers.fixtures import needed_servers

    grouped = config.pluginmanager.hasplugin("xdist")
    for item in items:
        folder = os.path.relpath(item.path, os.path.dirname(__file__)).split(os.sep)[0]
        servers = needed_servers(item)
        if servers or folder in SERVER_FOLDERS:
            item.add_marker(pytest.mark.server)
        if folder in SLOW_FOLDERS or item.get_closest_marker("server"):
            item.add_marker(pytest.mark.slow)
        shared = [name for name in servers if not name.startswith("own_")]
        if grouped and shared and not item.get_closest_marker("xdist_group"):
            item.add_marker(pytest.mark.xdist_group("-".join(shared)))


def pytest_collection_finish(session):
    """Have the garbage collector leave alone what collecting made: thousands of tests, which stay until the end.

    It would look through all of them again and again, which took a sixth of a session's time.
    """
    gc.collect()
    gc.freeze()


def pytest_unconfigure(config):
    shutil.rmtree(_HOME, ignore_errors=True)


@pytest.fixture(autouse=True)
def state_dir(monkeypatch):
    """Give each test a state folder that no other test has written to; it is not made before someone needs it."""
    path = os.path.join(_HOME, "state", str(next(_NUMBER)))
    monkeypatch.setenv("CAPTURE_STATE_DIR", path)
    return path


@pytest.fixture(autouse=True)
def facts(request):
    """Leave out of runs in this process what they would tell of the test session, unless a test is marked ``facts``.

    To a run every test module is an imported source of an editable install, and the checkout a repository to bundle:
    that costs each run ten times what it costs by itself, and depends on where the tests are run. Runs in processes
    of their own, as tests/e2e starts them, tell everything.
    """
    from capture import SETTINGS

    if request.node.get_closest_marker("facts"):
        yield
        return
    before = SETTINGS.IMPORTS, SETTINGS.GIT.BUNDLE_BYTES
    SETTINGS.IMPORTS, SETTINGS.GIT.BUNDLE_BYTES = False, 0
    yield
    SETTINGS.IMPORTS, SETTINGS.GIT.BUNDLE_BYTES = before


@pytest.fixture(autouse=True)
def told_stories(monkeypatch):
    """Close the journals of the stories that a test tells: a thousand of them are all the files a process may open."""
    from capture.testing.feed import Story

    told: list[Story] = []
    made = Story.__init__

    def remembered(self, *args, **options):
        made(self, *args, **options)
        told.append(self)

    monkeypatch.setattr(Story, "__init__", remembered)
    yield
    for story in told:
        story.close()


@pytest.fixture(autouse=True)
def log_level():
    """Give each test the log level that it expects: ``--loglevel`` sets that of the process, for good."""
    root = logging.getLogger()
    before = root.level
    yield
    root.setLevel(before)
