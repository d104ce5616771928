"""SQLite as the metadata database: one file, many readers, one writer at a time."""

from __future__ import annotations

import contextlib
import fcntl
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import create_engine, event

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import URL, Connection, Engine


class Backend:
    """How the file is opened.

    Parameters
    ----------
    url
        The file's address.
    busy_timeout_ms
        How long a writer waits for another one.
    """

    __slots__ = ("_busy_timeout_ms", "_url")

    def __init__(self, url: URL, *, busy_timeout_ms: int) -> None:
        self._url = url
        self._busy_timeout_ms = busy_timeout_ms

    def engine(self, *, writes: bool) -> Engine:
        """Return an engine; one that writes has one connection whose transactions begin IMMEDIATE."""
        # One writing connection a process: threads queue in the pool, in order, rather than in SQLite's polling.
        size = {"pool_size": 1, "max_overflow": 0} if writes else {"pool_size": 8, "max_overflow": 24}
        engine = create_engine(self._url, pool_timeout=self._busy_timeout_ms / 1000, **size)
        begin = "BEGIN IMMEDIATE" if writes else "BEGIN"

        @event.listens_for(engine, "connect")
        def _configure(connection: Any, _record: object) -> None:
            # The driver's own BEGIN comes late and deferred, and it commits before DDL: all that is left to us.
            connection.isolation_level = None
            cursor = connection.cursor()
            cursor.execute(f"PRAGMA busy_timeout={self._busy_timeout_ms:d}")
            cursor.execute("PRAGMA foreign_keys=ON")
            cursor.execute("PRAGMA synchronous=FULL")
            cursor.execute(f"PRAGMA query_only={not writes:d}")
            cursor.close()

        @event.listens_for(engine, "begin")
        def _begin(connection: Connection) -> None:
            connection.exec_driver_sql(begin)

        return engine

    @contextlib.contextmanager
    def opening(self, writer: Engine) -> Iterator[None]:
        """Hold the lock of those who open the database, whose journal mode is then set.

        Needed beside SQLite's own: the change to WAL ignores the busy timeout, and alembic's context is global to a
        process. flock conflicts between two descriptors of one process too, so it holds threads as well. Foreign keys
        are not enforced meanwhile, as SQLite asks of who makes a table anew; the migration that does so checks them.
        """
        path = Path(self._url.database or "")
        with path.with_name(path.name + ".lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            _outside_transactions(writer, "PRAGMA journal_mode=WAL", "PRAGMA foreign_keys=OFF")
            yield
            _outside_transactions(writer, "PRAGMA foreign_keys=ON")


def _outside_transactions(writer: Engine, *pragmas: str) -> None:
    """Set on the one writing connection what cannot be set inside a transaction."""
    raw = writer.raw_connection()
    try:
        for pragma in pragmas:
            raw.cursor().execute(pragma).close()
    finally:
        raw.close()
