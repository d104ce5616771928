"""The departures to be replayed, in the order of their scheduled times."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import duckdb

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_SELECT = """
SELECT flight_id, epoch_us(scheduled_time), epoch_us(landed_time), late,
       carrier, route, tailnum, origin, weekday, hour, distance
FROM read_parquet(?)
WHERE epoch_us(scheduled_time) >= ? AND epoch_us(scheduled_time) < ? AND hash(flight_id) % ? = 0
ORDER BY scheduled_time, flight_id
"""


@dataclass(frozen=True, slots=True)
class Departure:
    """One flight as it is known at its scheduled departure, and what becomes of it.

    Attributes
    ----------
    flight_id
        The unit.
    scheduled_us
        The scheduled departure, in microseconds since the Unix epoch: the moment of the prediction.
    landed_us, late
        When it landed and whether that was more than 15 minutes late; None when it was cancelled or diverted.
    entities, features
        What the prediction is asked with.
    """

    flight_id: str
    scheduled_us: int
    landed_us: int | None
    late: float | None
    entities: dict[str, str]
    features: dict[str, float]


def read_departures(sources: Path, *, start_us: int, end_us: int, every: int = 1) -> list[Departure]:
    """Return the departures from the one moment to before the other, or one in so many of them."""
    with duckdb.connect(config={"threads": 1}) as connection:
        rows = connection.execute(_SELECT, [str(sources / "flights.parquet"), start_us, end_us, every]).fetchall()
    return [
        Departure(
            flight_id=flight_id,
            scheduled_us=scheduled_us,
            landed_us=landed_us,
            late=late,
            entities={"carrier": carrier, "route": route, "tailnum": tailnum, "origin": origin},
            features={"weekday": weekday, "hour": hour, "distance": distance},
        )
        for flight_id, scheduled_us, landed_us, late, carrier, route, tailnum, origin, weekday, hour, distance in rows
    ]


def by_interval(departures: list[Departure], *, interval_us: int) -> Iterator[tuple[int, list[Departure]]]:
    """Yield the beginning of each interval that has departures, a multiple of its length, and the departures."""
    begin, some = 0, list[Departure]()
    for departure in departures:
        its_begin = departure.scheduled_us // interval_us * interval_us
        if some and its_begin != begin:
            yield begin, some
            some = []
        begin = its_begin
        some.append(departure)
    if some:
        yield begin, some
