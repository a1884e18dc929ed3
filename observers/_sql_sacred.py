"""What Sacred's own tables say of a run, for those who look there: a view of what ours hold, and less exact."""

from __future__ import annotations

from capture.observers._sql_values import SHORT, number_or_none, plain_text, to_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from capture.observers._sql_statements import Statements
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


def fitting(statements: Statements, values: dict[str, Any]) -> dict[str, Any]:
    """Return values of columns that an index holds: MySQL and MariaDB limit the length of such texts."""
    limit = SHORT if statements.is_mysql else None
    return {name: plain_text(value, limit) if isinstance(value, str) else value for name, value in values.items()}


def get_or_create(statements: Statements, table: str, known: dict[str, Any], **more: Any) -> int:
    """Return the number of the row that has these values, made with `more` where there is none."""
    known, number = fitting(statements, known), f"{table}_id"
    found = statements.value(table, number, f"ORDER BY {number}", **known)
    return statements.add(table, {**known, **more}, number) if found is None else found


# ---------------------------------------------------------------------------------------------- experiment and host


def put_experiment(statements: Statements, ex_info: Any) -> int:
    """Return the number of an experiment, which runs of equal sources, dependencies and repositories share."""
    from hashlib import md5

    info = ex_info if isinstance(ex_info, dict) else {}
    digest = md5(to_json(info).encode(), usedforsecurity=False).hexdigest()
    known = fitting(statements, {"name": plain_text(info.get("name")), "md5sum": digest})
    found = statements.value("experiment", "experiment_id", **known)
    if found is not None:
        return found
    base_dir = fitting(statements, {"base_dir": plain_text(info.get("base_dir"))})
    number = statements.add("experiment", {**known, **base_dir}, "experiment_id")
    put_dependencies(statements, number, info.get("dependencies") or ())
    for entry in info.get("repositories") or ():
        if isinstance(entry, dict):
            url, commit = plain_text(entry.get("url")), plain_text(entry.get("commit"), 40)
            row = {"url": url, "commit": commit, "dirty": bool(entry.get("dirty"))}
            found = statements.value("repository", "repository_id", **row)
            if found is None:
                found = statements.add("repository", row, "repository_id")
            link(statements, "experiments_repositories", experiment_id=number, repository_id=found)
    return number


def put_dependencies(statements: Statements, experiment: int, dependencies: Iterable[Any]) -> None:
    """Say what an experiment depends on; what was said before stays."""
    wanted = {}
    for each in dependencies:
        name, _, version = str(each).partition("==")
        values = fitting(statements, {"name": name, "version": version})
        wanted[values["name"], values["version"]] = values
    if not wanted:
        return
    columns = ["name", "version", "dependency_id"]
    names = sorted({name for name, _ in wanted})

    def known() -> dict[Any, int]:
        rows = statements.among("dependency", columns, "name", names)
        return {(name, version): number for name, version, number in rows}

    there = known()
    missing = [values for key, values in wanted.items() if key not in there]
    if missing:
        statements.insert("dependency", *missing)
        there = known()
    rows = statements.select("experiments_dependencies", ["dependency_id"], experiment_id=experiment)
    numbers = {there[key] for key in wanted if key in there} - {number for number, in rows}
    new = [{"experiment_id": experiment, "dependency_id": number} for number in sorted(numbers)]
    statements.insert("experiments_dependencies", *new)


def put_host(statements: Statements, host_info: Any) -> int:
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
    return get_or_create(statements, "host", {name: plain_text(value) for name, value in values.items()})


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
            "model": plain_text(gpu.get("model"), SHORT),
            "total_memory_mib": number_or_none(gpu.get("total_memory")),
            "persistence_mode": gpu["persistence_mode"] if isinstance(gpu.get("persistence_mode"), bool) else None,
            "driver_version": plain_text(gpus.get("driver_version"), SHORT),
        }
        for number, gpu in enumerate(listed)
        if isinstance(gpu, dict)
    ]


# ----------------------------------------------------------------------------------------------------------- files


def put_source(statements: Statements, experiment: int | None, path: str, blob: Blob) -> int:
    """Say that an experiment has a source."""
    known = fitting(statements, {"filename": plain_text(path), "md5sum": blob.md5})
    number = statements.value("source", "source_id", "ORDER BY source_id", **known)
    if number is None:
        text = _content(blob, MAX_SOURCE)
        content = None if text is None else plain_text(text.decode("utf-8", "replace"))
        number = statements.add("source", {**known, "content": content}, "source_id")
    if experiment is not None:
        link(statements, "experiments_sources", experiment_id=experiment, source_id=number)
    return number


def put_resource(statements: Statements, label: str, filename: str, blob: Blob) -> int:
    """Say that a run has read a file."""
    known = fitting(statements, {"filename": plain_text(filename), "md5sum": blob.md5})
    number = statements.value("resource", "resource_id", "ORDER BY resource_id", **known)
    if number is None:
        number = statements.add("resource", {**known, "content": _content(blob, MAX_CONTENT)}, "resource_id")
    link(statements, "runs_resources", run_id=label, resource_id=number)
    return number


def put_artifact(statements: Statements, label: str, name: str, blob: Blob, number: int | None) -> int:
    """Say that a run has made a file; `number` is that of the row that said so of an earlier one of that name."""
    values = {**fitting(statements, {"filename": plain_text(name)}), "content": _content(blob, MAX_CONTENT)}
    if number is None:
        return statements.add("artifact", {**values, "run_id": label}, "artifact_id")
    statements.update("artifact", values, artifact_id=number)
    return number


def link(statements: Statements, association: str, **numbers: Any) -> None:
    """Note that two rows belong together, once."""
    if statements.first(association, list(numbers), **numbers) is None:
        statements.insert(association, numbers)


def _content(blob: Blob, limit: int) -> bytes | None:
    """Return the bytes of a file, or None for one that is too large to be held as a whole."""
    if blob.size > limit:
        return None
    with blob.open() as stream:
        return stream.read()


