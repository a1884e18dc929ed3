"""``capture doctor``: settings and who set them, journals that wait, what is installed."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

USAGE = """\
Show settings and who set them, journals that wait, and what is installed.

Usage:
  capture doctor
"""


def run(arguments: dict[str, Any]) -> int:
    """Print the state of things."""
    from capture._version import __version__
    from capture.cli.observers import rows
    from capture.journal import list_journals, state_dirs
    from capture.liveness import probe
    from capture.secrets import redact_url
    from capture.settings import DEFAULTS, SETTINGS
    from capture.stores import default_folder

    print(f"capture {__version__}, Python {sys.version.split()[0]} ({sys.executable})\n")
    print("Settings that differ from the library's:")
    changed = [name for name in DEFAULTS if SETTINGS.origin(name) != "library"]
    for name in changed:
        print(f"  {name} = {SETTINGS.shown(name)}  ({SETTINGS.origin(name)})")
    if not changed:
        print("  none")
    folder = default_folder()
    print(f"\nDefault store: {redact_url(SETTINGS.STORE)}" + (f"  ({folder})" if folder else ""))
    states = state_dirs(folder)
    print(f"Journals in {', '.join(states)}:")
    journals = [path for state in states for path in list_journals(state)]
    for path in journals:
        print(f"  {os.path.basename(path)}  {os.path.getsize(path):>12,} bytes  writer {probe(path)}")
    if not journals:
        print("  none wait")
    elif any(probe(path) == "dead" for path in journals):
        print("  capture sync delivers those whose writer is dead")
    print("\nStores:")
    for schemes, name, _, _, origin, state in rows():
        print(f"  {schemes}  {name}, from {origin}: {state}")
    return 0
