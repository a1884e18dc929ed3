"""The parameters of a function, read without importing `inspect` where Python's own functions are concerned."""

from __future__ import annotations

from types import FunctionType, MethodType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from typing import Any

CO_VARARGS, CO_VARKEYWORDS = 0x04, 0x08  # as in `inspect`, whose import costs more than all captured functions

MISSING: Any = type("MISSING", (), {"__repr__": lambda self: "<missing>"})()
"""Stands for "no value", since None is one."""


class Signature:
    """Names, kinds and defaults of a function's parameters.

    Attributes
    ----------
    positional : tuple of str
        Parameters that a positional argument can fill, in order; the first `positional_only` of them by no other.
    positional_only : int
        How many of them cannot be given by name.
    keyword_only : tuple of str
        Parameters that only a name can fill.
    defaults : dict
        Default value of each parameter that has one.
    bound : frozenset of str
        Parameters that a `functools.partial` has already filled by name.
    var_positional, var_keyword : bool
        Whether the function takes ``*args`` and ``**kwargs``.
    annotations : dict
        As written: a class, or a string where annotations are postponed.
    """

    __slots__ = (
        "annotations", "bound", "defaults", "keyword_only", "positional", "positional_only",
        "var_keyword", "var_positional",
    )  # fmt: skip

    def __init__(
        self,
        positional: tuple[str, ...],
        positional_only: int,
        keyword_only: tuple[str, ...],
        defaults: dict[str, Any],
        var_positional: bool,
        var_keyword: bool,
        annotations: dict[str, Any],
        bound: frozenset[str] = frozenset(),
    ) -> None:
        self.positional = positional
        self.positional_only = positional_only
        self.keyword_only = keyword_only
        self.defaults = defaults
        self.var_positional = var_positional
        self.var_keyword = var_keyword
        self.annotations = annotations
        self.bound = bound

    @property
    def arguments(self) -> tuple[str, ...]:
        """All named parameters, in order."""
        return self.positional + self.keyword_only

    @property
    def by_name(self) -> tuple[str, ...]:
        """The parameters that can be given by name, in order."""
        return self.positional[self.positional_only :] + self.keyword_only

    def unexpected(self, kwargs: Collection[str]) -> list[str]:
        """Return the names in `kwargs` that no parameter takes."""
        return [] if self.var_keyword else [name for name in kwargs if name not in self.by_name]

    def surplus(self, args: Sequence[Any]) -> int:
        """Return how many positional arguments are too many."""
        return 0 if self.var_positional else max(0, len(args) - len(self.positional))

    def duplicates(self, args: Sequence[Any], kwargs: Collection[str]) -> list[str]:
        """Return the parameters that are given by position and by name."""
        return [name for name in self.positional[self.positional_only : len(args)] if name in kwargs]

    def missing(self, args: Sequence[Any], kwargs: Collection[str], injected: Collection[str]) -> list[str]:
        """Return the parameters that would have no value."""
        given = {*self.positional[: len(args)], *(n for n in kwargs if n in self.by_name), *injected}
        return [name for name in self.arguments if name not in given and name not in self.defaults]

    def construct_arguments(
        self,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        options: Mapping[str, Any],
        bound: bool = False,
    ) -> tuple[Sequence[Any], dict[str, Any]]:
        """Return what a call passes if parameters that are not given are filled from `options`.

        Parameters
        ----------
        args, kwargs
            What is given.
        options : mapping
            Values by name; those that no parameter takes are left out.
        bound : bool
            Whether the first parameter is already filled, as that of a method is.

        Raises
        ------
        SignatureError
            If too much is given, or something twice.
        MissingConfigError
            If a parameter without a default has no value; `missing_configs` names it.
        """
        from capture.errors import MissingConfigError, SignatureError

        given = (None, *args) if bound else tuple(args)
        wrong = [*self.duplicates(given, kwargs), *self.unexpected(kwargs)]
        surplus = self.surplus(given)
        if wrong or surplus:
            what = ", ".join([*wrong, *map(repr, args[-surplus:] if surplus else ())])
            raise SignatureError(
                f"unexpected argument(s), or some that are given twice: {what}"
                f"\n  parameters:  {', '.join(self.arguments)}"
            )
        filled = [name for name in self.by_name if name in options and name not in kwargs]
        kwargs = {**kwargs, **{name: options[name] for name in filled if name not in self.positional[: len(given)]}}
        missing = self.missing(given, kwargs, ())
        if missing:
            raise MissingConfigError(f"missing value(s): {', '.join(missing)}", missing_configs=missing)
        return args, dict(kwargs)


def signature_of(function: Callable[..., Any]) -> Signature:
    """Read the signature of a function, method, partial, or any other callable.

    Raises
    ------
    TypeError
        If `function` cannot be called.
    ValueError
        If it is a builtin that does not tell its parameters.
    """
    if isinstance(function, MethodType) and is_plain(function.__func__):
        return _without_first(_of_code(function.__func__))
    if is_plain(function):
        return _of_code(function)
    return _of_inspect(function)


def is_plain(function: Any) -> bool:
    """Say whether `function` is a Python function that no decorator gives another signature."""
    return type(function) is FunctionType and not (
        hasattr(function, "__wrapped__") or hasattr(function, "__signature__")
    )


def _of_code(function: Any) -> Signature:
    code = function.__code__
    positional = code.co_varnames[: code.co_argcount]
    keyword_only = code.co_varnames[code.co_argcount : code.co_argcount + code.co_kwonlyargcount]
    values = function.__defaults__ or ()
    defaults = dict(zip(positional[len(positional) - len(values) :], values))
    defaults.update(function.__kwdefaults__ or {})
    return Signature(
        positional,
        code.co_posonlyargcount,
        keyword_only,
        defaults,
        bool(code.co_flags & CO_VARARGS),
        bool(code.co_flags & CO_VARKEYWORDS),
        annotations_of(function),
    )


def annotations_of(function: Any) -> dict[str, Any]:
    """Return a function's annotations, or {} where evaluating them fails (names that exist for type checkers only)."""
    try:
        return dict(function.__annotations__)
    except NameError:  # from Python 3.14 annotations are evaluated when first asked for
        return {}


def _without_first(signature: Signature) -> Signature:
    first = signature.positional[:1]
    return Signature(
        signature.positional[1:],
        max(0, signature.positional_only - 1),
        signature.keyword_only,
        {name: value for name, value in signature.defaults.items() if name not in first},
        signature.var_positional,
        signature.var_keyword,
        signature.annotations,
    )


def _of_inspect(function: Callable[..., Any]) -> Signature:
    import inspect

    parameters = inspect.signature(function).parameters.values()
    kinds = inspect.Parameter
    positional = [p for p in parameters if p.kind in (kinds.POSITIONAL_ONLY, kinds.POSITIONAL_OR_KEYWORD)]
    return Signature(
        tuple(p.name for p in positional),
        sum(p.kind is kinds.POSITIONAL_ONLY for p in positional),
        tuple(p.name for p in parameters if p.kind is kinds.KEYWORD_ONLY),
        {p.name: p.default for p in parameters if p.default is not kinds.empty},
        any(p.kind is kinds.VAR_POSITIONAL for p in parameters),
        any(p.kind is kinds.VAR_KEYWORD for p in parameters),
        {p.name: p.annotation for p in parameters if p.annotation is not kinds.empty},
        frozenset(_bound_by_partials(function)),
    )


def _bound_by_partials(function: Any) -> set[str]:
    import functools

    names: set[str] = set()
    while isinstance(function, functools.partial):
        names.update(function.keywords)
        function = function.func
    return names
