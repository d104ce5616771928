"""The registry's tables."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    String,
    Table,
    Text,
    false,
    text,
)

from storage.schema import metadata

_EMPTY = text("'{}'")
_NOTHING = text("''")
_ZERO = text("0")

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
    Column("properties", JSON, nullable=False, server_default=_EMPTY),
    # What a version must pass before it becomes the champion.
    Column("gates", JSON, nullable=False, server_default=text("'[]'")),
    # What an update compares: another one after each.
    Column("etag", String(32), nullable=False, server_default=_NOTHING),
    # When it was deleted; 0 while it is not.
    Column("deleted_us", BigInteger, nullable=False, server_default=_ZERO),
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
    # What may change.
    Column("description", Text, nullable=False, server_default=_NOTHING),
    Column("tags", JSON, nullable=False, server_default=_EMPTY),
    Column("properties", JSON, nullable=False, server_default=_EMPTY),
    # Why nobody should use it any more; empty while one may.
    Column("deprecated", Text, nullable=False, server_default=_NOTHING),
    Column("etag", String(32), nullable=False, server_default=_NOTHING),
    Column("deleted_us", BigInteger, nullable=False, server_default=_ZERO),
    # The same as in the facts, to be searched.
    Column("algorithm", Text, nullable=False, server_default=_NOTHING),
    Column("data_fingerprint", Text, nullable=False, server_default=_NOTHING),
    # Who signed the manifest, by the name of the key; empty when nobody did.
    Column("signed_by", Text, nullable=False, server_default=_NOTHING),
    # The ed25519 signature of the manifest, in hexadecimal; empty when there is none.
    Column("manifest_signature", String(128), nullable=False, server_default=_NOTHING),
    CheckConstraint("stage IN ('development', 'staging', 'production', 'archived')", name="stage"),
    Index(None, "artifact_sha256"),
    Index(None, "probe_sha256"),
    Index("ix_versions_created_us", "created_us", "model", "number"),
    Index(None, "algorithm"),
    Index(None, "data_fingerprint"),
    Index(None, "stage"),
)


def _searched(name: str, value: Column[Any]) -> Table:
    """Return a table of what is searched by name and value; it follows what the version says."""
    return Table(
        name,
        metadata,
        Column("model", String(63), primary_key=True),
        Column("number", BigInteger, primary_key=True, autoincrement=False),
        Column("name", String(255), primary_key=True),
        value,
        ForeignKeyConstraint(["model", "number"], ["versions.model", "versions.number"]),
        Index(None, "name", "value"),
    )


version_tags = _searched("version_tags", Column("value", Text, nullable=False))
version_parameters = _searched("version_parameters", Column("value", Text, nullable=False))
version_metrics = _searched("version_metrics", Column("value", Double, nullable=False))

# What a version was made from. A parent exists before its children, so there are no cycles.
version_parents = Table(
    "version_parents",
    metadata,
    Column("model", String(63), primary_key=True),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("parent_model", String(63), primary_key=True),
    Column("parent_number", BigInteger, primary_key=True, autoincrement=False),
    ForeignKeyConstraint(["model", "number"], ["versions.model", "versions.number"]),
    ForeignKeyConstraint(["parent_model", "parent_number"], ["versions.model", "versions.number"]),
    Index(None, "parent_model", "parent_number"),
)

aliases = Table(
    "aliases",
    metadata,
    Column("model", String(63), primary_key=True),
    Column("alias", String(63), primary_key=True),
    Column("version", BigInteger, nullable=False),
    Column("generation", BigInteger, nullable=False),
    # When it ends by itself; 0: never.
    Column("expires_us", BigInteger, nullable=False, server_default=_ZERO),
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
    # Whether the alias names nothing since; `to_version` is then the version that lost it.
    Column("removed", Boolean, nullable=False, server_default=false()),
    Column("expires_us", BigInteger, nullable=False, server_default=_ZERO),
    ForeignKeyConstraint(["model", "to_version"], ["versions.model", "versions.number"]),
    Index(None, "model", "revision"),
    Index(None, "model", "alias", "time_us"),
)

# Append-only, as all evidence is.
gate_verdicts = Table(
    "gate_verdicts",
    metadata,
    Column("model", String(63), primary_key=True),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("revision", ForeignKey("changes.revision"), primary_key=True),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("gate", Text, nullable=False),
    Column("passed", Boolean, nullable=False),
    Column("sentence", Text, nullable=False),
    Column("evidence", JSON, nullable=False),
    # Whether it was promoted although this gate did not pass, and why.
    Column("overridden", Boolean, nullable=False),
    Column("override_reason", Text, nullable=False),
    Column("actor", String(128), nullable=False),
    Column("time_us", BigInteger, nullable=False),
    ForeignKeyConstraint(["model", "number"], ["versions.model", "versions.number"]),
)

# Append-only: an approval is withdrawn by a later row.
approvals = Table(
    "approvals",
    metadata,
    Column("model", String(63), primary_key=True),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("revision", ForeignKey("changes.revision"), primary_key=True),
    Column("role", String(63), nullable=False),
    Column("approved", Boolean, nullable=False),
    Column("note", Text, nullable=False),
    Column("actor", String(128), nullable=False),
    Column("time_us", BigInteger, nullable=False),
    ForeignKeyConstraint(["model", "number"], ["versions.model", "versions.number"]),
)

# What is known to be wrong, and is not to be promoted until it is cleared.
taints = Table(
    "taints",
    metadata,
    Column("id", ForeignKey("changes.revision"), primary_key=True),
    Column("kind", String(32), nullable=False),
    Column("subject", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("actor", String(128), nullable=False),
    Column("time_us", BigInteger, nullable=False),
    Column("cleared_us", BigInteger, nullable=False),
    Column("cleared_by", String(128), nullable=False),
    Column("cleared_reason", Text, nullable=False),
    CheckConstraint("kind IN ('data', 'feature_view', 'version')", name="kind"),
    Index(None, "kind", "subject"),
)

deployments = Table(
    "deployments",
    metadata,
    Column("model", ForeignKey("models.id"), primary_key=True),
    # 0: of all versions without settings of their own.
    Column("version", BigInteger, primary_key=True, autoincrement=False),
    Column("settings", JSON, nullable=False),
)

webhooks = Table(
    "webhooks",
    metadata,
    Column("id", String(63), primary_key=True),
    Column("url", Text, nullable=False),
    # Kinds, `version.*` for all of one noun; none: all.
    Column("event_kinds", JSON, nullable=False),
    # Model ids; none: all.
    Column("models", JSON, nullable=False),
    Column("source", Text, nullable=False),
    # What signs, in clear: the control plane needs it for each delivery. No answer but that to the creation holds it.
    Column("secret", Text, nullable=False),
    Column("paused", Boolean, nullable=False),
    # All changes up to here were made into deliveries, or are none of its business.
    Column("cursor_revision", BigInteger, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("created_by", String(128), nullable=False),
)

webhook_deliveries = Table(
    "webhook_deliveries",
    metadata,
    Column("webhook", ForeignKey("webhooks.id"), primary_key=True),
    Column("revision", ForeignKey("changes.revision"), primary_key=True),
    # What stays in order: a model, or another resource.
    Column("lane", String(512), nullable=False),
    Column("state", String(16), nullable=False),
    Column("attempts", Integer, nullable=False),
    # By the machine's time, as all that has to do with attempts.
    Column("due_us", BigInteger, nullable=False),
    Column("attempt_us", BigInteger, nullable=False),
    Column("status_code", Integer, nullable=False),
    Column("error", Text, nullable=False),
    CheckConstraint("state IN ('pending', 'delivered', 'dead')", name="state"),
    Index(None, "state", "webhook", "lane", "revision"),
)
