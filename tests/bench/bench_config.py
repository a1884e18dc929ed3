"""1,000 config entries with 100 updates from the command line: from its words to the resolved configuration."""

from __future__ import annotations

from collections.abc import Iterator

from tests.bench.measuring import Bench, Row, in_turn, median, ratio

GOAL_MS = 5.0

COMMON = """\
import sys, time

ENTRIES = {f"group_{i}": {f"entry_{j}": j * 0.5 for j in range(50)} for i in range(20)}
UPDATES = [f"group_{i % 20}.entry_{i // 20}={i}" for i in range(100)]
WORDS = ["script.py", "with", *UPDATES]

def timed(function, repeats=int(sys.argv[1])):
    times = []
    for _ in range(repeats):
        begun = time.perf_counter()
        config = function()
        times.append(time.perf_counter() - begun)
        assert config["group_19"]["entry_4"] == 99 and config["group_19"]["entry_5"] == 2.5
    return sorted(times)[len(times) // 2] * 1e3
"""

OURS = """
from capture import Experiment
from capture.config.updates import parse_updates
from capture.script import parse

ex = Experiment("config", observers=[])
ex.add_config(ENTRIES)

@ex.main
def main(group_0):
    pass

def with_parsing():
    options, command, words = parse(ex, WORDS[0], WORDS[1:])
    return ex.build_config(*parse_updates(words))

updates, names = parse_updates(UPDATES)
first = timed(with_parsing, 1)
print(timed(with_parsing), timed(lambda: ex.build_config(updates, names)), first)
"""

FLOOR = """
import ast, copy

def by_hand():
    config = copy.deepcopy(ENTRIES)
    for word in WORDS[2:]:
        path, _, value = word.partition("=")
        *groups, last = path.split(".")
        place = config
        for group in groups:
            place = place[group]
        place[last] = ast.literal_eval(value)
    return config

print(timed(by_hand))
"""

SACRED = """
import logging
import sacred.initialize
from docopt import docopt
from sacred import Experiment
from sacred.arg_parser import get_config_updates

sacred.initialize.get_host_info = lambda *arguments: {}  # not what is measured
ex = Experiment("config", save_git_info=False)
ex.logger = logging.getLogger("quiet")
ex.logger.setLevel("ERROR")
ex.add_config(ENTRIES)

@ex.main
def main(group_0):
    pass

def resolve(words):
    updates, names = get_config_updates(words)
    return sacred.initialize.create_run(ex, "main", updates, names).config

def with_parsing():
    arguments = docopt(ex.get_usage("script.py")[2], WORDS[1:], False)
    return resolve(arguments["UPDATE"])

print(timed(with_parsing), timed(lambda: resolve(UPDATES)))
"""


def rows(bench: Bench) -> Iterator[Row]:
    scripts = {
        "floor": bench.write("by_hand.py", COMMON + FLOOR),
        "ours": bench.write("ours.py", COMMON + OURS),
        "peer": bench.write("sacred_config.py", COMMON + SACRED),
    }
    found: dict[str, list[list[float]]] = {name: [] for name in scripts}

    def figure(name: str, python: str | None = None) -> float:
        found[name].append(bench.figures(scripts[name], str(bench.few(51, 1)), python=python))
        return found[name][-1][0]

    measures = {"floor": lambda: figure("floor"), "ours": lambda: figure("ours")}
    if bench.peer:
        measures["peer"] = lambda: figure("peer", bench.peer)
    times = in_turn(measures, bench.few(5, 1), warm_up=0)
    floor = f"{median(times['floor']):.2f} ms, literal_eval and copy"
    for name, what in (("ours", "1,000 entries, 100 updates, from argv"), ("peer", "  Sacred")):
        if name in times:
            took, resolving = median(times[name]), median([each[1] for each in found[name]])
            goal, met = (f"<= {GOAL_MS:.0f} ms", took <= GOAL_MS) if name == "ours" else ("", None)
            factor = f"{ratio(times[name], times['floor']):.1f}x"
            yield Row(what, floor, f"{took:.2f} ms", factor, goal, met)
            yield Row("  of it without parsing" if name == "ours" else "  Sacred without parsing", "",
                      f"{resolving:.2f} ms", "", "", None)  # fmt: skip
            if name == "ours":
                first = median([each[2] for each in found[name]])
                yield Row("  the first time in a process, with imports", "", f"{first:.1f} ms", "", "", None)
