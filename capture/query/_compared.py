"""What every part of a comparison needs: the runs, what is known of them, and when two values are the same."""

from __future__ import annotations

from capture.filters import MISSING, state_of
from capture.query._difference import Difference
from capture.query._grounds import GROUNDS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from typing import Any

    from capture.records import RunRecord, StoredFile

    Table = Mapping[str, Any]

#: from the first changed line of a text to the last; to lay more of them side by side takes time that grows faster
MOST_DIFFED_LINES = 5000
_TABLES = ("config", "meta", "host", "experiment", "facts", "info")  #: of a record
MOST_READ_BYTES = 4_000_000  #: of a file that is looked into


class Compared:
    """The runs that are compared, and what one part of the comparison leaves for the next.

    Attributes
    ----------
    runs : list of RunRecord
    names : list of str
    every : bool
        Whether what is equal, and noise, is listed too.
    context : int
        Lines around changed ones in a unified diff.
    limits : list of str
        Sentences about what could not be compared.
    undigested : set of str
        Files that all runs wrote, of which nobody knows whether they are the same.
    """

    def __init__(self, runs: Sequence[RunRecord], names: Sequence[str], every: bool = False, context: int = 3) -> None:
        #: as the store holds them, where a client's runs are given
        self.runs: list[RunRecord] = [_sound(getattr(run, "record", run)) for run in runs]
        #: their status; DIED of those that a client knows to have died
        self.states: list[str] = [str(state_of(run)) for run in runs]
        self.names, self.every, self.context = list(names), every, context
        self.limits: list[str] = []
        self.undigested: set[str] = set()

    def facts(self, topic: str) -> list[dict[str, Any]]:
        """Return the late facts of one topic, run by run; empty where there are none, or they are no dict."""
        found = [run.facts.get(topic) for run in self.runs]
        return [each if isinstance(each, dict) and "unavailable" not in each else {} for each in found]

    def has_run(self) -> list[bool]:
        """Say of each whether it is a run, which has a configuration and came to something; not so a working tree."""
        return [not getattr(run, "is_working_tree", False) for run in self.runs]

    def unfinished(self) -> list[bool]:
        """Say of each whether it has not ended yet."""
        return [state in ("RUNNING", "QUEUED") for state in self.states]

    def named(self, chosen: Iterable[bool]) -> str:
        """Return the names of some runs in words."""
        return listed([name for name, is_chosen in zip(self.names, chosen) if is_chosen])

    def limit(self, sentence: str) -> None:
        if sentence not in self.limits:
            self.limits.append(sentence)

    def differences(
        self,
        kind: str,
        tables: Sequence[Table | None],
        ground: str | Callable[[str, list[Any]], tuple[str, str]],
        prefix: str = "",
    ) -> list[Difference]:
        """Compare tables of values by name, one of each run.

        Parameters
        ----------
        kind : str
        tables : sequence of mapping or None
            None where a run's are not known: it is left out of the comparison.
        ground : str or callable
            A key of `GROUNDS`, or what gives that and a sentence for a name and its values.
        prefix : str
            Stands before the names.
        """
        known = [table for table in tables if table is not None]
        found = []
        for name in dict.fromkeys(name for table in known for name in table):
            values = [MISSING if table is None else table.get(name, MISSING) for table in tables]
            if all_same([table.get(name, MISSING) for table in known], typed=kind in ("config", "command")):
                if self.every:
                    found.append(Difference(kind, prefix + name, values, same=True))
                continue
            because, why = (ground, "") if isinstance(ground, str) else ground(name, values)
            weight, reason = GROUNDS[because]
            difference = Difference(kind, prefix + name, values, weight=weight, why=why or reason)
            if difference.weight or self.every:
                found.append(difference)
        return found


def _sound(run: RunRecord) -> RunRecord:
    """Return a record whose tables are tables: another program's, or a damaged one, may hold anything there."""
    odd = [name for name in _TABLES if not isinstance(getattr(run, name), dict)]
    if odd:
        from copy import copy

        run = copy(run)
        for name in odd:
            setattr(run, name, {})
    return run


def listed(names: Sequence[str], most: int = 5) -> str:
    """Return names in words.

    Examples
    --------
    >>> listed(["a"]), listed(["a", "b", "c"]), listed(list("abcdefg"), 2)
    ('a', 'a, b and c', 'a, b and 5 more')
    """
    if len(names) > most:
        return f"{', '.join(names[:most])} and {len(names) - most} more"
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else "".join(names)


# ------------------------------------------------------------------------------------------------------------ equality


def all_same(values: Sequence[Any], typed: bool = False) -> bool:
    """Say whether all values are the same as the first; see `same`."""
    return all(same(values[0], value, typed) for value in values[1:])


def same(one: Any, other: Any, typed: bool = False) -> bool:
    """Say whether two values are the same: NaN is, lists and tuples are, True and 1 are not.

    1 and 1.0 are the same as what comes out. As what goes in (`typed`) they are not: ``range(1.0)`` is an error, and
    ``x[1.0]``.

    Examples
    --------
    >>> same((1, float("nan")), [1.0, float("nan")]), same(True, 1), same({"a": [1]}, {"a": [2]})
    (True, False, False)
    >>> same(1, 1.0), same(1, 1.0, typed=True)
    (True, False)
    """
    if one is other:
        return True
    if isinstance(one, bool) is not isinstance(other, bool) or (one is MISSING) is not (other is MISSING):
        return False
    if typed and {type(one), type(other)} == {int, float}:
        return False
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        return len(one) == len(other) and all(same(*pair, typed) for pair in zip(one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key], typed) for key in one)
    try:
        equal = one == other
        if isinstance(equal, bool):
            return equal or (one != one and other != other)
        return _same_elements(one, other)  # arrays and frames compare element by element
    except Exception:  # noqa: BLE001 - a value from a record that cannot be compared: what it looks like decides
        return type(one) is type(other) and repr(one) == repr(other)


def _same_elements(one: Any, other: Any) -> bool:
    if getattr(one, "shape", None) != getattr(other, "shape", None):
        return False
    if hasattr(one, "equals") and type(one) is type(other):  # pandas
        return bool(one.equals(other))
    equal = (one == other) | ((one != one) & (other != other))
    return bool(equal.all())


# ------------------------------------------------------------------------------------------------------------ contents


def content_of(stored: StoredFile) -> bytes | None:
    """Return the bytes of a file; None if the store lacks them, or they are too many to be looked into.

    Those that are not the recorded ones are None, too: what they say is not what was there.
    """
    data = _bytes_of(stored)
    return None if data is None or _have_changed(stored, data) else data


def is_damaged(stored: StoredFile) -> bool:
    """Say whether the store has bytes of a file, and they are not those that were recorded."""
    data = _bytes_of(stored)
    return data is not None and _have_changed(stored, data)


def _have_changed(stored: StoredFile, data: bytes) -> bool:
    from capture.query.verifying import Digests

    digests = Digests(stored)
    digests.update(data)
    return digests.problem("") is not None


def _bytes_of(stored: StoredFile) -> bytes | None:
    if stored.size is not None and stored.size > MOST_READ_BYTES:
        return None
    try:
        with stored.open() as stream:
            data = stream.read(MOST_READ_BYTES + 1)
    except (OSError, LookupError):
        return None
    return data if len(data) <= MOST_READ_BYTES else None


def digest_of(stored: StoredFile) -> str | None:
    """Return the SHA-256 of a file, computed where an old record does not know it; None where that cannot be."""
    if stored.digest:
        return stored.digest
    data = content_of(stored)
    if data is None:
        return None
    from capture.digests import digests_of

    return digests_of(data, md5=False)[0]


def text_of(data: bytes | None) -> str | None:
    """Return bytes as text; None where they are none."""
    if data is None or b"\0" in data:
        return None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return None


def unified(one: str, other: str, names: tuple[str, str], context: int = 3) -> str:
    """Return the unified diff of two texts; "" where what is changed is too long to be laid side by side."""
    before, after = one.splitlines(), other.splitlines()
    first, end = _equal_at_the_ends(before, after)
    if max(len(before), len(after)) - first - end > MOST_DIFFED_LINES:
        return ""
    from difflib import unified_diff

    skipped = max(0, first - context)  # difflib looks at all lines it gets: what is equal at the ends it need not see
    left_out = max(0, end - context)
    around = before[skipped : len(before) - left_out], after[skipped : len(after) - left_out]
    labels = [name if name.isprintable() else repr(name)[1:-1] for name in names]  # of one line
    lines = unified_diff(*around, labels[0], labels[1], n=context, lineterm="")
    return "\n".join(_shifted(line, skipped) if line.startswith("@@ ") and skipped else line for line in lines)


def _equal_at_the_ends(before: Sequence[str], after: Sequence[str]) -> tuple[int, int]:
    """Return how many lines two texts share at their beginnings, and, of the rest, at their ends."""
    most = min(len(before), len(after))
    first = next((place for place in range(most) if before[place] != after[place]), most)
    most -= first
    return first, next((place for place in range(most) if before[-1 - place] != after[-1 - place]), most)


def _shifted(heading: str, lines: int) -> str:
    """Return the heading of a hunk (``@@ -3,7 +3,8 @@``) whose lines are counted from another one."""
    _, old, new, _ = heading.split(" ")

    def moved(place: str) -> str:
        number, comma, count = place[1:].partition(",")
        return f"{place[0]}{int(number) + lines}{comma}{count}"

    return f"@@ {moved(old)} {moved(new)} @@"


def changed_lines(diff: str) -> tuple[int, int]:
    """Return how many lines a unified diff adds and takes away."""
    lines = diff.split("\n")[2:]
    return sum(line[:1] == "+" for line in lines), sum(line[:1] == "-" for line in lines)


def rows_of(value: Any) -> Iterator[dict[str, Any]]:
    """Yield the dicts of a list in a record, which may hold anything."""
    yield from (each for each in value if isinstance(each, dict)) if isinstance(value, list) else ()
