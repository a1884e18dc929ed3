"""Sacred's names for every Python of an environment: a file ``sacred-as-capture.pth`` among its packages.

Python reads such files when it starts. This one costs a start about a millisecond, and it changes nothing until
something imports ``sacred``.
"""

from __future__ import annotations

import os

from capture.compat.errors import EnvironmentFolderError

FILE = "sacred-as-capture.pth"
#: one line, as Python asks; where this library is uninstalled later, no start of Python shall complain
LINE = (
    r'import sys; exec("try:\n import capture.compat\nexcept ImportError:\n pass\n'
    r'else:\n capture.compat.install_as_sacred()")' + "\n"
)


def path() -> str:
    """Return where the file lies, or would."""
    import sysconfig

    return os.path.join(sysconfig.get_paths()["purelib"], FILE)


def enable() -> str:
    """Make ``import sacred`` find this library in this environment; return a sentence that says so.

    Raises
    ------
    EnvironmentFolderError
        If its folder of packages cannot be written to.
    """
    try:
        with open(path(), "w", encoding="utf-8") as stream:
            stream.write(LINE)
    except OSError as error:
        raise EnvironmentFolderError(
            f"{path()} cannot be written: {error.strerror or error}."
            "\n  what to do:  use a virtual environment, or python -m capture.compat SCRIPT for single scripts"
        ) from error
    return f"import sacred finds capture now, in every Python of this environment ({path()})"


def disable() -> str:
    """Take that back; return a sentence that says so."""
    try:
        os.remove(path())
    except FileNotFoundError:
        return f"nothing to take back: there is no {path()}"
    except OSError as error:
        raise EnvironmentFolderError(f"{path()} cannot be removed: {error.strerror or error}") from error
    return f"import sacred finds Sacred again, in new processes of this environment (removed {path()})"
