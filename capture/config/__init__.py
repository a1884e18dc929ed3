"""Configuration: scopes, dicts and files, put together from layers with the origin of every value.

Everything here is data in, data out. The names below are loaded when they are first used.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from capture.config.dicts import ConfigDict
    from capture.config.files import load_config_file, save_config_file
    from capture.config.origin import Origin
    from capture.config.readonly import ReadOnlyDict, ReadOnlyList
    from capture.config.scope import ConfigScope
    from capture.config.summary import ConfigSummary

#: public name -> the module it comes from
_HOMES = {
    "ConfigDict": "dicts",
    "ConfigScope": "scope",
    "ConfigSummary": "summary",
    "Origin": "origin",
    "ReadOnlyDict": "readonly",
    "ReadOnlyList": "readonly",
    "load_config_file": "files",
    "save_config_file": "files",
}

__all__ = [
    "ConfigDict",
    "ConfigScope",
    "ConfigSummary",
    "Origin",
    "ReadOnlyDict",
    "ReadOnlyList",
    "load_config_file",
    "save_config_file",
]


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
