"""A script that prints one line, recorded to files outside a git repository, next to the same script untracked."""

from __future__ import annotations

from collections.abc import Iterator

from tests.bench.measuring import Bench, Row, in_turn, median, more

GOAL = 45.0  #: ms more than untracked

PLAIN = """\
lr = 0.1


def main(lr):
    print("hello, learning rate", lr)
    return lr


main(lr)
"""

BY_HAND = """\
import hashlib, json, os, platform, time

os.makedirs("by-hand", exist_ok=True)
run = os.path.join("by-hand", str(len(os.listdir("by-hand")) + 1))
os.mkdir(run)
lr = 0.1
record = {"config": {"lr": lr}, "start": time.time(), "host": platform.node(), "status": "RUNNING"}
with open(__file__, "rb") as stream:
    record["source"] = hashlib.sha256(stream.read()).hexdigest()


def write():
    with open(os.path.join(run, "run.json"), "w") as stream:
        json.dump(record, stream)


def main(lr):
    print("hello, learning rate", lr)
    return lr


write()
record["result"] = main(lr)
record["status"], record["stop"] = "COMPLETED", time.time()
write()
"""

TRACKED = """\
from capture import Experiment

ex = Experiment("hello")


@ex.config
def defaults():
    lr = 0.1


@ex.automain
def main(lr):
    print("hello, learning rate", lr)
    return lr
"""

SACRED = TRACKED.replace("from capture import Experiment", "from sacred import Experiment").replace(
    'ex = Experiment("hello")',
    'from sacred.observers import FileStorageObserver\nex = Experiment("hello")\n'
    'ex.observers.append(FileStorageObserver("runs"))',
)


def rows(bench: Bench) -> Iterator[Row]:
    plain, by_hand, tracked = (
        bench.write("hello.py", text) for text in (PLAIN, BY_HAND, TRACKED)
    )
    where = bench.new_folder()
    measures = {
        "plain": lambda: bench.timed_process(plain, cwd=where),
        "by hand": lambda: bench.timed_process(by_hand, cwd=where),
        "ours": lambda: bench.timed_process(tracked, cwd=where),
    }
    peer = bench.peer
    if peer:
        sacred = bench.write("hello.py", SACRED)
        measures["peer"] = lambda: bench.timed_process(sacred, cwd=where, python=peer)
    times = in_turn(measures, bench.few(21, 1))
    floor = f"{median(times['plain']):.1f} ms, untracked"
    names = {"by hand": "  JSON written by hand", "ours": "hello recorded to files", "peer": "  Sacred"}
    for name in ("ours", "by hand", "peer"):
        if name in times:
            added = more(times[name], times["plain"])
            goal = f"<= +{GOAL:.0f} ms" if name == "ours" else ""
            met = added <= GOAL if name == "ours" else None
            yield Row(names[name], floor, f"{median(times[name]):.1f} ms", f"+{added:.1f} ms", goal, met)
