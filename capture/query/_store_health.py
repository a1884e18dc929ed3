"""What is wrong with a store: whether it is there and can be read, what it says of itself, its runs, and its bin."""

from __future__ import annotations

import os
from contextlib import contextmanager

from capture.query._finding import Finding
from capture.query._run_health import records, running
from capture.query._state_health import free_space
from capture.wording import counted

TYPE_CHECKING = False
if TYPE_CHECKING:
    import logging
    from collections.abc import Iterator
    from typing import Any


def store(location: str, is_named: bool = True) -> Iterator[Finding]:
    """Yield what is found out about a store.

    Parameters
    ----------
    location : str
        A folder or URL.
    is_named : bool
        Whether somebody expects it to be there.
    """
    from capture.query.known import local_place
    from capture.registry import open_reader
    from capture.secrets import redact_url

    shown = redact_url(location)
    if location.lower() == "none":
        yield Finding("note", "runs are not recorded: the default store is none")
        return
    place = local_place(location)
    if place is not None and not os.path.exists(place):
        text = f"there is no store at {shown} yet"
        yield Finding("problem", text) if is_named else Finding("note", text, "the first run makes it")
        return
    reader: Any = open_reader(location)
    try:
        if hasattr(reader, "check_exists"):
            reader.check_exists()
        labels = reader.labels()
        yield Finding("ok", f"{reader.url or shown} can be read, and holds {counted(len(labels), 'run')}")
        if place is not None:
            yield from free_space(place if os.path.isdir(place) else os.path.dirname(os.path.abspath(place)))
        if hasattr(reader, "health"):
            for level, text, remedy in reader.health():
                yield Finding(level, text, remedy)
        with _silence():  # what cannot be read is said here, with what to do
            yield from records(reader, labels)
            yield from running(reader)
    finally:
        reader.close()
    yield from _bin(location)


@contextmanager
def _silence() -> Iterator[None]:
    """Keep the readers of stores from logging what this thread makes them say."""
    import logging
    import threading

    here = threading.get_ident()

    def is_of_others(record: logging.LogRecord) -> bool:
        return record.thread != here

    logger = logging.getLogger("capture.observers")
    logger.addFilter(is_of_others)
    try:
        yield
    finally:
        logger.removeFilter(is_of_others)


def _bin(location: str) -> Iterator[Finding]:
    from capture.registry import open_curator

    curator: Any = open_curator(location)
    count = len(curator.binned())
    if hasattr(curator, "close"):
        curator.close()
    if count:
        yield Finding("note", f"{counted(count, 'run')} in the bin", "capture purge lists what is there")
