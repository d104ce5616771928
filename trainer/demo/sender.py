"""The senders: threads that ask for predictions at an even pace, and what each of them saw."""

from __future__ import annotations

import queue
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

import pyarrow as pa

from turnout.client import Client
from turnout.errors import TurnoutError
from turnout.ids import new_request_id

if TYPE_CHECKING:
    from types import TracebackType

    from trainer.demo.departures import Departure

MODEL = "flight-delay"
_SENDERS = 8
_FAILURES_KEPT_MAX = 20

SAMPLES = pa.schema(
    [
        ("sent_s", pa.float64()),
        ("latency_ms", pa.float64()),
        ("event_us", pa.int64()),
        ("version", pa.int32()),
        ("variant", pa.string()),
        ("ok", pa.bool_()),
    ]
)
"""One row a request: when it was sent (Unix seconds), how long its caller waited, what answered."""


@dataclass(slots=True)
class Seen:
    """What the senders saw; shared by them, under its lock."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    rows: list[tuple[float, float, int, int, str, bool]] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    failed: int = 0

    def add(self, row: tuple[float, float, int, int, str, bool], failure: str = "") -> None:
        """Keep what one request saw."""
        with self.lock:
            self.rows.append(row)
            if failure:
                self.failed += 1
                if len(self.failures) < _FAILURES_KEPT_MAX:
                    self.failures.append(failure)

    def table(self) -> pa.Table:
        """Return what was seen, a row a request, by the time of sending."""
        with self.lock:
            rows = sorted(self.rows)
        return pa.Table.from_pylist([dict(zip(SAMPLES.names, row, strict=True)) for row in rows], schema=SAMPLES)


class Senders:
    """Threads, each with a connection of its own, so that the connections spread over the gateway's workers.

    Parameters
    ----------
    address
        The data port.
    rate_per_s
        The pace. A request that is late is sent at once; the ones behind it do not wait for its lateness.
    """

    def __init__(self, address: str, *, rate_per_s: float) -> None:
        self.seen = Seen()
        self._gap_s = 1.0 / rate_per_s
        self._next_s = time.monotonic()
        self._waiting: queue.Queue[tuple[Departure, str] | None] = queue.Queue(maxsize=_SENDERS)
        self._threads = [threading.Thread(target=self._send, args=(address,)) for _ in range(_SENDERS)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for _ in self._threads:
            self._waiting.put(None)
        for thread in self._threads:
            thread.join()

    def pace(self, rate_per_s: float) -> None:
        """Ask at another pace from now on."""
        self._gap_s = 1.0 / rate_per_s

    def ask(self, departure: Departure) -> str:
        """Wait for the pace, hand the request to a sender and return its request id."""
        now_s = time.monotonic()
        if self._next_s > now_s:
            time.sleep(self._next_s - now_s)
        # After a pause the pace begins anew: what was not sent then is not sent in a burst now.
        self._next_s = max(self._next_s, now_s - self._gap_s) + self._gap_s
        request_id = new_request_id()
        self._waiting.put((departure, request_id))
        return request_id

    def settle(self) -> None:
        """Wait until every request that was handed over is answered."""
        self._waiting.join()

    def _send(self, address: str) -> None:
        """Ask for predictions until there are no more."""
        with Client(address) as client:
            while (work := self._waiting.get()) is not None:
                try:
                    self._ask_one(client, *work)
                finally:
                    self._waiting.task_done()
            self._waiting.task_done()

    def _ask_one(self, client: Client, departure: Departure, request_id: str) -> None:
        sent_s, begin = time.time(), time.perf_counter()
        version, variant, failure = 0, "", ""
        try:
            prediction = client.predict(
                MODEL,
                entities=departure.entities,
                unit_id=departure.flight_id,
                features=departure.features,
                event_time_us=departure.scheduled_us,
                request_id=request_id,
            )
            version, variant = prediction.version, prediction.variant
        except TurnoutError as error:
            failure = f"{departure.flight_id}: {error}"
        latency_ms = (time.perf_counter() - begin) * 1000
        self.seen.add((sent_s, latency_ms, departure.scheduled_us, version, variant, not failure), failure)
