"""One contract for all online stores, and what each promises beyond it."""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
import socket
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import redis
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from features.codec import HEADER, encode_tombstone, encode_values, entity_key, joined, key_prefix, times_of
from features.copying import Copied, copy_values
from features.errors import StoreFullError, StoreUnavailableError, StoreUrlError
from features.store import open_store

TICK = itertools.count()


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


def value(view, schema_id, features, event_us, *, entity=0, nulls=(), written_us=0):
    """Return the bytes of a value whose features tell who it is of."""
    row = np.arange(features, dtype=np.float64)[None] + entity * 1000 + schema_id / 8
    null = np.isin(np.arange(features), nulls)[None]
    [encoded] = encode_values(
        schema_id=schema_id,
        event_us=np.array([event_us]),
        written_us=np.array([written_us]),
        values=row,
        nulls=null,
    )
    return entity_key(key_prefix(view, schema_id), f"e{entity}"), encoded


def test_a_thousand_entities_of_three_views_are_one_read(store):
    pairs = [
        value(view, 1, features, entity, entity=entity, nulls=[entity % features] if entity % 7 == 0 else [])
        for view, features in (("narrow", 1), ("bytewide", 8), ("wide", 50))
        for entity in range(1000)
    ]
    pairs = [pairs[place] for place in np.random.default_rng(5).permutation(len(pairs))]
    assert store.put_many(pairs) == 3000
    found = store.get_many([key for key, _ in pairs])
    assert found == [encoded for _, encoded in pairs]
    assert sorted(store.scan()) == sorted(pairs)


ENTITIES = st.text(st.characters(exclude_categories=["Cs"]), max_size=200)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(ENTITIES, min_size=2, max_size=2), min_size=1, max_size=12, unique_by=tuple))
@example([["", ""], ["{", "}"], ["}", "{"], ["a}", "b"], ["é" * 64, "\0"], ["x" * 4096, "y"], ["x" * 4097, "y"]])
def test_unicode_and_long_keys_are_kept_apart(store, entities):
    prefix = key_prefix("pairs", 3)
    pairs = [
        (entity_key(prefix, joined(names)), value("pairs", 3, 5, 1 << 50, entity=place, written_us=next(TICK))[1])
        for place, names in enumerate(entities)
    ]
    assert store.put_many(pairs) == len(pairs)
    assert store.get_many([key for key, _ in pairs]) == [encoded for _, encoded in pairs]


def test_two_layouts_of_a_view_live_side_by_side_and_a_tombstone_stays(store):
    old, new = value("driver", 1, 3, 10), value("driver", 2, 4, 10)
    gone = (old[0], encode_tombstone(schema_id=1, event_us=11, written_us=0))
    assert store.put_many([old, new, value("driver", 2, 4, 7, entity=2)]) == 3
    assert store.put_many([gone]) == 1
    assert store.put_many([old]) == 0
    assert store.get_many([old[0], new[0], value("driver", 1, 3, 7, entity=2)[0]]) == [gone[1], new[1], None]


def test_a_schema_changes_while_it_is_served(store):
    """Readers of either layout see their own values or none, never each other's, while the new one comes in."""
    old = [value("driver", 1, 3, 10, entity=entity) for entity in range(50)]
    store.put_many(old)
    stop, wrong, reads = threading.Event(), [], itertools.count()

    def read():
        keys = [value("driver", layout, 2 + layout, 10, entity=entity)[0] for layout in (1, 2) for entity in range(50)]
        expected = [
            value("driver", layout, 2 + layout, 10, entity=entity)[1] for layout in (1, 2) for entity in range(50)
        ]
        while not stop.is_set():
            found = store.get_many(keys)
            wrong.extend(pair for pair in zip(found, expected, strict=True) if pair[0] not in {pair[1], None})
            wrong.extend(each for each in found[:50] if each is None)
            next(reads)

    thread = threading.Thread(target=read)
    thread.start()
    new = [value("driver", 2, 4, 10, entity=entity) for entity in range(50)]
    for start in range(0, 50, 5):
        store.put_many(new[start : start + 5])
        before = next(reads)
        while next(reads) < before + 2:
            time.sleep(0.001)
    stop.set()
    thread.join()
    assert wrong == []
    assert store.get_many([key for key, _ in new]) == [encoded for _, encoded in new]


def test_old_values_of_a_view_are_forgotten_and_no_others(store):
    pairs = [value(view, 1, 2, event_us, entity=event_us) for view in ("a", "ab", "a*") for event_us in range(10)]
    store.put_many([*pairs, (b"loose", blob(1))])
    assert store.forget(key_prefix("a", 1).encode(), 6) == 6
    assert store.forget(key_prefix("a*", 1).encode(), 6) == 6
    kept = [(key, encoded) for key, encoded in pairs if not (key.startswith((b"f1:a:", b"f1:a*:")) and encoded[4] < 6)]
    assert sorted(store.scan()) == sorted([*kept, (b"loose", blob(1))])
    assert store.forget(key_prefix("a", 1).encode(), 6) == 0
    assert store.put_many([pairs[0]]) == 1  # nothing remembers that it was there


def test_many_old_values_are_forgotten_in_pieces(store):
    store.put_many([value("big", 1, 1, entity % 2, entity=entity) for entity in range(9000)])
    assert store.forget(key_prefix("big", 1).encode(), 1) == 4500
    assert len(list(store.scan())) == 4500


def test_a_store_is_copied_bit_by_bit_and_what_is_newer_stays(store, tmp_path):
    pairs = [value("v", 1, 9, 5, entity=entity, nulls=[entity % 9]) for entity in range(500)]
    pairs += [(b"m1:v:1", blob(7)), (b"odd", b"\x00" * 20), value("w", 1, 2, 3)]
    store.put_many(pairs)
    url = f"lmdb://{tmp_path}/copy"
    other = open_store(url, writable=True)
    newer = value("v", 1, 9, 6, entity=3)
    other.put_many([newer])
    assert copy_values(store, other) == Copied(read=503, written=502)
    assert dict(other.scan()) == dict(pairs) | dict([newer])
    assert copy_values(store, other) == Copied(read=503, written=0)
    assert copy_values(other, store) == Copied(read=503, written=1)
    assert dict(store.scan()) == dict(other.scan())
    other.close()


def test_the_same_writes_leave_the_same_bytes_in_every_store(open_empty):
    """Chosen at random: out of order, with equal times, deleted, corrected, in batches of any size."""
    rng = np.random.default_rng(29)
    with contextlib.ExitStack() as stack:
        stores = [stack.enter_context(contextlib.closing(open_empty(kind))) for kind in ("lmdb", "redis", "snapshot")]
        newest: dict[bytes, bytes] = {}
        for _ in range(30):
            batch = []
            for _ in range(int(rng.choice([1, 3, 40]))):
                key, encoded = value(
                    str(rng.choice(["a", "b"])),
                    int(rng.choice([1, 2])),
                    3,
                    int(rng.integers(5)),
                    entity=int(rng.integers(6)),
                    written_us=int(rng.integers(3)),
                    nulls=[place for place in range(3) if rng.random() < 0.3],
                )
                if rng.random() < 0.2:
                    encoded = encode_tombstone(schema_id=encoded[0], event_us=encoded[4], written_us=encoded[12])
                batch.append((key, encoded))
            changed = 0
            for key, encoded in batch:
                if key not in newest or (times_of(encoded) >= times_of(newest[key]) and encoded != newest[key]):
                    newest[key] = encoded
                    changed += 1
            assert [each.put_many(batch) for each in stores] == [changed] * 3
            assert [dict(each.scan()) for each in stores] == [newest] * 3


def test_redis_lets_go_of_a_value_so_long_after_its_event_time(open_empty, redis_url):
    store = open_empty("redis")
    now_us = time.time_ns() // 1000
    hour_us = 3_600_000_000
    old, fresh, eternal = (value("v", 1, 1, at, entity=n) for n, at in enumerate([now_us - 2 * hour_us, now_us, 5]))
    assert store.put_many([old, fresh], kept_us=hour_us) == 2
    assert store.put_many([eternal]) == 1
    assert store.get_many([old[0], fresh[0], eternal[0]]) == [None, fresh[1], eternal[1]]
    with redis.Redis.from_url(redis_url) as client:
        assert abs(client.pexpiretime(fresh[0]) - (now_us + hour_us) / 1000) <= 1
        assert client.pexpiretime(eternal[0]) == -1
        assert store.put_many([eternal, fresh], kept_us=1 << 52) == 0  # the same again lives as long as it would now
        assert client.pexpiretime(eternal[0]) > 0
        assert client.pexpiretime(fresh[0]) > (now_us + 2 * hour_us) / 1000
    store.close()


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
