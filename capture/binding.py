"""What a run binds a captured function to.

Three objects share the work. A `Target` says what was captured: the function, whose configuration it sees (its
`owner`) and under which prefix. A `Frame` is what one run offers: configuration, seeds, loggers. The binding of a
target in a frame is a callable, compiled when the function is first called in that run and then kept by the frame::

    train()  ->  run of this context  ->  run.frame.calls[target]  ->  the function, with lr=0.1 as its default

No run is ever stored on a function, so runs that are nested, or live at the same time, cannot mix. Since the lookup
goes by owner, functions captured or imported after the run began take part like any other.
"""

from __future__ import annotations

import sys
import threading
from types import FunctionType, MethodType

from capture.context import CONTEXT_RUN, candidate_runs, finished_runs, only_run
from capture.errors import CaptureError, ConfigError, ConfigTypeError, MissingConfigError, SignatureError, suggest
from capture.signature import MISSING, Signature, is_plain, signature_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    import logging
    from collections.abc import Callable, Collection, Hashable, Iterator, Mapping
    from typing import Any

    from capture.randomness import SeedTree

FRESH = ("_seed", "_rnd")
"""Parameters that get a new value on every call."""

SPECIALS = ("_config", "_run", "_log", *FRESH)
"""Parameters that the run itself fills; a configuration entry of the same name does not."""

SCALARS = frozenset({bool, int, float, complex, str, bytes, type(None)})
"""Types that need no protection from being changed."""

CO_GENERATOR, CO_COROUTINE, CO_ASYNC_GENERATOR = 0x20, 0x80, 0x200  # as in `inspect`


class Target:
    """A captured function, and where the values of its parameters come from.

    Attributes
    ----------
    function : callable
        The function as the user wrote it.
    prefix : str or None
        Dotted path in the owner's configuration that the function sees; None for all of it.
    owner : object
        Whose configuration: an ingredient or experiment, here an opaque, hashable object.
    name : str
        What errors and loggers call it.
    """

    __slots__ = ("_outside", "_signature", "function", "name", "owner", "prefix")

    def __init__(
        self, function: Callable[..., Any], prefix: str | None, owner: Hashable, name: str | None = None
    ) -> None:
        self.function = function
        self.prefix = prefix or None
        self.owner = owner
        self.name = name or _name_of(function)
        self._signature: Signature | None = None
        self._outside: Callable[..., Any] | None = None

    @property
    def signature(self) -> Signature:
        """The function's parameters, read when first needed."""
        if self._signature is None:
            self._signature = signature_of(self.function)
        return self._signature

    @property
    def place(self) -> str:
        """Where the function was defined, as ``file.py:12``, or "" where that is unknown."""
        code = getattr(_innermost(self.function), "__code__", None)
        return f"{code.co_filename}:{code.co_firstlineno}" if code is not None else ""

    def outside(self) -> Callable[..., Any]:
        """Return what stands for the function where no run knows it: nothing but the specials is filled."""
        if self._outside is None:
            self._outside = _compile(_OUTSIDE, self)
        return self._outside

    def entry(self, parameter: str) -> str:
        """Return the dotted path of the configuration entry that fills `parameter`."""
        return f"{self.prefix}.{parameter}" if self.prefix else parameter

    def __repr__(self) -> str:
        return f"<target {self.name} prefix={self.prefix!r}>"


class Frame:
    """What one run offers to the captured functions called in it.

    Parameters
    ----------
    run : object
        The run, handed to parameters called ``_run``.
    views : mapping of owner to dict
        The configuration that the functions of each owner see: plain nested dicts, not changed by the frame.
    logger : logging.Logger, or callable from owner to logging.Logger, optional
        Parent of the loggers handed to parameters called ``_log``.
    read_only : bool
        Whether functions get read-only dicts and lists (``SETTINGS.CONFIG.READ_ONLY_CONFIG``).
    seeds : capture.randomness.SeedTree, optional
        Where ``_seed`` and ``_rnd`` come from; without it every call gets a random seed.
    objects : mapping of (owner, dotted path) to object, optional
        What typed sources built from the configuration. It goes to parameters annotated with its class, that of the
        whole configuration (at "") and the only one of its class whatever their names are.
    """

    def __init__(
        self,
        run: Any,
        views: Mapping[Any, Mapping[str, Any]],
        logger: logging.Logger | Callable[[Any], logging.Logger] | None = None,
        read_only: bool = True,
        seeds: SeedTree | None = None,
        objects: Mapping[tuple[Any, str], Any] | None = None,
    ) -> None:
        self.run = run
        self.views = views
        self.read_only = read_only
        self.seeds = seeds
        self.objects = objects or {}
        self.owners = frozenset(views)
        #: Bindings by target. Captured functions look here first, so it also holds those of outer runs' frames.
        self.calls: dict[Target, Callable[..., Any]] = {}
        self._logger = logger
        self._options: dict[Any, Mapping[str, Any]] = {}
        self._lock = threading.Lock()

    def knows(self, owner: Any) -> bool:
        """Say whether `owner` takes part in this run."""
        return owner in self.owners

    def options(self, owner: Any, prefix: str | None = None) -> Mapping[str, Any]:
        """Return the configuration that functions of `owner` with this prefix see.

        Returns
        -------
        mapping
            Read-only if the frame is; the same object each time, shared by all functions. Empty if there is no
            such entry.

        Raises
        ------
        ConfigTypeError
            If the prefix names a value instead of a group of entries.
        """
        if not self.read_only:
            return _group_at(self.views.get(owner, {}), prefix)
        with self._lock:
            if owner not in self._options:
                from capture.config.readonly import freeze

                self._options[owner] = freeze(self.views.get(owner, {}))
        return _group_at(self._options[owner], prefix)

    def binding(self, captured: Any) -> Callable[..., Any]:
        """Return the callable that fills the parameters of `captured` from this frame, compiled once.

        Parameters
        ----------
        captured : CapturedFunction or Target
        """
        target = getattr(captured, "_self_target", captured)
        call = self.calls.get(target)
        if call is None:
            # Two threads may compile it at once; both results are the same, and the first one stays.
            call = self.calls.setdefault(target, _compile(self, target))
        return call

    def logger(self, target: Target) -> logging.Logger:
        """Return the logger of one function: the child, with its name, of its owner's logger."""
        parent = self._logger(target.owner) if callable(self._logger) else self._logger
        if parent is None:
            import logging

            return logging.getLogger(target.name)
        return parent.getChild(target.name)

    def stream(self, target: Target) -> Any:
        """Return the generator that makes the seeds of one function; None if they are to be random."""
        return None if self.seeds is None else self.seeds.stream(target.owner, target)

    def values(self, target: Target) -> dict[str, Any]:
        """Return what this frame has for the parameters of `target`, leaving out those in `FRESH`."""
        signature = target.signature
        raw = _group_at(self.views.get(target.owner, {}), target.prefix, target)
        found: dict[str, Any] = {}
        for name in signature.arguments:
            if name in signature.bound or name in FRESH:
                continue
            value = self._value(target, name, raw)
            if value is not MISSING:
                found[name] = value
        return found

    def _value(self, target: Target, name: str, raw: Mapping[str, Any]) -> Any:
        if name == "_run":
            return self.run
        if name == "_log":
            return self.logger(target)
        if name == "_config":
            return self.options(target.owner, target.prefix)
        annotation = target.signature.annotations.get(name) if self.objects else None
        if name not in raw:
            return MISSING if annotation is None else self._object_of(annotation, target)
        built = self.objects.get((target.owner, target.entry(name)), MISSING)
        if built is not MISSING and _asks_for(annotation, built):
            return built
        if type(raw[name]) in SCALARS:
            return raw[name]
        return self.options(target.owner, target.prefix)[name]

    def _object_of(self, annotation: Any, target: Target) -> Any:
        """Return the object of the class that `annotation` names, for a parameter that no entry is named after.

        It is the object that the whole configuration of `target` describes, else the only one of that class in it.
        """
        root = target.prefix or ""
        within = f"{root}." if root else ""
        found = {
            path: built
            for (owner, path), built in self.objects.items()
            if owner == target.owner and (path == root or path.startswith(within)) and _is_class_of(annotation, built)
        }
        if root in found:
            return found[root]
        return next(iter(found.values())) if len(found) == 1 else MISSING


_OUTSIDE = Frame(None, {})
"""What captured functions find when no run knows them: nothing but the specials."""


def call_for(target: Target) -> Callable[..., Any]:
    """Return the binding of `target` for the calling context: the slower way, for when the frame at hand has none.

    Raises
    ------
    AmbiguousRunError
        If the context has no run and several live runs know the function.
    """
    run = CONTEXT_RUN.get()
    if run is None:
        # Threads come here on every call, so look first where it will mostly be.
        live = candidate_runs()
        if len(live) == 1 and live[0].frame is not None:
            known = live[0].frame.calls.get(target)
            if known is not None:
                return known
    frame = frame_for(target)
    if frame is None:
        return target.outside()
    call = frame.binding(target)
    if run is not None and run.frame is not None and frame in _frames_outward(run):
        # What outer runs know does not change while an inner one is live; which other runs are live does.
        run.frame.calls[target] = call
    return call


def frame_for(target: Target) -> Frame | None:
    """Return the frame that fills the parameters of `target` in the calling context.

    It is that of the context's run or the next outer one that knows the function's owner; else of the only live run
    that knows it; else of the last finished run that did; else None.
    """
    owner = target.owner
    for frame in _frames_outward(CONTEXT_RUN.get()):
        if frame.knows(owner):
            return frame
    run = only_run(tuple(run for run in candidate_runs() if _knows(run, owner)), f"{target.name}()")
    if run is None:
        run = next((run for run in finished_runs() if _knows(run, owner)), None)
    return None if run is None else run.frame


def explain(target: Target, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> CaptureError | None:
    """Say why `target` cannot be called with these arguments; None if it can.

    Returns
    -------
    SignatureError, MissingConfigError or None
    """
    signature = target.signature
    where = f" ({target.place})" if target.place else ""
    takes = f"\n  it takes:      {', '.join(signature.arguments) or 'no arguments'}"
    twice = signature.duplicates(args, kwargs)
    if twice:
        return SignatureError(f"{target.name}() got multiple values for argument(s): {_list(twice)}{where}{takes}")
    unexpected = signature.unexpected(kwargs)
    if unexpected:
        close = [suggest(name, signature.by_name) for name in unexpected]
        hint = "".join(f"\n  did you mean:  {name}" for name in close if name)
        return SignatureError(f"{target.name}() got unexpected argument(s): {_list(unexpected)}{where}{hint}{takes}")
    surplus = signature.surplus(args)
    if surplus:
        extra = ", ".join(repr(value)[:40] for value in args[-surplus:])
        return SignatureError(
            f"{target.name}() got unexpected argument(s): {extra}{where}"
            f"\n  it takes {len(signature.positional)} by position, {len(args)} were given{takes}"
        )
    frame = frame_for(target)
    found = (frame or _OUTSIDE).values(target)
    missing = signature.missing(args, kwargs, {*found, *FRESH})
    return _missing(target, frame, missing, where) if missing else None


def _missing(target: Target, frame: Frame | None, missing: list[str], where: str) -> MissingConfigError:
    entries = [target.entry(name) for name in missing]
    lines = [f"{target.name}() is missing value(s) for {missing}{where}"]
    config = None
    if frame is None:
        lines.append("  no run was live, and none has finished, that this function belongs to: nothing was filled in")
    else:
        config = dict(frame.options(target.owner, target.prefix))
        for name, entry in zip(missing, entries):
            close = suggest(name, config)
            lines.append(
                f"  there is no config entry {entry!r}" + (f"; did you mean: {target.entry(close)}" if close else "")
            )
        known = ", ".join(target.entry(str(name)) for name in config)
        lines.append(f"  known entries: {known or 'none' + (f' under {target.prefix!r}' if target.prefix else '')}")
    arguments = ", ".join(f"{name}=..." for name in missing)
    lines.append(
        f"  to give it:    declare {_list(entries)} in a config scope, call {target.name}({arguments}),"
        " or write a default value into the function"
    )
    return MissingConfigError("\n".join(lines), missing_configs=entries, config=config)


def track(error: ConfigError, target: Target) -> None:
    """Attach the configuration that `target` saw to an error raised in it, for the message to show the values."""
    if error.config is None:
        frame = frame_for(target)
        if frame is not None:
            error.config = dict(frame.options(target.owner, target.prefix))


# --- compiling ------------------------------------------------------------------------------------------------------


def _compile(frame: Frame, target: Target) -> Callable[..., Any]:
    """Make the callable that stands for `target` in a run."""
    fresh = [name for name in FRESH if name in target.signature.arguments and name not in target.signature.bound]
    values = frame.values(target)
    # Every call brings its own value for these; the placeholder only keeps the row of defaults unbroken.
    call = _fill(target.function, target.signature, {**values, **dict.fromkeys(fresh, MISSING)})
    if fresh:
        call = _with_fresh_seed(call, frame, target, fresh)
    if "logging" in sys.modules and frame is not _OUTSIDE:
        import logging

        logger = frame.logger(target)
        if logger.isEnabledFor(logging.DEBUG):
            call = _with_debug_log(call, target.function, logger)
    return call


def _fill(function: Any, signature: Signature, values: Mapping[str, Any]) -> Callable[..., Any]:
    """Return a callable like `function` for which `values` are the defaults."""
    if not values:
        return function
    if isinstance(function, MethodType) and is_plain(function.__func__):
        defaults = _row_of_defaults(signature, values)
        if defaults is not None:
            return MethodType(_with_defaults(function.__func__, defaults, signature, values), function.__self__)
    elif is_plain(function):
        defaults = _row_of_defaults(signature, values)
        if defaults is not None:
            return _with_defaults(function, defaults, signature, values)
    return _with_merged_arguments(function, signature, values)


def _row_of_defaults(signature: Signature, values: Mapping[str, Any]) -> tuple[Any, ...] | None:
    """Return the defaults of the positional parameters, or None if one without a value stands behind one with."""
    row = [values.get(name, signature.defaults.get(name, MISSING)) for name in signature.positional]
    # MISSING is also the placeholder for `FRESH`, so presence is asked by name.
    present = [name in values or name in signature.defaults for name in signature.positional]
    first = present.index(True) if True in present else len(present)
    return tuple(row[first:]) if all(present[first:]) else None


def _with_defaults(
    function: Any, defaults: tuple[Any, ...], signature: Signature, values: Mapping[str, Any]
) -> Callable[..., Any]:
    """Return the same function (code, globals, closure) with other defaults.

    The interpreter then does the merging, which takes half the time of doing it in Python.
    """
    twin = FunctionType(
        function.__code__, function.__globals__, function.__name__, defaults or None, function.__closure__
    )
    by_name = {
        name: values.get(name, signature.defaults.get(name))
        for name in signature.keyword_only
        if name in values or name in signature.defaults
    }
    twin.__kwdefaults__ = by_name
    return twin


def _with_merged_arguments(
    function: Callable[..., Any], signature: Signature, values: Mapping[str, Any]
) -> Callable[..., Any]:
    """Return a callable that adds to the arguments of each call those of `values` that it does not give.

    For what has no defaults to be replaced (partials, builtins, decorated functions, other callables), and for
    functions in which a parameter without a value follows one with.
    """
    count = len(signature.positional)
    by_name = {name: values[name] for name in signature.by_name if name in values}
    # What to add, by the number of positional arguments that were given.
    more = [
        {name: value for name, value in by_name.items() if name not in signature.positional[:given]}
        for given in range(count + 1)
    ]

    def call(*args: Any, **kwargs: Any) -> Any:
        given = len(args)
        return function(*args, **{**more[given if given < count else count], **kwargs})

    if not signature.positional_only:
        return call
    rest = [_rest_by_position(signature, values, given) for given in range(count + 1)]
    return lambda *args, **kwargs: call(*args, *rest[min(len(args), count)], **kwargs)


def _rest_by_position(signature: Signature, values: Mapping[str, Any], given: int) -> tuple[Any, ...]:
    """Return values for the positional-only parameters after the first `given`, up to the first without one."""
    rest = []
    for name in signature.positional[given : signature.positional_only]:
        value = values.get(name, signature.defaults.get(name, MISSING))
        if value is MISSING:
            break
        rest.append(value)
    return tuple(rest)


def _with_fresh_seed(
    call: Callable[..., Any], frame: Frame, target: Target, fresh: Collection[str]
) -> Callable[..., Any]:
    """Return `call` with a new ``_seed``, and a generator ``_rnd`` that starts from it, on every call."""
    from capture.randomness import generator_maker, get_seed

    positional = target.signature.positional
    if any(name in positional[: target.signature.positional_only] for name in fresh):
        raise SignatureError(f"{target.name}(): {_list(fresh)} cannot be positional-only ({target.place})")
    # A parameter is given by position if there are more arguments than this.
    place = {name: positional.index(name) if name in positional else sys.maxsize for name in fresh}
    stream, make = frame.stream(target), generator_maker(frame.seeds.legacy if frame.seeds else None)

    def call_with_seed(*args: Any, **kwargs: Any) -> Any:
        # Drawn even where the caller gives both, so that this does not shift the seeds of later calls.
        seed = get_seed(stream)
        for name in fresh:
            if name not in kwargs and len(args) <= place[name]:
                kwargs[name] = seed if name == "_seed" else make(seed)
        return call(*args, **kwargs)

    return call_with_seed


def _with_debug_log(call: Callable[..., Any], function: Any, logger: logging.Logger) -> Callable[..., Any]:
    """Return `call`, saying in the log when it starts and how long it took.

    Of coroutines and generators the time counts until they are exhausted.
    """
    import time

    from capture.moments import timedelta

    def finished(start: float) -> None:
        logger.debug("Finished after %s.", timedelta(seconds=round(time.monotonic() - start)))

    def logged(*args: Any, **kwargs: Any) -> Any:
        logger.debug("Started")
        start = time.monotonic()
        result = call(*args, **kwargs)
        finished(start)
        return result

    def logged_generator(*args: Any, **kwargs: Any) -> Any:
        def run_through(generator: Any) -> Any:
            logger.debug("Started")
            start = time.monotonic()
            result = yield from generator
            finished(start)
            return result

        return run_through(call(*args, **kwargs))

    def logged_coroutine(*args: Any, **kwargs: Any) -> Any:
        async def run_through(coroutine: Any) -> Any:
            logger.debug("Started")
            start = time.monotonic()
            result = await coroutine
            finished(start)
            return result

        return run_through(call(*args, **kwargs))

    def logged_start(*args: Any, **kwargs: Any) -> Any:
        logger.debug("Started")
        return call(*args, **kwargs)

    flags = getattr(getattr(_innermost(function), "__code__", None), "co_flags", 0)
    if flags & CO_COROUTINE:
        return logged_coroutine
    if flags & CO_GENERATOR:
        return logged_generator
    # An asynchronous generator cannot be delegated to: its user could no longer send to it.
    return logged_start if flags & CO_ASYNC_GENERATOR else logged


# --- small helpers --------------------------------------------------------------------------------------------------


def _frames_outward(run: Any) -> Iterator[Frame]:
    while run is not None:
        if run.frame is not None:
            yield run.frame
        run = getattr(run, "parent", None)


def _knows(run: Any, owner: Any) -> bool:
    return run.frame is not None and run.frame.knows(owner)


def _group_at(view: Mapping[str, Any], path: str | None, target: Target | None = None) -> Mapping[str, Any]:
    """Return the entries under a dotted path; none if it does not exist."""
    group: Any = view
    for part in path.split(".") if path else ():
        if part not in group:
            return {}
        group = group[part]
        if not isinstance(group, dict):
            user = f"; it is the prefix of {target.name}() ({target.place})" if target else ""
            raise ConfigTypeError(path or "", f"must be a group of entries, got {type(group).__name__}{user}")
    return group


def _asks_for(annotation: Any, built: object) -> bool:
    """Say whether a parameter with this annotation expects the object that a typed source built.

    Annotations are not evaluated: in a postponed or composed one (``"Model | None"``) the name of the class counts.
    """
    if annotation is None:
        return False
    if _is_plain_class(annotation):
        return annotation is not object and isinstance(built, annotation)
    import re

    words = set(re.findall(r"\w+", annotation if isinstance(annotation, str) else repr(annotation)))
    return any(base.__name__ in words for base in type(built).__mro__ if base is not object)


def _is_class_of(annotation: Any, built: object) -> bool:
    """Say whether an annotation is a class of `built`, or such a class or None; not just one that mentions it."""
    if _is_plain_class(annotation):
        return annotation is not object and isinstance(built, annotation)
    if not isinstance(annotation, str):
        return any(_is_class_of(part, built) for part in _alternatives(annotation))
    text = annotation.strip(" '\"")
    for wrapper in ("Optional[", "typing.Optional["):
        if text.startswith(wrapper) and text.endswith("]"):
            text = text[len(wrapper) : -1]
    names = {part.strip(" '\"").rpartition(".")[2] for part in text.split("|")} if "[" not in text else set()
    return any(base.__name__ in names for base in type(built).__mro__ if base is not object)


def _is_plain_class(annotation: Any) -> bool:
    # before 3.11, list[X] is an instance of type, too
    return isinstance(annotation, type) and getattr(annotation, "__origin__", None) is None


def _alternatives(annotation: Any) -> tuple[Any, ...]:
    """Return the members of a union; nothing for any other annotation."""
    # by name: ``X | Y`` and ``Union[X, Y]`` are of different types up to Python 3.13, and `typing` costs an import
    if type(annotation).__name__ not in ("UnionType", "_UnionGenericAlias", "Union"):
        return ()
    return tuple(getattr(part, "__forward_arg__", part) for part in annotation.__args__)


def _innermost(function: Any) -> Any:
    """Return the plain function inside partials, methods and decorators."""
    while True:
        inner = getattr(function, "__wrapped__", None) or getattr(function, "func", None)
        if inner is None or not callable(inner):
            break
        function = inner
    function = getattr(function, "__func__", function)
    return function if hasattr(function, "__code__") else type(function).__call__


def _name_of(function: Any) -> str:
    return str(getattr(function, "__name__", None) or getattr(_innermost(function), "__name__", repr(function)))


def _list(names: Collection[str]) -> str:
    return ", ".join(repr(name) for name in names)
