"""What is wrong with an installation: packages, plug-ins, drivers, the command, programs that are needed, the clock."""

from __future__ import annotations

import os
import sys

from capture.errors import CaptureError
from capture.query._finding import Finding

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

#: what has to be there, module -> distribution
REQUIRED = {
    "wrapt": "wrapt",
    "docopt": "docopt-ng",
    "git": "GitPython",
    "jsonpickle": "jsonpickle",
    "cpuinfo": "py-cpuinfo",
    "rich": "rich",
}


def installation() -> Iterator[Finding]:
    """Yield what is found out about packages, the command, and programs that are needed."""
    yield from _python()
    yield from _packages()
    yield from _twice()
    yield from _plugins()
    yield from _drivers()
    yield from _command()
    yield from _git()
    yield from _time_zone()


def _python() -> Iterator[Finding]:
    from capture._version import __version__

    version = ".".join(map(str, sys.version_info[:3]))
    yield Finding("ok", f"capture {__version__}, Python {version} ({sys.executable})")


def _packages() -> Iterator[Finding]:
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as version_of

    from capture.query.installed import is_installed

    for module, distribution in REQUIRED.items():
        if not is_installed(module):
            text = f"{distribution} is missing, which the library needs"
            yield Finding("problem", text, f"pip install '{distribution}'")
    try:
        wrapt = version_of("wrapt")
    except PackageNotFoundError:
        return
    if not wrapt.startswith("1."):
        text = f"wrapt {wrapt} is installed: the library was made with 1.17, and a later one makes each start slower"
        yield Finding("warning", text, "pip install 'wrapt>=1.17,<2'")


def _twice() -> Iterator[Finding]:
    """Look for distributions that write the same files, and for several versions of this library."""
    from importlib.metadata import distributions

    versions: dict[str, set[str]] = {}
    for each in distributions():
        name = (each.metadata["Name"] or "").lower().replace("_", "-")
        versions.setdefault(name, set()).add(each.version)
    if "docopt" in versions and "docopt-ng" in versions:
        text = "docopt and docopt-ng are both installed, and either overwrites the other's docopt.py"
        remedy = "pip uninstall -y docopt && pip install --force-reinstall docopt-ng"
        yield Finding("warning", text, remedy)
    elif "docopt" in versions:
        text = "the old docopt is installed in place of docopt-ng, which the library needs"
        yield Finding("problem", text, "pip uninstall -y docopt && pip install docopt-ng")
    ours = versions.get("experiment-capture", set())
    if len(ours) > 1:
        text = f"several versions of experiment-capture are installed: {', '.join(sorted(ours))}"
        yield Finding("warning", text, "pip uninstall experiment-capture until none is left; install it")


def _plugins() -> Iterator[Finding]:
    """Look whether what other packages declare can be loaded."""
    from capture.registry import GROUP, PROBE_GROUP, package_of, plugin_classes

    for group, what in ((GROUP, "observer"), (PROBE_GROUP, "probe")):
        for name, entry in sorted(plugin_classes(group).items()):
            try:
                entry.load()
            except Exception as error:  # noqa: BLE001 - another package's code
                text = f"the {what} {name!r} of {package_of(entry)} cannot be loaded: {type(error).__name__}: {error}"
                yield Finding("problem", text, f"pip install --upgrade {package_of(entry)}, or uninstall it")
            else:
                yield Finding("ok", f"the {what} {name!r} of {package_of(entry)} can be loaded")


def _drivers() -> Iterator[Finding]:
    """Look whether what the settings name can be used."""
    from capture.query.installed import is_installed, missing_drivers
    from capture.registry import observer_class, split_url
    from capture.settings import SETTINGS

    if SETTINGS.STORE.lower() != "none":
        try:
            missing = missing_drivers(observer_class(SETTINGS.STORE), split_url(SETTINGS.STORE)[0])
        except CaptureError as error:
            yield Finding("problem", f"STORE, set by {SETTINGS.origin('STORE')}: {error}")
        else:
            if missing:
                text = f"the default store, set by {SETTINGS.origin('STORE')}, lacks its driver"
                yield Finding("problem", text, f"pip install {' '.join(map(repr, missing))}")
    if SETTINGS.NOTIFY.URLS and not is_installed("apprise"):
        text = f"NOTIFY.URLS, set by {SETTINGS.origin('NOTIFY.URLS')}, needs a package that is missing: nobody is told"
        yield Finding("problem", text, "pip install 'experiment-capture[notify]'")


def _command() -> Iterator[Finding]:
    """Look whether the command on PATH is that of this interpreter."""
    import shutil

    found = shutil.which("capture")
    scripts = os.path.dirname(sys.executable)
    if sys.platform == "win32" and os.path.basename(scripts).lower() != "scripts":
        scripts = os.path.join(scripts, "Scripts")
    if found is None:
        text = f"there is no command capture on PATH; that of this Python would be in {scripts}"
        yield Finding("note", text, f"add {scripts} to PATH, or say {sys.executable} -m capture")
    elif not _is_ours(found, scripts):
        text = f"the command capture on PATH, {found}, belongs to another environment than {sys.executable}"
        yield Finding("warning", text, f"activate the environment, or say {sys.executable} -m capture")
    else:
        yield Finding("ok", f"the command on PATH is that of this environment: {found}")


def _is_ours(command: str, scripts: str) -> bool:
    """Say whether a script lies beside this interpreter, or names it in its first line."""
    if os.path.realpath(os.path.dirname(command)) == os.path.realpath(scripts):
        return True
    try:
        with open(command, "rb") as stream:
            first = stream.readline(1024)
    except OSError:
        return False
    interpreter = first[2:].decode("utf-8", "replace").strip() if first.startswith(b"#!") else ""
    return bool(interpreter) and os.path.dirname(interpreter) == os.path.dirname(sys.executable)


def _git() -> Iterator[Finding]:
    import shutil

    from capture.settings import SETTINGS

    found = shutil.which("git")
    if found is not None:
        yield Finding("ok", f"git is {found}")
    elif SETTINGS.GIT.ENABLED:
        text = "there is no git on PATH: runs record no changes that are not committed"
        yield Finding("warning", text, "install git, or set GIT.ENABLED to false")


def _time_zone() -> Iterator[Finding]:
    from capture.moments import datetime, timezone

    now = datetime.now(timezone.utc).astimezone()
    yield Finding("ok", f"time zone {now.tzname()} (UTC{now:%z}); times are stored as UTC")
    if now.year < 2024:
        yield Finding("problem", f"the clock says {now:%Y-%m-%d}", "set the clock: runs are ordered by time")
