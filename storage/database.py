"""The metadata database: opened, migrated, and read and written in transactions."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from storage import migrate, postgresql, sqlite
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


class DatabaseUnreachableError(UnavailableError):
    """The database's server does not answer, or the connection to it was lost."""

    reason = "DATABASE_UNREACHABLE"


class Database:
    """Transactions on the metadata.

    Parameters
    ----------
    reader
        The engine whose transactions cannot write and read one snapshot each.
    writer
        The engine whose transactions exclude one another: what one reads, nobody changes before it commits.
    """

    __slots__ = ("_closed", "_listeners", "_reader", "_writer")

    def __init__(self, reader: Engine, writer: Engine) -> None:
        self._reader = reader
        self._writer = writer
        self._listeners: list[Callable[[], None]] = []
        self._closed = False

    @property
    def dialect(self) -> str:
        """Return `sqlite` or `postgresql`."""
        return self._writer.dialect.name

    def on_commit(self, listener: Callable[[], None]) -> None:
        """Call a function after each transaction that this process commits; it must return at once.

        It is a hint: what other processes commit is seen by looking, unless `told` is called.
        """
        self._listeners.append(listener)

    def told(self) -> None:
        """Call what is called after a commit: another process has committed."""
        for listener in self._listeners:
            listener()

    @contextlib.contextmanager
    def read(self) -> Iterator[Connection]:
        """Give a transaction that sees one snapshot and cannot write.

        Raises
        ------
        DatabaseBusyError
            Too many transactions are open in this process.
        DatabaseUnreachableError
            The server does not answer.
        """
        with reachable(), _checked_out(self._reader) as connection:
            try:
                yield connection
            finally:
                self._let_go(connection)

    @contextlib.contextmanager
    def write(self) -> Iterator[Connection]:
        """Give the only writing transaction: committed when the body ends, rolled back when it raises.

        Raises
        ------
        DatabaseBusyError
            Other writers, here or in another process, did not let go of the database within the busy timeout.
        DatabaseUnreachableError
            The server does not answer, or only reads now, as while another one takes over. Where it went away during
            the commit, only looking tells whether it took effect.
        """
        with reachable(), _checked_out(self._writer) as connection:
            try:
                transaction = connection.begin()
            except OperationalError as error:
                if error.connection_invalidated:
                    raise
                raise DatabaseBusyError("the metadata database is kept busy by another writer; try again") from error
            try:
                with transaction:
                    yield connection
            except DBAPIError as error:
                if not postgresql.takes_no_changes(error):
                    raise
                connection.invalidate()  # the next one may reach the server that has taken over
                raise DatabaseUnreachableError("the metadata database takes no changes now; try again") from error
            finally:
                self._let_go(connection)
        self.told()

    def close(self) -> None:
        """Close all connections that are not in use, and each of the others when it is given back."""
        self._closed = True
        self._reader.dispose()
        self._writer.dispose()

    def _let_go(self, connection: Connection) -> None:
        """Close a connection that was in use when the database was closed: no pool takes it back."""
        if self._closed:
            connection.invalidate()


def open_database(url: str, *, busy_timeout_ms: int = BUSY_TIMEOUT_MS) -> Database:
    """Return the database at `url` with its schema brought to the newest.

    Any number of processes and threads may open the same database at the same time; they are let in one by one.

    Parameters
    ----------
    url
        `sqlite:////absolute/path.db`, a file that is created when there is none, in a folder that exists; or
        `postgresql://user@host/name`, a database that exists and whose user may create tables in it.
    busy_timeout_ms
        How long a writer waits for another one.

    Raises
    ------
    DatabaseUrlError
        The address is not of one of these forms, or the driver is not installed.
    DatabaseUnreachableError
        The server does not answer.
    SchemaUnknownError
        A newer Turnout wrote the database.
    """
    backend, reader, writer = engines(url, busy_timeout_ms)
    database = Database(reader, writer)
    try:
        with backend.opening(writer), database.write() as tx:
            migrate.to_newest(tx)
    except BaseException:
        database.close()
        raise
    return database


def engines(url: str, busy_timeout_ms: int) -> tuple[sqlite.Backend | postgresql.Backend, Engine, Engine]:
    """Return what knows the kind of database, its reading and its writing engine; or raise DatabaseUrlError."""
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise DatabaseUrlError(_ADVICE) from None
    name = parsed.get_backend_name()
    if name == "sqlite" and parsed.database and parsed.database != ":memory:":
        backend: sqlite.Backend | postgresql.Backend = sqlite.Backend(parsed, busy_timeout_ms=busy_timeout_ms)
    elif name == "postgresql" and parsed.database:
        backend = postgresql.Backend(parsed, busy_timeout_ms=busy_timeout_ms)
    else:
        raise DatabaseUrlError(_ADVICE, url=parsed.render_as_string())
    try:
        return backend, backend.engine(writes=False), backend.engine(writes=True)
    except ModuleNotFoundError as error:
        raise DatabaseUrlError(
            f"the driver {error.name!r} is not installed: pip install 'turnout[postgresql]'"
        ) from error


_ADVICE = (
    "the metadata database is the address of a SQLite file, sqlite:////path/turnout.db, or of a PostgreSQL database, "
    "postgresql://user@host/name"
)


@contextlib.contextmanager
def reachable() -> Iterator[None]:
    """Say that the server is unreachable where the connection to it is refused or lost."""
    try:
        yield
    except DBAPIError as error:
        if error.connection_invalidated or (isinstance(error, OperationalError) and postgresql.is_unreachable(error)):
            raise DatabaseUnreachableError("the metadata database does not answer; try again") from error
        raise


def _checked_out(engine: Engine) -> Connection:
    """Return a connection, or raise DatabaseBusyError when none becomes free within the busy timeout."""
    try:
        return engine.connect()
    except PoolTimeoutError as error:
        raise DatabaseBusyError("too many transactions are open in this process; try again") from error
