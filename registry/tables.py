"""The registry's tables."""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    String,
    Table,
    Text,
)

from storage.schema import metadata

models = Table(
    "models",
    metadata,
    Column("id", String(63), primary_key=True),
    Column("description", Text, nullable=False),
    Column("owner", Text, nullable=False),
    Column("tags", JSON, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("created_by", String(128), nullable=False),
    # Raised in the transaction that adds a version: numbers have no gaps.
    Column("latest_version", BigInteger, nullable=False),
)

versions = Table(
    "versions",
    metadata,
    Column("model", ForeignKey("models.id"), primary_key=True),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("artifact_sha256", String(64), nullable=False),
    Column("artifact_bytes", BigInteger, nullable=False),
    Column("signature", JSON, nullable=False),
    Column("facts", JSON, nullable=False),
    # The feature set that fills an input, the digest it had at publication, and that input; empty when there is none.
    Column("feature_set", String(63), nullable=False),
    Column("feature_set_digest", String(64), nullable=False),
    Column("feature_input", Text, nullable=False),
    Column("probe_sha256", String(64), nullable=False),
    Column("probe_rows", Integer, nullable=False),
    Column("stage", String(16), nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("created_by", String(128), nullable=False),
    CheckConstraint("stage IN ('development', 'staging', 'production', 'archived')", name="stage"),
    Index(None, "artifact_sha256"),
)

aliases = Table(
    "aliases",
    metadata,
    Column("model", String(63), primary_key=True),
    Column("alias", String(63), primary_key=True),
    Column("version", BigInteger, nullable=False),
    Column("generation", BigInteger, nullable=False),
    ForeignKeyConstraint(["model", "version"], ["versions.model", "versions.number"]),
)

# Append-only: the migration's triggers refuse an UPDATE or a DELETE.
alias_moves = Table(
    "alias_moves",
    metadata,
    Column("model", String(63), primary_key=True),
    Column("alias", String(63), primary_key=True),
    Column("generation", BigInteger, primary_key=True, autoincrement=False),
    Column("revision", ForeignKey("changes.revision"), nullable=False),
    Column("from_version", BigInteger, nullable=False),
    Column("to_version", BigInteger, nullable=False),
    Column("time_us", BigInteger, nullable=False),
    Column("actor", String(128), nullable=False),
    Column("reason", Text, nullable=False),
    Column("evidence", JSON, nullable=False),
    # Whether it was a rollback: those take a champion off the line of champions, all other moves add one.
    Column("rollback", Boolean, nullable=False),
    ForeignKeyConstraint(["model", "to_version"], ["versions.model", "versions.number"]),
    Index(None, "model", "revision"),
)

deployments = Table(
    "deployments",
    metadata,
    Column("model", ForeignKey("models.id"), primary_key=True),
    # 0: of all versions without settings of their own.
    Column("version", BigInteger, primary_key=True, autoincrement=False),
    Column("settings", JSON, nullable=False),
)
