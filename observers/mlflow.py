# A hook may take a subset of its arguments: a rule that the type system does not know.
# mypy: disable-error-code="override"

"""Runs in MLflow: a tracking server, or a database of MLflow's.

What goes where::

    parameters      the configuration, flattened, with dotted names
    metrics         all points; steps are integers there, times have milliseconds
    tags            mlflow.* (source, user, commit, note), capture.* (uid, label, status, tags, result ...)
    inputs          files that were read: name, digest and path
    artifacts       files that were made, and
      cout.txt          what was printed
      capture/          what has no other place: config.json, run.json, info.json, result.json, ending.json, names.json,
                        facts/, sources/, kept/, about/ (what is said of single artifacts)
"""

from __future__ import annotations

import io
import json
import os
import re

from capture.codec import StoredEnum, encode
from capture.complaints import logger
from capture.errors import ObserverError
from capture.observers import _names
from capture.observers._mlflow_tracking import (
    LABEL,
    UID,
    DatabaseTracking,
    RestTracking,
    TrackedRun,
    TrackingAwayError,
    TrackingError,
    artifacts_of,
    sqlite_path,
)  # fmt: skip
from capture.observers._writing import Blob, RunWriter, StoreObserver
from capture.secrets import redact_url

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime
    from typing import Any, BinaryIO

    from capture.hooks import MetricsBatch
    from capture.observers._mlflow_tracking import Artifacts, Point, Tracking

#: MLflow's limits
MAX_KEY, MAX_PARAM, MAX_TAG = 250, 6_000, 5_000  # characters; tags have 8,000 in newer versions
MAX_POINTS, MAX_PAIRS = 1_000, 100  # of one request
MAX_REQUEST = 500_000  # characters of parameters or tags in one request, half of what it takes
MANY_POINTS = 20_000  #: that are kept in memory before they are sent

#: MLflow's state for each of ours; any other is one of a run that was stopped
STATES = {"QUEUED": "SCHEDULED", "RUNNING": "RUNNING", "COMPLETED": "FINISHED", "FAILED": "FAILED"}
OUTPUT = "cout.txt"
_SEQ, _WRITER = "capture.seq.", "capture.writer."
_DATABASES = ("sqlite", "postgresql", "mysql", "mssql")


class MlflowObserver(StoreObserver):
    """Writes runs to an MLflow tracking server, or to a database of MLflow's.

    Parameters
    ----------
    tracking_uri : str, optional
        ``http://host:port`` or ``https://...`` of a server, for which no package is needed; or ``sqlite:///path`` (or
        another database), for which it is ``experiment-capture[mlflow]``. Default: ``MLFLOW_TRACKING_URI``.
    experiment_name : str, optional
        MLflow's experiment, made if there is none. Default: ``MLFLOW_EXPERIMENT_NAME``, else that of the run.
    priority : float
        Below that of stores that give numbers, so that MLflow shows theirs: its own names for runs are none.

    Raises
    ------
    ObserverError
        If MLflow cannot be reached that way; its folders of files (``mlruns``) cannot, which it has given up itself.

    Notes
    -----
    Run by run, the last event that is stored is kept in a tag, which is written behind everything else. What comes
    again after a crash changes nothing: MLflow's databases ignore a point that they hold.
    """

    supports = frozenset({"metrics", "artifacts", "sources", "output", "queue", "facts", "annotations", "resume"})

    def __init__(
        self, tracking_uri: str | None = None, experiment_name: str | None = None, priority: float = 0
    ) -> None:
        uri = tracking_uri or os.environ.get("MLFLOW_TRACKING_URI", "")
        self._uri = check_uri(uri)
        self.experiment_name = experiment_name or os.environ.get("MLFLOW_EXPERIMENT_NAME") or None
        super().__init__(priority)

    def forget(self) -> None:
        super().forget()
        self._tracking: Tracking | None = None
        self._experiments: dict[str, str] = {}  # ids by name
        self._beginning: tuple[str, datetime] | None = None  # name of the experiment and time of the run that starts

    @classmethod
    def from_url(cls, url: str, **options: Any) -> MlflowObserver:
        """Make an observer from ``mlflow+http://host:port``, ``mlflow+https://...`` or ``mlflow+sqlite:///path``.

        ``mlflow://host:port`` means http, ``mlflow://`` what ``MLFLOW_TRACKING_URI`` says. The experiment may be named
        at the end: ``?experiment=NAME``; what else stands there is passed on.
        """
        from urllib.parse import unquote_plus

        address, _, query = url.partition("?")
        scheme, _, rest = address.partition("://")
        kind = scheme.partition("+")[2] or "http"
        others = []
        for part in filter(None, query.split("&")):
            name, _, value = part.partition("=")
            if name == "experiment":
                options.setdefault("experiment_name", unquote_plus(value))
            else:
                others.append(part)
        passed_on = "?" + "&".join(others) if others else ""
        return cls(f"{kind}://{rest}{passed_on}" if rest else None, **options)

    @property
    def identity(self) -> str:
        """Name the store: its URL without credentials and options, and the experiment if one is chosen."""
        from urllib.parse import quote

        scheme, _, rest = self._uri.partition("://")
        place = rest.partition("?")[0]
        if not place.startswith("/"):  # a path of SQLite's may hold an @
            place = place.rpartition("@")[2]
        chosen = f"?experiment={quote(self.experiment_name, safe='')}" if self.experiment_name else ""
        return f"mlflow+{scheme}://{place}{chosen}"

    def __repr__(self) -> str:
        return f"MlflowObserver({redact_url(self._uri)!r})"

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name in ("_uri", "experiment_name", "priority")}

    # ------------------------------------------------------------------------------------------------ StoreObserver

    @property
    def tracking(self) -> Tracking:
        if self._tracking is None:
            is_server = self._uri.startswith(("http://", "https://"))
            self._tracking = (
                RestTracking(self._uri) if is_server else DatabaseTracking(self._uri, redact_url(self._uri))
            )
        return self._tracking

    def _begin(self, status: str, moment: datetime, described: Any, *more: Any, **options: Any) -> Any:
        with self._lock:
            self._beginning = (self.experiment_name or described[0].get("name") or "Default", moment)
            return super()._begin(status, moment, described, *more, **options)

    def find_run(self, uid: str) -> MlflowRun | None:
        chosen = self._experiment(self.experiment_name) if self.experiment_name else None
        for tracked in self.tracking.find(UID, uid, chosen):
            if not tracked.is_deleted:
                return MlflowRun(self, tracked, uid)
        return None

    def claim_run(self, uid: str | None, asked: Any, takes_over: bool) -> MlflowRun:
        assert self._beginning is not None
        name, moment = self._beginning
        experiment_id = self._experiment(name)
        queued = self._queued(experiment_id, asked) if takes_over and asked is not None else None
        if queued is not None:
            self.tracking.log(queued.run_id, tags={UID: uid or ""})
            return MlflowRun(self, queued, uid, is_new=True)
        tags = {"mlflow.source.type": "LOCAL"}
        if uid is not None:
            tags[UID] = uid
        if asked is not None:
            tags[LABEL] = str(asked)
        title = f"{name} {asked if asked is not None else (uid or '')[-8:]}".rstrip()
        tracked = self.tracking.create(experiment_id, _milliseconds(moment), title, tags)
        return MlflowRun(self, tracked, uid, is_new=True)

    def _experiment(self, name: str) -> str:
        if name not in self._experiments:
            self._experiments[name] = self.tracking.experiment(name)
        return self._experiments[name]

    def _queued(self, experiment_id: str, asked: Any) -> TrackedRun | None:
        """Return the queued run that is called `asked`, here or in the store that gave it its label."""
        text = str(asked)
        named = self.tracking.get(text) if re.fullmatch(r"[0-9a-f]{32}", text) else None
        for tracked in [named] if named is not None else self.tracking.find(LABEL, text, experiment_id):
            if tracked.status == "SCHEDULED" and not tracked.is_deleted:
                return tracked
        return None

    def is_gone(self, run: Any) -> bool:
        return run.is_gone


def check_uri(uri: str) -> str:
    """Return a tracking URI that can be written to; an ObserverError says which can."""
    scheme = uri.partition("://")[0].lower() if "://" in uri else ""
    if scheme in ("http", "https") or scheme.partition("+")[0] in _DATABASES:
        if scheme in ("http", "https"):
            return uri.rstrip("/")
        path = sqlite_path(uri)
        return uri if path is None else f"sqlite:///{path}"  # meant from here, wherever a run may go
    possible = (
        "\n  a server:    http://host:port  (or mlflow+http://host:port)"
        "\n  a database:  sqlite:///path/mlflow.db  (or mlflow+sqlite:///path/mlflow.db)"
    )
    if not uri:
        raise ObserverError(
            f"there is no MLflow to write to: MLFLOW_TRACKING_URI is not set.{possible}", print_traceback=False
        )
    if scheme in ("", "file"):
        raise ObserverError(
            f"{uri!r} is a folder of files, a layout that MLflow has given up and that is not written here.{possible}"
            "\n  to move one: mlflow migrate-filestore --source FOLDER --target sqlite:///mlflow.db",
            print_traceback=False,
        )
    raise ObserverError(
        f"runs cannot be written to MLflow at {redact_url(uri)!r}: {scheme}:// is not supported.{possible}",
        print_traceback=False,
    )


# --------------------------------------------------------------------------------------------------------- one run


class MlflowRun(RunWriter):
    """One run of MLflow that is being written."""

    def __init__(self, observer: MlflowObserver, tracked: TrackedRun, uid: str | None, is_new: bool = False) -> None:
        seqs, missed = ({}, {}) if is_new else _stored_places(tracked.tags)
        super().__init__(tracked.run_id, uid, seqs, missed)
        self.is_gone = False
        self.tracked = tracked
        self._tracking = observer.tracking
        self._files: Artifacts | None = None
        self._told = {writer: _place(self, writer) for writer in seqs}  # what the tags say
        self._points: list[Point] = []
        self._params: dict[str, str] = {}
        self._tags: dict[str, str] = {}
        self._inputs: list[dict[str, str]] = []
        self._documents: dict[str, bytes] = {}
        self._status: tuple[str, int | None] | None = None
        self._takes_no_files = False
        self._keys = Keys()
        if not is_new and "capture.names" in tracked.tags:
            self._keys.learn(self.files.get("capture/names.json"))
        self._output = Output(self, is_new)

    @property
    def files(self) -> Artifacts:
        if self._files is None:
            self._files = artifacts_of(self._tracking, self.tracked.artifact_uri)
        return self._files

    # ------------------------------------------------------------------------------------------------- what happens

    def opened(self, writer: str, host: Any, version: Any) -> None:
        self._tags["capture.version"] = str(version)
        self._tags[_key_of(_WRITER, writer)] = _json(host)

    def described(
        self, status: str, moment: datetime, ex_info: Any, command: str, host_info: Any, config: Any, meta_info: Any
    ) -> None:
        self._set_status(status, None)
        self._tags["capture.command"] = command
        mainfile = ex_info.get("mainfile")
        if mainfile:
            self._tags["mlflow.source.name"] = os.path.join(ex_info.get("base_dir") or "", mainfile)
        self._tag_commit(ex_info.get("repositories"))
        self._document("config.json", config)
        times = {"queue_time" if status == "QUEUED" else "start_time": moment}
        self._document(
            "run.json", {"experiment": ex_info, "command": command, "host": host_info, "meta": meta_info, **times}
        )
        self._log_params(config)

    def resumed(self, moment: datetime) -> None:
        self._set_status("RUNNING", None)
        self._tags["capture.resumed"] = moment.isoformat()

    def facts(self, topic: str, facts: Any) -> None:
        self._document(f"facts/{_names.safe_component(topic)}.json", facts)
        if topic in ("git", "repositories"):
            self._tag_commit(facts)
        elif topic == "params":
            self._log_params(facts)
        elif topic == "process" and isinstance(facts, dict) and isinstance(facts.get("user"), dict):
            self._tags["mlflow.user"] = str(facts["user"].get("name") or "")

    def output(self, text: str, offset: int | None) -> None:
        self._output.write(text, offset)

    def metrics(self, batch: MetricsBatch, writer: str, seq: int) -> None:
        if len(self._points) >= MANY_POINTS:
            self._send_points()
        for name, column in batch.columns.items():
            key = self._keys.of(name)
            for step, value, time in zip(column["steps"], column["values"], column["times"]):
                self._points.append((key, _float(value), (batch.start + time) // 1_000, _whole(step)))

    def beat(self, moment: datetime, info: Any, result: Any) -> None:
        self._tags["capture.heartbeat"] = moment.isoformat()
        if info:
            self._document("info.json", info)
        self._note_result(result)

    def source(self, path: str, blob: Blob) -> None:
        kept = path.startswith(".capture/")
        name = _names.safe_path(path[len(".capture/") :] if kept else path)
        self._store(f"capture/{'kept' if kept else 'sources'}/{name}", blob)

    def resource(self, filename: str, blob: Blob) -> None:
        source = {"name": os.path.basename(filename)[:500], "digest": (blob.md5 or blob.digest)[:36]}
        self._inputs.append(
            {**source, "source_type": "local", "source": _json({"uri": filename, "sha256": blob.digest})}
        )

    def artifact(self, name: str, blob: Blob, metadata: Any, content_type: str | None) -> None:
        stored = _names.safe_path(name)
        first = stored.split("/")[0]
        if first == "capture" or first.startswith(OUTPUT):
            stored = f"artifacts/{stored}"  # beside what is ours
        self._store(stored, blob)
        if stored != name or metadata is not None:
            about = {"name": name, "stored": stored, "sha256": blob.digest, "size": blob.size}
            about |= {"metadata": metadata, "content_type": content_type}
            self._document(f"about/{_names.flat_name(stored)}.json", about)

    def annotated(self, tags: list[str] | None, notes: str | None) -> None:
        if notes is not None:
            self._tags["mlflow.note.content"] = notes
            if len(notes) > MAX_TAG:
                self._document("notes.json", notes)
        if tags is not None:
            wanted = {_key_of("capture.tag.", tag): tag for tag in tags}
            for key in [key for key in self.tracked.tags if key.startswith("capture.tag.") and key not in wanted]:
                self._tracking.delete_tag(self.label, key)
                self._tags.pop(key, None)
                del self.tracked.tags[key]
            self._tags.update(wanted)
            self.tracked.tags.update(wanted)
            self._tags["capture.tags"] = ", ".join(tags)

    def finished(self, status: str, moment: datetime, **more: Any) -> None:
        self._set_status(status, _milliseconds(moment))
        self._document("ending.json", {"status": status, "stop_time": moment, **more})
        if "result" in more:
            self._note_result(more["result"])
        if more.get("fail_trace"):
            self._tags["capture.error"] = more["fail_trace"][-1].strip()

    def unknown(self, payload: dict[str, Any]) -> None:
        self._document(f"unknown/{_names.safe_component(str(payload.get('e')))}-{payload.get('s', 0)}.json", payload)

    def _set_status(self, status: str, end_ms: int | None) -> None:
        self._status = (STATES.get(status, "KILLED"), end_ms)
        self._tags["capture.status"] = status

    def _note_result(self, result: Any) -> None:
        if result is not None:
            self._document("result.json", result)
            self._tags["capture.result"] = result if isinstance(result, str) else _json(result)

    def _tag_commit(self, repositories: Any) -> None:
        first = repositories[0] if isinstance(repositories, list) and repositories else None
        if isinstance(first, dict):
            for key, name in (("mlflow.source.git.commit", "commit"), ("mlflow.source.git.repoURL", "url")):
                if isinstance(first.get(name), str):
                    self._tags[key] = first[name]

    def _log_params(self, config: Any) -> None:
        """Log what is not logged yet: a parameter of MLflow's never changes. All of it is in a document."""
        for name, value in _flat(config):
            key, text = self._keys.of(name), _text(value)[:MAX_PARAM]
            if self.tracked.params.setdefault(key, text) == text:
                self._params[key] = text

    def _document(self, name: str, value: Any) -> None:
        data = json.dumps(encode(value), indent=1, ensure_ascii=False).encode("utf-8", "replace")
        self._documents[f"capture/{name}"] = data

    def _store(self, name: str, blob: Blob) -> None:
        self.files.put(name, blob.open, blob.size)

    # ------------------------------------------------------------------------------------------------------ writing

    def flush(self) -> None:
        """Files first, then numbers, and behind everything the tags that say how much of the run is stored."""
        try:
            self._store_or_say(OUTPUT, self._output.flush, self.ended)
            if self._keys.changed:
                self._documents["capture/names.json"] = self._keys.document()
                self._tags["capture.names"] = "capture/names.json"
                self._keys.changed = False
            for name in list(self._documents):
                self._store_or_say(name, self._put_document, name)
                del self._documents[name]
            self._send_params()
            self._send_inputs()
            self._send_points()
            if self._status is not None:
                self._tracking.update(self.label, *self._status)
                self._status = None
            self._send_tags()
        except TrackingError as error:
            if not error.is_of_deleted_run:
                raise
            self.is_gone = True  # the observer says so, and forgets the run

    def _put_document(self, name: str) -> None:
        data = self._documents[name]
        self.files.put(name, lambda: io.BytesIO(data), len(data))

    def _store_or_say(self, name: str, store: Callable[[Any], None], argument: Any) -> None:
        try:
            store(argument)
        except TrackingAwayError:
            raise
        except ObserverError as error:  # the rest of the run need not wait for a server that takes no files
            if not self._takes_no_files:
                self._takes_no_files = True
                logger("capture.observers").warning("run %s: %s and the like are left out: %s", self.label, name, error)

    def _send_points(self) -> None:
        while self._points:
            some = self._points[:MAX_POINTS]
            self._log(
                "points", points=list({(*point[:1], str(point[1]), *point[2:]): point for point in some}.values())
            )
            del self._points[: len(some)]

    def _send_params(self) -> None:
        for some in _portions(self._params):
            self._log("parameters", params=some)
            for key in some:
                self._params.pop(key)

    def _send_inputs(self) -> None:
        while self._inputs:
            some = self._inputs[:MAX_PAIRS]
            try:
                self._tracking.log_inputs(self.label, some)
            except TrackingError as error:
                self._judge(error, "inputs")
            del self._inputs[: len(some)]

    def _send_tags(self) -> None:
        tags = {key[:MAX_KEY]: text[:MAX_TAG] for key, text in self._tags.items()}
        for some in _portions(tags):
            self._log("tags", tags=some)
        self._tags = {}
        places = {writer: _place(self, writer) for writer in self.seqs}
        news = {writer: place for writer, place in places.items() if self._told.get(writer) != place}
        if news:
            self._tracking.log(self.label, tags={_key_of(_SEQ, writer): place for writer, place in news.items()})
            self._told.update(news)

    def _log(self, what: str, **data: Any) -> None:
        try:
            self._tracking.log(self.label, **data)
        except TrackingError as error:
            self._judge(error, what)

    def _judge(self, error: TrackingError, what: str) -> None:
        """Go on without what MLflow will never take, and say so; anything else is tried again."""
        if error.code != "INVALID_PARAMETER_VALUE" or error.is_of_deleted_run:
            raise error
        logger("capture.observers").warning("run %s: some %s are left out: %s", self.label, what, error)


class Output:
    """What a run prints, as a file that grows: pieces of one size, which are joined when the run has ended.

    A server takes whole files only. So it gets the last piece again whenever there is more, not all of it.
    """

    PIECE = 1 << 18  # bytes

    def __init__(self, run: MlflowRun, is_new: bool) -> None:
        self._run = run
        self._file: Any = io.BytesIO() if is_new else None  # None: what is stored was not looked at yet
        self._size = 0
        self._changed_from: int | None = None
        self._pieces = 0  # that are stored
        self._is_known = is_new  # whether another process may have left pieces

    def write(self, text: str, offset: int | None) -> None:
        """Let the output be ``old[:offset] + text``."""
        file = self._local()
        start = self._size if offset is None else min(offset, self._size)
        data = text.encode("utf-8", "replace")
        file.seek(start)
        file.truncate()
        file.write(data)
        self._size = start + len(data)
        self._changed_from = start if self._changed_from is None else min(self._changed_from, start)
        if isinstance(file, io.BytesIO) and self._size > 4 * self.PIECE:
            self._move_to_disk()

    def flush(self, ended: bool) -> None:
        """Store what has changed; of a run that has ended, all of it as one file."""
        if self._changed_from is not None:
            count = max(1, -(-self._size // self.PIECE))
            first = min(self._changed_from // self.PIECE, count - 1)
            for number in reversed(range(first, count)):  # what was joined stands until all its pieces do
                self._put(self._name(number), number * self.PIECE, self.PIECE)
            self._remove(range(count, self._pieces))
            self._pieces, self._changed_from = count, None
        if ended and not self._is_known and self._file is None and self._run.files.get(self._name(1)) is not None:
            self._local()
        if ended and self._pieces > 1:
            self._put(OUTPUT, 0, self._size)
            self._remove(range(1, self._pieces))
            self._pieces = 1
        self._is_known = self._is_known or ended
        if ended and self._file is not None:
            self._file.close()
            self._file = None  # if the run goes on, what is stored is read

    def _local(self) -> Any:
        if self._file is None:
            files = self._run.files
            data = files.get(OUTPUT) or b""
            self._pieces, self._changed_from = (1 if data else 0), None
            while len(data) == self._pieces * self.PIECE and self._pieces:
                more = files.get(self._name(self._pieces))
                if more is None:
                    break
                data += more
                self._pieces += 1
            self._file, self._size = io.BytesIO(data), len(data)
            if len(data) > self._pieces * self.PIECE:  # joined when the run ended, and now it goes on
                self._changed_from = 0
        return self._file

    def _move_to_disk(self) -> None:
        import tempfile

        data = self._file.getvalue()
        self._file = tempfile.TemporaryFile(prefix="capture-")  # noqa: SIM115 - it lives as long as the run
        self._file.write(data)

    def _put(self, name: str, start: int, size: int) -> None:
        size = min(size, self._size - start)
        self._run.files.put(name, lambda: self._opened(start, size), size)

    def _opened(self, start: int, size: int) -> BinaryIO:
        """Open a part of the output: in memory if it is a piece, else the file on disk once more."""
        self._file.seek(start)
        if size <= self.PIECE or isinstance(self._file, io.BytesIO):
            return io.BytesIO(self._file.read(size))
        self._file.flush()
        return os.fdopen(os.dup(self._file.fileno()), "rb")

    def _name(self, number: int) -> str:
        return f"{OUTPUT}.{number:05d}" if number else OUTPUT

    def _remove(self, numbers: range) -> None:
        self._run.files.delete([self._name(number) for number in numbers])


# ------------------------------------------------------------------------------------------------- names and values


class Keys:
    """Names that MLflow takes for those that runs have; different ones stay different.

    Attributes
    ----------
    changed : bool
        Whether there are new ones that are not as they were.
    """

    def __init__(self) -> None:
        self.changed = False
        self._keys: dict[str, str] = {}
        self._names: dict[str, str] = {}

    def of(self, name: str) -> str:
        """Return the name to use in MLflow."""
        key = self._keys.get(name)
        if key is None:
            plain = key = legal_key(name)
            number = 1
            while self._names.get(key, name) != name:
                number += 1
                key = f"{plain[: MAX_KEY - 8]}_{number}"
            self._keys[name], self._names[key] = key, name
            self.changed = self.changed or key != name
        return key

    def learn(self, document: bytes | None) -> None:
        """Take up what an earlier process has chosen."""
        for key, name in (json.loads(document) if document else {}).items():
            self._keys[name], self._names[key] = key, name

    def document(self) -> bytes:
        """Return the names that are not as they were, as JSON."""
        renamed = {key: name for key, name in self._names.items() if key != name}
        return json.dumps(renamed, indent=1).encode()


def legal_key(name: str) -> str:
    """Return the nearest name that MLflow takes.

    Examples
    --------
    >>> legal_key("val/loss"), legal_key("acc@5"), legal_key("../x"), legal_key("")
    ('val/loss', 'acc_5', '_/x', '_')
    """
    text = re.sub(r"[^\w./\- :]", "_", name)
    parts = [part if part.strip(".") else "_" * bool(part) for part in text.split("/")]
    return "/".join(part for part in parts if part)[:MAX_KEY].rstrip("/") or "_"


def _key_of(prefix: str, name: str) -> str:
    return legal_key(prefix + name)


def _flat(config: Any, path: str = "") -> list[tuple[str, Any]]:
    """Return the entries of a configuration by dotted name."""
    entries: list[tuple[str, Any]] = []
    for name, value in config.items() if isinstance(config, dict) else ():
        here = f"{path}.{name}" if path else str(name)
        entries += _flat(value, here) if isinstance(value, dict) and value else [(here, value)]
    return entries


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    is_text = isinstance(value, StoredEnum) or hasattr(value, "__fspath__")
    return str(value) if value is None or is_text or isinstance(value, (bool, int, float)) else _json(value)


def _json(value: Any) -> str:
    return json.dumps(encode(value), ensure_ascii=False)


def _float(value: Any) -> float:
    try:
        return float(value)
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")


def _whole(step: Any) -> int:
    """Return a step as MLflow has them: a whole number of 64 bits, the next lower one."""
    try:
        return max(-(2**63), min(int(step // 1), 2**63 - 1))
    except (TypeError, ValueError, OverflowError):
        return 0


def _milliseconds(moment: datetime) -> int:
    from capture.moments import timezone

    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=timezone.utc)
    return int(aware.timestamp() * 1000)


def _portions(pairs: Mapping[str, str]) -> list[dict[str, str]]:
    """Split pairs into what one request takes."""
    portions: list[dict[str, str]] = []
    size = MAX_REQUEST
    for key, text in pairs.items():
        size += len(key) + len(text)
        if size > MAX_REQUEST or len(portions[-1]) == MAX_PAIRS:
            portions.append({})
            size = len(key) + len(text)
        portions[-1][key] = text
    return portions


def _place(run: MlflowRun, writer: str) -> str:
    """Return how far a writer's events are stored, as a tag says it."""
    missed = " ".join(str(seq) for seq in sorted(run.missed.get(writer, ()))[-500:])
    return f"{run.seqs[writer]} {missed}".rstrip()


def _stored_places(tags: Mapping[str, str]) -> tuple[dict[str, int], dict[str, list[int]]]:
    seqs: dict[str, int] = {}
    missed: dict[str, list[int]] = {}
    for key, text in tags.items():
        if key.startswith(_SEQ):
            last, *others = (int(part) for part in text.split())
            seqs[key[len(_SEQ) :]], missed[key[len(_SEQ) :]] = last, others
    return seqs, missed
