"""The wrapper around a captured function; imported when the first one is captured, since it needs wrapt."""

from __future__ import annotations

import os
import sys
from types import MethodType

from capture.binding import Target, call_for, explain, track
from capture.context import CONTEXT_RUN
from capture.errors import CaptureError, ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any

    from capture.signature import Signature


def _function_wrapper() -> type:
    """Return ``wrapt.FunctionWrapper``, if possible without importing the rest of wrapt.

    The class lives in an extension module of 0.4 ms; the package around it imports `inspect` and more for features
    that are not used here, another 9 to 15 ms, which every script would pay. The module is loaded under its own name,
    so a later ``import wrapt`` finds the very same class. Where there is no such extension (a pure-Python build, wrapt
    in a zip file) or it is switched off, the package is imported as usual.
    """
    if "wrapt" not in sys.modules and not os.environ.get("WRAPT_DISABLE_EXTENSIONS"):
        from importlib.machinery import ExtensionFileLoader, PathFinder

        package = PathFinder.find_spec("wrapt")
        folders = package.submodule_search_locations if package else None
        spec = PathFinder.find_spec("wrapt._wrappers", folders) if folders else None
        if spec is not None and isinstance(spec.loader, ExtensionFileLoader):
            module = sys.modules.get(spec.name)
            if module is None:
                module = spec.loader.create_module(spec)
                spec.loader.exec_module(module)
                sys.modules[spec.name] = module
            return module.FunctionWrapper
    import wrapt

    return wrapt.FunctionWrapper


# mypy cannot know a base class that is computed.
_FunctionWrapper: Any = _function_wrapper()


class CapturedFunction(_FunctionWrapper):
    """A function whose missing arguments are filled from the configuration of the current run.

    Looks like the function it wraps to `inspect`, `help` and type checks. Made by
    :func:`capture.inject.capture_function`.

    Attributes
    ----------
    prefix : str or None
        Dotted path in the configuration that the function sees.
    owner : object
        The ingredient or experiment whose configuration it sees.
    signature : capture.signature.Signature
    uses_randomness : bool
        Whether it has a parameter ``_seed`` or ``_rnd``.
    unobserved : bool
        Whether a run with this command is not told to observers.
    """

    __slots__ = ("_self_target", "_self_unobserved")

    def __init__(self, function: Any, target: Target) -> None:
        super().__init__(function, None)
        self._self_target = target
        self._self_unobserved = False

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        run = CONTEXT_RUN.get()
        frame = None if run is None else run.frame
        call = None if frame is None else frame.calls.get(self._self_target)
        if call is None:
            call = call_for(self._self_target)
        try:
            return call(*args, **kwargs)
        except (TypeError, ConfigError) as error:
            if isinstance(error, ConfigError):
                track(error, self._self_target)
            elif not isinstance(error, CaptureError) and _raised_by_call(error.__traceback__):
                problem = explain(self._self_target, args, kwargs)
                if problem is not None:
                    raise problem from None
            raise

    # wrapt finds attributes in two steps of its own; Python's one step (with `__getattr__` after it) is twice as fast.
    __getattribute__ = object.__getattribute__

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        # wrapt would make a second wrapper on each access; a method of Python's own does the same in half the time,
        # and can be compared, hashed and pickled.
        return self if instance is None else MethodType(self, instance)

    @property
    def prefix(self) -> str | None:
        return self._self_target.prefix

    @property
    def owner(self) -> Any:
        return self._self_target.owner

    @property
    def signature(self) -> Signature:
        return self._self_target.signature

    @property
    def uses_randomness(self) -> bool:
        return not {"_seed", "_rnd"}.isdisjoint(self.signature.arguments)

    @property
    def unobserved(self) -> bool:
        return self._self_unobserved

    @unobserved.setter
    def unobserved(self, unobserved: bool) -> None:
        self._self_unobserved = unobserved

    # Like plain functions: a copy is the function itself, and pickling keeps its importable name.

    def __copy__(self) -> CapturedFunction:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> CapturedFunction:
        return self

    def __reduce__(self) -> str:
        return self.__qualname__

    def __reduce_ex__(self, protocol: Any) -> str:
        return self.__qualname__

    # Two captures of one function differ (prefix, owner), though wrapt compares what is wrapped.

    def __eq__(self, other: object) -> bool:
        return self is other

    def __ne__(self, other: object) -> bool:
        return self is not other

    def __hash__(self) -> int:
        return object.__hash__(self)

    def __repr__(self) -> str:
        prefix = f" prefix={self.prefix!r}" if self.prefix else ""
        return f"<captured {self.__wrapped__!r}{prefix}>"


class CapturedClassMethod(CapturedFunction):
    """A captured `classmethod`."""

    __slots__ = ()

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return MethodType(self, type(instance) if owner is None else owner)


class CapturedStatic(CapturedFunction):
    """A captured `staticmethod`, or another callable that does not become a method of the class it stands in."""

    __slots__ = ()

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self


def wrap(function: Any, target: Target) -> CapturedFunction:
    """Make the wrapper that suits a function, classmethod, staticmethod or other callable."""
    if isinstance(function, classmethod):
        return CapturedClassMethod(function, target)
    if isinstance(function, (staticmethod, MethodType)) or not hasattr(type(function), "__get__"):
        return CapturedStatic(function, target)
    return CapturedFunction(function, target)


def _raised_by_call(traceback: TracebackType | None) -> bool:
    """Say whether the error arose at the call itself, in this library's frames, rather than in the function."""
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    module = traceback.tb_frame.f_globals.get("__name__", "") if traceback is not None else ""
    return module in (__name__, Target.__module__)
