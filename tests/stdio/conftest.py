"""Programs whose output is captured, in processes of their own: descriptors 1 and 2 of the test runner stay its own."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from types import SimpleNamespace

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

PRELUDE = """\
import os, signal, subprocess, sys, threading, time
from capture.stdio import start_capture
from capture.terminal import OutputLog

class Record:
    # what was recorded, in a file that is right after each edit
    def __init__(self, name="record"):
        self.file = open(name, "wb", buffering=0)
    def __call__(self, text, offset):
        assert offset <= self.file.seek(0, 2), "an edit beyond the end"
        self.file.seek(offset)
        self.file.truncate()
        self.file.write(text.encode())

log = OutputLog(Record())
capture = start_capture(MODE, log)
def end():
    capture.stop()
    log.close()
"""


class Program:
    """Writes a captured program to a folder, runs it there, and reads what it recorded."""

    def __init__(self, folder):
        self.folder = folder
        # Python's own buffering is part of what is tested
        self.environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
        self.environment["PYTHONPATH"] = ROOT
        # From 3.12 on Python warns of a fork in a process that has threads, such as ours.
        self.environment["PYTHONWARNINGS"] = "ignore:This process:DeprecationWarning"

    def write(self, code, mode="fd", end=True):
        path = self.folder / "program.py"
        ending = "\nend()\n" if end else ""
        path.write_text(f"MODE = {mode!r}\n" + PRELUDE + textwrap.dedent(code) + ending, encoding="utf-8")
        return [sys.executable, str(path)]

    def run(self, code, mode="fd", end=True, **kwargs):
        """Run it to its end; stdout and stderr are pipes unless said otherwise."""
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "timeout": 200, **kwargs}
        done = subprocess.run(
            self.write(code, mode, end), cwd=self.folder, env=self.environment, check=False, **options
        )
        return SimpleNamespace(rc=done.returncode, out=done.stdout, err=done.stderr, record=self.record())

    def start(self, code, mode="fd", end=True, **kwargs):
        """Start it and return the process."""
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **kwargs}
        return subprocess.Popen(self.write(code, mode, end), cwd=self.folder, env=self.environment, **options)

    def record(self, name="record"):
        return (self.folder / name).read_bytes()


@pytest.fixture
def program(tmp_path):
    return Program(tmp_path)


@pytest.hookimpl(hookwrapper=True)
def pytest_pyfunc_call(pyfuncitem):
    """Put a test's `streams` in place for its call: pytest sets streams of its own between set-up and call."""
    streams = pyfuncitem.funcargs.get("streams")
    if streams is None:
        yield
        return
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = streams
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before
