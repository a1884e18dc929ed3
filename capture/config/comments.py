"""What the comments of a config scope say about its entries.

A comment describes the entry on whose line it stands, or the one right below it; several lines of comment above an
entry are one text. Comments inside a dict that is written over several lines describe its keys.
"""

from __future__ import annotations

import ast
import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

#: Comments to tools, which describe nothing.
IGNORED_COMMENTS = ("^pylint:", "^noinspection")
_ALWAYS_IGNORED = ("^noqa\\b", "^type:", "^pyright:", "^ruff:", "^fmt:", "^isort:", "^pragma:")


def docs_from_comments(node: Any, lines: list[str], ignored: Iterable[str] = IGNORED_COMMENTS) -> dict[str, str]:
    """Collect the description of each entry that a config scope assigns.

    Parameters
    ----------
    node : ast.FunctionDef
        The scope, as parsed from `lines`.
    lines : list of str
        The whole file.
    ignored : iterable of str
        Regular expressions; a comment that one of them matches describes nothing.

    Returns
    -------
    dict of str to str
        By dotted path. Of several descriptions of one entry the first is taken. The docstring is ``__doc__``.
    """
    comments = _Comments(lines, ignored, node)
    docs: dict[str, str] = {}
    docstring = ast.get_docstring(node)
    if docstring:
        docs["__doc__"] = docstring
    for names, described, value in _entries(node):
        text = comments.beside_or_above(described)
        for name in names:
            if text and not name.startswith("_"):
                docs.setdefault(name, text)
        if len(names) == 1 and value is not None:
            for path, key_text in _docs_of_keys(comments, names[0], value):
                docs.setdefault(path, key_text)
    return docs


def _entries(node: Any) -> Iterator[tuple[list[str], Any, Any]]:
    """Yield (names, node that a comment stands beside, assigned value) for each entry of the scope `node`."""
    arguments = node.args
    positional = [*arguments.posonlyargs, *arguments.args]
    defaults = [None] * (len(positional) - len(arguments.defaults)) + arguments.defaults + arguments.kw_defaults
    for parameter, default in zip([*positional, *arguments.kwonlyargs], defaults):
        if default is not None and parameter.lineno > node.lineno:
            yield [parameter.arg], _Span(parameter, default), default
    for statement in statements_in(node.body):
        if isinstance(statement, ast.Assign):
            yield names_in(*statement.targets), statement, statement.value
        elif isinstance(statement, ast.AnnAssign):
            yield names_in(statement.target), statement, statement.value


def statements_in(body: list[Any]) -> Iterator[Any]:
    """Yield the statements of a scope, also those in loops and branches, but not those of functions within it."""
    for statement in body:
        yield statement
        if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            continue
        for block in ("body", "orelse", "finalbody", "handlers", "cases"):
            for inner in getattr(statement, block, ()):
                yield from statements_in(inner.body if block in ("handlers", "cases") else [inner])


def names_in(*targets: ast.expr) -> list[str]:
    """Return the plain names that assigning to `targets` binds, in order."""
    names: list[str] = []
    for target in targets:
        if isinstance(target, ast.Name):
            names.append(target.id)
        elif isinstance(target, (ast.Tuple, ast.List)):
            names.extend(names_in(*target.elts))
        elif isinstance(target, ast.Starred):
            names.extend(names_in(target.value))
    return names


def names_imported(node: ast.Import | ast.ImportFrom) -> list[str]:
    """Return the names that an import statement binds."""
    return [alias.asname or alias.name.partition(".")[0] for alias in node.names]


class _Span:
    """A place in the source that reaches from the start of one node to the end of another."""

    def __init__(self, first: Any, last: Any) -> None:
        self.lineno, self.col_offset = first.lineno, first.col_offset
        self.end_lineno, self.end_col_offset = last.end_lineno, last.end_col_offset


def _docs_of_keys(comments: _Comments, path: str, value: Any) -> Iterator[tuple[str, str]]:
    for key, described, inner in _keys_of(value):
        if described.lineno > value.lineno and described.end_lineno < value.end_lineno:
            text = comments.beside_or_above(described)
            if text:
                yield f"{path}.{key}", text
        yield from _docs_of_keys(comments, f"{path}.{key}", inner)


def _keys_of(value: Any) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(value, ast.Dict):
        for key, inner in zip(value.keys, value.values):
            if isinstance(key, ast.Constant):
                yield str(key.value), _Span(key, inner), inner
    elif isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.func.id == "dict":
        for keyword in value.keywords:
            if keyword.arg is not None:
                yield keyword.arg, keyword, keyword.value


class _Comments:
    """Finds the comments around places of a file.

    Positions come from the syntax tree, so there is nothing to tokenize: what follows a statement on its line can
    only be a comment (or another statement), and a line between statements that begins with # is one.
    """

    def __init__(self, lines: list[str], ignored: Iterable[str], scope: Any) -> None:
        self._lines = lines
        self._in_strings = {
            number
            for statement in statements_in(scope.body)
            if statement.end_lineno > statement.lineno and not hasattr(statement, "body")
            for string in ast.walk(statement)
            if isinstance(string, (ast.Constant, ast.JoinedStr))
            for number in range(string.lineno + 1, (string.end_lineno or 0) + 1)
        }
        self._ignored = [re.compile(pattern) for pattern in (*ignored, *_ALWAYS_IGNORED)]

    def beside_or_above(self, node: Any) -> str | None:
        """Return the comment after the end of `node`, else after its first line's code, else the one above it."""
        return self._after(node) or self._in_first_line(node) or self._above(node)

    def _text(self, comment: str) -> str | None:
        text = comment.lstrip("#").strip()
        is_prose = any(character.isalnum() for character in text)
        return text if is_prose and not any(pattern.match(text) for pattern in self._ignored) else None

    def _after(self, node: Any) -> str | None:
        line = self._lines[node.end_lineno - 1]
        if "#" not in line:
            return None
        rest = line.encode()[node.end_col_offset :].decode().lstrip(" \t,)]}")
        if rest.startswith("#"):
            return self._text(rest)
        return self._tokenized(node.end_lineno) if rest.startswith(";") else None

    def _in_first_line(self, node: Any) -> str | None:
        if node.end_lineno == node.lineno or "#" not in self._lines[node.lineno - 1]:
            return None
        return self._tokenized(node.lineno)

    def _tokenized(self, number: int) -> str | None:
        """Return the comment of a line whose # may also stand in a string."""
        import tokenize

        try:
            for token in tokenize.generate_tokens(iter([self._lines[number - 1].lstrip()]).__next__):
                if token.type == tokenize.COMMENT:
                    return self._text(token.string)
        except (tokenize.TokenError, SyntaxError):
            pass  # the line alone is no whole statement, and had no comment before it broke off
        return None

    def _above(self, node: Any) -> str | None:
        number = node.lineno - 1
        if self._lines[node.lineno - 1].encode()[: node.col_offset].strip():
            return None  # not the first on its line
        while number > 0 and not self._lines[number - 1].strip():
            number -= 1
        block: list[str] = []
        while number > 0 and self._lines[number - 1].lstrip().startswith("#") and number not in self._in_strings:
            text = self._text(self._lines[number - 1].strip())
            if text is None:
                break
            block.insert(0, text)
            number -= 1
        return " ".join(block) or None
