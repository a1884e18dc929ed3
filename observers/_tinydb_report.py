"""What Sacred's reader of a TinyDB store makes of its documents: files by name, and a text about each run."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

_WIDTH = 150  #: characters of a line in a report
_RULE = "-" * 49
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


def fetch_metadata(runs: Any, exp_name: str | None, query: Any, indices: Any) -> list[Any]:
    """Return the documents that are asked for; see `TinyDbReader.fetch_metadata`."""
    from tinydb import Query

    if query is not None:
        return runs.search(query)
    if exp_name:
        return runs.search(Query().experiment.name.search(exp_name))
    if indices is None or indices == [] or indices == ():
        raise ValueError("say which runs: by exp_name, by a query, or by indices")
    documents = runs.all()
    wanted = list(indices) if isinstance(indices, (list, tuple)) else [indices]
    for index in wanted:
        if index >= len(documents):
            raise ValueError(f"there is no run at index {index}: the table has {len(documents)}, counted from 0")
    return [documents[index] for index in wanted]


def files_of(entry: Any) -> dict[str, Any]:
    """Return the files of one run; see `TinyDbReader.fetch_files`."""
    experiment = entry.get("experiment") or {}
    found = {"exp_name": experiment.get("name"), "exp_id": entry.get("_id"), "date": entry.get("start_time")}
    for kind, listed in (
        ("sources", experiment.get("sources")),
        ("resources", entry.get("resources")),
        ("artifacts", entry.get("artifacts")),
    ):
        if listed:
            found[kind] = {each[0]: each[-1] for each in listed}
    return found


def report_of(entry: Any) -> str:
    """Return a text about one run, of the form of Sacred's.

    A run that has not ended has a duration until its last heartbeat.
    """
    experiment = entry.get("experiment") or {}
    config = entry.get("config") or {}
    started = entry.get("start_time")
    sections = {
        "Parameters": [f"{name}: {value}" for name, value in sorted(config.items(), key=lambda item: str(item[0]))],
        "Result": [repr(entry.get("result"))],
        "Dependencies": experiment.get("dependencies") or (),
        "Resources": [each[0] for each in entry.get("resources") or ()],
        "Source Files": [each[0] for each in experiment.get("sources") or ()],
        "Outputs": [each[0] for each in entry.get("artifacts") or ()],
    }
    date = f"{_DAYS[started.weekday()]} {started.strftime('%d %b %Y')}" if started is not None else "None"
    lines = [
        "",
        _RULE,
        f"Experiment: {experiment.get('name')}",
        _RULE,
        f"ID: {entry.get('_id')}",
        f"Date: {date}    Duration: {_duration(entry)}",
        "",
    ]
    for title, items in sections.items():
        lines += [f"{title}:", _indented(items) or "    None", ""]
    return "\n".join(lines)


def _duration(entry: Any) -> str:
    started, stopped = entry.get("start_time"), entry.get("stop_time") or entry.get("heartbeat")
    if started is None or stopped is None:
        return "unknown"
    seconds = (stopped - started).total_seconds()
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{int(hours):02d}:{int(minutes):02d}:{seconds:04.1f}"


def _indented(items: Iterable[Any]) -> str:
    from textwrap import fill

    lines = [line for item in items for line in str(item).splitlines()]
    return "\n".join(fill(line, _WIDTH, initial_indent="    ", subsequent_indent="    ") for line in lines)
