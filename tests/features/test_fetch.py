"""One round trip, and for every call the values, statuses and ages that a slow and plain reader would give."""

from __future__ import annotations

import math
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.codec import encode_tombstone, encode_values, entity_key, joined, key_prefix
from features.definitions import BoundView, Feature, FeatureSet, RequestDefault, View
from features.errors import StoreUnavailableError
from features.fetch import fetch
from features.lookup import Lookup
from features.plan import compile_plan, plan_document

PRESENT, MISSING, STALE, UNAVAILABLE, GIVEN, NULL, STALE_SERVED = 1, 2, 3, 4, 5, 6, 7
STALE_UP_TO_US = 20_000
GONE = {"schema_id": 7, "event_us": 1 << 40, "written_us": 0}
NOW_US = 1_000_000

CARRIER = View(
    name="carrier",
    join_keys=("carrier",),
    sql="",
    ttl_us=100_000,
    features=tuple(Feature(name=f"f{i}", default=float(i)) for i in range(3)),
)
ROUTE = View(
    name="route",
    join_keys=("origin", "dest"),
    sql="",
    features=(*(Feature(name=f"g{i}", default=10.0 + i) for i in range(9)), Feature(name="bare")),
)
SET = FeatureSet(
    name="flight",
    features=("carrier.f2", "request.hour", "route.g8", "carrier.f0", "route.bare", "request.wind", "route.g0"),
    view_digests=(("carrier", CARRIER.digest), ("route", ROUTE.digest)),
    requests=(RequestDefault(name="wind", default=3.5),),
)
BOUND = [BoundView(view=CARRIER, schema_id=7), BoundView(view=ROUTE, schema_id=2)]
PLAN = compile_plan(plan_document(SET, BOUND))
LENIENT_PLAN = compile_plan(plan_document(replace(SET, stale_up_to_us=STALE_UP_TO_US), BOUND))


class CountingStore:
    """A store in memory that counts how often it is asked."""

    def __init__(self, blobs=None, *, down=False):
        self.blobs = blobs or {}
        self.down = down
        self.asked = []

    def get_many(self, keys, *, until=math.inf):  # noqa: ARG002  (the port's)
        self.asked.append(list(keys))
        if self.down:
            raise StoreUnavailableError("down")
        return [self.blobs.get(key) for key in keys]

    def put_many(self, pairs):
        self.blobs.update(pairs)
        return len(self.blobs)

    def tables(self):
        return None

    def close(self):
        self.blobs.clear()


def write(store, layout, entity, event_us, values):
    view, schema_id = layout
    blobs = encode_values(
        schema_id=schema_id,
        event_us=np.array([event_us]),
        written_us=np.array([event_us]),
        values=np.array([[math.nan if value is None else value for value in values]]),
        nulls=np.array([[value is None for value in values]]),
    )
    store.put_many([(entity_key(key_prefix(view.name, schema_id), joined(entity)), blobs[0])])


def expected_row(stored, entity, given_features, now_us, stale_up_to_us=0):
    """Return values, statuses and ages in milliseconds, feature by feature."""
    found = {}
    for view in (CARRIER, ROUTE):
        names = {name for name in SET.features if name.startswith(view.name + ".")}
        key = tuple(entity[name] for name in view.join_keys) if set(view.join_keys) <= set(entity) else None
        event_us, values = stored.get((view.name, key), (None, None))
        if names <= set(given_features):
            found[view.name] = (GIVEN, -1, None)
        elif values is None:
            found[view.name] = (MISSING, -1, None)
        else:
            age = max(0, now_us - event_us)
            fresh = not view.ttl_us or age <= view.ttl_us
            usable = fresh or age <= view.ttl_us + stale_up_to_us
            taken = [values[[feature.name for feature in view.features].index(name.split(".")[1])] for name in names]
            status = (NULL if None in taken else PRESENT) if fresh else STALE_SERVED if usable else STALE
            found[view.name] = (status, age // 1000, values if usable else None)
    row = []
    for name in SET.features:
        view_name, feature = name.split(".")
        if name in given_features:
            row.append(given_features[name])
        elif view_name == "request":
            row.append({"hour": math.nan, "wind": 3.5}[feature])
        else:
            view = {"carrier": CARRIER, "route": ROUTE}[view_name]
            place = [declared.name for declared in view.features].index(feature)
            values = found[view_name][2]
            value = None if values is None else values[place]
            default = view.features[place].default
            row.append(value if value is not None else math.nan if default is None else default)
    return row, [found["carrier"][0], found["route"][0]], [found["carrier"][1], found["route"][1]]


VALUE = st.none() | st.floats(allow_nan=True, allow_infinity=True)
STORED = st.dictionaries(
    st.sampled_from([("carrier", ("UA",)), ("carrier", ("B6",)), ("route", ("EWR", "IAH")), ("route", ("JFK", "é"))]),
    st.tuples(st.integers(900_000, 1_100_000), st.lists(VALUE, min_size=10, max_size=10)),
)
ENTITY = st.fixed_dictionaries(
    {},
    optional={
        "carrier": st.sampled_from(["UA", "B6", "ZZ"]),
        "origin": st.sampled_from(["EWR", "JFK"]),
        "dest": st.sampled_from(["IAH", "é"]),
    },
)
GIVEN_FEATURES = st.dictionaries(st.sampled_from(SET.features), st.floats(allow_nan=False), max_size=7)


@settings(max_examples=150, deadline=None)
@given(
    stored=STORED,
    calls=st.lists(st.tuples(ENTITY, GIVEN_FEATURES, st.integers(950_000, 1_150_000)), min_size=1, max_size=16),
    timed=st.booleans(),
    lenient=st.booleans(),
)
def test_a_wave_reads_what_a_plain_reader_would(stored, calls, timed, lenient):
    store = CountingStore()
    stored = {
        key: (event_us, values[:3] if key[0] == "carrier" else values) for key, (event_us, values) in stored.items()
    }
    for (view_name, entity), (event_us, values) in stored.items():
        write(store, {"carrier": (CARRIER, 7), "route": (ROUTE, 2)}[view_name], entity, event_us, values)
    lookup = Lookup(
        LENIENT_PLAN if lenient else PLAN,
        [entity for entity, _, _ in calls],
        [time_us for _, _, time_us in calls] if timed else None,
        [features for _, features, _ in calls],
    )
    [matrix] = fetch(store, [lookup], NOW_US)
    assert len(store.asked) <= 1  # none when nothing is to be asked
    for row, (entity, given_features, time_us) in enumerate(calls):
        when_us = time_us if timed else NOW_US
        values, status, age_ms = expected_row(stored, entity, given_features, when_us, STALE_UP_TO_US * lenient)
        assert np.array_equal(matrix.values[row], values, equal_nan=True)
        assert matrix.status[row].tolist() == status
        for place in range(2):
            assert status[place] == GIVEN or matrix.age_ms[row, place] == age_ms[place]


@pytest.mark.parametrize("rows", [1, 20])
def test_any_number_of_lookups_is_one_read_without_a_key_that_nobody_needs(rows):
    store = CountingStore()
    write(store, (CARRIER, 7), ["UA"], 990_000, [0.1, 0.2, 0.3])
    entities = [{"carrier": "UA", "origin": "EWR"}] * rows
    first, second = fetch(store, [Lookup(PLAN, entities), Lookup(PLAN, entities[:1])], NOW_US)
    assert [len(keys) for keys in store.asked] == [rows + 1]
    for matrix, count in ((first, rows), (second, 1)):
        assert matrix.values.shape == (count, 7)
        assert matrix.values[:, [0, 3]].tolist() == [[0.3, 0.1]] * count
        assert matrix.status.tolist() == [[PRESENT, MISSING]] * count
        assert matrix.age_ms.tolist() == [[10, -1]] * count


@pytest.mark.parametrize("rows", [1, 20])
def test_a_store_that_is_down_gives_defaults_and_says_so(rows):
    given_features = {"carrier.f0": 1.0, "carrier.f2": 2.0}
    entities = [{"carrier": "UA", "origin": "EWR", "dest": "IAH"}] * rows
    [matrix] = fetch(CountingStore(down=True), [Lookup(PLAN, entities, None, [given_features] * rows)], NOW_US)
    assert matrix.status.tolist() == [[GIVEN, UNAVAILABLE]] * rows
    assert matrix.values[0, [0, 2, 3, 6]].tolist() == [2.0, 18.0, 1.0, 10.0]
    assert (matrix.age_ms == -1).all()


@pytest.mark.parametrize("rows", [1, 20])
@pytest.mark.parametrize("harm", [lambda blob: blob[:-1], lambda blob: b"\x09" + blob[1:], lambda _: b""])
def test_a_value_of_another_layout_is_missing(rows, harm):
    store = CountingStore()
    write(store, (CARRIER, 7), ["UA"], 990_000, [0.1, 0.2, 0.3])
    store.blobs = {key: harm(blob) for key, blob in store.blobs.items()}
    [matrix] = fetch(store, [Lookup(PLAN, [{"carrier": "UA"}] * rows)], NOW_US)
    assert matrix.status.tolist() == [[MISSING, MISSING]] * rows
    assert matrix.values[0, [0, 3]].tolist() == [2.0, 0.0]


@pytest.mark.parametrize("plan", [PLAN, LENIENT_PLAN])
@pytest.mark.parametrize("rows", [1, 11, 12, 200])
def test_every_store_serves_the_same_wave(store, rows, plan):
    rng = np.random.default_rng(rows)
    stored = {}
    for number in range(40):
        values = [None if rng.random() < 0.1 else float(rng.integers(9)) for _ in range(10)]
        for view, layout, entity in (
            ("carrier", (CARRIER, 7), (f"c{number}",)),
            ("route", (ROUTE, 2), (f"ø{number}", "x" * number * 4)),
        ):
            if rng.random() < 0.8:
                event_us = int(rng.integers(850_000, 1_100_000))
                stored[view, entity] = (event_us, values[: len(layout[0].features)])
                write(store, layout, entity, *stored[view, entity])
    store.put_many([(entity_key(key_prefix("carrier", 7), "c1"), encode_tombstone(**GONE))])
    stored.pop(("carrier", ("c1",)), None)
    calls = []
    for _ in range(rows):
        number = int(rng.integers(45))
        entity = {"carrier": f"c{number}", "origin": f"ø{number}", "dest": "x" * number * 4}
        entity.pop(str(rng.choice(["carrier", "dest", "none", "none"])), None)
        calls.append((entity, {"route.g8": 0.25} if rng.random() < 0.2 else {}))
    [matrix] = fetch(store, [Lookup(plan, [each for each, _ in calls], None, [each for _, each in calls])], NOW_US)
    for row, (entity, given_features) in enumerate(calls):
        values, status, age_ms = expected_row(stored, entity, given_features, NOW_US, plan.stale_up_to_us)
        assert np.array_equal(matrix.values[row], values, equal_nan=True)
        assert matrix.status[row].tolist() == status
        assert matrix.age_ms[row].tolist() == age_ms


def test_a_view_that_no_table_has_is_missing(store):
    write(store, (ROUTE, 2), ["EWR", "IAH"], 5, [float(i) for i in range(10)])
    entities = [{"carrier": "UA", "origin": "EWR", "dest": "IAH"}] * 20
    [matrix] = fetch(store, [Lookup(PLAN, entities)], NOW_US)
    assert matrix.status.tolist() == [[MISSING, PRESENT]] * 20


def test_the_matrix_is_the_readers_own():
    [matrix] = fetch(CountingStore(), [Lookup(PLAN, [{}])], 0)
    matrix.values[0, :] = 5.0
    [again] = fetch(CountingStore(), [Lookup(PLAN, [{}])], 0)
    assert again.values[0, 0] == 2.0


def test_a_set_of_request_features_alone_needs_no_store():
    feature_set = FeatureSet(name="r", features=("request.a", "request.b"), view_digests=())
    plan = compile_plan(plan_document(feature_set, []))
    for rows in (1, 20):
        store = CountingStore(down=True)
        [matrix] = fetch(store, [Lookup(plan, [{}] * rows, None, [{"a": 1.0, "request.b": 2.0}] * rows)], 0)
        assert matrix.values.tolist() == [[1.0, 2.0]] * rows
        assert matrix.status.shape == (rows, 0)


def test_a_call_is_told_what_it_lacks():
    assert PLAN.lacking({"carrier": "UA", "origin": "EWR", "dest": "IAH"}, {"hour": 1.0}) == []
    assert PLAN.lacking({"carrier": "UA", "origin": "EWR"}, {}) == ["hour", "dest"]
    assert PLAN.lacking({"origin": "EWR", "dest": "X"}, {"request.hour": 1, "carrier.f0": 1, "carrier.f2": 1}) == []


def test_the_hot_modules_load_nothing_heavy():
    script = (
        "import sys, features.fetch, features.plan, features.codec, features.store;"
        "import features.lmdb_store, features.redis_store, features.snapshot_store;"
        " print([name for name in ('scipy', 'sklearn', 'duckdb', 'pyarrow', 'sqlalchemy', 'pandas', 'grpc')"
        " if name in sys.modules])"
    )
    answer = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True, timeout=60)
    assert answer.stdout.strip() == "[]"
