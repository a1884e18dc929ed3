"""Captured functions: parameters that are not given are filled by name from the configuration of the current run.

Here they are made; :mod:`capture.binding` says what happens when they are called.
"""

from __future__ import annotations

from types import FunctionType, MethodType

from capture.binding import Frame, Target

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator
    from typing import Any

    from capture._wrapped import CapturedFunction

__all__ = ["Frame", "Target", "capture_class", "capture_function", "captured_in"]


def capture_function(function: Any, prefix: str | None = None, owner: Hashable = None) -> Any:
    """Capture a function: from now on its parameters are filled by name from the configuration of the run.

    Parameters
    ----------
    function : callable
        A function, method, classmethod, staticmethod, coroutine function, generator function, partial or any other
        callable. Of a class, the constructor is captured in place, so that it stays the same class.
    prefix : str, optional
        Dotted path in the owner's configuration that the function sees.
    owner : hashable, optional
        Whose configuration.

    Returns
    -------
    CapturedFunction
        Or the class, where a class was given. What is captured already is returned unchanged.

    Raises
    ------
    TypeError
        If `function` cannot be called.
    """
    from capture._wrapped import wrap

    if isinstance(function, type):
        return _capture_constructor(function, prefix, owner)
    if _captured(function) is not None:
        return function
    raw = function.__func__ if isinstance(function, (classmethod, staticmethod)) else function
    if not callable(raw):
        raise TypeError(f"only something that can be called can be captured, got {function!r}")
    return wrap(function, Target(raw, prefix, owner))


def capture_class(cls: type, prefix: str | None = None, owner: Hashable = None) -> type:
    """Capture the constructor of a class and every method defined in it that has parameters to fill.

    Special methods other than the constructor and ``__call__``, and properties, are left as they are.
    """
    _capture_constructor(cls, prefix, owner)
    for name, member in list(vars(cls).items()):
        if name.startswith("__") and name != "__call__":
            continue
        if not isinstance(member, (FunctionType, classmethod, staticmethod)) or _captured(member) is not None:
            continue
        captured = capture_function(member, prefix, owner)
        filled = captured.signature.arguments
        if len(filled) > (0 if isinstance(member, staticmethod) else 1):
            setattr(cls, name, captured)
    return cls


def captured_in(thing: Any) -> Iterator[CapturedFunction]:
    """Yield the captured functions in what `capture_function` or `capture_class` returned."""
    members = tuple(vars(thing).values()) if isinstance(thing, type) else (thing,)
    for member in members:
        captured = _captured(member)
        if captured is not None:
            yield captured


def _capture_constructor(cls: type, prefix: str | None, owner: Hashable) -> type:
    """Capture ``__init__`` of a class, or ``__new__`` where that is what takes the parameters."""
    from capture._wrapped import CapturedFunction

    for name in ("__init__", "__new__"):
        defined_in = next(base for base in cls.__mro__ if name in vars(base))
        member = vars(defined_in)[name]
        if defined_in is cls and _captured(member) is not None:
            return cls
        # An inherited constructor that the parent had captured is captured anew, with this class's owner and prefix.
        raw: Any = member.__func__ if isinstance(member, staticmethod) else member
        raw = raw if _captured(raw) is None else raw.__wrapped__
        if isinstance(raw, FunctionType):
            captured = CapturedFunction(raw, Target(raw, prefix, owner, cls.__name__))
            setattr(cls, name, staticmethod(captured) if name == "__new__" else captured)
            return cls
    return cls  # made without parameters, or by code that is not Python: nothing to fill


def _captured(thing: Any) -> CapturedFunction | None:
    """Return the captured function that `thing` is, or that it holds as a method; None if there is none."""
    from capture._wrapped import CapturedFunction

    # By `type`, since a wrapper passes itself off as what it wraps.
    if type(thing) in (classmethod, staticmethod, MethodType):
        thing = thing.__func__
    return thing if issubclass(type(thing), CapturedFunction) else None
