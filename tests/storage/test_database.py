import contextlib
import multiprocessing
import threading

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, IntegrityError

from storage.database import DatabaseBusyError, DatabaseUnreachableError, DatabaseUrlError, open_database
from storage.migrate import SchemaUnknownError
from storage.revision import current_revision, record_change


def change(tx):
    return record_change(tx, kind="test", resource="things/a", actor="somebody", detail={}, now_us=1)


def open_and_change(url, changes, start):
    start.wait()
    database = open_database(url)
    for _ in range(changes):
        with database.write() as tx:
            change(tx)
    database.close()


def test_processes_that_start_at_once_share_one_schema_and_lose_no_change(url):
    spawn = multiprocessing.get_context("spawn")
    start = spawn.Barrier(4)
    writers = [spawn.Process(target=open_and_change, args=(url, 10, start)) for _ in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0] * 4
    with contextlib.closing(open_database(url)) as database, database.read() as tx:
        assert current_revision(tx) == 40


def test_threads_that_open_at_once_all_get_the_newest_schema(url):
    problems = []

    def opening():
        try:
            open_and_change(url, 1, start)
        except Exception as error:  # noqa: BLE001  every problem is a failure of the test
            problems.append(error)

    start = threading.Barrier(6)
    threads = [threading.Thread(target=opening) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []


def test_a_reader_sees_one_snapshot_while_others_write(database):
    with database.read() as snapshot:
        before = current_revision(snapshot)
        with database.write() as tx:
            change(tx)
        assert current_revision(snapshot) == before
    with database.read() as tx:
        assert current_revision(tx) == before + 1


def test_a_reader_cannot_write(database):
    with database.read() as tx, pytest.raises(DBAPIError, match=r"readonly|read-only"):
        change(tx)


def test_a_writer_that_raises_leaves_nothing(database):
    def failing():
        with database.write() as tx:
            change(tx)
            raise KeyError

    with pytest.raises(KeyError):
        failing()
    with database.read() as tx:
        assert current_revision(tx) == 0


def test_a_writer_begins_with_the_write_lock(url):
    first, second = open_database(url), open_database(url, busy_timeout_ms=50)
    with first.write(), pytest.raises(DatabaseBusyError), second.write():
        pytest.fail("two writers at once")
    with second.write() as tx:
        change(tx)
    first.close()
    second.close()


def test_threads_of_one_process_queue_for_the_writer(url):
    database = open_database(url, busy_timeout_ms=50)
    with database.write(), pytest.raises(DatabaseBusyError), database.write():
        pytest.fail("two writers at once")
    database.close()


def test_foreign_keys_are_held(database):
    with pytest.raises(IntegrityError), database.write() as tx:
        tx.execute(text("INSERT INTO aliases VALUES ('nobody', 'champion', 1, 1, 0)"))


def test_the_log_of_a_file_is_synced(tmp_path):
    database = open_database(f"sqlite:///{tmp_path / 'turnout.db'}")
    with database.write() as tx:
        assert tx.execute(text("PRAGMA journal_mode")).scalar() == "wal"
        assert tx.execute(text("PRAGMA synchronous")).scalar() == 2
    database.close()


@pytest.mark.parametrize("url", ["", "sqlite://", "sqlite:///:memory:", "postgresql://host", "mysql://host/name"])
def test_other_addresses_are_refused(url):
    with pytest.raises(DatabaseUrlError, match=r"sqlite:.*postgresql:"):
        open_database(url)


def test_a_server_that_does_not_answer_is_said_to_be_unreachable():
    with pytest.raises(DatabaseUnreachableError):
        open_database("postgresql://nobody@127.0.0.1:1/turnout")


def test_a_server_that_only_reads_while_another_takes_over_is_said_to_take_no_changes(postgresql):
    url = postgresql.create()
    with contextlib.closing(open_database(url)) as database:
        postgresql.only_read(url, "on")
        with pytest.raises(DatabaseUnreachableError, match="no changes"), database.write() as tx:
            change(tx)
        with database.read() as tx:
            assert current_revision(tx) == 0
        postgresql.only_read(url, "off")
        with database.write() as tx:
            change(tx)
        with database.read() as tx:
            assert current_revision(tx) == 1


def test_a_schema_of_the_future_is_refused_and_left_alone(url):
    database = open_database(url)
    with database.write() as tx:
        tx.execute(text("UPDATE alembic_version SET version_num = '9999'"))
        tx.execute(text("DELETE FROM schema_readers"))
    database.close()
    with pytest.raises(SchemaUnknownError, match="9999"):
        open_database(url)


def test_a_database_that_a_newer_release_says_may_be_used_is_used(database_url):
    with contextlib.closing(open_database(database_url)) as database, database.write() as tx:
        (head,) = tx.execute(text("SELECT version_num FROM alembic_version")).scalars()
        assert head in set(tx.execute(text("SELECT schema FROM schema_readers")).scalars())
        tx.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with contextlib.closing(open_database(database_url)) as database, database.read() as tx:
        assert list(tx.execute(text("SELECT version_num FROM alembic_version")).scalars()) == ["9999"]
    with contextlib.closing(open_database(database_url)) as database, database.write() as tx:
        tx.execute(text("DELETE FROM schema_readers WHERE schema = :head"), {"head": head})
    with pytest.raises(SchemaUnknownError, match="start the newer one"):
        open_database(database_url)


def fall_silent(silent, other):
    with silent.write() as tx:
        change(tx)
        with other.write() as later:  # waits for the lock, which the silent one holds
            assert change(later) == 1
        change(tx)


def test_a_writer_that_falls_silent_within_its_transaction_lets_the_others_in(postgresql, monkeypatch):
    monkeypatch.setattr("storage.postgresql.IDLE_TIMEOUT_MS", 300)
    url = postgresql.create()
    silent, other = open_database(url), open_database(url)
    with pytest.raises(DatabaseUnreachableError):
        fall_silent(silent, other)
    with silent.write() as tx:
        assert change(tx) == 2
    silent.close()
    other.close()


def test_connections_that_the_server_cut_are_made_anew(postgresql):
    database = open_database(postgresql.create())
    with pytest.raises(DatabaseUnreachableError), database.write() as tx:
        change_cut_and_change(database, tx)
    with database.write() as tx:
        change(tx)
    with database.read() as tx:
        assert current_revision(tx) == 1
    database.close()


def change_cut_and_change(database, tx):
    change(tx)
    with database.read() as other:
        others = "datname = current_database() AND pid <> pg_backend_pid()"
        other.execute(text(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others}"))
    change(tx)
