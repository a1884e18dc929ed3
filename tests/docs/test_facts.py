"""Every fact that a run records by itself is named on the pages about it."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from capture.probes.imports import imports_facts
from capture.probes.lineage.readers import TESTED
from capture.settings import DEFAULTS
from capture.stores import open_store
from capture.watching import OWN_TOPICS
from tests.project.tree import ROOT

FORMAT = (ROOT / "docs" / "format.md").read_text(encoding="utf-8")
CAPTURED = (ROOT / "docs" / "what-is-captured.md").read_text(encoding="utf-8")

SCRIPT = """\
import subprocess

import capture

with capture.start_run("facts", config={"password": "hunter2hunter2"}) as run:
    run.log_params({"n": 1})
    open("read.txt").close()
    with open("written.txt", "w") as stream:
        stream.write("x")
    subprocess.run(["sort", "read.txt"], check=True, stdout=subprocess.DEVNULL)
"""


def section(heading: str) -> str:
    """Return what stands below a heading of the page on the format, up to the next one."""
    found = re.search(rf"^### {re.escape(heading)}\n(.*?)^##", FORMAT, re.MULTILINE | re.DOTALL)
    assert found, f"docs/format.md has no section {heading!r}"
    return found[1]


def unnamed(keys, text):
    """Return the keys that a text does not name as code."""
    return sorted(key for key in keys if f"`{key}`" not in text)


@pytest.fixture(scope="module")
def facts(tmp_path_factory):
    """The facts of a run in a repository with changes."""
    folder = tmp_path_factory.mktemp("facts")
    (folder / "script.py").write_text(SCRIPT)
    (folder / "read.txt").write_text("x\n")
    git = ["git", "-c", "user.name=ada", "-c", "user.email=ada@example.org"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "first"]):
        subprocess.run([*git, *command], cwd=folder, check=True)
    (folder / "read.txt").write_text("x\ny\n")
    (folder / "untracked.txt").write_text("z\n")
    done = subprocess.run([sys.executable, "script.py"], cwd=folder, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return open_store(folder / "runs").get("latest").facts


@pytest.mark.parametrize("topic", OWN_TOPICS)
def test_every_topic_has_a_row(topic):
    """Whoever reads facts in another language has nothing but this page."""
    rows = [line.split(" | ")[0] for line in FORMAT.partition("## Facts by topic")[2].splitlines() if line[:3] == "| `"]
    assert any(f"`{topic}`" in row for row in rows)


@pytest.mark.parametrize("topic", ["imports", "environment", "machine", "process", "usage", "lineage", "secrets"])
def test_every_key_of_a_topic_is_named(facts, topic):
    """A key that is added without a word is one that nobody uses, or guesses the meaning of."""
    assert facts[topic].keys()
    assert unnamed(facts[topic], section(f"`{topic}`")) == []


def test_every_key_of_a_repository_is_named(facts):
    """The state of a repository is rebuilt from these, also by other programs."""
    (repository,) = facts["git"]
    assert {"patch", "bundle", "untracked"} <= repository.keys()
    assert unnamed(repository, section("`git`")) == []


def test_every_key_of_a_file_is_named(facts):
    """Inputs and outputs are the entries that are compared from run to run."""
    files = [*facts["lineage"]["inputs"], *facts["lineage"]["outputs"]]
    assert len(files) == 2
    assert unnamed({key for file in files for key in file}, section("`lineage`")) == []


def test_every_key_of_a_distribution_is_named():
    """Seen here with more kinds of installation than a small script has: at least this library's editable one."""
    found, _ = imports_facts([str(ROOT)], sys.modules, (), "sys", "sys", (), {})
    keys = {key for each in found["distributions"] for key in each}
    assert unnamed(keys, section("`imports`")) == []


@pytest.mark.parametrize("library", TESTED)
def test_every_wrapped_library_has_a_row(library):
    """Which libraries are seen decides whether a record can be trusted."""
    assert f"| `{library}` |" in CAPTURED


GROUPS = ("GIT.", "HOST_INFO.MACHINE", "HOST_INFO.INCLUDE", "PROCESS.", "LINEAGE.", "SYSTEM_METRICS.", "SECRETS.", "PROBES.")


@pytest.mark.parametrize("setting", [name for name in DEFAULTS if name.startswith(GROUPS) or name in ("IMPORTS", "ENVIRONMENT")])
def test_the_page_names_every_switch(setting):
    """What is captured without being asked for must say there how it is switched off."""
    assert f"`{setting}" in CAPTURED, f"docs/what-is-captured.md does not name {setting}"
