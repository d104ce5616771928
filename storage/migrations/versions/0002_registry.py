"""Models, versions, aliases and the history of the aliases."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from storage.migrations.append_only import append_only

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Create the tables of the registry."""
    op.create_table(
        "models",
        sa.Column("id", sa.String(63), primary_key=True),
        sa.Column("description", sa.Text, nullable=False),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("tags", sa.JSON, nullable=False),
        sa.Column("created_us", sa.BigInteger, nullable=False),
        sa.Column("created_by", sa.String(128), nullable=False),
        sa.Column("latest_version", sa.BigInteger, nullable=False),
    )
    _create_versions()
    _create_aliases()
    append_only("alias_moves", "the history of aliases is append-only")


def _create_versions() -> None:
    op.create_table(
        "versions",
        sa.Column("model", sa.String(63), sa.ForeignKey("models.id"), primary_key=True),
        sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("artifact_sha256", sa.String(64), nullable=False),
        sa.Column("artifact_bytes", sa.BigInteger, nullable=False),
        sa.Column("signature", sa.JSON, nullable=False),
        sa.Column("facts", sa.JSON, nullable=False),
        sa.Column("feature_set", sa.String(63), nullable=False),
        sa.Column("feature_set_digest", sa.String(64), nullable=False),
        sa.Column("feature_input", sa.Text, nullable=False),
        sa.Column("probe_sha256", sa.String(64), nullable=False),
        sa.Column("probe_rows", sa.Integer, nullable=False),
        sa.Column("stage", sa.String(16), nullable=False),
        sa.Column("created_us", sa.BigInteger, nullable=False),
        sa.Column("created_by", sa.String(128), nullable=False),
        sa.CheckConstraint("stage IN ('development', 'staging', 'production', 'archived')", name="stage"),
        sa.Index("ix_versions_artifact_sha256", "artifact_sha256"),
    )


def _create_aliases() -> None:
    op.create_table(
        "aliases",
        sa.Column("model", sa.String(63), primary_key=True),
        sa.Column("alias", sa.String(63), primary_key=True),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("generation", sa.BigInteger, nullable=False),
        sa.ForeignKeyConstraint(["model", "version"], ["versions.model", "versions.number"]),
    )
    op.create_table(
        "alias_moves",
        sa.Column("model", sa.String(63), primary_key=True),
        sa.Column("alias", sa.String(63), primary_key=True),
        sa.Column("generation", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("revision", sa.BigInteger, sa.ForeignKey("changes.revision"), nullable=False),
        sa.Column("from_version", sa.BigInteger, nullable=False),
        sa.Column("to_version", sa.BigInteger, nullable=False),
        sa.Column("time_us", sa.BigInteger, nullable=False),
        sa.Column("actor", sa.String(128), nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("evidence", sa.JSON, nullable=False),
        sa.Column("rollback", sa.Boolean, nullable=False),
        sa.ForeignKeyConstraint(["model", "to_version"], ["versions.model", "versions.number"]),
        sa.Index("ix_alias_moves_model_revision", "model", "revision"),
    )
