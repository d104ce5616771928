"""Policies, checks and runs of training."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    """Add policies, what their triggers said, and their runs with their steps and what happened to them."""
    _policies_and_checks()
    _runs()


def _policies_and_checks() -> None:
    op.create_table(
        "training_policies",
        sa.Column("id", sa.String(63), primary_key=True),
        sa.Column("model", sa.String(63), nullable=False),
        sa.Column("definition", sa.JSON, nullable=False),
        sa.Column("paused", sa.Boolean, nullable=False),
        sa.Column("pause_reason", sa.Text, nullable=False),
        sa.Column("next_check_us", sa.BigInteger, nullable=False),
        sa.Column("latest_check", sa.BigInteger, nullable=False),
        sa.Column("latest_run", sa.BigInteger, nullable=False),
        sa.Column("failures", sa.Integer, nullable=False),
        sa.Column("created_us", sa.BigInteger, nullable=False),
        sa.Column("created_by", sa.String(128), nullable=False),
        sa.Column("etag", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "training_checks",
        sa.Column("policy", sa.String(63), sa.ForeignKey("training_policies.id"), primary_key=True),
        sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("dry_run", sa.Boolean, nullable=False),
        sa.Column("done", sa.Boolean, nullable=False),
        sa.Column("verdict", sa.String(16), nullable=False),
        sa.Column("evidence", sa.JSON, nullable=False),
        sa.Column("run", sa.BigInteger, nullable=False),
        sa.Column("sentence", sa.Text, nullable=False),
        sa.Column("actor", sa.String(128), nullable=False),
        sa.Column("created_us", sa.BigInteger, nullable=False),
        sa.Column("ended_us", sa.BigInteger, nullable=False),
    )
    op.create_index("ix_training_checks_done", "training_checks", ["done"])


def _runs() -> None:
    op.create_table(
        "training_runs",
        sa.Column("policy", sa.String(63), sa.ForeignKey("training_policies.id"), primary_key=True),
        sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("model", sa.String(63), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("trigger", sa.String(32), nullable=False),
        sa.Column("check", sa.BigInteger, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("actor", sa.String(128), nullable=False),
        sa.Column("definition", sa.JSON, nullable=False),
        sa.Column("as_of_us", sa.BigInteger, nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("experiment", sa.String(63), nullable=False),
        sa.Column("findings", sa.JSON, nullable=False),
        sa.Column("trainer", sa.Text, nullable=False),
        sa.Column("created_us", sa.BigInteger, nullable=False),
        sa.Column("ended_us", sa.BigInteger, nullable=False),
        sa.Column("etag", sa.BigInteger, nullable=False),
    )
    op.create_index("ix_training_runs_model", "training_runs", ["model", "state"])
    op.create_index("ix_training_runs_created_us", "training_runs", ["created_us"])
    run = ["policy", "run"]
    of_run = ["training_runs.policy", "training_runs.number"]
    op.create_table(
        "training_run_steps",
        sa.Column("policy", sa.String(63), primary_key=True),
        sa.Column("run", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("step", sa.String(16), primary_key=True),
        sa.Column("done", sa.Boolean, nullable=False),
        sa.Column("result", sa.Text, nullable=False),
        sa.Column("began_us", sa.BigInteger, nullable=False),
        sa.Column("done_us", sa.BigInteger, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.ForeignKeyConstraint(run, of_run),
    )
    op.create_table(
        "training_run_events",
        sa.Column("policy", sa.String(63), primary_key=True),
        sa.Column("run", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("time_us", sa.BigInteger, nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("message", sa.Text, nullable=False),
        sa.ForeignKeyConstraint(run, of_run),
    )
