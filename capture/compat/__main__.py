"""``python -m capture.compat``: run something that was written for Sacred with this library in Sacred's place.

::

    python -m capture.compat SCRIPT [ARG...]
    python -m capture.compat -m MODULE [ARG...]
    python -m capture.compat --enable | --disable

The first two reach the Python processes that the script starts, too, as long as those keep PYTHONPATH. ``--enable``
tells every Python of this environment, whoever starts it; ``--disable`` takes that back.
"""

from __future__ import annotations

import os
import sys

from capture.compat import install_as_sacred

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

USAGE = """\
Usage:
  python -m capture.compat SCRIPT [ARG...]
  python -m capture.compat -m MODULE [ARG...]
  python -m capture.compat --enable | --disable

Run a script or module with this library in Sacred's place: `import sacred` finds capture.
--enable makes it so for every Python of this environment, --disable takes that back.
"""


def main(arguments: list[str]) -> None:
    """Do what the command line says."""
    first = arguments[0] if arguments else ""
    if first in ("-h", "--help"):
        sys.stdout.write(USAGE)
    elif arguments in (["--enable"], ["--disable"]):
        from capture.compat import environment

        sys.stdout.write((environment.enable if first == "--enable" else environment.disable)() + "\n")
    elif first == "-m" and len(arguments) > 1:
        run_module(arguments[1], arguments[1:])
    elif first and not first.startswith("-"):
        run_script(first, arguments)
    else:
        _refuse(f"the arguments {' '.join(arguments)!r} do not fit the usage.\n{USAGE}")


def run_script(script: str, argv: list[str]) -> None:
    """Run a file as Python would, as ``__main__``."""
    if not os.path.exists(script):
        _refuse(f"there is no script {script!r} (looked in {os.getcwd()!r})")
    install_as_sacred(children=True)
    full = os.path.abspath(script)
    is_program = os.path.isfile(full) and not _is_archive(full)
    sys.argv = argv
    if not getattr(sys.flags, "safe_path", False):  # else Python was told to leave the script's folder out
        sys.path[0] = os.path.dirname(full)  # where `python -m` has the current folder
    if is_program:
        _become(full)
    else:
        import runpy

        runpy.run_path(script, run_name="__main__")


def _become(script: str) -> None:
    """Run a file as the module ``__main__``, which it stays: until the process ends, for threads and pickles too."""
    from io import open_code
    from types import ModuleType

    main = ModuleType("__main__")
    main.__dict__.update(__file__=script, __cached__=None, __builtins__=__builtins__)
    sys.modules["__main__"] = main
    with open_code(script) as stream:
        source = stream.read()
    exec(compile(source, script, "exec", dont_inherit=True), main.__dict__)  # noqa: S102 - it is what was asked for


def _is_archive(path: str) -> bool:
    from zipfile import is_zipfile

    return is_zipfile(path)


def run_module(module: str, argv: list[str]) -> None:
    """Run a module as ``python -m`` would."""
    install_as_sacred(children=True)
    import runpy
    from importlib.util import find_spec

    try:
        found = find_spec(module)
    except ModuleNotFoundError as error:
        if not f"{module}.".startswith(f"{error.name}."):  # the package that it lies in cannot be imported
            raise
        found = None
    if found is None:
        _refuse(f"there is no module {module!r}")
    sys.argv = argv
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def _refuse(message: str) -> NoReturn:
    sys.stderr.write(f"capture.compat: {message.rstrip()}\n")
    sys.exit(2)


if __name__ == "__main__":
    main(sys.argv[1:])
