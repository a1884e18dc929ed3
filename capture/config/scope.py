"""Config scopes: functions whose local variables are config entries.

A scope stays a real function. It is recompiled from its source so that each name it binds passes through the updates
(`capture.config.rewrite`), or, without source, watched while it runs (`capture.config.bytecode`); either way an entry
that an update sets has the update's value from its first assignment on. That work is done when the scope is first
evaluated, so that defining one costs nothing.
"""

from __future__ import annotations

import sys
import threading

from capture.config.origin import Origin
from capture.config.overrides import Overrides, fill_in, settle
from capture.config.readonly import freeze
from capture.config.summary import ConfigSummary
from capture.config.values import DEFAULT_RULES, KeyRules, clone, normalize
from capture.errors import ConfigError, ConfigScopeError, ConfigScopeSyntaxError, ScopeParameterError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any

    from capture.config.rewritten import Rewritten

_FunctionType = type(lambda: None)
_ModuleType = type(sys)

# Of `inspect`, whose import costs more than a small run's whole configuration.
_VARARGS, _VARKEYWORDS, _GENERATOR, _COROUTINE, _ASYNC_GENERATOR = 0x04, 0x08, 0x20, 0x80, 0x200

_NO_DEFAULT = object()


class ConfigScope:
    """A config source made of a function.

    Its local variables are the entries, or the items of the dict that it returns (``return locals()`` silences
    linters). Its parameters are entries of earlier sources, or of ingredients; one with a default declares an entry.
    Modules, and names that begin with an underscore, are no entries; functions and classes are.

    Parameters
    ----------
    func : callable
        A function; decorators around it that use `functools.wraps` are looked through.
    rules : KeyRules
        Which dict keys are accepted in its values.
    ignored_comments : iterable of str, optional
        Regular expressions of comments that describe no entry.

    Attributes
    ----------
    origin : Origin
    docs : dict of str to str
        What its comments say about each entry; its docstring is ``__doc__``.
    parameters : tuple of str
    cache_dir : str or None
        The user's own folder, in which the recompiled function may be kept for the next time.
    conform : callable
        Only if it has typed parameters with defaults: converts updates to their types.

    Raises
    ------
    ConfigScopeError
        If `func` takes ``*args`` or ``**kwargs``, or is no function. A TypeError too.
    ConfigScopeSyntaxError
        If `func` is a generator or a coroutine. A SyntaxError too.

    Examples
    --------
    >>> @ConfigScope
    ... def defaults():
    ...     lr = 0.1
    ...     decay = lr / 10
    >>> defaults({"lr": 1.0})
    {'lr': 1.0, 'decay': 0.1}
    """

    def __init__(
        self,
        func: Callable[..., Any],
        rules: KeyRules = DEFAULT_RULES,
        ignored_comments: Iterable[str] | None = None,
    ) -> None:
        function: Any = _innermost(func)
        name = getattr(function, "__name__", type(function).__name__)
        code = getattr(function, "__code__", None) if isinstance(function, _FunctionType) else None
        self.origin = Origin(
            "config scope", name, getattr(code, "co_filename", None), getattr(code, "co_firstlineno", None)
        )
        _refuse_unsuitable(function, code, self.origin)
        self.rules = rules
        self.ignored_comments = None if ignored_comments is None else tuple(ignored_comments)
        self.cache_dir: str | None = None
        self._signature = _Signature(function)
        if self._signature.defaults and _is_annotated(function):
            self.conform = self._conform
        self._rewritten: Rewritten | None = None
        self._engine: str | None = None if code is not None else "call"
        self.__wrapped__ = function
        self.__name__ = name
        self.__qualname__ = getattr(function, "__qualname__", name)
        self.__module__ = getattr(function, "__module__", None) or "__main__"
        self.__doc__ = function.__doc__

    @property
    def parameters(self) -> tuple[str, ...]:
        return self._signature.names

    @property
    def docs(self) -> dict[str, str]:
        self._prepare()
        if self._rewritten is not None:
            return self._rewritten.docs
        return {"__doc__": self.__doc__.strip()} if self.__doc__ else {}

    @property
    def engine(self) -> str:
        """How the function is evaluated: by its "source", its "bytecode", or a plain "call" (compiled code)."""
        self._prepare()
        assert self._engine is not None
        return self._engine

    def _prepare(self) -> None:
        if self._engine is not None:
            return
        from capture.config.rewritten import rewritten

        self._rewritten = rewritten(self.__wrapped__, _HOOK, self.ignored_comments, self.cache_dir)
        self._engine = "bytecode" if self._rewritten is None else "source"

    def __call__(
        self,
        fixed: Mapping[str, Any] | None = None,
        preset: Mapping[str, Any] | None = None,
        fallback: Mapping[str, Any] | None = None,
    ) -> ConfigSummary:
        """Evaluate the scope.

        Parameters
        ----------
        fixed : mapping, optional
            Updates, nested: they win over what the scope assigns, and dicts are merged.
        preset : mapping, optional
            Entries of earlier sources. Those that the scope has no own value for end in the result; those that it
            names as parameters it gets copies of.
        fallback : mapping, optional
            Entries of others, to be named as parameters: read-only, and no part of the result.

        Returns
        -------
        ConfigSummary

        Raises
        ------
        ScopeParameterError
            If a parameter is in none of the three and has no default. A KeyError too.
        ConfigScopeError
            If the function returns something else than a dict or None.
        InvalidConfigKey, ConfigTypeError
            If a value cannot be stored.
        """
        fixed = dict(fixed or {})
        if hasattr(self, "conform"):
            fixed = self.conform(fixed)
        evaluation = _Evaluation(self, fixed, preset or {}, fallback or {})
        try:
            returned = self._run(evaluation)
            return evaluation.summary(returned)
        except ConfigError as error:
            if error.config is None:
                error.config = evaluation.so_far()
            raise

    def _run(self, evaluation: _Evaluation) -> Any:
        self._prepare()
        args, kwargs = self._signature.sort(evaluation.arguments())
        if self._rewritten is not None:
            with _HOOK.showing(evaluation):
                return self._rewritten.function(*args, **kwargs)
        if self._engine == "call":
            return self.__wrapped__(*args, **kwargs)
        from capture.config.bytecode import run_watched

        overridden = {*evaluation.fixed, *evaluation.fallbacks}
        return run_watched(self.__wrapped__, args, kwargs, evaluation.bind, evaluation.leave, overridden)

    def _conform(self, config: dict[str, Any], path: str = "", complete: bool = False) -> dict[str, Any]:
        """Return `config` with the scope's typed parameters converted, as in ``def defaults(lr: float = 0.1)``."""
        from capture.config.typed import conform_parameters

        return conform_parameters(self.__wrapped__, config, path)

    def __reduce__(self) -> Any:
        # As a decorator, the scope has taken the function's name; pickle finds it there.
        owner: Any = sys.modules.get(self.__module__)
        for part in self.__qualname__.split("."):
            owner = getattr(owner, part, None)
        if owner is self:
            return self.__qualname__
        return ConfigScope, (self.__wrapped__, self.rules, self.ignored_comments)

    def __repr__(self) -> str:
        return f"<{self.origin}>"


def _innermost(func: Any) -> Any:
    """Look through decorators that say what they wrap, as `functools.wraps` does, and other scopes."""
    seen: set[int] = set()
    while hasattr(func, "__wrapped__") and id(func) not in seen:
        seen.add(id(func))
        func = func.__wrapped__
    return func


def _is_annotated(function: Any) -> bool:
    if sys.version_info >= (3, 14):  # reading the annotations would evaluate them, which may fail so early
        return getattr(function, "__annotate__", None) is not None
    return bool(getattr(function, "__annotations__", None))


def _refuse_unsuitable(func: Any, code: Any, scope: Origin) -> None:
    if not callable(func) or isinstance(func, type):
        raise ConfigScopeError(f"a config scope is a function, got {func!r}.\n  for a dict or a file: add_config(...)")
    if code is None:
        return
    if code.co_flags & (_GENERATOR | _COROUTINE | _ASYNC_GENERATOR):
        what = "awaits (async def)" if code.co_flags & _COROUTINE else "yields"
        raise ConfigScopeSyntaxError(
            f"the {scope} {what}, but a config scope runs from its start to its end in one go."
            "\n  what to do:  assign the entries, or return them as a dict"
        )
    if code.co_flags & (_VARARGS | _VARKEYWORDS):
        raise ConfigScopeError(
            f"the {scope} takes *args or **kwargs, but the parameters of a config scope name earlier entries."
            "\n  what to do:  name each entry that it reads; in a decorator's wrapper, use functools.wraps"
        )


class _Signature:
    """The parameters of a scope's function, and how they are passed."""

    __slots__ = ("defaults", "names", "positional")

    names: tuple[str, ...]
    positional: int  #: how many are passed by position, since positional-only ones can be passed no other way
    defaults: dict[str, Any]

    def __init__(self, func: Any) -> None:
        if isinstance(func, _FunctionType):
            code = func.__code__
            self.positional = code.co_argcount
            self.names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
            values = func.__defaults__ or ()
            self.defaults = dict(zip(self.names[self.positional - len(values) : self.positional], values))
            self.defaults.update(func.__kwdefaults__ or {})
        else:
            self._inspect(func)

    def _inspect(self, func: Any) -> None:
        import inspect

        try:
            parameters = inspect.signature(func).parameters.values()
        except (TypeError, ValueError) as error:
            raise ConfigScopeError(f"{func!r} cannot be a config scope: its parameters are unknown") from error
        if any(p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in parameters):
            raise ConfigScopeError(f"{func!r} cannot be a config scope: it takes *args or **kwargs")
        self.names = tuple([p.name for p in parameters])
        self.positional = sum(p.kind is not p.KEYWORD_ONLY for p in parameters)
        self.defaults = {p.name: p.default for p in parameters if p.default is not p.empty}

    def sort(self, values: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        """Return what the function is called with, by position and by keyword."""
        by_position = [values[name] for name in self.names[: self.positional]]
        return by_position, {name: values[name] for name in self.names[self.positional :]}


class _Evaluation:
    """One evaluation of a scope: decides what each name is bound to, and makes the summary.

    Attributes
    ----------
    fallbacks : dict
        Parameters that are entries of others, with their values; assigning them changes nothing.
    """

    def __init__(
        self, scope: ConfigScope, fixed: Mapping[str, Any], preset: Mapping[str, Any], fallback: Mapping[str, Any]
    ) -> None:
        self.scope, self.fixed, self.preset, self.fallback = scope, fixed, preset, fallback
        self.overrides = Overrides(fixed)
        self.fallbacks: dict[str, Any] = {}
        self._from_preset: dict[str, Any] = {}
        self._ignored: set[str] = set()
        self._lines: dict[str, int] = {}
        self._order: dict[str, None] = dict.fromkeys(scope.parameters)
        self._locals: dict[str, Any] = {}

    # ------------------------------------------------------------------ before

    def arguments(self) -> dict[str, Any]:
        """Return the value of each parameter."""
        return {name: self._argument(name) for name in self.scope._signature.names}

    def _argument(self, name: str) -> Any:
        if name in self.preset:
            self._from_preset[name] = value = self._declared(name, clone(self.preset[name]))
            return value
        if name in self.fallback:
            value = self.fallback[name]
            if name in self.fixed:
                value = settle(value, self.fixed[name])
            self.fallbacks[name] = value = freeze(value)
            return value
        default = self.scope._signature.defaults.get(name, _NO_DEFAULT)
        if default is not _NO_DEFAULT:
            rewritten = self.scope._rewritten
            return self.bind(name, clone(default), rewritten.parameter_lines[name] if rewritten else None)
        if name in self.fixed:
            # An entry without a default: the scope declares it, and whoever starts the run gives it its value.
            self.overrides.declare(name)
            return self.overrides.undeclared(name, self.fixed[name])
        raise ScopeParameterError(name, f"the {self.scope.origin}", {*self.preset, *self.fallback})

    def _declared(self, name: str, value: Any) -> Any:
        return self.overrides.impose(name, value, self.fixed[name]) if name in self.fixed else value

    # ------------------------------------------------------------------ while it runs

    def bind(self, name: str, value: Any, line: int | None = None) -> Any:
        """Return what `name` is to be bound to, where the scope binds it to `value`."""
        if name in self.fallbacks:
            self._ignored.add(name)
            return self.fallbacks[name]
        if name[0] == "_" or isinstance(value, _ModuleType):
            return value
        self._order[name] = None
        if line is not None:
            self._lines[name] = line
        return self._declared(name, value)

    def leave(self, variables: dict[str, Any]) -> None:
        """Take the local variables of the function at its end."""
        # In the order of their first assignment; Python lists those first that no inner function reads.
        self._locals = {name: variables[name] for name in self._order if name in variables}
        self._locals.update(variables)

    # ------------------------------------------------------------------ after

    def _entries(self, variables: Mapping[Any, Any]) -> dict[Any, Any]:
        """Return those of `variables` that are config entries, as updates leave them."""
        closed_over = getattr(getattr(self.scope.__wrapped__, "__code__", None), "co_freevars", ())
        entries: dict[Any, Any] = {}
        for name, value in variables.items():
            if isinstance(value, _ModuleType) or name in self.fallbacks:
                continue
            if isinstance(name, str) and (name.startswith("_") or (variables is self._locals and name in closed_over)):
                continue
            entries[name] = settle(value, self.fixed[name]) if name in self.fixed else value
        return entries

    def so_far(self) -> dict[str, Any]:
        """Return the config as far as it is known when something went wrong."""
        return {**self.preset, **self.fixed, **self._entries(self._locals)}

    def summary(self, returned: Any) -> ConfigSummary:
        """Return the scope's config, given what its function returned."""
        variables = self._locals if returned is None else returned
        if not isinstance(variables, dict):
            raise ConfigScopeError(
                f"the {self.scope.origin} returns a {type(returned).__name__}, but a config scope returns a dict"
                " or nothing"
            )
        if returned is None and self.scope.engine == "call":
            raise ConfigScopeError(
                f"the variables of {self.scope.origin} cannot be seen, since it is not a Python function."
                "\n  what to do:  end it with `return locals()`, or return a dict"
            )
        if returned is not None:  # what a literal in it says passed through no binding
            variables = {name: self._declared(name, value) for name, value in returned.items()}
        entries = self._entries(variables)
        entries.update((name, clone(value)) for name, value in self.fixed.items() if name not in entries)
        self._add_presets(entries)
        values = normalize(entries, "", self.scope.rules)
        return ConfigSummary(
            added=self.overrides.added(),
            modified=self.overrides.modified,
            typechanged=self.overrides.typechanged,
            defaults=self.overrides.defaults,
            ignored_fallbacks=self._ignored,
            docs=self.scope.docs,
            lines={name: line for name, line in self._lines.items() if name in values},
            values=values,
        )

    def _add_presets(self, entries: dict[Any, Any]) -> None:
        # What the scope took as a parameter and changed in place is as it left it, deletions included.
        changed_in_place = {
            name for name, value in self._from_preset.items() if self._locals.get(name, _NO_DEFAULT) is value
        }
        fill_in(entries, {name: value for name, value in self.preset.items() if name not in changed_in_place})


class _Hook(threading.local):
    """What rewritten functions call: passes on to the evaluation that is under way in this thread.

    It is one object for all scopes, since it becomes a constant of their code.
    """

    locals = locals  # called from the scope's own frame, so it shows that frame's variables

    def __init__(self) -> None:
        self._under_way: list[_Evaluation] = []  # a scope may evaluate another

    def showing(self, evaluation: _Evaluation) -> _Hook:
        self._under_way.append(evaluation)
        return self

    def __enter__(self) -> None:
        pass

    def __exit__(self, *exception: object) -> None:
        self._under_way.pop()

    def bind(self, name: str, value: Any, line: int) -> Any:
        # A generator made in a scope may be used up after its end; by then there is nothing to override.
        return self._under_way[-1].bind(name, value, line) if self._under_way else value

    def leave(self, variables: dict[str, Any]) -> None:
        self._under_way[-1].leave(variables)


_HOOK = _Hook()
