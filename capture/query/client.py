"""The client: ``capture.open_store(url)``, and the runs in it."""

from __future__ import annotations

from capture.hooks import Reader
from capture.records import RunRecord

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Mapping
    from typing import Any

    from capture.filters import Filter
    from capture.hooks import Curator


class StoredRun(RunRecord):
    """A run in a store: its record, whose parts are read when they are asked for, and what can be done with it.

    Attributes
    ----------
    record : RunRecord
        As the store's reader returned it.
    store : Store
    """

    def __init__(self, record: RunRecord, store: Store) -> None:
        self.record, self.store = record, store

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name in ("record", "store"):
            raise AttributeError(name)
        return getattr(self.record, name)

    @property
    def summary(self) -> Mapping[str, dict[str, Any]]:
        return self.record.summary

    @property
    def state(self) -> str:
        """Its status; DIED if it says RUNNING and its process is known to be gone."""
        return "DIED" if self.status == "RUNNING" and self.store.is_alive(self.record) is False else self.status

    def to_dict(self, streams: bool = True) -> dict[str, Any]:
        return self.record.to_dict(streams)

    def __repr__(self) -> str:
        return f"<StoredRun {self.label or self.uid[-8:]} of {self.experiment.get('name', '?')!r}: {self.status}>"


class Store(Reader):
    """A store of runs, opened by `capture.open_store`."""

    def __init__(self, url: str, reader: Reader) -> None:
        self.url, self.reader = url, reader

    def get(self, run: Any) -> StoredRun:
        return StoredRun(self.reader.get(run), self)

    def find(
        self, where: Mapping[str, Any] | Filter | str | None = None, limit: int | None = None
    ) -> Iterator[StoredRun]:
        for record in self.reader.find(where, limit):
            yield StoredRun(record, self)

    def runs(self, where: Mapping[str, Any] | Filter | str | None = None) -> Runs:
        """Return the runs for which a condition holds, newest first; nothing is read before it is asked for."""
        return Runs(self, where)

    def labels(self) -> list[Any]:
        return self.reader.labels()

    def is_alive(self, record: RunRecord) -> bool | None:
        return self.reader.is_alive(record.record if isinstance(record, StoredRun) else record)

    @property
    def curator(self) -> Curator:
        """What changes the store: tags, notes, the bin."""
        from capture.registry import open_curator

        return open_curator(self.url)

    def close(self) -> None:
        self.reader.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


class Runs:
    """Runs of a store for which a condition holds, newest first; read when they are asked for."""

    def __init__(self, store: Store, where: Mapping[str, Any] | Filter | str | None = None) -> None:
        self.store, self.where = store, where

    def __iter__(self) -> Iterator[StoredRun]:
        return self.store.find(self.where)

    def to_pandas(self, columns: list[str] | None = None) -> Any:
        """Return a `pandas.DataFrame`, one row for each run."""
        raise NotImplementedError

    def compare(self) -> Any:
        """Return a `capture.query.differences.Comparison` of these runs."""
        from capture.query.differences import compare

        return compare(list(self))


def open_store(url: str | os.PathLike[str] | None = None) -> Store:
    """Open a store for reading: a folder or URL; the default one, which runs are recorded in, if none is named."""
    from capture.settings import SETTINGS
    from capture.stores import open_store as open_reader

    location = SETTINGS.STORE if url is None else url
    import os

    return Store(os.fspath(location), open_reader(location))
