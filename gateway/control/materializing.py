"""Values on their way to the online store: materialized from the sources, or pushed one by one.

No transaction is open and no lock is held while data is read or written.
"""

from __future__ import annotations

import contextlib
import threading
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from features import records
from features.codec import key_prefix
from features.keeping import kept_by_layout
from features.materialize import Chunk, Materialized, materialize, materialized_until
from features.offline import OfflineLimits
from features.push import Row, check_rows, write_rows
from features.schedule import due_us

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Sequence

    from sqlalchemy import Connection

    from features.definitions import BoundView
    from features.store import OnlineStore
    from storage.clock import Clock
    from storage.database import Database

IDLE, RUNNING, FAILED = "IDLE", "RUNNING", "FAILED"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunState:
    """How the present or last run of a view goes or went."""

    state: str = IDLE
    started_us: int | None = None
    entities_read: int = 0
    entities_written: int = 0
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MaterializationState:
    """How the materialization of a view stands: as of when, when it is due (0: at once), and its run."""

    view: str
    until_us: int | None
    due_us: int | None
    run: RunState


def _nothing_bound(_tx: Connection) -> Iterable[tuple[str, str]]:
    return ()


def _unwatched() -> None:
    pass


class Materializing:
    """Writes to the online store.

    Parameters
    ----------
    database, clock
        Where definitions are kept, and the time.
    store
        The online store, opened for writing.
    limits
        What a query over the offline store may use.
    expiring
        Whether values are let go of when they are too old to be served; not where the clock is not that of the store.
    bound_sets
        The set and digest pairs that live versions are bound to: their views are written as well when they are no
        longer the current definitions.
    """

    def __init__(
        self,
        *,
        database: Database,
        clock: Clock,
        store: OnlineStore,
        limits: OfflineLimits | None = None,
        expiring: bool = True,
        bound_sets: Callable[[Connection], Iterable[tuple[str, str]]] = _nothing_bound,
    ) -> None:
        self._database = database
        self._clock = clock
        self._store = store
        self._limits = limits or OfflineLimits()
        self._expiring = expiring
        self._bound_sets = bound_sets
        self._lock = threading.Lock()
        self._runs: dict[str, RunState] = {}

    def materialize(
        self,
        names: Sequence[str],
        *,
        until_us: int | None = None,
        since_us: int | None = None,
        go_on: Callable[[], None] = _unwatched,
    ) -> list[Materialized]:
        """Write the newest values of the views as of a time, of all views when none is named; return one result each.

        Parameters
        ----------
        names
            The views.
        until_us
            As of when; None: now.
        since_us
            Read again what became visible since then; None: since where the store stands.
        go_on
            Called after each chunk; what it raises ends the run.

        Raises
        ------
        ViewMissingError
            Nothing was written.
        StoreUnavailableError, OfflineQueryError
            The views before the failing one are written.
        """
        with self._database.read() as tx:
            sources = records.list_sources(tx)
            current = [records.get_view(tx, name) for name in names] if names else records.list_views(tx)
            layouts = self._layouts(tx, current)
            kept = self._kept(tx, current)
        now_us = self._clock.now_us()
        written: dict[str, Materialized] = {}
        for bound in layouts:
            view = bound.view.name

            def on_chunk(chunk: Chunk, view: str = view) -> None:
                self._count(view, chunk)
                go_on()

            with self._running(view, now_us, again=view in written):
                done = materialize(
                    self._store,
                    bound,
                    sources=sources,
                    until_us=now_us if until_us is None else until_us,
                    since_us=since_us,
                    now_us=now_us,
                    limits=self._limits,
                    kept_us=kept.get((view, bound.schema_id), 0),
                    on_chunk=on_chunk,
                )
            before = written.get(view)
            if before is not None:  # the view's current definition came first
                done = Materialized(
                    view=view,
                    entities_written=before.entities_written + done.entities_written,
                    until_us=min(before.until_us, done.until_us),
                )
            written[view] = done
        return list(written.values())

    def write(self, name: str, rows: Sequence[Row]) -> int:
        """Write single values of a view, and return how many changed, or raise FeatureRowInvalidError before any is."""
        with self._database.read() as tx:
            view = records.get_view(tx, name)
            [current, *bound] = self._layouts(tx, [view])
            kept = self._kept(tx, [view])
        now_us = self._clock.now_us()
        check_rows(current.view, rows, now_us)
        written = write_rows(self._store, current, rows, now_us, kept_us=kept.get((name, current.schema_id), 0))
        for one in bound:
            if one.view.join_keys == current.view.join_keys:
                write_rows(self._store, one, rows, now_us, kept_us=kept.get((name, one.schema_id), 0))
        return written

    def forget(self) -> int:
        """Remove the values that are too old to be served to anybody, and return how many there were."""
        with self._database.read() as tx:
            kept = self._kept(tx, records.list_views(tx))
        now_us = self._clock.now_us()
        return sum(
            self._store.forget(key_prefix(view, schema_id).encode(), now_us - kept_us)
            for (view, schema_id), kept_us in kept.items()
            if kept_us
        )

    def states(self, names: Sequence[str]) -> list[MaterializationState]:
        """Return how the views stand, all of them when none is named, or raise ViewMissingError."""
        with self._database.read() as tx:
            views = [records.get_view(tx, name) for name in names] if names else records.list_views(tx)
        untils = materialized_until(self._store, views)
        with self._lock:
            runs = dict(self._runs)
        return [
            MaterializationState(
                view=bound.view.name,
                until_us=until_us,
                due_us=due_us(bound.view.refresh, view=bound.view.name, last_us=until_us),
                run=runs.get(bound.view.name, RunState()),
            )
            for bound, until_us in zip(views, untils, strict=True)
        ]

    def _layouts(self, tx: Connection, current: Sequence[BoundView]) -> list[BoundView]:
        """Return the definitions, then those of the same views that live versions are bound to, each layout once."""
        layouts: dict[tuple[str, int], BoundView] = {}
        for one in [*current, *self._bound(tx, current)]:
            layouts.setdefault((one.view.name, one.schema_id), one)
        return list(layouts.values())

    def _bound(self, tx: Connection, current: Sequence[BoundView]) -> list[BoundView]:
        """Return the definitions of the same views that live versions are bound to."""
        wanted = {one.view.name for one in current}
        return [
            one
            for set_name, digest in self._bound_sets(tx)
            for one in records.views_of_set(tx, records.get_set(tx, set_name, digest))
            if one.view.name in wanted
        ]

    def _kept(self, tx: Connection, current: Sequence[BoundView]) -> dict[tuple[str, int], int]:
        """Return for how long values of each layout of the views are kept; 0: for ever."""
        if not self._expiring:
            return {}
        return kept_by_layout([*current, *self._bound(tx, current)], records.list_sets(tx))

    @contextlib.contextmanager
    def _running(self, view: str, now_us: int, *, again: bool) -> Generator[None]:
        """Tell of a run while it lasts, and how it ended; `again`: it goes on with another layout of its view."""
        with self._lock:
            begun = self._runs[view] if again else RunState(started_us=now_us)
            self._runs[view] = replace(begun, state=RUNNING)
        state, error = FAILED, ""
        try:
            yield
            state = IDLE
        except Exception as failure:
            error = str(failure)
            raise
        finally:
            with self._lock:
                self._runs[view] = replace(self._runs[view], state=state, error=error)

    def _count(self, view: str, chunk: Chunk) -> None:
        with self._lock:
            run = self._runs[view]
            self._runs[view] = replace(
                run,
                entities_read=run.entities_read + chunk.entities,
                entities_written=run.entities_written + chunk.written,
            )
