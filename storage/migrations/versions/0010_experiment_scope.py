"""Whom an experiment is for; several experiments of one model run beside each other."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Add the scope and the place in the layer; let go of the rule that one experiment runs on a model."""
    op.add_column("experiments", sa.Column("scope", sa.Text, nullable=False, server_default="{}"))
    op.add_column("experiments", sa.Column("layer_first", sa.Integer, nullable=False, server_default="0"))
    op.drop_index("ix_experiments_model_running", "experiments")
    op.create_index("ix_experiments_model", "experiments", ["model"])
