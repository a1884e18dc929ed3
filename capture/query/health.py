"""Is everything as it should be? The installation, the state folder and what waits in it, a store and its runs.

Nothing is changed by asking, but for a lock file that is made in the state folder and deleted at once.
"""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager

from capture.errors import CaptureError
from capture.wording import counted, format_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

    from capture.hooks import Reader
    from capture.records import RunRecord

LEVELS = ("ok", "note", "warning", "problem")  #: from well to bad

#: what has to be there, module -> distribution
REQUIRED = {
    "wrapt": "wrapt",
    "docopt": "docopt-ng",
    "git": "GitPython",
    "jsonpickle": "jsonpickle",
    "cpuinfo": "py-cpuinfo",
    "rich": "rich",
}
LONG_DEAD_S = 7 * 86_400.0  #: a run that died before that is no news
OLD_S = 30 * 86_400.0  #: a journal that has been waiting for so long is probably forgotten
LITTLE_BYTES = 1_000_000_000  #: of free space, below which it is said
NONE_BYTES = 50_000_000  #: below which runs are about to fail
SKEW_S = 60.0  #: seconds by which the clocks of two machines may differ
TIMEOUT_S = 30.0  #: how long a store may say nothing
_SHOWN = 8  #: runs or files that are named


class Finding:
    """Something that was looked at.

    Attributes
    ----------
    level : str
        One of `LEVELS`: "note" is worth knowing, "warning" may cost something, "problem" has to be mended.
    area : str
        "installation", "state" or "store".
    text : str
    remedy : str
        What to do; "" if nothing is to be done.
    """

    __slots__ = ("area", "level", "remedy", "text")

    def __init__(self, level: str, area: str, text: str, remedy: str = "") -> None:
        self.level, self.area, self.text, self.remedy = level, area, text, remedy

    def to_dict(self) -> dict[str, str]:
        """Return the attributes as plain data."""
        return {name: getattr(self, name) for name in ("level", "area", "text", "remedy")}

    def __repr__(self) -> str:
        return f"Finding({self.level!r}, {self.area!r}, {self.text!r}, {self.remedy!r})"


def examine(url: str | None = None, timeout_s: float = TIMEOUT_S) -> list[Finding]:
    """Look at everything.

    Parameters
    ----------
    url : str, optional
        The store to look at; the default one if nothing is said.
    timeout_s : float
        Seconds for which the store may say nothing; then the rest of it is not waited for.
    """
    from capture.settings import SETTINGS

    location = SETTINGS.STORE if url is None else url
    found: list[Finding] = []
    _look("installation", installation, found)
    _look("state", state, found)
    return found + _within(timeout_s, lambda: store(location, url is not None))


def _look(area: str, look: Callable[[], Iterable[Finding]], found: list[Finding]) -> None:
    """Add what is found; one thing that cannot be looked at must not hide the others."""
    try:
        found.extend(look())
    except Exception as error:  # noqa: BLE001 - as said: it is a finding, too
        said = str(error) if isinstance(error, CaptureError) else f"{type(error).__name__}: {error}"
        found.append(Finding("problem", area, said))


def _within(timeout_s: float, look: Callable[[], Iterable[Finding]]) -> list[Finding]:
    """Return what is found of a store before it says nothing for too long."""
    import threading

    found: list[Finding] = []
    thread = threading.Thread(target=_look, args=("store", look, found), name="capture-doctor", daemon=True)
    thread.start()
    before = -1
    while thread.is_alive() and len(found) > before:
        before = len(found)
        thread.join(timeout_s)
    if not thread.is_alive():
        return found
    remedy = "see whether its server or its disk is away; --timeout=SECONDS waits longer"
    what = "the rest of it was not looked at: " if before else ""
    return [*found[:before], _of_store("problem", f"{what}no answer within {timeout_s:g} s", remedy)]


# ------------------------------------------------------------------------------------------------- installation


def installation() -> Iterator[Finding]:
    """Yield what is found out about packages, the command, and programs that are needed."""
    yield from _python()
    yield from _packages()
    yield from _twice()
    yield from _plugins()
    yield from _drivers()
    yield from _command()
    yield from _git()
    yield from _time_zone()


def _of_installation(level: str, text: str, remedy: str = "") -> Finding:
    return Finding(level, "installation", text, remedy)


def _python() -> Iterator[Finding]:
    from capture._version import __version__

    version = ".".join(map(str, sys.version_info[:3]))
    yield _of_installation("ok", f"capture {__version__}, Python {version} ({sys.executable})")


def _packages() -> Iterator[Finding]:
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as version_of

    from capture.query.installed import is_installed

    for module, distribution in REQUIRED.items():
        if not is_installed(module):
            text = f"{distribution} is missing, which the library needs"
            yield _of_installation("problem", text, f"pip install '{distribution}'")
    try:
        wrapt = version_of("wrapt")
    except PackageNotFoundError:
        return
    if not wrapt.startswith("1."):
        text = f"wrapt {wrapt} is installed: the library was made with 1.17, and a later one makes each start slower"
        yield _of_installation("warning", text, "pip install 'wrapt>=1.17,<2'")


def _twice() -> Iterator[Finding]:
    """Look for distributions that write the same files, and for several versions of this library."""
    from importlib.metadata import distributions

    versions: dict[str, set[str]] = {}
    for each in distributions():
        name = (each.metadata["Name"] or "").lower().replace("_", "-")
        versions.setdefault(name, set()).add(each.version)
    if "docopt" in versions and "docopt-ng" in versions:
        text = "docopt and docopt-ng are both installed, and either overwrites the other's docopt.py"
        remedy = "pip uninstall -y docopt && pip install --force-reinstall docopt-ng"
        yield _of_installation("warning", text, remedy)
    elif "docopt" in versions:
        text = "the old docopt is installed in place of docopt-ng, which the library needs"
        yield _of_installation("problem", text, "pip uninstall -y docopt && pip install docopt-ng")
    ours = versions.get("experiment-capture", set())
    if len(ours) > 1:
        text = f"several versions of experiment-capture are installed: {', '.join(sorted(ours))}"
        yield _of_installation("warning", text, "pip uninstall experiment-capture until none is left; install it")


def _plugins() -> Iterator[Finding]:
    """Look whether what other packages declare can be loaded."""
    from capture.registry import GROUP, PROBE_GROUP, package_of, plugin_classes

    for group, what in ((GROUP, "observer"), (PROBE_GROUP, "probe")):
        for name, entry in sorted(plugin_classes(group).items()):
            try:
                entry.load()
            except Exception as error:  # noqa: BLE001 - another package's code
                text = f"the {what} {name!r} of {package_of(entry)} cannot be loaded: {type(error).__name__}: {error}"
                yield _of_installation("problem", text, f"pip install --upgrade {package_of(entry)}, or uninstall it")
            else:
                yield _of_installation("ok", f"the {what} {name!r} of {package_of(entry)} can be loaded")


def _drivers() -> Iterator[Finding]:
    """Look whether what the settings name can be used."""
    from capture.query.installed import is_installed, missing_drivers
    from capture.registry import observer_class, split_url
    from capture.settings import SETTINGS

    if SETTINGS.STORE.lower() != "none":
        try:
            missing = missing_drivers(observer_class(SETTINGS.STORE), split_url(SETTINGS.STORE)[0])
        except CaptureError as error:
            yield _of_installation("problem", f"STORE, set by {SETTINGS.origin('STORE')}: {error}")
        else:
            if missing:
                text = f"the default store, set by {SETTINGS.origin('STORE')}, lacks its driver"
                yield _of_installation("problem", text, f"pip install {' '.join(map(repr, missing))}")
    if SETTINGS.NOTIFY.URLS and not is_installed("apprise"):
        text = f"NOTIFY.URLS, set by {SETTINGS.origin('NOTIFY.URLS')}, needs a package that is missing: nobody is told"
        yield _of_installation("problem", text, "pip install 'experiment-capture[notify]'")


def _command() -> Iterator[Finding]:
    """Look whether the command on PATH is that of this interpreter."""
    import shutil

    found = shutil.which("capture")
    scripts = os.path.dirname(sys.executable)
    if sys.platform == "win32" and os.path.basename(scripts).lower() != "scripts":
        scripts = os.path.join(scripts, "Scripts")
    if found is None:
        text = f"there is no command capture on PATH; that of this Python would be in {scripts}"
        yield _of_installation("note", text, f"add {scripts} to PATH, or say {sys.executable} -m capture")
    elif not _is_ours(found, scripts):
        text = f"the command capture on PATH, {found}, belongs to another environment than {sys.executable}"
        yield _of_installation("warning", text, f"activate the environment, or say {sys.executable} -m capture")
    else:
        yield _of_installation("ok", f"the command on PATH is that of this environment: {found}")


def _is_ours(command: str, scripts: str) -> bool:
    """Say whether a script lies beside this interpreter, or names it in its first line."""
    if os.path.realpath(os.path.dirname(command)) == os.path.realpath(scripts):
        return True
    try:
        with open(command, "rb") as stream:
            first = stream.readline(1024)
    except OSError:
        return False
    interpreter = first[2:].decode("utf-8", "replace").strip() if first.startswith(b"#!") else ""
    return bool(interpreter) and os.path.dirname(interpreter) == os.path.dirname(sys.executable)


def _git() -> Iterator[Finding]:
    import shutil

    from capture.settings import SETTINGS

    found = shutil.which("git")
    if found is not None:
        yield _of_installation("ok", f"git is {found}")
    elif SETTINGS.GIT.ENABLED:
        text = "there is no git on PATH: runs record no changes that are not committed"
        yield _of_installation("warning", text, "install git, or set GIT.ENABLED to false")


def _time_zone() -> Iterator[Finding]:
    from capture.moments import datetime, timezone

    now = datetime.now(timezone.utc).astimezone()
    yield _of_installation("ok", f"time zone {now.tzname()} (UTC{now:%z}); times are stored as UTC")
    if now.year < 2024:
        yield _of_installation("problem", f"the clock says {now:%Y-%m-%d}", "set the clock: runs are ordered by time")


# ----------------------------------------------------------------------------------------------- state and journals


def state() -> Iterator[Finding]:
    """Yield what is found out about the state folders and the journals in them."""
    from capture.journal import list_journals, state_dirs
    from capture.stores import default_folder

    folders = state_dirs(default_folder())
    journals = [path for folder in folders for path in list_journals(folder)]
    for folder in folders:
        yield from _space("state", folder)
        yield from _locks(folder)
    waiting: dict[tuple[str, ...], list[str]] = {}
    for path in journals:
        yield from _journal(path, waiting)
    for stores, paths in waiting.items():
        yield _waiting(stores, paths)
    if not journals:
        yield Finding("ok", "state", f"none wait: no journals are in {', '.join(folders)}")
    yield from _spools(folders, journals)


def _space(area: str, folder: str) -> Iterator[Finding]:
    import shutil

    if not os.access(folder, os.W_OK | os.X_OK):
        yield Finding("problem", area, f"{folder} cannot be written", "give yourself the right to, or name another")
    free = shutil.disk_usage(folder).free
    text = f"{folder} has {format_size(free)} of free space"
    level = "problem" if free < NONE_BYTES else "warning" if free < LITTLE_BYTES else "ok"
    yield Finding(level, area, text, "make room there" if level != "ok" else "")


def _locks(folder: str) -> Iterator[Finding]:
    """Try a lock on a file that is deleted at once."""
    import tempfile

    from capture.locks import LocksUnsupportedError, try_lock

    try:
        with tempfile.TemporaryFile(dir=folder) as stream:
            try_lock(stream.fileno())
    except LocksUnsupportedError:
        text = f"the file system of {folder} has no locks: whether a run lives is told by its heartbeat alone"
        yield Finding("warning", "state", text, "set CAPTURE_STATE_DIR to a folder on a local disk")
    except OSError:  # it cannot be written, which is said already
        return


def _journal(path: str, waiting: dict[tuple[str, ...], list[str]]) -> Iterator[Finding]:
    """Say what is wrong with a journal; one that can be delivered is put with those that wait for the same stores."""
    from capture.delivery import Report
    from capture.events import FORMAT
    from capture.journal import opened_of
    from capture.liveness import machine_identity, probe

    name, size = os.path.basename(path), _size_of(path)
    writer = probe(path)
    about = f"journal {name} ({format_size(size)}, writer {writer})"
    if writer in ("alive", "missing"):
        yield Finding("ok", "state", f"{about}: a run is writing it, or it was delivered just now")
        return
    run = Report(path).uid
    opened = opened_of(path)
    if opened is None:
        text = f"{about} has no readable beginning: it cannot be delivered"
        yield Finding("problem", "state", text, f"look at it, then delete it: rm {path}")
        return
    if opened.format > FORMAT:
        yield Finding("problem", "state", f"{about} was written by a later version", "pip install --upgrade capture")
        return
    if opened.host.get("machine_id") != machine_identity()["machine_id"]:
        host = opened.host.get("hostname")
        yield Finding("warning", "state", f"{about} was written on another machine, {host}", f"capture sync on {host}")
        return
    if writer == "unknown":
        remedy = f"make sure that the run has ended, then: capture sync {run[-8:]}"
        yield Finding("warning", "state", f"{about} cannot be locked: whether its run goes on is not known", remedy)
        return
    waiting.setdefault(tuple(_waited_for(path, opened)), []).append(path)
    damaged = _damaged_lines(path)
    if damaged:
        text = f"journal {name} has {counted(damaged, 'damaged line')}, passed over in delivery"
        yield Finding("warning", "state", text, "check the disk; what can be read is delivered all the same")


def _waiting(stores: tuple[str, ...], paths: list[str]) -> Finding:
    """Say that journals whose writers are dead wait for these stores."""
    from time import time

    from capture.delivery import Report

    size = sum(map(_size_of, paths))
    names = ", ".join(os.path.basename(path).removesuffix(".journal") for path in paths[:_SHOWN])
    more = f" and {len(paths) - _SHOWN} more" if len(paths) > _SHOWN else ""
    what = f"{counted(len(paths), 'journal')} ({format_size(size)}, writer dead) with"
    age = max(time() - _changed_at(path) for path in paths)
    old = f", for {age / 86_400:.0f} days" if age > OLD_S else ""
    runs = f" {Report(paths[0]).uid[-8:]}" if len(paths) == 1 else ""
    remedy = f"capture sync{runs}; if the store is gone: capture sync --to=URL{runs or ' UID...'}"
    text = f"{what} what {', '.join(stores) or 'a store'} has not got{old}: {names}{more}"
    return Finding("warning", "state", text, remedy)


def _changed_at(path: str) -> float:
    from time import time

    try:
        return os.stat(path).st_mtime
    except OSError:  # delivered meanwhile
        return time()


def _size_of(path: str) -> int:
    try:
        return os.path.getsize(path)
    except OSError:  # delivered meanwhile
        return 0


def _waited_for(path: str, opened: Any) -> list[str]:
    """Return the stores that have not got everything of a journal."""
    from capture.acks import Acknowledged, read_acks
    from capture.journal import acks_path

    known = read_acks(acks_path(path))
    named = [str(each["identity"]) for each in opened.observers if each.get("identity") and each.get("replay", True)]
    behind = []
    for identity in named:
        far = known.get(identity, Acknowledged())
        if far.missed:
            behind.append(f"{identity} (it refused {counted(len(far.missed), 'event')})")
        elif not far.done:
            behind.append(identity)
    return behind


def _damaged_lines(path: str) -> int:
    from capture.journal import parse_line, split_lines

    with open(path, "rb", buffering=0) as file:
        return sum(parse_line(data, end) is None for data, end in split_lines(file.read, 0))


def _spools(folders: list[str], journals: list[str]) -> Iterator[Finding]:
    """Look for bytes of files that belong to no journal any more."""
    uids = {os.path.basename(path).partition(".")[0] for path in journals}
    for folder in folders:
        spool = os.path.join(folder, "spool")
        try:
            left = [name for name in os.listdir(spool) if len(name) == 36 and name not in uids]
        except (FileNotFoundError, NotADirectoryError):
            continue
        if left:
            text = f"{spool} holds files of {counted(len(left), 'run')} without a journal: {', '.join(left[:_SHOWN])}"
            yield Finding("note", "state", text, "delete these folders if no such run is going on")


# ------------------------------------------------------------------------------------------------------ a store


def store(location: str, is_named: bool = True) -> Iterator[Finding]:
    """Yield what is found out about a store.

    Parameters
    ----------
    location : str
        A folder or URL.
    is_named : bool
        Whether somebody expects it to be there.
    """
    from capture.query.known import local_place
    from capture.registry import open_reader
    from capture.secrets import redact_url

    shown = redact_url(location)
    if location.lower() == "none":
        yield _of_store("note", "runs are not recorded: the default store is none")
        return
    place = local_place(location)
    if place is not None and not os.path.exists(place):
        level = "problem" if is_named else "note"
        yield _of_store(level, f"there is no store at {shown} yet", "the first run makes it" if not is_named else "")
        return
    reader: Any = open_reader(location)
    try:
        if hasattr(reader, "check_exists"):
            reader.check_exists()
        labels = reader.labels()
        yield _of_store("ok", f"{reader.url or shown} can be read, and holds {counted(len(labels), 'run')}")
        if place is not None:
            yield from _space("store", place if os.path.isdir(place) else os.path.dirname(os.path.abspath(place)))
        if hasattr(reader, "health"):
            for level, text, remedy in reader.health():
                yield _of_store(level, text, remedy)
        with _silence():  # what cannot be read is said here, with what to do
            yield from _records(reader, labels)
            yield from _running(reader)
    finally:
        reader.close()
    yield from _bin(location)


def _of_store(level: str, text: str, remedy: str = "") -> Finding:
    return Finding(level, "store", text, remedy)


def _records(reader: Reader, labels: list[Any]) -> Iterator[Finding]:
    """Look whether each run can be read: itself, where a store answers questions about many from an index."""
    from capture.query.verifying import is_lost

    from_index = getattr(reader, "finds_by_index", False)
    found = set() if from_index else {str(record.label) for record in reader.find()}
    unreadable = []
    for label in labels:
        if str(label) not in found:
            try:
                reader.get(label)
            except CaptureError as error:
                if is_lost(error):
                    raise
                unreadable.append((label, str(error).partition("\n")[0]))
    if unreadable:  # not among them is what somebody has put into the bin meanwhile
        there = set(map(str, reader.labels()))
        unreadable = [each for each in unreadable if str(each[0]) in there]
    for label, problem in unreadable[:_SHOWN]:
        left, remedy = _left_of(reader, label)
        yield _of_store("problem", f"run {label} cannot be read: {problem}{left}", remedy)
    if len(unreadable) > _SHOWN:
        yield _of_store("problem", f"{len(unreadable) - _SHOWN} more runs cannot be read")


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


@contextmanager
def _silence() -> Iterator[None]:
    """Keep the readers of stores from logging what this thread makes them say."""
    import logging
    import threading

    here = threading.get_ident()

    def is_of_others(record: logging.LogRecord) -> bool:
        return record.thread != here

    logger = logging.getLogger("capture.observers")
    logger.addFilter(is_of_others)
    try:
        yield
    finally:
        logger.removeFilter(is_of_others)


def _running(reader: Reader) -> Iterator[Finding]:
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
        yield _of_store("warning", text, "see whether it lives there; if not, capture sync there delivers the rest")
    if kinds["stuck"]:
        text = f"{_named(kinds['stuck'])}: the process lives, and sent no heartbeat for {SILENT_S / 60:.0f} min"
        yield _of_store("warning", text, "it is stopped, or does not reach this store: see its log")
    if kinds["ahead"]:
        text = f"{_named(kinds['ahead'])}: heartbeats come from the future: the clocks of two machines differ"
        yield _of_store("warning", text, "set the clocks by NTP: whether a run lives elsewhere is told by time")


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
        yield _of_store("warning", f"{_named(waiting)}: {gone}", remedy)
    nothing = "nothing waits to be delivered"
    remedy = "capture show RUN --out shows how far they came; capture tag marks one as looked at, capture rm bins it"
    if fresh:
        yield _of_store("note", f"{_named(fresh)}: {gone}; {nothing}", remedy)
    if old:
        days = f"{LONG_DEAD_S / 86_400:.0f} days"
        text = f"{counted(len(old), 'run')} DIED more than {days} ago; {nothing}"
        yield _of_store("note", text, "capture ls died lists them, capture rm bins them")


def _named(records: list[RunRecord]) -> str:
    labels = ", ".join(str(record.label) for record in records[:_SHOWN])
    more = f" and {len(records) - _SHOWN} more" if len(records) > _SHOWN else ""
    return f"{'run' if len(records) == 1 else 'runs'} {labels}{more}"


def _bin(location: str) -> Iterator[Finding]:
    from capture.registry import open_curator

    curator: Any = open_curator(location)
    count = len(curator.binned())
    if hasattr(curator, "close"):
        curator.close()
    if count:
        yield _of_store("note", f"{counted(count, 'run')} in the bin", "capture purge lists what is there")
