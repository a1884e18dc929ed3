"""A 500 MB resource stored, then stored again by another run, next to hashing and copying it by hand."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator

from tests.bench.measuring import Bench, Row, in_turn, median, ratio

FIRST = 1.3  #: times hashing and copying by hand
AGAIN_MS = 20.0

TRACKED = """\
import os, sys, time
from capture import Experiment
ex = Experiment("files", observers=[sys.argv[2]])

@ex.main
def main(_run):
    global called
    begun = time.perf_counter()
    _run.add_resource(sys.argv[1])
    called = time.perf_counter() - begun

begun = time.perf_counter()
run = ex.run()
assert run.status == "COMPLETED"
print(time.perf_counter() - begun, called)
"""

PLAIN = TRACKED.replace("_run.add_resource(sys.argv[1])", "pass")

FLOOR = """\
import hashlib, os, sys, time
begun = time.perf_counter()
known, buffer = hashlib.sha256(), memoryview(bytearray(1 << 20))
with open(sys.argv[1], "rb", buffering=0) as source, open(sys.argv[2], "xb", buffering=0) as target:
    while count := source.readinto(buffer):
        known.update(buffer[:count])
        target.write(buffer[:count])
    copied = time.perf_counter() - begun
    os.fsync(target.fileno())
print(copied, time.perf_counter() - begun)
"""

SACRED = """\
import logging, sys, time
from sacred import Experiment
from sacred.observers import FileStorageObserver
ex = Experiment("files", save_git_info=False)
ex.observers.append(FileStorageObserver(sys.argv[2]))
ex.logger = logging.getLogger("quiet")

@ex.main
def main(_run):
    global called
    begun = time.perf_counter()
    _run.add_resource(sys.argv[1])
    called = time.perf_counter() - begun

begun = time.perf_counter()
ex.run()
print(time.perf_counter() - begun, called)
"""


def rows(bench: Bench) -> Iterator[Row]:
    scripts = {"floor": FLOOR, "empty": PLAIN, "ours": TRACKED, "peer": SACRED}
    paths = {name: bench.write(f"{name}.py", text) for name, text in scripts.items()}
    megabytes = bench.few(500, 20)
    big = os.path.join(bench.new_folder(), "big.bin")
    with open(big, "wb") as stream:
        for _ in range(megabytes):
            stream.write(os.urandom(1_000_000))
    time.sleep(2.1)  # a file that changed within the last two seconds may change again unseen: it is not remembered
    found: dict[str, list[list[float]]] = {name: [] for name in ("floor", "empty", "ours", "again", "peer", "peer again")}
    where = ""

    def figure(name: str, script: str, target: str, python: str | None = None) -> float:
        found[name].append(bench.figures(paths[script], big, target, python=python))
        return found[name][-1][0]

    def anew() -> str:
        nonlocal where
        shutil.rmtree(where, ignore_errors=True)  # two gigabytes would be a lot to leave lying about
        where = bench.new_folder()
        return where

    measures = {
        "floor": lambda: figure("floor", "floor", os.path.join(anew(), "copy")),
        "empty": lambda: figure("empty", "empty", anew()),
        "ours": lambda: figure("ours", "ours", anew()),
        "again": lambda: figure("again", "ours", where),
    }
    if bench.peer:
        measures["peer"] = lambda: figure("peer", "peer", anew(), bench.peer)
        measures["peer again"] = lambda: figure("peer again", "peer", where, bench.peer)
    in_turn(measures, bench.few(5, 1), warm_up=bench.few(1, 0))

    def seconds(name: str, index: int) -> list[float]:
        return [figures[index] for figures in found[name]]

    by_hand, durable = seconds("floor", 0), seconds("floor", 1)
    empty = median(seconds("empty", 0))
    factor = ratio(seconds("ours", 1), by_hand)
    yield Row(
        f"a resource of {megabytes} MB, add_resource()", f"{median(by_hand):.2f} s, hash and copy",
        f"{median(seconds('ours', 1)):.2f} s", f"{factor:.2f}x", f"<= {FIRST}x", factor <= FIRST,
    )  # fmt: skip
    stored = [each - empty for each in seconds("ours", 0)]
    yield Row(
        "  until the run has ended, less an empty run", f"{median(durable):.2f} s, with fsync",
        f"{median(stored):.2f} s", f"{ratio(stored, durable):.2f}x", "", None,
    )  # fmt: skip
    again = median(seconds("again", 1)) * 1e3
    yield Row("  the same again, add_resource()", "", f"{again:.1f} ms", "", f"<= {AGAIN_MS:.0f} ms", again <= AGAIN_MS)
    more = (median(seconds("again", 0)) - empty) * 1e3
    yield Row("  until the run has ended, less an empty run", "", f"{more:.1f} ms", "", "", None)
    if bench.peer:
        yield Row("  Sacred", "", f"{median(seconds('peer', 1)):.2f} s", f"{ratio(seconds('peer', 1), by_hand):.2f}x",
                  "", None)  # fmt: skip
        yield Row("  Sacred again", "", f"{median(seconds('peer again', 1)) * 1e3:.0f} ms", "", "", None)
