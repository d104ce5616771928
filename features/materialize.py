"""Materialize: bring the online store to the newest value of each entity as of a time.

Theory of operation
-------------------
How far a view has come is kept in the store beside the values, under keys of its own: a store that was emptied or
replaced says so by itself. Two marks are kept. *Done*: as of when the store stands; from there on only rows that became
visible since are read. *Progress*: how far an unfinished run has come. A run writes its entities in the order of their
keys, chunk by chunk, and after each chunk the last key; who comes after a crash first finishes that run from that key
on, then goes on to its own end.

Two runs at once, a crash between any two writes, a run that is repeated: the compare-and-set of every write makes them
harmless, and a mark is set after the values that it speaks of.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from features.codec import (
    Progress,
    decode_progress,
    encode_marker,
    encode_progress,
    encode_tombstone,
    encode_values,
    entity_key,
    joined,
    key_prefix,
    marker_key,
    progress_key,
    times_of,
)
from features.newest import newest_rows
from features.offline import BATCH_ROWS, open_offline

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import pyarrow as pa

    from features.definitions import BoundView, Source, View
    from features.offline import OfflineLimits, OfflineStore
    from features.store import OnlineStore


@dataclass(frozen=True, slots=True, kw_only=True)
class Materialized:
    """What was written for a view: how many values changed, and as of when the store now stands."""

    view: str
    entities_written: int
    until_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """What a chunk of a run wrote: how many entities it looked at, and how many values changed."""

    entities: int
    written: int


def _unwatched(_chunk: Chunk) -> None:
    pass


def materialize(
    store: OnlineStore,
    bound: BoundView,
    *,
    sources: Sequence[Source],
    until_us: int,
    now_us: int,
    limits: OfflineLimits,
    since_us: int | None = None,
    kept_us: int = 0,
    on_chunk: Callable[[Chunk], None] = _unwatched,
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
    since_us
        Read again what became visible since then, though the store stands later: after its sources were mended.
    kept_us
        For how long after its event time the store keeps a value; 0: for ever.
    on_chunk
        Called after each chunk; what it raises ends the run, which the next one then finishes.
    """
    with open_offline(sources, limits) as offline:
        run = _Run(store, offline, bound, sources=sources, now_us=now_us, kept_us=kept_us, on_chunk=on_chunk)
        done_us = materialized_until(store, [bound])[0]
        left = _unfinished(store, bound, done_us=done_us, until_us=until_us)
        if left is not None:
            run.write(left)
            done_us = left.until_us
        if done_us is not None and since_us is not None:
            start_us: int | None = min(since_us, done_us)
        elif done_us is not None and done_us >= until_us:
            return Materialized(view=bound.view.name, entities_written=run.written, until_us=done_us)
        else:
            start_us = done_us
        run.write(Progress(since_us=start_us, until_us=until_us, chunks=0, entity=None))
    return Materialized(view=bound.view.name, entities_written=run.written, until_us=max(until_us, done_us or until_us))


def materialized_until(store: OnlineStore, views: Sequence[BoundView]) -> list[int | None]:
    """Return for each view as of when the store stands, None where it was never materialized."""
    marks = store.get_many([marker_key(bound.view.name, bound.schema_id) for bound in views])
    return [None if mark is None else times_of(mark)[0] for mark in marks]


def _unfinished(store: OnlineStore, bound: BoundView, *, done_us: int | None, until_us: int) -> Progress | None:
    """Return how far an earlier run came that did not get to its end, None where there is none to be finished first."""
    [blob] = store.get_many([progress_key(bound.view.name, bound.schema_id)])
    if blob is None:
        return None
    left = decode_progress(blob)
    over = done_us is not None and done_us >= left.until_us
    return None if over or left.until_us > until_us else left


class _Run:
    """Writes windows of one view."""

    __slots__ = ("_bound", "_kept_us", "_now_us", "_offline", "_on_chunk", "_sources", "_store", "written")

    def __init__(
        self,
        store: OnlineStore,
        offline: OfflineStore,
        bound: BoundView,
        *,
        sources: Sequence[Source],
        now_us: int,
        kept_us: int,
        on_chunk: Callable[[Chunk], None],
    ) -> None:
        self._sources = sources
        self._store = store
        self._offline = offline
        self._bound = bound
        self._now_us = now_us
        self._kept_us = kept_us
        self._on_chunk = on_chunk
        self.written = 0

    def write(self, progress: Progress) -> None:
        """Write a window from where its progress says it is, and set the mark."""
        view, schema_id = self._bound.view, self._bound.schema_id
        batches = newest_rows(self._offline, view, self._sources, progress)
        for chunks, batch in enumerate(batches, progress.chunks + 1):
            if not batch.num_rows:
                continue
            entities = _entities(batch, view)
            written = self._store.put_many(_pairs(batch, entities, self._bound), kept_us=self._kept_us)
            come = Progress(since_us=progress.since_us, until_us=progress.until_us, chunks=chunks, entity=entities[-1])
            if len(entities) == BATCH_ROWS:  # a run of one chunk is as quickly done again
                self._store.put_many([(progress_key(view.name, schema_id), encode_progress(come))])
            self.written += written
            self._on_chunk(Chunk(entities=len(entities), written=written))
        mark = encode_marker(until_us=progress.until_us, written_us=self._now_us)
        self._store.put_many([(marker_key(view.name, schema_id), mark)])


def _entities(batch: pa.RecordBatch, view: View) -> list[tuple[str, ...]]:
    columns = [batch.column(f"k{place}").to_pylist() for place in range(len(view.join_keys))]
    return list(zip(*columns, strict=True))


def _pairs(
    batch: pa.RecordBatch, entities: Sequence[tuple[str, ...]], bound: BoundView
) -> Iterator[tuple[bytes, bytes]]:
    """Yield key and value of each row."""
    prefix = key_prefix(bound.view.name, bound.schema_id)
    columns = [batch.column(f"f{place}") for place in range(len(bound.view.features))]
    event_us, created_us = batch.column("event_us").to_numpy(), batch.column("created_us").to_numpy()
    blobs = encode_values(
        schema_id=bound.schema_id,
        event_us=event_us,
        written_us=created_us,
        values=np.column_stack([column.to_numpy(zero_copy_only=False) for column in columns]),
        nulls=np.column_stack([column.is_null().to_numpy(zero_copy_only=False) for column in columns]),
    )
    for row in np.flatnonzero(batch.column("deleted").to_numpy(zero_copy_only=False)).tolist():
        blobs[row] = encode_tombstone(
            schema_id=bound.schema_id, event_us=int(event_us[row]), written_us=int(created_us[row])
        )
    for entity, blob in zip(entities, blobs, strict=True):
        yield entity_key(prefix, joined(entity)), blob
