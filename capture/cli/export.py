"""``capture export``: runs as a folder, as an RO-Crate, in MLflow, or as JSON."""

from __future__ import annotations

from capture.errors import CommandLineError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from capture.cli._arguments import NamedStores
    from capture.exporting.folder import ExportedRun
    from capture.query.client import Store, StoredRun

USAGE = """\
Write runs as a plain folder, as an RO-Crate, to MLflow, or as JSON.

Usage:
  capture export [--folder | --ro-crate] [--license=NAME] [--where=EXPR] [--store=URL] NAME...
  capture export --mlflow=URI [--where=EXPR] [--store=URL] [NAME...]
  capture export --json [--store=URL] NAME

NAME... are the runs, and last the folder to be written, or the zip file if it ends in .zip. Nothing that is there is
overwritten. For --mlflow and --json there are only runs. STORE::RUN is a run of another store than that of --store; all
that are exported at once are of one.

Options:
  --folder        A folder that explains itself: run.json, config.json, metrics.csv, output.txt, files (the default).
  --ro-crate      The same with a description that archives understand: RO-Crate 1.1, Process Run Crate 0.5.
  --license=NAME  Under which an RO-Crate may be used: a URL, or a name of SPDX such as CC-BY-4.0.
  --mlflow=URI    Write to a tracking server (http://host:port) or database (sqlite:///path) of MLflow.
  --json          Print the record of one run as JSON.
  --where=EXPR    The runs for which a condition holds: "config.lr < 0.1", "status == 'COMPLETED'".
  --store=URL     The store that the runs are in; STORE::RUN names a run of another one.

Exit status 1: something could not be exported; it is named.
"""


def run(arguments: dict[str, Any]) -> int:
    """Export what the arguments name."""
    from capture.cli._arguments import NamedStores
    from capture.cli._runs import readable
    from capture.exporting.licenses import UnknownLicenseError, license_of

    names = list(arguments["NAME"])
    if arguments["--license"] is not None and not arguments["--ro-crate"]:
        raise CommandLineError("--license is part of an RO-Crate: add --ro-crate")
    if arguments["--license"] is not None:
        try:
            license_of(arguments["--license"])
        except UnknownLicenseError as error:
            raise CommandLineError(f"--license: {error}") from error
    with NamedStores(arguments) as stores:
        if arguments["--json"]:
            return _print_json(stores.get(names[0]))
        if arguments["--mlflow"] is not None:
            chosen = _chosen(stores, arguments, names)
            runs = readable(chosen)
            status = _to_mlflow(chosen[0].store, runs, arguments["--mlflow"]) if runs else 1
            return status or int(len(runs) < len(chosen))
        *named, target = names
        if not named and arguments["--where"] is None:
            raise CommandLineError(
                f"what is to be exported? {target!r} is the last word, so it names what is written: RUN... TARGET"
            )
        chosen = _chosen(stores, arguments, named)
        runs = readable(chosen)
        status = _to_folder(chosen[0].store, runs, target, arguments) if runs else 1
        return status or int(len(runs) < len(chosen))


def _chosen(stores: NamedStores, arguments: dict[str, Any], names: list[str]) -> list[StoredRun]:
    from capture.cli._runs import chosen_runs
    from capture.query.addresses import stores_of

    runs = chosen_runs(stores, {**arguments, "RUN": names})
    if not runs:
        raise CommandLineError("no run was meant: name one, or give a condition with --where")
    several = stores_of(runs)
    if several:
        raise CommandLineError(
            f"one export is of runs of one store, and these are of {len(several)}: {', '.join(several)}"
            "\n  what to do:  export those of each store by themselves, or bring them together with capture cp"
        )
    return runs


def _print_json(run: StoredRun) -> int:
    from capture.cli._console import say
    from capture.exporting.folder import json_of

    say(json_of(run.record, run.store.url), end="")
    return 0


def _to_folder(store: Store, runs: Sequence[StoredRun], target: str, arguments: dict[str, Any]) -> int:
    from capture.cli._console import progress, say
    from capture.wording import counted, visible

    records = [each.record for each in runs]
    total = sum(len(getattr(record, kind)) for record in records for kind in _folders()) + 5 * len(records)
    with progress("exporting", total) as shown:
        step = lambda what: shown.advance()  # noqa: E731
        if arguments["--ro-crate"]:
            from capture.exporting.ro_crate import export_ro_crate

            exported = export_ro_crate(records, target, arguments["--license"], store.url, step)
        else:
            from capture.exporting.folder import export_folder

            exported = export_folder(records, target, store.url, step)
    files = len({each.written.path for run in exported for each in run.files if each.written is not None})
    form = " as an RO-Crate" if arguments["--ro-crate"] else ""
    say(f"{counted(len(exported), 'run')} with {counted(files, 'file')} exported{form} to {visible(target)}")
    return _tell_missing(exported)


def _folders() -> Sequence[str]:
    from capture.exporting.folder import FOLDERS

    return list(FOLDERS)


def _tell_missing(exported: Sequence[ExportedRun]) -> int:
    import sys

    from capture.cli._console import say
    from capture.wording import visible

    for each in exported:
        for what in each.missing:
            say(f"run {visible(str(each.run.label))}: not exported: {visible(what)}", sys.stderr)
    return 1 if any(each.missing for each in exported) else 0


def _to_mlflow(store: Store, runs: Sequence[StoredRun], uri: str) -> int:
    import sys
    import tempfile

    from capture.cli._console import progress, say
    from capture.copying import CopyError, StoreLostError
    from capture.exporting.mlflow import MlflowExport
    from capture.wording import visible

    export = MlflowExport(uri, store.reader, store.url)
    failed = 0
    with tempfile.TemporaryDirectory(prefix="capture-export-") as folder, progress("exporting", len(runs)) as shown:
        for each in runs:
            label = visible(str(each.label))
            try:
                copied = export.write(each.record, folder)
            except CopyError as error:
                failed += 1
                say(f"{label}: not exported: {visible(str(error), lines=True)}", sys.stderr)
                if isinstance(error, StoreLostError):
                    break
                continue
            finally:
                shown.advance()
            if copied is None:
                say(f"{label}: is there already")
                continue
            say(f"{label}: {copied.events} events, {copied.files} files")
            for what in copied.missing:
                failed += 1
                say(f"{label}: not exported: the store has no bytes of {visible(what)}", sys.stderr)
    say(f"exported to {visible(export.name)}")
    return 1 if failed else 0
