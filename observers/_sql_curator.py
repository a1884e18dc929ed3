"""Changing what people may change in a database of runs."""

from __future__ import annotations

import os

from capture.errors import ObserverError
from capture.hooks import Curator, check_tags
from capture.observers import _sql_blobs
from capture.observers import _sql_tables as tables
from capture.observers._sql_database import Database
from capture.observers._sql_reader import SqlReader
from capture.observers._sql_values import from_json, stored_text, to_json, told_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from sqlalchemy import Connection

#: tables of ours with rows of one run, in `run`; points go by their series
_OF_A_RUN = (
    *(tables.capture_config, tables.capture_document, tables.capture_fact, tables.capture_file, tables.capture_gpu),
    *(tables.capture_output, tables.capture_series, tables.capture_writer, tables.capture_run),
)


class SqlCurator(Curator):
    """Changes what people may change in a database of runs.

    Parameters
    ----------
    url : str, optional
    database : Database, optional
        In place of `url`.

    Raises
    ------
    FileNotFoundError
        If `url` names a file of SQLite that does not exist.
    """

    def __init__(self, url: str | None = None, *, database: Database | None = None) -> None:
        self._database = database or Database(url)
        self._reader = SqlReader(database=self._database)

    def __repr__(self) -> str:
        return f"SqlCurator({self._reader.url!r})"

    def close(self) -> None:
        """Let go of the connections."""
        self._database.close()

    def annotate(self, run: Any, tags: list[str] | None = None, notes: str | None = None) -> None:
        """Set tags or notes; None leaves the old ones."""
        tags = check_tags(tags)
        values = {}
        if tags is not None:
            values["tags"] = to_json(list(tags))
        if notes is not None:
            values["notes"] = stored_text(notes)
        if values:
            self._set(self._reader.resolve(run), values)

    def revise(self, run: Any, change: Callable[[list[str], str], tuple[list[str] | None, str | None]]) -> None:
        """Change tags and notes by what they are at that moment, see `Curator.revise`."""
        from sqlalchemy import select
        from sqlalchemy.exc import IntegrityError

        label, own = self._reader.resolve(run), tables.capture_run
        try:
            self._make_row(label)
        except IntegrityError:  # somebody else did at the same moment
            pass
        with self._writing() as statements:
            connection = statements.connection
            mine = own.c.run == _number_of(connection, label)
            row = connection.execute(select(own.c.tags, own.c.notes).where(mine).with_for_update()).one()
            tags, notes = change(from_json(row.tags, []), told_text(row.notes or ""))
            values = {} if tags is None else {"tags": to_json(list(tags))}
            if notes is not None:
                values["notes"] = stored_text(notes)
            if values:
                connection.execute(own.update().where(mine).values(values))

    def _make_row(self, label: str) -> None:
        """Give a run that Sacred wrote a row of `capture_run`."""
        from sqlalchemy import select

        own = tables.capture_run
        with self._writing() as statements:
            connection = statements.connection
            number = _number_of(connection, label)
            if connection.execute(select(own.c.run).where(own.c.run == number)).first() is None:
                connection.execute(own.insert(), {"run": number, "layout": "sacred", "binned": False, "indexed": False})

    def bin(self, run: Any) -> None:
        """Take a run out of sight; `restore` brings it back.

        Raises
        ------
        ObserverError
            If the run is being written.
        """
        label = self._reader.resolve(run)
        if self._reader.is_alive(self._reader.read(label)):
            raise ObserverError(f"run {run} of {self._reader.url} is still going on: stop it first")
        self._set(label, {"binned": True})

    def restore(self, run: Any) -> None:
        """Bring a binned run back under its label."""
        self._set(self._reader.resolve(run, binned=True), {"binned": False})

    def binned(self) -> list[str]:
        """Return the labels of the runs in the bin, oldest first."""
        return self._reader.all_labels(binned=True)

    def _set(self, label: str, values: dict[str, Any]) -> None:
        """Set columns of `capture_run`, which is given a row for a run that Sacred wrote."""
        own = tables.capture_run
        with self._writing() as statements:
            connection = statements.connection
            number = _number_of(connection, label)
            if connection.execute(own.update().where(own.c.run == number).values(values)).rowcount == 0:
                row = {"run": number, "layout": "sacred", "binned": False, "indexed": False}
                connection.execute(own.insert(), {**row, **values})

    def _writing(self) -> Any:
        path = self._database.url.path
        if path is not None and not os.path.exists(path):
            raise FileNotFoundError(f"there is no database {path}")
        return self._database.writing()

    def purge(self, run: Any) -> None:
        """Delete a binned run for good, and the stored files that no other run uses. Its label is never given again."""
        from sqlalchemy import select

        label = self._reader.resolve(run, binned=True)
        with self._writing() as statements:
            connection = statements.connection
            number = _number_of(connection, label)
            own, file = tables.capture_run, tables.capture_file
            marked = select(own.c.binned).where(own.c.run == number).with_for_update()  # its writer waits
            if not connection.execute(marked).scalar():
                raise ObserverError(f"run {label} of {self._reader.url} was restored just now: it is not deleted")
            digests = list(connection.execute(select(file.c.digest).where(file.c.run == number)).scalars())
            experiment = connection.execute(
                select(tables.run.c.experiment_id).where(tables.run.c.id == number)
            ).scalar()
            _delete_run(connection, number, stored_text(label))
            connection.execute(tables.capture_purged.insert(), {"label": stored_text(label)})
            _collect_sacreds(connection, experiment)
            _sql_blobs.collect(statements, digests)

    def erase(self, value: str) -> int:
        """Replace one string everywhere in the database with asterisks; return the number of places.

        Looked through are the records, the output, names and notes, sources, resources and artifacts, also binary ones
        (as UTF-8, UTF-16 and UTF-32) and the bin. Not reached: what is compressed or encrypted, labels of runs, what
        waits in journals and spools, logs and backups of a server. The digests of changed files are recorded anew.

        Raises
        ------
        ValueError
            If `value` has fewer than 4 characters, which would destroy the records.
        """
        from capture.observers._sql_erase import erase

        with self._writing():
            pass  # so that all tables are there
        return erase(self._database, value)


def _number_of(connection: Connection, label: str) -> int:
    from sqlalchemy import select

    rows = connection.execute(
        select(tables.run.c.id, tables.run.c.run_id).where(tables.run.c.run_id == stored_text(label))
    )
    for row in rows:
        if row.run_id == stored_text(label):  # a server may take other texts for the same
            number: int = row.id
            return number
    raise ObserverError(f"run {label} was purged by somebody else just now", print_traceback=False)


def _delete_run(connection: Connection, number: int, label: str) -> None:
    """Delete all rows of one run."""
    from sqlalchemy import select

    series = select(tables.capture_series.c.id).where(tables.capture_series.c.run == number)
    for table in (tables.capture_metric, tables.capture_exact):
        connection.execute(table.delete().where(table.c.series.in_(series)))
    for table in _OF_A_RUN:
        connection.execute(table.delete().where(table.c.run == number))
    for table in (tables.artifact, tables.runs_resources):
        connection.execute(table.delete().where(table.c.run_id == label))
    connection.execute(tables.run.delete().where(tables.run.c.id == number))


def _collect_sacreds(connection: Connection, experiment: int | None) -> None:
    """Delete from Sacred's tables what belonged to the run alone: resources, its experiment and what that listed."""
    from sqlalchemy import exists, select

    used = exists().where(tables.runs_resources.c.resource_id == tables.resource.c.resource_id)
    connection.execute(tables.resource.delete().where(~used))
    run = tables.run
    if experiment is None or connection.execute(select(run.c.id).where(run.c.experiment_id == experiment)).first():
        return
    for table, association in (
        (tables.source, tables.experiments_sources),
        (tables.repository, tables.experiments_repositories),
        (tables.dependency, tables.experiments_dependencies),
    ):
        number = next(iter(table.primary_key.columns))
        linked = association.c[number.name]
        numbers = list(connection.execute(select(linked).where(association.c.experiment_id == experiment)).scalars())
        connection.execute(association.delete().where(association.c.experiment_id == experiment))
        left = set(connection.execute(select(linked).where(linked.in_(numbers))).scalars())
        alone = [each for each in numbers if each not in left]
        if alone:
            connection.execute(table.delete().where(number.in_(alone)))
    connection.execute(tables.experiment.delete().where(tables.experiment.c.experiment_id == experiment))
