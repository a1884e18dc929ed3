"""Runs beside the tests and outlives them by a moment: ends the servers, and removes the folders, that they left.

It is told on its standard input, one line each, words separated by tabs: ``watch PID``, ``forget PID``,
``folder PATH``, ``removed PATH``. It acts when that input ends or its parent is another one.
"""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import sys

import psutil

from tests.servers.processes import ServerFailed, kill_tree, remove_folder

_LOOK_S = 1.0


class Left:
    """What would be left behind if the tests ended now."""

    def __init__(self):
        self.servers: dict[str, psutil.Process] = {}
        self.folders: set[str] = set()

    def hear(self, line: str) -> None:
        word, what = line.split("\t", 1)
        if word == "watch":
            try:
                self.servers[what] = psutil.Process(int(what))
            except psutil.NoSuchProcess:
                pass
        elif word == "forget":
            self.servers.pop(what, None)
        elif word == "folder":
            self.folders.add(what)
        elif word == "removed":
            self.folders.discard(what)
        else:
            raise ValueError(f"unknown word {word!r}")

    def clean(self) -> None:
        """End and remove everything; what cannot be is said, and does not keep the rest."""
        for process in self.servers.values():
            try:
                if process.is_running():  # and not another one with its number
                    kill_tree(process.pid)
            except (ServerFailed, psutil.Error) as error:
                print(f"a test server is left running: {error}", file=sys.stderr)
        for path in self.folders:
            try:
                remove_folder(path)
            except (OSError, subprocess.CalledProcessError) as error:
                print(f"the folder of a test server is left: {error}", file=sys.stderr)


def main() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    parent = os.getppid()
    left = Left()
    told = b""
    with selectors.DefaultSelector() as selector:
        selector.register(sys.stdin.fileno(), selectors.EVENT_READ)
        # a child that the tests forked may keep the input open: so the parent is looked at, too
        while os.getppid() == parent:
            if not selector.select(_LOOK_S):
                continue
            data = os.read(sys.stdin.fileno(), 65536)
            if not data:
                break
            *lines, told = (told + data).split(b"\n")
            for line in lines:
                left.hear(line.decode())
    left.clean()


if __name__ == "__main__":
    main()
