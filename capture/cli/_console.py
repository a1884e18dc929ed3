"""What commands print: the only module that knows of colours, widths, the pager, and of rich.

What stands in a record is other people's text. `print_table`, `heading` and `progress` make it visible themselves; what
is printed in another way goes through `capture.wording` first. On a terminal tables are rich's and colours are used; in
a pipe a table is plain text in columns, with nothing cut off.
"""

from __future__ import annotations

import os
import sys

from capture.errors import CommandLineError
from capture.filters import MISSING
from capture.wording import aligned, fitted, uncoloured, visible

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import IO, Any

    #: row and column, from 0 -> the style of that cell
    Styles = Callable[[int, int], str | None]

#: style of a run's state
STATE_STYLES = {
    "COMPLETED": "green",
    "RUNNING": "cyan",
    "QUEUED": "blue",
    "FAILED": "red",
    "DIED": "red",
    "INTERRUPTED": "yellow",
    "TIMEOUT": "yellow",
    "PREEMPTED": "yellow",
}

_CODES = {
    "bold": "1", "dim": "2", "italic": "3", "underline": "4",
    "red": "31", "green": "32", "yellow": "33", "blue": "34", "magenta": "35", "cyan": "36",
}  # fmt: skip

_BLOCKS = "▁▂▃▄▅▆▇█"
_ASCII_BLOCKS = "_.,-=+*#"
#: what this library prints beyond ASCII, for terminals and pipes that cannot take it
_SPELT = {"…": "...", "±": "+-", "→": "->", "—": "-", "·": "-", "×": "x", "✓": "+", "✗": "x", "≈": "~"}
_SPELT.update(zip(_BLOCKS, _ASCII_BLOCKS))


# ---------------------------------------------------------------------------------------------------- who is looking?


def is_terminal(stream: Any = None) -> bool:
    """Say whether somebody looks at what is printed."""
    stream = sys.stdout if stream is None else stream
    return bool(getattr(stream, "isatty", bool)())


def colour_enabled(stream: Any = None) -> bool:
    """Say whether colours are printed: on a terminal that has them, unless NO_COLOR is set."""
    return is_terminal(stream) and not os.environ.get("NO_COLOR") and os.environ.get("TERM", "") != "dumb"


def screen_size() -> tuple[int, int]:
    """Return the columns and lines of the screen: COLUMNS and LINES, else the terminal's, else 80 and 24."""
    import shutil

    size = shutil.get_terminal_size()
    return max(size.columns, 1), max(size.lines, 1)


def speaks_unicode(stream: Any = None) -> bool:
    """Say whether the output can take all characters that this library prints."""
    stream = sys.stdout if stream is None else stream
    try:
        "".join(_SPELT).encode(getattr(stream, "encoding", None) or "ascii")
    except (UnicodeError, LookupError):
        return False
    return True


def escape_output(text: str) -> str:
    """Return what a program printed as it may be shown on a terminal: lines stay, colours go, the rest is visible."""
    return visible(uncoloured(text).replace("\r\n", "\n"), lines=True)


# ------------------------------------------------------------------------------------------------------------- printing


def say(text: str = "", stream: IO[str] | None = None, end: str = "\n") -> None:
    """Print text that may hold characters which the output cannot take: those are spelt in ASCII."""
    stream = sys.stdout if stream is None else stream
    print(_sayable(text, stream), file=stream, end=end)


def _sayable(text: str, stream: Any) -> str:
    if text.isascii():
        return text
    encoding = getattr(stream, "encoding", None) or "utf-8"
    try:
        text.encode(encoding)
    except UnicodeError:
        text = "".join(_SPELT.get(char, char) for char in text)
        return text.encode(encoding, "backslashreplace").decode(encoding)
    return text


def hint(text: str) -> None:
    """Say something about the answer that is no part of it: on stderr, dim on a terminal."""
    say(styled(text, "dim", sys.stderr), sys.stderr)


def styled(text: str, style: str | None, stream: Any = None) -> str:
    """Return text in a style (``"bold red"``) where colours are printed, else as it is; it is not made visible here."""
    if not style or not colour_enabled(stream):
        return text
    codes = ";".join(_CODES[word] for word in style.split() if word in _CODES)
    return f"\x1b[{codes}m{text}\x1b[0m" if codes else text


def heading(text: str, gap: bool = True) -> None:
    """Print a heading, with an empty line before it where something stands above."""
    if gap:
        say()
    say(styled(visible(text), "bold"))


def print_table(
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    align: Sequence[str] | None = None,
    style: Styles | None = None,
    wrap: bool = True,
) -> None:
    """Print a table, its cells made visible.

    Parameters
    ----------
    columns : sequence of str, shape (n,)
        The headings; if all are empty, there is no line of headings.
    rows : sequence of sequence of str, shape (m, n)
    align : sequence of str, shape (n,), optional
        "left" or "right"; all left if nothing is said.
    style : callable, optional
        ``style(row, column) -> str or None``: the style of a cell, used where colours are printed.
    wrap : bool
        Whether a cell that is too wide for the terminal goes on in the next line, or is cut off. In a pipe neither is
        done.
    """
    headings = [_sayable(visible(each), sys.stdout) for each in columns]
    cells = [[_sayable(visible(each), sys.stdout) for each in row] for row in rows]
    align = list(align) if align is not None else ["left"] * len(headings)
    if is_terminal():
        _print_rich(headings, cells, align, style, wrap)
    else:
        for line in aligned(headings, cells, align):
            print(line)


def _print_rich(
    columns: list[str], rows: list[list[str]], align: list[str], style: Styles | None, wrap: bool
) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    coloured = colour_enabled()
    console = Console(
        file=sys.stdout, force_terminal=True, no_color=not coloured, highlight=False, width=screen_size()[0],
        color_system="standard" if coloured else None,
    )  # fmt: skip
    table = Table(box=None, show_header=any(columns), header_style="bold", padding=(0, 2, 0, 0), pad_edge=False)
    for name, side in zip(columns, align):
        side_of_rich: Any = "right" if side == "right" else "left"
        table.add_column(
            Text(name), justify=side_of_rich, no_wrap=not wrap, overflow="fold" if wrap else "ellipsis"
        )
    for place, row in enumerate(rows):
        styles = [(style(place, column) or "") if style and coloured else "" for column in range(len(row))]
        table.add_row(*map(Text, row, styles))
    console.print(table)


# --------------------------------------------------------------------------------------------------------------- values


def plain_data(value: Any) -> Any:
    """Return a value as strict JSON has it: None for what is missing or no finite number, text for what is no data.

    Examples
    --------
    >>> plain_data({"loss": float("nan"), "shape": (2, 3), 5: b"x"})
    {'loss': None, 'shape': [2, 3], '5': "b'x'"}
    """
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, int):
        return value if value.bit_length() < 10_000 else hex(value)  # Python refuses to print thousands of digits
    if isinstance(value, float):
        return float(value) if value - value == 0 else None
    if isinstance(value, dict):
        return {str(key): plain_data(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain_data(each) for each in value]
    if hasattr(value, "isoformat"):
        return value.isoformat()
    if hasattr(value, "tolist"):
        return plain_data(value.tolist())  # of NumPy: a number, an array
    return None if value is MISSING else str(value)


def print_json(value: Any) -> None:
    """Print data as JSON in ASCII, which every terminal and pipe takes and in which nothing can hide."""
    import json

    say(json.dumps(plain_data(value), indent=2, allow_nan=False))


def sparkline(values: Sequence[Any], width: int = 40) -> str:
    """Return a row of blocks whose heights are those of the values; a blank where there is no number.

    Parameters
    ----------
    values : sequence of number, shape (n,)
        Where there are more than `width`, a block stands for the mean of its neighbours.
    width : int
        The most blocks.

    Examples
    --------
    >>> sparkline([1, 2, 3, float("nan"), 8])
    '▁▂▃ █'
    """
    heights = _buckets(values, width)
    known = [height for height in heights if height is not None]
    if not known:
        return " " * len(heights)
    low, high = min(known), max(known)
    span = high / 2 - low / 2  # the whole of it may be beyond the range of floats
    middle = _BLOCKS[len(_BLOCKS) // 2 - 1]  # what does not change is no low

    def block(height: float | None) -> str:
        if height is None:
            return " "
        return _BLOCKS[round((height / 2 - low / 2) / span * (len(_BLOCKS) - 1))] if span else middle

    return "".join(map(block, heights))


def _buckets(values: Sequence[Any], width: int) -> list[float | None]:
    """Return at most `width` means of neighbours; None where none of them is a finite number."""
    count = len(values)
    edges = [count * place // width for place in range(width + 1)] if count > width else list(range(count + 1))
    return [_mean(values[edges[place] : edges[place + 1]]) for place in range(len(edges) - 1)]


def _mean(values: Sequence[Any]) -> float | None:
    try:
        mean = float(sum(values)) / len(values)
        if mean - mean == 0:  # false for infinities and what is not a number
            return mean
    except (TypeError, OverflowError):
        pass
    numbers = [float(each) for each in values if isinstance(each, (int, float)) and _is_finite(each)]
    return sum(number / len(numbers) for number in numbers) if numbers else None


def _is_finite(value: Any) -> bool:
    try:
        return float(value) - float(value) == 0
    except (OverflowError, TypeError, ValueError):
        return False


# ---------------------------------------------------------------------------------------------------- pager, progress


class paged:
    """A ``with`` block whose output goes through the pager, if it is longer than the screen of a terminal.

    The pager is that of CAPTURE_PAGER or PAGER, else ``less -FRX``; an empty text or ``cat`` stands for none. To
    leave it before the end is no error.

    Parameters
    ----------
    enabled : bool
    """

    def __init__(self, enabled: bool = True) -> None:
        self._enabled = enabled
        self._screen: _Screen | None = None
        self._stdout: Any = None

    def __enter__(self) -> paged:
        command = pager_command() if self._enabled and is_terminal() else []
        if command and is_terminal(sys.stdin) and os.environ.get("TERM", "") != "dumb":
            self._stdout = sys.stdout
            self._screen = _Screen(sys.stdout, command)
            sys.stdout = self._screen
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> bool:
        if self._screen is None:
            return False
        sys.stdout = self._stdout
        self._screen.end()
        return kind is _PagerLeft


def pager_command() -> list[str]:
    """Return the words of the pager's command line; none if there is no pager."""
    import shlex

    chosen = next((os.environ[name] for name in ("CAPTURE_PAGER", "PAGER") if name in os.environ), "less -FRX")
    try:
        words = shlex.split(chosen)
    except ValueError as error:
        raise CommandLineError(f"the pager {chosen!r} is not understood: {error}") from error
    return [] if words in ([], ["cat"]) else words


class _PagerLeft(BrokenPipeError):
    """Whoever looked has seen enough."""


class _Screen:
    """Standard output that is kept until it fills more than the screen; then a pager gets it, and all that follows."""

    def __init__(self, terminal: Any, command: list[str]) -> None:
        self.encoding = terminal.encoding
        self._terminal, self._command = terminal, command
        self._kept: list[str] = []
        self._columns, self._lines = screen_size()
        self._pager: Any = None
        self._is_plain = False  # there is no such pager: to the terminal at once

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        if self._pager is not None:
            self._give(text)
        elif self._is_plain:
            self._terminal.write(text)
        else:
            self._kept.append(text)
            self._lines -= sum(1 + max(len(line) - 1, 0) // self._columns for line in text.split("\n")) - 1
            if self._lines <= 1:
                self._open()
        return len(text)

    def flush(self) -> None:
        if self._is_plain:
            self._terminal.flush()

    def fileno(self) -> int:
        return self._terminal.fileno()

    def _open(self) -> None:
        import subprocess

        text = "".join(self._kept)
        self._kept = []
        self._terminal.flush()
        try:
            self._pager = subprocess.Popen(
                self._command, stdin=subprocess.PIPE, env={"LESS": "FRX", "LV": "-c", **os.environ}
            )
        except OSError:  # there is no such program: what was asked for is shown all the same
            self._is_plain = True
            self._terminal.write(text)
        else:
            self._give(text)

    def _give(self, text: str) -> None:
        try:
            self._pager.stdin.write(text.encode(self.encoding or "utf-8", "backslashreplace"))
            self._pager.stdin.flush()
        except (BrokenPipeError, ValueError):  # ValueError: closed
            raise _PagerLeft from None

    def end(self) -> None:
        """Show what is still kept, or wait until the pager is left."""
        if self._pager is None:
            self._terminal.write("".join(self._kept))
            self._terminal.flush()
            return
        try:
            self._pager.stdin.close()
        except BrokenPipeError:
            pass
        while True:
            try:
                self._pager.wait()
                return
            except KeyboardInterrupt:  # Ctrl-C belongs to the pager
                continue


class progress:
    """A line on stderr that says how far something is; on a terminal only. Use it in a ``with`` block.

    Parameters
    ----------
    text : str
        What is done.
    total : int, optional
        How many steps there are.
    """

    def __init__(self, text: str, total: int | None = None) -> None:
        self._text, self._total = visible(text), total
        self._done, self._shown_at, self._is_shown = 0, 0.0, False
        self._is_seen = is_terminal(sys.stderr) and os.environ.get("TERM", "") != "dumb"

    def __enter__(self) -> progress:
        return self

    def __exit__(self, *error: object) -> None:
        self.clear()

    def advance(self, steps: int = 1, text: str | None = None) -> None:
        """Count steps; `text` says what is done now."""
        self._done += steps
        self._text = self._text if text is None else visible(text)
        if not self._is_seen:
            return
        import time

        now = time.monotonic()
        if now - self._shown_at >= 0.1:
            self._shown_at, self._is_shown = now, True
            of_all = f"/{self._total}" if self._total is not None else ""
            line = fitted(f"{self._text} {self._done}{of_all}", screen_size()[0] - 1)
            print(f"\r\x1b[K{_sayable(line, sys.stderr)}", end="", file=sys.stderr, flush=True)

    def clear(self) -> None:
        """Take the line away."""
        if self._is_shown:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
            self._is_shown = False
