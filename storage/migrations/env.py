"""Run the migrations in the transaction that `storage.migrate` gives. Executed by alembic, imported by nobody."""

from __future__ import annotations

from alembic import context

from storage.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,  # for its naming convention: constraints are named alike here and in the tables
    transactional_ddl=True,  # SQLite's DDL is transactional once the driver leaves transactions alone
)
with context.begin_transaction():
    context.run_migrations()
