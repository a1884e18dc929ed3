"""What a run pays for its facts before and after main, in a repository, with 150 distributions and a lot imported.

The time from the making of the experiment to the first line of main, and from the last line of main to the end of
`run`. Main takes half a second, in which the rest is found out beside it. The floor is the same run with every fact
switched off. pandas and scikit-learn are real; most of the other distributions are made up.
"""

from __future__ import annotations

from collections.abc import Iterator

from tests.bench.environments import python_with_science
from tests.bench.measuring import Bench, Row, in_turn, median, more

ON_THE_PATH_MS = 25.0
MAPPING_MS = 15.0
MODULES = 1_600

TIMED = """\
import sys, time
import pandas, sklearn.ensemble, sklearn.linear_model, sklearn.model_selection
HEAD
begun = time.perf_counter()
MAKE

@ex.main
def main():
    global before, left
    before = time.perf_counter() - begun
    time.sleep(float(sys.argv[2]))
    left = time.perf_counter()

run = ex.run()
after = time.perf_counter() - left
assert run.status == "COMPLETED", run.status
print((before + after) * 1e3, before * 1e3, after * 1e3)
"""

OURS = TIMED.replace("MAKE", 'ex = Experiment("facts", observers=[sys.argv[1]])')
FULL = OURS.replace("HEAD", "from capture import Experiment")
BARE = OURS.replace(
    "HEAD",
    """from capture import Experiment, SETTINGS
SETTINGS.DISCOVER_SOURCES = SETTINGS.DISCOVER_DEPENDENCIES = "none"
SETTINGS.GIT.ENABLED = SETTINGS.IMPORTS = SETTINGS.ENVIRONMENT = SETTINGS.PROCESS.ENABLED = False
SETTINGS.HOST_INFO.MACHINE = SETTINGS.HOST_INFO.INCLUDE_CPU_INFO = SETTINGS.HOST_INFO.INCLUDE_GPU_INFO = False
SETTINGS.LINEAGE.ENABLED = SETTINGS.PROBES.ENABLED = False""",
)
SACRED = TIMED.replace(
    "HEAD",
    """import logging
from sacred import Experiment
from sacred.observers import FileStorageObserver""",
).replace(
    "MAKE",
    """ex = Experiment("facts")
ex.observers.append(FileStorageObserver(sys.argv[1]))
ex.logger = logging.getLogger("quiet")""",
)

MAPPING = f"""\
import importlib, sys, time
import pandas, sklearn.ensemble, sklearn.linear_model, sklearn.model_selection

number = 0
while len(sys.modules) < {MODULES}:
    importlib.import_module(f"made_up_{{number:03}}")
    number += 1
import capture.probes.packages as packages
from importlib.metadata import packages_distributions

def timed(function):
    begun = time.perf_counter()
    found = function()
    return (time.perf_counter() - begun) * 1e3, len(found)

ours, names = timed(lambda: packages.discover_packages(dict(sys.modules), "sys"))
assert names > number, names
again, _ = timed(lambda: packages.discover_packages(dict(sys.modules), "sys"))
naive, _ = timed(packages_distributions)
print(ours, again, naive)
"""


def rows(bench: Bench) -> Iterator[Row]:
    yield from _on_the_path(bench, python_with_science(lent=bench.quick), python_with_science(peer=True) if bench.peer else None)
    yield from _mapping(bench, python_with_science(lent=bench.quick))


def _on_the_path(bench: Bench, python: str, peer: str | None) -> Iterator[Row]:
    scripts = {"bare.py": BARE, "full.py": FULL, "peer.py": SACRED}
    clean, dirty = bench.new_repository(scripts), bench.new_repository(scripts, dirty=True)
    found: dict[str, list[list[float]]] = {}

    def figure(name: str, folder: str, script: str, main_s: float, interpreter: str = python) -> float:
        store = bench.new_folder()
        figures = bench.figures(f"{folder}/{script}", store, str(main_s), python=interpreter, cwd=folder)
        found.setdefault(name, []).append(figures)
        return figures[0]

    long_s = 0.5 if not bench.quick else 0.1
    measures = {
        "bare": lambda: figure("bare", clean, "bare.py", long_s),
        "clean": lambda: figure("clean", clean, "full.py", long_s),
        "dirty": lambda: figure("dirty", dirty, "full.py", long_s),
        "short": lambda: figure("short", clean, "full.py", 0.0),
    }
    if peer:
        measures["peer"] = lambda: figure("peer", clean, "peer.py", long_s, peer)
        measures["peer dirty"] = lambda: figure("peer dirty", dirty, "peer.py", long_s, peer)
    times = in_turn(measures, bench.few(15, 1))
    floor = f"{median(times['bare']):.1f} ms, without facts"
    names = {
        "clean": "facts on the path of a run, repository clean",
        "dirty": "  repository dirty",
        "short": "  clean, main returns at once",
        "peer": "  Sacred, clean",
        "peer dirty": "  Sacred, dirty",
    }
    for name, what in names.items():
        if name in times:
            added = more(times[name], times["bare"])
            before, after = (median([figures[index] for figures in found[name]]) for index in (1, 2))
            has_goal = name in ("clean", "dirty")
            goal, met = (f"<= +{ON_THE_PATH_MS:.0f} ms", added <= ON_THE_PATH_MS) if has_goal else ("", None)
            yield Row(what, floor, f"{before:.1f} + {after:.1f} ms", f"+{added:.1f} ms", goal, met)


def _mapping(bench: Bench, python: str) -> Iterator[Row]:
    script = bench.write("mapping.py", MAPPING)
    found: list[list[float]] = []

    def figure() -> float:
        found.append(bench.figures(script, python=python))
        return found[-1][0]

    took = median(in_turn({"ours": figure}, bench.few(11, 1))["ours"])
    naive, again = (median([figures[index] for figures in found]) for index in (2, 1))
    floor = f"{naive:.0f} ms, packages_distributions()"
    goal = f"<= {MAPPING_MS:.0f} ms"
    what = f"{MODULES:,} modules to their distributions"
    yield Row(what, floor, f"{took:.1f} ms", f"{took / naive:.2f}x", goal, took <= MAPPING_MS)
    yield Row("  again in the same process", floor, f"{again:.1f} ms", f"{again / naive:.2f}x", "", None)
