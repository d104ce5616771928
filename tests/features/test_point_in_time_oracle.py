"""Thousands of small worlds, joined at once, against a reader that looks at every row for every label, and pandas."""

from __future__ import annotations

import random
from collections import defaultdict
from datetime import datetime, timedelta

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.definitions import Feature, FeatureSet, Source, View
from features.offline import OfflineLimits
from features.training import training_table

EPOCH = datetime(2013, 1, 1)  # noqa: DTZ001  # as DuckDB's TIMESTAMP has none
LIMITS = OfflineLimits(threads=2, memory_bytes_max=512 * 1024**2)
FEATURES = (Feature(name="v", default=7.0), Feature(name="w"))
# Texts that are one when they are joined without care, long ones, and what quoting might trip over.
KEYS = ("a", "b", "a:b", "1:a", "", "'; --", "ключ", "x" * 200)
ROWS = pa.schema(
    [
        ("world", pa.int64()),
        ("k", pa.string()),
        ("j", pa.string()),
        ("event_time", pa.timestamp("us")),
        ("created_time", pa.timestamp("us")),
        ("v", pa.float64()),
        ("w", pa.float64()),
    ]
)
LABELS = pa.schema([*list(ROWS)[:4], ("label", pa.int64())])


def at(time_us):
    return None if time_us is None else EPOCH + timedelta(microseconds=time_us)


def world(rng):
    """Return rows and labels of few keys and times: ties, late arrivals and ends of the time to live abound."""
    keys = rng.sample(KEYS, rng.randint(1, 3))
    key = lambda: None if rng.random() < 0.05 else rng.choice(keys)  # noqa: E731
    span = rng.choice((3, 12, 40))
    time = lambda: None if rng.random() < 0.05 else rng.randint(0, span)  # noqa: E731
    value = lambda: rng.choice((None, 1.0, 2.0, -3.5, 1e300))  # noqa: E731
    rows = []
    for _ in range(rng.randint(0, 12)):
        event = time()
        created = (
            None if rng.random() < 0.1 else rng.randint(0, span) if event is None else event + rng.choice((0, 0, 1, 5))
        )
        rows.append((key(), key(), event, created, value(), value()))
    return rows, [(key(), key(), time()) for _ in range(rng.randint(1, 5))]


def order(value):
    return (1, 0.0) if value is None else (0, value)


def expected(rows, key, time_us, ttl_us):
    """Return the values, the status and the age that the newest row known at a time gives."""
    known = [
        (event, created, order(v), order(w), v, w)
        for row_key, event, told, v, w in rows
        if row_key == key and None not in key and event is not None and time_us is not None
        for created in [event if told is None else told]
        if event <= time_us and created <= time_us
    ]
    if not known:
        return [7.0, np.nan], "MISSING", None
    event, _, _, _, v, w = max(known, key=lambda row: row[:4])
    if ttl_us and time_us - event > ttl_us:
        return [7.0, np.nan], "STALE", time_us - event
    status = "NULL" if v is None or w is None else "PRESENT"
    return [7.0 if v is None else v, np.nan if w is None else w], status, time_us - event


def write(folder, name, schema, rows):
    path = folder / f"{name}.parquet"
    pq.write_table(
        pa.table(
            [pa.array(column, field.type) for column, field in zip(zip(*rows, strict=True), schema, strict=True)],
            schema,
        ),
        path,
    )
    return Source(name=name, kind="parquet", path=str(path))


def views_of(ttls_us):
    keys = (("world", "k"), ("world", "k", "j"), ("world", "j"))
    return [
        View(name=name, join_keys=names, sql="SELECT * FROM rows", features=FEATURES, ttl_us=ttl_us)
        for name, names, ttl_us in zip(("one", "two", "three"), keys, ttls_us, strict=True)
    ]


def joined(views, sources, *, marks=True):
    names = tuple(f"{view.name}.{feature.name}" for view in views for feature in view.features)
    feature_set = FeatureSet(name="s", features=names, view_digests=tuple((view.name, view.digest) for view in views))
    with training_table(
        feature_set,
        views,
        sources=sources,
        label_sql="SELECT * FROM labels",
        start_us=None,
        end_us=None,
        limits=LIMITS,
        marks=marks,
    ) as reader:
        return reader.read_all()


def check(seed, worlds, ttls_us, folder):
    rng = random.Random(seed)  # noqa: S311  # a world is no secret
    all_rows, all_labels, held = [], [], []
    for number in range(worlds):
        rows, labels = world(rng)
        held.append((rows, labels))
        all_rows += [(number, k, j, at(event), at(created), v, w) for k, j, event, created, v, w in rows]
        all_labels += [(number, k, j, at(time), len(all_labels) + place) for place, (k, j, time) in enumerate(labels)]
    rng.shuffle(all_rows)
    views = views_of(ttls_us)
    table = joined(
        views, [write(folder, "rows", ROWS, all_rows), write(folder, "labels", LABELS, all_labels)]
    ).to_pydict()
    assert table["label"] == list(range(len(all_labels)))  # none dropped, none multiplied, in their order
    statuses = defaultdict(int)
    place = 0
    for number, (rows, labels) in enumerate(held):
        by_view = (
            [((row[0],), *row[2:]) for row in rows],
            [((row[0], row[1]), *row[2:]) for row in rows],
            [((row[1],), *row[2:]) for row in rows],
        )
        for k, j, time in labels:
            for view, own, key in zip(views, by_view, ((k,), (k, j), (j,)), strict=True):
                values, status, age_us = expected(own, key, time, view.ttl_us)
                got = [table[f"{view.name}.v"][place], table[f"{view.name}.w"][place]]
                where = (seed, number, view.name, rows, (k, j, time))
                assert np.array_equal(got, values, equal_nan=True), (where, got, values)
                assert table[f"{view.name}@status"][place] == status, where
                assert table[f"{view.name}@age_us"][place] == age_us, where
                statuses[status] += 1
            place += 1
    assert (
        min(statuses[status] for status in ("PRESENT", "NULL", "MISSING", "STALE")) > worlds // 20
    )  # the worlds say something


@pytest.mark.parametrize(("seed", "ttls_us"), [(1, (0, 5, 1)), (2, (3, 0, 10))])
def test_two_thousand_worlds_are_joined_as_their_reader_does(seed, ttls_us, tmp_path):
    check(seed, 2000, ttls_us, tmp_path)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(100, 150))
def test_a_hundred_thousand_worlds_are_joined_as_their_reader_does(seed, tmp_path):
    check(seed, 2000, (seed % 2, seed % 3, 1 + seed % 5), tmp_path)


def test_marks_change_no_value(tmp_path):
    rng = random.Random(3)  # noqa: S311
    rows, labels = zip(*(world(rng) for _ in range(200)), strict=True)
    all_rows = [(n, k, j, at(e), at(c), v, w) for n, own in enumerate(rows) for k, j, e, c, v, w in own]
    all_labels = [(n, k, j, at(t), n) for n, own in enumerate(labels) for k, j, t in own]
    sources = [write(tmp_path, "rows", ROWS, all_rows), write(tmp_path, "labels", LABELS, all_labels)]
    views = views_of((2, 2, 2))
    with_marks, without = joined(views, sources), joined(views, sources, marks=False)
    assert with_marks.select(without.column_names).to_pandas().equals(without.to_pandas())


@pytest.mark.parametrize("ttl_us", [0, 3_600_000_000])
def test_the_join_is_that_of_pandas_where_rows_are_known_at_once(ttl_us, tmp_path):
    rng = np.random.default_rng(5)
    rows, labels = 40_000, 10_000
    facts = pd.DataFrame(
        {
            "k": rng.integers(0, 300, rows).astype(str),
            "j": rng.integers(0, 3, rows).astype(str),
            "event_time": EPOCH + pd.to_timedelta(rng.integers(0, 86_400, rows), unit="s").astype("timedelta64[us]"),
            "v": rng.random(rows),
            "w": rng.random(rows),
        }
    ).drop_duplicates(["k", "j", "event_time"])
    asked = pd.DataFrame(
        {
            "k": rng.integers(0, 310, labels).astype(str),
            "j": rng.integers(0, 3, labels).astype(str),
            "event_time": EPOCH + pd.to_timedelta(rng.integers(0, 86_400, labels), unit="s").astype("timedelta64[us]"),
            "label": range(labels),
        }
    )
    facts.to_parquet(tmp_path / "rows.parquet")
    asked.to_parquet(tmp_path / "labels.parquet")
    sources = [Source(name=name, kind="parquet", path=str(tmp_path / f"{name}.parquet")) for name in ("rows", "labels")]
    view = View(name="one", join_keys=("k", "j"), sql="SELECT * FROM rows", features=FEATURES, ttl_us=ttl_us)
    table = joined([view], sources).to_pandas()
    theirs = pd.merge_asof(
        asked.sort_values("event_time", kind="stable"),
        facts.sort_values("event_time"),
        on="event_time",
        by=["k", "j"],
        tolerance=pd.Timedelta(ttl_us, unit="us") if ttl_us else None,
    ).sort_values("label")
    assert 100 < theirs["v"].isna().sum() < labels // 2
    assert np.array_equal(table["one.v"], theirs["v"].fillna(7.0))
    assert np.array_equal(table["one.w"], theirs["w"], equal_nan=True)
