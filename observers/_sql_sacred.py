"""What Sacred's own tables say of a run, for those who look there: a view of what ours hold, and less exact."""

from __future__ import annotations

from capture.observers import _sql_tables as tables
from capture.observers._sql_values import number_or_none, plain_text, to_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from sqlalchemy import Connection, Table

    from capture.observers._writing import Blob

#: bytes of an artifact or a resource up to which Sacred's table holds them, too, beside `capture_chunk`
MAX_CONTENT = 256 << 10
MAX_SOURCE = 4 << 20  #: likewise, of a source

_STATUSES = ("QUEUED", "RUNNING", "COMPLETED", "INTERRUPTED", "TIMEOUT", "FAILED")


def nearest_status(status: str) -> str:
    """Return that one of Sacred's states that is nearest to a state.

    Examples
    --------
    >>> nearest_status("PREEMPTED"), nearest_status("FAILED")
    ('INTERRUPTED', 'FAILED')
    """
    return status if status in _STATUSES else "INTERRUPTED"


def trace_text(fail_trace: Any) -> str | None:
    """Return a trace as one text."""
    lines = [str(line) for line in fail_trace or ()]
    ended = all(line.endswith("\n") for line in lines)
    return plain_text(("" if ended else "\n").join(lines)) if lines else None


def meta_columns(meta: Any) -> dict[str, Any]:
    """Return what `run` says of the run's meta information."""
    known = meta if isinstance(meta, dict) else {}
    return {
        "priority": number_or_none(known.get("priority", 0)),
        "comment": plain_text(known.get("comment", "")),
    }


def limit_of(table: Table, name: str, connection: Connection) -> int | None:
    """Return how many characters a column takes, or None for any number."""
    if connection.dialect.name not in ("mysql", "mariadb"):
        return None
    return tables.SHORT if isinstance(table.c[name].type, tables.ShortText) else None


def fitting(table: Table, values: dict[str, Any], connection: Connection) -> dict[str, Any]:
    """Return values with texts that the columns take."""
    return {
        name: plain_text(value, limit_of(table, name, connection)) if isinstance(value, str) else value
        for name, value in values.items()
    }


def get_or_create(connection: Connection, table: Table, known: dict[str, Any], **more: Any) -> int:
    """Return the number of the row that has these values, made with `more` where there is none."""
    known = fitting(table, known, connection)
    number = next(iter(table.primary_key.columns))
    query = number_query(table, number, known).order_by(number).limit(1)
    found = connection.execute(query, {f"is_{name}": value for name, value in known.items()}).scalar()
    return insert(connection, table, {**known, **more}) if found is None else found


def number_query(table: Table, number: Any, known: dict[str, Any]) -> Any:
    from sqlalchemy import bindparam, select

    conditions = [
        table.c[name].is_(None) if value is None else table.c[name] == bindparam(f"is_{name}", type_=table.c[name].type)
        for name, value in known.items()
    ]
    return select(number).where(*conditions)


def insert(connection: Connection, table: Table, values: dict[str, Any]) -> int:
    """Insert a row; return its number."""
    done: Any = connection.execute(table.insert(), fitting(table, values, connection))
    return done.inserted_primary_key[0]


# ---------------------------------------------------------------------------------------------- experiment and host


def put_experiment(connection: Connection, ex_info: Any) -> int:
    """Return the number of an experiment, which runs of equal sources, dependencies and repositories share."""
    from hashlib import md5

    info = ex_info if isinstance(ex_info, dict) else {}
    digest = md5(to_json(info).encode(), usedforsecurity=False).hexdigest()
    name, base_dir = plain_text(info.get("name")), plain_text(info.get("base_dir"))
    known = fitting(tables.experiment, {"name": name, "md5sum": digest}, connection)
    column = tables.experiment.c.experiment_id
    query = number_query(tables.experiment, column, known).limit(1)
    found = connection.execute(query, {f"is_{key}": value for key, value in known.items()}).scalar()
    if found is not None:
        return found
    number = insert(connection, tables.experiment, {**known, "base_dir": base_dir})
    put_dependencies(connection, number, info.get("dependencies") or ())
    for entry in info.get("repositories") or ():
        if isinstance(entry, dict):
            url, commit = plain_text(entry.get("url")), plain_text(entry.get("commit"))
            values = {"url": url, "commit": commit and commit[:40], "dirty": bool(entry.get("dirty"))}
            repository = get_or_create(connection, tables.repository, values)
            link(connection, tables.experiments_repositories, number, repository)
    return number


def put_dependencies(connection: Connection, experiment: int, dependencies: Iterable[Any]) -> None:
    """Say what an experiment depends on; what was said before stays."""
    from sqlalchemy import bindparam, select

    table, association = tables.dependency, tables.experiments_dependencies
    wanted = {}
    for each in dependencies:
        name, _, version = str(each).partition("==")
        values = fitting(table, {"name": name, "version": version}, connection)
        wanted[values["name"], values["version"]] = values
    if not wanted:
        return
    query = select(table.c.name, table.c.version, table.c.dependency_id).where(
        table.c.name.in_(bindparam("names", expanding=True))
    )

    def known() -> dict[Any, int]:
        rows = connection.execute(query, {"names": sorted({name for name, _ in wanted})})
        return {(name, version): number for name, version, number in rows}

    there = known()
    missing = [values for key, values in wanted.items() if key not in there]
    if missing:
        connection.execute(table.insert(), missing)
        there = known()
    linked = set(
        connection.execute(
            select(association.c.dependency_id).where(association.c.experiment_id == experiment)
        ).scalars()
    )
    numbers = {there[key] for key in wanted if key in there} - linked
    if numbers:
        rows = [{"experiment_id": experiment, "dependency_id": number} for number in sorted(numbers)]
        connection.execute(association.insert(), rows)


def put_host(connection: Connection, host_info: Any) -> int:
    """Return the number of a host."""
    info = host_info if isinstance(host_info, dict) else {}
    system = info.get("os")
    system = [*system, None, None] if isinstance(system, (list, tuple)) else [system, None]
    values = {
        "cpu": info.get("cpu"),
        "hostname": info.get("hostname"),
        "os": system[0],
        "os_info": system[1],
        "python_version": info.get("python_version"),
    }
    return get_or_create(connection, tables.host, {name: plain_text(value) for name, value in values.items()})


def gpu_rows(run: int, host_info: Any) -> list[dict[str, Any]]:
    """Return what `capture_gpu` says of a host."""
    gpus = host_info.get("gpus") if isinstance(host_info, dict) else None
    listed = gpus.get("gpus") if isinstance(gpus, dict) else None
    if not isinstance(gpus, dict) or not isinstance(listed, (list, tuple)):
        return []
    return [
        {
            "run": run,
            "number": number,
            "model": plain_text(gpu.get("model"), tables.SHORT),
            "total_memory_mib": number_or_none(gpu.get("total_memory")),
            "persistence_mode": gpu["persistence_mode"] if isinstance(gpu.get("persistence_mode"), bool) else None,
            "driver_version": plain_text(gpus.get("driver_version"), tables.SHORT),
        }
        for number, gpu in enumerate(listed)
        if isinstance(gpu, dict)
    ]


# ----------------------------------------------------------------------------------------------------------- files


def put_source(connection: Connection, experiment: int | None, path: str, blob: Blob) -> int:
    """Say that an experiment has a source."""
    text = _content(blob, MAX_SOURCE)
    content = None if text is None else plain_text(text.decode("utf-8", "replace"))
    known = {"filename": plain_text(path), "md5sum": blob.md5}
    number = get_or_create(connection, tables.source, known, content=content)
    if experiment is not None:
        link(connection, tables.experiments_sources, experiment, number)
    return number


def put_resource(connection: Connection, label: str, filename: str, blob: Blob) -> int:
    """Say that a run has read a file."""
    known = {"filename": plain_text(filename), "md5sum": blob.md5}
    number = get_or_create(connection, tables.resource, known, content=_content(blob, MAX_CONTENT))
    link(connection, tables.runs_resources, label, number)
    return number


def put_artifact(connection: Connection, label: str, name: str, blob: Blob, number: int | None) -> int:
    """Say that a run has made a file; `number` is that of the row that said so of an earlier one of that name."""
    values = {"filename": plain_text(name), "content": _content(blob, MAX_CONTENT), "run_id": label}
    table = tables.artifact
    if number is None:
        return insert(connection, table, values)
    connection.execute(table.update().where(table.c.artifact_id == number), fitting(table, values, connection))
    return number


def link(connection: Connection, association: Table, left: Any, right: int) -> None:
    """Note that two rows belong together, once."""
    from sqlalchemy import select

    first, second = association.columns
    there = select(first).where(first == left, second == right).limit(1)
    if connection.execute(there).first() is None:
        connection.execute(association.insert(), {first.name: left, second.name: right})


def _content(blob: Blob, limit: int) -> bytes | None:
    """Return the bytes of a file, or None for one that is too large to be held as a whole."""
    if blob.size > limit:
        return None
    with blob.open() as stream:
        return stream.read()


