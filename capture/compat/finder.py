"""What answers ``import sacred``: modules whose names are looked up in this library when they are first used."""

from __future__ import annotations

from types import ModuleType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from typing import Any


class SacredModule(ModuleType):
    """A module of Sacred's; where its names come from is said in `capture.compat.table`."""

    def __getattr__(self, name: str) -> Any:
        from importlib import import_module

        from capture.compat.table import ALIASES, INSTEAD, MODULES

        short = self.__name__.partition(".")[2]
        inner = f"{short}.{name}" if short else name
        if inner in MODULES:
            return import_module(f"sacred.{inner}")
        if short and name in ALIASES:
            return import_module(f"sacred.{ALIASES[name]}")
        if inner in INSTEAD:
            from capture.compat.errors import SacredNameError

            raise SacredNameError(f"sacred.{inner}", INSTEAD[inner])
        if not name.startswith("__") or name in _SPECIAL:
            for home in MODULES[short]:
                value = _lookup(home, name)
                if value is not _NOTHING:
                    setattr(self, name, value)
                    return value
        raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")

    def __dir__(self) -> list[str]:
        from capture.compat.table import public_names

        return sorted({*vars(self), *public_names(self.__name__.partition(".")[2])})


_NOTHING = object()
_SPECIAL = ("__version__", "__author__", "__author_email__", "__url__")


def _lookup(home: str, name: str) -> Any:
    from importlib import import_module

    try:
        module = import_module(home)
    except ModuleNotFoundError as error:
        if error.name != home:
            raise
        return _NOTHING
    value = getattr(module, name, _NOTHING)
    # submodules of our packages are no names of Sacred's
    return _NOTHING if isinstance(value, ModuleType) and not home.startswith("capture.compat.") else value


def is_ours(module: object) -> bool:
    """Say whether a module in ``sys.modules`` is one of those made here."""
    return isinstance(module, SacredModule)


class SacredFinder:
    """Finds ``sacred`` and its submodules, and the distribution ``sacred``; stands first in ``sys.meta_path``."""

    def __init__(self) -> None:
        self._settings: dict[str, Any] = {}  # those that were changed, as they were

    # ------------------------------------------------------------------------------------------------ finder and loader

    def find_spec(self, fullname: str, path: Sequence[str] | None = None, target: Any = None) -> ModuleSpec | None:
        top, _, short = fullname.partition(".")
        if top != "sacred":
            return None
        from importlib.machinery import ModuleSpec

        from capture.compat.table import INSTEAD, MODULES

        if short not in MODULES and short not in INSTEAD:
            return None
        is_package = any(name.startswith(short + "." if short else "") for name in MODULES if name != short)
        return ModuleSpec(fullname, self, origin="capture.compat", is_package=is_package)  # type: ignore[arg-type]

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        from capture.compat.table import INSTEAD

        short = spec.name.partition(".")[2]
        if short in INSTEAD:
            from capture.compat.errors import SacredNameError

            raise SacredNameError(spec.name, INSTEAD[short])
        return SacredModule(spec.name, f"Sacred's {spec.name}, made of this library's names by `capture.compat`.")

    def exec_module(self, module: ModuleType) -> None:
        from capture.compat.table import public_names

        short = module.__name__.partition(".")[2]
        names = public_names(short)
        if names:
            module.__all__ = names  # type: ignore[attr-defined]
        if not short:
            self.apply_settings()

    # -------------------------------------------------------------------------------------------------------- settings

    def apply_settings(self) -> None:
        """Let the process do as Sacred does, where nobody has said otherwise."""
        from capture.settings import SETTINGS

        for name, value in (("STORE", "none"), ("NAIVE_TIMES", True)):
            if name not in self._settings and SETTINGS.origin(name) == "library":
                self._settings[name] = SETTINGS[name]
                SETTINGS._set(name, value, "capture.compat")

    def restore_settings(self) -> None:
        """Take that back."""
        from capture.settings import SETTINGS

        for name, value in self._settings.items():
            if SETTINGS.origin(name) == "capture.compat":
                SETTINGS._set(name, value, "library")
        self._settings.clear()

    # ---------------------------------------------------------------------------------------------------- distribution

    def find_distributions(self, context: Any = None) -> list[Any]:
        """Answer ``importlib.metadata.version("sacred")``: only who asks by name is told."""
        name = getattr(context, "name", None)
        if name is None or name.lower() != "sacred":
            return []
        from capture.compat.distribution import SacredDistribution

        return [SacredDistribution()]
