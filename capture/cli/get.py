"""``capture get``: files of a run."""

from __future__ import annotations

import os
import sys

from capture.cli._arguments import NamedStores
from capture.cli._console import hint, print_table, say
from capture.cli._runs import can_ask, label_of
from capture.errors import CommandLineError
from capture.wording import counted, format_size, visible

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from capture.query.files import RunFile
    from capture.query.stored_run import StoredRun

USAGE = """\
Fetch files of a run, or list those that it has.

Usage:
  capture get [options] RUN [NAME...]

NAME is the name of a file or the end of its path, a pattern such as "*.png" (in quotes), or at least 6 digits of its
SHA-256. Artifacts are what the run wrote, resources what it read, sources its code; kept is what belongs to the code:
patches, lock files. Without NAME the files are listed; with --to and a kind, such as --sources, all of that kind are
fetched. What is written is compared with the recorded digest, and never
lies outside of FOLDER. Status 1: there is no such file, or it is not what was recorded.

Options:
  --to=FOLDER  Where the files go, with the folders that belong to their names; - for standard output; if
               nothing is said, into this one.
  --force      Replace files that are there.
  --artifacts  Only artifacts.
  --resources  Only resources.
  --sources    Only sources.
  --kept       Only what is kept beside the sources.
  --store=URL  The store that the run is in; STORE::RUN names a run of another one.
"""


def run(arguments: dict[str, Any]) -> int:
    """Fetch or list files."""
    from capture.query.fetching import KINDS, files_of

    chosen = [kind for kind in KINDS if arguments[f"--{kind}"]]
    kinds = chosen or list(KINDS)
    fetches = arguments["--to"] is not None or arguments["--force"]
    if fetches and not arguments["NAME"] and not chosen:
        said = "--to" if arguments["--to"] is not None else "--force"
        raise CommandLineError(f'{said} is for fetching: name files, "*" for all, or a kind such as --sources')
    with NamedStores(arguments) as stores:
        found = stores.get(arguments["RUN"])
        if not arguments["NAME"] and not fetches:
            return _list(found, kinds, folds="kept" not in chosen)
        files = _meant(found, arguments["NAME"], kinds) if arguments["NAME"] else list(files_of(found, kinds))
        if not files:
            hint(f"run {label_of(found)} has no {' and no '.join(kinds)}")
            return 1
        if arguments["--to"] == "-":
            return _print(files)
        return _write(found, files, arguments["--to"] or ".", arguments["--force"])


def _list(run: StoredRun, kinds: list[str], folds: bool) -> int:
    """List files; with `folds`, what is kept of the repository, which may be long, is only counted."""
    from capture.probes.rebuild import FOLDER
    from capture.query.fetching import files_of

    files = files_of(run, kinds)
    folded = [each for each in files if folds and each.kind == "kept" and each.name.startswith(FOLDER)]
    listed = [each for each in files if each not in folded]
    rows = [[each.kind, each.name, format_size(each.size), (each.digest or "-")[:12]] for each in listed]
    if rows:
        print_table(["kind", "name", "size", "digest"], rows, ["left", "left", "right", "left"])
    if folded:
        count, size = counted(len(folded), "file"), format_size(sum(each.size or 0 for each in folded))
        say(f"and {count} of the repository, {size}: capture get {label_of(run)} --kept lists them")
    if not files:
        hint(f"run {label_of(run)} has no such files")
    return 0


def _meant(run: StoredRun, names: list[str], kinds: list[str]) -> list[RunFile]:
    """Return the files that are meant, each once."""
    from capture.query.fetching import AmbiguousFileError, matching

    found: dict[tuple[str, str, str | None], RunFile] = {}
    for name in names:
        try:
            files = matching(run, name, kinds)
        except AmbiguousFileError as error:
            if not can_ask():
                raise CommandLineError(_escaped(error)) from error
            files = [_asked(name, error.candidates)]
        found.update({(each.kind, each.name, each.digest): each for each in files})
    return list(found.values())


def _asked(name: str, candidates: list[RunFile]) -> RunFile:
    """Let the user choose one of several files of a name."""
    from capture.query.saving import describe

    print(f"{visible(name)} is the name of several files:", file=sys.stderr)
    for place, each in enumerate(candidates, 1):
        print(f"  {place}  {visible(describe(each))}", file=sys.stderr)
    print(f"Which one? [1-{len(candidates)}] ", end="", file=sys.stderr, flush=True)
    answer = sys.stdin.readline().strip()
    if not answer.isdecimal() or not 1 <= int(answer) <= len(candidates):
        raise CommandLineError("none of them was chosen")
    return candidates[int(answer) - 1]


def _escaped(error: Exception) -> str:
    return visible(str(error), lines=True)


def _print(files: list[RunFile]) -> int:
    """Write one file to standard output."""
    from capture.query.saving import copy_to, describe

    if len(files) > 1:
        listed = ", ".join(visible(describe(each)) for each in files[:5])
        raise CommandLineError(f"standard output takes one file, meant are {len(files)}: {listed}")
    sys.stdout.flush()
    copy_to(files[0], sys.stdout.buffer)
    sys.stdout.buffer.flush()
    return 0


def _write(run: StoredRun, files: list[RunFile], folder: str, force: bool) -> int:
    """Write files into a folder; nothing is written if something stands in the way of one of them."""
    from capture.query.fetching import obstacle, places
    from capture.query.saving import fetch, is_there

    planned = places(run, files, folder)
    for file, path in planned:
        problem = obstacle(file, path, folder, force)
        if problem is not None:
            raise problem
    replaced = {path for _, path in planned if os.path.lexists(path)}  # where case does not count, a file is not to
    for file, path in planned:  # replace one that was fetched just now
        if is_there(file, path):
            say(f"{visible(path)} is there already")
        else:
            fetch(file, path, overwrite=force and path in replaced)
            say(f"{visible(path)}  {format_size(file.size)}")
    return 0
