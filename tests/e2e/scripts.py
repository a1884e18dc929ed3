"""Runs scripts as users do: in a folder of their own, as processes of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

HEAD = """
from capture import Experiment
ex = Experiment("script")
"""


class Folder:
    """A folder with a script, in which runs leave their records."""

    def __init__(self, path: Path, **environment: str) -> None:
        self.path = path
        self.environment = {**os.environ, "PYTHONUNBUFFERED": "", **environment}
        self.environment.pop("PYTHONUNBUFFERED")

    def write(self, code: str, head: str = HEAD, name: str = "script.py") -> Path:
        file = self.path / name
        file.write_text(head + textwrap.dedent(code))
        return file

    def start(self, *arguments: str, name: str = "script.py", **options: Any) -> subprocess.Popen[str]:
        options.setdefault("stdout", subprocess.PIPE)
        options.setdefault("stderr", subprocess.PIPE)
        command = [sys.executable, name, *arguments]
        return subprocess.Popen(command, cwd=self.path, env=self.environment, text=True, **options)

    def run(
        self, *arguments: str, name: str = "script.py", code: int | None = 0, within_s: float = 200, **options: Any
    ) -> Any:
        """Run the script to its end; `code` is the exit code that is expected, None for any."""
        process = self.start(*arguments, name=name, **options)
        try:
            out, err = process.communicate(timeout=within_s)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        if code is not None:
            assert process.returncode == code, f"exit code {process.returncode}\n{out}\n{err}"
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def json(self, label: str = "1", name: str = "run.json") -> Any:
        return json.loads((self.path / "runs" / label / name).read_text(), parse_constant=_refuse)

    def text(self, label: str = "1", name: str = "cout.txt") -> str:
        return (self.path / "runs" / label / name).read_text()

    def wait_for(self, text: str, label: str = "1", timeout_s: float = 90.0) -> None:
        """Wait until `text` is in the recorded output."""
        until = time.monotonic() + timeout_s
        while time.monotonic() < until:
            try:
                if text in self.text(label):
                    return
            except OSError:
                pass
            time.sleep(0.02)
        raise AssertionError(f"{text!r} did not come within {timeout_s} s")

    def wait_until(self, condition: Callable[[], object], timeout_s: float = 90.0) -> None:
        """Wait until `condition` holds; what is not there yet, or only half, makes it false."""
        until = time.monotonic() + timeout_s
        while time.monotonic() < until:
            try:
                if condition():
                    return
            except (OSError, LookupError, ValueError):
                pass
            time.sleep(0.05)
        raise AssertionError(f"it did not come about within {timeout_s} s")

    def record(self, run: Any = "latest") -> Any:
        """Read a run through the public reader, in this process, with this folder's journals delivered."""
        from capture import open_store

        return open_store(self.path / "runs").get(run)


def _refuse(name: str) -> Any:
    raise AssertionError(f"bare {name} is not JSON")
