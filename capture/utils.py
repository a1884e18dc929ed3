"""Helpers under the names that code written for Sacred imports them by.

The library itself uses the modules that these names come from; what has no other use stands here.
"""

from __future__ import annotations

import os
import re
import sys
import threading
from typing import TYPE_CHECKING, Any, Union

from capture.config.updates import get_by_path as _get_by_path
from capture.config.updates import iter_flattened as iterate_flattened
from capture.config.updates import join_path as join_paths
from capture.config.updates import set_by_path as set_by_dotted_path
from capture.errors import (
    CaptureError,
    CircularDependencyError,
    ConfigAddedError,
    ConfigError,
    InvalidConfigError,
    MissingConfigError,
    NamedConfigNotFoundError,
    ObserverError,
    SacredError,
    SacredInterrupt,
    SettingError,
    SignatureError,
    TimeoutInterrupt,
)
from capture.terminal import apply_backspaces_and_linefeeds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = [
    "NO_LOGGER",  # noqa: F822 - made when it is asked for
    "PYTHON_IDENTIFIER",
    "CaptureError",
    "CircularDependencyError",
    "ConfigAddedError",
    "ConfigError",
    "IntervalTimer",
    "InvalidConfigError",
    "MissingConfigError",
    "NamedConfigNotFoundError",
    "ObserverError",
    "PathType",
    "SacredError",
    "SacredInterrupt",
    "SettingError",
    "SignatureError",
    "TimeoutInterrupt",
    "apply_backspaces_and_linefeeds",
    "convert_camel_case_to_snake_case",
    "convert_to_nested_dict",
    "create_basic_stream_logger",
    "get_by_dotted_path",
    "get_inheritors",
    "is_prefix",
    "iter_prefixes",
    "iterate_flattened",
    "iterate_flattened_separately",
    "join_paths",
    "optional_kwargs_decorator",
    "print_filtered_stacktrace",
    "recursive_update",
    "rel_path",
    "set_by_dotted_path",
]

PYTHON_IDENTIFIER = re.compile("^[a-zA-Z_][_a-zA-Z0-9]*$")
PathType = Union[str, bytes, "os.PathLike[Any]"]


def __getattr__(name: str) -> Any:
    if name == "NO_LOGGER":
        import logging

        logger = logging.getLogger("ignore")
        logger.disabled = True
        return logger
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def create_basic_stream_logger() -> Any:
    """Return the root logger, with a handler that prints to standard error if it had none."""
    import logging

    logging.basicConfig(level=logging.INFO, format="%(levelname)s - %(name)s - %(message)s")
    return logging.getLogger("")


def recursive_update(d: dict[Any, Any], u: dict[Any, Any]) -> dict[Any, Any]:
    """Update a nested dict in place, group by group, and return it."""
    for key, value in u.items():
        if isinstance(value, dict):
            inner = d.get(key)
            d[key] = recursive_update(inner if isinstance(inner, dict) else {}, value)
        else:
            d[key] = value
    return d


def iterate_flattened_separately(dictionary: dict[Any, Any], manually_sorted_keys: Any = None) -> Iterator[Any]:
    """Yield ``(path, value)`` of a nested dict, at each level first the values and then the groups.

    A group is announced by ``(path, PATHCHANGE)``.
    """
    manually = [key for key in manually_sorted_keys or [] if key in dictionary]
    rest = sorted((key for key in dictionary if key not in manually), key=str)
    single = [key for key in rest if not dictionary[key] or not isinstance(dictionary[key], dict)]
    groups = [key for key in rest if dictionary[key] and isinstance(dictionary[key], dict)]
    for key in manually + single:
        yield key, dictionary[key]
    for key in groups:
        yield key, PATHCHANGE
        for inner, value in iterate_flattened_separately(dictionary[key], manually_sorted_keys):
            yield join_paths(str(key), str(inner)), value


class _PathChange:
    def __repr__(self) -> str:
        return "PATHCHANGE"


PATHCHANGE = _PathChange()


def get_by_dotted_path(d: dict[Any, Any], path: str, default: Any = None) -> Any:
    """Return the entry at a dotted path; the whole dict for an empty path."""
    return _get_by_path(d, path, default) if path else d


def iter_prefixes(path: str) -> Iterator[str]:
    """Yield the paths of the groups that lead to an entry, and the entry's own.

    Examples
    --------
    >>> list(iter_prefixes("a.b.c"))
    ['a', 'a.b', 'a.b.c']
    """
    from capture.config.updates import prefixes

    return reversed(list(prefixes(path)))


def is_prefix(pre_path: str, path: str) -> bool:
    """Say whether one dotted path leads to another.

    Examples
    --------
    >>> is_prefix("a", "a.b"), is_prefix("a", "ab"), is_prefix("", "a")
    (True, False, True)
    """
    pre_path = pre_path.strip(".")
    path = path.strip(".")
    return not pre_path or path == pre_path or path.startswith(pre_path + ".")


def convert_to_nested_dict(dotted_dict: dict[str, Any]) -> dict[str, Any]:
    """Turn dotted keys into nested dicts."""
    nested: dict[str, Any] = {}
    for key, value in iterate_flattened(dotted_dict):
        set_by_dotted_path(nested, key, value)
    return nested


def convert_camel_case_to_snake_case(name: str) -> str:
    """Turn ``CamelCase`` into ``snake_case``.

    Examples
    --------
    >>> convert_camel_case_to_snake_case("HTTPObserver")
    'http_observer'
    """
    words = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z0-9])([A-Z])", r"\1_\2", words).lower()


def print_filtered_stacktrace(filter_traceback: str = "default") -> None:
    """Print the exception that is being handled, without this library's frames unless told "never"."""
    from capture import traces

    error = sys.exc_info()[1]
    if error is not None:
        if filter_traceback == "never":
            import traceback

            traceback.print_exception(type(error), error, error.__traceback__)
        else:
            sys.stderr.write(traces.format_filtered(error))


def optional_kwargs_decorator(func: Callable[..., Any]) -> Callable[..., Any]:
    """Make a decorator with keyword arguments usable with and without brackets."""
    import functools

    @functools.wraps(func)
    def decorator(arg: Any = None, **kwargs: Any) -> Any:
        return func(arg, **kwargs) if arg is not None else functools.partial(func, **kwargs)

    return decorator


def get_inheritors(cls: type) -> set[type]:
    """Return all classes below a class."""
    found: set[type] = set()
    todo: list[type] = [cls]
    while todo:
        below: type
        for below in todo.pop().__subclasses__():
            if below not in found:
                found.add(below)
                todo.append(below)
    return found


def rel_path(base: str, path: str) -> str:
    """Return `path` as seen from `base`, which must lead to it."""
    if not base:
        return path
    if not is_prefix(base, path):
        raise ValueError(f"{base!r} does not lead to {path!r}")
    return path[len(base) :].strip(".")


class IntervalTimer(threading.Thread):
    """A daemon thread that calls a function again and again until it is stopped.

    Parameters
    ----------
    event : threading.Event
        Ends it when set.
    func : callable
    interval : float
        Seconds between two calls.
    """

    @classmethod
    def create(cls, func: Callable[[], Any], interval: float = 10) -> tuple[threading.Event, IntervalTimer]:
        """Return the event that stops the timer, and the timer."""
        event = threading.Event()
        return event, cls(event, func, interval)

    def __init__(self, event: threading.Event, func: Callable[[], Any], interval: float = 10.0) -> None:
        super().__init__(daemon=True)
        self.stop_event = event
        self.func = func
        self.interval = interval

    def run(self) -> None:
        while not self.stop_event.wait(self.interval):
            self.func()
        self.func()
