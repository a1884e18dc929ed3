"""``capture doctor``: settings and who set them, journals that wait, what is installed."""

from __future__ import annotations

import os
import sys


def run() -> int:
    """Print the state of things."""
    from capture._version import __version__
    from capture.journal import list_journals, state_dirs
    from capture.liveness import probe
    from capture.registry import BUILT_IN, GROUP, plugin_classes
    from capture.settings import DEFAULTS, SETTINGS
    from capture.stores import default_folder

    print(f"capture {__version__}, Python {sys.version.split()[0]} ({sys.executable})\n")
    print("Settings that differ from the library's:")
    changed = [name for name in DEFAULTS if SETTINGS.origin(name) != "library"]
    for name in changed:
        print(f"  {name} = {SETTINGS.shown(name)}  ({SETTINGS.origin(name)})")
    if not changed:
        print("  none")
    print(f"\nDefault store: {SETTINGS.STORE}  ({os.path.abspath(SETTINGS.STORE)})")
    states = state_dirs(default_folder())
    print(f"Journals in {', '.join(states)}:")
    journals = [path for state in states for path in list_journals(state)]
    for path in journals:
        print(f"  {os.path.basename(path)}  {os.path.getsize(path):>12,} bytes  writer {probe(path)}")
    if not journals:
        print("  none wait")
    elif any(probe(path) == "dead" for path in journals):
        print("  capture sync delivers those whose writer is dead")
    print("\nStores:")
    for scheme, target in sorted(BUILT_IN.items()):
        print(f"  {scheme}://  built in  {target}")
    for scheme, entry in sorted(plugin_classes(GROUP).items()):
        print(f"  {scheme}://  {entry.dist.name if entry.dist else '?'}  {entry.value}")
    return 0
