"""Where in which MongoDB a store is: its URL, its client, its collections, and what the server's errors mean."""

from __future__ import annotations

import os
import sys
import weakref
from contextlib import contextmanager

from capture.errors import ObserverError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

PORT = 27017
#: what a URL may say to us, not to the driver
OWN_OPTIONS = ("collection_prefix", "collection", "overwrite", "priority", "failure_dir", "share_artifacts")
#: how long the driver waits, in ms, where neither URL nor caller says so: a run must not wait half a minute
TIMES = {"serverSelectionTimeoutMS": 3_000, "connectTimeoutMS": 3_000, "socketTimeoutMS": 20_000}

_REFUSED = frozenset({18, 8000})  # the credentials are wrong
_FORBIDDEN = 13  # they are right, but give no access
_PASSING = frozenset(
    # shutting down, not the primary now, disk full, a conflict between writes, a time limit
    {6, 7, 50, 89, 91, 112, 189, 202, 262, 9001, 10107, 11600, 11602, 13435, 13436, 14031}
)


def driver() -> Any:
    """Import and return `pymongo`.

    Raises
    ------
    ObserverError
        If it is not installed; says how to.
    """
    try:
        import pymongo
    except ImportError as error:
        raise ObserverError(
            "runs are stored in MongoDB by pymongo, which is not installed."
            "\n  to install it:  pip install 'experiment-capture[mongo]'",
            print_traceback=False,
        ) from error
    return pymongo


def split_options(url: str) -> tuple[str, str, dict[str, str]]:
    """Take a store's URL apart.

    Returns
    -------
    url : str
        For the driver, without what is ours.
    database : str
        "" where the URL names none.
    own : dict of str to str
        Those of `OWN_OPTIONS` that it has.

    Examples
    --------
    >>> split_options("mongodb://db:27018/lab?collection_prefix=vision&tls=true")
    ('mongodb://db:27018/lab?tls=true', 'lab', {'collection_prefix': 'vision'})
    """
    from urllib.parse import unquote_plus

    _check_login(url)
    head, _, query = url.partition("?")
    own: dict[str, str] = {}
    others = []
    for pair in query.split("&") if query else ():
        name, _, value = pair.partition("=")
        if name in OWN_OPTIONS:
            own[name] = unquote_plus(value)
        else:
            others.append(pair)
    scheme, _, rest = head.partition("://")
    hosts, _, path = rest.partition("/")
    if others:
        return f"{scheme}://{hosts}/{path}?{'&'.join(others)}", unquote_plus(path), own
    return head, unquote_plus(path), own


def names_of(collection: str, prefix: str) -> tuple[str, str]:
    """Return the names of the collections of runs and of metrics."""
    return (f"{prefix}_runs", f"{prefix}_metrics") if prefix else (collection, "metrics")


def place_of(url: str) -> Place:
    """Return the place that a store's URL names."""
    url, database, own = split_options(url)
    names = names_of(own.get("collection", "runs"), own.get("collection_prefix", ""))
    return Place(url, database or "sacred", *names)


def hosts_in(url: str) -> list[str]:
    """Return the servers that a URL names, without user and password, sorted.

    Examples
    --------
    >>> hosts_in("mongodb://me:secret@B.example,a.example:27018/lab"), hosts_in("localhost:27017")
    (['a.example:27018', 'b.example:27017'], ['localhost:27017'])
    """
    scheme, separator, rest = url.partition("://")
    rest = (rest if separator else scheme).partition("?")[0].partition("/")[0].rpartition("@")[2].lower()
    if scheme == "mongodb+srv":
        return [rest]
    return sorted(host if _has_port(host) else f"{host}:{PORT}" for host in rest.split(",") if host)


def _has_port(host: str) -> bool:
    return host.rpartition("]")[2].count(":") == 1 or (":" in host and "]" not in host) or host.endswith(".sock")


def user_in(url: str) -> str:
    """Return the name of the user in a URL, or ""."""
    from urllib.parse import unquote_plus

    login, at, _ = url.partition("://")[2].partition("/")[0].rpartition("@")
    return unquote_plus(login.partition(":")[0]) if at else ""


def _check_login(url: str) -> None:
    """Refuse a URL in which it is not clear what the password is, before a part of it is taken for something else."""
    login, at, _ = url.partition("://")[2].rpartition("@")
    odd = login.count(":") > 1 or any(char in login for char in "/?#@")
    unquoted = any(not _is_hex(part[:2]) for part in login.split("%")[1:])
    if at and (odd or unquoted):
        raise ObserverError(
            "in this MongoDB URL user and password cannot be told apart from the rest: characters like / : ? # @ % in"
            " them must be written %2F %3A %3F %23 %40 %25, and so must each @ behind them"
            "\n  to do so:  urllib.parse.quote_plus(password)",
            print_traceback=False,
        )


def _is_hex(text: str) -> bool:
    return len(text) == 2 and not text.strip("0123456789abcdefABCDEF")


class Place:
    """The collections of one store; a connection is made when the first of them is used, and anew in another process.

    Parameters
    ----------
    url : str
        For the driver; "" with `client`.
    database : str
    runs, metrics : str
        Names of collections.
    client : pymongo.MongoClient, optional
        The user's own.
    fs : str
        Root of the GridFS collections.
    options : mapping
        For `pymongo.MongoClient`.
    """

    def __init__(
        self,
        url: str,
        database: str,
        runs: str = "runs",
        metrics: str = "metrics",
        client: Any = None,
        fs: str = "fs",
        options: Mapping[str, Any] | None = None,
    ) -> None:
        _check_login(url)
        self.url, self.database_name, self.runs_name, self.metrics_name = url, database, runs, metrics
        self.fs_name = fs
        self.options = dict(options or {})
        self.given = client
        self._client: Any = None
        self._pid = 0
        self._collections: dict[Any, Any] = {}

    @property
    def hosts(self) -> list[str]:
        """The servers, as ``host:port``."""
        if self.given is not None:
            seen = self.given.topology_description.server_descriptions()
            return sorted(f"{host}:{port}" for host, port in seen)
        host = self.options.get("host") or self.url or "localhost"
        port = self.options.get("port")
        if isinstance(host, str):
            return hosts_in(f"{host}:{port}" if port and "://" not in host and not _has_port(host) else host)
        return sorted({each for text in host for each in hosts_in(text)})

    @property
    def identity(self) -> str:
        """URL of the store without credentials; it opens the store where none are needed."""
        scheme = "mongodb+srv" if self.url.startswith("mongodb+srv:") else "mongodb"
        text = f"{scheme}://{','.join(self.hosts)}/{self.database_name}"
        if (self.runs_name, self.metrics_name) == ("runs", "metrics"):
            return text
        if self.runs_name == f"{self.metrics_name[: -len('_metrics')]}_runs":
            return f"{text}?collection_prefix={self.metrics_name[: -len('_metrics')]}"
        return f"{text}?collection={self.runs_name}"

    @property
    def user(self) -> str:
        """Who logs in; "" if nobody."""
        return str(self.options.get("username") or user_in(self.url))

    # ------------------------------------------------------------------------------------------- the connection

    @property
    def client(self) -> Any:
        """The client; a forked child makes its own, since a parent's does not work there."""
        if self.given is not None:
            return self.given
        if self._client is None or self._pid != os.getpid():
            self._client, self._pid = self._connect(), os.getpid()
            self._collections = {}
        return self._client

    def _connect(self) -> Any:
        pymongo = driver()
        options = {**self.options}
        named = {pair.partition("=")[0].lower() for pair in self.url.partition("?")[2].split("&")}
        named |= {name.lower() for name in options}
        options.update({name: value for name, value in TIMES.items() if name.lower() not in named})
        if "appname" not in named:
            options["appname"] = "capture"
        if self.url:
            options.setdefault("host", self.url)
        try:
            client = pymongo.MongoClient(**options)
        except (pymongo.errors.PyMongoError, ValueError, TypeError) as error:
            from capture.secrets import redact_urls_in

            raise ObserverError(
                f"the driver of MongoDB refuses {self.identity}: {redact_urls_in(str(error))}",
                print_traceback=False,
            ) from None
        _never_wait_for(client)
        return client

    def close(self) -> None:
        """Let go of the connection, if it is ours."""
        if self._client is not None and self._pid == os.getpid():
            self._client.close()
        self._client = None
        self._collections = {}

    def forget(self) -> None:
        """Forget a connection that belongs to another process."""
        self._client = None
        self._collections = {}

    # ------------------------------------------------------------------------------------------- collections

    def _collection(self, name: str, durable: bool = False) -> Any:
        client = self.client
        key = name, durable
        found = self._collections.get(key)
        if found is None:
            from bson.codec_options import CodecOptions

            database = client[self.database_name]
            concern = database.write_concern
            if durable:
                from pymongo.write_concern import WriteConcern

                # A server confirms a write before it is on its disk. What a run's journal is told to be stored must
                # outlive the server's death; what was written before on the same server, then does, too.
                document = concern.document
                if document.get("w", 1) != 0:
                    concern = WriteConcern(**{**document, "j": True})
            found = database.get_collection(name, codec_options=CodecOptions(tz_aware=True), write_concern=concern)
            self._collections[key] = found
        return found

    @property
    def runs(self) -> Any:
        return self._collection(self.runs_name)

    @property
    def durable_runs(self) -> Any:
        """The collection of runs; a write to it is on the server's disk, with all before it, when it returns."""
        return self._collection(self.runs_name, durable=True)

    @property
    def durable_bin(self) -> Any:
        """Likewise the bin."""
        return self._collection(f"capture.bin.{self.runs_name}", durable=True)

    @property
    def metrics(self) -> Any:
        return self._collection(self.metrics_name)

    @property
    def durable_metrics(self) -> Any:
        """Likewise that of measurements."""
        return self._collection(self.metrics_name, durable=True)

    @property
    def files(self) -> Any:
        return self._collection(f"{self.fs_name}.files")

    @property
    def durable_files(self) -> Any:
        """Likewise that of files; their bytes are written before."""
        return self._collection(f"{self.fs_name}.files", durable=True)

    @property
    def chunks(self) -> Any:
        return self._collection(f"{self.fs_name}.chunks")

    @property
    def labels(self) -> Any:
        """Which numbers were given; see `capture.observers._mongo_labels`."""
        return self._collection("capture.labels")

    @property
    def bin(self) -> Any:
        """The runs that people put out of sight: viewers show whatever lies in `runs`."""
        return self._collection(f"capture.bin.{self.runs_name}")

    # ------------------------------------------------------------------------------------------- errors

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Say what a refusal by the server means, and briefly that it is away."""
        try:
            yield
        except Exception as error:
            told = self._explanation(error)
            if told is None:
                raise
            raise told from error

    def _explanation(self, error: BaseException) -> Exception | None:
        errors = sys.modules.get("pymongo.errors")
        if errors is None or not isinstance(error, errors.PyMongoError):
            return None
        where, who, code = ",".join(self.hosts), self.user, getattr(error, "code", None)
        if isinstance(error, errors.ConnectionFailure) and code is None and not _is_shut_out(error):
            brief = str(error).partition(" (configured timeouts")[0]  # what follows is about the driver's inner state
            return ConnectionError(f"MongoDB at {where} does not answer: {brief}")
        if code in _REFUSED or _is_shut_out(error):
            return ObserverError(
                f"MongoDB at {where} does not let {who!r} in: name or password is wrong, or the user belongs to another"
                " database\n  what can be done:  check the URL; authSource=DATABASE says where the user is known",
                print_traceback=False,
            )
        if code == _FORBIDDEN:
            named = repr(who) if who else "someone without a name"
            return ObserverError(
                f"MongoDB at {where} does not let {named} use the database {self.database_name!r}: {_brief(error)}"
                "\n  what can be done:  give a user and password in the URL, or ask for the role readWrite there",
                print_traceback=False,
            )
        return None


def _brief(error: Any) -> str:
    details = getattr(error, "details", None) or {}
    return str(details.get("errmsg") or error)[:200]


def _is_shut_out(error: BaseException) -> bool:
    """Say whether the driver reports refused credentials as a server that does not answer: from the second time on."""
    errors = sys.modules["pymongo.errors"]
    return isinstance(error, errors.ConnectionFailure) and "authentication failed" in str(error).lower()


def may_pass(error: BaseException) -> bool:
    """Say whether an error of the driver may pass by itself."""
    errors = sys.modules.get("pymongo.errors")
    if errors is None or not isinstance(error, errors.PyMongoError):
        return False
    if isinstance(error, (errors.ConnectionFailure, errors.WTimeoutError, errors.ExecutionTimeout)):
        return not _is_shut_out(error)
    if error.has_error_label("RetryableWriteError") or error.has_error_label("TransientTransactionError"):
        return True
    if isinstance(error, errors.BulkWriteError):
        codes = {each.get("code") for each in (error.details or {}).get("writeErrors", ())}
        return bool(codes) and codes <= _PASSING
    return getattr(error, "code", None) in _PASSING


def is_duplicate(error: BaseException) -> bool:
    """Say whether the server refused a document since there is one with its key."""
    errors = sys.modules["pymongo.errors"]
    if isinstance(error, errors.BulkWriteError):
        found = (error.details or {}).get("writeErrors", ())
        return bool(found) and all(each.get("code") == 11000 for each in found)
    return isinstance(error, errors.DuplicateKeyError)


# ------------------------------------------------------------------------------------------------------- the exit

_CLIENTS: list[weakref.ref[Any]] = []  # those that were made here; clients of one server are equal, so no set of them


def _never_wait_for(client: Any) -> None:
    """See that the process does not wait for the threads of `client` when it ends.

    The driver's threads look after connections and sleep for half a second at a time. It asks all of them to stop when
    Python ends, and waits until each has woken. They are daemons, so that nothing is lost by not waiting; for clients
    that are not ours it still waits.
    """
    if not _CLIENTS:
        import atexit

        atexit.unregister(_let_go)
        atexit.register(_let_go)  # after the driver's own, so that it is called before that
    _CLIENTS.append(weakref.ref(client, _CLIENTS.remove))


def _let_go() -> None:
    for reference in list(_CLIENTS):
        for executor in executors_of(reference()):
            executor._thread = None  # what `join` waits for


def executors_of(client: Any) -> list[Any]:
    """Return the driver's objects that each have a thread for `client`, as far as they can be found."""
    topology = getattr(client, "_topology", None)
    owners = [getattr(server, "_monitor", None) for server in dict(getattr(topology, "_servers", {})).values()]
    owners += [getattr(monitor, "_rtt_monitor", None) for monitor in owners]
    owners.append(getattr(topology, "_srv_monitor", None))
    found = [getattr(owner, "_executor", None) for owner in owners]
    found.append(getattr(client, "_kill_cursors_executor", None))
    found.append(getattr(topology, "_events_executor", None))
    return [executor for executor in found if hasattr(executor, "_thread")]
