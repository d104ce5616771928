"""The landings: what becomes of the flights that were predicted, recorded when it becomes known."""

from __future__ import annotations

import heapq
import time
from typing import TYPE_CHECKING

from trainer.demo.sender import MODEL
from turnout.errors import UnavailableError
from turnout.outcome import Outcome

if TYPE_CHECKING:
    from trainer.demo.departures import Departure
    from turnout.client import Client

OUTCOME = "late"
_BATCH_MAX = 1_000
_TRIES_MAX = 5
_PAUSE_S = 0.5


class Landings:
    """Flights in the air, by the time of their landing.

    Parameters
    ----------
    client
        Records the outcomes.
    """

    def __init__(self, client: Client) -> None:
        self.acknowledged = 0
        self.refused = 0
        self._client = client
        self._air: list[tuple[int, int, Outcome]] = []
        self._count = 0

    @property
    def last_us(self) -> int:
        """Return the latest landing that is awaited; 0 when there is none."""
        return max((landed_us for landed_us, _, _ in self._air), default=0)

    def expect(self, departure: Departure, request_id: str) -> None:
        """Await the landing of a flight that was predicted; one that was cancelled or diverted has none.

        Every other outcome names the prediction, the rest the unit: both ways are open to a client.
        """
        if departure.landed_us is None or departure.late is None:
            return
        self._count += 1
        by_unit = self._count % 2 == 0
        outcome = Outcome(
            OUTCOME,
            departure.late,
            request_id="" if by_unit else request_id,
            unit_id=departure.flight_id if by_unit else "",
            outcome_id="arrival" if by_unit else "",
            event_time_us=departure.landed_us,
            model=MODEL if by_unit else "",
        )
        heapq.heappush(self._air, (departure.landed_us, self._count, outcome))

    def record(self, now_us: int) -> None:
        """Record the outcomes of all flights that have landed by now, or raise TurnoutError."""
        batch: list[Outcome] = []
        while self._air and self._air[0][0] <= now_us:
            batch.append(heapq.heappop(self._air)[2])
            if len(batch) == _BATCH_MAX:
                self._send(batch)
                batch = []
        if batch:
            self._send(batch)

    def _send(self, batch: list[Outcome]) -> None:
        """Record a batch; what cannot be written now is sent again, which is harmless."""
        for attempt in range(_TRIES_MAX):
            try:
                results = self._client.record_outcomes(batch)
            except UnavailableError:
                if attempt + 1 == _TRIES_MAX:
                    raise
                time.sleep(_PAUSE_S)
                continue
            self.acknowledged += sum(result.recorded for result in results)
            self.refused += sum(result.status == "INVALID" for result in results)
            batch = [outcome for outcome, result in zip(batch, results, strict=True) if result.status == "UNAVAILABLE"]
            if not batch:
                return
            time.sleep(_PAUSE_S)
        self.refused += len(batch)
