"""The client: ``capture.open_store(url)``, and what it returns."""

from __future__ import annotations

import os

from capture.hooks import Reader
from capture.query.runs import Runs, condition
from capture.query.stored_run import StoredRun

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

    from capture.hooks import Curator
    from capture.query.runs import Condition
    from capture.records import RunRecord


class Store(Reader):
    """A store of runs, opened by `capture.open_store`.

    It can be used by several threads, and pickled: it is then opened again where it is unpickled.

    Attributes
    ----------
    url : str
        What the store is called, without credentials.
    reader : Reader
        What reads it.
    """

    def __init__(self, url: str, reader: Reader) -> None:
        import threading

        self.reader = reader
        self.url = reader.url or _without_password(url)
        self._location = url
        self._curator: Curator | None = None
        self._lock = threading.Lock()

    def get(self, run: Any) -> StoredRun:
        """Return one run.

        Parameters
        ----------
        run : str or int
            Label, uid, beginning or end of a uid, "latest", or a negative number: -1 is the newest.

        Raises
        ------
        RunNotFoundError
            If there is none, or several; it lists the labels.
        """
        return self.run_of(self.reader.get(run))

    def run_of(self, record: RunRecord) -> StoredRun:
        """Return the run of a record that the store's reader gave."""
        return StoredRun(record, self)

    def find(self, where: Condition = None, limit: int | None = None) -> Iterator[StoredRun]:
        """Yield the runs for which a condition holds, newest first, one by one; see `runs` for more."""
        for record in self.reader.find(condition(where, self), limit):
            yield self.run_of(record)

    def runs(self, where: Condition = None, *, labels: Iterable[Any] | None = None) -> Runs:
        """Return the runs for which a condition holds, newest first; nothing is read before it is asked for.

        Parameters
        ----------
        where : str, mapping or Filter, optional
            ``"config.lr < 0.1 and 'good' in tags"``, ``{"config.lr": 0.1}``, or a condition made by
            `capture.filters.field`.
        labels : iterable, optional
            These runs and no others, in this order; each is named as in `get`.
        """
        runs = Runs(self) if labels is None else Runs(self, picked=[self.get(label) for label in labels])
        return runs if where is None else runs.filter(where)

    def labels(self) -> list[Any]:
        """Return the labels of all runs, oldest first."""
        return self.reader.labels()

    @property
    def unreadable(self) -> dict[str, str]:
        """What is wrong with runs that were left out of answers since the store was opened, by their labels.

        A damaged record does not hide the others: `find` and `runs` go on without it, and the log says so.
        """
        return dict(getattr(self.reader, "unreadable", None) or {})

    def is_alive(self, record: RunRecord) -> bool | None:
        """Say whether the process that writes a RUNNING run lives; None where it cannot be told from here."""
        return self.reader.is_alive(record.record if isinstance(record, StoredRun) else record)

    @property
    def curator(self) -> Curator:
        """What changes the store: tags, notes, the bin."""
        with self._lock:
            if self._curator is None:
                from capture.registry import open_curator

                self._curator = open_curator(self._location)
            return self._curator

    def close(self) -> None:
        """Let go of connections."""
        self.reader.close()
        with self._lock:
            curator, self._curator = self._curator, None
        end = getattr(curator, "close", None)
        if end is not None:
            end()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __reduce__(self) -> Any:
        return open_store, (self._location,)

    def __repr__(self) -> str:
        return f"<Store {self.url}>"

    def _repr_html_(self) -> str:
        from capture.query.reprs import store_html

        return store_html(self)


def _without_password(url: str) -> str:
    from capture.secrets import redact_url

    return redact_url(url)


def open_store(url: str | os.PathLike[str] | None = None) -> Store:
    """Open a store for reading.

    Journals that writers of this machine left behind for a local store are delivered first, so that a run whose process
    was killed is there with all it had recorded.

    Parameters
    ----------
    url : str or path, optional
        A folder, or a URL whose scheme is built in or declared by an installed package. By default the store that runs
        are recorded in: that of ``CAPTURE_STORE`` or the settings, else ``runs``.

    Raises
    ------
    ObserverError
        If no store has this scheme, or its store cannot be read.
    StoreNotFoundError
        If it is a folder that does not exist, or a place in a bucket or on a file server where nothing lies.
    """
    from capture.settings import SETTINGS
    from capture.stores import open_store as open_reader

    location = os.fspath(SETTINGS.STORE if url is None else url)
    return Store(location, open_reader(location))
