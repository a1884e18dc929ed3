"""Conditions on runs as text: ``config.lr < 0.1 and "good" in tags``. Parsed as Python, and never evaluated."""

from __future__ import annotations

import ast
import operator

from capture.errors import CaptureError, suggest
from capture.filters import Either, Every, Filter, Not, Test

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_SIGNS: dict[type, str] = {ast.Eq: "==", ast.NotEq: "!=", ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">="}
_MIRRORED = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "==", "!=": "!="}
_NAMES = (
    *("config", "status", "metrics", "result", "name", "command", "tags", "notes", "git", "packages", "host", "user"),
    *("start_time", "duration", "info", "meta", "facts"),
)
_DEEPEST = 100  #: levels of brackets, which nobody writes by hand


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
        super().__init__(f"{problem}\n  {text}\n  {' ' * column}^", print_traceback=False)

    def __reduce__(self) -> Any:
        return type(self), (self.text, self.column, self.problem)


def parse(text: str) -> Filter:
    """Return the filter that an expression describes.

    Parameters
    ----------
    text : str
        Comparisons of a path (``config.lr``, ``metrics.loss.last``, ``status``, ``config["a-b"]``) with a value, as
        Python writes them, ``VALUE in PATH``, ``PATH in [VALUES]``, a path alone for "there is such a value that is not
        empty or zero"; joined by ``and``, ``or``, ``not`` and brackets.

    Raises
    ------
    ExpressionError
        It shows the place, and says what is possible there.

    Examples
    --------
    >>> parse('config.lr < 0.1 and not "bad" in tags')
    (field('config.lr') < 0.1 & ~field('tags') contains 'bad')
    """
    try:
        tree = ast.parse(text.strip(), mode="eval")
        return _Parser(text.strip()).filter(tree.body, 0)
    except SyntaxError as error:
        column = (error.offset or 0) - 1
        column = column if 0 <= column < len(text.strip()) and error.lineno == 1 else len(text.strip())
        hint = "write == to compare" if text.strip()[column : column + 1] == "=" else str(error.msg)
        raise ExpressionError(text.strip(), column, f"this condition is not understood: {hint}") from None
    except (ValueError, TypeError, RecursionError, MemoryError) as error:  # {[]: 1} is a TypeError
        if isinstance(error, ExpressionError):
            raise
        raise ExpressionError(text.strip(), 0, f"this condition is not understood: {error}") from None


def parts_of_a_run() -> list[str]:
    """Return the words that a path may begin with: the parts of a record."""
    from capture.records import RunRecord

    stored = [name for name in vars(RunRecord()) if name != "read_output"]
    return [*stored, "name", "git", "user", "duration", "packages", "output", "params", "summary"]


class _Parser:
    def __init__(self, text: str) -> None:
        self.text = text

    def _error(self, node: ast.AST, problem: str) -> ExpressionError:
        offset = getattr(node, "col_offset", 0)  # in bytes of UTF-8
        column = len(self.text.encode("utf-8")[:offset].decode("utf-8", "replace"))
        return ExpressionError(self.text, column, problem)

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
        path = self._path(node)
        if path is not None:  # there, and not empty, false, zero
            nothing: list[Any] = [None, False, 0, "", [], {}]
            return Every([Test(path, "exists"), Not(Test(path, "in", nothing))])
        raise self._error(node, "here should be a comparison, such as config.lr < 0.1")

    def _compared(self, left: ast.AST, sign: ast.cmpop, right: ast.AST) -> Filter:
        if isinstance(sign, (ast.In, ast.NotIn)):
            found = self._contained(left, right)
            return found if isinstance(sign, ast.In) else Not(found)
        if isinstance(sign, (ast.Is, ast.IsNot)):
            test = Test(self._some_path(left), "==", self._value(right))
            return test if isinstance(sign, ast.Is) else Not(test)
        word = _SIGNS[type(sign)]
        path = self._path(left)
        if path is not None:
            return Test(path, word, self._value(right))
        return Test(self._some_path(right), _MIRRORED[word], self._value(left))

    def _contained(self, left: ast.AST, right: ast.AST) -> Filter:
        path = self._path(right)
        if path is not None:
            return Test(path, "contains", self._value(left))
        values = self._value(right)
        if not isinstance(values, (list, tuple, set)):
            raise self._error(right, "after `in` comes a list, or the path of a list, such as tags")
        return Test(self._some_path(left), "in", list(values))

    def _some_path(self, node: ast.AST) -> str:
        path = self._path(node)
        if path is None:
            raise self._error(node, f"here should be the path of a value of the run, from {', '.join(_NAMES)}")
        return path

    def _path(self, node: ast.AST) -> str | None:
        """Return the dotted path that a node names, or None if it is no path."""
        if isinstance(node, ast.Name):
            if node.id not in parts_of_a_run():
                close = suggest(node.id, parts_of_a_run())
                hint = f"did you mean {close}?" if close else f"it begins with {', '.join(_NAMES)}"
                raise self._error(node, f"no path begins with {node.id!r}: {hint}")
            return node.id
        if isinstance(node, ast.Attribute):
            before = self._path(node.value)
            return None if before is None else f"{before}.{node.attr}"
        if isinstance(node, ast.Subscript):
            before = self._path(node.value)
            key = self._value(node.slice)
            if not isinstance(key, (str, int)):
                raise self._error(node.slice, "in brackets comes a name in quotes, or a number")
            return None if before is None else f"{before}.{key}"
        return None

    def _value(self, node: ast.AST) -> Any:
        """Return a value that is written out: nothing is looked up, called or computed."""
        if isinstance(node, ast.Constant):
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
            raise self._error(node, f"here should be a value: text stands in quotes, as {node.id!r}")
        raise self._error(node, "here should be a value: a number, text in quotes, True, None, a list")
