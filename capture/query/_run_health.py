"""What is wrong with the runs of a store: records that cannot be read, and runs that say that they are going on."""

from __future__ import annotations

from capture.errors import CaptureError
from capture.query._finding import Finding
from capture.wording import counted, first_few

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from capture.hooks import Reader
    from capture.records import RunRecord

LONG_DEAD_S = 7 * 86_400.0  #: a run that died before that is no news
MOST_UNREADABLE = 8  #: of which each is said
SKEW_S = 60.0  #: seconds by which the clocks of two machines may differ


def records(reader: Reader, labels: list[Any]) -> Iterator[Finding]:
    """Look whether each run can be read: itself, where a store answers questions about many from an index."""
    from capture.query.verifying import is_lost

    from_index = getattr(reader, "finds_by_index", False)
    found = set() if from_index else {str(record.label) for record in reader.find()}
    unreadable, damaged = [], []
    for label in labels:
        if str(label) not in found:
            try:
                damaged += [(label, loss) for loss in reader.get(label).losses]
            except CaptureError as error:
                if is_lost(error):
                    raise
                unreadable.append((label, str(error).partition("\n")[0]))
    if unreadable:  # not among them is what somebody has put into the bin meanwhile
        there = set(map(str, reader.labels()))
        unreadable = [each for each in unreadable if str(each[0]) in there]
    for label, problem in unreadable[:MOST_UNREADABLE]:
        left, remedy = _left_of(reader, label)
        yield Finding("problem", f"run {label} cannot be read: {problem}{left}", remedy)
    if len(unreadable) > MOST_UNREADABLE:
        yield Finding("problem", f"{len(unreadable) - MOST_UNREADABLE} more runs cannot be read")
    for label, loss in damaged[:MOST_UNREADABLE]:
        remedy = f"{loss.remedy}; capture verify {label} looks at the rest of it"
        yield Finding("problem", f"run {label} is damaged: {loss.text}", remedy)
    if len(damaged) > MOST_UNREADABLE:
        text = f"{counted(len(damaged) - MOST_UNREADABLE, 'more loss', 'more losses')} of runs that are damaged"
        yield Finding("problem", text, "capture verify --all tells of each")


def _left_of(reader: Any, label: Any) -> tuple[str, str]:
    """Say what is left of a run that cannot be read, as a further line, and what to do."""
    away = f"capture rm {label} puts it into the bin as it is, and deletes nothing"
    if not hasattr(reader, "left_of"):
        return "", f"bring its record back from a backup; {away}"
    whole, damaged = reader.left_of(label)
    left = f"\nwhole: {', '.join(whole) or 'nothing'}; damaged or missing: {', '.join(damaged) or 'nothing'}"
    if not damaged:
        return left, away
    return left, f"bring {' and '.join(damaged)} back from a backup, and all of the run is there again; else {away}"


def running(reader: Reader) -> Iterator[Finding]:
    """Look at the runs that say that they are going on."""
    from capture.query.keeping import SILENT_S, silence

    kinds: dict[str, list[RunRecord]] = {"died": [], "silent": [], "stuck": [], "ahead": []}
    for record in reader.find({"status": "RUNNING"}):
        alive, age = reader.is_alive(record), silence(record)
        if alive is False:
            kinds["died"].append(record)
        elif age is not None and age < -SKEW_S:
            kinds["ahead"].append(record)
        elif alive is None and (age is None or age > SILENT_S):
            kinds["silent"].append(record)
        elif alive and age is not None and age > SILENT_S:
            kinds["stuck"].append(record)
    if kinds["died"]:
        yield from _died(kinds["died"])
    if kinds["silent"]:
        text = f"{_named(kinds['silent'])}: RUNNING elsewhere, without a sign of life for {SILENT_S / 60:.0f} min"
        yield Finding("warning", text, "see whether it lives there; if not, capture sync there delivers the rest")
    if kinds["stuck"]:
        text = f"{_named(kinds['stuck'])}: the process lives, and sent no heartbeat for {SILENT_S / 60:.0f} min"
        yield Finding("warning", text, "it is stopped, or does not reach this store: see its log")
    if kinds["ahead"]:
        text = f"{_named(kinds['ahead'])}: heartbeats come from the future: the clocks of two machines differ"
        yield Finding("warning", text, "set the clocks by NTP: whether a run lives elsewhere is told by time")


def _died(records: list[RunRecord]) -> Iterator[Finding]:
    """Tell of dead runs: something is to be done where a journal waits; of those of long ago the number is said."""
    from capture.delivery import Report
    from capture.journal import list_journals, state_dirs
    from capture.query.keeping import silence
    from capture.stores import default_folder

    uids = {Report(path).uid for folder in state_dirs(default_folder()) for path in list_journals(folder)}
    waiting = [record for record in records if record.uid in uids]
    others = [record for record in records if record.uid not in uids]
    old = [record for record in others if (silence(record) or 0.0) > LONG_DEAD_S]
    fresh = [record for record in others if record not in old]
    gone = "the record says RUNNING, and the process is gone (DIED)"
    if waiting:
        remedy = "capture sync delivers what they left; capture show RUN --out shows how far they came"
        yield Finding("warning", f"{_named(waiting)}: {gone}", remedy)
    nothing = "nothing waits to be delivered"
    remedy = "capture show RUN --out shows how far they came; capture tag marks one as looked at, capture rm bins it"
    if fresh:
        yield Finding("note", f"{_named(fresh)}: {gone}; {nothing}", remedy)
    if old:
        days = f"{LONG_DEAD_S / 86_400:.0f} days"
        text = f"{counted(len(old), 'run')} DIED more than {days} ago; {nothing}"
        yield Finding("note", text, "capture ls died lists them, capture rm bins them")


def _named(records: list[RunRecord]) -> str:
    return f"{'run' if len(records) == 1 else 'runs'} {first_few([str(record.label) for record in records])}"
