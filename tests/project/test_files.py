"""What the project's files say about each other, and what none of them may say."""

from __future__ import annotations

import configparser
import doctest
import importlib
import re
import subprocess

import pytest

from tests.project.tree import FOLDERS, ROOT, modules, tracked_files


def setup_cfg() -> configparser.ConfigParser:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    return config


@pytest.mark.parametrize("name", sorted(set(modules()) - {"capture.__main__"}))
def test_the_examples_in_docstrings_are_true(name):
    """They are the first thing that is copied. By module name: by path a backend would be loaded a second time."""
    outcome = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert outcome.failed == 0


def test_every_package_is_installed():
    """A folder that is missing in setup.cfg works in a clone, and is missing in the wheel."""
    listed = set(setup_cfg()["options"]["packages"].split())
    there = {name for name, path in modules().items() if path.name == "__init__.py"}
    loose = {
        f"{package}.{path.parent.relative_to(folder)}"
        for package, folder in FOLDERS.items()
        for path in folder.rglob("*.py")
        if path.parent != folder and not (path.parent / "__init__.py").exists()
    }
    assert listed == there
    assert not loose, "folders with modules, but without __init__.py"


def test_type_checkers_are_told_that_there_are_types():
    """Without py.typed in the wheel, every hint in the library is ignored by its users' tools."""
    assert (ROOT / "capture" / "py.typed").exists()
    assert "py.typed" in setup_cfg()["options.package_data"]["capture"]


def readme_command(name: str) -> str:
    """Extract a command from the README by the very line of the CI script."""
    text = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    function = re.search(r"^readme_command\(\) \{\n.*?^\}\n", text, re.MULTILINE | re.DOTALL)
    assert function
    script = f"{function[0]}\nreadme_command {name}"
    return subprocess.run(["bash", "-c", script], cwd=ROOT, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize(("name", "end"), [("example", "examples/digits.py with lr=0.01"), ("tests", "-m pytest -n auto")])
def test_ci_runs_the_commands_of_the_readme(name, end):
    """Two commands do all the set-up; if CI ran others, nobody would notice when these stop working."""
    command = readme_command(name)
    assert command.count("\n") == 1
    assert command.startswith("python3 -m venv .venv && .venv/bin/pip install ")
    assert command.strip().endswith(end)
    assert f"readme_command {name})" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def test_the_readme_installs_extras_that_there_are():
    """pip only warns about an extra that does not exist, and installs nothing for it."""
    extras = setup_cfg()["options.extras_require"]
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    named = {extra for group in re.findall(r"\.\[([\w,]+)\]", text) for extra in group.split(",")}
    assert named
    assert named <= set(extras)


#: Written in pieces, so that this file does not contain what it looks for.
_FOREIGN = [
    "/" + r"(?:work|opt|root)/[\w.]",  # folders of the machine it was written on
    r"/home/" + r"(?!(?:user|me|you|ada|x)\b)\w+/",
    r"(?:10|192\.168|172\.16)" + r"(?:\.\d{1,3}){2,3}\b",  # private addresses
    "pyenv" + r"/versions/3\.\d+\.\d+",
    r"\bSACRED" + r"\.md\b|\bPAINS" + r"\.md|\bFINDINGS" + r"\.md|\bSTYLE" + r"\.md|\bDESIGN" + r"\.md",
    r"(?i)\bdesign " + r"decision \d|\bbrief " + "says",
]


def test_no_file_tells_of_the_machine_it_was_written_on():
    """Such a path works in one place, and says something to strangers that is none of their business."""
    found = []
    for path in tracked_files():
        data = path.read_bytes()
        if b"\0" in data[:8000]:
            continue
        text = data.decode("utf-8")
        found += [f"{path.relative_to(ROOT)}: {match[0]}" for pattern in _FOREIGN for match in re.finditer(pattern, text)]
    assert not found


def test_text_files_end_their_lines_in_the_same_way():
    """Windows checkouts included: golden files are compared byte by byte."""
    attributes = (ROOT / ".gitattributes").read_text(encoding="utf-8")
    assert "* text=auto eol=lf" in attributes
    assert "tests/golden/** -text" in attributes
    for path in tracked_files():
        if "golden" not in path.parts and path.suffix in (".py", ".md", ".cfg", ".toml", ".json", ""):
            assert b"\r\n" not in path.read_bytes(), path
