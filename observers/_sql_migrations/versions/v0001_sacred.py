"""The tables as Sacred 0.8 makes them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make Sacred's tables."""
    statuses = ("RUNNING", "COMPLETED", "INTERRUPTED", "TIMEOUT", "FAILED")
    op.create_table(
        "source",
        sa.Column("source_id", sa.Integer, primary_key=True),
        sa.Column("filename", sa.String(256)),
        sa.Column("md5sum", sa.String(32)),
        sa.Column("content", sa.Text),
    )
    op.create_table(
        "repository",
        sa.Column("repository_id", sa.Integer, primary_key=True),
        sa.Column("url", sa.String(2048)),
        sa.Column("commit", sa.String(40)),
        sa.Column("dirty", sa.Boolean),
    )
    op.create_table(
        "dependency",
        sa.Column("dependency_id", sa.Integer, primary_key=True),
        sa.Column("name", sa.String(32)),
        sa.Column("version", sa.String(16)),
    )
    op.create_table(
        "resource",
        sa.Column("resource_id", sa.Integer, primary_key=True),
        sa.Column("filename", sa.String(256)),
        sa.Column("md5sum", sa.String(32)),
        sa.Column("content", sa.LargeBinary),
    )
    op.create_table(
        "host",
        sa.Column("host_id", sa.Integer, primary_key=True),
        sa.Column("cpu", sa.String(64)),
        sa.Column("hostname", sa.String(64)),
        sa.Column("os", sa.String(16)),
        sa.Column("os_info", sa.String(64)),
        sa.Column("python_version", sa.String(16)),
    )
    op.create_table(
        "experiment",
        sa.Column("experiment_id", sa.Integer, primary_key=True),
        sa.Column("name", sa.String(32)),
        sa.Column("md5sum", sa.String(32)),
        sa.Column("base_dir", sa.String(64)),
    )
    op.create_table(
        "run",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("run_id", sa.String(24), unique=True),
        sa.Column("command", sa.String(64)),
        sa.Column("start_time", sa.DateTime),
        sa.Column("heartbeat", sa.DateTime),
        sa.Column("stop_time", sa.DateTime),
        sa.Column("queue_time", sa.DateTime),
        sa.Column("priority", sa.Float),
        sa.Column("comment", sa.Text),
        sa.Column("fail_trace", sa.Text),
        sa.Column("captured_out", sa.Text),
        sa.Column("config", sa.Text),
        sa.Column("info", sa.Text),
        sa.Column("status", sa.Enum(*statuses, name="status_enum")),
        sa.Column("host_id", sa.Integer, sa.ForeignKey("host.host_id")),
        sa.Column("experiment_id", sa.Integer, sa.ForeignKey("experiment.experiment_id")),
        sa.Column("result", sa.Float),
    )
    op.create_table(
        "artifact",
        sa.Column("artifact_id", sa.Integer, primary_key=True),
        sa.Column("filename", sa.String(64)),
        sa.Column("content", sa.LargeBinary),
        sa.Column("run_id", sa.String(24), sa.ForeignKey("run.run_id")),
    )
    for kind, key in (("sources", "source"), ("repositories", "repository"), ("dependencies", "dependency")):
        op.create_table(
            f"experiments_{kind}",
            sa.Column("experiment_id", sa.Integer, sa.ForeignKey("experiment.experiment_id")),
            sa.Column(f"{key}_id", sa.Integer, sa.ForeignKey(f"{key}.{key}_id")),
        )
    op.create_table(
        "runs_resources",
        sa.Column("run_id", sa.String(24), sa.ForeignKey("run.run_id")),
        sa.Column("resource_id", sa.Integer, sa.ForeignKey("resource.resource_id")),
    )
