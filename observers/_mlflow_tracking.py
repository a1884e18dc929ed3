"""Where MLflow keeps runs: a tracking server, asked over HTTP, or a database, through MLflow's own client.

A server needs no package: what is used of its REST interface has not changed since MLflow 1. For a database the package
`mlflow` is imported, which takes seconds; it owns the tables and migrates them.
"""

from __future__ import annotations

import json
import os
import threading

from capture.errors import ObserverError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Any, BinaryIO

    Point = tuple[str, float, int, int]  #: key, value, milliseconds since the epoch, step

TIMEOUT_S = 10.0  #: until a server answers; longer, and it counts as away
UID, LABEL = "capture.uid", "capture.label"  #: tags by which a run is found again
_PAGE = 1_000
_SLOWEST = 1_000_000  # bytes that a server takes in a second
_PASSING = frozenset({429, 502, 503, 504})  #: answers of a server, or of a proxy before it, that pass by themselves
_SPECIAL = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}


class TrackingError(ObserverError):
    """MLflow refused something.

    Attributes
    ----------
    code : str
        MLflow's name for the reason: "RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE" ...
    """

    def __init__(self, message: str, code: str = "") -> None:
        super().__init__(message, print_traceback=False)
        self.code = code

    @property
    def is_of_deleted_run(self) -> bool:
        return "must be in the 'active' state" in str(self)


class TrackingAwayError(TrackingError, ConnectionError):
    """MLflow did not answer, or is busy: what was asked may work later."""


class TrackedRun:
    """What MLflow says of a run.

    Attributes
    ----------
    run_id, experiment_id, artifact_uri, status : str
    is_deleted : bool
    tags, params : dict of str to str
    """

    __slots__ = ("artifact_uri", "experiment_id", "is_deleted", "params", "run_id", "status", "tags")

    def __init__(
        self,
        run_id: str,
        experiment_id: str,
        artifact_uri: str,
        status: str,
        is_deleted: bool,
        tags: dict[str, str],
        params: dict[str, str],
    ) -> None:
        self.run_id, self.experiment_id, self.artifact_uri, self.status = run_id, experiment_id, artifact_uri, status
        self.is_deleted, self.tags, self.params = is_deleted, tags, params


class Tracking:
    """What is asked of MLflow. All of it may be asked again without harm."""

    def experiment(self, name: str) -> str:
        """Return the id of an experiment, which is made if there is none."""
        raise NotImplementedError

    def find(self, key: str, value: str, experiment_id: str | None = None) -> list[TrackedRun]:
        """Return runs by a tag, deleted ones too; of one experiment, or of all."""
        raise NotImplementedError

    def get(self, run_id: str) -> TrackedRun | None:
        """Return a run, or None if there is none."""
        raise NotImplementedError

    def create(self, experiment_id: str, start_ms: int, name: str, tags: Mapping[str, str]) -> TrackedRun:
        """Make a run."""
        raise NotImplementedError

    def log(
        self,
        run_id: str,
        points: Sequence[Point] = (),
        params: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Log up to 1,000 points, or 100 parameters, or 100 tags; tags are stored last."""
        raise NotImplementedError

    def update(self, run_id: str, status: str, end_ms: int | None = None, name: str | None = None) -> None:
        """Set status, end and name of a run."""
        raise NotImplementedError

    def delete_tag(self, run_id: str, key: str) -> None:
        """Take a tag off."""
        raise NotImplementedError

    def log_inputs(self, run_id: str, datasets: Sequence[Mapping[str, str]]) -> None:
        """Note data that the run read: ``name``, ``digest``, ``source_type``, ``source``."""
        raise NotImplementedError


# ---------------------------------------------------------------------------------------------------------- a server


class RestTracking(Tracking):
    """A tracking server.

    Parameters
    ----------
    url : str
        ``http://host:port``, or with a path; user and password may be in it. Otherwise they are taken from
        ``MLFLOW_TRACKING_USERNAME`` and ``MLFLOW_TRACKING_PASSWORD``, or ``MLFLOW_TRACKING_TOKEN``, as MLflow does.
    """

    def __init__(self, url: str) -> None:
        from urllib.parse import unquote, urlsplit

        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
        self.url = f"{parts.scheme}://{host}{parts.path.rstrip('/')}"
        user = unquote(parts.username) if parts.username else os.environ.get("MLFLOW_TRACKING_USERNAME", "")
        password = unquote(parts.password) if parts.password else os.environ.get("MLFLOW_TRACKING_PASSWORD", "")
        self._user = user
        self._authorization = _authorization(user, password, os.environ.get("MLFLOW_TRACKING_TOKEN", ""))
        self._opener: Any = None

    def experiment(self, name: str) -> str:
        try:
            found = self.ask("GET", "experiments/get-by-name", experiment_name=name)["experiment"]
        except TrackingError as error:
            if error.code != "RESOURCE_DOES_NOT_EXIST":
                raise
        else:
            if found.get("lifecycle_stage") == "deleted":
                raise TrackingError(
                    f"the experiment {name!r} of {self.url} was deleted.\n  to use it:  restore it in MLflow, or delete"
                    " it for good (mlflow gc), or name another: experiment_name=..."
                )
            return found["experiment_id"]
        try:
            return self.ask("POST", "experiments/create", name=name)["experiment_id"]
        except TrackingError as error:
            if error.code != "RESOURCE_ALREADY_EXISTS":  # somebody else made it just now
                raise
            return self.ask("GET", "experiments/get-by-name", experiment_name=name)["experiment"]["experiment_id"]

    def find(self, key: str, value: str, experiment_id: str | None = None) -> list[TrackedRun]:
        quoted = value.replace("'", "")
        answer = self.ask(
            "POST",
            "runs/search",
            experiment_ids=self._experiment_ids() if experiment_id is None else [experiment_id],
            filter=f"tags.`{key}` = '{quoted}'",
            run_view_type="ALL",
            max_results=100,
        )
        return [_tracked(each) for each in answer.get("runs", [])]

    def _experiment_ids(self) -> list[str]:
        ids: list[str] = []
        token = None
        while True:
            more: dict[str, Any] = {"page_token": token} if token else {}
            answer = self.ask("POST", "experiments/search", max_results=_PAGE, view_type="ACTIVE_ONLY", **more)
            ids += [each["experiment_id"] for each in answer.get("experiments", [])]
            token = answer.get("next_page_token")
            if not token:
                return ids

    def get(self, run_id: str) -> TrackedRun | None:
        try:
            return _tracked(self.ask("GET", "runs/get", run_id=run_id)["run"])
        except TrackingError as error:
            if error.code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                return None
            raise

    def create(self, experiment_id: str, start_ms: int, name: str, tags: Mapping[str, str]) -> TrackedRun:
        answer = self.ask(
            "POST",
            "runs/create",
            experiment_id=experiment_id,
            start_time=start_ms,
            run_name=name,
            tags=_pairs(tags),
        )
        return _tracked(answer["run"])

    def log(
        self,
        run_id: str,
        points: Sequence[Point] = (),
        params: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        metrics = [
            {"key": key, "value": _number(value), "timestamp": time, "step": step} for key, value, time, step in points
        ]
        self.ask(
            "POST",
            "runs/log-batch",
            run_id=run_id,
            metrics=metrics,
            params=_pairs(params or {}),
            tags=_pairs(tags or {}),
        )

    def update(self, run_id: str, status: str, end_ms: int | None = None, name: str | None = None) -> None:
        more: dict[str, Any] = {} if end_ms is None else {"end_time": end_ms}
        more |= {} if name is None else {"run_name": name}
        self.ask("POST", "runs/update", run_id=run_id, status=status, **more)

    def delete_tag(self, run_id: str, key: str) -> None:
        try:
            self.ask("POST", "runs/delete-tag", run_id=run_id, key=key)
        except TrackingError as error:
            if error.code != "RESOURCE_DOES_NOT_EXIST":
                raise

    def log_inputs(self, run_id: str, datasets: Sequence[Mapping[str, str]]) -> None:
        self.ask("POST", "runs/log-inputs", run_id=run_id, datasets=[{"dataset": dict(each)} for each in datasets])

    # HTTP.

    def ask(self, method: str, path: str, **fields: Any) -> dict[str, Any]:
        """Ask the REST interface.

        Raises
        ------
        TrackingAwayError
            If the server cannot be reached, does not answer, or is busy.
        TrackingError
            If it refuses.
        """
        from urllib.parse import urlencode

        url, body = f"{self.url}/api/2.0/mlflow/{path}", None
        if method == "GET":
            url += "?" + urlencode(fields)
        else:
            body = json.dumps(fields).encode()
        answer = self.fetch(method, url, body, {"Content-Type": "application/json"})
        try:
            return json.loads(answer)
        except ValueError:
            raise TrackingError(f"{self.url} is no MLflow server: it does not answer in JSON") from None

    def fetch(
        self,
        method: str,
        url: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> bytes:
        """Send a request to the server, and return what it answers; errors are those of `ask`."""
        from http.client import HTTPException
        from urllib.error import HTTPError
        from urllib.request import Request

        request = Request(url, data=body, headers={**self._authorization, **(headers or {})}, method=method)
        try:
            with self._open().open(request, timeout=timeout_s) as answer:
                return answer.read()
        except HTTPError as error:
            with error:
                raise self._refusal(error.code, error.read(20_000), error.headers.get("Location")) from None
        except (OSError, HTTPException) as error:
            reason = getattr(error, "reason", error)
            raise TrackingAwayError(f"MLflow at {self.url} cannot be reached: {reason}") from error

    def _open(self) -> Any:
        if self._opener is None:
            from urllib.request import HTTPRedirectHandler, HTTPSHandler, build_opener

            class Stay(HTTPRedirectHandler):
                """The password is told to nobody else; and what is posted would be asked for at the other place."""

                def redirect_request(self, *arguments: Any) -> None:
                    return None

            https = HTTPSHandler(context=_tls()) if self.url.startswith("https") else HTTPSHandler
            self._opener = build_opener(Stay, https)
        return self._opener

    def _refusal(self, code: int, body: bytes, elsewhere: str | None = None) -> TrackingError:
        try:
            said = json.loads(body)
            name, message = str(said.get("error_code", "")), str(said.get("message", ""))
        except (ValueError, AttributeError):
            name, message = "", " ".join(body.decode("utf-8", "replace").split())
        text = f"{name} {message}".strip()[:500]
        if code in (401, 403):
            who = f"the user {self._user!r}" if self._user else "nobody in particular"
            return TrackingError(
                f"MLflow at {self.url} refuses {who} (HTTP {code}): {text}"
                "\n  to say who asks:  MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN",
                name,
            )
        if elsewhere is not None and 300 <= code < 400:
            from capture.secrets import redact_url

            return TrackingError(f"{self.url} sends one on to {redact_url(elsewhere)} (HTTP {code}): name that place")
        if code in _PASSING:
            return TrackingAwayError(f"MLflow at {self.url} is busy (HTTP {code}): {text}", name)
        return TrackingError(f"MLflow at {self.url} refuses (HTTP {code}): {text}", name)


def _authorization(user: str, password: str, token: str) -> dict[str, str]:
    if user or password:
        from base64 import b64encode

        return {"Authorization": "Basic " + b64encode(f"{user}:{password}".encode()).decode()}
    return {"Authorization": f"Bearer {token}"} if token else {}


def _tls() -> Any:
    import ssl

    context = ssl.create_default_context(cafile=os.environ.get("MLFLOW_TRACKING_SERVER_CERT_PATH"))
    if os.environ.get("MLFLOW_TRACKING_INSECURE_TLS", "").lower() in ("1", "true", "yes"):
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def _pairs(mapping: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"key": key, "value": value} for key, value in mapping.items()]


def _number(value: float) -> Any:
    """Return a number as JSON can hold it, and as MLflow reads it."""
    return value if value - value == 0 else _SPECIAL[str(float(value))]


def _tracked(run: Mapping[str, Any]) -> TrackedRun:
    info, data = run["info"], run.get("data", {})
    return TrackedRun(
        info["run_id"],
        info["experiment_id"],
        info.get("artifact_uri", ""),
        info.get("status", ""),
        info.get("lifecycle_stage") == "deleted",
        {each["key"]: each.get("value", "") for each in data.get("tags", ())},
        {each["key"]: each.get("value", "") for each in data.get("params", ())},
    )


# -------------------------------------------------------------------------------------------------------- a database


class DatabaseTracking(Tracking):
    """A database, through MLflow's client.

    Parameters
    ----------
    uri : str
        ``sqlite:///path``, or another URL of SQLAlchemy's.
    shown : str
        The same without a password.
    """

    _making = threading.Lock()

    def __init__(self, uri: str, shown: str) -> None:
        self.uri, self.shown = uri, shown
        self._client: Any = None
        self._entities: Any = None
        self._exception: Any = ()  # MLflow's, once that is imported

    def experiment(self, name: str) -> str:
        return self._do(lambda client: self._experiment(client, name))

    def _experiment(self, client: Any, name: str) -> str:
        found = client.get_experiment_by_name(name)
        if found is None:
            try:
                return client.create_experiment(name, artifact_location=self._artifact_location(name))
            except self._exception as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":  # somebody else made it just now
                    raise
                found = client.get_experiment_by_name(name)
        if found.lifecycle_stage == "deleted":
            raise TrackingError(
                f"the experiment {name!r} of {self.shown} was deleted.\n  to use it:  restore it in MLflow, or delete"
                " it for good (mlflow gc), or name another: experiment_name=..."
            )
        return found.experiment_id

    def _artifact_location(self, name: str) -> str | None:
        """Return where files lie: beside the database, wherever a run and a viewer are started."""
        path = sqlite_path(self.uri)
        if path is None:
            return None
        from capture.observers._names import safe_component

        return os.path.join(os.path.dirname(path), "mlartifacts", safe_component(name))

    def find(self, key: str, value: str, experiment_id: str | None = None) -> list[TrackedRun]:
        def ask(client: Any) -> list[TrackedRun]:
            ids = [experiment_id] if experiment_id is not None else self._experiment_ids(client)
            quoted = value.replace("'", "")
            runs = client.search_runs(ids, f"tags.`{key}` = '{quoted}'", run_view_type=3, max_results=100)
            return [self._tracked(run) for run in runs]

        return self._do(ask)

    def _experiment_ids(self, client: Any) -> list[str]:
        ids: list[str] = []
        token = None
        while True:
            page = client.search_experiments(max_results=_PAGE, page_token=token)
            ids += [each.experiment_id for each in page]
            token = page.token
            if not token:
                return ids

    def get(self, run_id: str) -> TrackedRun | None:
        def ask(client: Any) -> TrackedRun | None:
            try:
                return self._tracked(client.get_run(run_id))
            except self._exception as error:
                if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                    return None
                raise

        return self._do(ask)

    def create(self, experiment_id: str, start_ms: int, name: str, tags: Mapping[str, str]) -> TrackedRun:
        return self._do(
            lambda client: self._tracked(
                client.create_run(experiment_id, start_time=start_ms, tags=dict(tags), run_name=name)
            )
        )

    def log(
        self,
        run_id: str,
        points: Sequence[Point] = (),
        params: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        def ask(client: Any) -> None:
            made = self._entities
            client.log_batch(
                run_id,
                metrics=[made.Metric(key, value, time, step) for key, value, time, step in points],
                params=[made.Param(*each) for each in (params or {}).items()],
                tags=[made.RunTag(*each) for each in (tags or {}).items()],
            )

        self._do(ask)

    def update(self, run_id: str, status: str, end_ms: int | None = None, name: str | None = None) -> None:
        def ask(client: Any) -> None:
            if end_ms is not None:
                client.set_terminated(run_id, status=status, end_time=end_ms)
            if end_ms is None or name is not None:
                client.update_run(run_id, status=status, name=name)

        self._do(ask)

    def delete_tag(self, run_id: str, key: str) -> None:
        def ask(client: Any) -> None:
            try:
                client.delete_tag(run_id, key)
            except self._exception as error:
                if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                    raise

        self._do(ask)

    def log_inputs(self, run_id: str, datasets: Sequence[Mapping[str, str]]) -> None:
        def ask(client: Any) -> None:
            made = self._entities
            client.log_inputs(run_id, datasets=[made.DatasetInput(made.Dataset(**each), []) for each in datasets])

        self._do(ask)

    def _tracked(self, run: Any) -> TrackedRun:
        info = run.info
        return TrackedRun(
            info.run_id,
            info.experiment_id,
            info.artifact_uri,
            info.status,
            info.lifecycle_stage == "deleted",
            dict(run.data.tags),
            dict(run.data.params),
        )

    # The client.

    def _do(self, ask: Any) -> Any:
        try:
            if self._client is None:
                with self._making:
                    self._client = self._connect()
            return ask(self._client)
        except self._exception as error:
            text = _first_line(error)
            if error.error_code == "TEMPORARILY_UNAVAILABLE" or "database is locked" in str(error):
                raise TrackingAwayError(f"MLflow's database {self.shown} is busy: {text}", error.error_code) from error
            raise TrackingError(f"MLflow at {self.shown} refuses: {text}", error.error_code) from error
        except Exception as error:
            if type(error).__name__ != "OperationalError":  # SQLAlchemy's, before MLflow has a connection
                raise
            raise TrackingAwayError(f"MLflow's database {self.shown} cannot be reached: {_first_line(error)}") from None

    def _connect(self) -> Any:
        try:
            from mlflow import entities
            from mlflow.exceptions import MlflowException
            from mlflow.tracking import MlflowClient
        except ImportError as error:
            raise TrackingError(
                f"MLflow's own package is needed to write to its database, and cannot be imported: {error}"
                "\n  to install it:  pip install 'experiment-capture[mlflow]'"
                "\n  or start a server, which needs no package here: mlflow server --backend-store-uri ..."
            ) from error
        self._entities, self._exception = entities, MlflowException
        path = sqlite_path(self.uri)
        if path is not None and not os.path.exists(path):
            make_sqlite(path)
        return MlflowClient(tracking_uri=self.uri)


def _first_line(error: BaseException) -> str:
    return str(error).split("\n", 1)[0]


def sqlite_path(uri: str) -> str | None:
    """Return the path of an SQLite database, absolute; None for a URL of something else."""
    return os.path.abspath(uri[len("sqlite:///") :]) if uri.startswith("sqlite:///") else None


#: makes the tables in a file beside, and lets it be the database once all are there
_MAKE = """
import os, sys
from mlflow.tracking import MlflowClient
path, beside = sys.argv[1:]
MlflowClient(tracking_uri="sqlite:///" + beside)
try:
    os.link(beside, path)
except FileExistsError:
    pass
os.unlink(beside)
"""


def make_sqlite(path: str) -> None:
    """Make an SQLite database with MLflow's tables.

    MLflow takes many steps for it, and several seconds. A process that ends in between, or two that do it at the same
    time, would leave a database that nobody can open. So it is made beside its place, by a process that goes on if this
    one ends.

    Raises
    ------
    TrackingError
        If it cannot be made.
    """
    import subprocess
    import sys
    import time

    from capture.locks import LocksUnsupportedError, try_lock

    os.makedirs(os.path.dirname(path), exist_ok=True)
    lock = os.open(path + ".making.lock", os.O_RDWR | os.O_CREAT, 0o666)
    try:
        try:
            while not try_lock(lock) and not os.path.exists(path):  # another process is making it
                time.sleep(0.05)
        except LocksUnsupportedError:
            pass  # several may make one; the first stays
        if os.path.exists(path):
            return
        environment = {name: value for name, value in os.environ.items() if not name.startswith("CAPTURE_")}
        done = subprocess.run(
            [sys.executable, "-c", _MAKE, path, f"{path}.making-{os.getpid()}"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=environment,
            start_new_session=True,
        )
    finally:
        os.close(lock)
    if not os.path.exists(path):
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()[-1:]
        raise TrackingError(f"MLflow cannot make its database {path}: {''.join(said) or f'exit {done.returncode}'}")


# --------------------------------------------------------------------------------------------------------- artifacts


class Artifacts:
    """The files of one run."""

    def put(self, name: str, open: Callable[[], BinaryIO], size: int) -> None:
        """Store what ``open()`` gives, in place of one of that name."""
        raise NotImplementedError

    def get(self, name: str) -> bytes | None:
        """Return a file, or None if there is none."""
        raise NotImplementedError

    def delete(self, names: Iterable[str]) -> None:
        """Delete files, where that can be done."""
        raise NotImplementedError


class ServedArtifacts(Artifacts):
    """Files that the tracking server takes and hands out."""

    def __init__(self, server: RestTracking, uri: str) -> None:
        from urllib.parse import quote

        path = uri.partition(":")[2].strip("/")
        self._server = server
        self._root = f"{server.url}/api/2.0/mlflow-artifacts/artifacts/{quote(path)}"

    def _url(self, name: str) -> str:
        from urllib.parse import quote

        return f"{self._root}/{quote(name)}"

    def put(self, name: str, open: Callable[[], BinaryIO], size: int) -> None:
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(size)}
        timeout_s = 3 * TIMEOUT_S + size / _SLOWEST  # the server answers when it has passed the file on
        with open() as stream:
            self._server.fetch("PUT", self._url(name), stream if size else b"", headers, timeout_s)

    def get(self, name: str) -> bytes | None:
        try:
            return self._server.fetch("GET", self._url(name))
        except TrackingAwayError:
            raise
        except TrackingError:
            return None

    def delete(self, names: Iterable[str]) -> None:
        for name in names:
            try:
                self._server.fetch("DELETE", self._url(name))
            except TrackingAwayError:
                raise
            except TrackingError as error:
                from capture.complaints import logger

                logger("capture.observers").debug("%s was not deleted: %s", name, error)


class LocalArtifacts(Artifacts):
    """Files in a folder of this machine."""

    def __init__(self, folder: str) -> None:
        self._folder = folder

    def put(self, name: str, open: Callable[[], BinaryIO], size: int) -> None:
        import builtins
        import shutil

        path = os.path.join(self._folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        beside = f"{path}.tmp-{os.getpid()}"
        with open() as stream, builtins.open(beside, "wb") as target:
            shutil.copyfileobj(stream, target, 1 << 20)
        os.replace(beside, path)

    def get(self, name: str) -> bytes | None:
        try:
            with open(os.path.join(self._folder, name), "rb") as stream:
                return stream.read()
        except FileNotFoundError:
            return None

    def delete(self, names: Iterable[str]) -> None:
        for name in names:
            try:
                os.unlink(os.path.join(self._folder, name))
            except FileNotFoundError:
                pass


class RemoteArtifacts(Artifacts):
    """Files in a bucket or the like, which the tracking server only names; reached by fsspec."""

    def __init__(self, uri: str) -> None:
        from capture.observers._remote_store import files_at

        endpoint = os.environ.get("MLFLOW_S3_ENDPOINT_URL")
        options = {"endpoint_url": endpoint} if endpoint and uri.startswith("s3") else {}
        self._files = files_at(uri, options)

    def put(self, name: str, open: Callable[[], BinaryIO], size: int) -> None:
        self._files.upload(name, open, size)

    def get(self, name: str) -> bytes | None:
        try:
            return self._files.read(name)
        except FileNotFoundError:
            return None

    def delete(self, names: Iterable[str]) -> None:
        self._files.delete(names)


def artifacts_of(tracking: Tracking, uri: str) -> Artifacts:
    """Return where the files of a run go, by the address that MLflow gives them.

    Raises
    ------
    TrackingError
        If that is a folder of the server's machine, which is another.
    """
    from urllib.parse import unquote, urlsplit

    if uri.startswith("mlflow-artifacts:") and isinstance(tracking, RestTracking):
        return ServedArtifacts(tracking, uri.replace("mlflow-artifacts://", "mlflow-artifacts:"))
    parts = urlsplit(uri)
    if parts.scheme not in ("", "file") and os.path.splitdrive(uri)[0] == "":
        return RemoteArtifacts(uri)
    folder = unquote(parts.path) if parts.scheme == "file" else uri
    if isinstance(tracking, RestTracking) and urlsplit(tracking.url).hostname not in ("127.0.0.1", "localhost", "::1"):
        raise TrackingError(
            f"{tracking.url} keeps files in {folder!r}, a folder of its own machine that cannot be reached from here."
            "\n  to mend it:  start the server with --serve-artifacts --artifacts-destination ..."
        )
    return LocalArtifacts(os.path.abspath(folder))
