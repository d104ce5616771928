"""The signatures of manifests, and who needs which probe rows."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    """Add the column and the index."""
    op.add_column(
        "versions", sa.Column("manifest_signature", sa.String(128), nullable=False, server_default=sa.text("''"))
    )
    op.create_index("ix_versions_probe_sha256", "versions", ["probe_sha256"])
