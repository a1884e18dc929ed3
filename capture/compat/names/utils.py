"""What ``sacred.utils`` has beside the names of `capture.utils`."""

from __future__ import annotations

import sys

from capture import traces
from capture.errors import CaptureError
from capture.script import split_argv

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def is_non_empty_dict(python_object: Any) -> bool:
    """Say whether something is a dict with entries."""
    return isinstance(python_object, dict) and bool(python_object)


def module_exists(modname: str) -> bool:
    """Say whether a module could be imported."""
    from importlib.util import find_spec

    try:
        return find_spec(modname) is not None
    except (ImportError, ValueError):
        return False


def modules_exist(*modnames: str) -> bool:
    """Say whether all these modules could be imported."""
    return all(module_exists(name) for name in modnames)


def module_is_in_cache(modname: str) -> bool:
    """Say whether a module has been imported."""
    return modname in sys.modules


def parse_version(version_string: str) -> Any:
    """Return a version that can be compared."""
    from packaging import version

    return version.parse(str(version_string))


def get_package_version(name: str) -> Any:
    """Return the version of an installed package, as one that can be compared."""
    from importlib.metadata import version

    return parse_version(version(name))


def ensure_wellformed_argv(argv: Any) -> list[str]:
    """Return a command line as a list: None stands for that of the process, a string is split as a shell would."""
    program, arguments = split_argv(argv)
    return [program, *arguments]


def format_filtered_stacktrace(filter_traceback: str = "default") -> str:
    """Return the traceback of the exception that is being handled, without this library's frames unless "never"."""
    error = sys.exc_info()[1]
    if error is None:
        return ""
    if filter_traceback == "never":
        import traceback

        return "".join(traceback.format_exception(type(error), error, error.__traceback__))
    return traces.format_filtered(error)


def format_sacred_error(e: CaptureError, short_usage: str) -> str:
    """Return what the command line prints of an error of the library's."""
    text = short_usage + "\n" if e.print_usage else ""
    if e.print_traceback:
        return text + format_filtered_stacktrace(e.filter_traceback)
    return f"{text}{type(e).__name__}: {e}"
