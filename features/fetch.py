"""Read the features of a wave: one round trip for all calls and views, decoded into one matrix for each lookup."""

from __future__ import annotations

import math
from operator import itemgetter
from typing import TYPE_CHECKING

from features.codec import ENTITY_CHARS_MAX, entity_key, joined
from features.decode import VECTOR_ROWS_MIN, decode, decode_columns
from features.errors import StoreUnavailableError
from features.lookup import AGE_NONE_MS, GIVEN, NULL, PRESENT, STALE_SERVED, UNAVAILABLE
from features.plan import given_columns

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from features.decode import Column
    from features.lookup import FeatureMatrix, Lookup
    from features.memory import Memory
    from features.plan import FeaturePlan, ViewPlan
    from features.store import OnlineStore, Tables

_NO_BUDGET = math.inf
_SERVED = bytes((PRESENT, NULL, STALE_SERVED))


def fetch(
    store: OnlineStore,
    lookups: Sequence[Lookup],
    now_us: int,
    *,
    until: float = _NO_BUDGET,
    memory: Memory | None = None,
) -> list[FeatureMatrix]:
    """Return one matrix a lookup, by one read of the store; a store that does not answer makes views UNAVAILABLE.

    Parameters
    ----------
    store
        The online store.
    lookups
        What is asked.
    now_us
        The time that ages are counted to, where a lookup names none.
    until
        When the answer must be there, on the monotonic clock; a store on this machine takes no notice of it.
    memory
        What was read before, for sets that may be served stale while the store does not answer.
    """
    tables = store.tables()
    if tables is not None:
        return [_from_tables(tables, lookup, now_us) for lookup in lookups]
    keys: list[bytes | None] = []
    for lookup in lookups:
        own = _keys(lookup)
        keys = keys + own if keys else own
    down = False
    try:
        blobs = _read(store, keys, until)
    except StoreUnavailableError:
        down = True
        blobs = [None] * len(keys)
    matrices = []
    start = 0
    for lookup in lookups:
        stop = start + len(lookup.entities) * len(lookup.plan.views)
        own_keys, own_blobs = keys[start:stop], blobs[start:stop]
        if memory is not None and lookup.plan.stale_up_to_us:
            if down:
                own_blobs = memory.recall(own_keys, lookup.plan.stale_up_to_us)
            else:
                memory.keep(own_keys, own_blobs)
        matrix = decode(lookup, own_blobs, now_us)
        if down:
            _mark_unavailable(matrix, own_keys)
        matrices.append(finished(matrix, lookup))
        start = stop
    return matrices


def _from_tables(tables: Tables, lookup: Lookup, now_us: int) -> FeatureMatrix:
    """Return the matrix of a lookup from a store that keeps columns."""
    plan = lookup.plan
    if len(lookup.entities) < VECTOR_ROWS_MIN or not plan.views:
        keys = _keys(lookup)
        found = iter(tables.get_many([key for key in keys if key is not None]))
        matrix = decode(lookup, [None if key is None else next(found) for key in keys], now_us)
    else:
        places: dict[tuple[str, ...], NDArray[np.intp]] = {}
        columns: list[Column] = []
        for view in plan.views:
            if view.join_keys not in places:
                places[view.join_keys] = _places(tables, view, lookup.entities)
            columns.append(tables.column(view.prefix, view.size, places[view.join_keys]))
        matrix = decode_columns(lookup, columns, now_us)
    return finished(matrix, lookup)


def finished(matrix: FeatureMatrix, lookup: Lookup) -> FeatureMatrix:
    """Put over what was read what the callers gave, and compute the transforms of both."""
    if lookup.given is not None:
        _overlay(matrix, lookup.plan, lookup.given)
    if lookup.plan.kernels is not None:
        lookup.plan.kernels.fill(matrix.values)
    return matrix


def _places(tables: Tables, view: ViewPlan, entities: Sequence[Mapping[str, str]]) -> NDArray[np.intp]:
    """Return where each call's entity of a view is; mostly each call names it, and no list is made of the names."""
    if len(view.join_keys) == 1:
        try:
            return tables.places(map(itemgetter(view.join_keys[0]), entities), len(entities))
        except KeyError:
            pass
    return tables.places(_entities(view, entities), len(entities))


def _entities(view: ViewPlan, entities: Sequence[Mapping[str, str]]) -> list[str | None]:
    """Return each call's entity of a view as one text, None where the call does not name it."""
    names = view.join_keys
    if len(names) == 1:
        name = names[0]
        return [entity.get(name) for entity in entities]
    return [joined([entity[name] for name in names]) if entity.keys() >= set(names) else None for entity in entities]


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


def _read(store: OnlineStore, keys: list[bytes | None], until: float) -> list[bytes | None]:
    if keys and None not in keys:
        return store.get_many(keys, until=until)  # type: ignore[arg-type]  # no None is in it
    asked = [key for key in keys if key is not None]
    if not asked:
        return keys
    found = iter(store.get_many(asked, until=until))
    return [None if key is None else next(found) for key in keys]


def _mark_unavailable(matrix: FeatureMatrix, keys: list[bytes | None]) -> None:
    """Tell what was asked for in vain from what was not asked for, and from what was remembered."""
    for at, key in enumerate(keys):
        if key is not None:
            matrix.statuses[at] = STALE_SERVED if matrix.statuses[at] in _SERVED else UNAVAILABLE


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
                matrix.ages_ms[row * len(plan.views) + place] = AGE_NONE_MS
