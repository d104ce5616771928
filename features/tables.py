"""The tables of the features: sources, views and sets, each with every definition it ever had."""

from __future__ import annotations

from sqlalchemy import JSON, BigInteger, Column, ForeignKey, ForeignKeyConstraint, Integer, String, Table, Text

from storage.schema import metadata

NAME_CHARS_MAX = 63

# Where the offline data lies. Not versioned: a moved file holds the same data.
sources = Table(
    "feature_sources",
    metadata,
    Column("name", String(NAME_CHARS_MAX), primary_key=True),
    Column("document", JSON, nullable=False),
    Column("updated_us", BigInteger, nullable=False),
)

# The definition that is current.
views = Table(
    "feature_views",
    metadata,
    Column("name", String(NAME_CHARS_MAX), primary_key=True),
    Column("digest", String(64), nullable=False),
    Column("description", Text, nullable=False),
)

# Every definition that a view ever had. Equal layouts share a schema number, and so their online values.
view_versions = Table(
    "feature_view_versions",
    metadata,
    Column("name", String(NAME_CHARS_MAX), ForeignKey("feature_views.name"), primary_key=True),
    Column("digest", String(64), primary_key=True),
    Column("layout", String(64), nullable=False),
    Column("schema_id", Integer, nullable=False),
    Column("document", JSON, nullable=False),
    Column("created_us", BigInteger, nullable=False),
)

sets = Table(
    "feature_sets",
    metadata,
    Column("name", String(NAME_CHARS_MAX), primary_key=True),
    Column("digest", String(64), nullable=False),
    Column("description", Text, nullable=False),
)

set_versions = Table(
    "feature_set_versions",
    metadata,
    Column("name", String(NAME_CHARS_MAX), ForeignKey("feature_sets.name"), primary_key=True),
    Column("digest", String(64), primary_key=True),
    Column("document", JSON, nullable=False),
    Column("created_us", BigInteger, nullable=False),
)

# Which definition of a view a definition of a set was made with.
set_views = Table(
    "feature_set_views",
    metadata,
    Column("set_name", String(NAME_CHARS_MAX), primary_key=True),
    Column("set_digest", String(64), primary_key=True),
    Column("view_name", String(NAME_CHARS_MAX), primary_key=True),
    Column("view_digest", String(64), nullable=False),
    ForeignKeyConstraint(["set_name", "set_digest"], ["feature_set_versions.name", "feature_set_versions.digest"]),
    ForeignKeyConstraint(["view_name", "view_digest"], ["feature_view_versions.name", "feature_view_versions.digest"]),
)
