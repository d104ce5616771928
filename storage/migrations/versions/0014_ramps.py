"""Ramps of experiments, and hold-outs of models."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from storage.migrations.append_only import append_only

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    """Add the ramp of an experiment, where it stands and what happened to it, and what models hold out."""
    op.add_column("experiments", sa.Column("ramp", sa.Text, nullable=False, server_default=sa.text("''")))
    op.create_table(
        "experiment_ramps",
        sa.Column("experiment", sa.String(63), sa.ForeignKey("experiments.id"), primary_key=True),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("step", sa.Integer, nullable=False),
        sa.Column("step_began_us", sa.BigInteger, nullable=False),
        sa.Column("approved", sa.Boolean, nullable=False),
        sa.Column("window", sa.Integer, nullable=False),
        sa.Column("window_began_us", sa.BigInteger, nullable=False),
        sa.Column("reasons", sa.Text, nullable=False),
        sa.Column("etag", sa.BigInteger, nullable=False),
        sa.CheckConstraint(
            "state IN ('running', 'holding', 'paused', 'completed', 'rolled_back', 'aborted')", name="state"
        ),
    )
    op.create_table(
        "experiment_ramp_events",
        sa.Column("experiment", sa.String(63), sa.ForeignKey("experiments.id"), primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("time_us", sa.BigInteger, nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("step", sa.Integer, nullable=False),
        sa.Column("reasons", sa.Text, nullable=False),
        sa.Column("evidence", sa.Text, nullable=False),
        sa.Column("revision", sa.BigInteger, sa.ForeignKey("changes.revision"), nullable=False),
    )
    append_only("experiment_ramp_events", "what happened to a ramp is never changed")
    op.create_table(
        "experiment_holdouts",
        sa.Column("model", sa.String(63), primary_key=True),
        sa.Column("places", sa.Integer, nullable=False),
        sa.Column("etag", sa.BigInteger, nullable=False),
    )
