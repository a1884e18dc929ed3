"""Let packages that were written for Sacred find this library when they import ``sacred``.

::

    from capture.compat import install_as_sacred

    install_as_sacred()                          # before anything imports sacred
    from wandb.integration.sacred import WandbObserver  # says "from sacred.observers import RunObserver" inside

Without touching a script: ``python -m capture.compat SCRIPT [ARG...]``, or ``-m MODULE`` in place of the script.
For every Python of an environment, whoever starts it: ``python -m capture.compat --enable``.

Sacred's modules are then made of this library's names: ``sacred.Experiment is capture.Experiment``. An installed
Sacred is passed over, and need not be there. What has no counterpart raises `SacredNameError`, which says what to use.

Once ``sacred`` is imported this way, the process does two things as Sacred does: an experiment without an observer
records nothing (``SETTINGS.STORE = "none"``), and times are naive UTC (``SETTINGS.NAIVE_TIMES``). A setting that was
made by hand, in a file or in the environment, stands.
"""

from __future__ import annotations

import os
import sys

from capture.compat.finder import SacredFinder, is_ours

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from capture.compat.errors import SacredImportedError, SacredNameError

__all__ = [
    "FOLDER",
    "SacredImportedError",
    "SacredNameError",
    "install_as_sacred",
    "is_installed",
    "uninstall",
]

#: A folder with a module ``sacred`` that installs the names; in front of PYTHONPATH it reaches processes to come.
FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "on_path")

_finder: SacredFinder | None = None
_reaches_children = False


def install_as_sacred(*, children: bool = False) -> None:
    """Make ``import sacred`` find this library from now on. Doing it twice is harmless.

    Parameters
    ----------
    children : bool
        Whether Python processes that this one starts find it too: a folder in ``PYTHONPATH`` and `sys.path`, which
        workers of `multiprocessing` take over, says so to them.

    Raises
    ------
    SacredImportedError
        If Sacred itself was imported before: what holds its classes would not know ours.
    """
    global _finder, _reaches_children
    foreign = sorted(name for name in _sacred_modules() if not is_ours(sys.modules[name]))
    if foreign:
        from capture.compat.errors import SacredImportedError

        raise SacredImportedError(foreign, getattr(sys.modules[foreign[0]], "__file__", None))
    if _finder is None:
        _finder = SacredFinder()
    if _finder not in sys.meta_path:
        sys.meta_path.insert(0, _finder)
    if children and not _reaches_children:
        os.environ["PYTHONPATH"] = os.pathsep.join([FOLDER, *_python_path()])
        sys.path.insert(1, FOLDER)  # behind the script's own folder, before installed packages
        _reaches_children = True


def uninstall() -> None:
    """Undo `install_as_sacred`: ``import sacred`` finds Sacred again, if it is there.

    What was imported meanwhile goes on working. Where nothing was installed, nothing happens.
    """
    global _finder, _reaches_children
    if _finder is None:
        return
    if _finder in sys.meta_path:
        sys.meta_path.remove(_finder)
    for name in _sacred_modules():
        if is_ours(sys.modules[name]):
            del sys.modules[name]
    _finder.restore_settings()
    _finder = None
    if _reaches_children:
        folders = [folder for folder in _python_path() if folder != FOLDER]
        if folders:
            os.environ["PYTHONPATH"] = os.pathsep.join(folders)
        else:
            os.environ.pop("PYTHONPATH", None)
        if FOLDER in sys.path:
            sys.path.remove(FOLDER)
        _reaches_children = False


def is_installed() -> bool:
    """Say whether ``import sacred`` finds this library."""
    return _finder is not None and _finder in sys.meta_path


def __getattr__(name: str) -> Any:
    if name in ("SacredImportedError", "SacredNameError"):  # a start of Python with --enable does not pay for them
        from capture.compat import errors

        return getattr(errors, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _sacred_modules() -> list[str]:
    return [name for name in list(sys.modules) if name == "sacred" or name.startswith("sacred.")]


def _python_path() -> list[str]:
    return [folder for folder in os.environ.get("PYTHONPATH", "").split(os.pathsep) if folder]
