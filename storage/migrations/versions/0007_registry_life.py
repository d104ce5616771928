"""What may change of models and versions, what is searched, aliases that end, gates, approvals and taints."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from storage.migrations.append_only import append_only

revision = "0007"
down_revision = "0006"

EMPTY = sa.text("'{}'")


def upgrade() -> None:
    """Add the columns and tables."""
    _widen_models()
    _widen_versions()
    _move_what_may_change()
    _create_searched()
    _widen_aliases()
    _create_gates()
    _create_taints()


def _widen_models() -> None:
    op.add_column("models", sa.Column("properties", sa.JSON, nullable=False, server_default=EMPTY))
    op.add_column("models", sa.Column("gates", sa.JSON, nullable=False, server_default=sa.text("'[]'")))
    op.add_column("models", sa.Column("etag", sa.String(32), nullable=False, server_default=sa.text("''")))
    op.add_column("models", sa.Column("deleted_us", sa.BigInteger, nullable=False, server_default=sa.text("0")))


def _widen_versions() -> None:
    op.add_column("versions", sa.Column("description", sa.Text, nullable=False, server_default=sa.text("''")))
    op.add_column("versions", sa.Column("tags", sa.JSON, nullable=False, server_default=EMPTY))
    op.add_column("versions", sa.Column("properties", sa.JSON, nullable=False, server_default=EMPTY))
    op.add_column("versions", sa.Column("algorithm", sa.Text, nullable=False, server_default=sa.text("''")))
    op.add_column("versions", sa.Column("data_fingerprint", sa.Text, nullable=False, server_default=sa.text("''")))
    op.add_column("versions", sa.Column("deprecated", sa.Text, nullable=False, server_default=sa.text("''")))
    op.add_column("versions", sa.Column("signed_by", sa.Text, nullable=False, server_default=sa.text("''")))
    op.add_column("versions", sa.Column("etag", sa.String(32), nullable=False, server_default=sa.text("''")))
    op.add_column("versions", sa.Column("deleted_us", sa.BigInteger, nullable=False, server_default=sa.text("0")))
    op.create_index("ix_versions_created_us", "versions", ["created_us", "model", "number"])
    op.create_index("ix_versions_algorithm", "versions", ["algorithm"])
    op.create_index("ix_versions_data_fingerprint", "versions", ["data_fingerprint"])
    op.create_index("ix_versions_stage", "versions", ["stage"])


def _move_what_may_change() -> None:
    """Copy what publishers said at first into the columns that may change or are searched."""
    versions = sa.table(
        "versions",
        sa.column("model", sa.String),
        sa.column("number", sa.BigInteger),
        sa.column("facts", sa.JSON),
        sa.column("description", sa.Text),
        sa.column("tags", sa.JSON),
        sa.column("algorithm", sa.Text),
        sa.column("data_fingerprint", sa.Text),
    )
    connection = op.get_bind()
    for row in connection.execute(sa.select(versions.c.model, versions.c.number, versions.c.facts)).all():
        connection.execute(
            versions.update()
            .where(versions.c.model == row.model, versions.c.number == row.number)
            .values(
                description=row.facts["description"],
                tags=row.facts["tags"],
                algorithm=row.facts["algorithm"],
                data_fingerprint=row.facts["data_fingerprint"],
            )
        )


def _create_searched() -> None:
    for table, kind in (("version_tags", sa.Text), ("version_parameters", sa.Text), ("version_metrics", sa.Double)):
        op.create_table(
            table,
            sa.Column("model", sa.String(63), primary_key=True),
            sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
            sa.Column("name", sa.String(255), primary_key=True),
            sa.Column("value", kind, nullable=False),
            sa.ForeignKeyConstraint(["model", "number"], ["versions.model", "versions.number"]),
            sa.Index(f"ix_{table}_name_value", "name", "value"),
        )
    op.create_table(
        "version_parents",
        sa.Column("model", sa.String(63), primary_key=True),
        sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("parent_model", sa.String(63), primary_key=True),
        sa.Column("parent_number", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.ForeignKeyConstraint(["model", "number"], ["versions.model", "versions.number"]),
        sa.ForeignKeyConstraint(["parent_model", "parent_number"], ["versions.model", "versions.number"]),
        sa.Index("ix_version_parents_parent_model_parent_number", "parent_model", "parent_number"),
    )
    _fill_searched()


def _fill_searched() -> None:
    connection = op.get_bind()
    read = sa.text("SELECT model, number, facts FROM versions").columns(
        sa.column("model", sa.String), sa.column("number", sa.BigInteger), sa.column("facts", sa.JSON)
    )
    for row in connection.execute(read).all():
        where = {"model": row.model, "number": row.number}
        for table, fact in (
            ("version_tags", "tags"),
            ("version_parameters", "parameters"),
            ("version_metrics", "metrics"),
        ):
            write = sa.text(f"INSERT INTO {table} (model, number, name, value) VALUES (:model, :number, :name, :value)")
            for name, value in row.facts[fact].items():
                connection.execute(write, {**where, "name": name, "value": value})
        write = sa.text("INSERT INTO version_parents VALUES (:model, :number, :model, :parent)")
        for parent in sorted(set(row.facts["parents"])):
            connection.execute(write, {**where, "parent": parent})


def _widen_aliases() -> None:
    op.add_column("aliases", sa.Column("expires_us", sa.BigInteger, nullable=False, server_default=sa.text("0")))
    op.add_column("alias_moves", sa.Column("removed", sa.Boolean, nullable=False, server_default=sa.false()))
    op.add_column("alias_moves", sa.Column("expires_us", sa.BigInteger, nullable=False, server_default=sa.text("0")))
    op.create_index("ix_alias_moves_model_alias_time_us", "alias_moves", ["model", "alias", "time_us"])


def _create_gates() -> None:
    op.create_table(
        "gate_verdicts",
        sa.Column("model", sa.String(63), primary_key=True),
        sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("revision", sa.BigInteger, sa.ForeignKey("changes.revision"), primary_key=True),
        sa.Column("position", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("gate", sa.Text, nullable=False),
        sa.Column("passed", sa.Boolean, nullable=False),
        sa.Column("sentence", sa.Text, nullable=False),
        sa.Column("evidence", sa.JSON, nullable=False),
        sa.Column("overridden", sa.Boolean, nullable=False),
        sa.Column("override_reason", sa.Text, nullable=False),
        sa.Column("actor", sa.String(128), nullable=False),
        sa.Column("time_us", sa.BigInteger, nullable=False),
        sa.ForeignKeyConstraint(["model", "number"], ["versions.model", "versions.number"]),
    )
    append_only("gate_verdicts", "the verdicts of gates are append-only")
    op.create_table(
        "approvals",
        sa.Column("model", sa.String(63), primary_key=True),
        sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("revision", sa.BigInteger, sa.ForeignKey("changes.revision"), primary_key=True),
        sa.Column("role", sa.String(63), nullable=False),
        sa.Column("approved", sa.Boolean, nullable=False),
        sa.Column("note", sa.Text, nullable=False),
        sa.Column("actor", sa.String(128), nullable=False),
        sa.Column("time_us", sa.BigInteger, nullable=False),
        sa.ForeignKeyConstraint(["model", "number"], ["versions.model", "versions.number"]),
    )
    append_only("approvals", "approvals are append-only")


def _create_taints() -> None:
    op.create_table(
        "taints",
        sa.Column("id", sa.BigInteger, sa.ForeignKey("changes.revision"), primary_key=True, autoincrement=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("actor", sa.String(128), nullable=False),
        sa.Column("time_us", sa.BigInteger, nullable=False),
        sa.Column("cleared_us", sa.BigInteger, nullable=False),
        sa.Column("cleared_by", sa.String(128), nullable=False),
        sa.Column("cleared_reason", sa.Text, nullable=False),
        sa.CheckConstraint("kind IN ('data', 'feature_view', 'version')", name="kind"),
        sa.Index("ix_taints_kind_subject", "kind", "subject"),
    )
