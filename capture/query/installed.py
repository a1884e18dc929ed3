"""What observers are installed, and what each needs."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Installed:
    """An observer class that is built in, or that an installed package declares.

    Attributes
    ----------
    schemes : list of str
        Of the URLs that name it.
    name : str
        Of the class.
    keeps : list of str
        What it stores: of `capture.hooks.CAPABILITIES`.
    can_read, can_curate : bool
    origin : str
        The package that it comes from, and its version.
    problem : str
        Why it cannot be loaded; "" if it can.
    needs : dict of str to list of str
        What pip is to install, by scheme; [] for those that are ready.
    """

    def __init__(self, schemes: list[str], target: str, origin: str, load: Any) -> None:
        self.schemes, self.origin = schemes, origin
        self.name = target.rpartition(":")[2]
        self.keeps: list[str] = []
        self.can_read = self.can_curate = False
        self.problem = ""
        self.needs: dict[str, list[str]] = {}
        try:
            cls = load()
            self.needs = {scheme: missing_drivers(cls, scheme) for scheme in schemes}
        except Exception as error:  # noqa: BLE001 - another package's code; that it cannot be loaded is the answer
            self.problem = f"{type(error).__name__}: {error}"
            return
        self.keeps = sorted(getattr(cls, "supports", ()))
        self.can_read, self.can_curate = hasattr(cls, "reader"), hasattr(cls, "curator")

    @property
    def state(self) -> str:
        """Whether it can be used, as a sentence."""
        if self.problem:
            return f"cannot be loaded: {self.problem}"
        by_need: dict[str, list[str]] = {}
        for scheme, missing in self.needs.items():
            need = f"needs: pip install {' '.join(map(repr, missing))}" if missing else "ready"
            by_need.setdefault(need, []).append(scheme)
        if len(by_need) == 1:
            return next(iter(by_need))
        return "; ".join(f"{', '.join(schemes)} {need}" for need, schemes in by_need.items())


def observers() -> list[Installed]:
    """Return what is installed, built-in classes first."""
    from capture._version import __version__
    from capture.registry import BUILT_IN, GROUP, plugin_classes

    by_class: dict[str, list[str]] = {}
    for scheme, target in BUILT_IN.items():
        by_class.setdefault(target, []).append(scheme)
    found = [
        Installed(schemes, target, f"capture {__version__}", lambda target=target: _load(target))
        for target, schemes in by_class.items()
    ]
    for scheme, entry in sorted(plugin_classes(GROUP).items()):
        distribution = getattr(entry, "dist", None)
        origin = f"{distribution.name} {distribution.version}" if distribution is not None else "?"
        found.append(Installed([scheme], entry.value, origin, entry.load))
    return found


def _load(target: str) -> Any:
    from importlib import import_module

    module, _, name = target.partition(":")
    return getattr(import_module(module), name)


def missing_drivers(cls: Any, scheme: str) -> list[str]:
    """Return what pip is to install so that an observer can be used with URLs of a scheme.

    Its drivers are in its attribute ``drivers``, module -> extra of this package, or what its ``drivers_of(scheme)``
    returns, module -> what pip is to install.
    """
    if hasattr(cls, "drivers_of"):
        drivers = cls.drivers_of(scheme)
    else:
        drivers = {name: f"experiment-capture[{extra}]" for name, extra in getattr(cls, "drivers", {}).items()}
    missing = list(dict.fromkeys(what for module, what in drivers.items() if not is_installed(module)))
    if len(missing) > 1 and "fsspec" in missing:
        missing.remove("fsspec")  # what else is missing brings it
    return missing


def is_installed(module: str) -> bool:
    """Say whether a module could be imported, ``package.module`` too."""
    from importlib.util import find_spec

    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):  # the package that it is in is missing, or has no such modules
        return False
