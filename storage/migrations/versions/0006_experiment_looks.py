"""How experiments are judged, and the verdicts that were reached."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Add the plan, the metrics' options, and the table of looks."""
    for table, column in (("experiments", "plan"), ("experiment_metrics", "options")):
        with op.batch_alter_table(table) as batch:
            batch.add_column(sa.Column(column, sa.Text, nullable=False, server_default="{}"))
    op.create_table(
        "experiment_looks",
        sa.Column("experiment", sa.String(63), sa.ForeignKey("experiments.id"), primary_key=True),
        sa.Column("look", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("time_us", sa.BigInteger, nullable=False),
        sa.Column("recommendation", sa.String(16), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("basis", sa.Text, nullable=False),
        sa.Column("outcome", sa.Text, nullable=False),
    )
