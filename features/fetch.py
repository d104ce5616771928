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

AGE_NONE_US = -1
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
    ages_us
        As many ages: the call's time minus the value's event time, 0 for one from the future; -1 when nothing was
        found. These two are plain, since a wave of one is quicker without arrays for three numbers.
    """

    values: NDArray[np.float64]
    statuses: bytearray
    ages_us: list[int]

    @property
    def status(self) -> NDArray[np.uint8]:
        """The statuses as uint8 [calls, views]."""
        return np.frombuffer(self.statuses, np.uint8).reshape(len(self.values), -1)

    @property
    def age_us(self) -> NDArray[np.int64]:
        """The ages as int64 [calls, views]."""
        return np.array(self.ages_us, np.int64).reshape(len(self.values), -1)


def fetch(store: OnlineStore, lookups: Sequence[Lookup], now_us: int) -> list[FeatureMatrix]:
    """Return one matrix a lookup, by one read of the store; a store that does not answer makes views UNAVAILABLE."""
    keys: list[bytes | None] = []
    for lookup in lookups:
        for view in lookup.plan.views:
            _add_keys(keys, view, lookup.entities)
        if lookup.given is not None:
            _drop_given(keys, lookup, lookup.given)
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
        decode = _decode_rows if rows < VECTOR_ROWS_MIN else _decode_columns
        matrix = decode(lookup, blobs[start:stop], now_us)
        if absent == UNAVAILABLE:
            _mark_unavailable(matrix, keys[start:stop])
        if lookup.given is not None:
            _overlay(matrix, lookup.plan, lookup.given)
        matrices.append(matrix)
        start = stop
    return matrices


def _add_keys(keys: list[bytes | None], view: ViewPlan, entities: Sequence[Mapping[str, str]]) -> None:
    """Add the key of each call's entity; None for a call that does not name it."""
    prefix = view.prefix
    names = view.join_keys
    if len(names) == 1:
        name = names[0]
        for entity in entities:
            value = entity.get(name)
            if value is None:
                keys.append(None)
            elif len(value) <= ENTITY_CHARS_MAX:
                keys.append(f"{prefix}{value}}}".encode())  # what entity_key gives, without its calls
            else:
                keys.append(entity_key(prefix, value))
        return
    for entity in entities:
        try:
            keys.append(entity_key(prefix, joined([entity[name] for name in names])))
        except KeyError:
            keys.append(None)


def _read(store: OnlineStore, keys: list[bytes | None]) -> list[bytes | None]:
    if keys and None not in keys:
        return store.get_many(keys)  # type: ignore[arg-type]  # no None is in it
    asked = [key for key in keys if key is not None]
    if not asked:
        return keys
    found = iter(store.get_many(asked))
    return [None if key is None else next(found) for key in keys]


def _decode_rows(lookup: Lookup, blobs: list[bytes | None], now_us: int) -> FeatureMatrix:
    """Decode value by value. `blobs` are view-major."""
    plan = lookup.plan
    rows = len(lookup.entities)
    count = len(plan.views)
    packed = bytearray(plan.default_row * rows)
    statuses = bytearray(rows * count)
    ages_us = [AGE_NONE_US] * (rows * count)
    scattered: list[tuple[int, ViewPlan, bytes, int]] = []
    for row in range(rows):
        time_us = now_us if lookup.times_us is None else lookup.times_us[row]
        at = row * count
        for place, view in enumerate(plan.views):
            blob = blobs[place * rows + row]
            statuses[at + place] = MISSING
            if blob is None or len(blob) != view.size:
                continue
            head, event_us = _HEAD.unpack_from(blob)
            if head | _NULLS != view.head_nulls:
                continue
            age = time_us - event_us
            if age < 0:  # noqa: PLR1730  (max() costs three times as much)
                age = 0
            ages_us[at + place] = age
            if age > view.ttl_us:
                statuses[at + place] = STALE
                continue
            statuses[at + place] = PRESENT
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
    return FeatureMatrix(values, statuses, ages_us)


def _without_nulls(blob: bytes, stored: NDArray[np.float64], view: ViewPlan) -> NDArray[np.float64]:
    """Return the stored values with defaults where they are null."""
    bitmap = np.frombuffer(blob, np.uint8, view.values_at - HEADER.size, HEADER.size)
    nulls = np.unpackbits(bitmap, bitorder="little")[: view.features][view.picks]
    return np.where(nulls, view.defaults, stored)


def _decode_columns(lookup: Lookup, blobs: list[bytes | None], now_us: int) -> FeatureMatrix:
    """Decode view by view. `blobs` are view-major."""
    plan = lookup.plan
    rows = len(lookup.entities)
    count = len(plan.views)
    tables = [_table(view, blobs[place * rows : (place + 1) * rows]) for place, view in enumerate(plan.views)]
    heads = np.empty((rows, count), np.uint32)
    age_us = np.empty((rows, count), np.int64)
    for place, table in enumerate(tables):
        heads[:, place] = table["head"]
        age_us[:, place] = table["event_us"]
    times_us = now_us if lookup.times_us is None else np.array(lookup.times_us, np.int64)[:, None]
    np.subtract(times_us, age_us, out=age_us)
    np.maximum(age_us, 0, out=age_us)
    values = np.empty((rows, len(plan.feature_names)))
    values[:] = plan.defaults
    usable = age_us <= plan.ttls_us
    if usable.all() and (heads == plan.heads_plain).all():  # nearly always: nothing is missing, stale or null
        for view, table in zip(plan.views, tables, strict=True):
            values[:, view.columns] = table["values"][:, view.picks]
        return FeatureMatrix(values, bytearray(bytes((PRESENT,)) * (rows * count)), age_us.ravel().tolist())
    known = (heads | _NULLS) == plan.heads_nulls
    usable &= known
    age_us[~known] = AGE_NONE_US
    status = np.where(usable, np.uint8(PRESENT), np.where(known, np.uint8(STALE), np.uint8(MISSING)))
    for place, (view, table) in enumerate(zip(plan.views, tables, strict=True)):
        stored = np.where(usable[:, place, None] & ~_nulls(view, table), table["values"][:, view.picks], view.defaults)
        values[:, view.columns] = stored
    return FeatureMatrix(values, bytearray(status.tobytes()), age_us.ravel().tolist())


def _nulls(view: ViewPlan, table: NDArray[np.void]) -> NDArray[np.bool_]:
    """Return which of the features that the set takes are null, [rows, features]."""
    bits = np.unpackbits(table["nulls"], axis=1, bitorder="little")
    return bits[:, : view.features][:, view.picks].view(np.bool_)


def _table(view: ViewPlan, blobs: list[bytes | None]) -> NDArray[np.void]:
    """Return the values as one structured array, the blank one where there is none or one of another length."""
    size = view.size
    packed = b"".join([blob if blob is not None and len(blob) == size else view.blank for blob in blobs])
    return np.frombuffer(packed, view.dtype)


def _mark_unavailable(matrix: FeatureMatrix, keys: list[bytes | None]) -> None:
    """Tell what was asked for in vain from what was not asked for. The keys are view-major."""
    rows = len(matrix.values)
    count = len(keys) // rows if rows else 0
    for place in range(count):
        for row in range(rows):
            if keys[place * rows + row] is not None:
                matrix.statuses[row * count + place] = UNAVAILABLE


def _drop_given(keys: list[bytes | None], lookup: Lookup, given: Sequence[Mapping[str, float]]) -> None:
    """Ask for no view that a call gives whole. The lookup's keys are the last ones, view-major."""
    rows = len(lookup.entities)
    start = len(keys) - rows * len(lookup.plan.views)
    for row, features in enumerate(given):
        if features:
            columns = given_columns(lookup.plan, features)
            for place, view in enumerate(lookup.plan.views):
                if view.columns_given <= columns:
                    keys[start + place * rows + row] = None


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
