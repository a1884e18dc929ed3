"""A script that prints one line, recorded to files with everything that a run captures, next to the same untracked.

Outside a git repository, and inside one with 230 files, nothing of which changed, or some.
"""

from __future__ import annotations

from collections.abc import Iterator

from tests.bench.measuring import Bench, Row, in_turn, median, more

GOALS = {"ours": 50.0, "clean": 80.0, "dirty": 80.0}  #: ms more than untracked

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
    repositories = {name: bench.new_repository({"hello.py": TRACKED}, dirty=name == "dirty") for name in ("clean", "dirty")}
    measures = {
        "plain": lambda: bench.timed_process(plain, cwd=where),
        "by hand": lambda: bench.timed_process(by_hand, cwd=where),
        "ours": lambda: bench.timed_process(tracked, cwd=where),
        "clean": lambda: bench.timed_process("hello.py", cwd=repositories["clean"]),
        "dirty": lambda: bench.timed_process("hello.py", cwd=repositories["dirty"]),
    }
    peer = bench.peer
    if peer:
        sacred = bench.write("hello.py", SACRED)
        measures["peer"] = lambda: bench.timed_process(sacred, cwd=where, python=peer)
        inside = {name: bench.new_repository({"hello.py": SACRED}, dirty=name == "dirty") for name in ("clean", "dirty")}
        measures["peer clean"] = lambda: bench.timed_process("hello.py", cwd=inside["clean"], python=peer)
        measures["peer dirty"] = lambda: bench.timed_process("hello.py", cwd=inside["dirty"], python=peer)
    times = in_turn(measures, bench.few(21, 1))
    floor = f"{median(times['plain']):.1f} ms, untracked"
    names = {
        "ours": "hello recorded to files, outside git",
        "clean": "  inside a repository, clean",
        "dirty": "  inside a repository, dirty",
        "by hand": "  JSON written by hand",
        "peer": "  Sacred, outside git",
        "peer clean": "  Sacred, clean",
        "peer dirty": "  Sacred, dirty",
    }
    for name, what in names.items():
        if name in times:
            added = more(times[name], times["plain"])
            goal = f"<= +{GOALS[name]:.0f} ms" if name in GOALS else ""
            met = added <= GOALS[name] if name in GOALS else None
            yield Row(what, floor, f"{median(times[name]):.1f} ms", f"+{added:.1f} ms", goal, met)
