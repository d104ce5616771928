"""Stored values become rows of a matrix: value by value for few calls, view by view for many.

The hot path. No object is made for a feature. Below `VECTOR_ROWS_MIN` rows a value is decoded by itself, since
numpy's cost for each operation is then higher than Python's for each row.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Protocol

import numpy as np

from features.codec import FLAG_NULLS, HEADER
from features.lookup import AGE_NONE_MS, MISSING, NULL, PRESENT, STALE, STALE_SERVED, FeatureMatrix

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from features.lookup import Lookup
    from features.plan import FeaturePlan, ViewPlan

VECTOR_ROWS_MIN = 12

_US_PER_MS = 1000
_HEAD = struct.Struct("<Iq")
_NULLS = FLAG_NULLS << 24
_FLOAT64 = np.dtype("<f8")


class Column(Protocol):
    """The values of one view for the calls of a lookup; where there is none, the head is that of no layout."""

    @property
    def head(self) -> NDArray[np.uint32]:
        """The first four bytes of each value as a number."""
        ...

    @property
    def event_us(self) -> NDArray[np.int64]:
        """The event times."""
        ...

    def values(self) -> NDArray[np.float64]:
        """Return the stored features, [calls, features]."""
        ...

    def nulls(self) -> NDArray[np.uint8]:
        """Return the null bitmaps, [calls, bytes]."""
        ...


class BlobColumn:
    """The values of one view as a field of a structured array."""

    __slots__ = ("_field",)

    def __init__(self, field: NDArray[np.void]) -> None:
        self._field = field

    @property
    def head(self) -> NDArray[np.uint32]:
        """The first four bytes of each value as a number."""
        head: NDArray[np.uint32] = self._field["head"]
        return head

    @property
    def event_us(self) -> NDArray[np.int64]:
        """The event times."""
        event_us: NDArray[np.int64] = self._field["event_us"]
        return event_us

    def values(self) -> NDArray[np.float64]:
        """Return the stored features."""
        values: NDArray[np.float64] = self._field["values"]
        return values

    def nulls(self) -> NDArray[np.uint8]:
        """Return the null bitmaps."""
        nulls: NDArray[np.uint8] = self._field["nulls"]
        return nulls


def decode(lookup: Lookup, blobs: list[bytes | None], now_us: int) -> FeatureMatrix:
    """Return the matrix of a lookup whose values were read: one for each call and view, call by call."""
    if len(lookup.entities) < VECTOR_ROWS_MIN or not lookup.plan.views:
        return decode_rows(lookup, blobs, now_us)
    table = _table(lookup.plan, blobs, len(lookup.entities))
    return decode_columns(lookup, [BlobColumn(table[field]) for field in lookup.plan.row_fields], now_us)


def decode_rows(  # noqa: C901, PLR0912  (a call for each value would cost as much as the value)
    lookup: Lookup, blobs: list[bytes | None], now_us: int
) -> FeatureMatrix:
    """Decode value by value."""
    plan = lookup.plan
    rows = len(lookup.entities)
    packed = bytearray(plan.default_row * rows)
    statuses = bytearray()
    ages_ms: list[int] = []
    scattered: list[tuple[int, int, ViewPlan, bytes, int]] = []
    found = iter(blobs)
    for row in range(rows):
        time_us = now_us if lookup.times_us is None else lookup.times_us[row]
        for view in plan.views:
            blob = next(found)
            if blob is None or len(blob) != view.size:
                statuses.append(MISSING)
                ages_ms.append(AGE_NONE_MS)
                continue
            head, event_us = _HEAD.unpack_from(blob)
            if head | _NULLS != view.head_nulls:
                statuses.append(MISSING)
                ages_ms.append(AGE_NONE_MS)
                continue
            age = time_us - event_us
            if age < 0:  # noqa: PLR1730  (max() costs three times as much)
                age = 0
            ages_ms.append(age // _US_PER_MS)
            if age <= view.ttl_us:
                statuses.append(PRESENT)
            elif age <= view.usable_us:
                statuses.append(STALE_SERVED)
            else:
                statuses.append(STALE)
                continue
            if head == view.head_plain and view.span is not None:
                start, stop, column_at = view.span
                column_at += row * len(plan.default_row)
                packed[column_at : column_at + stop - start] = blob[start:stop]
            else:
                scattered.append((row, len(statuses) - 1, view, blob, head))
    values = np.frombuffer(packed, _FLOAT64).reshape(rows, -1)
    for row, at, view, blob, head in scattered:
        stored = np.frombuffer(blob, _FLOAT64, view.features, view.values_at)[view.picks]
        if head != view.head_plain:
            nulls = _nulls_of(blob, view)
            stored = np.where(nulls, view.defaults, stored)
            if statuses[at] == PRESENT and nulls.any():
                statuses[at] = NULL
        values[row, view.columns] = stored
    return FeatureMatrix(values, statuses, ages_ms)


def _nulls_of(blob: bytes, view: ViewPlan) -> NDArray[np.bool_]:
    """Return which of the features that the set takes are null."""
    bitmap = np.frombuffer(blob, np.uint8, view.values_at - HEADER.size, HEADER.size)
    return np.unpackbits(bitmap, bitorder="little")[: view.features][view.picks].view(np.bool_)


def decode_columns(lookup: Lookup, columns: Sequence[Column], now_us: int) -> FeatureMatrix:
    """Decode view by view."""
    plan = lookup.plan
    rows = len(lookup.entities)
    count = len(plan.views)
    heads = np.empty((rows, count), np.uint32)
    ages = np.empty((rows, count), np.int64)
    for place, column in enumerate(columns):
        heads[:, place] = column.head
        ages[:, place] = column.event_us
    times_us = now_us if lookup.times_us is None else np.array(lookup.times_us, np.int64)[:, None]
    np.subtract(times_us, ages, out=ages)
    np.maximum(ages, 0, out=ages)
    fresh = None if plan.lasting else ages <= plan.ttls_us
    if (heads == plan.heads_plain).all() and (fresh is None or fresh.all()):
        # Nearly always: nothing is missing, stale or null.
        ages //= _US_PER_MS
        values = np.empty((rows, len(plan.feature_names)))
        if plan.requests:
            values[:] = plan.defaults
        for view, column in zip(plan.views, columns, strict=True):
            values[:, view.columns] = column.values()[:, view.picks]
        return FeatureMatrix(values, bytearray((PRESENT,)) * (rows * count), ages.ravel().tolist())
    known = (heads | _NULLS) == plan.heads_nulls
    usable = known & (ages <= plan.usables_us)
    ages //= _US_PER_MS
    ages[~known] = AGE_NONE_MS
    status = np.full(heads.shape, PRESENT, np.uint8)
    if fresh is not None:
        status[~fresh] = STALE_SERVED
    status[~usable] = STALE
    status[~known] = MISSING
    values = np.tile(plan.defaults, (rows, 1))
    for place, (view, column) in enumerate(zip(plan.views, columns, strict=True)):
        taken = usable[:, place, None]
        if (heads[:, place] != view.head_plain).any():
            nulls = np.unpackbits(column.nulls(), axis=1, bitorder="little")[:, : view.features][:, view.picks] != 0
            own = status[:, place]
            own[(own == PRESENT) & nulls.any(axis=1)] = NULL
            taken = taken & ~nulls
        values[:, view.columns] = np.where(taken, column.values()[:, view.picks], view.defaults)
    return FeatureMatrix(values, bytearray(status.tobytes()), ages.ravel().tolist())


def _table(plan: FeaturePlan, blobs: list[bytes | None], rows: int) -> NDArray[np.void]:
    """Return the values as one structured array, the blank one where there is none or one of another length."""
    if [len(blob) if blob else 0 for blob in blobs] != plan.row_sizes * rows:
        blanks = [view.blank for view in plan.views] * rows
        blobs = [
            blob if blob is not None and len(blob) == len(blank) else blank
            for blob, blank in zip(blobs, blanks, strict=True)
        ]
    return np.frombuffer(b"".join(blobs), plan.row_dtype)  # type: ignore[arg-type]  # there is no None left
