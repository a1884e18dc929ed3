"""A project to discover: files that are importable for the length of a test."""

from __future__ import annotations

import importlib
import os
import sys

import pytest

from .installs import installed  # noqa: F401 - a fixture
from .repositories import Kept, make_repository


class ProjectFolder:
    """A folder on the search path whose modules can be imported."""

    def __init__(self, folder):
        self.folder = str(folder)

    def write(self, files):
        """Write ``{path: text}`` below the folder."""
        for name, text in files.items():
            path = os.path.join(self.folder, *name.split("/"))
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)

    def load(self, name):
        importlib.invalidate_caches()
        return importlib.import_module(name)


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Give a project folder, and forget all modules that the test has loaded."""
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    before = set(sys.modules)
    yield ProjectFolder(folder)
    for name in set(sys.modules) - before:
        del sys.modules[name]


@pytest.fixture
def repo(tmp_path):
    """Return the folder of a repository with one commit."""
    return make_repository(tmp_path / "project")


@pytest.fixture
def kept():
    """Return a place where things are kept."""
    return Kept()


@pytest.fixture
def fake_git(tmp_path, monkeypatch):
    """Return a function that puts a shell script where git would be found."""

    def put(script):
        program = tmp_path / "bin" / "git"
        program.parent.mkdir()
        program.write_text("#!/bin/sh\n" + script)
        program.chmod(0o755)
        monkeypatch.setenv("PATH", str(program.parent))

    return put
