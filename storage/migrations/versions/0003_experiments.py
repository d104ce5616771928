"""Experiments, their variants and metrics, and every split that was in force."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Create the tables of experiments."""
    op.create_table(
        "experiments",
        sa.Column("id", sa.String(63), primary_key=True),
        sa.Column("model", sa.String(63), nullable=False),
        sa.Column("description", sa.Text, nullable=False),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("coverage", sa.Double, nullable=False),
        sa.Column("seed", sa.Text, nullable=False),
        sa.Column("alpha", sa.Double, nullable=False),
        sa.Column("minimum_units", sa.BigInteger, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("epoch", sa.BigInteger, nullable=False),
        sa.Column("etag", sa.String(32), nullable=False),
        sa.Column("created_us", sa.BigInteger, nullable=False),
        sa.Column("created_by", sa.String(128), nullable=False),
        sa.Column("started_us", sa.BigInteger, nullable=False),
        sa.Column("concluded_us", sa.BigInteger, nullable=False),
        sa.Column("winner", sa.String(63), nullable=False),
        sa.CheckConstraint("state IN ('draft', 'running', 'concluded')", name="state"),
    )
    running = sa.text("state = 'running'")
    op.create_index(
        "ix_experiments_model_running",
        "experiments",
        ["model"],
        unique=True,
        sqlite_where=running,
        postgresql_where=running,
    )
    _create_arms()
    _create_epochs()


def _create_arms() -> None:
    op.create_table(
        "experiment_variants",
        sa.Column("experiment", sa.String(63), sa.ForeignKey("experiments.id"), primary_key=True),
        sa.Column("position", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("variant", sa.String(63), nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("alias", sa.String(63), nullable=False),
        sa.Column("share", sa.Double, nullable=False),
        sa.Column("control", sa.Boolean, nullable=False),
    )
    op.create_table(
        "experiment_metrics",
        sa.Column("experiment", sa.String(63), sa.ForeignKey("experiments.id"), primary_key=True),
        sa.Column("position", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("metric", sa.String(63), nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("outcome", sa.Text, nullable=False),
        sa.Column("output", sa.Text, nullable=False),
        sa.Column("output_index", sa.Integer, nullable=False),
        sa.Column("direction", sa.String(16), nullable=False),
        sa.Column("role", sa.String(16), nullable=False),
    )


def _create_epochs() -> None:
    op.create_table(
        "experiment_epochs",
        sa.Column("experiment", sa.String(63), sa.ForeignKey("experiments.id"), primary_key=True),
        sa.Column("epoch", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("shares", sa.JSON, nullable=False),
        sa.Column("runs", sa.JSON, nullable=False),
        sa.Column("moved_share", sa.Double, nullable=False),
        sa.Column("revision", sa.BigInteger, sa.ForeignKey("changes.revision"), nullable=False),
        sa.Column("time_us", sa.BigInteger, nullable=False),
    )
