"""A store that does not answer is left alone, and taken up again by itself."""

from __future__ import annotations

import signal
import threading
import time

import numpy as np
import pytest

from features.codec import HEADER, encode_values, entity_key, key_prefix
from features.definitions import BoundView, Feature, FeatureSet, View
from features.errors import StoreUnavailableError
from features.fetch import fetch
from features.guard import GuardedStore
from features.lookup import PRESENT, STALE_SERVED, UNAVAILABLE, Lookup
from features.memory import Memory
from features.plan import compile_plan, plan_document
from features.store import open_store

BUDGET_MS = 100
BLOB = HEADER.pack(1, 1, 0, 5, 0)
NOW_US = 1_000_000_000


@pytest.fixture
def server(start_redis, tmp_path):
    started = start_redis(tmp_path)
    yield started
    started.process.send_signal(signal.SIGCONT)
    started.kill()


@pytest.fixture
def store(server):
    writer = open_store(server.url, writable=True)
    writer.put_many([(b"k", BLOB)])
    writer.close()
    guarded = GuardedStore(open_store(server.url, writable=False, read_budget_ms=BUDGET_MS), read_budget_ms=BUDGET_MS)
    yield guarded
    guarded.close()


def wait_until_closed(store):
    give_up = time.monotonic() + 30
    while store.facts().is_open:
        assert time.monotonic() < give_up
        time.sleep(0.005)


def read_until_open(store):
    """Read until the circuit opens; a machine that is busy may answer in time at first."""
    give_up = time.monotonic() + 30
    while not store.facts().is_open:
        assert time.monotonic() < give_up
        with pytest.raises(StoreUnavailableError):
            store.get_many([b"k"])


def test_a_frozen_store_costs_one_read_its_budget_and_comes_back_by_itself(store, server):
    assert store.get_many([b"k"]) == [BLOB]
    server.process.send_signal(signal.SIGSTOP)
    read_until_open(store)
    before = store.facts()
    for _ in range(1000):
        with pytest.raises(StoreUnavailableError, match="left alone"):
            store.get_many([b"k"])
    assert (store.facts().skipped - before.skipped, store.facts().failed) == (1000, before.failed)
    server.process.send_signal(signal.SIGCONT)
    wait_until_closed(store)
    assert store.get_many([b"k"]) == [BLOB]


def test_many_readers_of_a_frozen_store_open_it_once_and_none_waits_twice(store, server):
    server.process.send_signal(signal.SIGSTOP)
    failures = []

    def read():
        for _ in range(50):
            try:
                store.get_many([b"k"])
            except StoreUnavailableError as error:
                failures.append(str(error))

    threads = [threading.Thread(target=read) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    facts = store.facts()
    assert len(failures) == 400
    assert facts.opened == 1
    assert facts.failed <= 8  # those that were on their way; whoever came later was told at once
    server.process.send_signal(signal.SIGCONT)
    wait_until_closed(store)


def test_a_store_that_dies_and_starts_again_is_taken_up(store, server):
    server.kill()
    read_until_open(store)
    server.start()
    wait_until_closed(store)
    assert store.get_many([b"k"]) == [None]  # it kept nothing


def test_a_caller_in_a_hurry_opens_nothing_and_spoils_nobodys_read(store, server):
    server.process.send_signal(signal.SIGSTOP)
    with pytest.raises(StoreUnavailableError):
        store.get_many([b"other"], until=time.monotonic() + 0.001)
    assert not store.facts().is_open
    server.process.send_signal(signal.SIGCONT)
    assert store.get_many([b"k"], until=time.monotonic() + 30) == [BLOB]  # not the answer to the other one's command


def test_callers_of_one_connection_get_each_their_own_answers(server):
    store = open_store(server.url, writable=True, read_budget_ms=10_000)
    pairs = [(b"k%d" % number, HEADER.pack(1, 1, 0, number, 0)) for number in range(64)]
    store.put_many(pairs)
    wrong = []

    def read(offset):
        for round_ in range(300):
            own = [pairs[(offset * 7 + round_ + step) % 64] for step in range(1 + round_ % 5)]
            if store.get_many([key for key, _ in own]) != [blob for _, blob in own]:
                wrong.append(own)

    threads = [threading.Thread(target=read, args=(offset,)) for offset in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    store.close()
    assert wrong == []


VIEW = View(name="v", join_keys=("k",), sql="", ttl_us=1_000_000, features=(Feature(name="f", default=-1.0),))


def plan_of(**policy):
    feature_set = FeatureSet(name="s", features=("v.f",), view_digests=(("v", VIEW.digest),), **policy)
    return compile_plan(plan_document(feature_set, [BoundView(view=VIEW, schema_id=1)]))


@pytest.mark.parametrize("rows", [1, 20])
def test_a_set_that_allows_it_is_served_what_was_read_last_while_the_store_is_down(store, server, rows):
    lenient, plain = plan_of(stale_up_to_us=3_600_000_000), plan_of()
    [blob] = encode_values(
        schema_id=1,
        event_us=np.array([NOW_US]),
        written_us=np.array([0]),
        values=np.array([[7.0]]),
        nulls=np.array([[False]]),
    )
    writer = open_store(server.url, writable=True)
    writer.put_many([(entity_key(key_prefix("v", 1), "a"), blob)])
    writer.close()
    memory = Memory()
    lookups = [Lookup(plan, [{"k": "a"}, {"k": "b"}] * rows) for plan in (lenient, plain)]
    give_up = time.monotonic() + 30
    while fetch(store, lookups, NOW_US, memory=memory)[0].statuses[0] != PRESENT:
        assert time.monotonic() < give_up
    server.kill()
    read_until_open(store)
    served, defaulted = fetch(store, lookups, NOW_US + 5_000_000, memory=memory)
    assert served.values[:2].tolist() == [[7.0], [-1.0]]
    assert list(served.statuses) == [STALE_SERVED, UNAVAILABLE] * rows
    assert served.ages_ms == [5000, -1] * rows
    assert list(defaulted.statuses) == [UNAVAILABLE, UNAVAILABLE] * rows
    too_late = fetch(store, lookups[:1], NOW_US + 3_700_000_000, memory=memory)[0]
    assert list(too_late.statuses) == [UNAVAILABLE, UNAVAILABLE] * rows
    assert too_late.values[:2].tolist() == [[-1.0], [-1.0]]


def test_what_was_read_is_remembered_for_so_long_and_no_more_than_so_many():
    memory = Memory(values_max=100)
    memory.keep([b"a", None, b"b"], [b"1", None, None])
    assert memory.recall([b"a", b"b", None], 60_000_000) == [b"1", None, None]
    assert memory.recall([b"a"], 0) == [None]
    memory.keep([b"a"], [None])  # it was deleted
    assert memory.recall([b"a"], 60_000_000) == [None]
    for number in range(500):
        memory.keep([b"%d" % number], [b"v"])
    kept = [each for each in memory.recall([b"%d" % number for number in range(500)], 60_000_000) if each]
    assert 50 <= len(kept) <= 101
