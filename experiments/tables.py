"""The tables of experiments."""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    String,
    Table,
    Text,
    text,
)

from storage.schema import metadata

experiments = Table(
    "experiments",
    metadata,
    Column("id", String(63), primary_key=True),
    # The model's id. No foreign key: the library of models is another one, and the caller's transaction spans both.
    Column("model", String(63), nullable=False),
    Column("description", Text, nullable=False),
    Column("owner", Text, nullable=False),
    Column("coverage", Double, nullable=False),
    Column("seed", Text, nullable=False),
    Column("alpha", Double, nullable=False),
    Column("minimum_units", BigInteger, nullable=False),
    # How it is judged: a JSON object of the plan's fields; what is not in it has its default.
    Column("plan", Text, nullable=False, server_default="{}"),
    # Whom it is for: a JSON object of the scope's fields; what is not in it has its default.
    Column("scope", Text, nullable=False, server_default="{}"),
    # How its candidate gets more and more of the units: a JSON object of the ramp's fields; empty: it has none.
    Column("ramp", Text, nullable=False, server_default=text("''")),
    # The first of the places in the model's layer that it holds, once it was started.
    Column("layer_first", Integer, nullable=False, server_default="0"),
    Column("state", String(16), nullable=False),
    Column("epoch", BigInteger, nullable=False),
    # The revision of the experiment's last change.
    Column("etag", String(32), nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("created_by", String(128), nullable=False),
    Column("started_us", BigInteger, nullable=False),
    Column("concluded_us", BigInteger, nullable=False),
    Column("winner", String(63), nullable=False),
    CheckConstraint("state IN ('draft', 'running', 'paused', 'concluded', 'archived')", name="state"),
    Index("ix_experiments_model", "model"),
)

experiment_variants = Table(
    "experiment_variants",
    metadata,
    Column("experiment", ForeignKey("experiments.id"), primary_key=True),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("variant", String(63), nullable=False),
    Column("version", BigInteger, nullable=False),
    # The alias that the version was resolved from at creation; empty when the number was given.
    Column("alias", String(63), nullable=False),
    Column("share", Double, nullable=False),
    Column("control", Boolean, nullable=False),
)

experiment_metrics = Table(
    "experiment_metrics",
    metadata,
    Column("experiment", ForeignKey("experiments.id"), primary_key=True),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("metric", String(63), nullable=False),
    Column("kind", String(32), nullable=False),
    Column("outcome", Text, nullable=False),
    Column("output", Text, nullable=False),
    Column("output_index", Integer, nullable=False),
    Column("direction", String(16), nullable=False),
    Column("role", String(16), nullable=False),
    # The metric's other fields: a JSON object; what is not in it has its default.
    Column("options", Text, nullable=False, server_default="{}"),
)

# Append-only: one row for each look at the data that came to something new.
experiment_looks = Table(
    "experiment_looks",
    metadata,
    Column("experiment", ForeignKey("experiments.id"), primary_key=True),
    Column("look", BigInteger, primary_key=True, autoincrement=False),
    Column("time_us", BigInteger, nullable=False),
    Column("recommendation", String(16), nullable=False),
    # The sha256 of the two texts.
    Column("digest", String(64), nullable=False),
    # What the verdict was made of, and what was made: JSON, in which floats come back bit by bit. Not the database's
    # JSON, which may write them otherwise, and knows no infinity.
    Column("basis", Text, nullable=False),
    Column("outcome", Text, nullable=False),
)

# Append-only: one row for each split that was ever in force.
experiment_epochs = Table(
    "experiment_epochs",
    metadata,
    Column("experiment", ForeignKey("experiments.id"), primary_key=True),
    Column("epoch", BigInteger, primary_key=True, autoincrement=False),
    Column("shares", JSON, nullable=False),
    # The slot table by runs: [first slot, number of slots, variant's position].
    Column("runs", JSON, nullable=False),
    Column("moved_share", Double, nullable=False),
    Column("revision", ForeignKey("changes.revision"), nullable=False),
    Column("time_us", BigInteger, nullable=False),
)

# What runs in the shadow of a model's answers.
shadows = Table(
    "shadows",
    metadata,
    # No foreign key, as above.
    Column("model", String(63), primary_key=True),
    # A version's number, or 0 and an alias.
    Column("version", BigInteger, nullable=False),
    Column("alias", String(63), nullable=False),
    Column("share", Double, nullable=False),
    Column("set_us", BigInteger, nullable=False),
    Column("set_by", String(128), nullable=False),
)

# Where each ramp stands; a row begins when its experiment is started.
experiment_ramps = Table(
    "experiment_ramps",
    metadata,
    Column("experiment", ForeignKey("experiments.id"), primary_key=True),
    Column("state", String(16), nullable=False),
    Column("step", Integer, nullable=False),
    Column("step_began_us", BigInteger, nullable=False),
    Column("approved", Boolean, nullable=False),
    # The window of the step in which units are counted, from 1.
    Column("window", Integer, nullable=False),
    Column("window_began_us", BigInteger, nullable=False),
    # Of the last event: a JSON list of sentences.
    Column("reasons", Text, nullable=False),
    # The revision of the ramp's last event.
    Column("etag", BigInteger, nullable=False),
    CheckConstraint("state IN ('running', 'holding', 'paused', 'completed', 'rolled_back', 'aborted')", name="state"),
)

# Append-only: one row for everything that happened to a ramp, with what it was decided on.
experiment_ramp_events = Table(
    "experiment_ramp_events",
    metadata,
    Column("experiment", ForeignKey("experiments.id"), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("time_us", BigInteger, nullable=False),
    Column("kind", String(16), nullable=False),
    Column("step", Integer, nullable=False),
    Column("reasons", Text, nullable=False),
    Column("evidence", Text, nullable=False),
    Column("revision", ForeignKey("changes.revision"), nullable=False),
)

# The last places of a model's layer that no experiment may hold; a model without a row holds none out.
experiment_holdouts = Table(
    "experiment_holdouts",
    metadata,
    # The model's id; no foreign key, as above.
    Column("model", String(63), primary_key=True),
    Column("places", Integer, nullable=False),
    Column("etag", BigInteger, nullable=False),
)
