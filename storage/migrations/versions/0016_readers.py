"""Which earlier schemas' releases may go on with the database as it is."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    """Make the table; what it says is written after each migration, by the release that migrates."""
    op.create_table("schema_readers", sa.Column("schema", sa.String(32), primary_key=True))
