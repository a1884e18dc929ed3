"""What people ask for: the words of a command line as a condition on runs, and what is odd about one that finds none.

Each word is, in this order:

1. an expression, if something in it is no letter, digit, ``_ - . /``: ``'config.lr < 0.1'``;
2. a project, if it ends with a slash: ``vision/``;
3. a state, in capitals or not: ``FAILED``, ``running``, ``died``;
4. an expression, if it is a path of a run: ``config.debug``, ``notes`` (runs in which there is such a value);
5. a project, or a part of one: ``vision``, ``vision/resnet``.

Several words, in one piece or in several, are conditions that hold together; ``not``, ``and``, ``or`` and brackets may
join them, and join them with comparisons: ``vision and not (failed or config.lr > 1)``. An expression that the shell
took apart (``config.lr == 1`` without quotes) is put together again if one of its words is an operator.
"""

from __future__ import annotations

from capture.errors import CaptureError, CommandLineError, is_short_for, suggest
from capture.expressions import HEADINGS, ExpressionError, one_line, parse, parts_of_a_run
from capture.filters import MISSING, STATES, TIMES, Died, Either, Every, Filter, Not, Test, lookup, meant, state_of
from capture.query.operands import JOINING, Operand, is_plain, operands
from capture.wording import first_few

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from datetime import datetime
    from typing import Any

    from capture.records import RunRecord

LOOKED_AT = 200  #: runs that are asked which paths there are
_OPERATORS = frozenset({"==", "!=", "<", "<=", ">", ">=", "=", "and", "or", "not", "in", "is", "(", ")"})
_COMPARISONS = frozenset({"==", "<", "<=", ">", ">="})
_CLOSE = 0.8  #: how like something else a word is that is taken for a slip of it, from 0 to 1


class NotAConditionError(CaptureError, ValueError):
    """The name of a run stands where a condition is wanted.

    Attributes
    ----------
    word : str
    """

    def __init__(self, word: str) -> None:
        self.word = word
        super().__init__(
            f"{word!r} is the name of a run, and no condition on runs: store.get({word!r}) returns it.\n"
            f"  for the runs of a project of that name:  {word + '/'!r}",
            print_traceback=False,
        )

    def __reduce__(self) -> Any:
        return type(self), (self.word,)


def condition(
    words: Sequence[str] | str | None,
    mine: bool = False,
    user: str | None = None,
    now: datetime | None = None,
    known: Callable[[], Iterable[str]] | None = None,
) -> Filter | None:
    """Return the condition that words of a command line make; None if there is none.

    Parameters
    ----------
    words : sequence of str, or str
        See the module.
    mine : bool
        Whether only runs of this user are meant: those whose process ran under the name of the one who asks. Records
        of Sacred's do not say whose they are, nor do those of a process whose user had no name: they are left out.
    user : str, optional
        Whose runs are meant, in place of this user's.
    now : datetime, optional
        Aware; the time that it is.
    known : callable, optional
        Returns paths that there are, such as `known_paths` does; asked only for a hint in an error.

    Raises
    ------
    ExpressionError
        It shows the place, and says what is possible there.
    NotAConditionError
        If a word is the name of a run.
    CommandLineError
        If `mine` is asked for by nobody known.

    Examples
    --------
    >>> condition(["failed", "config.lr < 0.1"])
    (field('status') == 'FAILED' & field('config.lr') < 0.1)
    """
    parts = [words] if isinstance(words, str) else list(words or ())
    if any(part in _OPERATORS for part in parts):
        parts = [" ".join(map(_whole, parts) if JOINING.intersection(parts) else parts)]
    terms = [term for part in parts for term in _terms(part, now, known)]
    if mine or user:
        terms.append(Test("user", "==", user or me()))
    return None if not terms else terms[0] if len(terms) == 1 else Every(terms)


def me() -> str:
    """Return the name of the user who asks, as it is recorded with the runs of this user.

    Raises
    ------
    CommandLineError
        If the user has no name.
    """
    from capture.probes.process import user_facts

    name = user_facts().get("name")
    if not isinstance(name, str):
        raise CommandLineError("the user who asks has no name here: give one with --user=NAME")
    return name


def _whole(part: str) -> str:
    """Return a part as it is joined with others: one that has joining words in itself stands in brackets."""
    is_joined = {"and", "or"}.intersection(part.split()) and part not in JOINING
    return f"({part})" if is_joined and part.count("(") == part.count(")") else part


def _terms(text: str, now: datetime | None, known: Callable[[], Iterable[str]] | None) -> list[Filter]:
    """Return the conditions that a text is: one, or one for each word if there is nothing else in it."""
    text = one_line(text)
    words = text.split()
    if all(map(is_plain, words)) and not (len(words) > 1 and _OPERATORS.intersection(words)):
        meanings = [(word, _of_word(word)) for word in words]
        return [parse(word, now, known) if meaning is None else meaning for word, meaning in meanings]
    found = operands(text)
    is_mixed = not all(each.is_word for each in found)
    placed: dict[tuple[int, int], Filter] = {}
    for each in found:
        meaning = _of_word(each.text) if each.is_word and not _is_constant(each.text, is_mixed) else None
        if meaning is not None:
            if is_mixed:
                _check_is_project(each, text, known)
            placed[each.start, each.end] = meaning
    return [parse(text, now, known, placed)]


def _is_constant(word: str, is_mixed: bool) -> bool:
    """Say whether a word between others is a value, which says nothing alone: ``config.lr == 0.1 or 0.2``."""
    return word in ("True", "False", "None", "project", "state") or (is_mixed and _reads_as_number(word))


def _of_word(word: str) -> Filter | None:
    """Return what a word stands for; None if it is the path of a value."""
    if not word.endswith("/"):
        if word.upper() in _WORDS:
            return meant("state", "==", word.upper())
        if word.lstrip("-").isdecimal():
            raise NotAConditionError(word)
        if word.partition(".")[0] in parts_of_a_run() and "/" not in word and "-" not in word:
            return None
    return meant("project", "==", word)


def _check_is_project(operand: Operand, text: str, known: Callable[[], Iterable[str]] | None) -> None:
    """Refuse a word beside a comparison that is probably a slip of something else than the name of a project.

    Where it is joined by ``or``, nobody would see that no experiment is called so.
    """
    word = operand.text
    if "/" in word or word.upper() in _WORDS:
        return
    ends = [path for path in (known() if known else ()) if path.removesuffix(".last").endswith(f".{word}")]
    ends = [path for path in ends if path.startswith(("config.", "metrics."))] or ends  # not meta.config_updates.lr
    state = suggest(word.upper(), _WORDS, cutoff=_CLOSE)
    part = suggest(word.partition(".")[0], parts_of_a_run(), cutoff=_CLOSE)
    if ends:
        meant_probably = " or ".join(ends[:3])
    elif word in HEADINGS:
        meant_probably = HEADINGS[word]
    elif state:
        meant_probably = state.lower()
    elif part:
        meant_probably = ".".join([part, *word.split(".")[1:]])
    else:
        return
    raise ExpressionError(
        text,
        operand.start,
        f"{word!r} alone is the name of a project: did you mean {meant_probably}? For the project write {word}/",
    )


# ------------------------------------------------------------------------------------------- what is odd about it


class Unknown:
    """Something in a condition that no run has.

    Attributes
    ----------
    path : str
        As in the condition.
    value : str or None
        The name, state, tag or user that no run has; None if none has anything at `path`.
    closest : str or None
        What there is that it is probably a slip of.
    known : list of str
        What there is in its place: paths that begin alike, or names.
    among : int or None
        How many runs, the newest, were looked at; None if these are all there are.
    """

    __slots__ = ("among", "closest", "known", "path", "value")

    def __init__(
        self, path: str, value: str | None, closest: str | None, known: list[str], among: int | None = None
    ) -> None:
        self.path, self.value, self.closest, self.known, self.among = path, value, closest, known, among

    def __str__(self) -> str:
        runs = "no run" if self.among is None else f"none of the {self.among} newest runs"
        if self.value is None:
            lines = [f"{runs} has {self.path}"]
        elif self.path == "name" and self.among is None:
            lines = [f"no experiment is called {self.value!r}"]
        else:
            lines = [f"{runs} {_NONE[self.path].format(self.value)}"]
        if self.closest is not None:
            lines.append(f"did you mean {self.closest}?")
        if self.known:
            lines.append(f"there are: {first_few(self.known)}")
        return "; ".join(lines).replace("?; there", "? There")

    def __repr__(self) -> str:
        return f"<Unknown {self}>"


class Mistaken(Unknown):
    """A comparison that holds for no run, since it is with something of another kind.

    Attributes
    ----------
    text : str
        What is there, and what to write.
    """

    __slots__ = ("text",)

    def __init__(self, path: str, text: str) -> None:
        super().__init__(path, None, None, [])
        self.text = text

    def __str__(self) -> str:
        return self.text


def _mistaken(test: Test, runs: Sequence[RunRecord]) -> str | None:
    """Return what is wrong with what a test compares with, by the values that runs have there."""
    path, value = test.path, test.value
    if test.operator not in _COMPARISONS:
        return None
    found = [each for each in (lookup(run, path) for run in runs) if each is not MISSING and each is not None]
    if path in TIMES and test.operator == ">=" and hasattr(value, "timestamp"):
        from time import time

        if value.timestamp() > time():
            return f"{path} > a day is after all of it: {path} >= that day includes it"
    if path == "git.commit" and test.operator == "==" and isinstance(value, str) and 0 < len(value) < 4:
        return f"the beginning of a commit has four digits or more, {value!r} has {len(value)}"
    if path == "tags" and isinstance(value, str):
        return f"tags is a list: write {value!r} in tags"
    if found and all(isinstance(each, dict) for each in found) and not isinstance(value, dict):
        below = sorted({f"{path}.{key}" for each in found for key in each})
        same = [place for place in below if any(_is_same(lookup(run, place), value) for run in runs)]
        close = f"did you mean {same[0]}? There" if same else "there"
        return f"{path} is a group of values, {path}.KEY is one; {close} are: {first_few(below)}"
    if isinstance(value, str) and found and all(_is_number(each) for each in found) and _reads_as_number(value):
        return f"{path} is a number: write {path} {test.operator} {value.strip()}, without quotes"
    if _is_number(value) and found and all(isinstance(each, str) for each in found):
        return f"{path} is text: write {path} {test.operator} {str(value)!r}, with quotes"
    return None


def _is_same(found: Any, value: Any) -> bool:
    return type(found) is type(value) and bool(found == value)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _reads_as_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def unknown_paths(wanted: Filter | None, records: Iterable[RunRecord], limit: int = LOOKED_AT) -> list[Unknown]:
    """Return what in a condition no run has: asked where it matched nothing, to be told to who wrote it.

    A comparison with something of another kind than what runs have there is among it, see `Mistaken`.

    Parameters
    ----------
    wanted : Filter or None
    records : iterable of RunRecord
        Of the store, newest first; only `limit` of them are looked at, and whether there are more.
    limit : int
    """
    from itertools import islice

    runs = list(islice(records, limit + 1))
    if not runs:
        return []
    among = limit if len(runs) > limit else None
    runs = runs[:limit]
    found: dict[tuple[str, Any], Unknown] = {}
    for path, sentence in _contradictions(wanted):
        found[path, sentence] = Mistaken(path, sentence)
    paths: list[str] | None = None
    for test in _tests(wanted):
        is_list_compared = test.path == "tags" and test.operator == "=="
        is_name = test.path in _VALUES and test.operator in ("==", "contains")
        if is_name and not is_list_compared and isinstance(test.value, str):
            odd = _unknown_value(test.path, test.value, runs)
            if odd is not None:
                found[test.path, test.value] = odd
        elif all(lookup(run, test.path) is MISSING for run in runs):
            paths = known_paths(runs) if paths is None else paths
            found[test.path, None] = _unknown(test.path, paths)
        else:
            text = _mistaken(test, runs)
            if text is not None:
                found[test.path, text] = Mistaken(test.path, text)
    for each in found.values():
        each.among = among
    return list(found.values())


def _contradictions(wanted: Filter | None) -> Iterator[tuple[str, str]]:
    """Yield what one run cannot be at the same time, the path and a sentence: people write ``failed died``."""
    if isinstance(wanted, Not):
        yield from _contradictions(wanted.term)
    if not isinstance(wanted, (Every, Either)):
        return
    for term in wanted.terms:
        yield from _contradictions(term)
    if isinstance(wanted, Either):
        return
    states = _states(wanted.terms)
    if len(states) > 1:
        yield "status", f"a run cannot be {_both(states)}; write: {' or '.join(states).lower()}"
    projects = list(dict.fromkeys(filter(None, map(_project, wanted.terms))))
    apart = [each for each in projects if not any(other.startswith(f"{each}/") for other in projects)]
    if len(apart) > 1:
        yield "name", f"a run cannot be of {_both(apart)}; write: {' or '.join(apart)}"


def _both(names: Sequence[str]) -> str:
    return f"{'both ' if len(names) == 2 else ''}{' and '.join(names)}"


def _states(terms: Sequence[Filter]) -> list[str]:
    """Return the states that are asked for; one that is DIED is recorded as RUNNING, see `capture.filters.Died`."""
    died = any(isinstance(each, Died) for each in terms)
    alive = any(isinstance(each, Not) and isinstance(each.term, Died) for each in terms)
    states: dict[str, None] = {}
    for each in terms:
        if isinstance(each, Test) and each.path == "status" and each.operator == "==":
            both = [name for name, is_asked in (("RUNNING", alive or not died), ("DIED", died)) if is_asked]
            states.update(dict.fromkeys(both if each.value == "RUNNING" else [str(each.value)]))
    return list(states)


def _project(term: Filter) -> str | None:
    """Return the project that a condition is about, as `capture.filters.meant` writes it."""
    first = term.terms[0] if isinstance(term, Either) and len(term.terms) == 2 else None
    is_name = isinstance(first, Test) and first.path == "name" and first.operator == "=="
    return str(first.value).strip("/") if is_name else None  # type: ignore[union-attr]


def known_paths(records: Iterable[RunRecord], limit: int = LOOKED_AT) -> list[str]:
    """Return the paths that runs have values at, in config, metrics, info, packages and elsewhere, in no order.

    Examples
    --------
    >>> from capture.records import RunRecord
    >>> record = RunRecord()
    >>> record.config = {"lr": 0.1, "net": {"depth": 3}}
    >>> known_paths([record])
    ['config.lr', 'config.net.depth']
    """
    from itertools import islice

    found: dict[str, None] = {}
    for run in islice(records, limit):
        for name in ("config", "info", "host", "meta"):
            found.update(dict.fromkeys(_leaves(getattr(run, name), name)))
        for metric, parts in run.summary.items():
            found.update(dict.fromkeys(f"metrics.{metric}.{part}" for part in parts))
        found.update(dict.fromkeys(f"packages.{name}" for name in run.packages))
        found.update(dict.fromkeys(f"git.{name}" for name in run.git))
        found.update(dict.fromkeys(_leaves(run.result, "result") if isinstance(run.result, dict) else ()))
    return list(found)


def _leaves(value: Any, path: str) -> Iterator[str]:
    if isinstance(value, dict):
        for key, each in value.items():
            yield from _leaves(each, f"{path}.{key}")
    elif "." in path:
        yield path


def _tests(wanted: Filter | None) -> Iterator[Test]:
    """Yield the tests that are asked to hold, and those that are asked not to."""
    if isinstance(wanted, Test):
        yield wanted
    elif isinstance(wanted, (Every, Either)):
        for term in wanted.terms:
            yield from _tests(term)
    elif isinstance(wanted, Not):
        yield from _tests(wanted.term)


def _unknown(path: str, paths: list[str]) -> Unknown:
    root, _, rest = path.partition(".")
    alike = sorted(each for each in paths if each.startswith(root + "."))
    last = path.rpartition(".")[2]
    elsewhere = [each for each in paths if each.partition(".")[2].removesuffix(".last") == rest]
    ends = [each for each in alike if each.rpartition(".")[2] == last]
    if root == "metrics":
        metrics = sorted({each.rpartition(".")[0] for each in alike})
        if path in metrics:
            return Mistaken(path, f"{path} is a series: compare its {path}.last, or .min, .max, .step, .count")
        close = suggest(path.rpartition(".")[0] if last in _PARTS else path, metrics)
        return Unknown(path, None, close and f"{close}.{last if last in _PARTS else 'last'}", metrics)
    close = suggest(rest, [each.partition(".")[2] for each in alike])  # that they begin alike says nothing
    short = [each for each in alike if is_short_for(last, each.rpartition(".")[2])]
    closest = f"{root}.{close}" if close else next(iter((*elsewhere, *ends, *short)), None)
    return Unknown(path, None, closest, alike)


def _unknown_value(path: str, value: str, runs: list[RunRecord]) -> Unknown | None:
    """Return what there is in place of a name, a state, a tag or a user that none of these runs has."""
    known = sorted({each for run in runs for each in _VALUES[path](run) if each})
    if any(each == value or (path == "name" and each.startswith(value + "/")) for each in known):
        return None
    folders = [each[:end] for each in known for end, mark in enumerate(each) if mark == "/" and path == "name"]
    lower = {each.lower(): each for each in (*folders, *reversed(known))}
    closest = lower.get(suggest(value.lower(), lower) or "")
    if closest is None and path in ("name", "status"):
        state = suggest(value.upper(), _WORDS)
        closest = state if path == "status" or state is None else f"the state {state}"
    if path == "status" and value in STATES:  # there may well be none that failed
        return None
    return Unknown(path, value, closest, known)


_WORDS = (*STATES, "DIED")
_PARTS = ("count", "last", "step", "time", "min", "max")
_VALUES: dict[str, Callable[[RunRecord], Sequence[str]]] = {
    "name": lambda run: (run.name,),
    "status": lambda run: (state_of(run),),
    "tags": lambda run: run.tags,
    "user": lambda run: (run.user or "",),
    "command": lambda run: (run.command,),
}
_NONE = {
    "name": "is of an experiment called {!r}",
    "status": "is in the state {!r}",
    "tags": "has the tag {!r}",
    "user": "says that it is of the user {!r}",
    "command": "is of the command {!r}",
}
