"""The training table and the online store against a reader that looks at every row for every label."""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import example, given, settings
from hypothesis import strategies as st

from features.definitions import BoundView, Feature, FeatureSet, RequestDefault, Source, View
from features.fetch import fetch
from features.lookup import Lookup
from features.materialize import materialize
from features.offline import OfflineLimits
from features.plan import compile_plan, plan_document
from features.store import open_store
from features.training import training_table

EPOCH = datetime(2013, 1, 1)  # noqa: DTZ001  # as DuckDB's TIMESTAMP has none
EPOCH_US = 1_356_998_400_000_000
LIMITS = OfflineLimits(memory_bytes_max=256 * 1024**2)

# Times of few values and keys of fewer: ties, late arrivals and the very ends of the time to live come up often.
TIME = st.integers(0, 12)
KEY = st.sampled_from(["a", "b", None])
VALUE = st.none() | st.sampled_from([1.0, 2.0, -3.5, math.nan])
ROWS = st.lists(st.tuples(KEY, KEY, st.none() | TIME, st.none() | TIME, VALUE, VALUE), max_size=14)
LABELS = st.lists(st.tuples(KEY, KEY, st.none() | TIME, st.none() | st.floats(-5, 5)), min_size=1, max_size=8)


def at(time_s):
    return None if time_s is None else EPOCH + timedelta(seconds=time_s)


def order(value):
    """How DuckDB orders doubles: numbers, NaN, NULL."""
    return (2, 0.0) if value is None else (1, 0.0) if math.isnan(value) else (0, value)


def newest(rows, key, time_s):
    """Return the row that counts for an entity at a time."""
    known = []
    for row_key, event_s, told_s, values in rows:
        if row_key != key or None in key or event_s is None:
            continue
        created_s = event_s if told_s is None else told_s
        if time_s is not None and event_s <= time_s and created_s <= time_s:
            known.append((event_s, created_s, [order(value) for value in values], values))
    return max(known, key=lambda row: row[:3], default=None)


def expected(rows, key, time_s, ttl_s):
    found = newest(rows, key, time_s)
    if found is None or (ttl_s and time_s - found[0] > ttl_s):
        return [7.0, math.nan]
    return [default if value is None else value for value, default in zip(found[3], [7.0, math.nan], strict=True)]


def write(folder, name, columns):
    path = Path(folder) / f"{name}.parquet"
    pq.write_table(pa.table(columns), path)
    return Source(name=name, kind="parquet", path=str(path))


def one_view(ttl_s, *, created, bounded):
    names = "k, event_time, created_time, v, w" if created else "k, event_time, v, w"
    bound = " WHERE greatest(event_time, created_time) > $since AND event_time <= $until" if bounded else ""
    features = (Feature(name="v", default=7.0), Feature(name="w"))
    return View(
        name="one",
        join_keys=("k",),
        sql=f"SELECT {names} FROM rows{bound}",
        features=features,
        ttl_us=ttl_s * 1_000_000,
    )


def two_view(ttl_s):
    return View(
        name="two",
        join_keys=("k", "j"),
        sql="SELECT * FROM rows",
        features=(Feature(name="v", default=7.0), Feature(name="w")),
        ttl_us=ttl_s * 1_000_000,
    )


def sources_of(folder, rows):
    text = pa.string()
    return write(
        folder,
        "rows",
        {
            "k": pa.array([row[0] for row in rows], text),
            "j": pa.array([row[1] for row in rows], text),
            "event_time": pa.array([at(row[2]) for row in rows], pa.timestamp("us")),
            "created_time": pa.array([at(row[3]) for row in rows], pa.timestamp("us")),
            "v": pa.array([row[4] for row in rows], pa.float64(), from_pandas=False),
            "w": pa.array([row[5] for row in rows], pa.float64(), from_pandas=False),
        },
    )


@settings(max_examples=40, deadline=None)
@given(rows=ROWS, labels=LABELS, ttl_s=st.sampled_from([0, 1, 3]), created=st.booleans(), bounded=st.booleans())
@example(  # an older event that arrives late must not displace a newer one
    rows=[("a", "a", 5, 5, 2.0, None), ("a", "a", 1, 8, 1.0, None)],
    labels=[("a", "a", 9, 0.0)],
    ttl_s=0,
    created=True,
    bounded=False,
)
@example(  # a NULL in the newest row wins as NULL: the default, not the row before
    rows=[("a", "a", 1, 1, 2.0, 2.0), ("a", "a", 2, 2, None, 1.0)],
    labels=[("a", "a", 2, 0.0)],
    ttl_s=0,
    created=True,
    bounded=True,
)
def test_training_rows_hold_what_was_known_then(rows, labels, ttl_s, created, bounded):
    views = [one_view(ttl_s, created=created, bounded=bounded), two_view(ttl_s)]
    feature_set = FeatureSet(
        name="s",
        features=("two.w", "one.v", "request.x", "one.w", "two.v"),
        view_digests=(("two", views[1].digest), ("one", views[0].digest)),
        requests=(RequestDefault(name="x", default=0.5),),
    )
    with TemporaryDirectory() as folder:
        source = sources_of(folder, rows)
        label_source = write(
            folder,
            "labels",
            {
                "k": pa.array([row[0] for row in labels], pa.string()),
                "j": pa.array([row[1] for row in labels], pa.string()),
                "event_time": pa.array([at(row[2]) for row in labels], pa.timestamp("us")),
                "x": pa.array([row[3] for row in labels], pa.float64()),
                "label": pa.array(range(len(labels)), pa.int64()),
            },
        )
        with training_table(
            feature_set,
            views[::-1],
            sources=[source, label_source],
            label_sql="SELECT * FROM labels;",
            start_us=None,
            end_us=None,
            limits=LIMITS,
        ) as reader:
            table = reader.read_all().to_pydict()
    assert table["label"] == list(range(len(labels)))
    one = [((row[0],), row[2], row[3] if created else None, [row[4], row[5]]) for row in rows]
    two = [((row[0], row[1]), row[2], row[3], [row[4], row[5]]) for row in rows]
    for place, (k, j, time_s, x) in enumerate(labels):
        v1, w1 = expected(one, (k,), time_s, ttl_s)
        v2, w2 = expected(two, (k, j), time_s, ttl_s)
        wanted = [w2, v1, 0.5 if x is None else x, w1, v2]
        got = [table[name][place] for name in feature_set.features]
        assert np.array_equal(got, wanted, equal_nan=True), (place, got, wanted)


@settings(max_examples=40, deadline=None)
@given(
    rows=ROWS,
    stops=st.lists(TIME, min_size=1, max_size=3).map(sorted),
    ttl_s=st.sampled_from([0, 3]),
    bounded=st.booleans(),
)
def test_the_online_store_holds_what_training_would_see(rows, stops, ttl_s, bounded):
    views = [one_view(ttl_s, created=True, bounded=bounded), two_view(ttl_s)]
    bound = [BoundView(view=view, schema_id=1) for view in views]
    feature_set = FeatureSet(name="s", features=("one.v", "one.w", "two.v", "two.w"), view_digests=())
    plan = compile_plan(plan_document(feature_set, bound))
    entities = [{"k": k, "j": j} for k in "ab" for j in "ab"]
    with TemporaryDirectory() as folder:
        source = sources_of(folder, rows)
        store = open_store(f"lmdb://{folder}/online", writable=True, map_bytes_max=1 << 24)
        for stop in stops:  # in steps: each reads only what became visible since the one before
            until_us = EPOCH_US + stop * 1_000_000
            for view in bound:
                materialize(store, view, sources=[source], until_us=until_us, now_us=until_us, limits=LIMITS)
            [matrix] = fetch(store, [Lookup(plan, entities)], until_us)
            one = [((row[0],), row[2], row[3], [row[4], row[5]]) for row in rows]
            two = [((row[0], row[1]), row[2], row[3], [row[4], row[5]]) for row in rows]
            for place, entity in enumerate(entities):
                wanted = expected(one, (entity["k"],), stop, ttl_s)
                wanted += expected(two, (entity["k"], entity["j"]), stop, ttl_s)
                assert np.array_equal(matrix.values[place], wanted, equal_nan=True)
        store.close()
