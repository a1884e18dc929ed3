# A hook may take a subset of its arguments: a rule that the type system does not know.
# mypy: disable-error-code="override"

"""Runs in MongoDB, laid out as Sacred does, so that Omniboard, Incense and Sacredboard show them.

::

    runs                 a document per run: Sacred's fields, and what is new under the key ``capture``
    metrics              a document per series, as Sacred writes it, and pages with every point
    fs.files, fs.chunks  GridFS: sources, resources, artifacts, values and output that no document could hold
    capture.labels       the last number that was given
    capture.bin.runs     runs that people put out of sight, if there are any

Documents are never replaced, only single fields are set: viewers and launchers keep theirs there.
"""

from __future__ import annotations

import os
import weakref

from capture.errors import CommandLineError, ObserverError
from capture.observers._mongo_labels import Labels, label_of
from capture.observers._mongo_place import Place, driver, may_pass, names_of, split_options
from capture.observers._writing import StoreObserver, require_driver
from capture.observers.queue import QueueObserver

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, ClassVar

    from capture.observers._mongo_curator import MongoCurator
    from capture.observers._mongo_reader import MongoReader
    from capture.observers._mongo_run import MongoRun

DEFAULT_MONGO_PRIORITY = 30
#: what a run's document holds of the run that is overwritten and that must not shine through
_OLD = (
    "fail_trace", "stop_time", "result", "start_time", "heartbeat", "captured_out", "info", "resources", "artifacts",
    "experiment", "capture",
)  # fmt: skip


class MongoObserver(StoreObserver):
    """Writes runs into MongoDB, in Sacred's layout.

    Parameters
    ----------
    url : str, optional
        A MongoDB URL, or ``host:port``; default: this machine.
    db_name : str
        The database.
    collection : str
        The collection of runs. Deprecated: `collection_prefix` names that of the metrics with it.
    collection_prefix : str
        The collections are then called ``PREFIX_runs`` and ``PREFIX_metrics``. Omniboard shows no metric columns then.
    overwrite : object, optional
        The `_id` of a document that the run is written into, whatever its status. Fields that are not the run's stay.
    priority : float
    client : pymongo.MongoClient, optional
        In place of `url`: it is used, and not closed.
    failure_dir : path, optional
        Sacred's; nothing is written there, since what cannot be stored stays in the run's journal.
    share_artifacts : bool
        Whether artifacts of different runs with the same content are stored once, as sources and resources always are.
        Not by default: viewers that delete a run delete its artifacts, and so would take those of others away.
    **kwargs
        For `pymongo.MongoClient`.

    Raises
    ------
    ValueError
        If `client` is none, or is given with `url`; or `collection` with `collection_prefix`.
    KeyError
        If the collection has a name that MongoDB or a viewer uses otherwise.
    RuntimeError
        If there is no document to overwrite.

    Notes
    -----
    A connection is made when the first run starts, not before (but for `overwrite`), and by each process its own.
    MongoDB 4.4 or later is needed.
    """

    VERSION = "MongoObserver-0.7.0"  #: Sacred's name of the layout
    COLLECTION_NAME_BLACKLIST = frozenset(
        {"fs.files", "fs.chunks", "_properties", "system.indexes", "search_space", "search_spaces"}
    )

    drivers: ClassVar[dict[str, str]] = {"pymongo": "mongo"}  #: module -> the extra that brings it

    def __init__(
        self,
        url: str | None = None,
        db_name: str = "sacred",
        collection: str = "runs",
        collection_prefix: str = "",
        overwrite: Any = None,
        priority: float = DEFAULT_MONGO_PRIORITY,
        client: Any = None,
        failure_dir: str | os.PathLike[str] | None = None,
        share_artifacts: bool = False,
        **kwargs: Any,
    ) -> None:
        if client is not None:
            if not isinstance(client, driver().MongoClient):
                raise ValueError(f"client is a pymongo.MongoClient, got {client!r}")
            if url is not None:
                raise ValueError("give either client or url: both say where the database is")
        if collection != "runs":
            import warnings

            warnings.warn(
                "MongoObserver(collection=...) is deprecated: collection_prefix names the collection of metrics, too",
                DeprecationWarning,
                stacklevel=2,
            )
            if collection_prefix:
                raise ValueError("give either collection or collection_prefix")
        self._set_up(
            Place(
                url or "",
                db_name,
                *names_of(collection, collection_prefix),
                client=client,
                options=kwargs,
            ),
            overwrite,
            priority,
            failure_dir,
            share_artifacts,
        )

    def _set_up(
        self, place: Place, overwrite: Any, priority: float, failure_dir: Any = None, share_artifacts: bool = False
    ) -> None:
        require_driver("pymongo", "mongo", "runs are stored in MongoDB")
        if place.runs_name in self.COLLECTION_NAME_BLACKLIST:
            raise KeyError(f"the collection of runs cannot be called {place.runs_name!r}: that name has another use")
        super().__init__(priority)
        self.place = place
        self.labels = Labels(place)
        self.failure_dir = failure_dir
        self.share_artifacts = share_artifacts
        self.overwrite: Any = None
        self._overwritten = False
        if overwrite is not None:
            with place.explained():
                self.overwrite = place.runs.find_one({"_id": overwrite})
            if self.overwrite is None:
                raise RuntimeError(f"there is no run {overwrite!r} in {self.identity} to overwrite")
        _OBSERVERS.add(self)

    @classmethod
    def create_from(
        cls,
        runs_collection: Any,
        fs: Any,
        overwrite: Any = None,
        metrics_collection: Any = None,
        failure_dir: str | os.PathLike[str] | None = None,
        priority: float = DEFAULT_MONGO_PRIORITY,
        share_artifacts: bool = False,
    ) -> MongoObserver:
        """Make an observer from collections.

        Parameters
        ----------
        runs_collection : pymongo.collection.Collection
        fs : gridfs.GridFS
        overwrite : object, optional
            An `_id`, or a document that has one.
        metrics_collection : pymongo.collection.Collection, optional
            Default: ``metrics``.
        """
        database = runs_collection.database
        observer = cls.__new__(cls)
        root = getattr(fs, "_collection", None)
        if root is None:
            root = getattr(fs, "_GridFS__collection", None)  # before pymongo 4.9
        place = Place(
            "",
            database.name,
            runs_collection.name,
            "metrics" if metrics_collection is None else metrics_collection.name,
            client=database.client,
            fs="fs" if root is None else root.name,
        )
        wanted = overwrite.get("_id") if isinstance(overwrite, dict) else overwrite
        observer._set_up(place, wanted, priority, failure_dir, share_artifacts)
        return observer

    @classmethod
    def from_url(cls, url: str, **options: Any) -> MongoObserver:
        """Make an observer from a MongoDB URL whose path names the database (default: ``sacred``).

        Besides the driver's options it may have ``collection_prefix``, ``collection``, ``overwrite``, ``priority`` and
        ``share_artifacts``.
        """
        url, database, own = split_options(url)
        chosen: dict[str, Any] = {**own, **options}
        names = names_of(chosen.pop("collection", "runs"), chosen.pop("collection_prefix", ""))
        observer = cls.__new__(cls)
        overwrite = chosen.pop("overwrite", None)
        observer_options = {
            "overwrite": None if overwrite is None else label_of(overwrite),
            "priority": float(chosen.pop("priority", DEFAULT_MONGO_PRIORITY)),
            "failure_dir": chosen.pop("failure_dir", None),
            "share_artifacts": str(chosen.pop("share_artifacts", "")).lower() in ("1", "true", "yes"),
        }
        observer._set_up(Place(url, database or "sacred", *names, options=chosen), **observer_options)
        return observer

    @classmethod
    def from_argument(cls, text: str) -> MongoObserver:
        """Make an observer from what stands behind ``-m``.

        It is a MongoDB URL, or ``[HOST:PORT:]DATABASE[.COLLECTION[:ID]][!PRIORITY]``, where `ID` is that of a run to
        overwrite; or ``HOST:PORT`` alone.

        Raises
        ------
        CommandLineError
            If it is none of these; a ValueError.
        """
        if "://" in text:
            url, mark, priority = text.rpartition("!")
            has_priority = mark and _is_number(priority)
            return cls.from_url(url, priority=float(priority)) if has_priority else cls.from_url(text)
        options = parse_mongo_db_arg(text)
        place = Place(options.get("url", ""), options.get("db_name", "sacred"), options.get("collection", "runs"))
        observer = cls.__new__(cls)
        observer._set_up(place, options.get("overwrite"), options.get("priority", DEFAULT_MONGO_PRIORITY))
        return observer

    @classmethod
    def reader(cls, url: str) -> MongoReader:
        """Return a reader of the store at `url`."""
        from capture.observers._mongo_reader import MongoReader

        return MongoReader(url)

    @classmethod
    def curator(cls, url: str) -> MongoCurator:
        """Return a curator of the store at `url`."""
        from capture.observers._mongo_curator import MongoCurator

        return MongoCurator(url)

    @property
    def identity(self) -> str:
        """Name the store: its URL without user, password and options."""
        return self.place.identity

    def __eq__(self, other: object) -> bool:
        return isinstance(other, MongoObserver) and self.identity == other.identity

    def __hash__(self) -> int:
        return hash(self.identity)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.identity!r})"

    def __getstate__(self) -> dict[str, Any]:
        kept = ("priority", "failure_dir", "share_artifacts", "overwrite", "_overwritten")
        place = {
            name: getattr(self.place, name)
            for name in ("url", "database_name", "runs_name", "metrics_name", "fs_name", "options", "given")
        }
        return {"place": place, **{name: getattr(self, name) for name in kept}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        place = state.pop("place")
        self.__dict__.update(state)
        self.place = Place(
            place["url"], place["database_name"], place["runs_name"], place["metrics_name"], place["given"],
            place["fs_name"], place["options"],
        )  # fmt: skip
        self.labels = Labels(self.place)
        self.forget()
        _OBSERVERS.add(self)

    def transient(self, error: BaseException) -> bool:
        """Say whether `error` may pass: the server is away, shuts down, has no primary now, or no room."""
        return super().transient(error) or may_pass(error)

    def close(self) -> None:
        """Let go of the connection. It is made again when it is needed."""
        self.place.close()

    # What Sacred's observer shows.

    @property
    def runs(self) -> Any:
        """The collection of runs."""
        return self.place.runs

    @property
    def metrics(self) -> Any:
        """The collection of metrics."""
        return self.place.metrics

    @property
    def fs(self) -> Any:
        """GridFS, as `gridfs` gives it."""
        from gridfs import GridFS

        return GridFS(self.place.client[self.place.database_name], self.place.fs_name)

    @property
    def _client(self) -> Any:
        return self.place.client

    @property
    def run_entry(self) -> dict[str, Any] | None:
        """The document of the run that was told of last, as far as this observer set it; None before one starts.

        What is put under a key of its own is written into the document with the next flush.
        """
        return None if self._last is None or self._last.label is None else self._last.entry

    # ---------------------------------------------------------------------------------------------- runs

    def find_run(self, uid: str) -> MongoRun | None:
        from capture.observers._mongo_run import MongoRun

        fields = {
            "capture.seqs": 1, "capture.missed": 1, "capture.uid": 1, "capture.key": 1, "capture.files": 1,
            "capture.exact": 1, "info.metrics": 1, "experiment.base_dir": 1,
        }  # fmt: skip
        with self.place.explained():
            for collection in (self.place.runs, self.place.bin):  # it may have been put away while it waited
                found = collection.find_one({"capture.uids": uid}, fields)
                if found is not None:
                    return MongoRun(self, found["_id"], uid, found, collection is self.place.bin)
        return None

    def claim_run(self, uid: str | None, asked: Any, takes_over: bool) -> MongoRun:
        from capture.observers._mongo_run import MongoRun

        if self.overwrite is not None:
            return self._overwrite(uid)
        if asked is not None and takes_over:
            taken = self._take_over(uid, label_of(asked))
            if taken is not None:
                return taken
        run = MongoRun(self, None, uid)
        run.asked = asked
        return run

    def _take_over(self, uid: str | None, label: Any) -> MongoRun | None:
        """Take over a queued run, in one step; None if there is none of that label (any more)."""
        from pymongo import ReturnDocument

        from capture.observers._mongo_run import MongoRun

        change: dict[str, Any] = {
            "$set": {"status": "RUNNING", "capture.uid": uid},
            "$unset": {"capture.seqs": "", "capture.missed": ""},
        }
        if uid is not None:
            change["$addToSet"] = {"capture.uids": uid}
        with self.place.explained():
            found = self.place.durable_runs.find_one_and_update(
                {"_id": label, "status": "QUEUED"}, change, return_document=ReturnDocument.AFTER
            )
        return None if found is None else MongoRun(self, label, uid, found)

    def _overwrite(self, uid: str | None) -> MongoRun:
        """Write into the document that was named, with nothing of an earlier run left in it."""
        from capture.observers._mongo_run import MongoRun

        if self._overwritten:
            done = f"{self!r} was to overwrite one run, {self.overwrite['_id']!r}, and has done so"
            raise ObserverError(f"{done}\n  to overwrite it again:  make another observer")
        label = self.overwrite["_id"]
        with self.place.explained():
            old = self.place.runs.find_one({"_id": label}, {"info.metrics": 1, "capture": 1})
            if old is None:
                raise ObserverError(f"run {label!r} of {self.identity}, which is to be overwritten, was removed")
            run = MongoRun(self, label, uid, {"_id": label})
            change: dict[str, Any] = {
                "$unset": dict.fromkeys(_OLD, ""),
            }
            self.place.runs.update_one({"_id": label}, change)
            first: dict[str, Any] = {"capture.key": run.key}
            if uid is not None:
                first.update({"capture.uid": uid, "capture.uids": [uid]})
            self.place.durable_runs.update_one({"_id": label}, {"$set": first})
            from capture.observers._mongo_removal import remove_satellites

            remove_satellites(self.place, old)
            self.labels.keep(label)
        self._overwritten = True
        return run

    def is_gone(self, run: Any) -> bool:
        return run.gone

    def forget(self) -> None:
        super().forget()
        if "place" in self.__dict__:
            self.place.forget()


class QueuedMongoObserver(QueueObserver):
    """A `MongoObserver` under Sacred's other name.

    Parameters
    ----------
    interval, retry_interval : float
        Taken and not used, see `QueueObserver`.
    url, db_name, collection, overwrite, priority, client, **kwargs
        See `MongoObserver`.
    """

    def __init__(
        self,
        interval: float = 20.0,
        retry_interval: float = 10.0,
        url: str | None = None,
        db_name: str = "sacred",
        collection: str = "runs",
        overwrite: Any = None,
        priority: float = DEFAULT_MONGO_PRIORITY,
        client: Any = None,
        **kwargs: Any,
    ) -> None:
        observer = MongoObserver(
            url=url,
            db_name=db_name,
            collection=collection,
            overwrite=overwrite,
            priority=priority,
            client=client,
            **kwargs,
        )
        super().__init__(observer, interval, retry_interval)


def parse_mongo_db_arg(text: str) -> dict[str, Any]:
    """Return the options of `MongoObserver` that Sacred's short form of ``-m`` stands for.

    Examples
    --------
    >>> parse_mongo_db_arg("db.example:27018:lab.vision:12!40")
    {'url': 'db.example:27018', 'db_name': 'lab', 'collection': 'vision', 'overwrite': 12, 'priority': 40.0}
    >>> parse_mongo_db_arg("localhost:27017"), parse_mongo_db_arg("lab")
    ({'url': 'localhost:27017'}, {'db_name': 'lab'})
    """
    import re

    host = r"[0-9A-Za-z](?:[0-9A-Za-z.-]*[0-9A-Za-z])?:\d{1,5}"
    name = r"[_A-Za-z][0-9A-Za-z#%&'()+\-;=@\[\]^_{}]{0,63}"
    if re.fullmatch(host, text):
        return {"url": text}
    runs = rf"(?P<db_name>{name})(?:\.(?P<collection>{name})(?::(?P<overwrite>\d+))?)?"
    match = re.fullmatch(rf"(?:(?P<url>{host}):)?{runs}(?:!(?P<priority>.*))?", text)
    if match is None:
        raise _bad_argument(text)
    found: dict[str, Any] = {key: value for key, value in match.groupdict().items() if value}
    if "overwrite" in found:
        found["overwrite"] = label_of(found["overwrite"])
    if "priority" in found:
        if not _is_number(found["priority"]):
            raise _bad_argument(text)
        found["priority"] = float(found["priority"])
    return found


def _bad_argument(text: str) -> CommandLineError:
    close = "" if "/" not in text else f"\n  did you mean:  mongodb://{text}"
    return CommandLineError(
        f"{text!r} names no database.{close}"
        "\n  possible:  DATABASE, DATABASE.COLLECTION, DATABASE.COLLECTION:ID, each with HOST:PORT: before it or"
        " !PRIORITY behind it;\n             HOST:PORT; mongodb://USER:PASSWORD@HOST/DATABASE"
    )


def _is_number(text: str) -> bool:
    return text.lstrip("-").replace(".", "", 1).isdigit()


# ---------------------------------------------------------------------------------------------------------- forks

_OBSERVERS: weakref.WeakSet[MongoObserver] = weakref.WeakSet()


def _forked() -> None:
    """In a forked child: locks may be held by threads that are not here, and a connection is the parent's."""
    for observer in list(_OBSERVERS):
        observer.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


def __getattr__(name: str) -> Any:
    """Give what belongs here without a run having to load it."""
    if name == "MongoReader":
        from capture.observers._mongo_reader import MongoReader

        return MongoReader
    if name == "MongoCurator":
        from capture.observers._mongo_curator import MongoCurator

        return MongoCurator
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
