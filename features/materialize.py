"""Materialize: bring the online store to the newest value of each entity as of a time.

How far a view has come is kept in the store beside the values, under a key of its own: a store that was emptied or
replaced says so by itself. From there on only rows that became visible since are read. Two runs at once, a crash
between two chunks, a run that is repeated: the compare-and-set of every write makes them harmless, and the mark is set
after the last value.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from features.codec import encode_marker, encode_values, entity_key, joined, key_prefix, marker_key, times_of
from features.offline import open_offline, view_rows

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from features.definitions import BoundView, Source, View
    from features.offline import Batches, OfflineLimits
    from features.store import OnlineStore


@dataclass(frozen=True, slots=True, kw_only=True)
class Materialized:
    """What was written for a view: how many values changed, and as of when the store now stands."""

    view: str
    entities_written: int
    until_us: int


def materialize(
    store: OnlineStore,
    bound: BoundView,
    *,
    sources: Sequence[Source],
    until_us: int,
    now_us: int,
    limits: OfflineLimits,
) -> Materialized:
    """Write each entity's newest value with event and created times up to `until_us`; chunk by chunk.

    Parameters
    ----------
    store
        Where to.
    bound
        The view, and the number of its layout.
    sources
        What its SQL sees as tables.
    until_us
        As of when. Nothing is done when the store is already there.
    now_us
        The time of the run.
    limits
        What the query may use.
    """
    since_us = materialized_until(store, [bound])[0]
    if since_us is not None and since_us >= until_us:
        return Materialized(view=bound.view.name, entities_written=0, until_us=since_us)
    with open_offline(sources, limits) as offline:
        rows, parameters = view_rows(offline, bound.view, since_us=since_us, until_us=until_us)
        reader = offline.stream(_newest(bound.view, rows), parameters)
        written = store.put_many(_pairs(reader, bound))
    store.put_many(
        [(marker_key(bound.view.name, bound.schema_id), encode_marker(until_us=until_us, written_us=now_us))]
    )
    return Materialized(view=bound.view.name, entities_written=written, until_us=until_us)


def materialized_until(store: OnlineStore, views: Sequence[BoundView]) -> list[int | None]:
    """Return for each view as of when the store stands, None where it was never materialized."""
    marks = store.get_many([marker_key(bound.view.name, bound.schema_id) for bound in views])
    return [None if mark is None else times_of(mark)[0] for mark in marks]


def _newest(view: View, rows: str) -> str:
    """Return the query for the newest row of each entity; on ties the one created last, as in a training table."""
    keys = ", ".join(f"k{place}" for place in range(len(view.join_keys)))
    order = ["event_us DESC", "created_us DESC"]
    order += [f"f{place} DESC NULLS FIRST" for place in range(len(view.features))]
    return f"SELECT * FROM ({rows}) QUALIFY row_number() OVER (PARTITION BY {keys} ORDER BY {', '.join(order)}) = 1"


def _pairs(reader: Batches, bound: BoundView) -> Iterator[tuple[bytes, bytes]]:
    """Yield key and value of each row, one batch in memory at a time."""
    prefix = key_prefix(bound.view.name, bound.schema_id)
    width = len(bound.view.features)
    for batch in reader:
        entities = zip(
            *(batch.column(f"k{place}").to_pylist() for place in range(len(bound.view.join_keys))), strict=True
        )
        columns = [batch.column(f"f{place}") for place in range(width)]
        blobs = encode_values(
            schema_id=bound.schema_id,
            event_us=batch.column("event_us").to_numpy(),
            written_us=batch.column("created_us").to_numpy(),
            values=np.column_stack([column.to_numpy(zero_copy_only=False) for column in columns]),
            nulls=np.column_stack([column.is_null().to_numpy(zero_copy_only=False) for column in columns]),
        )
        for entity, blob in zip(entities, blobs, strict=True):
            yield entity_key(prefix, joined(entity)), blob
