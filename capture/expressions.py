"""Conditions on runs as text: ``config.lr < 0.1 and "good" in tags``. Parsed as Python, and never evaluated.

docs/filtering.md describes the language.
"""

from __future__ import annotations

import ast
import operator

from capture.errors import CaptureError, suggest
from capture.filters import TEXT_OPERATORS, Either, Every, Filter, Not, Test, meant, unless

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import datetime
    from typing import Any

_SIGNS: dict[type, str] = {ast.Eq: "==", ast.NotEq: "!=", ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">="}
_MIRRORED = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "==", "!=": "!="}
_NAMES = (
    *("config", "status", "metrics", "result", "project", "name", "command", "tags", "notes", "git", "packages"),
    *("host", "user", "start_time", "duration", "info", "meta", "facts"),
)
#: what tables call them -> their names
HEADINGS = {"start": "start_time", "stop": "stop_time", "end": "stop_time", "id": "label"}
#: words of the language that stand for a condition on something else
_WORDS = ("project", "state")
_DEEPEST = 100  #: levels of brackets, which nobody writes by hand
_LONGEST = 20_000  #: characters: Python's parser needs some memory for each
_SHOWN = 160  #: characters of a condition in a message
#: how others write what Python calls
_OTHER_LANGUAGES = {"true": "True", "false": "False", "null": "None", "none": "None", "nil": "None"}
_OTHER_SIGNS = {"&&": "and", "||": "or", "<>": "!=", "===": "==", "=~": '.matches("...")', "!": "not"}


class ExpressionError(CaptureError, ValueError):
    """A condition that cannot be understood.

    Attributes
    ----------
    text : str
    column : int
        Where in it, from 0.
    """

    def __init__(self, text: str, column: int, problem: str) -> None:
        self.text, self.column, self.problem = text, column, problem
        start = max(column - _SHOWN // 2, 0) if len(text) > _SHOWN else 0
        shown = "".join(letter if letter.isprintable() else " " for letter in text[start : start + _SHOWN])
        super().__init__(f"{problem}\n  {shown}\n  {' ' * (column - start)}^", print_traceback=False)

    def __reduce__(self) -> Any:
        return type(self), (self.text, self.column, self.problem)


def parse(
    text: str,
    now: datetime | None = None,
    known: Callable[[], Iterable[str]] | None = None,
    words: Mapping[tuple[int, int], Filter] | None = None,
) -> Filter:
    """Return the filter that an expression describes.

    Parameters
    ----------
    text : str
        Comparisons of a path (``config.lr``, ``metrics.loss.last``, ``status``, ``config["a-b"]``) with a value, as
        Python writes them, ``VALUE in PATH``, ``PATH in [VALUES]``, ``PATH.startswith(TEXT)``, ``.endswith(TEXT)``,
        ``.matches(PATTERN)``, a path alone for "there is such a value that is not empty or zero"; joined by ``and``,
        ``or``, ``not`` and brackets. `capture.filters.meant` says what times and others are compared with.
    now : datetime, optional
        Aware; the time that it is, for ``"7 days ago"``.
    known : callable, optional
        Returns paths that there are, for a hint in an error.
    words : mapping of (int, int) to Filter, optional
        Conditions that stand in the text as something else, with where that begins and ends: `one_line` of the text
        tells the columns.

    Raises
    ------
    ExpressionError
        It shows the place, and says what is possible there.

    Examples
    --------
    >>> parse('config.lr < 0.1 and not "bad" in tags')
    (field('config.lr') < 0.1 & ~field('tags') contains 'bad')
    """
    text, words = one_line(text), words or {}
    # A name of the same length stands in for a word that is no Python, so that columns are those of the text.
    python = text
    for start, end in words:
        python = f"{python[:start]}{'_' * (end - start)}{python[end:]}"
    try:
        parser = _Parser(text, python, now, known, {start: term for (start, _), term in words.items()})
        return parser.filter(_tree(python), 0)
    except SyntaxError as error:
        raise _misunderstood(text, error) from None
    except (ValueError, TypeError, RecursionError, MemoryError) as error:  # {[]: 1} is a TypeError
        if isinstance(error, ExpressionError):
            raise
        because = str(error) if isinstance(error, (ValueError, TypeError)) else "it is nested too deeply"
        raise ExpressionError(text, 0, f"this condition is not understood: {because}") from None


def one_line(text: str) -> str:
    """Return a condition, which may stand on several lines, on one.

    Raises
    ------
    ExpressionError
        If it is too long.
    """
    for line_end in ("\\\n", "\n", "\r"):
        text = text.strip().replace(line_end, " " * len(line_end))
    if len(text) > _LONGEST:
        raise ExpressionError(text, 0, f"a condition has at most {_LONGEST} characters")
    return text


def _tree(text: str) -> ast.AST:
    import warnings

    if "\\" not in text:
        return ast.parse(text, mode="eval").body
    with warnings.catch_warnings():  # Python's opinion on "\d" is not asked
        warnings.simplefilter("ignore")
        return ast.parse(text, mode="eval").body


def _misunderstood(text: str, error: SyntaxError) -> ExpressionError:
    column = (error.offset or 0) - 1
    column = column if 0 <= column < len(text) and error.lineno == 1 else len(text)
    rest, hint = text[column:], str(error.msg)
    for sign in sorted(_OTHER_SIGNS, key=len, reverse=True):
        place = next((at for at in range(max(column - 2, 0), column + 2) if text.startswith(sign, at)), None)
        if place is not None and not text.startswith("!=", place):
            column, hint = place, f"write {_OTHER_SIGNS[sign]} in place of {sign}"
            break
    else:
        if rest[:1] == "=":
            hint = "write == to compare"
        elif "decimal literal" in hint:
            hint = "a number with a unit stands in quotes, as in duration > '2 h'"
    return ExpressionError(text, column, f"this condition is not understood: {hint}")


def parts_of_a_run() -> list[str]:
    """Return the words that a path may begin with: the parts of a record."""
    from capture.records import RunRecord

    stored = [name for name in vars(RunRecord()) if name != "read_output"]
    return [*stored, "name", "git", "user", "duration", "packages", "output", "params", "summary"]


_EXAMPLES = {"project": '"vision"', "state": '"DIED"'}
_FROM = f", from {', '.join(_NAMES)}"
_NOT_COMPUTED = (
    "nothing is computed: compare a path with a number that is written out; "
    'a name with other signs stands in brackets and quotes, as in config["a-b"]'
)
_METHODS = 'PATH.startswith("..."), PATH.endswith("...") and PATH.matches("*...*")'


class _Parser:
    def __init__(
        self,
        text: str,
        python: str,
        now: datetime | None,
        known: Callable[[], Iterable[str]] | None,
        words: Mapping[int, Filter],
    ) -> None:
        self.text, self.python, self.now, self.known, self.words = text, python, now, known, words

    def _column(self, node: ast.AST) -> int:
        offset = getattr(node, "col_offset", 0)  # in bytes of UTF-8
        return len(self.python.encode("utf-8")[:offset].decode("utf-8", "replace"))

    def _error(self, node: ast.AST, problem: str) -> ExpressionError:
        return ExpressionError(self.text, self._column(node), problem)

    def filter(self, node: ast.AST, depth: int) -> Filter:
        if depth > _DEEPEST:
            raise self._error(node, "this condition is nested too deeply")
        if isinstance(node, ast.BoolOp):
            terms = [self.filter(each, depth + 1) for each in node.values]
            return Every(terms) if isinstance(node.op, ast.And) else Either(terms)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            return Not(self.filter(node.operand, depth + 1))
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            tests = [self._compared(*each) for each in zip(sides, node.ops, sides[1:])]
            return tests[0] if len(tests) == 1 else Every(tests)
        if isinstance(node, ast.Call):
            return self._asked_of_text(node)
        if isinstance(node, ast.Name) and self.words and self._column(node) in self.words:
            return self.words[self._column(node)]
        path = self._path(node)
        if path is not None:  # there, and not empty, false, zero
            nothing: list[Any] = [None, False, 0, "", [], {}]
            if path in _WORDS:
                raise self._error(node, f"here should be a comparison, such as {path} == {_EXAMPLES[path]}")
            return Every([Test(path, "exists"), Not(Test(path, "in", nothing))])
        several = "; one of several values: PATH in [A, B]" if isinstance(node, ast.Constant) else ""
        raise self._error(node, f"here should be a comparison, such as config.lr < 0.1{several}")

    def _asked_of_text(self, node: ast.Call) -> Filter:
        """Return what ``PATH.startswith(TEXT)`` and the like mean: it is read, and nothing is called."""
        called = node.func
        if not isinstance(called, ast.Attribute) or called.attr not in TEXT_OPERATORS:
            raise self._error(node, f"here should be a comparison: nothing is called, but {_METHODS}")
        path = self._some_path(called.value)
        if len(node.args) != 1 or node.keywords:
            raise self._error(node, f"{called.attr} takes one text in quotes")
        given = self._value(node.args[0])
        texts = list(given) if isinstance(given, tuple) else [given]
        if not texts or not all(isinstance(each, str) for each in texts):
            raise self._error(node.args[0], f"{called.attr} takes text in quotes")
        terms = [self._meant(node.args[0], path, called.attr, each) for each in texts]
        return terms[0] if len(terms) == 1 else Either(terms)

    def _meant(self, node: ast.AST, path: str, word: str, value: Any) -> Filter:
        """Return what a comparison means; a value that makes no sense there is pointed at."""
        try:
            return meant(path, word, value, self.now)
        except ValueError as error:
            raise self._error(node, str(error)) from None

    def _compared(self, left: ast.AST, sign: ast.cmpop, right: ast.AST) -> Filter:
        if isinstance(sign, (ast.In, ast.NotIn)):
            place, found = self._contained(left, right)
            return found if isinstance(sign, ast.In) else unless(place, found)
        if isinstance(sign, (ast.Is, ast.IsNot)):
            return self._meant(
                right, self._some_path(left), "==" if isinstance(sign, ast.Is) else "!=", self._value(right)
            )
        for side in (left, right):
            if isinstance(side, ast.BinOp):
                raise self._error(side, _NOT_COMPUTED)
        word = _SIGNS[type(sign)]
        path = self._some_path(left) if isinstance(left, ast.Call) else self._path(left)
        if path is not None:
            return self._meant(right, path, word, self._value(right))
        return self._meant(left, self._some_path(right), _MIRRORED[word], self._value(left))

    def _contained(self, left: ast.AST, right: ast.AST) -> tuple[str, Filter]:
        path = self._path(right)
        if path is not None:
            return path, self._meant(right, path, "contains", self._value(left))
        values = self._value(right)
        if not isinstance(values, (list, tuple, set)):
            raise self._error(right, "after `in` comes a list, or the path of a list, such as tags")
        place = self._some_path(left)
        return place, self._meant(right, place, "in", list(values))

    def _some_path(self, node: ast.AST) -> str:
        path = self._path(node)
        if path is None:
            called = f": nothing is called, but {_METHODS}" if isinstance(node, ast.Call) else ""
            raise self._error(node, f"here should be the path of a value of the run{called or _FROM}")
        return path

    def _path(self, node: ast.AST, rest: str = "") -> str | None:
        """Return the dotted path that a node names, or None if it is no path; `rest` is what follows it."""
        if isinstance(node, ast.Name):
            if self.words and self._column(node) in self.words:
                raise self._error(node, f"a word is compared with nothing: here should be a path{_FROM}")
            if node.id not in parts_of_a_run() and node.id not in _WORDS:
                raise self._error(node, f"no path begins with {node.id!r}: {self._better(node.id, rest)}")
            return node.id
        if isinstance(node, ast.Attribute):
            before = self._path(node.value, f".{node.attr}{rest}")
            return None if before is None else f"{before}.{node.attr}"
        if isinstance(node, ast.Subscript):
            before = self._path(node.value)
            key = self._value(node.slice)
            if type(key) not in (str, int):
                raise self._error(node.slice, "in brackets comes a name in quotes, or a number")
            if type(key) is int and key < 0:
                raise self._error(node.slice, "places in a list are counted from its beginning, from 0 on")
            return None if before is None else f"{before}.{key}"
        return None

    def _better(self, name: str, rest: str = "") -> str:
        """Return what may have been meant by a word that no path begins with, and what follows it."""
        if name in HEADINGS and not rest:
            return f"did you mean {HEADINGS[name]}?"
        known = list(self.known()) if self.known is not None else []
        whole = f".{name}{rest}"
        ends = [path for path in known if path.endswith(whole) or path.removesuffix(".last").endswith(whole)]
        ends = [path for path in ends if path.startswith(("config.", "metrics."))] or ends  # not meta.config_updates.lr
        if ends:
            return f"did you mean {' or '.join(ends[:3])}?"
        close = suggest(name, (*parts_of_a_run(), *_WORDS))
        if close:
            return f"did you mean {close}?"
        if rest and not known:
            return f"did you mean config{whole}? A path begins with {', '.join(_NAMES)}"
        short = {path.split(".", 1)[-1].removesuffix(".last"): path for path in known}
        close = suggest(name, short)
        if close:
            return f"did you mean {short[close]}?"
        return f"config.{name}? metrics.{name}.last? it begins with {', '.join(_NAMES)}"

    def _value(self, node: ast.AST) -> Any:
        """Return a value that is written out: nothing is looked up, called or computed."""
        if isinstance(node, ast.Constant) and node.value is not ...:
            return node.value
        if isinstance(node, (ast.List, ast.Tuple, ast.Set)):
            kind = {ast.List: list, ast.Tuple: tuple, ast.Set: set}[type(node)]
            return kind(self._value(each) for each in node.elts)
        if isinstance(node, ast.Dict) and all(key is not None for key in node.keys):
            return {self._value(key): self._value(each) for key, each in zip(node.keys, node.values) if key}
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.UAdd)):
            value = self._value(node.operand)
            if isinstance(value, (int, float)):
                return operator.neg(value) if isinstance(node.op, ast.USub) else value
        if isinstance(node, ast.Name):
            if node.id in _OTHER_LANGUAGES:
                raise self._error(node, f"here should be a value: write {_OTHER_LANGUAGES[node.id]}, or {node.id!r}")
            column = self._column(node)
            name = self.text[column : column + len(node.id)]
            raise self._error(node, f"here should be a value: text stands in quotes, as {name!r}")
        if isinstance(node, (ast.Attribute, ast.Subscript)):
            raise self._error(node, "here should be a value, in quotes if it is text: two paths are not compared")
        if isinstance(node, ast.Call):
            raise self._error(node, f"here should be a value: nothing is called, but {_METHODS}")
        raise self._error(node, "here should be a value: a number, text in quotes, True, None, a list")
