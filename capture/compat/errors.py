"""What goes wrong with Sacred's names."""

from __future__ import annotations

from capture.errors import CaptureError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


class SacredImportedError(CaptureError, RuntimeError):
    """Sacred itself was imported before its names could be taken.

    Attributes
    ----------
    modules : tuple of str
        What was imported.
    file : str or None
        Where it lies.
    """

    def __init__(self, modules: Iterable[str] = (), file: str | None = None) -> None:
        self.modules, self.file = tuple(modules), file
        super().__init__(
            f"sacred was imported before install_as_sacred() was called{f', from {file}' if file else ''}."
            "\n  what to do:  call install_as_sacred() before anything imports sacred, or start the script by"
            " python -m capture.compat SCRIPT"
        )


class SacredNameError(CaptureError, ImportError):
    """A name of Sacred's that has no counterpart here.

    An ImportError and no AttributeError: Python would put a sentence of its own in place of the one that helps.

    Attributes
    ----------
    name : str
        With its module: ``sacred.config.config_files.get_handler``.
    instead : str
        What to use.
    """

    def __init__(self, name: str = "", instead: str = "") -> None:
        super().__init__(f"{name} of Sacred has no counterpart here.\n  use instead:  {instead}")
        self.name, self.instead = name, instead


class EnvironmentFolderError(CaptureError, OSError):
    """The folder of the environment's packages cannot be written to."""
