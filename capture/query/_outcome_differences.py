"""What came of the runs: how they ended, their results, metrics, files and output, and what they took."""

from __future__ import annotations

from capture.filters import MISSING
from capture.query._compared import MOST_DIFFED_LINES, all_same, digest_of, listed, same, unified
from capture.query._difference import OUTCOMES, Difference
from capture.query.columns import flat
from capture.wording import counted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from capture.query._compared import Compared
    from capture.records import RunRecord, Series, StoredFile

CLOSE = 1e-6  #: relative difference of results up to which rounding, in another order of sums, may be all there is


def outcome_differences(compared: Compared) -> list[Difference]:
    """Compare what came out; nothing where a working tree is compared, which came to nothing yet."""
    if not all(compared.has_run()):
        return []
    runs = compared.runs
    found = _plain(compared, "status", [{"status": state} for state in compared.states])
    found += _plain(compared, "status", [failure_of(run) for run in runs])
    found += _plain(compared, "result", [_result(run) for run in runs])
    found += _plain(compared, "result", [flat(run.info, "info") if run.info else {} for run in runs])
    found += _metric_differences(compared)
    found += _file_differences(compared)
    found += _output_differences(compared)
    return found + _usage_differences(compared)


def agreements(compared: Compared, outcomes: Sequence[Difference]) -> list[str]:
    """Return in words what came out the same of all runs."""
    runs = compared.runs
    if not all(compared.has_run()):
        return []
    differing = {kind: {each.name for each in outcomes if each.kind == kind and not each.same} for kind in OUTCOMES}
    told = []
    if not differing["result"] and any(run.result is not None for run in runs):
        told.append("the result")
    for kind, listed_by in (("metric", lambda run: run.metrics), ("artifact", _files)):
        names = {name for run in runs for name in listed_by(run)}
        same = len(names - differing[kind] - (compared.undigested if kind == "artifact" else set()))
        if same:
            every = "all " if same == len(names) > 1 else ""
            told.append(f"{every}{counted(same, kind if kind == 'metric' else 'file')}")
    if not differing["output"] and any(run.output for run in runs):
        told.append("the output")
    return told


def _result(run: RunRecord) -> dict[str, Any]:
    return {} if run.result is None else flat(run.result, "result")


def _plain(compared: Compared, kind: str, tables: Sequence[dict[str, Any]]) -> list[Difference]:
    """Compare values by name; numbers with how far they are apart."""
    found = []
    for name in dict.fromkeys(name for table in tables for name in table):
        values = [table.get(name, MISSING) for table in tables]
        if not all_same(values):
            found.append(Difference(kind, name, values, why=distance(values)))
        elif compared.every:
            found.append(Difference(kind, name, values, same=True))
    return found


def distance(values: Sequence[Any]) -> str:
    """Say how far apart numbers are; "" where they are none.

    Examples
    --------
    >>> distance([0.8, 0.6]), distance([1, 2, 4]), distance(["a", 1])
    ('-0.2, -25 %', 'from 1 to 4', '')
    >>> distance([0.2, 2.38]), distance([2, 20_000]), distance([-1, 30])
    ('+2.18, 11.9 times', '+19998, 10000 times', '+31, +3100 %')
    """
    if not all(_is_number(value) for value in values):
        return ""
    if len(values) > 2:
        numbers = [value for value in values if value == value]  # NaN is neither more nor less
        return f"from {_short(min(numbers))} to {_short(max(numbers))}" if numbers else ""
    before, after = values
    try:
        change = after - before
        if not change:
            return ""
        relative = f", {_relative(before, after, change)}" if before and abs(change / before) != float("inf") else ""
        return f"{_digits(change, '+')}{relative}" if change == change else ""
    except (OverflowError, ValueError):  # an integer beyond the range of floats
        return ""


def _relative(before: float, after: float, change: float) -> str:
    """Return a change in percent of what was before; how many times it is that, where it is ten times or more."""
    if after / before >= 10:
        return f"{_digits(after / before)} times"
    return f"{_digits(change / abs(before) * 100, '+')} %"


def _digits(number: float, sign: str = "") -> str:
    """Return a number with three significant digits, and with all before the point as long as these can be read."""
    return format(number, f"{sign}.0f" if 999.5 <= abs(number) < 1e9 else f"{sign}.3g")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _short(value: Any) -> str:
    return format(value, ".6g") if isinstance(value, float) else str(value)


def failure_of(run: RunRecord) -> dict[str, Any]:
    """Return the last line of the traceback."""
    lines = [line for part in run.fail_trace or () for line in str(part).splitlines() if line.strip()]
    return {"fail_trace": lines[-1].strip()} if lines else {}


class _File:
    """A file that a run wrote: what tells whether it is the same in another run."""

    __slots__ = ("_stored", "digest", "size")

    def __init__(self, digest: str | None, size: Any, stored: StoredFile | None = None) -> None:
        self.digest, self.size, self._stored = digest, size, stored

    def compute(self) -> str | None:
        """Return the digest; of an artifact without one, as in records of Sacred, that of the stored bytes."""
        if self.digest is None and self._stored is not None:
            self.digest = digest_of(self._stored)
        return self.digest


def _files(run: RunRecord) -> dict[str, _File]:
    """Return by name the artifacts, and files that were written and not kept."""
    found = {stored.name: _File(stored.digest, stored.size, stored) for stored in run.artifacts}
    lineage = run.facts.get("lineage")
    outputs = lineage.get("outputs") if isinstance(lineage, dict) else None
    for entry in outputs if isinstance(outputs, list) else ():
        if isinstance(entry, dict) and not entry.get("artifact") and entry.get("digest"):
            found.setdefault(str(entry.get("name") or entry.get("path")), _File(entry["digest"], entry.get("size")))
    return found


def _file_differences(compared: Compared) -> list[Difference]:
    """Compare what was written; bytes are read only where their digest and size do not tell."""
    tables = [_files(run) for run in compared.runs]
    for name in dict.fromkeys(name for table in tables for name in table):
        files = [table[name] for table in tables if name in table]
        sizes = {each.size for each in files if each.size is not None}
        if len(files) == len(tables) and len(sizes) < 2 and None in [each.compute() for each in files]:
            compared.undigested.add(name)
    if compared.undigested:
        names = listed(sorted(compared.undigested))
        compared.limit(f"whether {names} came out the same cannot be told: their digests are not known")
    told = [
        {name: each.digest or _sized(each) for name, each in table.items() if name not in compared.undigested}
        for table in tables
    ]
    return _plain(compared, "artifact", told)


def _sized(file: _File) -> str:
    return f"{file.size:,} bytes" if isinstance(file.size, int) else "digest unknown"


# -------------------------------------------------------------------------------------------------------------- metrics


def _metric_differences(compared: Compared) -> list[Difference]:
    """Compare series point by point, exactly."""
    runs, found = compared.runs, []
    for name in sorted(dict.fromkeys(name for run in runs for name in run.metrics)):
        series = [run.metrics.get(name) for run in runs]
        values = [each.values[-1] if each else MISSING for each in series]
        if any(each is None for each in series):
            missing = compared.named(each is None for each in series)
            found.append(Difference("metric", name, values, why=f"{missing} did not log it"))
            continue
        partings = [_parting(series[0], each) for each in series[1:]]
        if any(each is not None for each in partings):
            first = min((each for each in partings if each is not None), key=lambda each: each[0])
            who = compared.named(each is not None and each[0] == first[0] for each in (None, *partings))
            parting = "they part" if len(runs) == 2 else f"the first to part from {compared.names[0]}: {who},"
            found.append(Difference("metric", name, values, why=_apart(values, series, first, parting)))
        elif compared.every:
            found.append(Difference("metric", name, values, same=True))
    return found


def _parting(one: Series | None, other: Series | None) -> tuple[int, Any] | None:
    """Return the first point in which two series part, as its place and step; None if they are equal."""
    assert one is not None and other is not None
    if one.values == other.values and one.steps == other.steps:
        return None
    for place, (before, after) in enumerate(zip(one.values, other.values)):
        if not same(before, after) or not same(one.steps[place], other.steps[place]):
            return place, one.steps[place]
    if len(one) == len(other):
        return None
    place = min(len(one), len(other))
    return place, (one if len(one) > len(other) else other).steps[place]


def _apart(values: Sequence[Any], series: Sequence[Series | None], first: tuple[int, Any], parting: str) -> str:
    """Say how far apart the last values are, and where series part; `parting` says which of them."""
    lengths = [len(each) for each in series if each is not None]
    place, step = first
    points = counted(lengths[0], "point") if all_same(lengths) else listed(list(map(str, lengths))) + " points"
    where = f"{parting} at step {_short(step)}" if place else f"{parting} at the first point, step {_short(step)}"
    if place and place >= min(lengths):
        where = f"equal as far as both go ({counted(place, 'point')})"
    told = distance(values)
    return f"{told + '; ' if told else ''}{where}; {points}"


# --------------------------------------------------------------------------------------------------------------- output


def _output_differences(compared: Compared) -> list[Difference]:
    """Compare what was printed; what the library itself says of the run's name, folder and duration is passed over."""
    texts = [run.output for run in compared.runs]
    lines = [_lines_that_count(text) for text in texts]
    values = [counted(len(each), "line") for each in lines]
    if all_same(lines):
        return [Difference("output", "output", values, same=True)] if compared.every else []
    other = next(place for place, each in enumerate(lines) if each != lines[0])
    before, after = lines[0], lines[other]
    place = next((i for i, pair in enumerate(zip(before, after)) if pair[0] != pair[1]), min(len(before), len(after)))
    firsts = [each[place] if place < len(each) else MISSING for each in lines]
    labels = (f"{compared.names[0]}/output", f"{compared.names[other]}/output")
    detail = unified("\n".join(before), "\n".join(after), labels, compared.context)
    why = "" if detail else f"more than {MOST_DIFFED_LINES:,} lines part: they are not laid side by side"
    return [Difference("output", f"line {place + 1}", firsts, why=why, detail=detail)]


#: what the library itself prints of a run: its name, where it is stored, how long it took
_OWN_LINES = (
    r" - (Started run with ID \".*|(Completed|Failed|Aborted) after (\d+ days?, )?\d+:\d\d:\d\d(\.\d+)?!?"
    r"|ID \".*\" is taken in .*|Running command '.*'|No observers have been added to this run)$"
)


def _lines_that_count(text: str) -> list[str]:
    import re

    is_own = re.compile(_OWN_LINES).search
    return [line for line in text.splitlines() if not (" - " in line and is_own(line))]


# ---------------------------------------------------------------------------------------------------------------- usage


def _usage_differences(compared: Compared) -> list[Difference]:
    """Tell what the runs took; it differs always, and is told, not counted."""
    tables = []
    for run, usage in zip(compared.runs, compared.facts("usage")):
        table: dict[str, Any] = {} if run.duration is None else {"duration": run.duration}
        table.update({name: usage[name] for name in ("cpu_s", "peak_memory_bytes") if name in usage})
        tables.append(table)
    found = _plain(compared, "usage", tables)
    for each in found:
        each.why = each.why.rpartition(", ")[2] if each.why.endswith(("%", "times")) else ""
    return found


# --------------------------------------------------------------------------------------------------- what outcomes tell


def are_close(compared: Compared, outcomes: Sequence[Difference]) -> bool:
    """Say whether all results and metrics that differ are numbers that differ by rounding at most, at every point."""
    numbers = [each for each in outcomes if each.kind in ("result", "metric") and not each.same]
    if not numbers or not all(_close(each.values) for each in numbers):
        return False
    metrics = [each.name for each in numbers if each.kind == "metric"]
    return all(_close_series([run.metrics[name] for run in compared.runs]) for name in metrics)


def _close_series(series: Sequence[Series]) -> bool:
    if not all(each.steps == series[0].steps for each in series):
        return False
    return all(all_same(points) or _close(points) for points in zip(*(each.values for each in series)))


def _close(values: Sequence[Any]) -> bool:
    """Say whether numbers are the same but for rounding."""
    if not all(_is_number(value) for value in values):
        return False
    largest = max(abs(value) for value in values)
    try:
        return all(abs(value - values[0]) <= CLOSE * largest for value in values)
    except OverflowError:  # an integer beyond the range of floats: whole numbers are not rounded
        return False
