"""The stores that are known on this machine, and what is waiting for them."""

from __future__ import annotations

import os

from capture.errors import CaptureError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

TIMEOUT_S = 5.0  #: how long a store has to answer
STATES_UP_TO = 20_000  #: runs up to which their states are counted
FILES_UP_TO = 200_000  #: files up to which the size of a folder is measured


class KnownStore:
    """A store that somebody on this machine has named.

    Attributes
    ----------
    url : str
        Without credentials.
    reasons : list of str
        Who names it.
    waiting : int
        Journals that hold something which it has not got.
    reachable : bool or None
        None before `look`.
    problem : str
        Why it cannot be read; "" if it can.
    runs : int or None
    states : dict of str to int
        How many runs are in each state; empty where that would take long.
    binned : int or None
        Runs in the bin.
    size : int or None
        Bytes on this machine's disk; None for others, and where that would take long.
    """

    def __init__(self, location: str, url: str, reason: str) -> None:
        self._location, self.url, self.reasons = location, url, [reason]
        self.waiting = 0
        self.reachable: bool | None = None
        self.problem = ""
        self.runs: int | None = None
        self.states: dict[str, int] = {}
        self.binned: int | None = None
        self.size: int | None = None

    def look(self) -> None:
        """Ask the store what is in it; what goes wrong is noted."""
        from capture.registry import open_curator, open_reader

        try:
            place = local_place(self._location)
            if place is not None and not os.path.exists(place):
                self.reachable, self.problem = False, "nothing is there: it is made by the first run"
                return
            reader: Any = open_reader(self._location)
            try:
                if hasattr(reader, "check_exists"):
                    reader.check_exists()
                self.runs = len(reader.labels())
                self.reachable = True
                self.states = states_of(reader) if self.runs <= STATES_UP_TO else {}
                self.size = size_of(place) if place is not None else None
            finally:
                reader.close()
            curator: Any = open_curator(self._location)
            try:
                self.binned = len(curator.binned())
            finally:
                if hasattr(curator, "close"):
                    curator.close()
        except Exception as error:  # noqa: BLE001 - drivers of all kinds; why a store cannot be read is the answer
            self.reachable = bool(self.reachable)
            self.problem = str(error) if isinstance(error, CaptureError) else f"{type(error).__name__}: {error}"

    def to_dict(self) -> dict[str, Any]:
        """Return the attributes as plain data."""
        return {name: value for name, value in vars(self).items() if not name.startswith("_")}

    def __repr__(self) -> str:
        return f"KnownStore({self.url!r}, {self.reasons})"


def known_stores(*further: str) -> list[KnownStore]:
    """Return the stores that settings, journals and folders name, the default store first.

    Parameters
    ----------
    further : str
        URLs that are listed, too.
    """
    from capture.settings import SETTINGS

    found: dict[str, KnownStore] = {}
    default = SETTINGS.STORE
    origin = SETTINGS.origin("STORE")
    if default.lower() != "none":
        _add(found, default, "default store" if origin == "library" else f"default store, set by {origin}")
    for layer, value in SETTINGS.layers("STORE"):
        if value != default and isinstance(value, str) and value.lower() != "none":
            _add(found, value, layer)
    for url in further:
        _add(found, url, "named")
    if os.path.isdir("runs"):
        _add(found, "./runs", "folder here")
    for identity, count in waiting().items():
        _add(found, identity, "journals").waiting = count
    return list(found.values())


def _add(found: dict[str, KnownStore], location: str, reason: str) -> KnownStore:
    from capture.secrets import redact_url

    identity = identity_of_url(location) or redact_url(location)
    if identity in found:
        found[identity].reasons += [reason] if reason not in found[identity].reasons else []
    else:
        found[identity] = KnownStore(location, identity, reason)
    return found[identity]


def identity_of_url(location: str) -> str | None:
    """Return what names the store behind a URL, without credentials; None where that cannot be told."""
    from capture.calls import identity_of
    from capture.registry import make_observer
    from capture.secrets import redact_url

    try:
        identity = identity_of(make_observer(location))
    except Exception as error:  # noqa: BLE001 - no such scheme, no driver: `look` tells
        from capture.complaints import logger

        logger().debug("%s has no identity: %s", redact_url(location), error)
        return None
    return identity


def local_place(location: str) -> str | None:
    """Return the folder or file of this machine in which a store is; None for others."""
    from capture.registry import make_observer

    observer: Any = make_observer(location)
    return getattr(observer, "local_folder", None) or getattr(observer, "local_file", None)


def waiting() -> dict[str, int]:
    """Return how many journals of runs that do not go on hold something for a store, by its identity."""
    from capture.acks import Acknowledged, read_acks
    from capture.journal import acks_path, list_journals, opened_of, state_dirs
    from capture.liveness import probe
    from capture.stores import default_folder

    counts: dict[str, int] = {}
    for state in state_dirs(default_folder()):
        for path in list_journals(state):
            opened = opened_of(path)
            if opened is None or probe(path) == "alive":
                continue
            known = read_acks(acks_path(path))
            for observer in opened.observers:
                identity = observer.get("identity")
                far = known.get(str(identity), Acknowledged())
                if identity and observer.get("replay", True) and not (far.done and not far.missed):
                    counts[identity] = counts.get(identity, 0) + 1
    return counts


def look_at_all(stores: list[KnownStore], timeout_s: float = TIMEOUT_S) -> None:
    """Ask all stores side by side; one that does not answer in time is not reachable."""
    import threading
    from time import monotonic

    def look(original: KnownStore, copy: KnownStore) -> None:
        copy.look()
        done.add(id(original))

    done: set[int] = set()
    copies = []
    for store in stores:
        copy = KnownStore(store._location, store.url, "")
        copy.reasons, copy.waiting = store.reasons, store.waiting
        thread = threading.Thread(target=look, args=(store, copy), name="capture-look", daemon=True)
        thread.start()
        copies.append((store, copy, thread))
    until = monotonic() + timeout_s
    for store, copy, thread in copies:
        thread.join(max(until - monotonic(), 0))
        if id(store) in done:
            vars(store).update(vars(copy))
        else:
            store.reachable, store.problem = False, f"no answer within {timeout_s:g} s"


def states_of(reader: Any) -> dict[str, int]:
    """Return how many runs are in each state, DIED among them, the most frequent first."""
    counts: dict[str, int] = {}
    for record in reader.find():
        state = record.status
        if state == "RUNNING" and reader.is_alive(record) is False:
            state = "DIED"
        counts[state] = counts.get(state, 0) + 1
    return dict(sorted(counts.items(), key=lambda each: -each[1]))


def size_of(path: str) -> int | None:
    """Return the bytes of a file, or of all files in a folder; None if there are too many to look at."""
    if not os.path.isdir(path):
        return os.stat(path).st_size
    total = count = 0
    seen: set[tuple[int, int]] = set()  # files that have several names take their place once
    for folder, _, names in os.walk(path):
        for name in names:
            try:
                info = os.lstat(os.path.join(folder, name))
            except OSError:  # deleted meanwhile
                continue
            if info.st_nlink > 1 and (info.st_dev, info.st_ino) in seen:
                continue
            seen.update([(info.st_dev, info.st_ino)] if info.st_nlink > 1 else ())
            total, count = total + info.st_size, count + 1
        if count > FILES_UP_TO:
            return None
    return total
