"""What happens to the metadata by itself when its time has come."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from sqlalchemy import select

from registry import tables
from registry.aliases import remove_expired
from storage.errors import UnavailableError
from storage.leases import shared_now_us

if TYPE_CHECKING:
    import threading

    from storage.clock import Clock
    from storage.database import Database

INTERVAL_S = 1.0

_log = logging.getLogger(__name__)


class Housekeeper:
    """Removes aliases whose time is over, by the database's time: a machine whose clock is wrong ends none too early.

    Any number may run on one database: each looks first, and what one of them removes inside its writing transaction
    the others no longer find.
    """

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def run(self, stopped: threading.Event, *, interval_s: float = INTERVAL_S) -> None:
        """Look until stopped; a database that is away is looked at again later."""
        while not stopped.wait(interval_s):
            try:
                self.look()
            except UnavailableError as error:
                _log.warning("the metadata cannot be kept in order now: %s", error.message)
            except Exception:  # noqa: BLE001  (the thread must outlive whatever it is)
                _log.exception("the metadata could not be kept in order; trying again")

    def look(self) -> int:
        """Do what is due and return how much was done."""
        aliases = tables.aliases.c
        with self._database.read() as tx:
            now_us = shared_now_us(tx, self._clock)
            due = select(aliases.alias).where(aliases.expires_us > 0, aliases.expires_us <= now_us)
            if tx.execute(due.limit(1)).first() is None:
                return 0
        with self._database.write() as tx:
            return len(remove_expired(tx, now_us=now_us))
