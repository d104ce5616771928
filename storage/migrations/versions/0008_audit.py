"""From where each change came, with which credential, and what was before and after; what is written stays."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from storage.migrations.append_only import append_only

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Add the columns of the audit to the changes, and let nobody take back what they say."""
    op.add_column("changes", sa.Column("peer", sa.String(256), nullable=True))
    op.add_column("changes", sa.Column("credential", sa.String(16), nullable=True))
    op.add_column("changes", sa.Column("before", sa.JSON, nullable=True))
    op.add_column("changes", sa.Column("after", sa.JSON, nullable=True))
    append_only("changes", "the audit is append-only")
