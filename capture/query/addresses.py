"""Runs of several stores, told apart: ``STORE::RUN`` on a command line, and what runs are called side by side.

Two colons stand in no label that a store gives, need no quotes in any shell, and are no sign of a URL's own: ``#`` and
``?`` are, a single colon stands before ports, passwords and the path of a drive, and zsh may take ``#`` for a pattern.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

SEPARATOR = "::"  #: between a store and a run of it
_OF_A_STORE = "/\\@]"  #: what is behind the colons belongs to a URL or a path if one of these is in it


def split_run(word: str) -> tuple[str | None, str]:
    """Return the store that a word names before a run, and the run; None where it names only a run.

    The last two colons count, and only where none of ``/ \\ @ ]`` follows: so those of an IPv6 address, of a password
    and of a chain of file systems are no separator. A run whose label has one of these, or two colons, is named by its
    uid. Either part is "" where nothing stands there.

    Examples
    --------
    >>> split_run("12"), split_run("runs::12"), split_run("sqlite:///lab.db::latest")
    ((None, '12'), ('runs', '12'), ('sqlite:///lab.db', 'latest'))
    >>> split_run("mongodb://[::1]:27017/lab"), split_run("mongodb://[::1]:27017/lab?tls=true::-1")
    ((None, 'mongodb://[::1]:27017/lab'), ('mongodb://[::1]:27017/lab?tls=true', '-1'))
    """
    store, separator, run = word.rpartition(SEPARATOR)
    if not separator or any(sign in run for sign in _OF_A_STORE):
        return None, word
    return store, run


def store_of(run: Any) -> str | None:
    """Return the URL of the store that a run is in; None for what comes from none that is known."""
    url = getattr(getattr(run, "store", None), "url", None)
    return str(url) if url else None


def stores_of(runs: Iterable[Any]) -> dict[str, str]:
    """Return what the stores of runs are called, by their URLs; nothing where there are not several."""
    urls = list(dict.fromkeys(url for url in map(store_of, runs) if url is not None))
    return short_names(urls) if len(urls) > 1 else {}


def short_names(urls: Sequence[str]) -> dict[str, str]:
    """Return for each URL the end of its path, as much of it as it takes to tell it from the others.

    Examples
    --------
    >>> list(short_names(["file:///here/runs", "s3://there/runs", "mongodb://db:27017/lab"]).values())
    ['here/runs', 'there/runs', 'lab']
    """
    parts = {url: url.partition("://")[2].partition("?")[0].strip("/").split("/") for url in urls}
    names = {}
    for url, own in parts.items():
        others = [each for other, each in parts.items() if other != url]
        ends = (count for count in range(1, len(own) + 1) if all(own[-count:] != each[-count:] for each in others))
        count = next(ends, 0)
        names[url] = ("/".join(own[-count:]) if count else "") or url
    return names


def names_of(runs: Sequence[Any]) -> list[str]:
    """Return what runs are called: label, else the end of the uid; before it the store, where there are several.

    Several of one name are numbered.
    """
    stores = stores_of(runs)
    names = [str(run.label) if run.label is not None else run.uid[-8:] or "?" for run in runs]
    for place, run in enumerate(runs):
        store = store_of(run)
        if store in stores:
            names[place] = f"{stores[store]}{SEPARATOR}{names[place]}"
    return [
        name if names.count(name) == 1 else f"{name} ({names[:place].count(name) + 1})"
        for place, name in enumerate(names)
    ]
