from __future__ import annotations

import math
from datetime import datetime

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.fingerprint import Fingerprint

SCHEMA = pa.schema([("a", pa.float64()), ("b", pa.string()), ("c", pa.int64())])
ROW = st.tuples(
    st.none() | st.floats(),
    st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=4),
    st.none() | st.integers(-9, 9),
)


def fingerprint(rows, schema=SCHEMA, batch_rows=3):
    taken = Fingerprint(schema)
    for start in range(0, len(rows), batch_rows):
        part = rows[start : start + batch_rows]
        columns = [pa.array([row[at] for row in part], field.type) for at, field in enumerate(schema)]
        taken.add(pa.record_batch(columns, schema=schema))
    return taken.digest()


@settings(deadline=None)
@given(rows=st.lists(ROW, max_size=10), data=st.data(), batch_rows=st.integers(1, 10))
def test_the_order_and_the_batches_of_the_rows_do_not_matter(rows, data, batch_rows):
    shuffled = data.draw(st.permutations(rows))
    assert fingerprint(rows) == fingerprint(shuffled, batch_rows=batch_rows)


@settings(deadline=None)
@given(rows=st.lists(ROW, min_size=1, max_size=10), data=st.data())
def test_a_changed_cell_or_a_row_more_changes_it(rows, data):
    at = data.draw(st.integers(0, len(rows) - 1))
    assert fingerprint(rows) != fingerprint([*rows, rows[at]])
    changed = list(rows)
    changed[at] = (rows[at][0], rows[at][1], 10 if rows[at][2] is None else None)
    assert fingerprint(rows) != fingerprint(changed)


def test_cells_do_not_swap_within_a_row_or_between_rows():
    schema = pa.schema([("a", pa.float64()), ("b", pa.float64())])
    assert fingerprint([(1.0, 2.0)], schema) != fingerprint([(2.0, 1.0)], schema)
    assert fingerprint([(1.0, 2.0), (3.0, 4.0)], schema) != fingerprint([(1.0, 4.0), (3.0, 2.0)], schema)


@pytest.mark.parametrize("mark", [0x6E756C6C6E756C6C, 0x2545F4914F6CDD1D])
def test_no_number_passes_for_a_null(mark):
    schema = pa.schema([("a", pa.int64())])
    assert fingerprint([(mark,)], schema) != fingerprint([(None,)], schema)


def test_names_and_types_count():
    one = pa.schema([("a", pa.float64())])
    assert fingerprint([(1.0,)], one) != fingerprint([(1.0,)], pa.schema([("b", pa.float64())]))
    assert fingerprint([(1.0,)], one) != fingerprint([(1.0,)], pa.schema([("a", pa.float32())]))


def test_zeros_and_nans_of_any_bits_are_one():
    schema = pa.schema([("a", pa.float64())])
    assert fingerprint([(0.0,)], schema) == fingerprint([(-0.0,)], schema)
    assert fingerprint([(math.nan,)], schema) == fingerprint([(-math.nan,)], schema)
    assert fingerprint([(math.nan,)], schema) != fingerprint([(None,)], schema)


@pytest.mark.parametrize(
    ("kind", "cells"),
    [
        (pa.bool_(), [True, None, False]),
        (pa.uint64(), [2**64 - 1, None, 0]),
        (pa.date32(), [datetime(2013, 1, 1).date(), None]),  # noqa: DTZ001
        (pa.timestamp("us"), [datetime(2013, 1, 1), None]),  # noqa: DTZ001
        (pa.decimal128(5, 2), [None]),
        (pa.list_(pa.int64()), [[1, 2], None, []]),
    ],
)
def test_every_type_of_column_has_one(kind, cells):
    rows = [(cell,) for cell in cells]
    schema = pa.schema([("a", kind)])
    assert fingerprint(rows, schema) == fingerprint(rows[::-1], schema)


def test_it_is_pinned():
    pinned = fingerprint([(1.5, "UA", 3), (None, None, None), (math.nan, "é", -1)])
    assert pinned == "e94c28a5adf1663691aec39f6feab53480feb6b5507fd4ba86b8ede101af2d9b"
