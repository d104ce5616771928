"""Views materialized by their schedules, and old values removed, by one gateway at a time."""

from __future__ import annotations

import logging
import time
import uuid
from typing import TYPE_CHECKING

from storage.leases import Lease, acquire, database_now_us, release, renew

if TYPE_CHECKING:
    import threading

    from gateway.control.materializing import Materializing
    from storage.clock import Clock
    from storage.database import Database

_log = logging.getLogger(__name__)
LOOK_INTERVAL_S = 1.0
# Longer than a query may run, since a lease is renewed by the chunk. A run whose lease is lost all the same does no
# harm: its writes are compare-and-set.
LEASE_US = 900_000_000
RETRY_S_MIN = 5.0
RETRY_S_MAX = 600.0
FORGET_INTERVAL_S = 3600.0


class _StoppedError(Exception):
    """The gateway stops."""


class Refresher:
    """Materializes the views that are due. A view that fails is tried again after ever longer pauses.

    Parameters
    ----------
    materializing
        What does the work, and knows what is due.
    database, clock
        Where the leases are, and the time.
    """

    def __init__(self, materializing: Materializing, *, database: Database, clock: Clock) -> None:
        self._materializing = materializing
        self._database = database
        self._clock = clock
        self._holder = uuid.uuid4().hex
        self._failures: dict[str, tuple[int, float]] = {}
        self._forget_at = time.monotonic() + FORGET_INTERVAL_S

    def run(self, stop: threading.Event) -> None:
        """Look every second until the stop is set."""
        while not stop.wait(LOOK_INTERVAL_S):
            try:
                for view in self._due():
                    if stop.is_set():
                        return
                    self.refresh(view, stop)
                if time.monotonic() >= self._forget_at:
                    self._forget_at = time.monotonic() + FORGET_INTERVAL_S
                    self.forget()
            except Exception:  # noqa: BLE001  # whatever it is, views are looked for again
                _log.exception("looking for views that are due failed")

    def refresh(self, view: str, stop: threading.Event) -> bool:
        """Materialize a view as of now unless another gateway is at it; return whether that was done."""
        name = f"features.materialize.{view}"
        with self._database.write() as tx:
            lease = acquire(tx, name=name, holder=self._holder, duration_us=LEASE_US, now_us=database_now_us(tx))
        if lease is None:
            return False
        try:
            self._materializing.materialize([view], go_on=lambda: self._go_on(lease, stop))
        except _StoppedError:
            return False
        except Exception as error:  # noqa: BLE001  # it is told, and tried again
            attempts = self._failures.get(view, (0, 0.0))[0] + 1
            pause_s = min(RETRY_S_MIN * 2 ** min(attempts - 1, 16), RETRY_S_MAX)
            self._failures[view] = (attempts, time.monotonic() + pause_s)
            _log.warning("view %s was not refreshed, next try in %.0f s: %s", view, pause_s, error)
            return False
        finally:
            with self._database.write() as tx:
                release(tx, lease)
        self._failures.pop(view, None)
        return True

    def forget(self) -> bool:
        """Remove old values from the store unless another gateway is at it; return whether that was done."""
        with self._database.write() as tx:
            lease = acquire(
                tx, name="features.forget", holder=self._holder, duration_us=LEASE_US, now_us=database_now_us(tx)
            )
        if lease is None:
            return False
        try:
            removed = self._materializing.forget()
        finally:
            with self._database.write() as tx:
                release(tx, lease)
        if removed:
            _log.info("%d values that were too old to be served are gone from the online store", removed)
        return True

    def _due(self) -> list[str]:
        now_us = self._clock.now_us()
        return [
            state.view
            for state in self._materializing.states([])
            if state.due_us is not None
            and state.due_us <= now_us
            and self._failures.get(state.view, (0, 0.0))[1] <= time.monotonic()
        ]

    def _go_on(self, lease: Lease, stop: threading.Event) -> None:
        """Keep the lease, or raise when it is lost or the gateway stops."""
        if stop.is_set():
            raise _StoppedError("the gateway stops; the next run goes on from here")
        with self._database.write() as tx:
            renew(tx, lease, duration_us=LEASE_US, now_us=database_now_us(tx))
