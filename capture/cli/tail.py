"""``capture tail``: the end of a run's output, and what is added to it."""

from __future__ import annotations

import os
import sys
import time

from capture.cli._arguments import NamedStores, whole_number
from capture.cli._console import escape_output, hint, is_terminal, say, screen_size
from capture.errors import CaptureError, RunNotFoundError
from capture.query.signs import last_sign
from capture.wording import cell_width, format_duration, format_value, visible

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from capture.query.client import Store, StoredRun


USAGE = """\
Show the end of a run's output, and with -f what is added to it.

Usage:
  capture tail [options] RUN

With -f the status is 0 when the run has completed, and 1 when it ended otherwise, or died.

Options:
  -n N, --lines=N  Begin with so many lines [default: 10].
  -f, --follow     Go on until the run ends.
  --store=URL      The store that the run is in; STORE::RUN names a run of another one.
"""

POLL_S = 0.5  #: how often the store is asked, in seconds, if an answer does not take long
_SILENT_S = 120.0  #: without a sign of life, after which that is said
_GOING_ON = ("RUNNING", "QUEUED")


def run(arguments: dict[str, Any]) -> int:
    """Show the end of the output of the run that the arguments name."""
    lines = whole_number(arguments, "--lines") or 0
    with NamedStores(arguments) as stores:
        found = stores.get(arguments["RUN"])
        if arguments["--follow"]:
            return _follow(found.store, found, lines, arguments)
        text = last_lines(Followed(found.store, found, lines).text(found), lines)
        say(escape_output(text) if is_terminal() else text, end="" if not text or text.endswith("\n") else "\n")
        return int(any(loss.kind == "output" for loss in found.losses))


def last_lines(text: str, count: int) -> str:
    """Return the last lines of a text.

    Examples
    --------
    >>> last_lines("a\\nb\\nc\\n", 2), last_lines("a\\nb", 1), last_lines("a\\n", 0)
    ('b\\nc\\n', 'b', '')
    """
    if count == 0:
        return ""
    start = len(text) - text.endswith("\n")
    for _ in range(count):
        start = text.rfind("\n", 0, start)
        if start < 0:
            return text
    return text[start + 1 :]


def _follow(store: Store, found: StoredRun, lines: int, arguments: dict[str, Any]) -> int:
    """Print what is added until the run ends; return 0 if it completed."""
    printer = TerminalPrinter() if is_terminal() else PipePrinter()
    followed = Followed(store, found, lines, printer)
    text = followed.text(found)
    printer.skip(text[: len(text) - len(last_lines(text, lines))])
    is_silent, is_fresh = False, True
    problems = _Problems()
    while True:
        asked = time.monotonic()
        try:
            state = found.state  # before the output, so that all of it is there when the run has ended
            if state in _GOING_ON:
                followed.show(found)
                is_silent = is_silent or _say_silence(store, found)
            else:
                return _end(found, state, followed, arguments)
        except RunNotFoundError:
            raise
        except (CaptureError, OSError) as error:
            if isinstance(error, BrokenPipeError):
                raise
            problems.say(error)
        else:
            if is_fresh:
                problems.forget()
        # A store that takes long to answer is asked less often.
        _wait(max(POLL_S, 5 * (time.monotonic() - asked)))
        again = _again(store, found, problems)
        found, is_fresh = again or found, again is not None


def _wait(seconds: float) -> None:
    time.sleep(seconds)


class _Problems:
    """Says why a run cannot be read at the moment: once, and not at every try."""

    def __init__(self) -> None:
        self._said = ""

    def say(self, error: Exception) -> None:
        text = str(error) or type(error).__name__
        if text != self._said:
            self._said = text
            hint(f"cannot be read at the moment: {visible(text, lines=True)}")

    def forget(self) -> None:
        self._said = ""


def _again(store: Store, found: StoredRun, problems: _Problems) -> StoredRun | None:
    """Return the run as it is now; None where the store does not answer."""
    try:
        return store.get(found.label if found.label is not None else found.uid)
    except RunNotFoundError:
        raise
    except (CaptureError, OSError) as error:
        problems.say(error)
        return None


def _end(found: StoredRun, state: str, followed: Followed, arguments: dict[str, Any]) -> int:
    if state == "DIED":  # what its process left behind is delivered when the store is opened
        with NamedStores(arguments) as stores:
            store, _ = stores.of(arguments["RUN"])
            found = store.get(found.label if found.label is not None else found.uid)
            followed.store = store
            followed.show(found, is_last=True)
    else:
        followed.show(found, is_last=True)
    after = f" after {format_duration(found.duration)}" if found.duration is not None else ""
    hint(f"run {format_value(found.label)}: {visible(state)}{after}")
    return 0 if state == "COMPLETED" else 1


def _say_silence(store: Store, found: StoredRun) -> bool:
    """Say so if there was no sign of life for long and nobody here can tell whether there will be one."""
    last = last_sign(found)
    if last is None or store.is_alive(found) is not None:
        return False
    from capture.moments import datetime, timezone

    silent = (datetime.now(timezone.utc) - last).total_seconds()
    if silent < _SILENT_S:
        return False
    hint(f"no sign for {format_duration(silent)}; whether it lives cannot be told from here. Ctrl-C ends this command.")
    return True


class Followed:
    """The end of a run's output: what was shown long ago is not read again, where the store can tell the rest.

    What a terminal still writes over lies at the end of the output. So of a long one the last `WINDOW` bytes are read
    again at least, from the beginning of a line on.

    Parameters
    ----------
    store : Store
    found : StoredRun
    lines : int
        How many of the last lines are wanted at first.
    printer : PipePrinter, optional
        Shows them.
    """

    WINDOW = 1 << 16  #: bytes

    def __init__(self, store: Store, found: StoredRun, lines: int, printer: PipePrinter | None = None) -> None:
        self.store, self._printer = store, printer
        self._base = self._start(found, lines)

    def text(self, found: StoredRun) -> str:
        """Return the output from where it is followed."""
        return self._read(found).decode("utf-8", "replace")

    def show(self, found: StoredRun, is_last: bool = False) -> None:
        """Print what is new."""
        assert self._printer is not None
        data = self._read(found)
        self._printer.show(data.decode("utf-8", "replace"), is_last)
        end = data.rfind(b"\n", 0, len(data) - self.WINDOW) + 1 if len(data) > 2 * self.WINDOW else 0
        if end and self._base is None:  # a store may keep what is long in another way
            told = self._from(found, end)
            self._base = 0 if told is not None and told[0] == end else None
        if end and self._base is not None:
            self._printer.forget(data[:end].decode("utf-8", "replace"))
            self._base += end

    def _start(self, found: StoredRun, lines: int) -> int | None:
        """Return where to begin, in bytes; None if the store gives the whole output only."""
        size = self.WINDOW
        while True:
            told = self._from(found, -size)
            if told is None:
                return None
            start, data = told
            if start == 0:
                return 0
            end = data.find(b"\n") + 1
            if end and data.count(b"\n", end) > lines:
                return start + end
            size *= 4

    def _read(self, found: StoredRun) -> bytes:
        if self._base is not None:
            told = self._from(found, self._base)
            if told is not None and told[0] == self._base:
                return told[1]
        whole = found.output.encode("utf-8", "replace")
        if self._base:  # it lies elsewhere now; or it is shorter, and all of it is new
            if self._printer is not None and len(whole) < self._base:
                self._printer.skip("")
            elif self._printer is not None:
                self._printer.recall(whole[: self._base].decode("utf-8", "replace"))
            self._base = None
        return whole

    def _from(self, found: StoredRun, start: int) -> tuple[int, bytes] | None:
        told: tuple[int, bytes] | None = None
        if hasattr(self.store.reader, "output_from"):
            told = self.store.reader.output_from(found.label, start)
        return told


class PipePrinter:
    """Prints output as it grows, line by line: a line that may still be written over waits until it is finished."""

    def __init__(self) -> None:
        self._seen = ""

    def skip(self, text: str) -> None:
        """Take a text for printed."""
        self._seen = text

    def forget(self, text: str) -> None:
        """Take it that the beginning of what was printed will not come any more."""
        self._seen = self._seen[len(text) :]

    def recall(self, text: str) -> None:
        """Put something before what was printed: the opposite of `forget`."""
        self._seen = text + self._seen

    def show(self, text: str, is_last: bool = False) -> None:
        """Print what is new in the whole text so far; from the first line on that has changed."""
        whole = text if is_last else text[: text.rfind("\n") + 1]
        if whole == self._seen:
            return
        start = kept_lines(self._seen, whole)
        self._write(whole[start:], is_last)
        self._seen = whole

    def _write(self, text: str, is_last: bool) -> None:
        say(text, end="\n" if is_last and text and not text.endswith("\n") else "")
        sys.stdout.flush()


class TerminalPrinter(PipePrinter):
    """Prints output as it grows; lines that were written over are written over here, too."""

    def show(self, text: str, is_last: bool = False) -> None:
        if text == self._seen and not is_last:
            return
        if text.startswith(self._seen):
            new = text[len(self._seen) :]
        else:
            start = kept_lines(self._seen, text)
            self._go_back(self._seen[start:])
            new = text[start:]
        say(escape_output(new), end="\n" if is_last and text and not text.endswith("\n") else "")
        sys.stdout.flush()
        self._seen = text

    def _go_back(self, text: str) -> None:
        """Clear what was printed last, as far as it is still on the screen."""
        if os.environ.get("TERM", "") == "dumb":
            say()
            return
        columns, lines = screen_size()
        shown = escape_output(text).split("\n")
        rows = sum(1 + max(cell_width(line) - 1, 0) // columns for line in shown) - 1
        rows = min(rows, lines - 1)
        say(f"\x1b[{rows}A\r\x1b[J" if rows else "\r\x1b[J", end="")


def kept_lines(old: str, new: str) -> int:
    """Return how many characters at the beginning of two texts are equal, up to the beginning of a line.

    Examples
    --------
    >>> kept_lines("a\\n10%", "a\\n20%\\n"), kept_lines("a\\n", "a\\nb\\n")
    (2, 2)
    """
    if new.startswith(old):
        return len(old)
    same, end = 0, min(len(old), len(new))  # halves are compared: outputs may be long
    while same < end:
        middle = (same + end + 1) // 2
        if old[same:middle] == new[same:middle]:
            same = middle
        else:
            end = middle - 1
    return new.rfind("\n", 0, same) + 1

