"""Time 100,000 printed lines under each capture mode, next to the same script without capture.

    python -m tests.bench output               a whole recorded run; see tests/bench/__main__.py
    python -m tests.bench.bench_output ROUNDS  the capture alone, for more kinds of lines and of stdout

One process per figure, the modes in turn, so that a slow moment of the machine hits all of them. Prints medians: the
print loop with the end of the capture behind it, and its ratio to mode "no" of the same kind of stdout.
"""

from __future__ import annotations

import itertools
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator

from tests.bench.measuring import Bench, Row, in_turn, median, ratio

LINES = 100_000
GOALS = {"fd": 1.2, "sys": 1.4}  #: times no capture

#: Buffered as usual, whatever the caller's shell says.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
#: What one call of print gets: a ready string is the hardest case, a formatted one the usual.
LINES_TRIED = {
    "ready": '"step 12345  loss 0.1235  accuracy 0.935"',
    "formatted": 'f"step {i:6d}  loss {1 / (i + 1):.4f}  accuracy {i / lines:.3f}"',
}

SCRIPT = """
import sys, time
from capture.stdio import start_capture
from capture.terminal import OutputLog

mode, lines = sys.argv[1], int(sys.argv[2])
size = 0
def emit(text, offset):
    global size
    size = offset + len(text)
log = OutputLog(emit)
start = time.perf_counter()
capture = start_capture(mode, log)
for i in range(lines):
    print(LINE)
loop = time.perf_counter()
capture.stop()
log.close()
sys.stdout.flush()
stop = time.perf_counter()
print((loop - start) * 1e3, (stop - start) * 1e3, size, file=sys.stderr)
"""


def run_once(mode: str, stdout: str, line: str) -> tuple[float, float, int]:
    """Return milliseconds of the loop, milliseconds with the end, and the bytes recorded."""
    command = [sys.executable, "-c", SCRIPT.replace("LINE", LINES_TRIED[line]), mode, str(LINES)]
    if stdout == "pipe":
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ENVIRONMENT)
        reader = subprocess.Popen(["cat"], stdin=process.stdout, stdout=subprocess.DEVNULL)
        process.stdout.close()
        figures = process.stderr.read()
        process.wait()
        reader.wait()
    else:
        with tempfile.TemporaryFile() as file:
            figures = subprocess.run(command, stdout=file, stderr=subprocess.PIPE, check=True, env=ENVIRONMENT).stderr
    loop, total, size = figures.split()
    return float(loop), float(total), int(size)


def main(rounds: int) -> None:
    print(f"{LINES:,} lines, median of {rounds}, Python {sys.version.split()[0]}")
    for stdout, line in itertools.product(("file", "pipe"), LINES_TRIED):
        times: dict[str, list[tuple[float, float, int]]] = {"no": [], "sys": [], "fd": []}
        for _ in range(rounds):
            for mode in times:
                times[mode].append(run_once(mode, stdout, line))
        for mode, figures in times.items():
            loop, total = (statistics.median(f[i] for f in figures) for i in (0, 1))
            ratio = statistics.median(f[1] / n[1] for f, n in zip(figures, times["no"]))
            size = figures[0][2]
            print(f"  {line} lines, stdout a {stdout}, mode {mode:3}: loop {loop:6.1f} ms, with end {total:6.1f} ms,"
                  f" x {ratio:.2f}, {size:,} bytes recorded")


RUN = """\
import sys, time
from capture import Experiment
from capture.settings import SETTINGS

mode, lines = sys.argv[1], int(sys.argv[2])
SETTINGS.CAPTURE_MODE = mode
ex = Experiment("printing", observers=["file:runs"])

@ex.main
def main(_run):
    global begun, looped
    begun = time.perf_counter()
    for i in range(lines):
        print(f"step {i:6d}  loss {1 / (i + 1):.4f}  accuracy {i / lines:.3f}")
    looped = time.perf_counter()

run = ex.run()
sys.stdout.flush()
done = time.perf_counter()
assert mode == "no" or run.captured_out.count("accuracy") == lines
print((looped - begun) * 1e3, (done - begun) * 1e3, file=sys.stderr)
"""

SACRED = """\
import sys, time
from sacred import Experiment
from sacred.observers import FileStorageObserver
from sacred import SETTINGS

mode, lines = sys.argv[1], int(sys.argv[2])
SETTINGS.CAPTURE_MODE = mode
ex = Experiment("printing", save_git_info=False)
ex.observers.append(FileStorageObserver("runs"))

@ex.main
def main(_run):
    global begun, looped
    begun = time.perf_counter()
    for i in range(lines):
        print(f"step {i:6d}  loss {1 / (i + 1):.4f}  accuracy {i / lines:.3f}")
    looped = time.perf_counter()

ex.run()
sys.stdout.flush()
done = time.perf_counter()
print((looped - begun) * 1e3, (done - begun) * 1e3, file=sys.stderr)
"""


def rows(bench: Bench) -> Iterator[Row]:
    lines = str(bench.few(LINES, 2_000))
    peer = bench.peer
    scripts = [("", RUN, bench.python), ("  Sacred, ", SACRED, peer)] if peer else [("", RUN, bench.python)]
    for who, text, python in scripts:
        script, where = bench.write("printing.py", text), bench.new_folder()
        ended: dict[str, list[float]] = {"no": [], "fd": [], "sys": []}

        def figure(mode: str, script=script, where=where, python=python, ended=ended) -> float:  # type: ignore[no-untyped-def]
            loop, end = bench.figures(script, mode, lines, python=python, cwd=where, told_to="stderr")
            ended[mode].append(end)
            return loop

        modes = {mode: lambda mode=mode: figure(mode) for mode in ended}  # type: ignore[misc]
        times = in_turn(modes, bench.few(9 if not who else 3, 1), warm_up=0)
        for mode, goal in GOALS.items():
            factor = ratio(times[mode], times["no"])
            yield Row(
                f"{who}{int(lines):,} lines, mode {mode}", f"{median(times['no']):.0f} ms, no capture",
                f"{median(times[mode]):.0f} ms", f"{factor:.2f}x",
                "" if who else f"<= {goal}x", None if who else factor <= goal,
            )  # fmt: skip
            if not who:
                yield Row(
                    "  until the run has ended and is stored", f"{median(ended['no']):.0f} ms, no capture",
                    f"{median(ended[mode]):.0f} ms", f"{ratio(ended[mode], ended['no']):.2f}x", "", None,
                )  # fmt: skip


if __name__ == "__main__":
    main(int(sys.argv[1]) if sys.argv[1:] else 7)
