"""Runs to look at, told to a store through the code that a run uses; and a terminal to look at them with."""

from __future__ import annotations

import os
import sys

from capture import events
from capture.observers import FileStorageObserver
from capture.testing import Story, tell
from capture.testing.contract import uid

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def story(folder, number: int, config: dict, name: str = "digits", **fields) -> Story:
    """Return the beginning of a run of an experiment, without its end."""
    described = {"name": name, "base_dir": "/project", "sources": [], "repositories": [], "dependencies": []}
    told = Story(os.path.join(folder, f"told{number}"), uid(f"{number:02x}"))
    return told.start(config=config, ex_info=described, **fields)


def failed(told: Story, *trace: str) -> Story:
    """Append that the run failed."""
    return told.add(events.Failed(fail_time=told.moment(), fail_trace=list(trace)))


def write_runs(folder, observer=None) -> str:
    """Make a store of six completed runs: two learning rates, three seeds each; return its path."""
    store = os.path.join(folder, "runs")
    observer = observer or FileStorageObserver(store)
    number = 0
    for lr in (0.1, 0.5):
        for seed in (1, 2, 3):
            number += 1
            told = story(folder, number, {"lr": lr, "layers": [64, 32], "seed": seed, "nested": {"deep": True}})
            told.add(events.Output(text=f"epoch 0\nepoch 1 of run {number}\n", offset=0))
            told.metrics(loss=[1.0, lr + seed / 100], accuracy=[0.1, 1 - lr - seed / 100])
            tell(observer, told.complete(result=1 - lr - seed / 100))
    return store


def on_a_terminal(arguments, columns: int = 80, lines: int = 24, **environment) -> tuple[str, int]:
    """Run the command on a terminal of this size; return what it shows, with ``\\n`` for line ends, and its status."""
    import fcntl
    import pty
    import struct
    import subprocess
    import termios

    ours, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
    unset = ("COLUMNS", "LINES", "NO_COLOR", "CAPTURE_PAGER", "PAGER")
    env = {name: value for name, value in os.environ.items() if name not in unset}
    env.update({"TERM": "xterm", "PYTHONPATH": ROOT, **environment})
    process = subprocess.Popen(
        [sys.executable, "-m", "capture", *arguments],
        stdin=terminal, stdout=terminal, stderr=terminal, env=env, start_new_session=True,
    )  # fmt: skip
    os.close(terminal)
    shown = b""
    while True:
        try:
            data = os.read(ours, 65536)
        except OSError:  # Linux says so when the other end is closed
            break
        if not data:
            break
        shown += data
    os.close(ours)
    return shown.decode("utf-8", "replace").replace("\r\n", "\n"), process.wait()


def plain(text: str) -> str:
    """Return text without colours."""
    import re

    return re.sub(r"\x1b\[[0-9;]*m", "", text)
