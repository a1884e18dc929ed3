"""A run as a plain folder that explains itself, or as a zip file of it: nothing is needed to read it."""

from __future__ import annotations

from capture.exporting._target import DamagedError, Target, Written
from capture.filters import state_of
from capture.wording import inert, visible

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from typing import Any

    from capture.records import RunRecord, StoredFile

FORMAT = 1  #: of run.json

#: what is written beside the folders of files -> what it is
PARTS = {
    "run.json": "the whole record but for what lies in files of its own, as strict JSON",
    "config.json": "the configuration that the run had",
    "metrics.csv": "all points of all metrics: name, step, time (UTC), value",
    "output.txt": "what the run printed",
    "environment.json": "Python, packages, host, machine, process and git",
}
FOLDERS = {
    "sources": "source files of the project that the run used",
    "resources": "files that the run read, as they were then",
    "artifacts": "files that the run wrote or added",
    "kept": "what the run can be rebuilt with: a lock of the environment, patches, lists of the files in folders",
}


class ExportedFile:
    """A file of a run in an export.

    Attributes
    ----------
    kind : str
        One of `FOLDERS`.
    stored : StoredFile
    written : Written or None
        None if its bytes could not be had; then `why` says why.
    why : str
    """

    __slots__ = ("kind", "stored", "why", "written")

    def __init__(self, kind: str, stored: StoredFile, written: Written | None, why: str = "") -> None:
        self.kind, self.stored, self.written, self.why = kind, stored, written, why


class ExportedRun:
    """What became of a run.

    Attributes
    ----------
    run : RunRecord
    folder : str
        Within the export; "" if that is of this run alone.
    parts : dict of str to Written
        By their names in `PARTS`.
    files : list of ExportedFile
    """

    def __init__(self, run: RunRecord, folder: str) -> None:
        self.run, self.folder = run, folder
        self.parts: dict[str, Written] = {}
        self.files: list[ExportedFile] = []

    @property
    def missing(self) -> list[str]:
        """What could not be exported, in words."""
        return [f"{each.kind}: {each.stored.name}: {each.why}" for each in self.files if each.written is None]


def export_folder(
    runs: Sequence[RunRecord], path: str, source: str = "", progress: Callable[[str], Any] = lambda what: None
) -> list[ExportedRun]:
    """Write runs as a folder, or as a zip file if the name ends in ``.zip``; several runs get a folder each.

    Parameters
    ----------
    runs : sequence of RunRecord
    path : str
        Nothing may be there yet.
    source : str
        URL of the store that they come from, to be mentioned.
    progress : callable, optional
        Called with the path of each file that is written.

    Returns
    -------
    list of ExportedRun
        Each says what could not be exported.

    Raises
    ------
    ExportError
        If something is there, or it cannot be written.
    """
    with Target(path) as target:
        exported = [write_run(target, run, folder, source, progress) for run, folder in placed(target, runs)]
        if len(runs) > 1:
            target.write("index.csv", index_of(exported))
            target.write("README.txt", readme_of_many(exported, source))
        for each in exported:
            target.write(_in(each.folder, "README.txt"), readme_of(each, source))
    return exported


def placed(target: Target, runs: Sequence[RunRecord]) -> Iterator[tuple[RunRecord, str]]:
    """Yield each run with the folder that it gets: none if it is alone."""
    for run in runs:
        yield run, "" if len(runs) == 1 else target.place("", f"run-{run.label}".replace("/", "_"), "folder")


def write_run(
    target: Target,
    run: RunRecord,
    folder: str = "",
    source: str = "",
    progress: Callable[[str], Any] = lambda what: None,
) -> ExportedRun:
    """Write all of a run into a folder of an export, "" for the export itself; see `export_folder`."""
    exported = begin_run(target, run, folder)
    write_files(target, exported, list(FOLDERS), progress)
    write_parts(target, exported, source, progress)
    return exported


def begin_run(target: Target, run: RunRecord, folder: str) -> ExportedRun:
    """Keep the names for what every run has, before its files take them."""
    for name in (*PARTS, "README.txt"):
        target.place(folder, name)
    return ExportedRun(run, folder)


def write_files(
    target: Target,
    exported: ExportedRun,
    kinds: Sequence[str],
    progress: Callable[[str], Any] = lambda what: None,
    known: dict[str, Written] | None = None,
) -> None:
    """Write files of a run.

    Parameters
    ----------
    target : Target
    exported : ExportedRun
    kinds : sequence of str
        Of `FOLDERS`.
    progress : callable, optional
    known : dict of str to Written, optional
        Files that are in the export, by digest: those are not written again, and new ones are added.
    """
    for kind in kinds:
        for stored in getattr(exported.run, kind):
            progress(stored.name)
            exported.files.append(_write_file(target, _in(exported.folder, kind), kind, stored, exported.run, known))


def write_parts(
    target: Target, exported: ExportedRun, source: str = "", progress: Callable[[str], Any] = lambda what: None
) -> None:
    """Write `PARTS`; the record tells of the files that were written before."""
    run = exported.run

    def part(name: str, pieces: Iterable[str]) -> None:
        progress(name)
        encoded = (piece.encode("utf-8", "backslashreplace") for piece in pieces)
        exported.parts[name] = target.stream(_in(exported.folder, name), encoded)

    part("config.json", [_json(run.config)])
    part("environment.json", [_json(environment_of(run))])
    part("output.txt", _pieces(run.output))
    part("metrics.csv", metrics_lines(run))
    part("run.json", [_json(record_of(exported, source))])


def _in(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


def _write_file(
    target: Target, folder: str, kind: str, stored: StoredFile, run: RunRecord, known: dict[str, Written] | None
) -> ExportedFile:
    if known is not None and stored.digest in known:
        return ExportedFile(kind, stored, known[stored.digest])
    try:
        written = target.copy(target.place(folder, readable_name(kind, stored, run)), stored)
    except FileNotFoundError:
        return ExportedFile(kind, stored, None, "the store has not its bytes")
    except DamagedError as error:
        return ExportedFile(kind, stored, None, str(error))
    if known is not None:
        known[written.digest] = written
    return ExportedFile(kind, stored, written)


def readable_name(kind: str, stored: StoredFile, run: RunRecord) -> str:
    """Return the name of a file as far as it says something elsewhere: relative to the project's folder, if it can be.

    Examples
    --------
    >>> from capture.records import RunRecord, StoredFile
    >>> run = RunRecord()
    >>> run.experiment = {"base_dir": "/home/ada/project"}
    >>> readable_name("resources", StoredFile("/home/ada/project/data/in.csv"), run)
    'data/in.csv'
    >>> readable_name("kept", StoredFile(".capture/environment.json"), run)
    'environment.json'
    """
    name = stored.name.replace("\\", "/")
    if kind == "kept":
        return name.removeprefix(".capture/")
    base = str(run.experiment.get("base_dir") or "").replace("\\", "/").rstrip("/") + "/"
    return name[len(base) :] if len(base) > 1 and name.startswith(base) else name


# --------------------------------------------------------------------------------------------------------- what is said


def record_of(exported: ExportedRun, source: str = "") -> dict[str, Any]:
    """Return all of a run but output, points and bytes, which have files of their own; see `PARTS`."""
    from capture._version import __version__

    run = exported.run
    plain: dict[str, Any] = {
        "format": FORMAT,
        "exported": {"time": _now(), "version": __version__, "store": source or None},
        "label": run.label,
        "uid": run.uid or None,
        "name": run.name,
    }
    for name in ("status", "command", "queue_time", "start_time", "stop_time", "heartbeat"):
        value = getattr(run, name)
        plain[name] = value.isoformat() if hasattr(value, "isoformat") else value
    plain["resumed"] = [moment.isoformat() for moment in run.resumed]
    for name in ("result", "fail_trace", "tags", "notes", "config", "info", "experiment", "host", "meta", "facts"):
        plain[name] = getattr(run, name)
    plain["metrics"] = {name: dict(summary) for name, summary in run.summary.items()}
    plain["files"] = {kind: [_file_of(each) for each in exported.files if each.kind == kind] for kind in FOLDERS}
    plain["writers"], plain["extra"] = run.writers, run.extra
    return plain


def json_of(run: RunRecord, source: str = "") -> str:
    """Return all of a run as strict JSON in one text: as run.json has it, with output and the points of all metrics.

    Files are told of by name, digest and size. Of a metric, "steps", "times" (microseconds since 1970, UTC) and
    "values" are added to what is said of it. All of it is ASCII, in which nothing hides on a terminal.
    """
    exported = ExportedRun(run, "")
    exported.files = [ExportedFile(kind, stored, None) for kind in FOLDERS for stored in getattr(run, kind)]
    plain = record_of(exported, source)
    for told in plain["files"].values():
        for each in told:
            del each["file"], each["missing"]
    for name, told in plain["metrics"].items():
        series = run.metrics[name]
        told.update(steps=list(series.steps), times=list(series.times), values=list(series.values))
    plain["output"] = run.output
    return _json(plain, ascii_only=True)


def _file_of(each: ExportedFile) -> dict[str, Any]:
    stored, written = each.stored, each.written
    plain = {
        "name": stored.name,
        "file": written.path if written is not None else None,
        "sha256": stored.digest or (written.digest if written is not None else None),
        "size": stored.size if written is None else written.size,
    }
    if each.kind == "artifacts":
        plain.update(content_type=stored.content_type, metadata=stored.metadata)
    return plain if written is not None else {**plain, "missing": each.why}


def environment_of(run: RunRecord) -> dict[str, Any]:
    """Return what a run says of what it ran in."""
    plain: dict[str, Any] = {"host": run.host, "packages": run.packages}
    for topic in ("environment", "machine", "process", "git"):
        if topic in run.facts:
            plain[topic] = run.facts[topic]
    plain["repositories"] = run.experiment.get("repositories") or []
    return plain


def metrics_lines(run: RunRecord) -> Iterator[str]:
    """Yield the lines of metrics.csv, one metric after the other."""
    yield "name,step,time,value\r\n"
    for name in run.summary:
        series, quoted = run.metrics[name], cell(name)
        for first in range(0, len(series), 10_000):
            part = slice(first, first + 10_000)
            points = zip(series.steps[part], series.times[part], series.values[part])
            yield "".join(f"{quoted},{step},{moment(time)},{value!r}\r\n" for step, time, value in points)


def moment(time: int) -> str:
    """Return microseconds since the epoch as ISO 8601 in UTC."""
    from capture.records import utc_from_microseconds

    return utc_from_microseconds(time).isoformat().replace("+00:00", "Z")


def cell(value: Any) -> str:
    """Return a value as a cell of CSV, as RFC 4180 quotes it; text is no formula in a spreadsheet.

    Examples
    --------
    >>> cell(-0.5), cell("a, b"), cell("=1+1")
    ('-0.5', '"a, b"', "'=1+1")
    """
    text = "" if value is None else inert(value) if isinstance(value, str) else _flat(value)
    return '"' + text.replace('"', '""') + '"' if any(sign in text for sign in ',"\r\n') else text


def index_of(exported: Sequence[ExportedRun]) -> str:
    """Return index.csv: a row for each run, with its configuration, the last values of its metrics and its result."""
    from capture.filters import MISSING
    from capture.query.columns import columns_of, rows_of

    runs = [each.run for each in exported]
    columns = columns_of(runs)
    leading = ["folder", "label", "uid", "name", "status", "start_time", "stop_time"]
    lines = [",".join(map(cell, [*leading, *columns]))]
    for each, row in zip(exported, rows_of(runs, columns)):
        run = each.run
        said = [each.folder, run.label, run.uid, run.name, state_of(run), run.start_time, run.stop_time]
        lines.append(",".join(cell(None if value is MISSING else value) for value in (*said, *row)))
    return "".join(line + "\r\n" for line in lines)


def readme_of(exported: ExportedRun, source: str) -> str:
    """Return a text that says what lies in the folder of a run."""
    run = exported.run
    lines = [
        visible(f"Run {run.label} of the experiment {run.name or '?'}: {state_of(run)}."),
        f"Recorded {run.start_time or run.queue_time or '?'}, exported {_now()}"
        + (f" from {source}." if source else "."),
        "",
        *(f"{name:<18} {what}" for name, what in PARTS.items() if name in exported.parts),
    ]
    for folder, what in FOLDERS.items():
        files = [each for each in exported.files if each.kind == folder and each.written is not None]
        if files:
            lines.append(f"{folder + '/':<18} {what} ({len(files)})")
    lines += [
        "",
        'What a file was called when it was recorded, and its SHA-256, are in run.json under "files".',
        'In JSON, a value that JSON has no word for is a tagged object: {"capture/float": "nan"}, {"py/tuple": [...]}.',
    ]
    if exported.missing:
        lines += ["", "Could not be exported:", *(visible(f"  {each}") for each in exported.missing)]
    return "".join(line + "\n" for line in lines)


def readme_of_many(exported: Sequence[ExportedRun], source: str) -> str:
    """Return a text that says which folder is of which run."""
    lines = [
        f"{len(exported)} runs, exported {_now()}" + (f" from {source}." if source else "."),
        "index.csv has a row for each. Each folder says what is in it.",
        "",
        *(visible(f"{each.folder}/  {each.run.name}: {state_of(each.run)}") for each in exported),
    ]
    return "".join(line + "\n" for line in lines)


def _json(value: Any, ascii_only: bool = False) -> str:
    from capture import plainjson
    from capture.codec import encode

    return plainjson.dumps(encode(value), indent=2, ensure_ascii=ascii_only, allow_nan=False) + "\n"


def _flat(value: Any) -> str:
    if hasattr(value, "isoformat"):
        return str(value.isoformat())
    if isinstance(value, (bool, int, float)):
        return repr(value)
    from capture import plainjson
    from capture.codec import StoredEnum, encode

    if isinstance(value, StoredEnum) or hasattr(value, "__fspath__"):
        return inert(str(value))
    return plainjson.dumps(encode(value), ensure_ascii=False, allow_nan=False)


def _pieces(text: str) -> Iterator[str]:
    return (text[place : place + (1 << 20)] for place in range(0, len(text), 1 << 20))


def _now() -> str:
    from capture.moments import datetime, timezone

    return datetime.now(timezone.utc).isoformat(timespec="seconds")
