"""``kill -9`` at any moment: what is older than half a second is there, and no file is torn."""

from __future__ import annotations

import glob
import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator

from tests.bench.measuring import Bench, Row

PROMISE_S = 0.5

TRACKED = """\
import sys, time
from capture import Experiment

ex = Experiment("killed", observers=["file:runs"])

@ex.main
def main(_run):
    number = 0
    while True:
        now = time.time()
        print(f"line {number} at {now:.6f}", flush=True)
        _run.log_scalar("moment", now, number)
        _run.info["number"] = number
        number += 1
        time.sleep(0.002)

ex.run()
"""

SACRED = TRACKED.replace("from capture import Experiment", "from sacred import Experiment").replace(
    'ex = Experiment("killed", observers=["file:runs"])',
    "from sacred.observers import FileStorageObserver\nex = Experiment('killed', save_git_info=False)\n"
    "ex.observers.append(FileStorageObserver('runs'))",
)

READER = """\
import sys, time
from capture import open_store

record = open_store("file:runs").get(-1)
values = record.metrics["moment"].values
lines = [line for line in record.output.splitlines() if " at " in line]
print(values[-1] if values else 0, lines[-1].split()[-1] if lines else 0, len(values), record.status)
"""


def rows(bench: Bench) -> Iterator[Row]:
    times = random.Random(20261121)
    trials = bench.few(20, 1)
    worst_lines = worst_points = 0.0
    torn = kept = 0
    for _ in range(trials):
        where = bench.new_folder()
        killed_at, files, bad = run_and_kill(bench, TRACKED, bench.python, where, 0.6 + 1.5 * times.random())
        torn += bad
        figures = bench.run("-c", READER, cwd=where).split()
        worst_points = max(worst_points, killed_at - float(figures[0]))
        worst_lines = max(worst_lines, killed_at - float(figures[1]))
        kept += figures[3] == "DIED" or figures[3] == "RUNNING"
    lost = max(worst_lines, worst_points)
    goal, met = f"<= {PROMISE_S} s, none torn", lost <= PROMISE_S and not torn and kept == trials
    yield Row(f"kill -9, {trials} times: the youngest missing", "", f"{lost:.2f} s, {torn} torn", "", goal, met)
    if bench.peer:
        where = bench.new_folder()
        _, files, torn = run_and_kill(bench, SACRED, bench.peer, where, 2.0)
        with open(os.path.join(where, "runs", "1", "cout.txt"), encoding="utf-8") as stream:
            lines = sum(" at " in line for line in stream)
        yield Row("  Sacred, once", "", f"{lines} lines, {torn} of {files} torn", "", "", None)


def run_and_kill(bench: Bench, text: str, python: str, where: str, after_s: float) -> tuple[float, int, int]:
    """Return when it was killed, the number of JSON files it left, and how many of them cannot be read."""
    script = bench.write("killed.py", text)
    with open(os.devnull, "wb") as nothing:
        process = subprocess.Popen(
            [python, script], cwd=where, env=bench.environment(), stdout=nothing, stderr=nothing, start_new_session=True
        )
    while not glob.glob(os.path.join(where, "runs", "1", "cout.txt")):
        time.sleep(0.01)
    time.sleep(after_s)
    os.killpg(process.pid, signal.SIGKILL)
    killed_at = time.time()
    process.wait()
    files = glob.glob(os.path.join(where, "runs", "1", "*.json*"))
    return killed_at, len(files), sum(not _is_whole(path) for path in files)


def _is_whole(path: str) -> bool:
    """Say whether a file is JSON; of lines of JSON all but the last, which a crash may cut off."""
    with open(path, encoding="utf-8") as stream:
        text = stream.read()
    pieces = text.splitlines()[:-1] if path.endswith(".jsonl") else [text]
    try:
        for piece in pieces:
            json.loads(piece)
    except ValueError:
        return False
    return True
