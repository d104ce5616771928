"""Read the features of a wave: one round trip for all calls and views, decoded into one matrix for each lookup.

The hot path. No object is made for a feature; below `VECTOR_ROWS_MIN` rows a value is decoded by itself, since
numpy's cost for each operation is then higher than Python's for each row.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from features.codec import ENTITY_CHARS_MAX, FLAG_NULLS, HEADER, entity_key, joined
from features.errors import StoreUnavailableError
from features.plan import given_columns

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from features.plan import FeaturePlan, ViewPlan
    from features.store import OnlineStore

# The numbers of turnout.serving.v1.ViewStatus.
PRESENT = 1
MISSING = 2
STALE = 3
UNAVAILABLE = 4
GIVEN = 5

AGE_NONE_MS = -1
_US_PER_MS = 1000
VECTOR_ROWS_MIN = 12

_HEAD = struct.Struct("<Iq")
_NULLS = FLAG_NULLS << 24
_FLOAT64 = np.dtype("<f8")


@dataclass(frozen=True, slots=True, eq=False)
class Lookup:
    """The calls of a wave that read one feature set.

    Attributes
    ----------
    plan
        How the set is read.
    entities
        One mapping a call: join key to value. A view whose join key is not there is MISSING for that call.
    times_us
        One time a call, which ages are counted from; None: the time of the wave.
    given
        One mapping a call: the features that the caller gave, by name, which win over stored ones; None: nobody gave
        any. A view that is given whole is not asked for.
    """

    plan: FeaturePlan
    entities: Sequence[Mapping[str, str]]
    times_us: Sequence[int] | None = None
    given: Sequence[Mapping[str, float]] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class FeatureMatrix:
    """The features of a lookup.

    Attributes
    ----------
    values
        float64 [calls, features]: given, stored, else the default; NaN for a request feature with neither.
    statuses
        One byte for each call and view, call by call: PRESENT, MISSING, STALE, UNAVAILABLE or GIVEN.
    ages_ms
        As many ages in milliseconds: the call's time minus the value's event time, 0 for one from the future; -1 when
        nothing was found. These two are plain, since a wave of one is quicker without arrays for three numbers.
    """

    values: NDArray[np.float64]
    statuses: bytearray
    ages_ms: list[int]

    @property
    def status(self) -> NDArray[np.uint8]:
        """The statuses as uint8 [calls, views]."""
        return np.frombuffer(self.statuses, np.uint8).reshape(len(self.values), -1)

    @property
    def age_ms(self) -> NDArray[np.int64]:
        """The ages as int64 [calls, views]."""
        return np.array(self.ages_ms, np.int64).reshape(len(self.values), -1)


def fetch(store: OnlineStore, lookups: Sequence[Lookup], now_us: int) -> list[FeatureMatrix]:
    """Return one matrix a lookup, by one read of the store; a store that does not answer makes views UNAVAILABLE."""
    keys: list[bytes | None] = []
    for lookup in lookups:
        own = _keys(lookup)
        keys = keys + own if keys else own
    absent = MISSING
    try:
        blobs = _read(store, keys)
    except StoreUnavailableError:
        absent = UNAVAILABLE
        blobs = [None] * len(keys)
    matrices = []
    start = 0
    for lookup in lookups:
        rows = len(lookup.entities)
        stop = start + rows * len(lookup.plan.views)
        decode = _decode_columns if rows >= VECTOR_ROWS_MIN and lookup.plan.views else _decode_rows
        matrix = decode(lookup, blobs[start:stop], now_us)
        if absent == UNAVAILABLE:
            _mark_unavailable(matrix, keys[start:stop])
        if lookup.given is not None:
            _overlay(matrix, lookup.plan, lookup.given)
        matrices.append(matrix)
        start = stop
    return matrices


def _keys(lookup: Lookup) -> list[bytes | None]:
    """Return the key of each call's entity of each view, call by call; None for one that is not to be asked for."""
    views = lookup.plan.views
    if len(lookup.entities) == 1:
        keys = [_key(view, lookup.entities[0]) for view in views]
    else:
        keys = [None] * (len(lookup.entities) * len(views))
        for place, view in enumerate(views):
            keys[place :: len(views)] = _keys_of_view(view, lookup.entities)
    if lookup.given is not None:
        _drop_given(keys, lookup.plan, lookup.given)
    return keys


def _keys_of_view(view: ViewPlan, entities: Sequence[Mapping[str, str]]) -> list[bytes | None]:
    """Return the key of each call's entity, as `_key` does, without a function call for each."""
    prefix = view.prefix
    if len(view.join_keys) == 1:
        name = view.join_keys[0]
        try:
            values = [entity[name] for entity in entities]
        except KeyError:
            return [_key(view, entity) for entity in entities]
        if max(map(len, values)) <= ENTITY_CHARS_MAX:
            return [f"{prefix}{value}}}".encode() for value in values]
    return [_key(view, entity) for entity in entities]


def _key(view: ViewPlan, entity: Mapping[str, str]) -> bytes | None:
    """Return the key of a call's entity; None when it does not name it."""
    names = view.join_keys
    try:
        return entity_key(
            view.prefix, entity[names[0]] if len(names) == 1 else joined([entity[name] for name in names])
        )
    except KeyError:
        return None


def _read(store: OnlineStore, keys: list[bytes | None]) -> list[bytes | None]:
    if keys and None not in keys:
        return store.get_many(keys)  # type: ignore[arg-type]  # no None is in it
    asked = [key for key in keys if key is not None]
    if not asked:
        return keys
    found = iter(store.get_many(asked))
    return [None if key is None else next(found) for key in keys]


def _decode_rows(lookup: Lookup, blobs: list[bytes | None], now_us: int) -> FeatureMatrix:
    """Decode value by value."""
    plan = lookup.plan
    rows = len(lookup.entities)
    packed = bytearray(plan.default_row * rows)
    statuses = bytearray()
    ages_ms: list[int] = []
    scattered: list[tuple[int, ViewPlan, bytes, int]] = []
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
            if age > view.ttl_us:
                statuses.append(STALE)
                continue
            statuses.append(PRESENT)
            if head == view.head_plain and view.span is not None:
                start, stop, column_at = view.span
                column_at += row * len(plan.default_row)
                packed[column_at : column_at + stop - start] = blob[start:stop]
            else:
                scattered.append((row, view, blob, head))
    values = np.frombuffer(packed, _FLOAT64).reshape(rows, -1)
    for row, view, blob, head in scattered:
        stored = np.frombuffer(blob, _FLOAT64, view.features, view.values_at)[view.picks]
        values[row, view.columns] = stored if head == view.head_plain else _without_nulls(blob, stored, view)
    return FeatureMatrix(values, statuses, ages_ms)


def _without_nulls(blob: bytes, stored: NDArray[np.float64], view: ViewPlan) -> NDArray[np.float64]:
    """Return the stored values with defaults where they are null."""
    bitmap = np.frombuffer(blob, np.uint8, view.values_at - HEADER.size, HEADER.size)
    nulls = np.unpackbits(bitmap, bitorder="little")[: view.features][view.picks]
    return np.where(nulls, view.defaults, stored)


def _decode_columns(lookup: Lookup, blobs: list[bytes | None], now_us: int) -> FeatureMatrix:
    """Decode view by view."""
    plan = lookup.plan
    rows = len(lookup.entities)
    count = len(plan.views)
    table = _table(plan, blobs, rows)
    heads = np.empty((rows, count), np.uint32)
    ages = np.empty((rows, count), np.int64)
    for place, field in enumerate(plan.row_fields):
        column = table[field]
        heads[:, place] = column["head"]
        ages[:, place] = column["event_us"]
    times_us = now_us if lookup.times_us is None else np.array(lookup.times_us, np.int64)[:, None]
    np.subtract(times_us, ages, out=ages)
    np.maximum(ages, 0, out=ages)
    usable = ages <= plan.ttls_us
    ages //= _US_PER_MS
    if usable.all() and (heads == plan.heads_plain).all():  # nearly always: nothing is missing, stale or null
        values = np.empty((rows, len(plan.feature_names)))
        if plan.requests:
            values[:] = plan.defaults
        for view, field in zip(plan.views, plan.row_fields, strict=True):
            values[:, view.columns] = table[field]["values"][:, view.picks]
        return FeatureMatrix(values, bytearray((PRESENT,)) * (rows * count), ages.ravel().tolist())
    known = (heads | _NULLS) == plan.heads_nulls
    usable &= known
    ages[~known] = AGE_NONE_MS
    status = np.where(usable, np.uint8(PRESENT), np.where(known, np.uint8(STALE), np.uint8(MISSING)))
    values = np.tile(plan.defaults, (rows, 1))
    for place, (view, field) in enumerate(zip(plan.views, plan.row_fields, strict=True)):
        column = table[field]
        stored = column["values"][:, view.picks]
        values[:, view.columns] = np.where(usable[:, place, None] & ~_nulls(view, column), stored, view.defaults)
    return FeatureMatrix(values, bytearray(status.tobytes()), ages.ravel().tolist())


def _nulls(view: ViewPlan, column: NDArray[np.void]) -> NDArray[np.bool_]:
    """Return which of the features that the set takes are null, [rows, features]."""
    bits = np.unpackbits(column["nulls"], axis=1, bitorder="little")
    return bits[:, : view.features][:, view.picks].view(np.bool_)


def _table(plan: FeaturePlan, blobs: list[bytes | None], rows: int) -> NDArray[np.void]:
    """Return the values as one structured array, the blank one where there is none or one of another length."""
    if [len(blob) if blob else 0 for blob in blobs] != plan.row_sizes * rows:
        blanks = [view.blank for view in plan.views] * rows
        blobs = [
            blob if blob is not None and len(blob) == len(blank) else blank
            for blob, blank in zip(blobs, blanks, strict=True)
        ]
    return np.frombuffer(b"".join(blobs), plan.row_dtype)  # type: ignore[arg-type]  # there is no None left


def _mark_unavailable(matrix: FeatureMatrix, keys: list[bytes | None]) -> None:
    """Tell what was asked for in vain from what was not asked for."""
    for at, key in enumerate(keys):
        if key is not None:
            matrix.statuses[at] = UNAVAILABLE


def _drop_given(keys: list[bytes | None], plan: FeaturePlan, given: Sequence[Mapping[str, float]]) -> None:
    """Ask for no view that a call gives whole."""
    for row, features in enumerate(given):
        if features:
            columns = given_columns(plan, features)
            for place, view in enumerate(plan.views):
                if view.columns_given <= columns:
                    keys[row * len(plan.views) + place] = None


def _overlay(matrix: FeatureMatrix, plan: FeaturePlan, given: Sequence[Mapping[str, float]]) -> None:
    """Put what the callers gave over what was read."""
    for row, features in enumerate(given):
        if not features:
            continue
        for name, value in features.items():
            column = plan.column_of.get(name)
            if column is not None:
                matrix.values[row, column] = value
        columns = given_columns(plan, features)
        for place, view in enumerate(plan.views):
            if view.columns_given <= columns:
                matrix.statuses[row * len(plan.views) + place] = GIVEN
