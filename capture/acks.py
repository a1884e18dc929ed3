"""What observers have acknowledged of a journal: a file of JSON lines beside it.

Each line tells what is new of one observer, named by its identity::

    {"identity": "file:///home/x/runs", "seq": 17, "label": "3", "missed": [9], "made_up": [], "done": false}

Later lines add to earlier ones: `seq` and `label` replace, `missed` grows, `made_up` takes from it again. A torn last
line is ignored. All of it may lag behind: then events are delivered twice, which stores notice.
"""

from __future__ import annotations

import os
import threading

from capture import plainjson
from capture.codec import Opaque, decode, encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Acknowledged:
    """How far one observer is.

    Attributes
    ----------
    seq : int
        Everything up to here is stored by it, but for what it missed.
    label : object
        The id that it gave the run.
    missed : set of int
        Events that it refused.
    done : bool
        It has the end, and was joined.
    """

    def __init__(self) -> None:
        self.seq = 0
        self.label: Any = None
        self.missed: set[int] = set()
        self.done = False

    def __repr__(self) -> str:
        return f"Acknowledged(seq={self.seq}, label={self.label!r}, missed={sorted(self.missed)}, done={self.done})"


class Acks:
    """Appends to the file; made when the first line comes. Lanes write to it at the same time."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._descriptor: int | None = None
        self._closed = False

    def write(
        self,
        identity: str,
        seq: int,
        label: Any = None,
        missed: tuple[int, ...] = (),
        made_up: tuple[int, ...] = (),
        done: bool = False,
    ) -> None:
        """Add a line; OSError if the disk refuses."""
        line: dict[str, Any] = {"identity": identity, "seq": seq}
        if label is not None:
            line["label"] = encode(label)
        line.update({"missed": list(missed)} if missed else {})
        line.update({"made_up": list(made_up)} if made_up else {})
        line["done"] = done
        data = plainjson.dumps(line, separators=(",", ":")).encode() + b"\n"
        with self._lock:
            if self._closed:
                return
            if self._descriptor is None:
                flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0)
                self._descriptor = os.open(self.path, flags, 0o600)
                if os.fstat(self._descriptor).st_size:
                    data = b"\n" + data  # the last line of one that died may be torn
            _write(self._descriptor, data)

    def close(self) -> None:
        with self._lock:
            self._closed = True
            descriptor, self._descriptor = self._descriptor, None
            if descriptor is not None:
                os.close(descriptor)


_write = os.write  # tests put deaths here


def read_acks(path: str) -> dict[str, Acknowledged]:
    """Return how far each observer is, by identity; empty if there is no such file."""
    found: dict[str, Acknowledged] = {}
    try:
        with open(path, "rb") as file:
            data = file.read()
    except FileNotFoundError:
        return found
    for text in data.split(b"\n"):
        try:
            line = plainjson.loads(text)
            known = found.setdefault(str(line["identity"]), Acknowledged())
            known.seq = max(known.seq, int(line["seq"]))
            label = decode(line.get("label"))
            if label is not None and not isinstance(label, Opaque):
                known.label = label
            known.missed |= set(line.get("missed", ()))
            known.missed -= set(line.get("made_up", ()))
            known.done = known.done or bool(line.get("done"))
        except (ValueError, KeyError, TypeError):
            continue  # torn, or empty
    return found
