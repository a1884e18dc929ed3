"""``capture observers``: which stores there are, what each keeps, and where it comes from."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


USAGE = """\
List the observers that are installed, what each keeps, and which package it comes from.

Usage:
  capture observers
"""


def run(arguments: dict[str, Any]) -> int:
    """List the observers that are installed."""
    for scheme, name, keeps, sides, origin, state in rows():
        print(f"{scheme}\n    {name}, from {origin}: {state}")
        if keeps:
            print(f"    keeps {keeps}; its store {_SIDES[sides]}")
    return 0


_SIDES = {
    "rc": "can be read and curated",
    "r": "can be read",
    "c": "can be curated",
    "-": "cannot be read from here",
}


def rows() -> list[tuple[str, ...]]:
    """Return scheme, class, capabilities, sides, origin and state of each observer, built-in ones first."""
    from capture._version import __version__
    from capture.registry import BUILT_IN, GROUP, plugin_classes

    by_class: dict[str, list[str]] = {}
    for scheme, target in BUILT_IN.items():
        by_class.setdefault(target, []).append(scheme)
    found = []
    for target, schemes in by_class.items():
        found.append(_row(", ".join(schemes), target, f"capture {__version__}", lambda target=target: _load(target)))
    for scheme, entry in sorted(plugin_classes(GROUP).items()):
        distribution = getattr(entry, "dist", None)
        origin = f"{distribution.name} {distribution.version}" if distribution is not None else "?"
        found.append(_row(scheme, entry.value, origin, entry.load))
    return found


def _load(target: str) -> Any:
    from importlib import import_module

    module, _, name = target.partition(":")
    return getattr(import_module(module), name)


def _row(scheme: str, target: str, origin: str, load: Any) -> tuple[str, ...]:
    name = target.rpartition(":")[2]
    try:
        cls = load()
    except Exception as error:  # noqa: BLE001 - another package's code; that it cannot be loaded is the answer
        return scheme, name, "", "", origin, f"cannot be loaded: {type(error).__name__}: {error}"
    keeps = " ".join(sorted(getattr(cls, "supports", ()))) or "-"
    sides = ("r" if hasattr(cls, "reader") else "") + ("c" if hasattr(cls, "curator") else "")
    return scheme, name, keeps, sides or "-", origin, _state(cls, scheme.split(", "))


def _state(cls: Any, schemes: list[str]) -> str:
    """Say whether the drivers are here that an observer names: for all schemes alike, or for each.

    They are in its attribute ``drivers``, module -> extra of this package, or what its ``drivers_of(scheme)`` returns,
    module -> what pip is to install.
    """
    if not hasattr(cls, "drivers_of"):
        drivers = {name: f"experiment-capture[{extra}]" for name, extra in getattr(cls, "drivers", {}).items()}
        return _need(drivers)
    by_need: dict[str, list[str]] = {}
    for scheme in schemes:
        by_need.setdefault(_need(cls.drivers_of(scheme)), []).append(scheme)
    if len(by_need) == 1:
        return next(iter(by_need))
    return "; ".join(f"{', '.join(each)} {need}" for need, each in by_need.items())


def _need(drivers: dict[str, str]) -> str:
    from importlib.util import find_spec

    missing = list(dict.fromkeys(what for module, what in drivers.items() if find_spec(module) is None))
    if len(missing) > 1 and "fsspec" in missing:
        missing.remove("fsspec")  # what else is missing brings it
    return f"needs: pip install {' '.join(map(repr, missing))}" if missing else "ready"
