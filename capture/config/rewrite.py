"""A config scope's function, recompiled so that each name it binds passes through a hook.

The function stays what it is: its globals, closure, line numbers and everything it calls are its own. Only after
each binding of a name stands one more assignment, ``lr = HOOK.bind("lr", lr, 12)``, through which an update can put
its own value; and when the function ends, however it does, the hook is shown its local variables.

Needs the source: a file's, or what `linecache` knows of notebook cells, and of the REPL since 3.13. A file may have
been edited after it was imported, so the source counts only if it compiles to the very code that is running.
"""

from __future__ import annotations

import ast
from types import CodeType, ModuleType

from capture.config.comments import IGNORED_COMMENTS, docs_from_comments, names_imported, names_in, statements_in

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FunctionType
    from typing import Any

    Function = ast.FunctionDef | ast.AsyncFunctionDef
    Recipe = tuple[CodeType, str, dict[str, str], dict[str, int]]

#: Stands for the hook in rewritten code, which can be kept only while it holds no objects. As a constant of the code,
#: and no argument or global, the hook shows neither in the scope's `locals()` nor in its module.
_PLACEHOLDER = "\0config hook\0"

_IS_FUNCTION = 0x2  # CO_NEWLOCALS: tells a function's code from a class body's


def rewrite(func: Any, ignored_comments: tuple[str, ...] | None = None) -> Recipe | None:
    """Recompile `func` so that it binds names through a hook.

    Parameters
    ----------
    func : function
    ignored_comments : tuple of str, optional
        Regular expressions of comments that describe no entry.

    Returns
    -------
    (code, str, dict of str to str, dict of str to int) or None
        The code, the constant in it that the hook is to replace, what comments say about each entry, the line of each
        parameter. None where there is no source, or where it is not the source of the running code.
    """
    lines = source_lines(func)
    found = find_definition(func, lines)
    if found is None:
        return None
    node, imported = found
    docs = docs_from_comments(node, lines, IGNORED_COMMENTS if ignored_comments is None else ignored_comments)
    parameters = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    parameter_lines = {parameter.arg: parameter.lineno for parameter in parameters}
    _insert_hook(node, lines)
    code = _compile_in_place(func, node, imported)
    assert code is not None, "it compiled before the hook was put in"
    return code, _PLACEHOLDER, docs, parameter_lines


# ---------------------------------------------------------------------------------------------- finding the source


def source_lines(func: FunctionType) -> list[str]:
    """Return the lines of the file (cell, input) that defines `func`, or none."""
    filename = func.__code__.co_filename
    try:
        with open(filename, encoding="utf-8-sig") as stream:
            return list(stream)
    except (OSError, ValueError):
        pass  # no file, or one in another encoding
    import linecache

    linecache.checkcache(filename)
    return linecache.getlines(filename, func.__globals__)


def find_definition(func: FunctionType, lines: list[str]) -> tuple[Function, set[str]] | None:
    """Find the syntax tree of `func`.

    Returns
    -------
    (tree, set of str) or None
        None if `lines` do not hold the source of the running code. The set is `imported` of `_compile_in_place`.
    """
    # The function's own lines are enough, as a rule, and faster to parse than a long file.
    for whole in (False, True):
        try:
            tree = ast.parse("".join(lines) if whole else _text_of(func.__code__, lines))
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            continue  # edited since, or not Python (a notebook cell with magics): not the source of this code
        imported = _imported_in(tree) if whole else _probably_imported(func, func.__code__)
        for node in _definitions_at(tree, func.__code__.co_name, func.__code__.co_firstlineno):
            code = _compile_in_place(func, node, imported)
            if code is not None and _same_code(code, func.__code__):
                return node, imported
    return None


def _imported_in(module: ast.Module) -> set[str]:
    imports = (node for node in statements_in(module.body) if isinstance(node, (ast.Import, ast.ImportFrom)))
    return {name for node in imports for name in names_imported(node) if name.isidentifier()}


def _probably_imported(func: FunctionType, code: CodeType) -> set[str]:
    names = set()
    for name in code.co_names:
        if _is_from_elsewhere(func.__globals__.get(name), func.__module__):
            names.add(name)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            names |= _probably_imported(func, constant)
    return names


def _is_from_elsewhere(value: Any, module: str) -> bool:
    try:
        return isinstance(value, ModuleType) or getattr(value, "__module__", module) != module
    except Exception:  # noqa: BLE001 - a proxy that stands for nothing yet answers every question with an error
        return False


def _text_of(code: CodeType, lines: list[str]) -> str:
    """Return a text with the function of `code` alone, at its line: long files take long to parse.

    It ends before the first line that is indented no more than the function is. Where that is not the function's end
    (a dedented bracket, or text within a string), what remains cannot be parsed, and the whole file is.
    """
    first, last = code.co_firstlineno, _last_line(code)
    if first > len(lines):
        return ""
    indentation = _indentation(lines[first - 1])
    while last < len(lines) and (_is_blank(lines[last]) or _indentation(lines[last]) > indentation):
        last += 1
    block = "".join(lines[first - 1 : last])
    if indentation == 0:
        return "\n" * (first - 1) + block
    return "\n" * (first - 2) + "if True:\n" + block


def _last_line(code: CodeType) -> int:
    inner = [_last_line(constant) for constant in code.co_consts if isinstance(constant, CodeType)]
    return max([line for _, _, line in code.co_lines() if line is not None] + inner, default=code.co_firstlineno)


def _indentation(line: str) -> int:
    return len(line) - len(line.lstrip())


def _is_blank(line: str) -> bool:
    return line.strip() == "" or line.lstrip().startswith("#")


def _definitions_at(tree: ast.AST, name: str, line: int) -> Iterator[Function]:
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name == name:
            first = node.decorator_list[0] if node.decorator_list else node
            if first.lineno == line:
                yield node


def _same_code(one: CodeType, other: CodeType) -> bool:
    """Say whether two functions do the same: all but names of files, line numbers and flags of nesting."""
    facts = ("co_code", "co_names", "co_varnames", "co_freevars", "co_cellvars", "co_argcount", "co_kwonlyargcount")
    if any(getattr(one, fact) != getattr(other, fact) for fact in facts):
        return False
    return len(one.co_consts) == len(other.co_consts) and all(map(_same_constant, one.co_consts, other.co_consts))


def _same_constant(one: Any, other: Any) -> bool:
    if type(one) is not type(other):
        return False
    if isinstance(one, CodeType):
        return _same_code(one, other)
    if isinstance(one, tuple):
        return len(one) == len(other) and all(map(_same_constant, one, other))
    if isinstance(one, (float, complex)):
        return repr(one) == repr(other)  # 0.0 equals -0.0, and nan nothing
    return bool(one == other)


# ---------------------------------------------------------------------------------------------- compiling


def _compile_in_place(func: FunctionType, node: Function, imported: set[str]) -> CodeType | None:
    """Compile the definition `node` as if it stood where `func` was defined; None if that place is not known.

    The place matters: names that `func` closes over must be a surrounding function's, in a class names like ``__x``
    are changed to ``_Class__x``, and the functions within `func` have names that begin with those around it.
    Since Python 3.11 ``np.sum()`` compiles to other code where the module has imported np; `imported` has such names.
    """
    surroundings = ast.parse(f"import {', '.join(sorted(imported))}" if imported else "")
    place: Any = surroundings
    *around, _ = func.__qualname__.split(".")
    for name, inside in zip(around, [*around[1:], ""]):
        if name == "<locals>":
            continue
        if not name.isidentifier():
            return None
        if inside == "<locals>":
            closed_over = [free for free in func.__code__.co_freevars if free != "__class__"]
            header = f"def {name}({', '.join(closed_over)}): pass"
        else:
            header = f"class {name}: pass"
        place.body.extend(ast.parse(header).body)
        place = place.body[-1]
    place.body.append(node)
    flags = func.__code__.co_flags & _future_flags()
    code = compile(surroundings, func.__code__.co_filename, "exec", flags=flags, dont_inherit=True)
    return _find_code(code, func.__code__.co_name)


def _future_flags() -> int:
    import __future__

    flags = 0
    for name in __future__.all_feature_names:
        flags |= getattr(__future__, name).compiler_flag
    return flags


def _find_code(code: CodeType, name: str) -> CodeType | None:
    waiting = [code]
    for outer in waiting:  # breadth first: a nested function may have the same name
        for constant in outer.co_consts:
            if isinstance(constant, CodeType):
                if constant.co_name == name and constant.co_flags & _IS_FUNCTION:
                    return constant
                waiting.append(constant)
    return None


# ---------------------------------------------------------------------------------------------- rewriting


def _insert_hook(node: Function, lines: list[str]) -> None:
    """Rewrite the body of `node` in place, so that it binds through the hook and shows it its locals at the end."""
    statements = statements_in(node.body)
    elsewhere = {name for inner in statements if isinstance(inner, (ast.Global, ast.Nonlocal)) for name in inner.names}
    has_walrus = any(":=" in line for line in lines[node.lineno - 1 : node.end_lineno])
    rewriter = _Rewriter(elsewhere, has_walrus)
    place = _place(node.body[0])
    body: list[ast.stmt] = []
    for statement in node.body:
        rewritten = rewriter.visit(statement)
        body.extend(rewritten if isinstance(rewritten, list) else [rewritten])
    show_locals = ast.Expr(_call_hook("leave", [_call_hook("locals", [], place)], place), **place)
    node.body = [ast.Try(body=body, handlers=[], orelse=[], finalbody=[show_locals], **place)]


def _place(node: Any) -> dict[str, Any]:
    """Return the position of `node`: what is put in gets it too, so that tracebacks show the user's lines."""
    return {
        "lineno": node.lineno,
        "col_offset": node.col_offset,
        "end_lineno": node.end_lineno,
        "end_col_offset": node.end_col_offset,
    }


def _call_hook(method: str, args: list[ast.expr], place: dict[str, Any]) -> ast.Call:
    hook = ast.Constant(_PLACEHOLDER, **place)
    return ast.Call(ast.Attribute(hook, method, ast.Load(), **place), args, [], **place)


def _bound(name: str, value: ast.expr | None, line: int, place: dict[str, Any]) -> ast.Call:
    """Return ``HOOK.bind("name", value, line)``; the value is the name's own if None is given."""
    if value is None:
        value = ast.Name(name, ast.Load(), **place)
    return _call_hook("bind", [ast.Constant(name, **place), value, ast.Constant(line, **place)], place)


class _Rewriter(ast.NodeTransformer):
    """Adds the hook after each binding of one function's own scope.

    Parameters
    ----------
    elsewhere : set of str
        Names that the function declares global or nonlocal: assigning them is no business of the config.
    has_walrus : bool
        Whether expressions may bind names too, and are to be searched.
    """

    def __init__(self, elsewhere: set[str], has_walrus: bool) -> None:
        self.elsewhere = elsewhere
        self.has_walrus = has_walrus

    def _rebind(self, names: list[str], node: Any) -> list[ast.stmt]:
        """Return ``name = HOOK.bind("name", name, line)`` for each of `names`."""
        place = _place(node)
        return [
            ast.Assign([ast.Name(name, ast.Store(), **place)], _bound(name, None, node.lineno, place), **place)
            for name in names
            if name not in self.elsewhere
        ]

    def _after(self, node: Any, names: list[str]) -> list[ast.stmt]:
        if self.has_walrus:
            self.generic_visit(node)
        return [node, *self._rebind(names, node)]

    def _at_head(self, node: Any, names: list[str], place: Any) -> Any:
        self.generic_visit(node)
        node.body[:0] = self._rebind(names, place)
        return node

    def visit_Assign(self, node: ast.Assign) -> list[ast.stmt]:
        return self._after(node, names_in(*node.targets))

    def visit_AugAssign(self, node: ast.AugAssign) -> list[ast.stmt]:
        return self._after(node, names_in(node.target))

    def visit_AnnAssign(self, node: ast.AnnAssign) -> list[ast.stmt]:
        return self._after(node, names_in(node.target) if node.value is not None else [])

    def visit_Import(self, node: ast.Import | ast.ImportFrom) -> list[ast.stmt]:
        return self._after(node, names_imported(node))

    visit_ImportFrom = visit_Import

    def visit_For(self, node: ast.For) -> ast.stmt:
        return self._at_head(node, names_in(node.target), node)

    def visit_With(self, node: ast.With) -> ast.stmt:
        targets = [item.optional_vars for item in node.items if item.optional_vars is not None]
        return self._at_head(node, names_in(*targets), node)

    def visit_match_case(self, node: ast.match_case) -> ast.match_case:
        names = _names_in_pattern(node.pattern)
        if node.guard is None:
            return self._at_head(node, names, node.pattern)
        # The guard reads the names already: bind them in front of it, within the one expression that it may be.
        self.generic_visit(node)
        place = _place(node.guard)
        binds: list[ast.expr] = [
            ast.NamedExpr(ast.Name(name, ast.Store(), **place), _bound(name, None, place["lineno"], place), **place)
            for name in names
            if name not in self.elsewhere
        ]
        in_order = ast.Tuple([*binds, node.guard], ast.Load(), **place)
        node.guard = ast.Subscript(in_order, ast.Constant(len(binds), **place), ast.Load(), **place)
        return node

    def visit_NamedExpr(self, node: ast.NamedExpr) -> ast.NamedExpr:
        self.generic_visit(node)
        name = node.target.id
        if name not in self.elsewhere:
            node.value = _bound(name, node.value, node.lineno, _place(node.value))
        return node

    def visit_FunctionDef(self, node: Any) -> list[ast.stmt]:
        return [node, *self._rebind([node.name], node)]  # its body is a scope of its own

    visit_AsyncFunctionDef = visit_FunctionDef
    visit_ClassDef = visit_FunctionDef

    def visit_Lambda(self, node: ast.Lambda) -> ast.Lambda:
        return node


def _names_in_pattern(pattern: ast.AST) -> list[str]:
    names: list[str] = []
    for node in ast.walk(pattern):
        if isinstance(node, (ast.MatchAs, ast.MatchStar)) and node.name is not None:
            names.append(node.name)
        elif isinstance(node, ast.MatchMapping) and node.rest is not None:
            names.append(node.rest)
    return names
