import multiprocessing
import sqlite3
import threading

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError, OperationalError

from storage.database import DatabaseBusyError, DatabaseUrlError, open_database
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
    with open_database(url).read() as tx:
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
    with database.read() as tx, pytest.raises(OperationalError, match="readonly"):
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


def test_foreign_keys_are_held_and_the_log_is_synced(database):
    with database.write() as tx:
        assert tx.execute(text("PRAGMA journal_mode")).scalar() == "wal"
        assert tx.execute(text("PRAGMA synchronous")).scalar() == 2
        with pytest.raises(IntegrityError):
            tx.execute(text("INSERT INTO aliases VALUES ('nobody', 'champion', 1, 1)"))


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "postgresql://host/db"])
def test_only_a_file_is_opened(url):
    with pytest.raises(DatabaseUrlError):
        open_database(url)


def test_a_schema_of_the_future_is_refused_and_left_alone(url, tmp_path):
    open_database(url).close()
    with sqlite3.connect(tmp_path / "turnout.db") as raw:
        raw.execute("UPDATE alembic_version SET version_num = '9999'")
    raw.close()
    with pytest.raises(SchemaUnknownError, match="9999"):
        open_database(url)
