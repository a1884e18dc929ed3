"""Stores, next to the same work with the bare driver: a million points, a small run, many processes, ten thousand runs.

The servers are those of the tests; a store whose server is not installed is left out, which a line says.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Iterator
from typing import Any

from tests.bench.bench_concurrent import TRACKED
from tests.bench.environments import python_with_stores
from tests.bench.measuring import Bench, Row, in_turn, median, more, ratio

GROWTH_MIB = 50.0
HELLO_MS = 80.0
FILTER_MS, OPEN_MS = 60.0, 10.0
PROCESSES, RUNS = 8, 20

POINTS = """\
import resource, sys, time
from capture import Experiment

points = int(sys.argv[2])
ex = Experiment("metrics", observers=[sys.argv[1]])

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

@ex.main
def main(_run):
    global begun, before
    log_scalar = _run.log_scalar
    before, begun = peak(), time.perf_counter()
    for step in range(points):
        log_scalar("loss", 0.5 / (step + 1), step)

run = ex.run()
took, growth = time.perf_counter() - begun, peak() - before
from capture import open_store
assert open_store(sys.argv[1]).get(run._id).summary["loss"]["count"] == points
print(took, growth)
"""

#: what each floor does with its batches of (step, value, time): `begin` and `store`, as durable as the store's (MongoDB's
#: journal, SQLite's log with the driver's own level of synchronising, a commit), into a table with the same columns and
#: the same key, by the fastest of the driver's ordinary ways
POINTS_FLOOR = """\
import sys, time
points, size = int(sys.argv[2]), 10_000
{begin}
begun = time.perf_counter()
batch = []
for step in range(points):
    batch.append((step, 0.5 / (step + 1), time.time()))
    if len(batch) == size or step == points - 1:
        first = step + 1 - len(batch)
        {store}
        batch = []
print(time.perf_counter() - begun)
"""

FLOORS = {
    "mongodb": (
        """import datetime, pymongo
client = pymongo.MongoClient(sys.argv[1])
metrics = client.get_default_database().get_collection("metrics", write_concern=pymongo.WriteConcern(j=True))
utc = datetime.timezone.utc
moment = datetime.datetime.fromtimestamp""",
        """metrics.insert_one({"run_id": 1, "name": "loss", "steps": [each[0] for each in batch],
            "values": [each[1] for each in batch], "timestamps": [moment(each[2], utc) for each in batch]})""",
    ),
    "sqlite": (
        """import sqlite3
db = sqlite3.connect(sys.argv[1].partition(":///")[2], isolation_level=None)
db.execute("PRAGMA journal_mode = WAL")
db.execute("CREATE TABLE points (series INTEGER, number INTEGER, step REAL, value REAL, time INTEGER,"
           " PRIMARY KEY (series, number)) WITHOUT ROWID")""",
        """db.execute("BEGIN")
        db.executemany("INSERT INTO points VALUES (1, ?, ?, ?, ?)",
                       [(n, step, value, int(when * 1e6)) for n, (step, value, when) in enumerate(batch, first)])
        db.execute("COMMIT")""",
    ),
    "postgresql": (
        """import psycopg
db = psycopg.connect(sys.argv[1].replace("+psycopg", ""))
db.execute("CREATE TABLE points (series BIGINT, number BIGINT, step FLOAT8, value FLOAT8, time BIGINT,"
           " PRIMARY KEY (series, number))")
db.commit()""",
        """lines = "".join([f"1\\t{n}\\t{step}\\t{value!r}\\t{int(when * 1e6)}\\n"
                         for n, (step, value, when) in enumerate(batch, first)])
        with db.cursor().copy("COPY points FROM STDIN") as copy:
            copy.write(lines)
        db.commit()""",
    ),
}

HELLO = """\
import sys
from capture import Experiment

ex = Experiment("hello", observers=[sys.argv[1]])

@ex.config
def defaults():
    lr = 0.1

@ex.main
def main(lr):
    print("hello, learning rate", lr)
    return lr

ex.run()
"""

HELLO_FLOOR = """\
import hashlib, json, platform, sys, time
{begin}
lr = 0.1
with open(__file__, "rb") as stream:
    source = stream.read()
record = {{"config": {{"lr": lr}}, "start": time.time(), "host": platform.node(), "status": "RUNNING",
           "source": hashlib.sha256(source).hexdigest()}}
{start}
print("hello, learning rate", lr)
record.update(result=lr, status="COMPLETED", stop=time.time(), output="hello, learning rate 0.1")
{end}
"""

HELLO_FLOORS = {
    "sqlite": (
        """import sqlalchemy as sa
engine = sa.create_engine(sys.argv[1])
tables = sa.MetaData()
runs = sa.Table("runs", tables, sa.Column("id", sa.Integer, primary_key=True), sa.Column("record", sa.Text))
sources = sa.Table("sources", tables, sa.Column("id", sa.Text, primary_key=True), sa.Column("data", sa.LargeBinary))
tables.create_all(engine)""",
        """with engine.begin() as db:
    if not db.execute(sa.select(sources.c.id).where(sources.c.id == record["source"])).first():
        db.execute(sources.insert().values(id=record["source"], data=source))
    key = db.execute(runs.insert().values(record=json.dumps(record))).inserted_primary_key[0]""",
        """with engine.begin() as db:
    db.execute(runs.update().where(runs.c.id == key).values(record=json.dumps(record)))""",
    ),
    "tinydb": (
        """import tinydb
db = tinydb.TinyDB(sys.argv[1].partition("://")[2] + ".json")""",
        """key = db.insert(record)""",
        """db.update(record, doc_ids=[key])""",
    ),
    "mongodb": (
        """import gridfs, pymongo
client = pymongo.MongoClient(sys.argv[1])
db = client.get_default_database()
files = gridfs.GridFS(db)""",
        """if not db["fs.files"].find_one({"metadata.sha256": record["source"]}):
    files.put(source, metadata={"sha256": record["source"]})
key = db.runs.insert_one(record).inserted_id""",
        """db.runs.update_one({"_id": key}, {"$set": record})""",
    ),
}

INTACT = """\
import sys
from capture import open_store
found = {}
for run in open_store(sys.argv[1]).find():
    lines = run.output.splitlines()  # those of the log, too
    printed = [line for line in lines if not line.startswith("INFO - together - ")]
    whole = (run.status == "COMPLETED" and printed == [f"marker {run.config['marker']}"] and len(lines) == 5
             and run.result == run.config["marker"] and list(run.metrics["loss"].steps) == list(range(10)))
    found.setdefault(run.config["marker"], []).append(whole)
print(sum(each == [True] for each in found.values()))
"""

FILL = """\
import os, random, sys, tempfile
from capture.registry import make_observer
from capture.testing.feed import Story, Teller

random.seed(1)
observer = make_observer(sys.argv[1])
for number in range(int(sys.argv[2])):
    with tempfile.TemporaryDirectory() as folder:
        config = {"lr": random.random(), "layers": [64, 32], "optimizer": {"name": "adam", "eps": 1e-8}, "seed": number}
        story = Story(folder, f"01997a1c-{number % 0x10000:04x}-7000-8000-{number:012x}").start(config=config)
        story.metrics(loss=[1.0, random.random()]).beat(result=0.5)
        story.complete(result=random.random())
        teller = Teller(observer, story)
        teller.tell(story.lines())
        teller.flush()
observer.join()
"""

QUERY = """\
import sys, time
from capture import open_store
from capture.filters import field

store = open_store(sys.argv[1])
middle = store.labels()[int(sys.argv[2]) // 2]
wanted = (field("status") == "COMPLETED") & (field("config.lr") > 0.8) & (field("metrics.loss.last") < 0.5)
figures = []
for _ in range(12):
    begun = time.perf_counter()
    hits = [(run.label, run.config["lr"], run.summary["loss"]["last"]) for run in store.find(wanted)]
    found = time.perf_counter()
    assert 0.05 < len(hits) / int(sys.argv[2]) < 0.16, len(hits)
    config = store.get(middle).config
    figures.append((found - begun, time.perf_counter() - found))
print(figures[0][0], *[sorted(each)[len(each) // 2] for each in zip(*figures[2:])])
"""

QUERY_FLOOR = """\
import json, random, sqlite3, sys, time
random.seed(1)
db = sqlite3.connect(":memory:")
db.execute("CREATE TABLE runs (id INTEGER PRIMARY KEY, status TEXT, config TEXT, last REAL)")
rows = []
for number in range(int(sys.argv[1])):
    config = {"lr": random.random(), "layers": [64, 32], "optimizer": {"name": "adam", "eps": 1e-8}, "seed": number}
    rows.append(("COMPLETED", json.dumps(config), random.random()))
db.executemany("INSERT INTO runs (status, config, last) VALUES (?, ?, ?)", rows)
figures = []
for _ in range(12):
    begun = time.perf_counter()
    hits = [(key, json.loads(config)["lr"], last) for key, config, last in db.execute(
        "SELECT id, config, last FROM runs WHERE status = 'COMPLETED' AND json_extract(config, '$.lr') > 0.8 AND last < 0.5")]
    figures.append(time.perf_counter() - begun)
print(sorted(figures)[6])
"""


class Stores:
    """URLs of new, empty stores."""

    def __init__(self, bench: Bench, stack: contextlib.ExitStack) -> None:
        self._bench, self._stack = bench, stack
        self._servers: dict[str, Any] = {}
        self.left_out: dict[str, str] = {}
        from tests.servers.mariadb import MariaDB
        from tests.servers.mongo import Mongo
        from tests.servers.postgres import Postgres

        for name, server in (("mongodb", Mongo), ("postgresql", Postgres), ("mariadb", MariaDB)):
            reason = server.missing()
            if reason is not None:
                self.left_out[name] = reason
                continue
            self._servers[name] = server()
            stack.enter_context(self._servers[name])

    def names(self, *wanted: str) -> list[str]:
        return [name for name in wanted if name not in self.left_out]

    def new(self, name: str) -> str:
        """Return the URL of a new store of a kind."""
        folder = self._bench.new_folder()
        if name == "file":
            return os.path.join(folder, "runs")
        if name == "sqlite":
            return f"sqlite:///{folder}/runs.db"
        if name == "tinydb":
            return f"tinydb://{folder}/runs"
        database, server = f"bench-{os.path.basename(folder)}", self._servers[name]
        if hasattr(server, "create"):
            server.create(database)
        return server.url_of(database)


def rows(bench: Bench) -> Iterator[Row]:
    python = python_with_stores(lent=bench.quick)
    with contextlib.ExitStack() as stack:
        stores = Stores(bench, stack)
        for name, reason in stores.left_out.items():
            yield Row(f"{name} is left out: {reason}", "", "", "", "", None)
        yield from _points(bench, python, stores)
        yield from _hello(bench, python, stores)
        yield from _together(bench, python, stores)
        yield from _query(bench, python, stores)


def _points(bench: Bench, python: str, stores: Stores) -> Iterator[Row]:
    tracked, points = bench.write("points.py", POINTS), bench.few(1_000_000, 20_000)
    for name in stores.names("mongodb", "sqlite", "postgresql", "mariadb", "tinydb"):
        growth: list[float] = []

        def ours(name: str = name, growth: list[float] = growth) -> float:
            took, grown = bench.figures(tracked, stores.new(name), str(points), python=python)
            growth.append(grown)
            return took

        measures = {"ours": ours}
        if name in FLOORS:
            begin, store = FLOORS[name]
            by_hand = bench.write("by_hand.py", POINTS_FLOOR.replace("{begin}", begin).replace("{store}", store))
            measures["floor"] = lambda name=name, by_hand=by_hand: bench.figures(  # type: ignore[misc]
                by_hand, stores.new(name), str(points), python=python
            )[0]
        times = in_turn(measures, bench.few(3, 1), warm_up=0)
        rate, has_floor = points / median(times["ours"]), "floor" in times
        relative = ratio(times["floor"], times["ours"]) if has_floor else 0.0
        yield Row(
            f"{points:,} points into {name}, durable",
            f"{points / median(times['floor']):,.0f}/s, the driver alone" if has_floor else "",
            f"{rate:,.0f}/s", f"{relative:.2f}x" if has_floor else "", ">= 0.5x" if has_floor else "",
            relative >= 0.5 if has_floor else None,
        )  # fmt: skip
        yield Row(
            "  memory growth", "", f"{max(growth):.1f} MiB", "", f"<= {GROWTH_MIB:.0f} MiB", max(growth) <= GROWTH_MIB
        )


def _hello(bench: Bench, python: str, stores: Stores) -> Iterator[Row]:
    tracked = bench.write("hello.py", HELLO)
    for name in stores.names(*HELLO_FLOORS):
        begin, start, end = HELLO_FLOORS[name]
        by_hand = bench.write("by_hand.py", HELLO_FLOOR.format(begin=begin, start=start, end=end))
        where, store = bench.new_folder(), stores.new(name)
        other = stores.new(name)
        times = in_turn(
            {
                "floor": lambda: bench.timed_process(by_hand, other, python=python, cwd=where),
                "ours": lambda: bench.timed_process(tracked, store, python=python, cwd=where),
            },
            bench.few(15, 1),
            warm_up=bench.few(2, 1),
        )
        added = more(times["ours"], times["floor"])
        yield Row(
            f"hello-world into {name}, whole process", f"{median(times['floor']):.0f} ms, by hand with the same library",
            f"{median(times['ours']):.0f} ms", f"{added:+.0f} ms", f"<= +{HELLO_MS:.0f} ms", added <= HELLO_MS,
        )  # fmt: skip


def _together(bench: Bench, python: str, stores: Stores) -> Iterator[Row]:
    script, check, runs = bench.write("together.py", TRACKED), bench.write("intact.py", INTACT), bench.few(RUNS, 2)
    together = bench.few(PROCESSES, 3)
    for name in stores.names("file", "sqlite", "tinydb", "mongodb", "postgresql", "mariadb"):
        found, times = [], []
        for _ in range(bench.few(3, 1)):
            store, begun = stores.new(name), time.perf_counter()
            processes = [
                subprocess.Popen(
                    [python, script, store, str(number), str(runs)], cwd=bench.folder,
                    env=bench.environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                )
                for number in range(together)
            ]  # fmt: skip
            for each in processes:
                each.wait()
            times.append(time.perf_counter() - begun)
            found.append(int(bench.figures(check, store, python=python)[0]))
        wanted = together * runs
        yield Row(
            f"{together} processes x {runs} runs into one new {name} store", "", f"{min(found)} intact",
            f"{median(times):.2f} s", f"{wanted} of {wanted}", min(found) == wanted,
        )  # fmt: skip


def _query(bench: Bench, python: str, stores: Stores) -> Iterator[Row]:
    runs = bench.few(10_000, 100)
    fill, query = bench.write("fill.py", FILL), bench.write("query.py", QUERY)
    floor = bench.figures(bench.write("floor.py", QUERY_FLOOR), str(runs), python=python)[0] * 1e3
    for name in stores.names("file", "sqlite", "tinydb", "mongodb", "postgresql", "mariadb"):
        store = stores.new(name)
        begun = time.perf_counter()
        bench.run(fill, store, str(runs), python=python)
        filled = (time.perf_counter() - begun) / runs * 1e3
        first, warm, opened = (1e3 * each for each in bench.figures(query, store, str(runs), python=python))
        yield Row(
            f"{runs:,} runs in {name}: filter by config, status, last metric", f"{floor:.1f} ms, SQLite by hand",
            f"{warm:.1f} ms", f"{warm / floor:.1f}x", f"<= {FILTER_MS:.0f} ms", warm <= FILTER_MS,
        )  # fmt: skip
        yield Row("  the first time", "", f"{first:.0f} ms", "", "", None)
        yield Row("  open one", "", f"{opened:.2f} ms", "", f"<= {OPEN_MS:.0f} ms", opened <= OPEN_MS)
        yield Row("  told and stored, each", "", f"{filled:.1f} ms", "", "", None)

