"""The tables of an SQL store: Sacred's, under its names, and ours beside them.

Sacred's tables say what they have columns for, without Sacred's limits on lengths. What they have no column for lies in
tables called ``capture_...``, whose column ``run`` is ``run.id``. Values of any type are JSON, as `capture.codec`
writes it; names and texts are plain, see `capture.observers._sql_values.stored_text`.

A change of these tables is a new revision in `capture.observers._sql_migrations`.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
)

from capture.observers._sql_values import LONGEST as LABEL
from capture.observers._sql_values import SHORT
from capture.observers._sql_version import VERSION_TABLE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


metadata = MetaData()


class _OnServers(TypeDecorator):
    """A type that MySQL and MariaDB have under a name of their own, which is imported only for them."""

    cache_ok = True

    def load_dialect_impl(self, dialect: Any) -> Any:
        if dialect.name not in ("mysql", "mariadb"):
            return dialect.type_descriptor(self.impl)
        from sqlalchemy.dialects import mysql

        return dialect.type_descriptor(self.of_mysql(mysql))

    def of_mysql(self, mysql: Any) -> Any:
        """Return the type, from the module that has those of MySQL."""
        raise NotImplementedError


class LongText(_OnServers):
    """Text of any length."""

    impl = Text
    cache_ok = True

    def of_mysql(self, mysql: Any) -> Any:
        return mysql.LONGTEXT(collation="utf8mb4_bin")


class ShortText(_OnServers):
    """Text that an index may hold: cut in MySQL and MariaDB, of any length elsewhere."""

    impl = Text
    cache_ok = True

    def of_mysql(self, mysql: Any) -> Any:
        return mysql.VARCHAR(SHORT, collation="utf8mb4_bin")


class Name(_OnServers):
    """Text of a limited length, upper and lower case told apart."""

    impl = String
    cache_ok = True

    def of_mysql(self, mysql: Any) -> Any:
        limited: Any = self.impl
        return mysql.VARCHAR(limited.length, collation="utf8mb4_bin")


TEXTS = (String, LongText, ShortText, Name)  #: types of texts; SQLAlchemy's `python_type` does not tell those made here


class Bytes(_OnServers):
    """Bytes, as many as one likes."""

    impl = LargeBinary
    cache_ok = True

    def of_mysql(self, mysql: Any) -> Any:
        return mysql.LONGBLOB()


class Moment(_OnServers):
    """A time, with its microseconds."""

    impl = DateTime
    cache_ok = True

    def of_mysql(self, mysql: Any) -> Any:
        return mysql.DATETIME(fsp=6)


def _number() -> Any:
    """Return the type of a row's own number: SQLite counts only what is called INTEGER."""
    return BigInteger().with_variant(Integer(), "sqlite")


def _table(name: str, *parts: Any, **more: Any) -> Table:
    options = {"engine": "InnoDB", "charset": "utf8mb4", "collate": "utf8mb4_bin"}
    for dialect in ("mysql", "mariadb"):
        more.update({f"{dialect}_{key}": value for key, value in options.items()})
    return Table(name, metadata, *parts, **more)


# -------------------------------------------------------------------------------------------------------- Sacred's

source = _table(
    "source",
    Column("source_id", Integer, primary_key=True),
    Column("filename", ShortText()),
    Column("md5sum", String(32)),
    Column("content", LongText()),
)
repository = _table(
    "repository",
    Column("repository_id", Integer, primary_key=True),
    Column("url", LongText()),
    Column("commit", String(64)),
    Column("dirty", Boolean),
)
dependency = _table(
    "dependency",
    Column("dependency_id", Integer, primary_key=True),
    Column("name", ShortText()),
    Column("version", ShortText()),
)
resource = _table(
    "resource",
    Column("resource_id", Integer, primary_key=True),
    Column("filename", ShortText()),
    Column("md5sum", String(32)),
    Column("content", Bytes()),
)
host = _table(
    "host",
    Column("host_id", Integer, primary_key=True),
    Column("cpu", ShortText()),
    Column("hostname", ShortText()),
    Column("os", ShortText()),
    Column("os_info", ShortText()),
    Column("python_version", ShortText()),
)
experiment = _table(
    "experiment",
    Column("experiment_id", Integer, primary_key=True),
    Column("name", ShortText()),
    Column("md5sum", String(32)),
    Column("base_dir", ShortText()),
)
run = _table(
    "run",
    Column("id", Integer, primary_key=True),
    Column("run_id", Name(LABEL), unique=True),
    Column("command", ShortText()),
    Column("start_time", Moment()),
    Column("heartbeat", Moment()),
    Column("stop_time", Moment()),
    Column("queue_time", Moment()),
    Column("priority", Double),
    Column("comment", LongText()),
    Column("fail_trace", LongText()),
    Column("captured_out", LongText()),
    Column("config", LongText()),
    Column("info", LongText()),
    Column("status", String(LABEL)),
    Column("host_id", Integer, ForeignKey("host.host_id")),
    Column("experiment_id", Integer, ForeignKey("experiment.experiment_id")),
    Column("result", Double),
)
artifact = _table(
    "artifact",
    Column("artifact_id", Integer, primary_key=True),
    Column("filename", ShortText()),
    Column("content", Bytes()),
    Column("run_id", Name(LABEL), ForeignKey("run.run_id")),
)
experiments_sources = _table(
    "experiments_sources",
    Column("experiment_id", Integer, ForeignKey("experiment.experiment_id")),
    Column("source_id", Integer, ForeignKey("source.source_id")),
)
experiments_repositories = _table(
    "experiments_repositories",
    Column("experiment_id", Integer, ForeignKey("experiment.experiment_id")),
    Column("repository_id", Integer, ForeignKey("repository.repository_id")),
)
experiments_dependencies = _table(
    "experiments_dependencies",
    Column("experiment_id", Integer, ForeignKey("experiment.experiment_id")),
    Column("dependency_id", Integer, ForeignKey("dependency.dependency_id")),
)
runs_resources = _table(
    "runs_resources",
    Column("run_id", Name(LABEL), ForeignKey("run.run_id")),
    Column("resource_id", Integer, ForeignKey("resource.resource_id")),
)

SACRED = tuple(metadata.sorted_tables)  #: tables that Sacred has as well

# ------------------------------------------------------------------------------------------------------------ ours

capture_run = _table(
    "capture_run",
    Column("run", Integer, primary_key=True, autoincrement=False),
    Column("uid", Name(LABEL), unique=True),
    Column("layout", String(16), nullable=False),  # "capture", or "sacred" for a run that Sacred wrote
    Column("status", LongText()),
    Column("command", LongText()),
    Column("binned", Boolean, nullable=False),
    Column("indexed", Boolean, nullable=False),  # whether all of its config is in capture_config
    Column("version", String(64)),  # of the library that wrote it
    Column("queued", String(64)),  # times, ISO 8601
    Column("started", String(64)),
    Column("stopped", String(64)),
    Column("heartbeat", String(64)),
    Column("tags", LongText()),  # JSON
    Column("notes", LongText()),
    Column("result", LongText()),  # JSON
)
capture_document = _table(
    "capture_document",
    Column("run", Integer, primary_key=True, autoincrement=False),
    Column("name", String(32), primary_key=True),  # experiment, host, meta, fail_trace, resumed, extra
    Column("content", LongText(), nullable=False),  # JSON
)
capture_writer = _table(
    "capture_writer",
    Column("id", _number(), primary_key=True),
    Column("run", Integer, nullable=False),
    Column("name_key", Name(32), nullable=False),
    Column("uid", Name(LABEL)),
    Column("writer", ShortText()),
    Column("host", LongText()),  # JSON
    Column("seq", BigInteger, nullable=False),  # of the last of its events that is stored
    Column("missed", LongText(), nullable=False),  # JSON: those before it that are not
    UniqueConstraint("run", "name_key", name="capture_writer_once"),
    Index("capture_writer_uid", "uid"),
)
capture_config = _table(
    "capture_config",
    Column("id", _number(), primary_key=True),
    Column("run", Integer, nullable=False),
    Column("path", Name(LABEL), nullable=False),  # dotted
    Column("kind", String(1), nullable=False),  # n(umber), s(tring), 0 for None, or ? for what only the config says
    Column("number", Double),
    Column("text", Name(LABEL)),
    Index("capture_config_run", "run"),
    Index("capture_config_number", "path", "kind", "number", "run"),
    Index("capture_config_text", "path", "kind", "text", "run"),
)
capture_fact = _table(
    "capture_fact",
    Column("id", _number(), primary_key=True),
    Column("run", Integer, nullable=False),
    Column("name_key", Name(32), nullable=False),
    Column("topic", LongText(), nullable=False),
    Column("facts", LongText(), nullable=False),  # JSON
    UniqueConstraint("run", "name_key", name="capture_fact_once"),
)
capture_gpu = _table(
    "capture_gpu",
    Column("run", Integer, primary_key=True, autoincrement=False),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("model", ShortText()),
    Column("total_memory_mib", Double),
    Column("persistence_mode", Boolean),
    Column("driver_version", ShortText()),
)
capture_series = _table(
    "capture_series",
    Column("id", _number(), primary_key=True),
    Column("run", Integer, nullable=False),
    Column("name_key", Name(32), nullable=False),
    Column("writer", ShortText(), nullable=False),
    Column("name", LongText(), nullable=False),
    Column("integer_steps", Boolean, nullable=False),  # as numbers of the first point; others are in capture_exact
    Column("integer_values", Boolean, nullable=False),
    Column("count", BigInteger, nullable=False),
    Column("last", Double),  # as nearly as a Double can say
    Column("step", Double),
    Column("time", BigInteger),  # microseconds since 1970, UTC
    Column("min", Double),
    Column("max", Double),
    Column("summary", LongText(), nullable=False),  # JSON: the same, exactly
    UniqueConstraint("run", "name_key", name="capture_series_once"),
)
capture_metric = _table(
    "capture_metric",
    Column("series", _number(), primary_key=True, autoincrement=False),
    Column("number", _number(), primary_key=True, autoincrement=False),  # from 0, in the order of logging
    Column("step", Double),
    Column("value", Double),  # NULL where it is not finite
    Column("time", BigInteger, nullable=False),  # microseconds since 1970, UTC
    sqlite_with_rowid=False,
)
capture_exact = _table(
    "capture_exact",
    Column("series", _number(), primary_key=True, autoincrement=False),
    Column("number", _number(), primary_key=True, autoincrement=False),
    Column("part", String(5), primary_key=True),  # step or value
    Column("content", LongText(), nullable=False),  # JSON: what capture_metric cannot say exactly
)
capture_output = _table(
    "capture_output",
    Column("run", Integer, primary_key=True, autoincrement=False),
    Column("start", BigInteger, primary_key=True, autoincrement=False),  # bytes
    Column("data", Bytes(), nullable=False),  # UTF-8
)
capture_file = _table(
    "capture_file",
    Column("id", _number(), primary_key=True),
    Column("run", Integer, nullable=False),
    Column("name_key", Name(32), nullable=False),
    Column("kind", String(8), nullable=False),  # source, resource or artifact
    Column("name", LongText(), nullable=False),
    Column("digest", Name(64), nullable=False),  # SHA-256 of its bytes: capture_blob
    Column("md5", String(32), nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("metadata", LongText(), nullable=False),  # JSON
    Column("content_type", LongText(), nullable=False),  # JSON
    Column("sacred_id", Integer),  # of its row in source, resource or artifact
    UniqueConstraint("run", "name_key", name="capture_file_once"),
    Index("capture_file_digest", "digest"),
)
capture_blob = _table(
    "capture_blob",
    Column("id", _number(), primary_key=True),
    Column("digest", Name(64), unique=True),  # NULL while its bytes are still coming
    Column("size", BigInteger, nullable=False),
    Column("begun", BigInteger, nullable=False),  # seconds since 1970
)
capture_chunk = _table(
    "capture_chunk",
    Column("blob", _number(), primary_key=True, autoincrement=False),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("data", Bytes(), nullable=False),
)
capture_counter = _table(
    "capture_counter",
    Column("name", String(16), primary_key=True),
    Column("value", BigInteger, nullable=False),
)
capture_purged = _table(
    "capture_purged",
    Column("label", Name(LABEL), primary_key=True),  # that no run will get
)
capture_version = _table(
    VERSION_TABLE,
    Column("version_num", String(32), primary_key=True),  # a single row, which Alembic keeps, too
)

OURS = tuple(table for table in metadata.sorted_tables if table not in SACRED)
