"""``sacred.optional``: packages that may be there, looked for when asked about."""

from __future__ import annotations

import sys
from importlib import import_module

from capture.compat.names.utils import get_package_version, modules_exist, parse_version

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["get_package_version", "get_tensorflow", "modules_exist", "optional_import", "parse_version"]

_PACKAGES = {
    "has_numpy": ("numpy",),
    "has_yaml": ("yaml",),
    "has_pandas": ("pandas",),
    "has_sqlalchemy": ("sqlalchemy",),
    "has_mako": ("mako",),
    "has_tinydb": ("tinydb", "tinydb_serialization", "hashfs"),
    "has_tensorflow": ("tensorflow",),
}
_MODULES = {"np": "numpy", "yaml": "yaml", "pandas": "pandas"}


def __getattr__(name: str) -> Any:
    if name in _PACKAGES:
        return modules_exist(*_PACKAGES[name])
    if name in _MODULES:
        return optional_import(_MODULES[name])[1]
    if name == "libc":
        import ctypes

        return ctypes.CDLL("msvcrt" if sys.platform == "win32" else None)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def optional_import(*package_names: str) -> tuple[bool, Any]:
    """Return whether all these can be imported, and the first of them, or None."""
    try:
        packages = [import_module(name) for name in package_names]
    except ImportError:
        return False, None
    return True, packages[0]


def get_tensorflow() -> Any:
    """Return the interface of TensorFlow 1 that is installed."""
    return import_module("tensorflow.compat.v1")
