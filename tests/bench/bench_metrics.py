"""`log_scalar`: until everything is durable in the journal and in ``metrics.jsonl``, and ``metrics.json`` after it.

The figure of a run is the time from the first call until `run` returns with the journal delivered and the store's files
forced to the disk, ``metrics.json`` left out; that is made afterwards and timed apart.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from tests.bench.measuring import Bench, Row, in_turn, median, ratio

PER_SECOND = 500_000  #: points
GROWTH_MIB = 30.0
JSON_US = 3.0  #: a point
FLAT = 1.3  #: cost of a call in the longest run over that in one of 1e4; in shorter ones nothing is written meanwhile

TRACKED = """\
import os, resource, sys, time
from capture import Experiment
from capture.observers import FileStorageObserver

points = int(sys.argv[1])
ex = Experiment("metrics", observers=[FileStorageObserver(sys.argv[2], metrics_json_limit=0)])

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

@ex.main
def main(_run):
    global begun, looped, before
    log_scalar = _run.log_scalar
    before, begun = peak(), time.perf_counter()
    for step in range(points):
        log_scalar("loss", 0.5 / (step + 1), step)
    looped = time.perf_counter()

run = ex.run()
done = time.perf_counter()
after = peak()
folder = os.path.join(sys.argv[2], str(run._id))
from capture.observers._series import read_series, write_metrics_json
write_metrics_json(folder)
written = time.perf_counter()
assert points > 100_000 or len(read_series(folder)["loss"].values) == points
assert os.path.getsize(os.path.join(folder, "metrics.json")) > 10 * points
print(looped - begun, done - begun, written - done, after - before)
"""

FLOOR = """\
import json, os, sys, time

points = int(sys.argv[1])
begun = time.perf_counter()
with open(sys.argv[2] + ".jsonl", "w") as stream:
    for step in range(points):
        stream.write(json.dumps({"name": "loss", "step": step, "value": 0.5 / (step + 1), "time": time.time()}) + "\\n")
    stream.flush()
    os.fsync(stream.fileno())
print(time.perf_counter() - begun)
"""

SACRED = """\
import logging, resource, sys, time
from sacred import Experiment
from sacred.observers import FileStorageObserver

points = int(sys.argv[1])
ex = Experiment("metrics", save_git_info=False)
ex.observers.append(FileStorageObserver(sys.argv[2]))
ex.logger = logging.getLogger("quiet")
ex.logger.setLevel("WARNING")

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

@ex.main
def main(_run):
    global begun, before
    before, begun = peak(), time.perf_counter()
    for step in range(points):
        _run.log_scalar("loss", 0.5 / (step + 1), step)

ex.run()
print(time.perf_counter() - begun, peak() - before)
"""


def rows(bench: Bench) -> Iterator[Row]:
    tracked, by_hand = bench.write("metrics.py", TRACKED), bench.write("by_hand.py", FLOOR)
    sacred = bench.write("sacred_metrics.py", SACRED)
    points = bench.few(1_000_000, 20_000)
    found: list[list[float]] = []

    def ours() -> float:
        found.append(bench.figures(tracked, str(points), bench.new_folder()))
        return found[-1][1]

    def floor() -> float:
        return bench.figures(by_hand, str(points), os.path.join(bench.new_folder(), "floor"))[0]

    times = in_turn({"floor": floor, "ours": ours}, bench.few(5, 1), warm_up=0)
    rate, floor_rate = points / median(times["ours"]), points / median(times["floor"])
    told = f"{floor_rate:,.0f}/s, a JSON line each"
    what = f"log_scalar, {points:,} points, durable"
    yield Row(
        what, told, f"{rate:,.0f}/s", f"{ratio(times['floor'], times['ours']):.1f}x",
        f">= {PER_SECOND:,}/s", rate >= PER_SECOND,
    )  # fmt: skip
    loop = points / median([each[0] for each in found])
    yield Row("  of it the calls themselves", "", f"{loop:,.0f}/s", "", "", None)
    growth = max(each[3] for each in found)
    yield Row("  memory growth", "", f"{growth:.1f} MiB", "", f"<= {GROWTH_MIB:.0f} MiB", growth <= GROWTH_MIB)
    cost = median([each[2] for each in found]) / points * 1e6
    yield Row("  metrics.json at the close", "", f"{cost:.2f} us/point", "", f"<= {JSON_US} us/point", cost <= JSON_US)
    if bench.peer:
        figures = bench.figures(sacred, str(points), bench.new_folder(), python=bench.peer)
        yield Row(
            "  Sacred", told, f"{points / figures[0]:,.0f}/s", f"{points / figures[0] / floor_rate:.1f}x",
            f"({figures[1]:.0f} MiB)", None,
        )  # fmt: skip
    yield from flatness(bench, tracked)


def flatness(bench: Bench, script: str) -> Iterator[Row]:
    """Compare what a call costs in runs of 1e3 to 1e7 points, and look at memory at the end of the longest."""
    sizes = [10**exponent for exponent in range(3, bench.few(8, 5))]
    costs, growth = [], 0.0
    for size in sizes:
        repeats = bench.few(max(1, min(7, 10**6 // size)), 1)
        figures = [bench.figures(script, str(size), bench.new_folder()) for _ in range(repeats)]
        costs.append(median([each[0] for each in figures]) / size * 1e6)
        growth = figures[-1][3]
    spread = costs[-1] / costs[1]
    told = ", ".join(f"{cost:.2f}" for cost in costs)
    yield Row(
        f"  us a call, 1e3 to {sizes[-1]:.0e} points", "", told, f"{spread:.2f}x", f"flat (<= {FLAT}x)", spread <= FLAT
    )
    yield Row(
        f"  memory growth at {sizes[-1]:.0e} points", "", f"{growth:.1f} MiB", "", f"<= {GROWTH_MIB:.0f} MiB",
        growth <= GROWTH_MIB,
    )  # fmt: skip
