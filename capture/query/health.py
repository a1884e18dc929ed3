"""Is everything as it should be? The installation, the state folder and what waits in it, a store and its runs.

Each of these has a module of its own; here they are asked in turn, and none may keep the others from being heard.
Nothing is changed by asking, but for a lock file that is made in the state folder and deleted at once.
"""

from __future__ import annotations

from capture.errors import CaptureError
from capture.query._finding import LEVELS, Finding
from capture.query._installation_health import installation
from capture.query._state_health import state
from capture.query._store_health import store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["LEVELS", "Finding", "examine"]

TIMEOUT_S = 30.0  #: how long a store may say nothing


def examine(url: str | None = None, timeout_s: float = TIMEOUT_S) -> list[Finding]:
    """Look at everything.

    Parameters
    ----------
    url : str, optional
        The store to look at; the default one if nothing is said.
    timeout_s : float
        Seconds for which the store may say nothing; then the rest of it is not waited for.
    """
    from capture.settings import SETTINGS

    location = SETTINGS.STORE if url is None else url
    found: list[Finding] = []
    _look("installation", installation, found)
    _look("state", state, found)
    return found + _within(timeout_s, lambda: store(location, url is not None))


def _look(area: str, look: Callable[[], Iterable[Finding]], found: list[Finding]) -> None:
    """Add what is found; one thing that cannot be looked at must not hide the others."""
    try:
        for finding in look():
            finding.area = area
            found.append(finding)
    except Exception as error:  # noqa: BLE001 - as said: it is a finding, too
        said = str(error) if isinstance(error, CaptureError) else f"{type(error).__name__}: {error}"
        found.append(Finding("problem", said, area=area))


def _within(timeout_s: float, look: Callable[[], Iterable[Finding]]) -> list[Finding]:
    """Return what is found of a store before it says nothing for too long."""
    import threading

    found: list[Finding] = []
    thread = threading.Thread(target=_look, args=("store", look, found), name="capture-doctor", daemon=True)
    thread.start()
    before = -1
    while thread.is_alive() and len(found) > before:
        before = len(found)
        thread.join(timeout_s)
    if not thread.is_alive():
        return found
    remedy = "see whether its server or its disk is away; --timeout=SECONDS waits longer"
    what = "the rest of it was not looked at: " if before else ""
    silent = Finding("problem", f"{what}no answer within {timeout_s:g} s", remedy, area="store")
    return [*found[:before], silent]
