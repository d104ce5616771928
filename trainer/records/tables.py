"""The tables of policies, checks and runs."""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
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

policies = Table(
    "training_policies",
    metadata,
    Column("id", String(63), primary_key=True),
    Column("model", String(63), nullable=False),
    # What somebody defined: a document of trainer.records.policy.
    Column("definition", JSON, nullable=False),
    Column("paused", Boolean, nullable=False),
    Column("pause_reason", Text, nullable=False),
    # 0: none is due.
    Column("next_check_us", BigInteger, nullable=False),
    # Raised in the transaction that adds one: numbers have no gaps.
    Column("latest_check", BigInteger, nullable=False),
    Column("latest_run", BigInteger, nullable=False),
    Column("failures", Integer, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("created_by", String(128), nullable=False),
    # The revision of the last change.
    Column("etag", BigInteger, nullable=False),
)

checks = Table(
    "training_checks",
    metadata,
    Column("policy", ForeignKey("training_policies.id"), primary_key=True),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("dry_run", Boolean, nullable=False),
    Column("done", Boolean, nullable=False),
    Column("verdict", String(16), nullable=False),
    # A list: one document for each trigger of the policy.
    Column("evidence", JSON, nullable=False),
    # The run that it made; 0: none.
    Column("run", BigInteger, nullable=False),
    Column("sentence", Text, nullable=False),
    Column("actor", String(128), nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("ended_us", BigInteger, nullable=False),
    Index("ix_training_checks_done", "done"),
)

runs = Table(
    "training_runs",
    metadata,
    Column("policy", ForeignKey("training_policies.id"), primary_key=True),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("model", String(63), nullable=False),
    Column("state", String(16), nullable=False),
    # The kind of the trigger that made it; empty: somebody asked for it.
    Column("trigger", String(32), nullable=False),
    Column("check", BigInteger, nullable=False),
    Column("reason", Text, nullable=False),
    Column("actor", String(128), nullable=False),
    # The policy as it was when the run was made.
    Column("definition", JSON, nullable=False),
    Column("as_of_us", BigInteger, nullable=False),
    # The version that came out; 0 before.
    Column("version", BigInteger, nullable=False),
    Column("experiment", String(63), nullable=False),
    Column("findings", JSON, nullable=False),
    Column("trainer", Text, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("ended_us", BigInteger, nullable=False),
    Column("etag", BigInteger, nullable=False),
    Index("ix_training_runs_model", "model", "state"),
    Index("ix_training_runs_created_us", "created_us"),
)

_RUN = ("training_runs.policy", "training_runs.number")

run_steps = Table(
    "training_run_steps",
    metadata,
    Column("policy", String(63), primary_key=True),
    Column("run", BigInteger, primary_key=True, autoincrement=False),
    Column("step", String(16), primary_key=True),
    Column("done", Boolean, nullable=False),
    Column("result", Text, nullable=False),
    Column("began_us", BigInteger, nullable=False),
    Column("done_us", BigInteger, nullable=False),
    Column("attempts", Integer, nullable=False),
    ForeignKeyConstraint(["policy", "run"], _RUN),
)

run_events = Table(
    "training_run_events",
    metadata,
    Column("policy", String(63), primary_key=True),
    Column("run", BigInteger, primary_key=True, autoincrement=False),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("time_us", BigInteger, nullable=False),
    Column("kind", String(16), nullable=False),
    Column("message", Text, nullable=False),
    ForeignKeyConstraint(["policy", "run"], _RUN),
)
