"""The settings of sessions, by model and by version."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Create the table of deployments."""
    op.create_table(
        "deployments",
        sa.Column("model", sa.String(63), sa.ForeignKey("models.id"), primary_key=True),
        sa.Column("version", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("settings", sa.JSON, nullable=False),
    )
