"""What runs in the shadow of a model's answers."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    """Create the table of shadows."""
    op.create_table(
        "shadows",
        sa.Column("model", sa.String(63), primary_key=True),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("alias", sa.String(63), nullable=False),
        sa.Column("share", sa.Double, nullable=False),
        sa.Column("set_us", sa.BigInteger, nullable=False),
        sa.Column("set_by", sa.String(128), nullable=False),
    )
