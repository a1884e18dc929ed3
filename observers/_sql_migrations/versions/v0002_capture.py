"""Our tables beside those of Sacred, whose columns take texts of any length from now on.

They are today's, from `capture.observers._sql_tables`: who makes a third version writes those of the second down here.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from capture.observers import _sql_schema, _sql_tables

revision = "0002"
down_revision = "0001"

#: columns of Sacred that are changed by themselves, or are long enough
_KEPT = ("run_id", "md5sum")
_LABELLED = ("run", "artifact", "runs_resources")  #: tables with the label of a run


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
    """Sacred writes into such columns as before; but for the states, only the catalogue changes."""
    for table in _sql_tables.SACRED:
        texts = [column.name for column in table.columns if isinstance(column.type, _sql_tables.TEXTS)]
        for name in texts:
            if name not in (*_KEPT, "status"):
                op.execute(f'ALTER TABLE "{table.name}" ALTER COLUMN "{name}" TYPE TEXT')
    for table_name in _LABELLED:
        op.execute(f'ALTER TABLE "{table_name}" ALTER COLUMN run_id TYPE VARCHAR({_sql_tables.LABEL})')
    op.execute("ALTER TABLE run ALTER COLUMN status TYPE VARCHAR(255) USING status::text")  # QUEUED is none of Sacred's


def _lengthen_labels_in_mysql(connection: sa.Connection) -> None:
    """Make both ends of the foreign keys longer, which cannot be done while the keys are there.

    There are no transactions around it: where it was cut off, it is done again from the start.
    """
    _, *referring = _LABELLED
    for table_name in referring:
        for key in sa.inspect(connection).get_foreign_keys(table_name):
            if key["constrained_columns"] == ["run_id"]:
                op.drop_constraint(str(key["name"]), table_name, type_="foreignkey")
    for table_name in _LABELLED:
        op.execute(f"ALTER TABLE `{table_name}` MODIFY COLUMN run_id VARCHAR({_sql_tables.LABEL})")
    for table_name in referring:
        op.create_foreign_key(f"{table_name}_run", table_name, "run", ["run_id"], ["run_id"])


def _widen_in_mysql() -> None:
    connection = op.get_bind()
    _lengthen_labels_in_mysql(connection)
    for table in _sql_tables.SACRED:
        for column in table.columns:
            if column.name in _KEPT or column.primary_key or column.foreign_keys:
                continue
            kind = column.type.compile(connection.dialect)
            op.execute(f"ALTER TABLE `{table.name}` MODIFY COLUMN `{column.name}` {kind}")
