"""Rows of the table, and figures taken in turn."""

from __future__ import annotations

import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from tests.bench.environments import clean_environment


class Row(NamedTuple):
    """One line of the table."""

    what: str
    floor: str  #: figure of what it is compared with, and what that is
    ours: str
    ratio: str
    goal: str
    met: bool | None  #: None where there is no goal


class Bench:
    """What the scripts measure with.

    Attributes
    ----------
    python : str
        Interpreter of an environment that holds the wheel.
    peer : str or None
        Interpreter of an environment that holds Sacred, if it is to be measured too.
    quick : bool
        Whether the figures may be coarse: it is only to be seen that the script works.
    folder : str
        Where files may be written.
    """

    def __init__(self, python: str, peer: str | None, quick: bool, folder: str) -> None:
        self.python, self.peer, self.quick, self.folder = python, peer, quick, folder

    def few(self, number: int, when_quick: int) -> int:
        """Return a number of repetitions or of things."""
        return when_quick if self.quick else number

    def new_folder(self) -> str:
        """Return a new empty folder."""
        return tempfile.mkdtemp(dir=self.folder)

    def environment(self, **more: str) -> dict[str, str]:
        """Return environment variables with a home of the bench's own."""
        return clean_environment(HOME=self.folder, USERPROFILE=self.folder, **more)

    def write(self, name: str, text: str) -> str:
        """Write a script; return its path."""
        path = os.path.join(self.new_folder(), name)
        with open(path, "w", encoding="utf-8") as stream:
            stream.write(text)
        return path

    def new_repository(self, scripts: Mapping[str, str], files: int = 230, dirty: bool = False) -> str:
        """Return a new git repository with `scripts` and further files, committed; a dirty one was edited since."""
        folder = self.new_folder()
        texts = {**scripts, ".gitignore": "runs/\n__pycache__/\n"}
        texts.update({f"part_{number % 10}/file_{number}.txt": f"{number}\n" * 100 for number in range(files)})
        for name, text in texts.items():
            path = os.path.join(folder, name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w", encoding="utf-8") as stream:
                stream.write(text)
        who = ("-c", "user.name=bench", "-c", "user.email=bench@example.org", "-c", "commit.gpgsign=false")
        for command in (("init", "-q"), ("add", "."), (*who, "commit", "-q", "-m", "begin")):
            subprocess.run(["git", *command], cwd=folder, env=self.environment(), check=True)
        if dirty:
            for number in range(3):
                with open(os.path.join(folder, f"part_{number}", f"file_{number}.txt"), "a", encoding="utf-8") as stream:
                    stream.write("edited\n")
            with open(os.path.join(folder, "untracked.txt"), "w", encoding="utf-8") as stream:
                stream.write("new\n")
        return folder

    def run(
        self, *arguments: str, python: str | None = None, cwd: str | None = None, told_to: str = "stdout"
    ) -> str:
        """Run Python and return what it printed, to standard output or to "stderr"; then the former is a file.

        Raises
        ------
        RuntimeError
            If it failed.
        """
        with tempfile.TemporaryFile(dir=self.folder) as file:
            done = subprocess.run(
                [python or self.python, *arguments],
                cwd=cwd or self.folder,
                env=self.environment(),
                stdout=subprocess.PIPE if told_to == "stdout" else file,
                stderr=subprocess.PIPE,
                text=True,
            )
        if done.returncode:
            raise RuntimeError(f"{arguments} ended with {done.returncode}:\n{done.stderr}")
        return done.stdout if told_to == "stdout" else done.stderr

    def figures(
        self, *arguments: str, python: str | None = None, cwd: str | None = None, told_to: str = "stdout"
    ) -> list[float]:
        """Run Python and return the numbers in the last line that it printed."""
        told = self.run(*arguments, python=python, cwd=cwd, told_to=told_to)
        return [float(each) for each in told.splitlines()[-1].split()]

    def timed_process(self, *arguments: str, python: str | None = None, cwd: str | None = None) -> float:
        """Run Python with nothing to see; return its wall time in ms."""
        command = [python or self.python, *arguments]
        with open(os.devnull, "r+b") as nothing:
            begun = time.perf_counter()
            code = subprocess.Popen(
                command, cwd=cwd or self.folder, env=self.environment(), stdin=nothing, stdout=nothing, stderr=nothing
            ).wait()
            took = time.perf_counter() - begun
        if code:
            self.run(*arguments, python=python, cwd=cwd)  # raises, and says why
        return took * 1e3


def in_turn(measures: Mapping[str, Callable[[], float]], rounds: int, warm_up: int = 1) -> dict[str, list[float]]:
    """Take each figure once per round."""
    found: dict[str, list[float]] = {name: [] for name in measures}
    for number in range(warm_up + rounds):
        for name, measure in measures.items():
            figure = measure()
            if number >= warm_up:
                found[name].append(figure)
    return found


def median(figures: Sequence[float]) -> float:
    return statistics.median(figures)


def ratio(figures: Sequence[float], floors: Sequence[float]) -> float:
    """Return the median of the ratios within a round."""
    return statistics.median(a / b for a, b in zip(figures, floors))


def more(figures: Sequence[float], floors: Sequence[float]) -> float:
    """Return the median of the differences within a round."""
    return statistics.median(a - b for a, b in zip(figures, floors))
