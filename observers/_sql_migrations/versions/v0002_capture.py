"""Our tables beside those of Sacred, whose columns take texts of any length from now on."""

from __future__ import annotations

from alembic import op

from capture.observers import _sql_schema, _sql_tables

revision = "0002"
down_revision = "0001"

#: columns of Sacred that are as they should be: keys, and texts of fixed length
_KEPT = ("run_id", "md5sum")


def upgrade() -> None:
    """Widen Sacred's columns where their length counts, and make our tables."""
    connection = op.get_bind()
    if connection.dialect.name == "postgresql":
        _widen_in_postgresql()
    elif connection.dialect.name in ("mysql", "mariadb"):
        _widen_in_mysql()
    _sql_schema.create_ours(connection)
    _sql_schema.begin_counting(connection, _sql_schema.largest_label(connection))


def _widen_in_postgresql() -> None:
    """Only the catalogue changes: no row is rewritten, and Sacred writes into such columns as before."""
    for table in _sql_tables.SACRED:
        texts = [column.name for column in table.columns if column.type.python_type is str]
        for name in texts:
            if name == "status":
                # a new value cannot be used in the transaction that adds it, nor taken back with it
                op.execute("ALTER TYPE status_enum ADD VALUE IF NOT EXISTS 'QUEUED'")
            elif name not in _KEPT:
                op.execute(f'ALTER TABLE "{table.name}" ALTER COLUMN "{name}" TYPE TEXT')
    for table_name in ("run", "artifact", "runs_resources"):
        op.execute(f'ALTER TABLE "{table_name}" ALTER COLUMN run_id TYPE VARCHAR({_sql_tables.LABEL})')


def _widen_in_mysql() -> None:
    connection = op.get_bind()
    for table in _sql_tables.SACRED:
        for column in table.columns:
            if column.name in (*_KEPT, "status") or column.primary_key or column.foreign_keys:
                continue
            kind = column.type.compile(connection.dialect)
            op.execute(f"ALTER TABLE `{table.name}` MODIFY COLUMN `{column.name}` {kind}")
    statuses = "'RUNNING','COMPLETED','INTERRUPTED','TIMEOUT','FAILED','QUEUED'"
    op.execute(f"ALTER TABLE `run` MODIFY COLUMN `status` ENUM({statuses})")
