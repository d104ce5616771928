"""One contract for both online stores, and what each promises beyond it."""

from __future__ import annotations

import multiprocessing
import socket
import subprocess
import sys
import threading
import time

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from features.codec import HEADER
from features.errors import StoreFullError, StoreUnavailableError, StoreUrlError
from features.store import open_store


def blob(event_us, written_us=0, tail=b""):
    return HEADER.pack(1, 1, 0, event_us, written_us) + tail


def test_values_come_back_in_the_order_of_their_keys(store):
    assert store.put_many([(b"a", blob(1)), (b"b", blob(2))]) == 2
    assert store.get_many([b"b", b"none", b"a", b"b"]) == [blob(2), None, blob(1), blob(2)]
    assert store.get_many([]) == []


def test_an_older_value_never_overwrites_a_newer_one(store):
    store.put_many([(b"k", blob(10, 10))])
    assert store.put_many([(b"k", blob(9, 99))]) == 0
    assert store.put_many([(b"k", blob(10, 9))]) == 0
    assert store.get_many([b"k"]) == [blob(10, 10)]
    assert store.put_many([(b"k", blob(10, 11))]) == 1
    assert store.put_many([(b"k", blob(11, 0))]) == 1
    assert store.get_many([b"k"]) == [blob(11, 0)]


def test_the_same_value_again_is_no_change_and_a_correction_of_the_same_times_is(store):
    assert store.put_many([(b"k", blob(5, 5, b"x"))]) == 1
    assert store.put_many([(b"k", blob(5, 5, b"x"))]) == 0
    assert store.put_many([(b"k", blob(5, 5, b"y"))]) == 1


def test_within_one_batch_the_newest_wins(store):
    assert store.put_many([(b"k", blob(3)), (b"k", blob(1)), (b"k", blob(2))]) == 1
    assert store.get_many([b"k"]) == [blob(3)]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    writes=st.lists(st.tuples(st.integers(-(2**52), 2**52), st.integers(-(2**52), 2**52)), min_size=1, max_size=6),
    key=st.binary(min_size=1, max_size=40),
)
def test_any_order_of_writes_leaves_the_newest(store, writes, key):
    key = b"p" + str(len(writes)).encode() + str(hash(tuple(writes))).encode() + key
    for event_us, written_us in writes:
        store.put_many([(key, blob(event_us, written_us))])
    assert store.get_many([key]) == [blob(*max(writes))]


def test_many_pairs_are_written_from_a_generator_in_chunks(store):
    count = 9001
    assert store.put_many((f"g{i}".encode(), blob(i)) for i in range(count)) == count
    found = store.get_many([f"g{i}".encode() for i in range(count)])
    assert found == [blob(i) for i in range(count)]


def test_racing_writers_leave_the_newest(store):
    def write(offset):
        for event_us in range(offset, 200, 4):
            store.put_many([(b"race", blob(event_us))])

    threads = [threading.Thread(target=write, args=(offset,)) for offset in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.get_many([b"race"]) == [blob(199)]


def test_an_unknown_kind_of_address_is_refused():
    with pytest.raises(StoreUrlError):
        open_store("memcached://somewhere", writable=False)


def _read_in_another_process(url, key, results):
    reader = open_store(url, writable=False)
    results.put(reader.get_many([key])[0])
    while (found := reader.get_many([key])[0]) is None:
        time.sleep(0.01)
    results.put(found)
    reader.close()


def test_lmdb_readers_may_come_before_the_writer_and_see_what_it_commits(tmp_path):
    url = f"lmdb://{tmp_path}/not/there/yet"
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    readers = [context.Process(target=_read_in_another_process, args=(url, b"k", results)) for _ in range(2)]
    for reader in readers:
        reader.start()
    assert [results.get(timeout=60) for _ in readers] == [None, None]
    writer = open_store(url, writable=True)
    writer.put_many([(b"k", blob(7))])
    assert [results.get(timeout=60) for _ in readers] == [blob(7), blob(7)]
    for reader in readers:
        reader.join(timeout=60)
        assert reader.exitcode == 0
    writer.close()


def test_a_full_lmdb_says_so_and_keeps_what_it_has(tmp_path):
    store = open_store(f"lmdb://{tmp_path}/small", writable=True, map_bytes_max=1 << 20)
    store.put_many([(b"kept", blob(1))])
    with pytest.raises(StoreFullError):
        store.put_many((f"k{i}".encode(), blob(i, 0, bytes(1000))) for i in range(20_000))
    assert store.get_many([b"kept"]) == [blob(1)]
    store.close()


def test_a_reader_follows_a_map_that_grew(tmp_path):
    url = f"lmdb://{tmp_path}/grown"
    reader = open_store(url, writable=False, map_bytes_max=1 << 20)
    script = (
        "import sys; from features.store import open_store; from features.codec import HEADER;"
        f"s = open_store({url!r}, writable=True, map_bytes_max=1 << 26);"
        "s.put_many((b'k%d' % i, HEADER.pack(1, 1, 0, i, 0) + bytes(1000)) for i in range(9000)); s.close()"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)
    assert reader.get_many([b"k8999"]) == [blob(8999, 0, bytes(1000))]
    reader.close()


def test_a_redis_that_is_not_there_is_unavailable_at_once():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        store = open_store(f"redis://127.0.0.1:{taken.getsockname()[1]}/0", writable=True)
        with pytest.raises(StoreUnavailableError):
            store.get_many([b"k"])
        with pytest.raises(StoreUnavailableError):
            store.put_many([(b"k", blob(1))])
        store.close()


def test_a_redis_that_does_not_answer_is_unavailable_within_the_budget():
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        store = open_store(f"redis://127.0.0.1:{silent.getsockname()[1]}/0", writable=False, read_budget_ms=50)
        begun = time.monotonic()
        with pytest.raises(StoreUnavailableError):
            store.get_many([b"k"])
        assert time.monotonic() - begun < 10  # not redis-py's own retries and endless waits
        store.close()


def test_redis_writes_survive_a_flushed_script_cache(redis_url):
    store = open_store(redis_url, writable=True, read_budget_ms=2000)
    store.put_many([(b"before", blob(1))])
    client = redis.Redis.from_url(redis_url)
    client.script_flush()
    client.close()
    assert store.put_many([(b"after", blob(1))]) == 1
    store.close()
