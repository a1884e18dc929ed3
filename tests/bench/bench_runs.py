"""Runs one after the other in one process, to files: what each takes, and whether anything grows."""

from __future__ import annotations

from collections.abc import Iterator

from tests.bench.measuring import Bench, Row, in_turn, median

EACH_MS = 10.0
GROWTH_MIB = 5.0  #: over all runs but the first 100, which fill caches

TRACKED = """\
import gc, os, sys, threading, time
from capture import Experiment

count = int(sys.argv[1])
ex = Experiment("runs", observers=["file:runs"])

@ex.config
def defaults():
    lr = 0.1

@ex.main
def main(lr, _run):
    _run.log_scalar("loss", lr)
    print("learning rate", lr)
    return lr

def resident():
    with open("/proc/self/statm") as stream:
        return int(stream.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20

def opened():
    return len(os.listdir("/proc/self/fd"))

ex.run()
times = []
for number in range(count):
    if number == min(100, count // 2):
        gc.collect()
        before = threading.active_count(), opened(), resident()
    begun = time.perf_counter()
    ex.run()
    times.append(time.perf_counter() - begun)
gc.collect()
after = threading.active_count(), opened(), resident()
print(sorted(times)[count // 2] * 1e3, sum(times) / count * 1e3, *(b - a for a, b in zip(before, after)), file=sys.stderr)
"""

FLOOR = """\
import json, os, sys, time

def record(number):
    folder = os.path.join("by-hand", str(number))
    os.makedirs(folder)
    run = {"config": {"lr": 0.1}, "start": time.time(), "status": "RUNNING"}
    for status in ("RUNNING", "COMPLETED"):
        run["status"] = status
        with open(os.path.join(folder, "run.json.new"), "w") as stream:
            json.dump(run, stream)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(os.path.join(folder, "run.json.new"), os.path.join(folder, "run.json"))
    with open(os.path.join(folder, "cout.txt"), "w") as stream:
        stream.write("learning rate 0.1\\n")
        stream.flush()
        os.fsync(stream.fileno())

count = int(sys.argv[1])
times = []
for number in range(count):
    begun = time.perf_counter()
    record(number)
    times.append(time.perf_counter() - begun)
print(sorted(times)[count // 2] * 1e3, file=sys.stderr)
"""


def rows(bench: Bench) -> Iterator[Row]:
    tracked, by_hand = bench.write("runs.py", TRACKED), bench.write("by_hand.py", FLOOR)
    count = bench.few(200, 5)
    measures = {
        "floor": lambda: bench.figures(by_hand, str(count), cwd=bench.new_folder(), told_to="stderr")[0],
        "ours": lambda: bench.figures(tracked, str(count), cwd=bench.new_folder(), told_to="stderr")[0],
    }
    times = in_turn(measures, bench.few(5, 1), warm_up=0)
    each = median(times["ours"])
    yield Row(
        f"{count} runs in one process, each", f"{median(times['floor']):.1f} ms, JSON by hand, fsync",
        f"{each:.1f} ms", f"{each / median(times['floor']):.1f}x", f"<= {EACH_MS:.0f} ms", each <= EACH_MS,
    )  # fmt: skip
    many = bench.few(1_000, 10)
    threads, files, memory = bench.figures(tracked, str(many), cwd=bench.new_folder(), told_to="stderr")[2:]
    yield Row(
        f"  growth over {many} runs", "", f"{memory:.1f} MiB", "", f"flat (<= {GROWTH_MIB:.0f} MiB)",
        memory <= GROWTH_MIB,
    )  # fmt: skip
    yield Row("  threads, descriptors", "", f"{threads:+.0f}, {files:+.0f}", "", "flat", threads == files == 0)
