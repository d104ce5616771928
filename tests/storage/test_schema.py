import importlib
import pathlib

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import JSON

from storage.schema import metadata

LIBRARIES = ("experiments", "features", "registry", "trainer.records")


def unless_json(_context, _found, column, *_defaults):
    """Compare defaults as alembic does (None), but for JSON, which PostgreSQL cannot compare."""
    return False if isinstance(column.type, JSON) else None


def test_the_migrations_make_exactly_the_declared_tables(database):
    for library in LIBRARIES:
        importlib.import_module(f"{library}.tables")
    with database.read() as tx:
        context = MigrationContext.configure(tx, opts={"compare_type": True, "compare_server_default": unless_json})
        assert compare_metadata(context, metadata) == []


def test_the_migrations_are_one_chain_in_the_order_of_their_numbers():
    folder = pathlib.Path(importlib.import_module("storage.migrations").__file__).parent / "versions"
    names = sorted(path.stem for path in folder.glob("[0-9]*.py"))
    modules = [importlib.import_module(f"storage.migrations.versions.{name}") for name in names]
    assert [module.revision for module in modules] == [name[:4] for name in names]
    assert [module.down_revision for module in modules] == [None, *(name[:4] for name in names[:-1])]
