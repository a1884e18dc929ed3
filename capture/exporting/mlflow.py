"""Runs in MLflow: told again, event by event, to the observer that writes to it."""

from __future__ import annotations

from capture.copying import CopyError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from capture.copying import Copied
    from capture.hooks import Reader
    from capture.records import RunRecord


def mlflow_url(uri: str) -> str:
    """Return the URL of a store for what MLflow calls a tracking URI.

    Examples
    --------
    >>> mlflow_url("http://127.0.0.1:5000"), mlflow_url("mlflow+sqlite:///runs.db")
    ('mlflow+http://127.0.0.1:5000', 'mlflow+sqlite:///runs.db')
    """
    return uri if uri.startswith("mlflow") else f"mlflow+{uri}"


class MlflowExport:
    """Writes runs to MLflow, each once.

    Parameters
    ----------
    uri : str
        ``http://host:port`` of a tracking server, or ``sqlite:///path``.
    source : Reader
        The store that they come from.
    identity : str
        What that store is called: runs without a uid get one from it.

    Raises
    ------
    ObserverError
        If MLflow cannot be reached that way.
    """

    def __init__(self, uri: str, source: Reader, identity: str) -> None:
        from capture.registry import make_observer

        self._source, self._identity = source, identity
        self._observer: Any = make_observer(mlflow_url(uri))

    @property
    def name(self) -> str:
        """What the store in MLflow is called, without credentials."""
        return str(self._observer.identity)

    def write(
        self, run: RunRecord, folder: str, progress: Callable[[Copied], None] = lambda copied: None
    ) -> Copied | None:
        """Write a run; return what became of it, None if it is there already.

        Parameters
        ----------
        run : RunRecord
        folder : str
            Where files may lie meanwhile.
        progress : callable, optional

        Raises
        ------
        CopyError
            If it still goes on, or MLflow refuses it.
        """
        from capture.copying import copy_run, foreign_uid

        if self._source.is_alive(run):
            raise CopyError("it is still going on: export it when it has ended")
        if self._observer.find_run(run.uid or foreign_uid(self._identity, run)) is not None:
            return None
        return copy_run(run, self._identity, self._observer, None, folder, progress, marked=False)
