"""What a run appends while it goes on, in files beside its record: measurements, and what it printed.

A record that is one JSON document cannot take a million points, nor be written anew for every line of output. So both
lie in a folder of the run, as ``metrics.jsonl`` and ``cout.txt``, and the record knows how far it speaks of them.
"""

from __future__ import annotations

import os

from capture import plainjson
from capture.observers import _atomic
from capture.observers._writing import joined
from capture.records import summarize

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

METRICS = "metrics.jsonl"
OUTPUT = "cout.txt"

_HELD = 256 << 10  #: bytes of output or measurements that are held in memory before they are written


class Streams:
    """Measurements and output of a run that is being written.

    Parameters
    ----------
    folder : str
        Made when there is something to write.
    shared : bool
        Whether the files are open to the group, whatever the umask says.
    known_end : int
        Bytes of ``metrics.jsonl`` of which the record knows by ``seqs``. What lies behind was written by a process that
        died before it could say so.
    seqs : mapping of str to int
        By writer: the last event that the record knows of.
    ahead : iterable of (str, int)
        Batches before `known_end` of which `seqs` does not say so.
    """

    def __init__(
        self,
        folder: str,
        shared: bool = False,
        known_end: int = 0,
        seqs: Mapping[str, int] | None = None,
        ahead: Iterable[tuple[str, int]] = (),
    ) -> None:
        self.folder, self.shared = folder, shared
        self.unsynced: set[str] = set()  #: files that are not on the disk yet
        self._output: list[tuple[int | None, bytes]] = []
        self._metrics: list[bytes] = []
        self._held = 0
        self._unspoken = {*ahead, *self._batches_beyond(known_end, seqs or {})}

    def file(self, name: str) -> str:
        return os.path.join(self.folder, name)

    def add_output(self, text: str, offset: int | None) -> None:
        """Replace the output from byte `offset` on; None appends."""
        data = text.encode("utf-8", "surrogatepass")
        self._make_room(len(data))
        self._output.append((offset, data))

    def add_metrics(self, line: bytes, writer: str, seq: int) -> None:
        """Append one encoded batch, unless a process that died had written it."""
        if (writer, seq) in self._unspoken:
            self._unspoken.discard((writer, seq))
            return
        from capture.observers._series import mark_writer

        self._make_room(len(line))
        self._metrics.append(mark_writer(line, writer))

    def _make_room(self, size: int) -> None:
        """Write what is held if more would be much; what comes is held later, since it comes again if this fails."""
        if self._held and self._held + size > _HELD:
            with _atomic.Lock(self.folder):
                self.write()
        self._held += size

    def is_dirty(self) -> bool:
        """Say whether something waits to be written."""
        return bool(self._output or self._metrics)

    def write(self) -> None:
        """Append what is held; whoever calls holds the lock of the run."""
        if self._metrics:
            self._write_metrics()
        if self._output:
            self._write_output()
        self._held = 0

    def sync(self) -> None:
        """Put on the disk what was written."""
        for path in sorted(self.unsynced):
            _atomic.sync(path)
        self.unsynced.clear()

    def _write_metrics(self) -> None:
        descriptor = self._open(METRICS)
        try:
            _atomic.append(descriptor, b"".join(self._metrics))
        finally:
            os.close(descriptor)
        self._metrics.clear()

    def _write_output(self) -> None:
        self._output = joined(self._output)
        descriptor = self._open(OUTPUT)
        try:
            _atomic.write_pieces(descriptor, self._output)
        finally:
            os.close(descriptor)

    def _open(self, name: str) -> int:
        path = self.file(name)
        self.unsynced.add(path)
        try:
            return os.open(path, os.O_RDWR | getattr(os, "O_BINARY", 0))
        except FileNotFoundError:
            _atomic.ensure_folder(self.folder, self.shared)
            return _atomic.create(path, self.shared)

    def _batches_beyond(self, known_end: int, seqs: Mapping[str, int]) -> set[tuple[str, int]]:
        """Return the batches that were written before their seq was, by a process that died."""
        path = self.file(METRICS)
        if not os.path.exists(path):
            return set()
        from capture.observers._series import mend_lines

        return mend_lines(path, known_end, seqs)[0]


def extend_summary(
    summary: dict[str, dict[str, Any]], path: str, start: int
) -> tuple[dict[str, dict[str, Any]], int, set[tuple[str, int]]]:
    """Return the summary of the series in a ``metrics.jsonl``, how many of its bytes that speaks of, and what is new.

    Parameters
    ----------
    summary : dict
        That of the first `start` bytes, by the stored names of the series.
    path : str
    start : int

    Returns
    -------
    summary : dict
    end : int
    places : set of (str, int)
        Writer and seq of the batches between `start` and `end`.
    """
    places: set[tuple[str, int]] = set()
    try:
        stream = open(path, "rb")  # noqa: SIM115 - closed below, a missing file is no error
    except FileNotFoundError:
        return summary, start, places
    new = dict(summary)
    with stream:
        stream.seek(start)
        for line in stream:
            if not line.endswith(b"\n"):
                break
            start += len(line)
            try:
                batch = plainjson.loads(line)
                columns, begin = batch["columns"], batch["start"]
                places.add((batch.get("w", "main"), batch.get("s", 0)))
            except (ValueError, KeyError, TypeError):  # who reads the series says so
                continue
            for name, column in columns.items():
                new[name] = summarize(column, begin, new.get(name))
    return new, start, places
