"""``capture doctor``: is everything as it should be, and if not, what is to be done?"""

from __future__ import annotations

import sys

from capture.cli._arguments import seconds
from capture.cli._console import heading, hint, say, styled
from capture.wording import counted, visible

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from capture.query.health import Finding
    from capture.query.mending import Mended

USAGE = """\
Check the installation, a store, and runs that are stuck or dead; say what to do.

Usage:
  capture doctor [--store=URL] [--all] [--json] [--timeout=SECONDS] [--fix [--dry-run]]

Looked at are packages and plug-ins, the command itself, git; the state folder with the journals that wait in it; the
store, its records, and the runs that say that they are going on. Settings are shown with who set them. Without --fix
nothing is changed. Status 1: there is a problem.

Options:
  --fix              First mend what can be mended without a risk, and say each thing that is done: deliver what
                     journals hold for the store, make a damaged index anew, finish what died in the middle of a purge,
                     delete half-written files that nobody writes any more. No data of yours is deleted. What waits for
                     other stores is named; capture sync delivers it.
  --dry-run          Say what --fix would do, and do nothing.
  --all              Also what is well, and the observers that are installed.
  --json             Print the answer as JSON.
  --timeout=SECONDS  How long the store may say nothing [default: 30].
  --store=URL        The store to look at; the default store if nothing is said.
"""

_STYLES = {"problem": "bold red", "warning": "yellow", "note": "cyan", "ok": "green"}


def run(arguments: dict[str, Any]) -> int:
    """Print the state of things; 1 if there is a problem."""
    from capture.query.health import examine

    timeout_s = seconds(arguments, "--timeout")
    is_dry = arguments["--dry-run"]
    mended = _mended(arguments["--store"], is_dry, arguments["--json"]) if arguments["--fix"] else []
    findings = examine(arguments["--store"], timeout_s)
    if arguments["--json"]:
        import json

        told = {"would_mend" if is_dry else "mended": [each.to_dict() for each in mended]} if arguments["--fix"] else {}
        print(json.dumps({**_about(), **told, "findings": [each.to_dict() for each in findings]}, indent=2))
    else:
        _print_about()
        _print(findings, arguments["--all"])
    is_wrong = any(each.level == "problem" for each in findings) or any(each.problem for each in mended)
    return 1 if is_wrong else 0


def _mended(url: str | None, is_dry: bool, is_quiet: bool) -> list[Mended]:
    """Mend, and say each thing as soon as it is begun."""
    from capture.query.mending import mend

    if not is_quiet:
        heading("What would be done (nothing is, with --dry-run):" if is_dry else "Mending:")
    done = []
    for each in mend(url, is_dry):
        done.append(each)
        if not is_quiet:
            say(f"  {each.area}: {_indented(each.text)}")
            if each.problem:
                say(f"    {styled('not done', _STYLES['problem'])}: {_indented(each.problem)}")
    if not is_quiet:
        if not done:
            say("  nothing: there is nothing that can be mended without a risk")
        elif all(each.problem for each in done):
            say("  nothing was mended")
        say()
    return done


def _about() -> dict[str, Any]:
    from capture._version import __version__
    from capture.secrets import redact_url
    from capture.settings import DEFAULTS, SETTINGS

    changed = {
        name: {"value": SETTINGS.shown(name), "set_by": SETTINGS.origin(name)}
        for name in DEFAULTS
        if SETTINGS.origin(name) != "library"
    }
    return {
        "version": __version__,
        "python": sys.version.split()[0],
        "executable": sys.executable,
        "store": redact_url(SETTINGS.STORE),
        "settings": changed,
    }


def _print_about() -> None:
    from capture.stores import default_folder

    about = _about()
    say(f"capture {about['version']}, Python {about['python']} ({visible(about['executable'])})")
    heading("Settings that differ from the library's:")
    for name, setting in about["settings"].items():
        say(f"  {name} = {visible(setting['value'])}  ({visible(setting['set_by'])})")
    if not about["settings"]:
        say("  none")
    folder = default_folder()
    say(f"\nDefault store: {visible(about['store'])}" + (f"  ({visible(folder)})" if folder else ""))


def _print(findings: list[Finding], everything: bool) -> None:
    from capture.query.health import LEVELS

    shown = [each for each in findings if everything or each.level != "ok"]
    for area in dict.fromkeys(each.area for each in shown):
        heading(f"{area.capitalize()}:")
        of_area = [each for each in shown if each.area == area]
        for each in sorted(of_area, key=lambda each: -LEVELS.index(each.level)):
            say(f"  {styled(each.level, _STYLES[each.level])}: {_indented(each.text)}")
            if each.remedy:
                say(f"    to do: {_indented(each.remedy)}")
    if everything:
        _print_observers()
    counts = {level: sum(each.level == level for each in findings) for level in LEVELS}
    say()
    if counts["problem"] or counts["warning"]:
        say(f"{counted(counts['problem'], 'problem')}, {counted(counts['warning'], 'warning')}")
    else:
        say(f"All is well: {counted(len(findings), 'thing')} looked at.")
    if not everything:
        hint("capture doctor --all shows also what is well")


def _indented(text: str) -> str:
    return visible(text, lines=True).replace("\n", "\n    ")


def _print_observers() -> None:
    from capture.cli.observers import rows

    heading("Observers:")
    for schemes, name, _, _, origin, state in rows():
        say(f"  {schemes}  {name}, from {visible(origin)}: {visible(state)}")
