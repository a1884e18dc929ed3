"""What lineage costs the code that opens files, and what all of it together costs a training run.

Opening is timed within one process, before a run and in its main. The training reads a table of 4 MB with pandas, fits
a forest on one core for some seconds and writes a file; whole processes are compared.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from tests.bench.environments import python_with_science
from tests.bench.measuring import Bench, Row, in_turn, median, ratio

OPENING, TRAINING = 1.3, 1.02  #: times the floor

OPEN = """\
import os, sys, time
from capture import Experiment

folder, store, files, rounds = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
paths = [os.path.join(folder, str(number)) for number in range(files)]

def timed(paths, rounds):
    begun = time.perf_counter()
    for _ in range(rounds):
        for path in paths:
            open(path).close()
    return (time.perf_counter() - begun) / (rounds * len(paths)) * 1e6

ex = Experiment("open", observers=[store])

@ex.main
def main():
    first = timed(paths, 1)
    time.sleep(0.3)  # until the digests are made
    return first, timed(paths, rounds)

for path in paths:
    with open(path, "w") as stream:
        stream.write(path)
timed(paths, 1)
plain = timed(paths, rounds)
run = ex.run()
begun = time.perf_counter()
assert run.status == "COMPLETED"
print(plain, *run.result)
"""

TRAIN = """\
import json, sys
import numpy, pandas
from sklearn.ensemble import RandomForestClassifier
HEAD

def main():
    table = pandas.read_csv(sys.argv[1])
    forest = RandomForestClassifier(n_estimators=int(sys.argv[3]), random_state=0)
    forest.fit(table.drop(columns="y"), table["y"])
    with open(sys.argv[2] + ".json", "w") as stream:
        json.dump({"score": forest.score(table.drop(columns="y"), table["y"])}, stream)

CALL
"""

TRAIN_PLAIN = TRAIN.replace("HEAD", "").replace("CALL", "main()")
TRAIN_OURS = TRAIN.replace("HEAD", 'from capture import Experiment\nex = Experiment("train", observers=[sys.argv[2]])')
TRAIN_OURS = TRAIN_OURS.replace("CALL", 'ex.main(main)\nassert ex.run().status == "COMPLETED"')
TRAIN_SACRED = TRAIN.replace(
    "HEAD",
    "from sacred import Experiment\nfrom sacred.observers import FileStorageObserver\n"
    'ex = Experiment("train")\nex.observers.append(FileStorageObserver(sys.argv[2]))',
).replace("CALL", 'ex.main(main)\nassert ex.run().status == "COMPLETED"')

TABLE = """\
import sys, numpy, pandas
rng = numpy.random.default_rng(0)
table = pandas.DataFrame(rng.random((int(sys.argv[2]), 20)).round(6), columns=[f"x{i}" for i in range(20)])
table["y"] = (table.sum(axis=1) > 10).astype(int)
table.to_csv(sys.argv[1], index=False)
"""


def rows(bench: Bench) -> Iterator[Row]:
    yield from _opening(bench)
    yield from _training(bench)


def _opening(bench: Bench) -> Iterator[Row]:
    script, folder = bench.write("opening.py", OPEN), bench.new_folder()
    files, rounds = bench.few(2_000, 50), bench.few(10, 2)
    found: list[list[float]] = []

    def figure() -> float:
        found.append(bench.figures(script, folder, bench.new_folder(), str(files), str(rounds)))
        return found[-1][0]

    in_turn({"opening": figure}, bench.few(9, 1), warm_up=0)
    plain, first, again = ([figures[index] for figures in found] for index in range(3))
    floor = f"{median(plain):.1f} µs, without a run"
    factor = ratio(again, plain)
    yield Row(
        f"open and close, {files:,} files again and again", floor, f"{median(again):.1f} µs", f"{factor:.2f}x",
        f"<= {OPENING}x", factor <= OPENING,
    )  # fmt: skip
    yield Row("  the first time each", floor, f"{median(first):.1f} µs", f"{ratio(first, plain):.2f}x", "", None)


def _training(bench: Bench) -> Iterator[Row]:
    python = python_with_science(lent=bench.quick)
    peer = python_with_science(peer=True) if bench.peer else None
    scripts = {"plain": TRAIN_PLAIN, "ours": TRAIN_OURS, "peer": TRAIN_SACRED}
    folder = bench.new_repository({f"{name}.py": text for name, text in scripts.items()})
    table, trees = os.path.join(bench.new_folder(), "table.csv"), str(bench.few(60, 1))
    bench.run(bench.write("table.py", TABLE), table, str(bench.few(25_000, 500)), python=python)

    def figure(name: str, interpreter: str) -> float:
        store = os.path.join(bench.new_folder(), "runs")
        script = os.path.join(folder, f"{name}.py")
        return bench.timed_process(script, table, store, trees, python=interpreter, cwd=folder)

    measures = {"plain": lambda: figure("plain", python), "ours": lambda: figure("ours", python)}
    if peer:
        measures["peer"] = lambda: figure("peer", peer)
    times = in_turn(measures, bench.few(9, 1))
    floor = f"{median(times['plain']) / 1e3:.2f} s, without a run"
    for name, what in (("ours", "a training run, everything captured"), ("peer", "  Sacred, what it captures")):
        if name in times:
            factor = ratio(times[name], times["plain"])
            goal, met = (f"<= {TRAINING}x", factor <= TRAINING) if name == "ours" else ("", None)
            yield Row(what, floor, f"{median(times[name]) / 1e3:.2f} s", f"{factor:.3f}x", goal, met)
