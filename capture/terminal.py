"""From what a process printed to what is worth keeping of it.

Three steps, each usable alone:

`apply_backspaces_and_linefeeds`
    the plain function: text with ``\\r`` and ``\\b`` in, what a terminal would show out.
`Cleaner`
    the same, incrementally and with the cursor movements of progress bars: a redraw costs O(new text).
`OutputLog`
    bytes or text from any thread, decoded, cleaned, gathered, capped, and handed on as small edits.

An *edit* is a pair ``(offset, text)`` and means: the output recorded is now ``old[:offset] + text``, with `offset`
counted in bytes of the UTF-8 form. A plain addition has the whole length as its offset; a redrawn progress bar
has the start of its line.
"""

from __future__ import annotations

import codecs
import os
import threading
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Edit = tuple[int, str]

#: An unfinished line longer than this many characters is no progress bar: it is settled up to there.
LONGEST_LIVE_LINE = 65_536
#: How many of the last lines may still be changed by moving the cursor up (nested bars, live tables).
LIVE_LINES = 64
#: Colour codes around one character are kept up to this length.
MOST_CODES = 256
#: How many small pieces may wait for the next flush.
MOST_PENDING = 10_000
#: Where a terminal would stop a cursor that is sent to the right of everything.
WIDEST_SCREEN = 1000


def apply_backspaces_and_linefeeds(text: str) -> str:
    r"""Return `text` as a terminal would show it: ``\r`` goes to the start of the line, ``\b`` back by one.

    Both only move; what stands there stays until it is written over. A ``\r`` at the very end is kept, since what
    it does depends on what follows.

    Parameters
    ----------
    text : str

    Returns
    -------
    str

    Examples
    --------
    >>> apply_backspaces_and_linefeeds("10%\r20%\r100%\ndone, yes\b\b\bno")
    '100%\ndone, nos'
    >>> apply_backspaces_and_linefeeds("abcd\refg\r")
    'efgd\r'
    """
    if "\r" not in text and "\b" not in text:
        return text
    ending = "\r" if text.endswith("\r") else ""
    body = text[: len(text) - len(ending)]
    return "\n".join(map(_write_over, body.split("\n"))) + ending


def _write_over(line: str) -> str:
    if "\r" not in line and "\b" not in line:
        return line
    cells: list[str] = []
    for segment in line.split("\r"):
        column = 0
        for times, run in enumerate(segment.split("\b")):
            column = max(0, column - (times > 0))
            cells[column : column + len(run)] = run
            column += len(run)
    return "".join(cells)


def text_decoder() -> codecs.IncrementalDecoder:
    r"""Return an incremental UTF-8 decoder that accepts any bytes.

    A byte that is not UTF-8 becomes ``\xff``-style text rather than U+FFFD: one can still read which byte it was
    (Latin-1 text stays legible, binary noise can be recognised), and the result is valid UTF-8 either way.
    """
    return codecs.getincrementaldecoder("utf-8")("backslashreplace")


def without_surrogates(text: str) -> str:
    r"""Return `text` with each lone surrogate spelt out (``\udcff``), so that it can be stored as UTF-8."""
    if text.isascii():
        return text
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return text.encode("utf-8", "backslashreplace").decode("utf-8")
    return text


def size_in_bytes(text: str) -> int:
    """Return how many bytes `text` has as UTF-8."""
    return len(text) if text.isascii() else len(text.encode("utf-8"))


def _after(text: str, size: int) -> str:
    """Return `text` without its first `size` bytes of UTF-8."""
    return text[size:] if text.isascii() else text.encode("utf-8")[size:].decode("utf-8")


def _up_to(text: str, size: int) -> str:
    """Return the first `size` bytes of UTF-8 of `text`."""
    return text[:size] if text.isascii() else text.encode("utf-8")[:size].decode("utf-8")


class Verbatim:
    """The `Cleaner` that cleans nothing: every edit is an addition."""

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._size = 0

    def feed(self, text: str) -> None:
        """Take in more output."""
        self._pieces.append(text)

    def take(self, last: bool = False) -> Edit:
        """Return the edit since the last call."""
        offset, text = self._size, "".join(self._pieces)
        self._pieces.clear()
        self._size += size_in_bytes(text)
        return offset, text


class Cleaner:
    r"""Shows output as a terminal would, one piece after the other.

    It keeps the last `LIVE_LINES` lines as a small screen, on which ``\r``, ``\b``, cursor movements and erasing
    act; everything above has scrolled away and never changes again. Colours (``ESC[…m``) and hyperlinks stay where
    they are; sequences that show nothing (hiding the cursor, titles, the alternate screen) are dropped.

    Limits: every character counts as one column, lines are not wrapped at a width, and absolute positions
    (full-screen programs) are ignored.

    Examples
    --------
    >>> screen = Cleaner()
    >>> screen.feed("epoch 1\n 10%")
    >>> screen.take()
    (0, 'epoch 1\n 10%')
    >>> screen.feed("\r 20%\r 30%")
    >>> screen.take()
    (8, ' 30%')
    """

    def __init__(self) -> None:
        self._rows = [_Row()]  #: the live lines; all but the last are followed by a line end
        self._row = 0  #: where the cursor is
        self._column: int | None = None  #: None: behind the end of its row
        self._style = ""  #: colour codes met at column 0 of a row that has text, for the next character
        self._partial = ""  #: an escape sequence of which the end has not come yet
        self._start = 0  #: bytes before the first live row
        self._keep = 0  #: bytes taken before that are still valid
        self._gone: list[str] = []  #: text after `_keep` that has scrolled off
        self._edited: int | None = None  #: first live row of which given text may have changed

    def feed(self, text: str) -> None:
        """Take in more output (no lone surrogates)."""
        if self._partial:
            text, self._partial = self._partial + text, ""
        if not _has_controls(text):
            self._write(text)
            return
        patterns = _patterns()
        if "\x1b" in text:
            match = patterns.partial.search(text, max(0, len(text) - 256))
            if match is not None:
                text, self._partial = text[: match.start()], match.group()
        if self._at_end() and not patterns.redraw.search(text):
            self._write(text.replace("\r\n", "\n"))
            return
        for token in patterns.token.findall(text):
            self._act(token)

    def take(self, last: bool = False) -> Edit:
        """Return what changed since the last call, as an edit.

        Parameters
        ----------
        last : bool
            Nothing follows: an escape sequence that never ended is shown as it came.
        """
        if last and self._partial:
            text, self._partial = self._partial, ""
            self._write(text)
        self._resolve()
        text = "".join(self._gone + self._after_keep(len(self._rows)))
        offset = self._keep
        self._keep += size_in_bytes(text)
        self._gone.clear()
        return offset, text

    # ------------------------------------------------------------------ what a terminal does

    def _act(self, token: str) -> None:
        first = token[0]
        if first == "\r":
            self._column = 0 if len(self._rows[self._row]) else None
        elif first == "\b":
            self._move_to_column(self._position() - len(token))
        elif first == "\x1b":
            self._escape(token)
        else:
            self._write(token)

    def _escape(self, sequence: str) -> None:
        kind = sequence[-1]
        if sequence[1:2] != "[":
            if sequence.startswith("\x1b]8;"):  # a hyperlink
                self._add_style(sequence)
            return
        if kind == "m":
            self._add_style(sequence)
            return
        parameter = sequence[2:-1]
        if parameter and not parameter.isdigit():
            return  # private modes, positions: nothing is shown by them
        number = int(parameter[:6] or 0)
        count = max(1, number)
        if kind == "K":
            self._erase_in_row(number)
        elif kind == "J" and number == 0:
            self._erase_below()
        elif kind in "AF":
            self._move_to_row(self._row - count, keep_column=kind == "A")
        elif kind in "BE":
            self._move_to_row(self._row + count, keep_column=kind == "B")
        elif kind == "C":
            self._move_to_column(self._position() + count)
        elif kind == "D":
            self._move_to_column(self._position() - count)
        elif kind == "G":
            self._move_to_column(count - 1)

    def _write(self, text: str) -> None:
        while text:
            if self._at_end():
                self._append(text)
                return
            run, line_end, text = text.partition("\n")
            if run:
                self._overwrite(run)
            if line_end:
                self._next_row()

    def _append(self, text: str) -> None:
        """Write at the very end: the everyday case, which must not cost more than a few scans of `text`."""
        first, *rest = (self._style + text).rsplit("\n", LIVE_LINES)
        self._style = ""
        self._rows[-1].extend(first)
        if rest:
            # With LIVE_LINES new rows every older one scrolls off below, so `first` may hold line ends of its own.
            self._rows[-1].settle()
            self._rows.extend(map(_Row, rest))
            self._scroll(len(self._rows) - LIVE_LINES)
        self._row = len(self._rows) - 1
        if self._rows[-1].is_long():
            self._settle_all()

    def _overwrite(self, run: str) -> None:
        row, column = self._rows[self._row], self._position()
        if row.overwrite(column, run, self._style):
            self._touch()
        self._style = ""
        self._move_to_column(column + len(run))
        if row.is_long():
            self._settle_all()

    def _next_row(self) -> None:
        if self._row == len(self._rows) - 1:
            self._column = None
            self._append("\n")
        else:
            self._row += 1
            self._column = 0 if len(self._rows[self._row]) else None

    def _add_style(self, code: str) -> None:
        if self._at_end():
            self._append(code)
        elif self._position() == 0:
            self._style = self._style + code if len(self._style) < MOST_CODES else code
        elif self._rows[self._row].attach(self._position() - 1, code):
            self._touch()

    def _erase_in_row(self, which: int) -> None:
        row, column = self._rows[self._row], self._position()
        first, last = ((column, len(row)), (0, column + 1), (0, len(row)))[which] if which < 3 else (0, 0)
        if row.erase(first, last):
            self._touch()
        self._move_to_column(column)

    def _erase_below(self) -> None:
        self._erase_in_row(0)
        if self._row < len(self._rows) - 1:
            self._touch()
            del self._rows[self._row + 1 :]

    def _move_to_row(self, row: int, keep_column: bool) -> None:
        column = self._position() if keep_column else 0
        self._row = min(max(0, row), len(self._rows) - 1)
        self._move_to_column(column)

    def _move_to_column(self, column: int) -> None:
        length = len(self._rows[self._row])
        column = min(max(0, column), max(length, WIDEST_SCREEN))
        self._column = None if column == length else column

    def _position(self) -> int:
        return len(self._rows[self._row]) if self._column is None else self._column

    def _at_end(self) -> bool:
        return self._column is None and self._row == len(self._rows) - 1

    # ------------------------------------------------------------------ what of it was taken

    def _touch(self) -> None:
        """Note that text of the cursor's row, which may have been taken already, is no longer what it was."""
        if self._edited is None or self._row < self._edited:
            self._edited = self._row

    def _resolve(self) -> None:
        """Turn the first touched row into the number of bytes that are still valid."""
        if self._edited is not None:
            before = sum(row.size() + 1 for row in self._rows[: self._edited])
            self._keep = min(self._keep, self._start + before)
            self._edited = None

    def _after_keep(self, count: int) -> list[str]:
        """Return the text of the first `count` live rows, in pieces, without what lies before `_keep`."""
        pieces: list[str] = []
        at, last = self._start, len(self._rows) - 1
        for index, row in enumerate(self._rows[:count]):
            for text in (row.text(), "\n") if index < last else (row.text(),):
                size = size_in_bytes(text)
                if self._keep <= at:
                    pieces.append(text)
                elif self._keep < at + size:
                    pieces.append(_after(text, self._keep - at))
                at += size
        return pieces

    def _scroll(self, count: int) -> None:
        """Let the first `count` rows, of which none is the last, scroll off."""
        if count <= 0:
            return
        self._resolve()
        self._gone += self._after_keep(count)
        self._start += sum(row.size() + 1 for row in self._rows[:count])
        del self._rows[:count]
        self._row = max(0, self._row - count)

    def _settle_all(self) -> None:
        """Settle everything shown, the unfinished line included; what follows starts behind it."""
        self._scroll(len(self._rows) - 1)
        self._resolve()
        self._gone += self._after_keep(1)
        self._start += self._rows[0].size()
        self._rows, self._row, self._column = [_Row()], 0, None


class _Row:
    """One line: a plain string until somebody writes into its middle, then a list of cells.

    A cell is one character together with the codes around it that take no room. `_lead` holds the codes of a line
    that has no character yet.
    """

    __slots__ = ("_cells", "_lead", "_text")

    def __init__(self, text: str = "") -> None:
        self._text = text
        self._cells: list[str] | None = None
        self._lead = ""

    def __len__(self) -> int:
        """Number of columns."""
        return len(self._text) if self._cells is None and "\x1b" not in self._text else len(self._as_cells())

    def text(self) -> str:
        return self._text if self._cells is None else self._lead + "".join(self._cells)

    def size(self) -> int:
        return size_in_bytes(self.text())

    def is_long(self) -> bool:
        """Say whether it takes too much room to be kept open; codes count, since they take room."""
        return len(self._text if self._cells is None else self._cells) > LONGEST_LIVE_LINE

    def settle(self) -> None:
        """Give up the cells, which are large, until they are needed again."""
        self._text, self._cells, self._lead = self.text(), None, ""

    def extend(self, text: str) -> None:
        if self._cells and "\x1b" not in text:
            self._cells.extend(text)
        else:
            self.settle()
            self._text = self._text + text if self._text else text

    def overwrite(self, column: int, run: str, style: str) -> bool:
        """Put `run` at `column`; say whether that changed anything."""
        cells = self._as_cells()
        cells.extend(" " * (column - len(cells)))
        new = list(run)
        new[0] = style + new[0]
        if cells[column : column + len(new)] == new:
            return False
        cells[column : column + len(new)] = new
        cells[0], self._lead = self._lead + cells[0], ""
        return True

    def attach(self, column: int, code: str) -> bool:
        """Put `code` behind the character at `column`; say whether that changed anything."""
        cells = self._as_cells()
        if column >= len(cells) or cells[column].endswith(code) or len(cells[column]) > MOST_CODES:
            return False
        cells[column] += code
        return True

    def erase(self, first: int, last: int) -> bool:
        """Blank the columns from `first` to before `last`; say whether that changed anything."""
        cells = self._as_cells()
        if first >= len(cells) or first >= last:
            return False
        if last >= len(cells):
            del cells[first:]
        else:
            cells[first:last] = " " * (last - first)
        return True

    def _as_cells(self) -> list[str]:
        if self._cells is None:
            self._cells, self._lead = _split_cells(self._text)
        return self._cells


def _split_cells(text: str) -> tuple[list[str], str]:
    if "\x1b" not in text:
        return list(text), ""
    cells: list[str] = []
    before = ""
    for token in _patterns().cell.findall(text):
        if len(token) == 1 and token != "\x1b":
            cells.append(before + token)
            before = ""
        elif cells:
            cells[-1] += token
        else:
            before += token
    return cells, before


def _has_controls(text: str) -> bool:
    return "\r" in text or "\b" in text or "\x1b" in text


class _Patterns:
    """Compiled when the first control character turns up: most output has none, and `re` costs an import."""

    def __init__(self) -> None:
        import re

        csi = r"\x1b\[[0-?]*[ -/]*[@-~]"
        osc = r"\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)"
        other = r"\x1b[ -/]*[0-Z\\^-~]"
        self.token = re.compile(rf"[^\r\b\x1b]+|\r+|\b+|{csi}|{osc}|{other}|\x1b".replace(r"\b", r"\x08"))
        self.cell = re.compile(rf"{csi}|{osc}|{other}|.", re.DOTALL)
        self.partial = re.compile(r"\x1b(?:\[[0-?]*[ -/]*|\][^\x07\x1b]*\x1b?|[ -/]*)?\Z")
        self.redraw = re.compile(r"\x08|\r(?!\n)|\x1b(?!\[[0-9;:]*m)")


_compiled: _Patterns | None = None


def _patterns() -> _Patterns:
    global _compiled
    if _compiled is None:
        _compiled = _Patterns()
    return _compiled


class HeadAndTail:
    """Keeps the first and the last of an output that is too long, half of the room each.

    Memory is bounded by `max_bytes` and one edit. Once the room is full, additions still pass straight through
    until the tail is twice its size; then it is cut back to the newest half, which re-sends that half, so at most
    once in `interval_s` seconds and at the end. What is recorded thus exceeds `max_bytes` for a while by at most
    half of it, and at the end by nothing but the line in between.

    Parameters
    ----------
    max_bytes : int
        Room for head and tail together, >= 2.
    interval_s : float
        Least time between two cuts, in seconds.
    """

    def __init__(self, max_bytes: int, interval_s: float = 5.0) -> None:
        if max_bytes < 2:
            raise ValueError(f"max_bytes must be at least 2 (bytes), got {max_bytes!r}")
        self._max, self._half, self._interval = max_bytes, max_bytes // 2, interval_s
        self._kept = bytearray()  #: everything, until it overflows; then the tail
        self._base = 0  #: where `_kept` begins in the whole output
        self._left_out = 0
        self._head: int | None = None  #: size of the head; None until there is one
        self._broken_line = False  #: the head ends inside a line
        self._tail_at = 0  #: where the tail begins in what is recorded
        self._late = False  #: what is recorded is older than `_kept`
        self._last_cut = float("-inf")

    def edit(self, offset: int, text: str, now: float, last: bool = False) -> Edit | None:
        """Turn an edit of the whole output into one of what is recorded; None if nothing is to be done yet."""
        at = self._apply(offset, text)
        if self._head is None:
            if len(self._kept) <= self._max:
                return offset, text
            return self._overflow(offset, now)
        if len(self._kept) > 2 * self._half or (last and len(self._kept) > self._half):
            self._cut()
            self._late = True
        if not self._late:
            return self._tail_at + at, self._kept[at:].decode("utf-8")
        if not last and now - self._last_cut < self._interval:
            return None
        self._late, self._last_cut = False, now
        return self._head, self._note_and_tail()

    def _apply(self, offset: int, text: str) -> int:
        """Edit `_kept`; return the place in it from which on it is new."""
        data = text.encode("utf-8")
        at = offset - self._base
        if at < 0:  # it begins in what was left out, or in the head, which stands
            first = _boundary(data, -at)
            torn = max(0, first + at)  # bytes of a character that begins before the tail: left out with it
            self._base += torn
            self._left_out += torn
            data, at = data[first:], 0
        del self._kept[at:]
        self._kept += data
        return at

    def _overflow(self, offset: int, now: float) -> Edit:
        line_end = self._kept.rfind(b"\n", 0, self._half) + 1
        self._head = self._base = line_end or _boundary_before(self._kept, self._half)
        unsent = self._kept[offset : self._head].decode("utf-8")
        del self._kept[: self._head]
        self._broken_line = self._head > 0 and not line_end
        self._cut()
        self._last_cut = now
        return min(offset, self._head), unsent + self._note_and_tail()

    def _cut(self) -> None:
        """Shorten the tail to its newest half, from the start of a line where one is near."""
        surplus = len(self._kept) - self._half
        if surplus <= 0:
            return
        line_end = self._kept.find(b"\n", surplus, surplus + 4096) + 1
        surplus = line_end if 0 < line_end < len(self._kept) else _boundary(self._kept, surplus)
        del self._kept[:surplus]
        self._base += surplus
        self._left_out += surplus

    def _note_and_tail(self) -> str:
        note = f"[… {self._left_out:,} bytes left out …]\n" if self._left_out else ""
        if note and self._broken_line:
            note = "\n" + note
        assert self._head is not None
        self._tail_at = self._head + size_in_bytes(note)
        return note + self._kept.decode("utf-8")


def _boundary(data: bytes | bytearray, at: int) -> int:
    """Return the first place from `at` on where a UTF-8 character starts."""
    while at < len(data) and data[at] & 0xC0 == 0x80:
        at += 1
    return min(at, len(data))


def _boundary_before(data: bytes | bytearray, at: int) -> int:
    """Return the last place up to `at` where a UTF-8 character starts."""
    while 0 < at < len(data) and data[at] & 0xC0 == 0x80:
        at -= 1
    return at


class OutputLog:
    r"""Turns what is printed into edits of the recorded output.

    Parameters
    ----------
    emit : callable
        ``emit(text, offset)``: the recorded output, counted in bytes of its UTF-8 form, is now
        ``old[:offset] + text``. Never called by two threads at once. If it raises, the text is kept and sent with
        the next edit, up to `MOST_UNSENT` bytes; the first failure is logged.
    clean : bool
        Whether redraws are applied, as a terminal would (see `Cleaner`).
    max_bytes : int, optional
        Most bytes to record: the head and the tail are kept, half each, and a line between them says how many were
        left out (see `HeadAndTail`).
    now : callable
        A clock, in seconds.
    min_interval_s : float
        Output is handed on at once if the last time is longer ago than this, and gathered otherwise; then the next
        `feed` or `flush` after it hands it on. The owner calls `flush` a few times per second.
    mask : callable, optional
        ``mask(text, last)`` is given all text as it was printed, before anything else is done with it, and returns
        what of it may be recorded by now. It is called with "" at each `flush` without text.

    Notes
    -----
    `feed` may be called from any thread, from a signal handler, and from within `emit` (a warning about the
    disk is output, too): it never waits for another thread's work on the same log.

    In a forked child a log is inert: it belongs to the process that made it.
    """

    #: Text that could not be handed on is kept up to this size; beyond it, recording of output ends.
    MOST_UNSENT = 16 * 2**20
    #: Gathering ends early at this size; larger strings would be mapped and unmapped at each step.
    _LARGE = 2**16

    def __init__(
        self,
        emit: Callable[[str, int], object],
        clean: bool = True,
        max_bytes: int | None = None,
        now: Callable[[], float] = time.monotonic,
        min_interval_s: float = 0.05,
        mask: Callable[[str, bool], str] | None = None,
    ) -> None:
        self._emit, self._now, self._interval, self._mask = emit, now, min_interval_s, mask
        self._screen: Cleaner | Verbatim = Cleaner() if clean else Verbatim()
        self._cap = None if max_bytes is None else HeadAndTail(max_bytes)
        self._decoder = text_decoder()
        self._pending: list[bytes | str] = []
        self._waiting = 0  #: bytes pending in large pieces; the many small ones wait for the clock
        self._gathered = 0
        self._due = float("-inf")
        self._length = 0  #: bytes recorded
        self._unsent: Edit | None = None
        self._lock = threading.RLock()
        self._busy = False  #: set under the lock; the lock is re-entrant for signal handlers, the work is not
        self._closed = False
        self._pid = os.getpid()

    def feed(self, data: bytes | str) -> None:
        """Take in output: text, or bytes of UTF-8 that may end inside a character.

        Bytes from different sources belong through different decoders first (`text_decoder`), since one may cut the
        character of another.
        """
        self._pending.append(data)
        if len(data) > 4096:
            self._waiting += len(data)
        if self._now() >= self._due or self._waiting > self._LARGE:
            self._work(wait=False)

    def tee(self, write: Callable[[str], int]) -> Callable[[str], int]:
        """Return a function that does what `write` does and feeds what was written.

        It makes a print half as dear again where `feed` would make it three times as dear, by not looking at the
        clock: what was written is handed on by the next `flush`, or when there is much of it.
        """
        pending, append = self._pending, self._pending.append

        def write_and_feed(text: str) -> int:
            count = write(text)
            append(text)
            if len(pending) > MOST_PENDING:
                self._work(wait=False)
            return count

        return write_and_feed

    def flush(self) -> None:
        """Hand on all that was fed so far."""
        self._work(wait=True, flush=True)

    def close(self) -> None:
        """Hand on the rest; what is fed later is ignored."""
        self._work(wait=True, flush=True, last=True)

    def _work(self, wait: bool, flush: bool = False, last: bool = False) -> None:
        if self._closed or os.getpid() != self._pid:
            self._pending.clear()
            return
        if not self._lock.acquire(blocking=wait):
            return  # whoever holds it, or the next flush, takes what is pending
        try:
            if self._busy:
                return  # called from within emit, or from a signal handler
            self._busy = True
            try:
                self._take_in(last)
                if flush or self._gathered > self._LARGE or self._now() >= self._due:
                    self._hand_on(last)
                if last:
                    self._closed, self._due = True, float("-inf")
            finally:
                self._busy = False
        finally:
            self._lock.release()

    def _take_in(self, last: bool) -> None:
        self._waiting = 0
        count = len(self._pending)
        pieces = self._pending[:count]
        del self._pending[:count]  # what other threads append meanwhile stays
        try:
            text = "".join(pieces)  # type: ignore[arg-type]  # most often there are no bytes among them
        except TypeError:
            decode = self._decoder.decode
            text = "".join(piece if isinstance(piece, str) else decode(piece) for piece in pieces)
        if last:
            text += self._decoder.decode(b"", True)
        text = without_surrogates(text)
        if self._mask is not None:
            text = self._mask(text, last)
        if text:
            self._gathered += len(text)
            self._screen.feed(text)

    def _hand_on(self, last: bool) -> None:
        now = self._now()
        self._due = now + self._interval
        self._gathered = 0
        edit: Edit | None = self._screen.take(last)
        if self._cap is not None:
            assert edit is not None
            edit = self._cap.edit(edit[0], edit[1], now, last)
        edit = _merged(self._unsent, edit)
        if edit is None or (not edit[1] and edit[0] == self._length):
            return
        offset, text = edit
        try:
            self._emit(text, offset)
        except Exception as error:  # noqa: BLE001 - printing must not fail because recording does
            self._keep_unsent(edit, error)
        else:
            self._unsent = None
            self._length = offset + size_in_bytes(text)

    def _keep_unsent(self, edit: Edit, error: Exception) -> None:
        import logging

        log = logging.getLogger(__name__)
        if self._unsent is None:
            log.warning("output could not be recorded and is kept for the next attempt: %r", error)
        self._unsent = edit
        if len(edit[1]) > self.MOST_UNSENT:
            self._closed, self._unsent = True, None
            log.error("output from byte %d on is not recorded: %r", edit[0], error)


def _merged(first: Edit | None, second: Edit | None) -> Edit | None:
    """Return the one edit that does what `first` and then `second` do."""
    if first is None or second is None:
        return first or second
    if second[0] <= first[0]:
        return second
    return first[0], _up_to(first[1], second[0] - first[0]) + second[1]
