"""The metadata database: opened, migrated, and read and written in transactions."""

from __future__ import annotations

import contextlib
import fcntl
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from storage import migrate
from storage.errors import InvalidError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import Connection, Engine

BUSY_TIMEOUT_MS = 20_000


class DatabaseUrlError(InvalidError):
    """The database's address is not one that can be opened."""

    reason = "DATABASE_URL"


class DatabaseBusyError(UnavailableError):
    """Another writer kept the database for longer than the busy timeout."""

    reason = "DATABASE_BUSY"


class Database:
    """Transactions on the metadata.

    Parameters
    ----------
    reader
        The engine whose connections cannot write and begin deferred: each transaction reads one snapshot.
    writer
        The engine whose one connection begins IMMEDIATE: what a transaction reads, nobody changes before it commits.
    """

    __slots__ = ("_listeners", "_reader", "_writer")

    def __init__(self, reader: Engine, writer: Engine) -> None:
        self._reader = reader
        self._writer = writer
        self._listeners: list[Callable[[], None]] = []

    def on_commit(self, listener: Callable[[], None]) -> None:
        """Call a function after each transaction that this process commits; it must return at once.

        It is a hint: what other processes commit is seen by looking.
        """
        self._listeners.append(listener)

    @contextlib.contextmanager
    def read(self) -> Iterator[Connection]:
        """Give a transaction that sees one snapshot and cannot write, or raise DatabaseBusyError."""
        with _checked_out(self._reader) as connection:
            yield connection

    @contextlib.contextmanager
    def write(self) -> Iterator[Connection]:
        """Give the only writing transaction: committed when the body ends, rolled back when it raises.

        Raises
        ------
        DatabaseBusyError
            Other writers, here or in another process, did not let go of the database within the busy timeout.
        """
        with _checked_out(self._writer) as connection:
            try:
                transaction = connection.begin()
            except OperationalError as error:
                raise DatabaseBusyError("the metadata database is kept busy by another writer; try again") from error
            with transaction:
                yield connection
        for listener in self._listeners:
            listener()

    def close(self) -> None:
        """Close all connections that are not in use."""
        self._reader.dispose()
        self._writer.dispose()


def open_database(url: str, *, busy_timeout_ms: int = BUSY_TIMEOUT_MS) -> Database:
    """Return the database at `url` with its schema brought to the newest, or raise DatabaseUrlError.

    Any number of processes and threads may open the same database at the same time: a lock file beside it lets them
    in one by one.

    Parameters
    ----------
    url
        `sqlite:////absolute/path.db`. The file is created when there is none; its folder must exist.
    busy_timeout_ms
        How long a writer waits for another one.
    """
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite" or not parsed.database or parsed.database == ":memory:":
        raise DatabaseUrlError(f"{url!r} is not the address of a SQLite file: sqlite:////path/turnout.db", url=url)
    reader = _engine(url, begin="BEGIN", busy_timeout_ms=busy_timeout_ms, query_only=True)
    writer = _engine(url, begin="BEGIN IMMEDIATE", busy_timeout_ms=busy_timeout_ms, query_only=False)
    database = Database(reader, writer)
    try:
        with _opening(Path(parsed.database)):
            _use_write_ahead_log(writer)
            with database.write() as tx:
                migrate.to_newest(tx)
    except BaseException:
        database.close()
        raise
    return database


@contextlib.contextmanager
def _opening(path: Path) -> Iterator[None]:
    """Hold the lock of those who open the database.

    Needed beside SQLite's own: the change to WAL ignores the busy timeout, and alembic's context is global to a
    process. flock conflicts between two descriptors of one process too, so it holds threads as well.
    """
    with path.with_name(path.name + ".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _use_write_ahead_log(engine: Engine) -> None:
    """Set the journal mode, which the file keeps; it cannot be set inside a transaction."""
    raw = engine.raw_connection()
    try:
        raw.cursor().execute("PRAGMA journal_mode=WAL").close()
    finally:
        raw.close()


def _checked_out(engine: Engine) -> Connection:
    """Return a connection, or raise DatabaseBusyError when none becomes free within the busy timeout."""
    try:
        return engine.connect()
    except PoolTimeoutError as error:
        raise DatabaseBusyError("too many transactions are open in this process; try again") from error


def _engine(url: str, *, begin: str, busy_timeout_ms: int, query_only: bool) -> Engine:
    """Return an engine whose transactions start with the statement `begin`."""
    # One writing connection a process: threads queue in the pool, in order, rather than in SQLite's polling.
    size = {"pool_size": 8, "max_overflow": 24} if query_only else {"pool_size": 1, "max_overflow": 0}
    engine = create_engine(url, pool_timeout=busy_timeout_ms / 1000, **size)

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _record: object) -> None:
        # The driver's own BEGIN comes late and deferred, and it commits before DDL: it is told to leave all that to us.
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout={busy_timeout_ms:d}")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.execute(f"PRAGMA query_only={query_only:d}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    return engine
