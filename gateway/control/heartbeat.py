"""Says to those who share the database that this gateway is there, and how it fares."""

from __future__ import annotations

import functools
import logging
from typing import TYPE_CHECKING, Any

from gateway.control.traffic import Totals
from storage.errors import DomainError
from storage.presence import beat

if TYPE_CHECKING:
    import threading
    from collections.abc import Mapping

    from gateway.control.fleet import Fleet
    from storage.database import Database

INTERVAL_S = 5.0

_log = logging.getLogger(__name__)


class Heartbeat:
    """Beats until the gateway stops. A database that is away is told later: then this gateway is taken for dead.

    Parameters
    ----------
    database, fleet
        Where it is said, and whose state it is.
    name
        The gateway's name, for good.
    about
        What does not change: version, zone, addresses.
    """

    def __init__(self, *, database: Database, fleet: Fleet, name: str, about: Mapping[str, Any]) -> None:
        self._database = database
        self._fleet = fleet
        self._name = name
        self._about = dict(about)

    def run(self, stopped: threading.Event, *, interval_s: float = INTERVAL_S) -> None:
        """Beat at once and then now and then, until stopped, and once more to say so."""
        self._beat(first=True)
        while not stopped.wait(interval_s):
            self._beat()
        self._beat(stopped=True)

    def _beat(self, *, first: bool = False, stopped: bool = False) -> None:
        try:
            with self._database.write() as tx:
                beat(tx, self._name, self._about | self._state(), first=first, stopped=stopped)
        except (DomainError, OSError) as error:
            _log.warning("the database could not be told that this gateway is there: %s", error)
        except Exception:  # noqa: BLE001  (the thread must outlive whatever it is)
            _log.exception("the database could not be told that this gateway is there")

    def _state(self) -> dict[str, Any]:
        reports = self._fleet.reports()
        recent = [own for own in self._fleet.recent() if own is not None]
        totals = functools.reduce(Totals.plus, recent) if recent else None
        return {
            "workers": len(reports),
            "ready_workers": sum(report.ready for report in reports),
            "revision": self._fleet.lowest_revision(),
            "predictions_per_s": totals.predictions / totals.at if totals is not None and totals.at > 0 else 0.0,
            "versions": sorted(
                {f"models/{one.model}/versions/{one.version}" for each in reports for one in each.versions}
            ),
        }
