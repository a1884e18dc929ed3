"""What lies in a TinyDB store, as its readers keep it in memory: read again where it changed."""

from __future__ import annotations

import os
import re

from capture import plainjson
from capture.codec import decode
from capture.observers import _atomic
from capture.observers._tinydb_file import key_of, read_lines
from capture.observers._tinydb_store import TinyStore
from capture.observers._tinydb_values import moment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

#: how a line of ours begins: what tells one run from another is there without the rest being parsed
_BEGINNING = re.compile(
    rb'\{"_id":[^{}]*?,"format":"[^"]*","capture":\{"format":\d+,"version":"[^"]*","uid":"([^"\\]*)","created":(\d+)[,}]'
)

_TOGETHER = 100  #: entries that are parsed at once

_GONE: Any = object()  # in place of the entry in a file that is not there any more


class Row:
    """One entry, as it is stored; parsed when somebody asks for it.

    Attributes
    ----------
    label : object
    uid : str
        "" if Sacred made it.
    age : tuple of int
        What sorts runs by when they came into the store; Sacred's by their start.
    number : str
        TinyDB's ``doc_id``; "" if the run is not in ``metadata.json`` yet.
    """

    __slots__ = ("_data", "_entry", "age", "label", "number", "plain_uid", "uid")

    def __init__(self, data: bytes, number: str = "", key: bytes | None = None) -> None:
        self._data = data
        self._entry: dict[str, Any] | None = None
        self.number = number
        begins = _BEGINNING.match(data) if key is not None else None
        if begins is not None and key is not None:
            self.label = decode(plainjson.loads(key))
            self.uid = begins[1].decode("ascii")
            self.age = (int(begins[2]), int(number or 0))
        else:
            self.label = decode(self.entry.get("_id", number))
            self.uid = str(decode(self.own.get("uid", "")))
            self.age = (self._created(), int(number or 0))
        self.plain_uid = self.uid.replace("-", "").lower()

    def _created(self) -> int:
        created = self.own.get("created")
        if isinstance(created, int):
            return created
        started = moment(self.entry.get("start_time"), f"run {self.label}")
        return int(started.timestamp() * 1e6) if started is not None else 0

    @property
    def entry(self) -> dict[str, Any]:
        """The entry; an empty one for a document that is none."""
        entry, data = self._entry, self._data
        if entry is None:
            parsed = plainjson.loads(data or b"{}") if self._entry is None else self._entry
            entry = self._entry = parsed if isinstance(parsed, dict) else {}
            self._data = b""
        return entry

    @property
    def unparsed(self) -> str:
        """The entry as it is stored; "" if it was parsed."""
        return self._data.decode("utf-8", "replace") if self._entry is None else ""

    def take(self, parsed: Any) -> None:
        """Take what somebody has parsed."""
        if self._entry is None and isinstance(parsed, dict):
            self._entry, self._data = parsed, b""

    @property
    def own(self) -> dict[str, Any]:
        """What is under ``capture``."""
        own = self.entry.get("capture")
        return own if isinstance(own, dict) else {}


def parsed(rows: Sequence[Row]) -> Iterator[Row]:
    """Yield rows whose entries are parsed by the hundred, each soon after it was: it is then still close at hand.

    The collector of cycles stands still while they are: it would go through all that is there, again and again, and
    find nothing; three times the time for ten thousand runs.
    """
    import gc

    for start in range(0, len(rows), _TOGETHER):
        some = rows[start : start + _TOGETHER]
        was_enabled = gc.isenabled()
        gc.disable()
        try:
            waiting = [(row, text) for row in some if (text := row.unparsed)]
            for (row, _), entry in zip(waiting, plainjson.loads_each([text for _, text in waiting])):
                row.take(entry)
        finally:
            if was_enabled:
                gc.enable()
        yield from some


class Snapshot:
    """What lies in a store, read again where it changed.

    Parameters
    ----------
    store : TinyStore
    """

    def __init__(self, store: TinyStore) -> None:
        self._store = store
        self._state: Any = None
        self._metadata: tuple[int, ...] | None = None
        self._settled: dict[bytes, Row] = {}
        self._lines: dict[str, tuple[int, Row]] = {}
        self._files: dict[str, tuple[tuple[int, ...], Row | None]] = {}
        self._rows: list[Row] = []
        self._binned: list[Row] = []
        self._by_label: dict[str, Row] = {}
        self.unreadable: dict[str, str] = {}  #: what is wrong with files of runs in sight, by their names

    def rows(self, binned: bool = False) -> list[Row]:
        """Return the runs in sight, or those in the bin, oldest first."""
        self._refresh()
        return self._binned if binned else self._rows

    def row(self, label: str, binned: bool = False) -> Row | None:
        """Return the run in sight, or in the bin, whose label is written so; of several the newest."""
        self._refresh()
        if binned:
            return next((row for row in reversed(self._binned) if str(row.label) == label), None)
        return self._by_label.get(label)

    def _refresh(self) -> None:
        while not self._has_read():
            pass

    def _has_read(self) -> bool:
        """Read what changed; false if a run moved meanwhile, from a file that was not read yet into one that was."""
        live = [(path, _atomic.signature(path)) for path in self._store.live_files()]
        binned = [(path, _atomic.signature(path)) for path in self._store.binned_files()]
        metadata = _atomic.signature(self._store.metadata)
        state = (live, binned, metadata)
        if state == self._state:
            return True
        if metadata != self._metadata:
            self._settled = self._read_settled()
            self._metadata = metadata
        rows, unreadable = dict(self._settled), {}
        for path, known in live:
            row = self._read_file(path, known)
            if row is _GONE:
                return False
            if row is None:
                unreadable[os.path.basename(path)] = f"{path} is not readable as JSON"
            if row is not None:
                key = key_of(row.entry.get("_id"))
                if key in rows:
                    row.number = rows[key].number
                rows[key] = row
        out = [row for path, known in binned if (row := self._read_file(path, known)) not in (None, _GONE)]
        for row in out:
            rows.pop(key_of(row.entry.get("_id")), None)
        self._files = {path: self._files[path] for path, _ in (*live, *binned) if path in self._files}
        self._rows = sorted(rows.values(), key=lambda row: row.age)
        self._binned = sorted(out, key=lambda row: row.age)
        self._by_label = {str(row.label): row for row in self._rows}
        self._state, self.unreadable = state, unreadable
        return True

    def _read_settled(self) -> dict[bytes, Row]:
        """Return the runs in ``metadata.json``; lines that are as they were are not parsed again."""
        rows: dict[bytes, Row] = {}
        lines: dict[str, tuple[int, Row]] = {}
        for line in read_lines(self._store.metadata)[1]:
            check = hash(line.data)
            known = self._lines.get(line.number)
            if known is None or known[0] != check:
                known = (check, Row(line.data, line.number, line.key))
            lines[line.number] = known
            # Sacred makes a second document for an id that is asked for again: both stay in sight.
            key = line.key if line.key is not None and line.key not in rows else line.number.encode("ascii") + b"#"
            rows[key] = known[1]
        self._lines = lines
        return rows

    def _read_file(self, path: str, known: tuple[int, ...]) -> Any:
        """Return the entry in a file, `_GONE` if it is not there any more, None if it is not readable."""
        found = self._files.get(path)
        if found is None or found[0] != known:
            try:
                with open(path, "rb") as stream:
                    data = stream.read()
            except FileNotFoundError:
                return _GONE
            try:
                found = (known, Row(data or b"an empty file"))
            except ValueError as error:  # a power cut may leave an empty one
                from capture.observers._writing import log

                log().error("A run was left out: %s is not readable as JSON: %s", path, error)
                found = (known, None)
            self._files[path] = found
        return found[1]
