"""The lock of an environment with 150 distributions, next to what `importlib.metadata` takes to name them.

Most of them are made up: small, but with the files that pip leaves. *Kept* is what a run pays that finds the document
of the run before it.
"""

from __future__ import annotations

from collections.abc import Iterator

from tests.bench.environments import DISTRIBUTIONS, python_with_science
from tests.bench.measuring import Bench, Row, in_turn, median, ratio

GOAL_MS = 5.0

OURS = """\
import sys, time
from capture.probes import environment  # loaded beside main; what it loads when it is called counts

def keep(name, data):
    assert len(data) > 1000
    return {"source": name, "digest": "", "size": len(data)}

begun = time.perf_counter()
facts = environment.lock(keep, None, sys.argv[1] if len(sys.argv) > 1 else None)
print((time.perf_counter() - begun) * 1e3, facts["distributions"])
"""

FLOOR = """\
import time
from importlib import metadata

begun = time.perf_counter()
found = {each.metadata["Name"]: each.version for each in metadata.distributions()}
print((time.perf_counter() - begun) * 1e3, len(found))
"""


def rows(bench: Bench) -> Iterator[Row]:
    ours, floor = bench.write("ours.py", OURS), bench.write("floor.py", FLOOR)
    python, cache = python_with_science(lent=bench.quick), bench.new_folder()

    def figure(*arguments: str) -> float:
        took, count = bench.figures(*arguments, python=python)
        assert count >= DISTRIBUTIONS, count
        return took

    measures = {
        "floor": lambda: figure(floor),
        "ours": lambda: figure(ours),
        "kept": lambda: figure(ours, cache),
    }
    times = in_turn(measures, bench.few(21, 1))
    named = f"{median(times['floor']):.1f} ms, importlib.metadata"
    for name, what in (("ours", f"lock of {DISTRIBUTIONS} distributions"), ("kept", "  kept by the run before")):
        took, factor = median(times[name]), ratio(times[name], times["floor"])
        goal, met = (f"<= {GOAL_MS:.0f} ms", took <= GOAL_MS) if name == "ours" else ("", None)
        yield Row(what, named, f"{took:.1f} ms", f"{factor:.2f}x", goal, met)
