"""Sources, feature views and feature sets, each with every definition it ever had."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Create the tables of the features."""
    op.create_table(
        "feature_sources",
        sa.Column("name", sa.String(63), primary_key=True),
        sa.Column("document", sa.JSON, nullable=False),
        sa.Column("updated_us", sa.BigInteger, nullable=False),
    )
    _create_views()
    _create_sets()


def _create_views() -> None:
    op.create_table(
        "feature_views",
        sa.Column("name", sa.String(63), primary_key=True),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("description", sa.Text, nullable=False),
    )
    op.create_table(
        "feature_view_versions",
        sa.Column("name", sa.String(63), sa.ForeignKey("feature_views.name"), primary_key=True),
        sa.Column("digest", sa.String(64), primary_key=True),
        sa.Column("layout", sa.String(64), nullable=False),
        sa.Column("schema_id", sa.Integer, nullable=False),
        sa.Column("document", sa.JSON, nullable=False),
        sa.Column("created_us", sa.BigInteger, nullable=False),
    )


def _create_sets() -> None:
    op.create_table(
        "feature_sets",
        sa.Column("name", sa.String(63), primary_key=True),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("description", sa.Text, nullable=False),
    )
    op.create_table(
        "feature_set_versions",
        sa.Column("name", sa.String(63), sa.ForeignKey("feature_sets.name"), primary_key=True),
        sa.Column("digest", sa.String(64), primary_key=True),
        sa.Column("document", sa.JSON, nullable=False),
        sa.Column("created_us", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "feature_set_views",
        sa.Column("set_name", sa.String(63), primary_key=True),
        sa.Column("set_digest", sa.String(64), primary_key=True),
        sa.Column("view_name", sa.String(63), primary_key=True),
        sa.Column("view_digest", sa.String(64), nullable=False),
        sa.ForeignKeyConstraint(
            ["set_name", "set_digest"], ["feature_set_versions.name", "feature_set_versions.digest"]
        ),
        sa.ForeignKeyConstraint(
            ["view_name", "view_digest"], ["feature_view_versions.name", "feature_view_versions.digest"]
        ),
    )
