"""Which version of the tables this library writes."""

from __future__ import annotations

REVISIONS = ("0001", "0002")  #: oldest first; the first is that of Sacred alone
HEAD = REVISIONS[-1]
VERSION_TABLE = "capture_version"  #: of one row, which Alembic keeps
