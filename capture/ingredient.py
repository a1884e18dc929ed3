"""Ingredients: reusable parts of an experiment with configuration, commands and captured functions of their own.

Decorators only note down what they are given. Work starts when a run is made.
"""

from __future__ import annotations

import os
import sys

from capture.errors import CircularDependencyError
from capture.inject import capture_class, capture_function, captured_in

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any, TypeVar, overload

    from capture.config.values import KeyRules

    # A captured function may be called without the arguments that the configuration fills, so its type says "...".
    R = TypeVar("R")
    T = TypeVar("T")
    Decorator = Callable[[Callable[..., R]], Callable[..., R]]

_VARARGS = 0x04  # of `code.co_flags`, as `inspect.CO_VARARGS`


class Ingredient:
    """A part of an experiment that can be used in several.

    Parameters
    ----------
    path : str
        Name under which its entries appear in the configuration; dots nest.
    ingredients : sequence of Ingredient
        Its own parts.
    interactive : bool
        Say that it is defined where there is no file; detected by itself, kept for Sacred's users.
    base_dir : str, optional
        Files below it count as sources. Default: the folder of the file that calls this constructor.
    save_git_info : bool
        Whether the repository of its sources is looked up.

    Notes
    -----
    The file that calls the constructor is the one that makes an object of the most derived class, in whatever modules
    its base classes lie. A function that makes objects for others passes its caller's globals as ``_caller_globals``.
    """

    def __init__(
        self,
        path: str,
        ingredients: Sequence[Ingredient] = (),
        interactive: bool = False,
        _caller_globals: dict[str, Any] | None = None,
        base_dir: str | os.PathLike[str] | None = None,
        save_git_info: bool = True,
    ) -> None:
        self.path = path
        self.ingredients = list(ingredients)
        self.save_git_info = save_git_info
        self.caller_globals = globals_of_maker(self) if _caller_globals is None else _caller_globals
        self.doc: str | None = self.caller_globals.get("__doc__") or ""
        file = self.caller_globals.get("__file__")
        self.interactive = interactive or not file
        self.mainfile = os.path.abspath(file) if file else None
        if base_dir is not None:
            self.base_dir = os.path.abspath(os.fspath(base_dir))
        else:
            self.base_dir = os.path.dirname(self.mainfile) if self.mainfile else os.getcwd()
        self.configurations: list[Any] = []
        self.named_configs: dict[str, Any] = {}
        self.config_hooks: list[Any] = []
        self.commands: dict[str, Any] = {}
        self.captured_functions: list[Any] = []
        self.pre_run_hooks: list[Any] = []
        self.post_run_hooks: list[Any] = []
        self.added_sources: list[str] = []
        self.added_dependencies: list[tuple[str, str]] = []

    # ------------------------------------------------------------------------------------------------------ decorators

    if TYPE_CHECKING:

        @overload
        def capture(self, function: Callable[..., R], prefix: str | None = None) -> Callable[..., R]: ...

        @overload
        def capture(self, function: None = None, prefix: str | None = None) -> Decorator[R]: ...

    def capture(self, function: Any = None, prefix: str | None = None) -> Any:
        """Fill the arguments of a function, or of a class's constructor, from the configuration.

        Parameters
        ----------
        prefix : str, optional
            Dotted path; the function sees only the entries below it.
        """
        if function is None:
            return lambda decorated: self.capture(decorated, prefix=prefix)
        captured = capture_function(function, prefix=prefix, owner=self)
        self._note(captured)
        return captured

    def capture_class(self, cls: Any = None, prefix: str | None = None) -> Any:
        """Fill the arguments of a class's constructor and of every method that has some to fill."""
        if cls is None:
            return lambda decorated: self.capture_class(decorated, prefix=prefix)
        capture_class(cls, prefix=prefix, owner=self)
        self._note(cls)
        return cls

    def _note(self, captured: Any) -> None:
        for function in captured_in(captured):
            if function not in self.captured_functions:
                self._replace_or_append(self.captured_functions, function)

    def _replace_or_append(self, found: list[Any], new: Any) -> None:
        """In a notebook a cell that is run again defines its functions again: the new one takes the old one's place."""
        if self.interactive:
            name = _qualified_name(new)
            for index, old in enumerate(found):
                if name is not None and _qualified_name(old) == name:
                    found[index] = new
                    return
        found.append(new)

    if TYPE_CHECKING:

        @overload
        def command(
            self, function: Callable[..., R], prefix: str | None = None, unobserved: bool = False
        ) -> Callable[..., R]: ...

        @overload
        def command(
            self, function: None = None, prefix: str | None = None, unobserved: bool = False
        ) -> Decorator[R]: ...

    def command(self, function: Any = None, prefix: str | None = None, unobserved: bool = False) -> Any:
        """Make a function runnable by its name, from the command line and `run`.

        Parameters
        ----------
        prefix : str, optional
            As for `capture`.
        unobserved : bool
            Whether runs with it are not recorded.
        """
        if function is None:
            return lambda decorated: self.command(decorated, prefix=prefix, unobserved=unobserved)
        captured: Any = self.capture(function, prefix=prefix)
        captured.unobserved = unobserved
        self.commands[function.__name__] = captured
        return captured

    if TYPE_CHECKING:

        @overload
        def pre_run_hook(self, function: Callable[..., R], prefix: str | None = None) -> Callable[..., R]: ...

        @overload
        def pre_run_hook(self, function: None = None, prefix: str | None = None) -> Decorator[R]: ...

    def pre_run_hook(self, function: Any = None, prefix: str | None = None) -> Any:
        """Call a captured function before the main function of each run."""
        return self._hook(self.pre_run_hooks, function, prefix)

    if TYPE_CHECKING:

        @overload
        def post_run_hook(self, function: Callable[..., R], prefix: str | None = None) -> Callable[..., R]: ...

        @overload
        def post_run_hook(self, function: None = None, prefix: str | None = None) -> Decorator[R]: ...

    def post_run_hook(self, function: Any = None, prefix: str | None = None) -> Any:
        """Call a captured function after the main function of each run, if that did not fail."""
        return self._hook(self.post_run_hooks, function, prefix)

    def _hook(self, hooks: list[Any], function: Any, prefix: str | None) -> Any:
        if function is None:
            return lambda decorated: self._hook(hooks, decorated, prefix)
        captured = self.capture(function, prefix=prefix)
        self._replace_or_append(hooks, captured)
        return captured

    def config(self, source: T) -> T:
        """Make a function, a dataclass, a pydantic model or an attrs class a source of configuration.

        A function's local variables become entries. Of a class, the fields do, with their types enforced.
        """
        made = _source_from(source)
        self._replace_or_append(self.configurations, made)
        return made if not isinstance(source, type) else source

    def named_config(self, source: T) -> T:
        """Make a function or class a named config: entries that apply when the run names them."""
        name = source.__name__  # type: ignore[attr-defined]
        made = _source_from(source)
        self._add_named(name, made)
        return made if not isinstance(source, type) else source

    def config_hook(self, function: T) -> T:
        """Let a function ``(config, command_name, logger)`` add entries once the scopes have run.

        It gets a copy of the whole configuration so far and returns a dict, or None. Updates win over what it returns.

        Raises
        ------
        ValueError
            If its parameters are not these three.
        """
        code = function.__code__  # type: ignore[attr-defined]
        names = code.co_varnames[: code.co_argcount]
        if names != ("config", "command_name", "logger"):
            raise ValueError(
                f"a config hook takes exactly (config, command_name, logger); {function.__name__}() takes {names}"  # type: ignore[attr-defined]
            )
        self._replace_or_append(self.config_hooks, function)
        return function

    # ----------------------------------------------------------------------------------------- configuration and files

    def add_config(self, cfg_or_file: Any = None, **entries: Any) -> None:
        """Add entries: a dict, a config file (JSON, YAML, TOML), a typed config, or keyword arguments.

        Raises
        ------
        ValueError
            If both a dict or file and keyword arguments are given, or neither.
        OSError
            If there is no such file.
        TypeError
            For anything else.
        """
        self.configurations.append(_config_from(cfg_or_file, entries))

    def add_named_config(self, name: str, cfg_or_file: Any = None, **entries: Any) -> None:
        """Add a named config made of a dict, a config file, a typed config, or keyword arguments.

        Raises
        ------
        KeyError
            If the name is taken.
        """
        self._add_named(name, _config_from(cfg_or_file, entries))

    def _add_named(self, name: str, source: Any) -> None:
        if name in self.named_configs and not self.interactive:
            raise KeyError(f'Configuration name "{name}" already in use!')
        self.named_configs[name] = source

    def add_source_file(self, filename: str | os.PathLike[str]) -> None:
        """Count a file among the sources, wherever it lies.

        Raises
        ------
        ValueError
            If there is no such file.
        """
        path = os.path.abspath(os.fspath(filename))
        if not os.path.isfile(path):
            raise ValueError(f"there is no file {path!r} to record as a source")
        self.added_sources.append(path)

    def add_package_dependency(self, package_name: str, version: str) -> None:
        """Record a package that the discovery cannot see.

        Raises
        ------
        ValueError
            If `version` is not a version as PEP 440 defines it.
        """
        import re

        pattern = r"(\d+!)?\d+(\.\d+)*((a|b|rc)\d+)?(\.post\d+)?(\.dev\d+)?(\+[a-z0-9]+([._-][a-z0-9]+)*)?"
        if not re.fullmatch(pattern, str(version), re.IGNORECASE):
            raise ValueError(f"{version!r} is not a version (PEP 440) of {package_name!r}")
        self.added_dependencies.append((package_name, str(version)))

    # -------------------------------------------------------------------------------------------------------- traversal

    def traverse_ingredients(self) -> Iterator[tuple[Ingredient, int]]:
        """Yield this ingredient and all below it, each with its depth, parents first.

        Raises
        ------
        CircularDependencyError
            If an ingredient contains itself.
        """
        return self._traverse(0, ())

    def _traverse(self, depth: int, above: tuple[Ingredient, ...]) -> Iterator[tuple[Ingredient, int]]:
        if self in above:
            raise CircularDependencyError([part.path for part in (*above, self)])
        yield self, depth
        for part in self.ingredients:
            yield from part._traverse(depth + 1, (*above, self))

    def all_parts(self) -> list[Ingredient]:
        """Return this ingredient and all below it, each once, parents first."""
        return list(dict.fromkeys(part for part, _ in self.traverse_ingredients()))

    def post_process_name(self, name: str, ingredient: Ingredient) -> str:
        """Return the name under which a command or named config of `ingredient` is offered; may be overridden."""
        return name

    def gather_commands(self) -> Iterator[tuple[str, Any]]:
        """Yield ``(name, captured function)`` of all commands, those of ingredients as ``path.name``."""
        return self._gather("commands")

    def gather_named_configs(self) -> Iterator[tuple[str, Any]]:
        """Yield ``(name, source)`` of all named configs, those of ingredients as ``path.name``."""
        return self._gather("named_configs")

    def _gather(self, what: str) -> Iterator[tuple[str, Any]]:
        for part in self.all_parts():
            for name, item in getattr(part, what).items():
                full = f"{part.path}.{name}" if part.path else name
                yield self.post_process_name(full, part), item

    @property
    def sources(self) -> list[tuple[str, str]]:
        """Source files as ``(path relative to base_dir, MD5)``."""
        from capture.facts import Facts

        return Facts([self], None).sources_of(self)

    @property
    def dependencies(self) -> list[str]:
        """Packages in use as ``"name==version"``."""
        from capture.facts import Facts

        return Facts([self], None).dependencies

    def get_experiment_info(self) -> dict[str, Any]:
        """Return ``name, base_dir, sources, dependencies, repositories, mainfile``, ingredients included.

        A run asks for it before it starts; a subclass may add entries to what it gets from here.
        """
        from capture.facts import experiment_info

        return experiment_info(self)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.path!r}>"


def globals_of_maker(made: Any) -> dict[str, Any]:
    """Return the globals of the code that makes `made`, an object whose constructor is at work.

    A framework's subclasses lie in modules of its own: what counts is the script that makes an object of them. Passed
    over are therefore the frames of methods of the object and of its class: constructors, decorated ones too, class
    methods, metaclasses; and a function of the framework's that goes by the name of the class and stands for it.
    """
    frame = sys._getframe(1)
    while frame.f_back is not None and (_is_method_of(frame, made) or _stands_for_class_of(frame, made)):
        frame = frame.f_back
    return frame.f_globals


def _stands_for_class_of(frame: Any, made: Any) -> bool:
    """Say whether a frame is of a function as seml has it: ``def Experiment(*args)``, which imports the class late."""
    cls = type(made)
    package = str(frame.f_globals.get("__name__", "")).partition(".")[0]
    return frame.f_code.co_name == cls.__name__ and package == cls.__module__.partition(".")[0]


def _is_method_of(frame: Any, made: Any) -> bool:
    code, first = frame.f_code, None
    if code.co_argcount:
        first = frame.f_locals.get(code.co_varnames[0])
    elif code.co_flags & _VARARGS:  # the wrapper that a decorator puts around a constructor
        first = next(iter(frame.f_locals.get(code.co_varnames[code.co_kwonlyargcount], ())), None)
    if first is type(made):
        method = getattr(first, code.co_name, None)
        return getattr(getattr(method, "__func__", method), "__code__", None) is code
    return first is made


def _qualified_name(thing: Any) -> tuple[str, str] | None:
    function = getattr(thing, "func", getattr(thing, "__wrapped__", thing))
    name = getattr(function, "__qualname__", None)
    return (getattr(function, "__module__", ""), name) if name else None


def _source_from(source: Any) -> Any:
    if isinstance(source, type):
        from capture.config.typed import TypedSource

        return TypedSource(source)
    from capture.config.scope import ConfigScope

    return ConfigScope(source)


def _config_from(cfg_or_file: Any, entries: dict[str, Any]) -> Any:
    from capture.config.dicts import ConfigDict
    from capture.config.origin import Origin

    if cfg_or_file is not None and entries:
        raise ValueError("give a dict or a file, or keyword arguments, not both")
    if cfg_or_file is None:
        if not entries:
            raise ValueError("there is nothing to add: give a dict, a file name, or keyword arguments")
        return _entries_source(entries)
    if isinstance(cfg_or_file, dict):
        return ConfigDict(cfg_or_file, rules=key_rules())
    if isinstance(cfg_or_file, (str, os.PathLike)):
        path = os.fspath(cfg_or_file)
        if not os.path.isfile(path):
            raise OSError(f"there is no config file {path!r} (looked in {os.getcwd()!r})")
        from capture.config.files import load_config_file

        return ConfigDict(load_config_file(path), Origin("config file", path, os.path.abspath(path)), key_rules())
    from capture.config.typed import TypedSource, is_typed

    if is_typed(cfg_or_file):
        return TypedSource(cfg_or_file)
    raise TypeError(
        f"a configuration is a dict, the name of a file, or a dataclass, pydantic or attrs class; got {cfg_or_file!r}"
    )


def _entries_source(entries: dict[str, Any]) -> Any:
    from capture.config.dicts import ConfigDict
    from capture.config.typed import TypedEntries, is_typed

    kind = TypedEntries if any(is_typed(value) for value in entries.values()) else ConfigDict
    return kind(entries, rules=key_rules())


def key_rules() -> KeyRules:
    """Return which keys a config may have, as the settings say now."""
    from capture.config.values import KeyRules
    from capture.settings import SETTINGS

    settings = SETTINGS.CONFIG
    return KeyRules(
        mongo_compatible=settings.ENFORCE_KEYS_MONGO_COMPATIBLE,
        jsonpickle_compatible=settings.ENFORCE_KEYS_JSONPICKLE_COMPATIBLE,
        no_equals=settings.ENFORCE_KEYS_NO_EQUALS,
        identifiers=settings.ENFORCE_VALID_PYTHON_IDENTIFIER_KEYS,
        strings=settings.ENFORCE_STRING_KEYS,
    )
