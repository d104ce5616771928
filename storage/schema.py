"""The metadata that every library declares its tables on, in its own `tables.py`."""

from __future__ import annotations

from sqlalchemy import JSON, BigInteger, Boolean, CheckConstraint, Column, Integer, MetaData, String, Table, Text

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# One row: the counter that every change raises.
revision = Table(
    "revision",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("value", BigInteger, nullable=False),
    CheckConstraint("id = 1", name="one_row"),
)

changes = Table(
    "changes",
    metadata,
    Column("revision", BigInteger, primary_key=True, autoincrement=False),
    Column("kind", String(64), nullable=False),
    Column("resource", String(512), nullable=False),
    Column("actor", String(128), nullable=False),
    Column("detail", JSON, nullable=False),
    Column("time_us", BigInteger, nullable=False),
    # Empty in what is older than these columns.
    Column("peer", String(256), nullable=True),
    Column("credential", String(16), nullable=True),
    Column("before", JSON, nullable=True),
    Column("after", JSON, nullable=True),
)

# The schemas whose releases may use the database as it is: its own, and those before that lack nothing they rely on.
schema_readers = Table("schema_readers", metadata, Column("schema", String(32), primary_key=True))

# What each gateway said of itself when it was last heard of.
gateways = Table(
    "gateways",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("state", JSON, nullable=False),
    Column("started_us", BigInteger, nullable=False),
    Column("seen_us", BigInteger, nullable=False),
    Column("stopped", Boolean, nullable=False),
)

leases = Table(
    "leases",
    metadata,
    Column("name", String(128), primary_key=True),
    Column("holder", Text, nullable=False),
    # Raised by every acquisition and never reset: what a holder shows to prove that it still holds the lease.
    Column("token", BigInteger, nullable=False),
    Column("expires_us", BigInteger, nullable=False),
)
