"""URLs that are fetched: which, with what answer, and the digest of what came back.

``http.client`` carries urllib, requests, urllib3, and pandas and pyarrow where they read from a URL through those;
httpx and aiohttp have connections of their own. Each is wrapped when it has been imported, from the first watched run
on; while no run is watched the wrappers only pass on.

The digest is of the body as it came over the wire: after transfer decoding (chunks are put together), before content
decoding (a gzipped body is hashed as it is). So it is the digest of the file on the server, for a server of files. It
covers what the run read; `complete` says whether that was all. Of a body that aiohttp has unpacked already there is
none. Bodies are not kept.
"""

from __future__ import annotations

import sys

from capture.probes.lineage.imported import after_import

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MODULES = ("http.client", "httpx", "aiohttp")


def attach() -> None:
    """Wrap what is imported, and the rest as it is imported. Doing it again is harmless."""
    for name in MODULES:
        after_import(name, _wrap)


def coverage() -> list[str]:
    """Say of what was fetched it is not known what was in it; empty if none of the libraries is imported."""
    return _responses().coverage() if _any_imported() else []


def limits() -> list[str]:
    """Say of what is fetched no digest can be had; empty if none of the libraries is imported."""
    return _responses().limits() if _any_imported() else []


def _any_imported() -> bool:
    return any(name in sys.modules for name in MODULES)


def _responses() -> Any:
    from capture.probes.lineage import responses

    return responses


def _wrap(module: Any) -> None:
    from capture.probes.lineage import responses

    responses.WRAPPERS[module.__name__](module)
