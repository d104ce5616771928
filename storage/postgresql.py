"""PostgreSQL as the metadata database: the same promises as SQLite's, over a connection.

A writing transaction begins with one advisory lock, as SQLite's begins with its write lock: what it reads, nobody
changes before it commits. Changes of metadata are rare and short, so that they wait for one another costs nothing that
anybody would notice, and every compare-and-set is right by construction on both.
"""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING

from sqlalchemy import create_engine, event

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import URL, Connection, Engine
    from sqlalchemy.exc import DBAPIError, OperationalError

CONNECT_TIMEOUT_S = 10
# A server that is cut off says nothing: without these the kernel waits a quarter of an hour, or two, for its word.
_CUT_OFF = {"keepalives_idle": 5, "keepalives_interval": 2, "keepalives_count": 3, "tcp_user_timeout": 10_000}
WRITE_LOCK = 0x7475726E6F7574  # `turnout` in ASCII: the key of the advisory lock that writers hold
IDLE_TIMEOUT_MS = 10_000
"""How long a writer may say nothing within its transaction: one that is cut off there would hold the lock for hours."""
_GONE = ("08", "57")  # classes of SQLSTATE: connection exception, operator intervention
_READ_ONLY = "25006"

_opening = threading.Lock()
"""Held by the thread that migrates: alembic's context is global to a process."""


class Backend:
    """How the server is connected to.

    Parameters
    ----------
    url
        The database's address.
    busy_timeout_ms
        How long a writer waits for another one.
    """

    __slots__ = ("_busy_timeout_ms", "_url")

    def __init__(self, url: URL, *, busy_timeout_ms: int) -> None:
        self._url = url.set(drivername="postgresql+psycopg")
        self._busy_timeout_ms = busy_timeout_ms

    def engine(self, *, writes: bool) -> Engine:
        """Return an engine; one that writes has one connection whose transactions begin with the writers' lock.

        A connection that was lost is noticed before it is used and made anew.
        """
        size = {"pool_size": 1, "max_overflow": 0} if writes else {"pool_size": 4, "max_overflow": 12}
        engine = create_engine(
            self._url,
            pool_timeout=self._busy_timeout_ms / 1000,
            pool_pre_ping=True,
            isolation_level="READ COMMITTED" if writes else "REPEATABLE READ",
            connect_args={"connect_timeout": CONNECT_TIMEOUT_S, "application_name": "turnout", **_CUT_OFF},
            **size,
        )

        @event.listens_for(engine, "begin")
        def _begin(connection: Connection) -> None:
            if writes:
                connection.exec_driver_sql(
                    f"SELECT set_config('lock_timeout', '{self._busy_timeout_ms:d}', true), "
                    f"set_config('idle_in_transaction_session_timeout', '{IDLE_TIMEOUT_MS:d}', true)"
                )
                connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({WRITE_LOCK:d})")
            else:
                connection.exec_driver_sql("SET TRANSACTION READ ONLY")

        return engine

    @contextlib.contextmanager
    def opening(self, writer: Engine) -> Iterator[None]:  # noqa: ARG002  (as every backend takes it)
        """Hold the lock of this process's threads that open the database; processes wait at the writers' lock."""
        with _opening:
            yield


def is_unreachable(error: OperationalError) -> bool:
    """Return whether the server could not be reached, rather than that it refused a statement."""
    state = getattr(error.orig, "sqlstate", "")  # none where there was no server to give one, no such thing in SQLite
    return state is None or str(state)[:2] in _GONE


def takes_no_changes(error: DBAPIError) -> bool:
    """Return whether the server only reads now, as while another one takes over from it."""
    return getattr(error.orig, "sqlstate", None) == _READ_ONLY
