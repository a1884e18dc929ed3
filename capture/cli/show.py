"""``capture show``: all of a run, or one part of it."""

from __future__ import annotations

import sys

from capture.cli._arguments import NamedStores
from capture.cli._console import (
    STATE_STYLES,
    escape_output,
    heading,
    hint,
    is_terminal,
    paged,
    print_json,
    print_table,
    say,
    screen_size,
    sparkline,
    styled,
)
from capture.cli._run_table import Row
from capture.filters import MISSING
from capture.query._config_differences import CHOSEN
from capture.query.columns import flat
from capture.query.remotes import remote_of
from capture.wording import EXACT, format_duration, format_exact, format_size, format_time, format_value, visible

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from capture.query.stored_run import StoredRun
    from capture.records import StoredFile


USAGE = """\
Show all of a run on a page, or parts of it as a whole.

Usage:
  capture show [options] RUN

RUN is a label, the beginning or end of a uid, latest, or -1; STORE::RUN is one of another store, a folder or URL. A
record that Sacred made is shown as far as it goes.

Options:
  --out            What it printed; in a pipe exactly that.
  --source=[NAME]  A source file, in a pipe byte for byte; without NAME: the only one, or a list.
  --config         The configuration, with who set each entry; * is what was set for this run.
  --env            Python, packages, machine, environment variables.
  --lineage        The files that it read and wrote, and what could not be seen.
  --metrics        All metrics.
  --files          All sources, resources and artifacts, with what is kept beside them.
  --json           As JSON: all but output and points of metrics, or the parts that are named.
  --no-pager       Print at once what is longer than the screen.
  --store=URL      The store of a run that names none.
"""

_FEW = 12  #: files of a kind, and metrics, that the page lists
_LAST_LINES = 10  #: of the output, on the page
_TRACE_LINES = 30  #: of a traceback, on the page
_SHORT = 12  #: digits of a digest


def run(arguments: dict[str, Any]) -> int:
    """Show the run that the arguments name."""
    with NamedStores(arguments) as stores:
        shown = stores.get(arguments["RUN"])
        if arguments["--source"] is not None and not arguments["--json"]:
            return _source(shown, arguments["--source"], not arguments["--no-pager"])
        if arguments["--out"] and not arguments["--json"]:
            return _output(shown, not arguments["--no-pager"])
        parts = [name for name in PARTS if arguments[f"--{name}"]]
        if arguments["--json"]:
            print_json(_data(shown, [*parts, *(["out"] if arguments["--out"] else [])]))
            return 0
        with paged(not arguments["--no-pager"]):
            if parts:
                for place, name in enumerate(parts):
                    _tried(name, PARTS[name], shown, gap=place > 0)
            else:
                _page(shown)
    return 0


# ------------------------------------------------------------------------------------------------------------ the page


def _page(run: StoredRun) -> None:
    _head(run)
    for name, part in (
        ("config", print_config),
        ("metrics", _few_metrics),
        ("files", _few_files),
        ("lineage", _short_lineage),
        ("environment", _short_environment),
        ("traceback", _trace),
        ("output", _last_output),
    ):
        _tried(name, part, run)


def _tried(name: str, part: Callable[..., None], run: StoredRun, **told: Any) -> None:
    """Print a part of the page; say what is wrong where it cannot be read, and go on."""
    try:
        part(run, **told)
    except BrokenPipeError:  # nobody looks any more
        raise
    except Exception as error:  # noqa: BLE001 - records may be damaged in any way; what it was is said
        hint(f"{name}: cannot be read: {visible(str(error) or type(error).__name__, lines=True)}")


def _head(run: StoredRun) -> None:
    row = Row(run)
    state = str(row["status"])
    title = [styled(format_value(row["label"]), "bold"), styled(format_value(row["name"] or None), "bold")]
    say("  ".join([*title, styled(visible(state), f"bold {STATE_STYLES.get(state, '')}".strip())]))
    facts = [
        ("state", _reason(run, state)),
        ("uid", format_value(row["uid"] or None)),
        ("queued", format_time(run.queue_time, zone=True)),
        ("started", format_time(run.start_time, zone=True)),
        ("ended", _end(run)),
        *(("resumed", format_time(each, zone=True)) for each in run.resumed),
        ("command", format_value(run.command or None)),
        ("called as", _command_line(run)),
        ("by", _who(run)),
        ("folder", format_value(_fact(run, "process", "cwd") or run.experiment.get("base_dir"))),
        ("git", _git(run)),
        ("tags", ", ".join(visible(str(tag)) for tag in run.tags)),
        ("notes", _paragraphs(run.notes)),
        ("result", format_value(run.result, EXACT) if run.result is not None else ""),
        ("damaged", "\n".join(visible(loss.text) for loss in run.losses)),
        ("store", visible(str(run.store.url))),
    ]
    _print_facts(facts)
    for problem in row.problems:
        hint(visible(problem, lines=True))


def _paragraphs(notes: Any) -> str:
    """Return notes in lines as they were written, and nothing else in them that moves a cursor."""
    text = str(notes or "").replace("\r\n", "\n").strip("\n").expandtabs(4)
    return visible(text, lines=True)


def _print_facts(facts: Sequence[tuple[str, str]]) -> None:
    told = [(name, text) for name, text in facts if text not in ("", "-")]
    rows = [[name if place == 0 else "", line] for name, text in told for place, line in enumerate(text.split("\n"))]
    if rows:
        print_table(["", ""], rows, style=lambda row, column: "dim" if column == 0 else None)


def _reason(run: StoredRun, state: str) -> str:
    """Say what a state rests on."""
    if state == "FAILED":
        trace = "".join(map(str, run.fail_trace or [])).strip().splitlines()
        return visible(trace[-1]) if trace else ""
    if state not in ("RUNNING", "DIED"):
        return ""
    sign, ago = _newest_sign(run)
    came = f"no heartbeat and no measurement came since it began, {ago} ago"
    if sign != "start":
        came = f"the last {sign} came {ago} ago"
    if state == "DIED":
        return f"its process is gone; {came}" if ago else "its process is gone"
    if run.store.is_alive(run):
        return f"its process is alive; {came}" if ago else "its process is alive"
    return f"no sign for {ago}; whether it lives cannot be told from here" if ago else ""


def _newest_sign(run: StoredRun) -> tuple[str, str]:
    """Return what the newest sign of life was, and how long ago it came; "" if there is none."""
    from capture.moments import datetime, timezone
    from capture.query.signs import newest_sign

    found = newest_sign(run)
    if found is None:
        return "", ""
    return found[0], format_duration(max((datetime.now(timezone.utc) - found[1]).total_seconds(), 0))


def _end(run: StoredRun) -> str:
    if run.stop_time is None:
        return ""
    return f"{format_time(run.stop_time, zone=True)}, after {format_duration(run.duration)}"


def _command_line(run: StoredRun) -> str:
    import shlex

    words = _fact(run, "process", "orig_argv") or _fact(run, "process", "argv") or []
    return visible(shlex.join(map(str, words)))


def _who(run: StoredRun) -> str:
    host = run.host.get("hostname")
    return visible("@".join(str(each) for each in (run.user, host) if each))


def _git(run: StoredRun) -> str:
    git = run.git
    if not git:
        return ""
    commit = f"commit {git['commit']}" if git.get("commit") else "no commit yet"
    branch = f", branch {git['branch']}" if git.get("branch") else ""
    dirty = ", with uncommitted changes" if git.get("dirty") else ""
    remote = remote_of(run, git.get("url"))
    url = f", {remote}" if remote else ""
    return visible(f"{commit}{branch}{dirty}{url}")


def _fact(run: StoredRun, *path: str) -> Any:
    """Return a fact by its path; None where there is none."""
    found: Any = run.facts
    for name in path:
        found = found.get(name) if isinstance(found, dict) else None
    return found


# -------------------------------------------------------------------------------------------------------------- config


def _whole_config(run: StoredRun, gap: bool) -> None:
    if not run.config:
        _say_nothing(run, "configuration")
    print_config(run, gap=gap)


def _say_nothing(run: StoredRun, part: str) -> None:
    hint(f"run {format_value(run.label)} has no {part}")


def print_config(run: StoredRun, title: str = "Configuration", gap: bool = True) -> None:
    """Print the entries of a run's configuration, what was set for this run marked, and who set them."""
    entries = _entries(run)
    if not entries:
        return
    changed = [name for name, _, _, is_changed in entries if is_changed]
    heading(title + (" (* set for this run)" if changed else ""), gap)
    rows = [
        ["*" if is_changed else "", name, format_exact(value), origin] for name, value, origin, is_changed in entries
    ]
    style = [is_changed for *_, is_changed in entries]
    if not any(row[3] for row in rows):  # an old record does not say who set what
        rows = [row[:3] for row in rows]
    print_table(
        [""] * len(rows[0]),
        rows,
        style=lambda row, column: "dim" if column == 3 else "bold" if style[row] and column < 3 else None,
    )


def _entries(run: StoredRun) -> list[tuple[str, Any, str, bool]]:
    """Return name, value, origin of each entry, and whether it was set for this run."""
    config = _masked(run, run.config)
    leaves = {path[len("config.") :]: value for path, value in (flat(config, "config") if config else {}).items()}
    origins = _fact(run, "config", "origins") or {}
    updates = run.meta.get("config_updates")
    updated = {path[2:] for path in flat(updates, "u")} if isinstance(updates, dict) and updates else set()
    entries = []
    for name, value in leaves.items():
        origin = _origin(origins, name)
        is_changed = origin.startswith(CHOSEN) or _is_within(name, updated)
        entries.append((name, value, origin, is_changed))
    return entries


def _origin(origins: dict[str, Any], name: str) -> str:
    """Return the origin of an entry, or of the nearest one that it lies in."""
    while name not in origins and "." in name:
        name = name.rpartition(".")[0]
    return str(origins.get(name, ""))


def _is_within(name: str, updated: set[str]) -> bool:
    return any(name == each or name.startswith(each + ".") for each in updated)


def _masked(run: StoredRun, value: Any) -> Any:
    """Return data without secrets: Sacred masked none; what this library writes was masked before it was stored."""
    if run.uid:
        return value
    from capture.masking import Masker

    return Masker(environ={}).mask(value)


# ------------------------------------------------------------------------------------------------------------- metrics


def _few_metrics(run: StoredRun) -> None:
    if run.summary:
        _metrics(run, most=_FEW)


def _metrics(run: StoredRun, gap: bool = True, most: int | None = None) -> None:
    summary = run.summary
    if not summary:
        _say_nothing(run, "metrics")
        return
    heading("Metrics", gap)
    width = max(8, min(40, screen_size()[0] - 70)) if is_terminal() else 30
    rows = []
    for name in list(summary)[:most]:
        known = summary[name]
        rows.append(
            [
                name,
                *(format_value(known.get(part)) for part in ("last", "min", "max", "step", "count")),
                _curve(run, name, width),
            ]
        )
    columns = ["metric", "last", "min", "max", "last step", "points", ""]
    print_table(columns, rows, ["left", *["right"] * 5, "left"], wrap=False)
    _say_more(len(summary), most, "--metrics")


def _curve(run: StoredRun, name: str, width: int) -> str:
    try:
        return sparkline(run.metrics[name].values, width)
    except Exception as error:  # noqa: BLE001 - the points may be damaged where their summary is not
        return f"cannot be read: {type(error).__name__}"


def _say_more(count: int, most: int | None, option: str) -> None:
    if most is not None and count > most:
        say(styled(f"and {count - most} more: {option} shows all", "dim"))


# --------------------------------------------------------------------------------------------------------------- files


def _few_files(run: StoredRun) -> None:
    if run.sources or run.resources or run.artifacts:
        _files(run, most=_FEW)


def _files(run: StoredRun, gap: bool = True, most: int | None = None) -> None:
    kinds = {"source": run.sources, "resource": run.resources, "artifact": run.artifacts}
    if most is None:
        kinds["kept"] = run.kept
    if not any(kinds.values()):
        _say_nothing(run, "files")
        return
    heading("Files", gap)
    rows = [[kind, *_file_row(each)] for kind, files in kinds.items() for each in files[:most]]
    print_table(["", "name", "size", "SHA-256"], rows, ["left", "left", "right", "left"])
    for kind, files in kinds.items():
        if most is not None and len(files) > most:
            say(styled(f"and {len(files) - most} more {kind}s: --files shows all", "dim"))


def _file_row(stored: StoredFile) -> list[str]:
    return [stored.name, format_size(stored.size), (stored.digest or "-")[:_SHORT]]


# ------------------------------------------------------------------------------------------------------------- lineage


def _short_lineage(run: StoredRun) -> None:
    if isinstance(run.facts.get("lineage"), dict):
        _lineage(run, most=_FEW)


def _lineage(run: StoredRun, gap: bool = True, most: int | None = None) -> None:
    lineage = run.lineage
    heading("Lineage", gap)
    kinds = {"read": "inputs", "wrote": "outputs", "wrote and read": "intermediates", "fetched": "urls"}
    rows = []
    for word, kind in kinds.items():
        files = [each for each in lineage.get(kind) or [] if isinstance(each, dict)]
        rows += [
            [
                word,
                str(each.get("path") or each.get("url") or each.get("name") or "?"),
                format_size(each.get("size")),
                str(each.get("digest") or "-")[:_SHORT],
            ]
            for each in files[:most]
        ]
        if most is not None and len(files) > most:
            rows.append(["", f"and {len(files) - most} more: --lineage shows all", "", ""])
    if rows:
        print_table(["", "file", "size", "SHA-256"], rows, ["left", "left", "right", "left"])
    coverage = lineage.get("coverage") or {}
    text = str(coverage.get("text") or "")
    if not rows:
        say("No files were seen." if most is None else "No files were seen; --lineage says what was watched.")
    if most is None:
        say(visible(text, lines=True))
    elif not coverage.get("complete"):
        say(styled("Not all of it could be seen: --lineage says why.", "dim"))


# --------------------------------------------------------------------------------------------------------- environment


def _short_environment(run: StoredRun) -> None:
    facts = _environment_facts(run)
    packages = run.packages
    if not packages and not any(text not in ("", "-") for _, text in facts):
        return
    heading("Environment")
    listed = ", ".join(f"{name} {version}" for name, version in list(packages.items())[: 3 * _FEW])
    more = f", and {len(packages) - 3 * _FEW} more: --env shows all" if len(packages) > 3 * _FEW else ""
    _print_facts([*facts, ("packages", visible(listed) + more)])


def _environment(run: StoredRun, gap: bool = True) -> None:
    heading("Environment", gap)
    _print_facts([*_environment_facts(run), *_usage(run)])
    if run.packages:
        heading("Packages that were imported")
        print_table(["", ""], [[name, version] for name, version in run.packages.items()])
    variables = _masked(run, _fact(run, "process", "environment") or run.host.get("ENV") or {})
    if variables:
        heading("Environment variables")
        print_table(["", ""], [[str(name), str(value)] for name, value in sorted(variables.items())])


def _environment_facts(run: StoredRun) -> list[tuple[str, str]]:
    host = run.host
    python = _fact(run, "environment", "python") or {}
    version = python.get("version") or host.get("python_version")
    implementation = python.get("implementation")
    executable = python.get("executable")
    system = host.get("os")
    return [
        ("python", visible(" ".join(str(each) for each in (implementation, version, executable) if each))),
        ("system", visible(str(system[-1] if isinstance(system, (list, tuple)) and system else system or ""))),
        ("machine", _machine(run)),
        ("gpu", _gpus(run)),
        ("scheduler", _flat_text(_fact(run, "process", "scheduler"))),
        ("container", visible(", ".join(map(str, _fact(run, "machine", "container", "kinds") or [])))),
    ]


def _machine(run: StoredRun) -> str:
    cores, memory = _fact(run, "machine", "cores", "usable"), _fact(run, "machine", "memory", "total_bytes")
    parts = [
        str(run.host["cpu"]) if run.host.get("cpu") else "",
        f"{cores} cores usable" if cores else "",
        f"{format_size(memory)} of memory" if isinstance(memory, (int, float)) else "",
    ]
    return visible(", ".join(each for each in parts if each))


def _gpus(run: StoredRun) -> str:
    told = run.host.get("gpus")
    if not isinstance(told, dict):
        return ""
    cards: list[Any] = [each for each in told.get("gpus") or [] if isinstance(each, dict)]
    names = [
        f"{each.get('model')}, {each['total_memory']} MiB" if each.get("total_memory") else str(each.get("model"))
        for each in cards
    ]
    driver = f"driver {told['driver_version']}" if told.get("driver_version") else ""
    return visible("; ".join(each for each in (*names, driver) if each))


def _usage(run: StoredRun) -> list[tuple[str, str]]:
    usage = _fact(run, "usage") or {}
    return [
        ("CPU time", format_duration(usage.get("cpu_s"))),
        ("peak memory", format_size(usage.get("peak_memory_bytes"))),
    ]


def _flat_text(value: Any) -> str:
    return format_value(value) if value else ""


# -------------------------------------------------------------------------------------------------- traceback, output


def _trace(run: StoredRun) -> None:
    lines = "".join(map(str, run.fail_trace or [])).rstrip().split("\n")
    if lines == [""]:
        return
    heading("Traceback")
    if len(lines) > _TRACE_LINES:
        say(styled(f"... {len(lines) - _TRACE_LINES} lines before; --json has them", "dim"))
    for line in lines[-_TRACE_LINES:]:
        say(escape_output(line))


def _last_output(run: StoredRun) -> None:
    text = run.output.rstrip("\n")
    if not text:
        return
    lines = text.split("\n")
    heading("Output" if len(lines) <= _LAST_LINES else f"The last {_LAST_LINES} of {len(lines)} lines of output")
    for line in lines[-_LAST_LINES:]:
        say(escape_output(line))


def _output(run: StoredRun, pager: bool) -> int:
    """Print all that a run printed: in a pipe as it is, on a terminal so that it changes nothing there."""
    text = run.output
    status = int(any(loss.kind == "output" for loss in run.losses))
    if not is_terminal():
        say(text, end="")
        return status
    with paged(pager):
        say(escape_output(text), end="" if text.endswith("\n") else "\n")
    return status


def _source(run: StoredRun, name: str, pager: bool) -> int:
    """Print a source: in a pipe byte for byte, on a terminal escaped; list the sources where none is named."""
    from capture.query.fetching import files_of, matching

    files = files_of(run, ["sources"])
    if not files:
        hint(f"the record of run {format_value(run.label)} holds no sources")
        return 1
    if not name and len(files) > 1:
        print_table(["name", "size", "SHA-256"], [_file_row(each) for each in files], ["left", "right", "left"])
        hint("--source=NAME prints one of them")
        return 0
    found = matching(run, name, ["sources"]) if name else list(files)
    if len(found) > 1:
        hint(f"{visible(name)} means {len(found)} sources: {', '.join(visible(each.name) for each in found)}")
        return 1
    data = found[0].read()
    problem = _damage(found[0], data)
    if is_terminal():
        with paged(pager):
            say(escape_output(data.decode("utf-8", "backslashreplace")), end="" if data.endswith(b"\n") else "\n")
    elif hasattr(sys.stdout, "buffer"):
        sys.stdout.flush()
        sys.stdout.buffer.write(data)
    else:  # replaced by something that takes text only
        say(data.decode("utf-8", "backslashreplace"), end="")
    if problem:
        hint(f"this is not what ran: the stored bytes of {visible(found[0].name)} are damaged: {visible(problem)}")
    return 1 if problem else 0


def _damage(stored: StoredFile, data: bytes) -> str:
    """Say how the bytes of a file are not those that were recorded; "" where they are."""
    from capture.query.verifying import Digests

    digests = Digests(stored)
    digests.update(data)
    problem = digests.problem("source")
    return problem.text if problem is not None else ""


# ---------------------------------------------------------------------------------------------------------------- data

#: option -> what it prints
PARTS: dict[str, Callable[..., None]] = {
    "config": _whole_config,
    "metrics": _metrics,
    "files": _files,
    "lineage": _lineage,
    "env": _environment,
}


def _data(run: StoredRun, parts: Sequence[str]) -> dict[str, Any]:
    """Return the parts of a run as data; all but the streams if none is named."""
    every = _everything(run)
    if not parts:
        return every
    meant = {
        "config": ("config", "origins"),
        "metrics": ("metrics",),
        "files": ("sources", "resources", "artifacts", "kept"),
        "env": ("host", "packages", "environment", "machine", "process", "usage"),
    }
    chosen: dict[str, Any] = {}
    for part in parts:
        if part == "out":
            chosen["output"] = run.output
        elif part == "lineage":
            chosen["lineage"] = run.lineage
        elif part == "env":
            chosen |= {"host": every["host"], "packages": run.packages}
            chosen |= {name: _fact(run, name) for name in meant["env"][2:]}
        else:
            chosen |= {name: every[name] for name in meant[part] if name in every}
    return chosen


def _everything(run: StoredRun) -> dict[str, Any]:
    record = run.to_dict(streams=False)
    for kind in ("sources", "resources", "artifacts", "kept"):
        record[kind] = [
            {name: getattr(each, name) for name in ("name", "digest", "size", "metadata", "content_type")}
            for each in getattr(run, kind)
        ]
    first = {"label": run.label, "name": run.name, "state": run.state, "duration": run.duration}
    record["config"], record["host"] = _masked(run, record["config"]), _masked(run, record["host"])
    record["meta"] = _masked(run, record["meta"])
    origins = _fact(run, "config", "origins")
    metrics = {name: dict(known) for name, known in run.summary.items()}
    record["losses"] = [loss.text for loss in run.losses]
    return {**first, **record, "origins": origins if origins is not None else MISSING, "metrics": metrics}
