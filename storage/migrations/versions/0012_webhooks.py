"""Webhooks, and what becomes of their deliveries."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    """Create the tables of webhooks."""
    op.create_table(
        "webhooks",
        sa.Column("id", sa.String(63), primary_key=True),
        sa.Column("url", sa.Text, nullable=False),
        sa.Column("event_kinds", sa.JSON, nullable=False),
        sa.Column("models", sa.JSON, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("secret", sa.Text, nullable=False),
        sa.Column("paused", sa.Boolean, nullable=False),
        sa.Column("cursor_revision", sa.BigInteger, nullable=False),
        sa.Column("created_us", sa.BigInteger, nullable=False),
        sa.Column("created_by", sa.String(128), nullable=False),
    )
    op.create_table(
        "webhook_deliveries",
        sa.Column("webhook", sa.String(63), sa.ForeignKey("webhooks.id"), primary_key=True),
        sa.Column("revision", sa.BigInteger, sa.ForeignKey("changes.revision"), primary_key=True, autoincrement=False),
        sa.Column("lane", sa.String(512), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("due_us", sa.BigInteger, nullable=False),
        sa.Column("attempt_us", sa.BigInteger, nullable=False),
        sa.Column("status_code", sa.Integer, nullable=False),
        sa.Column("error", sa.Text, nullable=False),
        sa.CheckConstraint("state IN ('pending', 'delivered', 'dead')", name="state"),
        sa.Index("ix_webhook_deliveries_state_webhook_lane_revision", "state", "webhook", "lane", "revision"),
    )
