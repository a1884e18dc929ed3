"""Following a file through ten thousand runs, in every store: the first time, and then.

A file store's index learns of files the first time; the others look into what is listed of all runs each time.

Each run read ten files that all of them read and eight of its own, and wrote two; six of seven read what the one before
wrote. The question is for a model that is the fifth of a chain, both ways: eight runs and forty-four files.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from tests.bench.bench_query import FILL, STORES
from tests.bench.bench_stores import Stores
from tests.bench.environments import python_with_frames
from tests.bench.measuring import Bench, Row, median

AT_ONCE_S = 1.0

FILES = '''
    def used(name, content):
        digest = f"{content:064x}"[::-1]
        return {"path": f"/home/ada/digits/{name}", "name": name, "digest": digest, "size": content % 9973, "mtime": 1.5}

    read = [used(f"data/part_{n}.csv", 10_000_000 + n) for n in range(10)]
    read += [used(f"data/own_{number}_{n}.csv", 20_000_000 + 100 * number + n) for n in range(8)]
    read += [used(f"model_{number - 1}.pt", 30_000_000 + number - 1)] if number % 7 else []
    wrote = [used(f"model_{number}.pt", 30_000_000 + number), used(f"report_{number}.txt", 40_000_000 + number)]
    facts = {"inputs": read, "outputs": wrote, "coverage": {"complete": True}, "nearby": [], "intermediates": []}
    run.tell(events.Facts(topic="lineage", facts=facts))
'''
_BEFORE = "    points = {"


def rows(bench: Bench) -> Iterator[Row]:
    assert FILL.count(_BEFORE) == 1
    runs, fill = bench.few(10_000, 60), bench.write("fill_files.py", FILL.replace(_BEFORE, FILES + _BEFORE))
    python = python_with_frames(lent=bench.quick)
    model = f"{30_000_000 + runs // 2 // 7 * 7 + 4:064x}"[::-1]
    with contextlib.ExitStack() as stack:
        stores = Stores(bench, stack)
        for name, reason in stores.left_out.items():
            yield Row(f"{name} is left out: {reason}", "", "", "", "", None)
        for name in stores.names(*STORES):
            yield _row(bench, python, fill, name, stores.new(name), runs, model)


def _row(bench: Bench, python: str, fill: str, name: str, store: str, runs: int, model: str) -> Row:
    bench.run(fill, store, str(runs), python=python)
    first, *then = (
        bench.timed_process("-m", "capture", "lineage", model, f"--store={store}", python=python) / 1e3
        for _ in range(bench.few(6, 2))
    )
    return Row(
        f"capture lineage DIGEST, {runs:,} runs in {name}", f"the first time {first:.2f} s", f"{median(then):.2f} s",
        f"{min(then):.2f} to {max(then):.2f}", f"<= {AT_ONCE_S:.0f} s", median(then) <= AT_ONCE_S,
    )  # fmt: skip
