"""Times as people write them, in conditions on runs: ``2026-11-01``, ``yesterday``, ``7 days ago``, ``90 min``."""

from __future__ import annotations

from capture.errors import CaptureError, suggest
from capture.moments import date, datetime, time, timedelta, timezone

TYPE_CHECKING = False
if TYPE_CHECKING:
    from re import Match
    from typing import Any

#: what can be written, for messages
TIMES = "2026-11-01, 2026-11-01 12:00, today, yesterday, last monday, last week, 7 days ago, 2 h ago"
DURATIONS = "90 s, 45 min, 2 h, 1 h 30 min, 3 days"

_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_WORDS = ("today", "yesterday", "now", "ago", "last", "this", "week", "month", "year", *_WEEKDAYS)
_SECONDS = {"ms": 0.001, "s": 1, "min": 60, "h": 3600, "day": 86_400, "week": 604_800}
#: a unit -> how else it is written
_SPELLINGS = {
    "ms": ("millisecond", "milliseconds"),
    "s": ("sec", "secs", "second", "seconds"),
    "min": ("m", "mins", "minute", "minutes"),
    "h": ("hr", "hrs", "hour", "hours"),
    "day": ("d", "days"),
    "week": ("w", "weeks"),
    "month": ("months",),
    "year": ("y", "years"),
}
_UNITS = {spelling: unit for unit, others in _SPELLINGS.items() for spelling in (unit, *others)}

_CLOCK = r"(?P<hour>\d{1,2}):(?P<minute>\d\d)(?::(?P<second>\d\d)(?:[.,](?P<fraction>\d{1,6})\d{0,3})?)?"
_ZONE = r"(?P<zone>z|utc|[+-]\d\d(?::?\d\d)?)"
_DATE = rf"(?P<year>\d{{4}})(?:-(?P<month>\d\d?)(?:-(?P<day>\d\d?)(?:(?:t|\s+){_CLOCK})?)?)?\s*{_ZONE}?"
_DAY = rf"(?P<word>today|yesterday|(?:last\s+)?(?:{'|'.join(_WEEKDAYS)}))(?:\s+(?:at\s+)?{_CLOCK})?"
_PERIOD = r"(?P<which>this|last)\s+(?P<period>week|month|year)"
_AMOUNT = r"\d{1,9}(?:\.\d{1,6})?\s*[a-z]+"
_AMOUNTS = rf"(?P<amounts>an?\s+[a-z]+|{_AMOUNT}(?:(?:\s*,|\s+and)?\s*{_AMOUNT})*)"
_AGO = rf"{_AMOUNTS}\s+ago"
_LONGEST = 80  #: characters of a text about time


class NotATime(CaptureError, ValueError):
    """Text that names no time, or no duration; it says what would.

    Attributes
    ----------
    text : str
    problem : str
    """

    def __init__(self, text: str, problem: str) -> None:
        self.text, self.problem = text, problem
        shown = text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."
        super().__init__(f"{shown!r} {problem}", print_traceback=False)

    def __reduce__(self) -> Any:
        return type(self), (self.text, self.problem)


class When:
    """What a text about time means: a moment, or a whole stretch such as a day.

    Attributes
    ----------
    moment : datetime or None
        Aware, UTC: what ``<`` and ``>`` compare with; None for a stretch, which other times are before or after.
    start, end : datetime or None
        ``==`` means: from `start` on and before `end`. Both are the same for a time with its microseconds, and None
        for one that nobody means exactly: ``2 h ago``.
    """

    __slots__ = ("end", "moment", "start")

    def __init__(
        self, moment: datetime | None = None, start: datetime | None = None, end: datetime | None = None
    ) -> None:
        self.moment, self.start, self.end = moment, start, end

    def holds(self, operator: str, found: datetime) -> bool:
        """Say whether an aware time is before what is meant (``<``), in it (``==``), after it (``>``), and so on.

        Examples
        --------
        >>> day = when("2026-11-01Z")
        >>> [day.holds(sign, datetime(2026, 11, 1, 12, tzinfo=timezone.utc)) for sign in ("<", "<=", "==", ">")]
        [False, True, True, False]
        """
        if operator == "!=":
            return not self.holds("==", found)
        if operator == "==":
            if self.start is None or self.end is None:
                return False
            return found == self.start if self.start == self.end else self.start <= found < self.end
        first = self.start if self.moment is None else self.moment
        after = self.end if self.moment is None else self.moment
        assert first is not None
        assert after is not None
        if operator == "<":
            return found < first
        if operator == ">=":
            return found >= first
        if self.moment is not None:
            return found <= after if operator == "<=" else found > after
        return found < after if operator == "<=" else found >= after


def when(text: str, now: datetime | None = None) -> When:
    """Return what a text about a time means.

    Parameters
    ----------
    text : str
        A date, a date and a time of day, a time of day (which is today), ``today``, ``yesterday``, a day of the week
        (the last one that was), ``this``
        or ``last`` ``week``, ``month`` or ``year``, or how long ago. Without a zone it is in that of this machine.
    now : datetime, optional
        Aware; the time that it is.

    Raises
    ------
    NotATime

    Examples
    --------
    >>> when("2026-11-01T12:30Z").moment
    datetime.datetime(2026, 11, 1, 12, 30, tzinfo=datetime.timezone.utc)
    >>> when("2 h ago", datetime(2026, 11, 1, 12, tzinfo=timezone.utc)).moment
    datetime.datetime(2026, 11, 1, 10, 0, tzinfo=datetime.timezone.utc)
    """
    import re

    plain = " ".join(text.lower().split())
    present = (datetime.now(timezone.utc) if now is None else now).astimezone()
    try:
        if plain == "now":
            return When(present.astimezone(timezone.utc))
        for pattern, reading in ((_DATE, _dated), (_DAY, _on_day), (_CLOCK, _today), (_PERIOD, _period), (_AGO, _ago)):
            match = re.fullmatch(pattern, plain) if len(plain) <= _LONGEST else None
            if match is not None:
                return reading(match, present)
    except (ValueError, OverflowError, OSError) as error:  # the 30th of February, a million years ago, a wrong unit
        raise NotATime(text, f"is no time: {error}") from None
    raise NotATime(text, f"is no time{_hint(plain)}; possible: {TIMES}")


def when_of(value: Any) -> When | None:
    """Return what a `datetime` or `date` means, the former without zone in that of this machine; None for others."""
    if isinstance(value, datetime):
        moment = value.astimezone(timezone.utc)
        return When(moment, moment, moment)
    return _days(value, 1) if isinstance(value, date) else None


def moment_of(value: date) -> datetime:
    """Return the aware time of a `datetime`, or the first of a `date`; without zone it is in that of this machine."""
    if not isinstance(value, datetime):
        value = datetime.combine(value, time())
    return value.astimezone(timezone.utc)


def seconds(text: str) -> float:
    """Return the seconds that a text about a duration means.

    Raises
    ------
    NotATime

    Examples
    --------
    >>> seconds("2 h"), seconds("1h30min"), seconds("90 s")
    (7200, 5400, 90)
    """
    import re

    plain = " ".join(text.lower().split())
    if len(plain) > _LONGEST or re.fullmatch(_AMOUNTS, plain) is None:
        raise NotATime(text, f"is no duration; possible: {DURATIONS}, or a number of seconds")
    total: float = 0
    try:
        for amount, unit in _amounts(plain):
            if unit not in _SECONDS:
                raise ValueError(f"a {unit} may be longer or shorter; possible: {DURATIONS}")
            total += amount * _SECONDS[unit]
    except ValueError as error:
        raise NotATime(text, f"is no duration: {error}") from None
    return total


def _dated(match: Match[str], now: datetime) -> When:
    year, month, day = (int(match[name] or 1) for name in ("year", "month", "day"))
    if match["hour"] is not None:
        return _at(match, date(year, month, day), _zone(match["zone"]))
    first, zone = date(year, month, day), _zone(match["zone"])
    if match["day"] is not None:
        return _days(first, 1, zone)
    after = date(year + 1, 1, 1) if match["month"] is None else _months_before(first, -1)
    return _days(first, (after - first).days, zone)


def _on_day(match: Match[str], now: datetime) -> When:
    today, word = now.date(), match["word"].split()[-1]
    if word in _WEEKDAYS:
        back = (today.weekday() - _WEEKDAYS.index(word)) % 7
        back = 7 if not back and match["word"].startswith("last") else back
    else:
        back = int(word == "yesterday")
    day = today - timedelta(days=back)
    return _days(day, 1) if match["hour"] is None else _at(match, day, None)


def _today(match: Match[str], now: datetime) -> When:
    return _at(match, now.date(), None)


def _period(match: Match[str], now: datetime) -> When:
    today, period, back = now.date(), match["period"], int(match["which"] == "last")
    if period == "week":
        return _days(today - timedelta(days=today.weekday() + 7 * back), 7)
    if period == "month":
        first = _months_before(today.replace(day=1), back)
        return _days(first, (_months_before(first, -1) - first).days)
    first = date(today.year - back, 1, 1)
    return _days(first, (date(first.year + 1, 1, 1) - first).days)


def _ago(match: Match[str], now: datetime) -> When:
    moment, is_long = now.astimezone(timezone.utc), True
    for amount, unit in _amounts(match["amounts"]):
        if unit in _SECONDS:
            moment -= timedelta(seconds=amount * _SECONDS[unit])
            is_long = is_long and _SECONDS[unit] >= _SECONDS["day"]
        else:
            if amount != int(amount):
                raise ValueError(f"there is no part of a {unit}, which may be longer or shorter: say it in days")
            local = moment.astimezone()
            day = _months_before(local.date(), int(amount) * (12 if unit == "year" else 1))
            moment = datetime.combine(day, local.time()).astimezone(timezone.utc)
    if not is_long:
        return When(moment)
    whole = _days(moment.astimezone().date(), 1)  # == "7 days ago" means all of that day
    return When(moment, whole.start, whole.end)


def _amounts(text: str) -> list[tuple[float, str]]:
    import re

    found: list[tuple[float, str]] = []
    for number, word in re.findall(r"(\d{1,9}(?:\.\d{1,6})?|^an?\b)\s*([a-z]+)", text):
        if word not in _UNITS:
            close = suggest(word, [unit for unit in _UNITS if len(unit) > 2])
            raise ValueError(f"there is no unit {word!r}{f': did you mean {close}?' if close else ''}")
        amount = 1 if number.startswith("a") else float(number) if "." in number else int(number)
        found.append((amount, _UNITS[word]))
    return found


def _at(match: Match[str], day: date, zone: Any) -> When:
    """Return a time of day: ``==`` means all of its minute, or second, as exactly as it is written."""
    second, fraction = int(match["second"] or 0), (match["fraction"] or "").ljust(6, "0")
    clock = time(int(match["hour"]), int(match["minute"]), second, int(fraction))
    moment = datetime.combine(day, clock, zone).astimezone(timezone.utc)
    width = timedelta(seconds=60 if match["second"] is None else 1 if match["fraction"] is None else 0)
    return When(moment, moment, moment + width)


def _days(first: date, count: int, zone: Any = None) -> When:
    """Return whole days; those of a place where clocks are changed may have 23 hours."""
    start, end = (
        datetime.combine(day, time(), zone).astimezone(timezone.utc) for day in (first, first + timedelta(days=count))
    )
    return When(None, start, end)


def _zone(text: str | None) -> Any:
    """Return the time zone of a text; None, that of this machine."""
    if text is None:
        return None
    if text in ("z", "utc"):
        return timezone.utc
    digits = text[1:].replace(":", "").ljust(4, "0")
    offset = timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
    return timezone(-offset if text[0] == "-" else offset)


def _months_before(day: date, count: int) -> date:
    """Return the day so many months before; the last of that month if it has no such day."""
    months = day.year * 12 + day.month - 1 - count
    year, month = divmod(months, 12)
    for last in (day.day, 30, 29, 28):
        try:
            return date(year, month + 1, min(day.day, last))
        except ValueError:
            if last == 28:
                raise
    raise AssertionError("every month has 28 days")


def _hint(text: str) -> str:
    """Return a correction of what is probably a slip: `` (did you mean 'yesterday'?)``."""
    words = text.split()
    known = (*_WORDS, *(unit for unit in _UNITS if len(unit) > 2))
    better = [word if word in known or not word.isalpha() else suggest(word, known) or word for word in words]
    if better == words and len(words) == 2 and words[1] in _UNITS:
        better.append("ago")
    return f" (did you mean {' '.join(better)!r}?)" if better != words else ""
