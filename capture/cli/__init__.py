"""The ``capture`` command."""

from __future__ import annotations

import os
import sys

from capture.errors import CaptureError, CommandLineError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

USAGE = """\
Record, deliver and explain runs.

Usage:
  capture demo [ARG...]
  capture trace SCRIPT [ARG...]
  capture sync [--to=URL] [UID...]
  capture cp [--verify] SOURCE TARGET [RUN...]
  capture observers
  capture doctor
  capture (-h | --help)
  capture --version

Commands:
  demo      Run a bundled example: capture demo with degree=5
  trace     Run a script and print each event of its runs on one line.
  sync      Deliver what runs, or those with the given UIDs, left behind when they died or a store was away.
  cp        Copy runs with their files from the store at one URL to that at another: all, those named, or those for
            which a condition such as "config.lr < 0.1" holds. What is there already is not copied again.
  observers List the stores that are installed, what each keeps, and which package it comes from.
  doctor    Show settings and who set them, journals that wait, and what is installed.

Options:
  --to=URL  Deliver to this store instead of those that the journals name.
  --verify  Read each copy again, bytes included, and compare it.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Carry out a command line; return the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        return _command(arguments)
    except CommandLineError as error:
        print(f"capture: {error}", file=sys.stderr)
        return 2
    except CaptureError as error:
        print(f"capture: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # `capture doctor | head`: say nothing at exit either
        return 1


def _command(arguments: list[str]) -> int:
    name = arguments[0] if arguments else "--help"
    if name == "demo":
        from capture.cli import demo

        return demo.run(arguments[1:])
    if name == "trace":
        from capture.cli import trace

        return trace.run(arguments[1:])
    if name in ("-h", "--help", "help"):
        print(USAGE, end="")
        return 0
    if name == "--version":
        from capture._version import __version__

        print(f"capture {__version__}")
        return 0
    if name == "sync":
        from capture.cli import sync

        parsed = _parsed("capture sync [--to=URL] [UID...]", arguments[1:])
        return sync.run(parsed["--to"], parsed["UID"])
    if name == "cp":
        from capture.cli import cp

        parsed = _parsed("capture cp [--verify] SOURCE TARGET [RUN...]", arguments[1:])
        return cp.run(parsed["SOURCE"], parsed["TARGET"], parsed["RUN"], parsed["--verify"])
    if name == "observers":
        from capture.cli import observers

        if arguments[1:]:
            raise CommandLineError(f"observers takes no arguments, got {' '.join(arguments[1:])!r}")
        return observers.run()
    if name == "doctor":
        from capture.cli import doctor

        if arguments[1:]:
            raise CommandLineError(f"doctor takes no arguments, got {' '.join(arguments[1:])!r}")
        return doctor.run()
    from capture.errors import suggest

    close = suggest(name, ("demo", "trace", "sync", "cp", "observers", "doctor"))
    hint = f" Did you mean {close!r}?" if close else ""
    raise CommandLineError(f"there is no command {name!r}.{hint} capture --help lists them.")


def _parsed(usage: str, arguments: list[str]) -> Any:
    import docopt

    try:
        return docopt.docopt(f"Usage:\n  {usage.removeprefix('capture ')}\n", arguments, False)
    except docopt.DocoptExit:
        words = " ".join(arguments)
        raise CommandLineError(f"these arguments are not understood: {words!r}. See capture --help") from None
