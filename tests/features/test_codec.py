from __future__ import annotations

import math

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from features.codec import (
    HEADER,
    bitmap_bytes,
    encode_marker,
    encode_values,
    entity_key,
    joined,
    key_prefix,
    times_of,
    value_bytes,
    value_dtype,
)

TIMES = st.integers(-(2**63), 2**63 - 1)


@settings(deadline=None)
@given(
    rows=st.integers(1, 3).flatmap(
        lambda count: st.integers(1, 20).flatmap(
            lambda width: st.lists(
                st.tuples(
                    TIMES, TIMES, st.lists(st.none() | st.floats(allow_nan=True), min_size=width, max_size=width)
                ),
                min_size=count,
                max_size=count,
            )
        )
    ),
    schema_id=st.integers(1, 0xFFFF),
)
def test_values_survive_the_codec(rows, schema_id):
    width = len(rows[0][2])
    values = np.array([[math.nan if v is None else v for v in row[2]] for row in rows])
    nulls = np.array([[v is None for v in row[2]] for row in rows])
    blobs = encode_values(
        schema_id=schema_id,
        event_us=np.array([row[0] for row in rows]),
        written_us=np.array([row[1] for row in rows]),
        values=values,
        nulls=nulls,
    )
    for blob, (event_us, written_us, expected) in zip(blobs, rows, strict=True):
        assert len(blob) == value_bytes(width) == 20 + bitmap_bytes(width) + 8 * width
        schema, codec, flags, event, written = HEADER.unpack_from(blob)
        assert (schema, codec, event, written) == (schema_id, 1, event_us, written_us)
        assert flags == int(None in expected)
        assert times_of(blob) == (event_us, written_us)
        record = np.frombuffer(blob, value_dtype(width))[0]
        bits = np.unpackbits(record["nulls"], bitorder="little")[:width]
        assert bits.tolist() == [int(v is None) for v in expected]
        wanted = np.array([math.nan if v is None else v for v in expected])
        assert np.array_equal(record["values"], wanted, equal_nan=True)


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=80)


@settings(deadline=None)
@given(one=st.lists(TEXT, min_size=1, max_size=3), other=st.lists(TEXT, min_size=1, max_size=3))
@example(one=["a", "bc"], other=["ab", "c"])
@example(one=["1:a", ""], other=["1", "a"])
@example(one=["x" * 65], other=["x" * 64])
def test_different_entities_have_different_keys(one, other):
    prefix = key_prefix("view", 1)
    if len(one) == len(other):  # a view has one number of join keys
        assert (entity_key(prefix, joined(one)) == entity_key(prefix, joined(other))) == (one == other)


@settings(deadline=None)
@given(entity=st.text(st.characters(exclude_categories=["Cs"]), max_size=2000))
def test_a_key_fits_every_store(entity):
    assert len(entity_key(key_prefix("v" * 63, 0xFFFF), entity)) <= 511


def test_keys_and_headers_are_pinned():
    prefix = key_prefix("carrier", 3)
    assert entity_key(prefix, "UA") == b"f1:carrier:3:{UA}"
    assert entity_key(prefix, joined(["EWR", "IAH"])) == b"f1:carrier:3:{3:EWR3:IAH}"
    assert entity_key(prefix, "x" * 65) == b"f1:carrier:3:{e7d347aafb04b4783db0f88621284c94}#"
    assert encode_marker(until_us=1, written_us=2).hex() == "00000200" + "01" + "00" * 7 + "02" + "00" * 7
