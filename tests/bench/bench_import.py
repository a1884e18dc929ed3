"""`from capture import Experiment` and making one, next to a Python that does nothing."""

from __future__ import annotations

from collections.abc import Iterator

from tests.bench.measuring import Bench, Row, in_turn, median, ratio

GOAL = 3.5  #: times the bare interpreter


def rows(bench: Bench) -> Iterator[Row]:
    measures = {
        "pass": lambda: bench.timed_process("-c", "pass"),
        "ours": lambda: bench.timed_process("-c", "from capture import Experiment; Experiment('x')"),
    }
    peer = bench.peer
    if peer:
        measures["peer"] = lambda: bench.timed_process(
            "-c", "from sacred import Experiment; Experiment('x', interactive=True)", python=peer
        )
    times = in_turn(measures, bench.few(21, 1))
    floor = f"{median(times['pass']):.1f} ms, python -c pass"
    factor = ratio(times["ours"], times["pass"])
    yield Row(
        "import and Experiment('x')", floor, f"{median(times['ours']):.1f} ms", f"{factor:.2f}x",
        f"<= {GOAL}x", factor <= GOAL,
    )  # fmt: skip
    if peer:
        factor = ratio(times["peer"], times["pass"])
        yield Row("  Sacred", floor, f"{median(times['peer']):.1f} ms", f"{factor:.2f}x", "", None)
