"""What a run used: time, memory, bytes read and written. Taken twice, in microseconds."""

from __future__ import annotations

import os
import sys
import time

from capture.hooks import Unavailable
from capture.probes._files import pairs, read

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: fact -> field of `resource.getrusage`
_COUNTED = {
    "page_faults": "ru_majflt",
    "page_reclaims": "ru_minflt",
    "context_switches_voluntary": "ru_nvcsw",
    "context_switches_involuntary": "ru_nivcsw",
}
_MAXRSS_UNIT = 1 if sys.platform == "darwin" else 1024  #: bytes
#: fact -> line of /proc/self/io
_IO = {
    "read_bytes": "rchar",
    "written_bytes": "wchar",
    "disk_read_bytes": "read_bytes",
    "disk_written_bytes": "write_bytes",
}

_at_work: set[Usage] = set()  # of the runs of this process that have begun and not ended


class Usage:
    """What this process has used when a run began, to tell at its end what was used since.

    Everything is counted for the process, as systems do it. Of a run that is not alone in its process, `facts` says
    so, and how many others there were.
    """

    def __init__(self) -> None:
        self._pid = os.getpid()
        self._began = time.monotonic()
        self._cpu = _cpu_seconds()
        self._counts = _counts()
        self._peak = _peak_bytes()
        self._children_peak = _children_peak_bytes()
        # As another thread may begin a run now, work is done on copies; a count that is off by one in that moment is
        # the price of having no lock that a fork could leave held.
        others = [usage for usage in tuple(_at_work) if usage._pid == self._pid]
        self._others = len(others)
        for usage in others:
            usage._others += 1
        _at_work.add(self)

    def facts(self, ended: float | None = None) -> dict[str, Any]:
        """Return what was used since the beginning; the run has ended.

        Parameters
        ----------
        ended : float, optional
            `time.monotonic` when the run ended; now by default.

        Returns
        -------
        dict
            - ``wall_s``; ``cpu_s``, which is the sum of ``cpu_user_s``, ``cpu_system_s`` and, of child processes that
              were waited for, ``cpu_children_user_s`` and ``cpu_children_system_s``.
            - ``peak_memory_bytes``: the most resident memory that the *process* ever had; ``peak_memory_within``:
              "run" if that was reached after the run began, "process" if it was before: then the run had at most that.
            - ``children_peak_memory_bytes``: that of the largest child that was waited for, where it is one of the
              run's; 0 without such a child.
            - ``page_faults`` (read from disk), ``page_reclaims``, ``context_switches_voluntary``,
              ``context_switches_involuntary``.
            - ``read_bytes``, ``written_bytes``: by system calls, of this process; ``disk_read_bytes``,
              ``disk_written_bytes``: those that reached a disk.
            - ``other_runs``: runs of this process that were at work at the same time; their usage is counted here, too.

            What the system does not count is `Unavailable`.
        """
        _at_work.discard(self)
        if os.getpid() != self._pid:
            return {"other_runs": Unavailable("this process was forked from the one of the run")}
        spent = [round(now - before, 6) for now, before in zip(_cpu_seconds(), self._cpu)]
        peak, children_peak = _peak_bytes(), _children_peak_bytes()
        facts: dict[str, Any] = {
            "wall_s": round((time.monotonic() if ended is None else ended) - self._began, 6),
            "cpu_s": round(sum(spent), 6),
            "cpu_user_s": spent[0],
            "cpu_system_s": spent[1],
            "cpu_children_user_s": spent[2],
            "cpu_children_system_s": spent[3],
            "peak_memory_bytes": peak,
        }
        if isinstance(peak, int) and isinstance(self._peak, int):
            facts["peak_memory_within"] = "run" if peak > self._peak else "process"
        if isinstance(children_peak, int) and isinstance(self._children_peak, int):
            facts["children_peak_memory_bytes"] = children_peak if children_peak > self._children_peak else 0
        return {**facts, **_since(self._counts, _counts()), "other_runs": self._others}


def _cpu_seconds() -> tuple[float, float, float, float]:
    """Return seconds of this process and of the children it has waited for: user, system, user, system."""
    if sys.platform == "win32":
        return os.times()[:4]
    # os.times counts in ticks of 10 ms
    import resource

    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime, own.ru_stime, children.ru_utime, children.ru_stime


def _peak_bytes() -> int | Unavailable:
    if sys.platform == "linux":
        # getrusage says what the program had that was replaced by this one, too, if that was more.
        number = pairs(read("/proc/self/status")).get("VmHWM", "").partition(" ")[0]
        if number.isdecimal():
            return int(number) * 1024
    if sys.platform == "win32":
        from capture._system import windows_peak_memory

        return windows_peak_memory() or Unavailable("Windows does not tell")
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _MAXRSS_UNIT


def _children_peak_bytes() -> int | Unavailable:
    if sys.platform == "win32":
        return Unavailable("Windows does not tell")
    import resource

    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * _MAXRSS_UNIT


def _counts() -> dict[str, int | Unavailable]:
    found: dict[str, int | Unavailable] = {}
    if sys.platform != "win32":
        import resource

        usage = resource.getrusage(resource.RUSAGE_SELF)
        found.update({fact: getattr(usage, field) for fact, field in _COUNTED.items()})
    told = pairs(read("/proc/self/io", 4096))  # Linux only; some containers do not let it be read
    for fact, name in _IO.items():
        number = told.get(name, "")
        found[fact] = int(number) if number.isdecimal() else Unavailable("this system does not tell")
    return found


def _since(before: dict[str, int | Unavailable], now: dict[str, int | Unavailable]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for fact, value in now.items():
        first = before[fact]
        told = isinstance(value, int) and isinstance(first, int)
        found[fact] = value - first if told else value  # type: ignore[operator]  # both are numbers
    return found
