"""Looking at ten thousand runs, in every store: the command, a frame of all runs, a million points as an array.

Runs have forty-one entries of configuration, four metrics, facts and sixty packages. The servers are those of the tests; a
store whose server is not installed is left out, which a line says. With ``--peer`` MLflow's `search_runs` is asked the
same, over SQLite, if ``python -m tests.servers install mlflow`` was run.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from tests.bench.bench_stores import Stores
from tests.bench.environments import python_with_frames
from tests.bench.measuring import Bench, Row, in_turn, median, ratio

HELP, LS_S, COLD_S, FRAME_S, ARRAY_S = 4.0, 0.3, 3.0, 1.0, 0.3
STORES = ("file", "sqlite", "tinydb", "mongodb", "postgresql", "mariadb")

#: what a store is told in a process: the calls that a lane makes, from events that lie in no journal
TELL = """\
import os, random, sys
os.fsync = os.fdatasync = lambda descriptor: None  # what is made here may be lost
from capture import events, plainjson
from capture.journal import Line
from capture.records import utc_from_microseconds as at
from capture.registry import make_observer
from capture.testing.feed import Teller, describe

START = 1_767_225_600_000_000

class Run:
    writer, spool = "main", None

    def __init__(self, observer, number):
        self.uid, self.seq = f"01997a1c-{number % 0x10000:04x}-7000-8000-{number:012x}", 0
        self.base = START + number * 60_000_000
        self.teller = Teller(observer, self)
        host = {"machine_id": "m", "boot_id": "b", "pid": 7, "pid_start": 1}
        self.tell(events.Opened(format=1, uid=self.uid, writer="main", version="0", host=host, observers=[]))

    def tell(self, event):
        self.seq += 1
        fields = {name: value for name, value in event.to_json().items() if name not in ("e", "s", "t")}
        stored = {"e": event.name, "s": self.seq, "t": self.base / 1e6 + self.seq, **fields}
        data = plainjson.dumps(stored, separators=(",", ":")).encode()
        self.teller.tell([Line(self.seq, event.name, data, 0)])

    def start(self, config):
        described = {**describe(), "config": config}
        commit = f"{self.base // 60_000_000 % 50:040x}"
        described["ex_info"]["repositories"] = [{"url": "git@example.org:ada/digits", "commit": commit, "dirty": False}]
        self.tell(events.Started(start_time=at(self.base), label=None, **described))

    def end(self, result):
        self.tell(events.Completed(stop_time=at(self.base + 30_000_000), result=result))
        self.teller.flush()

random.seed(1)
observer = make_observer(sys.argv[1])
"""

FILL = (
    TELL
    + """
FACTS = {
    "process": {"user": {"name": "ada", "id": 1000}, "argv": ["train.py"], "flags": {f"flag_{n}": 0 for n in range(30)}},
    "machine": {f"part_{n}": {"name": f"a part of the machine, {n}", "size_mib": n, "count": 2} for n in range(30)},
    "imports": {"dependencies": [f"package-{n}==1.{n}.0" for n in range(60)], "modules": 400},
    "usage": {f"measured_{n}_s": n / 7 for n in range(15)},
    "config": {"origins": {f"model.width_{n}": "config scope defaults (train.py:15)" for n in range(10)}},
}
for number in range(int(sys.argv[2])):
    run = Run(observer, number)
    run.start({
        "lr": 10 ** random.uniform(-4, 0), "batch_size": random.choice((16, 32, 64)), "layers": [64, 32], "seed": number,
        "optimizer": {"name": random.choice(("adam", "sgd")), "eps": 1e-8, "betas": [0.9, 0.999]},
        "model": {f"width_{n}": random.randrange(1000) for n in range(10)},
        "data": {f"path_{n}": f"/data/set_{n}/part_{random.randrange(10)}" for n in range(10)},
        "noise": {f"sigma_{n}": random.random() for n in range(14)},
    })
    for topic, facts in FACTS.items():
        run.tell(events.Facts(topic=topic, facts=facts))
    points = {"steps": [0, 1], "times": [0, 1000]}
    names = ("loss", "accuracy", "f1", "val_loss")
    columns = {name: {**points, "values": [1.0, random.random()]} for name in names}
    run.tell(events.Metrics(start=run.base, columns=columns))
    run.end(random.random())
observer.join()
"""
)

POINTS = (
    TELL
    + """
points, size = int(sys.argv[2]), 10_000
run = Run(observer, 1)
run.start({"points": points})
for first in range(0, points, size):
    values = [random.random() / (1 + first / 1e4) for _ in range(size)]
    column = {"steps": list(range(first, first + size)), "values": values, "times": [37 * n for n in range(size)]}
    run.tell(events.Metrics(start=run.base + 37 * first, columns={"loss": column}))
    run.teller.flush()
run.end(0.5)
run.teller.finish()
"""
)

FRAME = """\
import sys, time
import pandas
from capture import open_store

figures = []
for _ in range(int(sys.argv[3])):
    with open_store(sys.argv[1]) as store:  # anew: nothing is remembered from the last time
        begun = time.perf_counter()
        frame = store.runs("config.lr < 2").to_pandas()
        figures.append(time.perf_counter() - begun)
    assert len(frame) == int(sys.argv[2]) and len(frame.columns) == 50, frame.shape
print(figures[0], sorted(figures)[len(figures) // 2], min(figures), max(figures))
"""

ARRAY = """\
import sys, time
import numpy
from capture import open_store

values, both = [], []
for _ in range(int(sys.argv[3])):
    with open_store(sys.argv[1]) as store:
        run = store.get(-1)
        begun = time.perf_counter()
        series = run.metrics["loss"]
        found = series.array
        values.append(time.perf_counter() - begun)
        steps = series.step_array
        both.append(time.perf_counter() - begun)
    assert found.shape == steps.shape == (int(sys.argv[2]),)
print(sorted(values)[len(values) // 2], min(values), max(values), sorted(both)[len(both) // 2])
"""

MLFLOW = """\
import logging, os, random, sys, time
os.environ["MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"] = "false"
from mlflow.entities import Metric, Param, RunTag
from mlflow.tracking import MlflowClient

logging.disable(logging.CRITICAL)
random.seed(1)
folder, runs = sys.argv[1], int(sys.argv[2])
client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
experiment = client.create_experiment("digits", artifact_location=folder)
for number in range(runs):
    run = client.create_run(experiment)
    values = [("lr", 10 ** random.uniform(-4, 0)), *((f"entry_{n}", random.random()) for n in range(40))]
    names = ("loss", "accuracy", "f1", "val_loss")
    client.log_batch(
        run.info.run_id,
        metrics=[Metric(name, random.random(), 0, 1) for name in names],
        params=[Param(name, str(value)) for name, value in values],
        tags=[RunTag("user", "ada")],
    )
import mlflow
mlflow.set_tracking_uri(f"sqlite:///{folder}/mlflow.db")
figures = []
for _ in range(3):
    begun = time.perf_counter()
    frame = mlflow.search_runs([experiment], "metrics.loss < 2", max_results=100_000)
    figures.append(time.perf_counter() - begun)
    assert len(frame) == runs
print(figures[0], sorted(figures)[1])
"""


def rows(bench: Bench) -> Iterator[Row]:
    yield from _help(bench)
    python = python_with_frames(lent=bench.quick)
    with contextlib.ExitStack() as stack:
        stores = Stores(bench, stack)
        for name, reason in stores.left_out.items():
            yield Row(f"{name} is left out: {reason}", "", "", "", "", None)
        yield from _runs(bench, python, stores)
        yield from _points(bench, python, stores)
    if bench.peer:
        yield from _mlflow(bench)


def _help(bench: Bench) -> Iterator[Row]:
    command = os.path.join(os.path.dirname(bench.python), "capture")
    times = in_turn(
        {"pass": lambda: bench.timed_process("-c", "pass"), "help": lambda: bench.timed_process(command, "--help")},
        bench.few(21, 1),
    )
    factor = ratio(times["help"], times["pass"])
    yield Row(
        "capture --help", f"{median(times['pass']):.1f} ms, python -c pass", f"{median(times['help']):.1f} ms",
        f"{factor:.2f}x", f"<= {HELP:.0f}x", factor <= HELP,
    )  # fmt: skip


def _runs(bench: Bench, python: str, stores: Stores) -> Iterator[Row]:
    runs, fill, frame = bench.few(10_000, 60), bench.write("fill.py", FILL), bench.write("frame.py", FRAME)
    for name in stores.names(*STORES):
        store = stores.new(name)
        bench.run(fill, store, str(runs), python=python)
        if name == "file":
            yield from _ls(bench, store, runs)
        first, middle, least, most = bench.figures(frame, store, str(runs), str(bench.few(5, 1)), python=python)
        yield Row(
            f"{runs:,} runs x 50 columns in {name} to pandas", f"the first time {first:.2f} s", f"{middle:.2f} s",
            f"{least:.2f} to {most:.2f}", f"<= {FRAME_S:.0f} s", middle <= FRAME_S,
        )  # fmt: skip


def _ls(bench: Bench, store: str, runs: int) -> Iterator[Row]:
    command = os.path.join(os.path.dirname(bench.python), "capture")
    index = os.path.join(store, "_capture", "index.sqlite")

    def ask(condition: str, cold: bool) -> float:
        if cold and os.path.exists(index):
            os.unlink(index)
        return bench.timed_process(command, "ls", condition, f"--store={store}") / 1e3

    for condition, which in (("config.lr < 0.1", "three runs of four"), ("config.seed == 17", "one old run")):
        times = in_turn(
            {
                "pass": lambda: bench.timed_process("-c", "pass"),
                "cold": lambda condition=condition: ask(condition, True),  # type: ignore[misc]
                "warm": lambda condition=condition: ask(condition, False),  # type: ignore[misc]
            },
            bench.few(5, 1),
            warm_up=0,
        )
        floor = f"{median(times['pass']):.1f} ms, python -c pass"
        for state, goal in (("warm", LS_S), ("cold", COLD_S)):
            found = median(times[state])
            yield Row(
                f"capture ls '{condition}', {runs:,} runs: {which}, {state}", floor, f"{found:.2f} s",
                f"{min(times[state]):.2f} to {max(times[state]):.2f}", f"<= {goal:.1f} s", found <= goal,
            )  # fmt: skip


def _points(bench: Bench, python: str, stores: Stores) -> Iterator[Row]:
    points, make, array = bench.few(1_000_000, 20_000), bench.write("points.py", POINTS), bench.write("read_points.py", ARRAY)
    for name in stores.names(*STORES):
        store = stores.new(name)
        bench.run(make, store, str(points), python=python)
        middle, least, most, both = bench.figures(array, store, str(points), str(bench.few(5, 1)), python=python)
        yield Row(
            f"{points:,} points in {name} to an array", f"with steps {both:.2f} s", f"{middle:.2f} s",
            f"{least:.2f} to {most:.2f}", f"<= {ARRAY_S:.1f} s", middle <= ARRAY_S,
        )  # fmt: skip


def _mlflow(bench: Bench) -> Iterator[Row]:
    from tests.servers import installing
    from tests.servers.mlflow import MLflow

    if MLflow.missing():
        yield Row(f"MLflow is left out: {MLflow.missing()}", "", "", "", "", None)
        return
    runs = bench.few(2_000, 10)
    python = os.path.join(installing.place("mlflow"), "bin", "python")
    first, middle = bench.figures(bench.write("peer.py", MLFLOW), bench.new_folder(), str(runs), python=python)
    yield Row(
        f"  MLflow, {runs:,} runs: search_runs over SQLite", f"the first time {first:.2f} s", f"{middle:.2f} s",
        f"{middle / runs * 10_000:.1f} s at this rate for 10,000", "", None,
    )  # fmt: skip
