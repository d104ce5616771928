"""The chain of migrations and the environment that alembic runs it in."""
