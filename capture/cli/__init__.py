"""The ``capture`` command: finds the module of a subcommand, and runs it.

Each subcommand is a module of this package with two names: ``USAGE``, its help, which begins with docopt's usage lines,
and ``run(arguments) -> exit status``, which gets what docopt made of the command line.
"""

from __future__ import annotations

import os
import sys

from capture.errors import CaptureError, CommandLineError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

#: heading -> subcommand -> what it does, in a line
GROUPS: dict[str, dict[str, str]] = {
    "Look": {
        "ls": "List runs, the newest first; of those for which a condition holds.",
        "show": "Show all of a run, or one part: --out --source --config --env --lineage --metrics.",
        "tail": "Show the end of a run's output, and with -f what is added to it.",
        "best": "Show the run with the highest or lowest result or metric.",
        "diff": "Say why runs differ: the likeliest causes first, then what came out.",
        "lineage": "Say which run wrote a file, and which runs read it.",
        "report": "Write a page in HTML about runs that needs nothing else.",
    },
    "Keep": {
        "tag": "Add or take away tags.",
        "note": "Write a note on a run.",
        "rm": "Put runs into the bin.",
        "restore": "Bring runs back from the bin.",
        "purge": "Delete runs that are in the bin for good.",
    },
    "Take along": {
        "get": "Fetch files of a run: artifacts, resources, sources, by name, pattern or digest.",
        "verify": "Compute every digest of a run's files again.",
        "export": "Write a run as a folder, as an RO-Crate, or to MLflow.",
        "cp": "Copy runs with their files from one store to another.",
        "sync": "Deliver what runs left behind when they died or a store was away.",
    },
    "Set up": {
        "stores": "List the stores that are known here, and what is in them.",
        "observers": "List the observers that are installed, and what each keeps.",
        "doctor": "Check the installation, a store, and runs that are stuck or dead; say what to do.",
        "completion": "Print a script that completes commands in bash, zsh or fish.",
        "demo": "Run a bundled example: capture demo with degree=5",
        "trace": "Run a script and print each event of its runs on one line.",
    },
}
COMMANDS = {name: summary for group in GROUPS.values() for name, summary in group.items()}
_RAW = ("demo", "trace")  #: what follows is the command line of somebody else
#: what only looks: whoever reads its output and goes away has seen enough
_LOOKS = frozenset({"ls", "show", "best", "stores", "observers", "completion"})
_BROKEN_PIPE = 141  #: what a shell says of a program that died as it wrote for nobody
_ASKS = frozenset({"diff"})  #: whose status 1 is an answer: what goes wrong there is 2, as it is with diff itself
_TELLS_DAMAGE = ("verify", "cp", "doctor", "completion")  #: what says itself which runs have lost something
_LISTS = ("ls", "completion")  #: what cannot be read is missing there, which is said, and the rest is right


def usage() -> str:
    """Return what ``capture --help`` prints."""
    lines = ["Record, deliver, compare and explain runs.", "", "Usage:", "  capture COMMAND [ARGUMENT...]"]
    lines += ["  capture COMMAND --help", "  capture --version"]
    for heading, commands in GROUPS.items():
        lines += ["", f"{heading}:", *(f"  {name:<11} {summary}" for name, summary in commands.items())]
    lines += [
        "",
        "A run is named by its label, the beginning or end of its uid, latest, or -1. The store is the one that",
        "--store=URL names, else that of CAPTURE_STORE or the settings, else ./runs. STORE::RUN names a run together",
        "with its store: ~/digits/runs::12, mongodb://HOST/DB::latest.",
    ]
    return "\n".join(lines) + "\n"


def main(argv: Sequence[str] | None = None) -> int:
    """Carry out a command line; return the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    is_raw = bool(arguments) and arguments[0] in _RAW  # then output and Ctrl-C are somebody else's, too
    if not is_raw and getattr(sys.stdout, "errors", None) == "strict":
        # A terminal that knows ASCII only must not end a command.
        sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        status = _explained(arguments)
        if sys.stdout is not None:
            sys.stdout.flush()  # who reads may have gone away: that is noticed here, or else at exit
        return status
    except KeyboardInterrupt:
        if is_raw:
            raise
        return 130
    except BrokenPipeError:  # `capture ls | head`: the same status whether all was written before that, or not
        _leave_output()
        is_look = not arguments or arguments[0] not in COMMANDS or arguments[0] in _LOOKS
        return 0 if is_look else _BROKEN_PIPE
    except OSError as error:  # a full disk, a folder that may not be read: no fault of this program
        if is_raw:
            raise
        from capture.wording import visible

        print(f"capture: {visible(str(error))}", file=sys.stderr)
        _leave_output()
        return _went_wrong(arguments)


def _leave_output() -> None:
    """Let what cannot be written be forgotten, so that Python does not try again at exit and fail again."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _explained(arguments: list[str]) -> int:
    try:
        return _command(arguments)
    except CaptureError as error:
        from capture.wording import visible

        print(f"capture: {visible(str(error), lines=True)}", file=sys.stderr)
        return 2 if isinstance(error, CommandLineError) else _went_wrong(arguments)


def _went_wrong(arguments: list[str]) -> int:
    return 2 if arguments and arguments[0] in _ASKS else 1


def _command(arguments: list[str]) -> int:
    name = arguments[0] if arguments else "--help"
    if name in ("-h", "--help", "help"):
        print(usage(), end="")
        return 0
    if name == "--version":
        from capture._version import __version__

        print(f"capture {__version__}")
        return 0
    if name not in COMMANDS:
        from capture.errors import suggest

        close = suggest(name, COMMANDS)
        hint = f" Did you mean {close!r}?" if close else ""
        raise CommandLineError(f"there is no command {name!r}.{hint} capture --help lists them.")
    from importlib import import_module

    module: Any = import_module(f"capture.cli.{name}")
    if name in _RAW:
        return module.run(arguments[1:])
    from capture.cli._arguments import parse, tell_unreadable

    parsed = parse(module.USAGE, arguments)
    if parsed is None:
        return 0
    try:
        status = module.run(parsed)
    finally:
        lacks_some = tell_unreadable(tells_damage=name not in _TELLS_DAMAGE)
    return status or (_went_wrong(arguments) if lacks_some and name not in _LISTS else 0)
