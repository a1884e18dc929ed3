"""Events and journals for the tests of this room and the next."""

from __future__ import annotations

import os
from datetime import datetime, timezone

from capture import events
from capture.journal import Journal

NOW = datetime(2026, 1, 1, 12, tzinfo=timezone.utc)
UID = "019b76da-0000-7000-8000-000000000001"


def opened(observers=(), uid=UID, writer="main", spool="", **host):
    return events.Opened(
        format=1, uid=uid, writer=writer, version="0.1", host=host, observers=list(observers), spool=spool
    )


def started(label=None, **config):
    return events.Started(
        start_time=NOW, command="main", ex_info={"name": "test"}, host_info={}, config=config, meta_info={}, label=label
    )


def metrics_body(*values, name="loss", start=1_000):
    """Return the fields of a `Metrics` event as text."""
    return str(
        {"start": start, "columns": {name: {"steps": list(range(len(values))), "values": list(values),
                                            "times": [0] * len(values)}}}
    ).replace("'", '"')[1:-1]  # fmt: skip


def completed(result=None):
    return events.Completed(stop_time=NOW, result=result)


def journal_in(folder, first=None, **options):
    """Return a new journal in ``<folder>/journals``."""
    path = os.path.join(folder, "journals")
    os.makedirs(path, exist_ok=True)
    return Journal.create(path, first or opened(), **options)
