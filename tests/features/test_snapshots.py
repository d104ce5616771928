"""What snapshots promise beyond the contract of every store: whole ones, taken over while others read."""

from __future__ import annotations

import itertools
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from features.codec import encode_values, entity_key, key_prefix
from features.errors import StoreUnavailableError
from features.snapshot_file import FILE_NAME
from features.store import open_store

FEATURES = 3
ENTITIES = 500
PREFIX = key_prefix("v", 1)
KEYS = [entity_key(PREFIX, f"e{number}") for number in range(ENTITIES)]


def pairs_of(generation):
    blobs = encode_values(
        schema_id=1,
        event_us=np.full(ENTITIES, generation),
        written_us=np.zeros(ENTITIES, np.int64),
        values=np.full((ENTITIES, FEATURES), float(generation)),
        nulls=np.zeros((ENTITIES, FEATURES), bool),
    )
    return list(zip(KEYS, blobs, strict=True))


@pytest.fixture
def url(tmp_path):
    return f"snapshot://{tmp_path}/snapshots"


@pytest.fixture
def reader(url):
    opened = open_store(url, writable=False)
    yield opened
    opened.close()


def wait_for(check):
    give_up = time.monotonic() + 30
    while not check():
        assert time.monotonic() < give_up
        time.sleep(0.01)


def test_a_reader_may_come_before_the_first_snapshot_and_sees_what_is_written(url, reader):
    assert reader.get_many(KEYS[:2]) == [None, None]
    writer = open_store(url, writable=True)
    writer.put_many(pairs_of(1))
    assert writer.get_many(KEYS) == [blob for _, blob in pairs_of(1)]
    wait_for(lambda: reader.get_many(KEYS[:1]) == [pairs_of(1)[0][1]])  # nobody published: the writer did by itself
    writer.close()


def test_no_reader_ever_sees_a_part_of_a_snapshot(url, reader):
    writer = open_store(url, writable=True)
    writer.put_many(pairs_of(0))
    writer.publish()
    stop, torn, seen = threading.Event(), [], set()

    def read():
        names = [f"e{number}" for number in range(ENTITIES)]
        while not stop.is_set():
            tables = reader.tables()
            column = tables.column(PREFIX, len(pairs_of(0)[0][1]), tables.places(names, len(names)))
            generations = set(column.values().ravel().tolist()) | {float(each) for each in column.event_us.tolist()}
            seen.update(generations)
            if len(generations) != 1 or len(set(reader.get_many(KEYS))) != 1:
                torn.append(generations)

    reader.look()
    thread = threading.Thread(target=read)
    thread.start()
    for generation in range(1, 9):
        writer.put_many(pairs_of(generation))
        writer.publish()
        reader.look()
        wait_for(lambda generation=generation: float(generation) in seen)
    stop.set()
    thread.join()
    writer.close()
    assert torn == []


def test_what_a_killed_writer_had_written_is_in_the_next_snapshot_and_the_last_one_stays(url, reader, tmp_path):
    script = (
        "import sys, time; sys.path.insert(0, sys.argv[2]); from features.store import open_store\n"
        "from features.codec import HEADER\n"
        "store = open_store(sys.argv[1], writable=True)\n"
        "store.put_many([(b'published', HEADER.pack(0, 2, 0, 1, 0))]); store.publish()\n"
        "store._written.clear(); store._stage.put_many([(b'staged', HEADER.pack(0, 2, 0, 2, 0))])\n"
        "print('there', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", script, url, Path.cwd()], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "there\n"
    with pytest.raises(StoreUnavailableError, match="another process"):
        open_store(url, writable=True)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    (tmp_path / "snapshots" / f"{FILE_NAME}.tmp").write_bytes(b"half")
    reader.look()
    assert [each is not None for each in reader.get_many([b"published", b"staged"])] == [True, False]
    writer = open_store(url, writable=True)
    wait_for(lambda: None not in reader.get_many([b"published", b"staged"]))
    writer.close()


@pytest.mark.parametrize("harm", ["empty", "cut", "other"])
def test_a_damaged_snapshot_is_not_taken_over(url, reader, tmp_path, harm):
    writer = open_store(url, writable=True)
    writer.put_many(pairs_of(4))
    writer.close()
    path = tmp_path / "snapshots" / FILE_NAME
    whole = path.read_bytes()
    damaged = {"empty": b"", "cut": whole[: len(whole) // 2], "other": b"\x7fELF" + whole[4:]}[harm]
    fresh = open_store(url, writable=False)
    reader.look()
    aside = path.with_name("aside")
    aside.write_bytes(damaged)
    aside.rename(path)
    reader.look()
    assert reader.get_many(KEYS) == [blob for _, blob in pairs_of(4)]
    with pytest.raises(StoreUnavailableError):
        fresh.get_many(KEYS)
    fresh.close()


def test_entities_whose_hashes_collide_are_told_apart(url, reader):
    """The index has four slots an entity: among some thousands many begin at the same one."""
    count = 20_000
    keys = [entity_key(PREFIX, f"{number:x}") for number in range(count)]
    blobs = encode_values(
        schema_id=1,
        event_us=np.arange(count),
        written_us=np.arange(count),
        values=np.arange(count * FEATURES, dtype=float).reshape(count, FEATURES),
        nulls=np.zeros((count, FEATURES), bool),
    )
    writer = open_store(url, writable=True)
    writer.put_many(itertools.islice(zip(keys, blobs, strict=True), 0, None, 2))
    writer.publish()
    reader.look()
    found = reader.get_many(keys)
    assert found[::2] == blobs[::2]
    assert found[1::2] == [None] * (count // 2)
    tables = reader.tables()
    rows = tables.column(PREFIX, len(blobs[0]), tables.places((f"{number:x}" for number in range(count)), count))
    assert rows.event_us[::2].tolist() == list(range(0, count, 2))
    assert not rows.head[1::2].any()
    writer.close()
