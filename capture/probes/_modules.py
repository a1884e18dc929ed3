"""Looks at modules without waking them: nothing here runs code of theirs."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


INSTALLED = frozenset(("site-packages", "dist-packages"))  #: folders that installers fill


def namespace_of(module: Any) -> Mapping[str, Any]:
    """Return the names in a module; empty where `module` is something else that was put into `sys.modules`.

    Attribute access is avoided on purpose: a lazy module loads itself when it is asked for one, and a stand-in may
    answer anything.
    """
    try:
        names = object.__getattribute__(module, "__dict__")
    except AttributeError:
        return {}
    return names if isinstance(names, dict) else {}


def file_of(module: Any) -> str | None:
    """Return the file a module was loaded from, as Python has it; None where there is none (built in, a namespace)."""
    path = namespace_of(module).get("__file__")
    return path if isinstance(path, str) and path else None
