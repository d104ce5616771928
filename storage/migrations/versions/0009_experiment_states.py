"""Experiments may be paused and archived."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"

STATES = "state IN ('draft', 'running', 'paused', 'concluded', 'archived')"


def upgrade() -> None:
    """Widen the check of the states."""
    if op.get_bind().dialect.name == "sqlite":
        # Makes the table anew, without the old check, which is not read from there.
        with op.batch_alter_table("experiments", recreate="always") as batch:
            batch.create_check_constraint("state", sa.text(STATES))
        broken = op.get_bind().exec_driver_sql("PRAGMA foreign_key_check").all()
        if broken:
            raise RuntimeError(f"the migration would break foreign keys: {broken[:3]}")
        return
    op.drop_constraint("state", "experiments", type_="check")
    op.create_check_constraint("state", "experiments", sa.text(STATES))
