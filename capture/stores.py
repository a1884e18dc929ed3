"""Stores by URL, with what was left behind for them delivered first."""

from __future__ import annotations

import os

from capture.errors import StoreNotFoundError
from capture.registry import make_observer, observer_class, open_reader, split_url

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from capture.hooks import Reader


def open_store(url: str | os.PathLike[str]) -> Reader:
    """Open a store for reading.

    Journals that writers of this machine left behind for a local store are delivered first, so that a run whose process
    was killed is there with all it had recorded.

    Parameters
    ----------
    url : str or path
        A folder, or a URL whose scheme is built in or declared by an installed package.

    Raises
    ------
    ObserverError
        If no store has this scheme, or its store cannot be read.
    StoreNotFoundError
        If it is a folder that does not exist, or a place in a bucket or on a file server where nothing lies.
    """
    location = os.fspath(url)
    if hasattr(observer_class(location), "local_folder"):
        folder = make_observer(location).local_folder  # type: ignore[attr-defined]
        if not os.path.isdir(folder):
            text = f"there is no store at {location!r}: {folder} is not a folder"
            raise StoreNotFoundError(text, print_traceback=False)
        deliver_to_local(location)
    elif hasattr(observer_class(location), "local_file"):
        deliver_to_local(location)
    reader: Any = open_reader(location)
    if hasattr(reader, "check_exists"):  # where nothing is asked of a server before it must be
        reader.check_exists()
    return reader


def deliver_to_local(url: str) -> None:
    """Deliver the journals that wait for the local store at `url`; problems are logged, reading goes on."""
    from capture.delivery import sync
    from capture.journal import list_journals, state_dirs
    from capture.liveness import machine_identity

    observer: Any = make_observer(url)
    if not _is_there(observer):
        return
    for state in state_dirs(getattr(observer, "local_folder", None)):
        if list_journals(state):
            for report in sync(state, [observer], host=machine_identity()):
                for identity, error in report.errors.items():
                    import logging

                    log = logging.getLogger("capture")
                    log.warning("%s could not be delivered to %s: %s", report.path, identity, error)


def _is_there(observer: Any) -> bool | None:
    """Say whether the folder or the file that an observer writes to is there; None if it is not of this machine."""
    folder, file = getattr(observer, "local_folder", None), getattr(observer, "local_file", None)
    if folder is not None:
        return os.path.isdir(folder)
    return None if file is None else os.path.isfile(file)


def default_folder() -> str | None:
    """Return the folder of the default store, or None if it is none of files."""
    from capture.settings import SETTINGS

    store = SETTINGS.STORE
    if store.lower() == "none" or split_url(store)[0] != "file":
        return None
    return make_observer(store).local_folder  # type: ignore[attr-defined]


def store_of(identity: str) -> Any:
    """Return an observer of the store with this identity, or None if it cannot be opened by that alone.

    An identity is the store's URL without credentials, mostly: where none are needed it is enough, and if the default
    store is this one, it has them. A folder or a file of this machine that is gone is not made anew.
    """
    from capture.settings import SETTINGS

    for location in (SETTINGS.STORE, identity):
        observer = _observer_of(location, identity)
        if observer is not None:
            return observer
    return None


def _observer_of(location: str, identity: str) -> Any:
    """Return an observer of the store at a location, if that has this identity and is not gone."""
    try:
        observer = make_observer(location)
    except Exception as error:  # noqa: BLE001 - other people's class; what waits for it goes on waiting
        import logging

        logging.getLogger("capture").info("%s cannot be opened by its name alone: %s", identity, error)
        return None
    if _is_there(observer) is False:
        return None
    return observer if getattr(observer, "identity", None) == identity else None
