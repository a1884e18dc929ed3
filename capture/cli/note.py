"""``capture note``: notes on a run."""

from __future__ import annotations

import os
import sys

from capture.cli._arguments import NamedStores
from capture.cli._console import hint, say
from capture.cli._runs import can_ask, label_of
from capture.errors import CaptureError, CommandLineError
from capture.query.keeping import append_note, revise
from capture.wording import visible

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from capture.query.client import StoredRun

USAGE = """\
Write a note on a run.

Usage:
  capture note [--store=URL] [--append] RUN [--] [TEXT]

TEXT takes the place of what was noted before; "" takes it away, and - stands for what comes on standard input.
Without TEXT the notes are opened in an editor, that of $VISUAL or $EDITOR; where nobody sits at a terminal they are
printed. A TEXT that begins with a dash stands behind --: capture note 3 -- "- checked".

Options:
  --append     Add to what was noted, as a paragraph of its own.
  --store=URL  The store that the run is in; STORE::RUN names a run of another one.
"""


def run(arguments: dict[str, Any]) -> int:
    """Note something, or show what is noted."""
    text = arguments["TEXT"]
    with NamedStores(arguments) as stores:
        noted = stores.get(arguments["RUN"])
        if text is None and not can_ask():
            if arguments["--append"]:
                raise CommandLineError("--append needs a text, or - for standard input: capture note --append RUN TEXT")
            if noted.notes:
                say(visible(noted.notes, lines=True))
            return 0
        if text == "-":
            text = sys.stdin.read().rstrip()
        if text is None:
            return _edited(noted, arguments["--append"])
        if not arguments["--append"]:
            noted.note(text)
        elif text.strip():
            append_note(noted, text)
        hint(f"noted on run {label_of(noted)}" if noted.notes else f"run {label_of(noted)} has no notes now")
    return 0


def _edited(run: StoredRun, append: bool) -> int:
    """Let the user edit the notes, or write a paragraph to add; what was written is never lost."""
    import shutil
    import tempfile

    before = "" if append else run.notes
    shown = before.encode("utf-8", "backslashreplace") + (b"\n" if before else b"")
    folder = tempfile.mkdtemp(prefix="capture-note-")  # nobody else may look into it
    path = os.path.join(folder, "note.md")
    try:
        with open(path, "wb") as stream:
            stream.write(shown)
        edit(path)
        if _content(path) == shown.rstrip():
            hint("nothing changed")
        else:
            after = _content(path).decode("utf-8", "backslashreplace").replace("\r\n", "\n")
            if append:
                append_note(run, after)
            else:
                _replace(run, before, after)
            hint(f"noted on run {label_of(run)}")
    except BaseException:
        if os.path.exists(path) and _content(path) != shown.rstrip():
            folder = ""
            hint(f"what you wrote is in {visible(path)}")
        raise
    finally:
        if folder:
            shutil.rmtree(folder, ignore_errors=True)
    return 0


def _content(path: str) -> bytes:
    with open(path, "rb") as stream:
        return stream.read().rstrip()


def _replace(run: StoredRun, before: str, after: str) -> None:
    """Set the notes unless somebody else has changed them while they were edited."""

    def change(_tags: list[str], notes: str) -> tuple[None, str]:
        if notes != before:
            raise CaptureError(
                f"the notes of run {run.label} were changed by somebody else meanwhile, and stay as they are now"
                "\n  what to do:  capture note RUN shows them; add what is missing there",
                print_traceback=False,
            )
        return None, after

    revise(run, change)


def edit(path: str) -> None:
    """Open a file in the user's editor and wait until that ends.

    Raises
    ------
    CaptureError
        If there is no editor, or it says that it failed.
    """
    import subprocess

    command = editor_command()
    try:
        status = subprocess.call([*command, path])
    except OSError as error:
        raise CaptureError(
            f"the editor {command[0]!r} cannot be started: {error.strerror}"
            "\n  what to do:  name another in EDITOR, or give the text: capture note RUN TEXT",
            print_traceback=False,
        ) from error
    if status != 0:
        raise CaptureError(f"{command[0]} ended with status {status}: nothing was changed", print_traceback=False)


def editor_command() -> list[str]:
    """Return the words of the editor's command line: that of VISUAL or EDITOR, else one that is installed."""
    import shlex
    import shutil

    chosen = next((os.environ[name] for name in ("VISUAL", "EDITOR") if os.environ.get(name, "").strip()), None)
    if chosen is None:
        names = ("notepad",) if sys.platform == "win32" else ("sensible-editor", "editor", "nano", "vi")
        chosen = next((name for name in names if shutil.which(name)), None)
        if chosen is None:
            raise CommandLineError("there is no editor: name one in EDITOR, or give the text: capture note RUN TEXT")
        return [chosen]
    try:
        words = shlex.split(chosen, posix=sys.platform != "win32")
    except ValueError as error:
        raise CommandLineError(f"the editor {chosen!r} is not understood: {error}") from error
    return [word[1:-1] if word[:1] == word[-1:] == '"' else word for word in words]  # they stay on Windows
