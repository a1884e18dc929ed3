"""8 processes with 20 runs each, all at once into one file store: which records are whole."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator

from tests.bench.measuring import Bench, Row, in_turn, median

PROCESSES, RUNS = 8, 20

TRACKED = """\
import sys
from capture import Experiment

ex = Experiment("together", observers=[sys.argv[1]])

@ex.config
def defaults():
    marker = ""

@ex.main
def main(marker, _run):
    print("marker", marker)
    for step in range(10):
        _run.log_scalar("loss", 1 / (step + 1), step)
    return marker

for number in range(int(sys.argv[3])):
    ex.run(config_updates={"marker": f"{sys.argv[2]}-{number}"})
"""

SACRED = TRACKED.replace("from capture import Experiment", "from sacred import Experiment").replace(
    'ex = Experiment("together", observers=[sys.argv[1]])',
    "from sacred.observers import FileStorageObserver\nex = Experiment('together', save_git_info=False)\n"
    "ex.observers.append(FileStorageObserver(sys.argv[1]))",
)


def rows(bench: Bench) -> Iterator[Row]:
    found: dict[str, list[tuple[int, int]]] = {"ours": [], "peer": []}
    runs = bench.few(RUNS, 2)

    def together(name: str, text: str, python: str) -> float:
        script, store = bench.write("together.py", text), os.path.join(bench.new_folder(), "runs")
        begun = time.perf_counter()
        all_of_them = [
            subprocess.Popen(
                [python, script, store, str(number), str(runs)],
                env=bench.environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )
            for number in range(PROCESSES)
        ]  # fmt: skip
        for each in all_of_them:
            each.wait()
        took = time.perf_counter() - begun
        found[name].append(whole_records(store, {f"{p}-{r}" for p in range(PROCESSES) for r in range(runs)}))
        return took

    measures = {"ours": lambda: together("ours", TRACKED, bench.python)}
    peer = bench.peer
    if peer:
        measures["peer"] = lambda: together("peer", SACRED, peer)
    times = in_turn(measures, bench.few(5, 1), warm_up=0)
    wanted = PROCESSES * runs
    for name, what in (("ours", f"{PROCESSES} processes x {runs} runs into one store"), ("peer", "  Sacred")):
        if name in times:
            intact, with_output = (min(each[index] for each in found[name]) for index in (0, 1))
            goal = f"{wanted} of {wanted}, with output" if name == "ours" else ""
            met = intact == with_output == wanted if name == "ours" else None
            yield Row(
                what, "", f"{intact}, {with_output} with output", f"{median(times[name]):.2f} s", goal, met,
            )  # fmt: skip


def whole_records(store: str, markers: set[str]) -> tuple[int, int]:
    """Count the markers of which there is exactly one whole record, and those of them with their output."""
    records: dict[str, list[bool]] = {}
    for name in os.listdir(store):
        try:
            config, run, metrics = (_json(store, name, f"{part}.json") for part in ("config", "run", "metrics"))
        except (OSError, ValueError):
            continue  # not a run, or not whole
        if run["status"] == "COMPLETED" and run["result"] == config["marker"] and len(metrics["loss"]["values"]) == 10:
            with open(os.path.join(store, name, "cout.txt"), encoding="utf-8") as stream:
                records.setdefault(config["marker"], []).append(f"marker {config['marker']}\n" in stream.read())
    once = {marker: printed[0] for marker, printed in records.items() if len(printed) == 1 and marker in markers}
    return len(once), sum(once.values())


def _json(*parts: str) -> dict:
    with open(os.path.join(*parts), encoding="utf-8") as stream:
        return json.load(stream)
