"""Time one call of a captured function, next to a plain call and to injectors written by hand.

    python -m tests.bench inject                  the rows that have goals
    python tests/bench/bench_inject.py [REPEATS]  all of them

Prints nanoseconds per call, the fastest of some rounds, and the ratio to the plain call of the same shape.
"""

from __future__ import annotations

import os
import sys
import threading
import timeit
from types import SimpleNamespace

from capture import context
from capture.inject import Frame, capture_function
from capture.randomness import SeedTree

OWNER = "benchmark"


def nothing():
    return 1


def three(lr, steps, layers):
    return lr


def with_gap(lr, batch, steps):
    return lr


def with_seed(_seed):
    return _seed


def with_rnd(_rnd):
    return _rnd


class Model:
    def plain(self, lr, steps, layers):
        return lr

    @lambda function: capture_function(function, None, OWNER)
    def captured(self, lr, steps, layers):
        return lr


def by_hand(function, values):
    """The usual closure: copy the values, lay the given arguments over them, call."""

    def call(*args, **kwargs):
        return function(*args, **{**values, **kwargs})

    return call


def time_call(statement, repeats, **names):
    timer = timeit.Timer(statement, globals=names)
    number = max(1, timer.autorange()[0] // 4)
    return min(timer.repeat(repeats, number)) / number * 1e9


def measure(repeats):
    """Yield (name, ns per call, name of the row it is compared with)."""
    config = {"lr": 0.1, "steps": 10, "layers": [64, 32]}
    run = SimpleNamespace(frame=None, parent=None, _id="benchmark")
    captured = {f.__name__: capture_function(f, None, OWNER) for f in (nothing, three, with_gap, with_seed, with_rnd)}
    seeds = SeedTree({OWNER: (42, None, list(captured.values()))})
    run.frame = Frame(run, {OWNER: config}, seeds=seeds)
    model = Model()
    activation = context.activate(run)
    try:
        yield "plain, 0 arguments", time_call("f()", repeats, f=nothing), None
        yield "plain, 3 arguments", time_call("f(1, 2, 3)", repeats, f=three), None
        yield "plain method, 3 arguments", time_call("m.plain(1, 2, 3)", repeats, m=model), None
        plain = "plain, 3 arguments"
        hand = by_hand(three, config)
        yield "closure by hand, 3 filled", time_call("f()", repeats, f=hand), plain
        yield "captured, 0 to fill", time_call("f()", repeats, f=captured["nothing"]), "plain, 0 arguments"
        yield "captured, 3 filled", time_call("f()", repeats, f=captured["three"]), plain
        yield "captured, 3 given", time_call("f(1, 2, 3)", repeats, f=captured["three"]), plain
        yield "captured, 2 filled, 1 by name", time_call("f(batch=1)", repeats, f=captured["with_gap"]), plain
        method = "plain method, 3 arguments"
        yield "captured method, 3 filled", time_call("m.captured()", repeats, m=model), method
        yield "captured, _seed", time_call("f()", repeats, f=captured["with_seed"]), "plain, 0 arguments"
        yield "captured, _rnd", time_call("f()", repeats, f=captured["with_rnd"]), "plain, 0 arguments"
        found = []
        work = threading.Thread(target=lambda: found.append(time_call("f()", repeats, f=captured["three"])))
        work.start()
        work.join()
        yield "captured, 3 filled, in a thread", found[0], plain
    finally:
        context.deactivate(activation)
    yield "captured, 3 filled, after the run", time_call("f()", repeats, f=captured["three"]), plain
    try:
        import numpy.random
    except ImportError:
        return
    yield "numpy.random.default_rng(1) itself", time_call("f(1)", repeats, f=numpy.random.default_rng), None


def main(repeats=7):
    seen = {}
    for name, nanoseconds, base in measure(repeats):
        seen[name] = nanoseconds
        ratio = f"{nanoseconds / seen[base]:8.1f} x" if base else ""
        print(f"{name:36} {nanoseconds:9.0f} ns {ratio}")


GOALS = {"captured, 3 filled": 0.4, "captured method, 3 filled": 1.2}  #: microseconds

SACRED = """
import logging, sys, timeit
from sacred import Experiment

ex = Experiment("inject", interactive=True, save_git_info=False)
ex.logger = logging.getLogger("quiet")
ex.logger.setLevel("ERROR")
ex.add_config(lr=0.1, steps=10, layers=[64, 32])

@ex.capture
def three(lr, steps, layers):
    return lr

@ex.main
def main():
    print(min(timeit.repeat("f()", globals={"f": three}, number=5_000, repeat=int(sys.argv[1]))) / 5_000 * 1e6)

ex.run(options={"--capture": "no"})
"""


def rows(bench):
    """Yield the rows that have goals, measured in the environment that holds the wheel."""
    from tests.bench.measuring import Row

    printed = bench.run(os.path.abspath(__file__), str(bench.few(15, 1)))
    figures = {line[:36].strip(): float(line[36:46]) / 1e3 for line in printed.splitlines()}
    floor = f"{figures['closure by hand, 3 filled']:.2f} us, a closure by hand"
    for name, goal in GOALS.items():
        took = figures[name]
        factor = took / figures["closure by hand, 3 filled"]
        yield Row(name, floor, f"{took:.2f} us", f"{factor:.1f}x", f"<= {goal} us", took <= goal)
    if bench.peer:
        took = bench.figures("-c", SACRED, str(bench.few(15, 1)), python=bench.peer)[0]
        yield Row("  Sacred, 3 filled", floor, f"{took:.2f} us", f"{took / (figures['closure by hand, 3 filled']):.1f}x",
                  "", None)  # fmt: skip


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:]))
