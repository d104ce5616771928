"""What a load is: which calls, how they arrive, and for how long; one document for all of its processes."""

from __future__ import annotations

import json
import struct
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

PREDICT = "/turnout.serving.v1.PredictionService/Predict"
IN_FLIGHT_MAX = 10_000
CONNECTIONS_MAX = 10_000
_LENGTH = struct.Struct("<I")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A load.

    Attributes
    ----------
    address
        The data port, as a client takes it.
    bodies
        The file of the requests, which are sent in turn.
    rate_per_s, poisson, seed
        Open loop: so many calls a second are due whatever becomes of them, evenly or with gaps drawn by chance.
    concurrency
        Closed loop: so many callers, each of whom asks again once it is answered. One of this and the rate is given.
    seconds, warm_up_s
        For how long calls are counted, and for how long they are made before without being counted.
    processes, connections
        Of all together.
    timeout_s
        The deadline of a call, from when it is sent.
    in_flight_max
        How many calls of an open loop wait for answers at once in each process; one more is sent late, and counted
        from when it was due.
    spans
        Whether each call's begin and latency are kept, beside the histograms.
    method
        The method's full path.
    """

    address: str
    bodies: str
    rate_per_s: float = 0.0
    poisson: bool = False
    seed: int = 0
    concurrency: int = 0
    seconds: float = 10.0
    warm_up_s: float = 0.0
    processes: int = 1
    connections: int = 1
    timeout_s: float = 10.0
    in_flight_max: int = IN_FLIGHT_MAX
    spans: bool = False
    method: str = PREDICT

    def __post_init__(self) -> None:
        if (self.rate_per_s > 0) == (self.concurrency > 0):
            raise ValueError("a load has a rate or a concurrency, one of the two")
        if not 1 <= self.processes <= self.connections <= CONNECTIONS_MAX:
            raise ValueError(f"a load has 1 to {CONNECTIONS_MAX} connections, and one for each process at least")
        if self.concurrency and self.concurrency < self.processes:
            raise ValueError("each process has one caller at least: fewer processes, or a higher concurrency")
        if min(self.seconds, self.timeout_s, self.in_flight_max) <= 0 or self.warm_up_s < 0:
            raise ValueError("times and bounds are greater than zero")

    def text(self) -> str:
        """Return the plan as JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def of_text(cls, text: str) -> Self:
        """Return the plan that `text` told."""
        return cls(**json.loads(text))


def share(whole: int, *, of: int, place: int) -> int:
    """Return how many of a whole one of several processes has."""
    return whole // of + (place < whole % of)


def write_bodies(path: Path, bodies: Iterable[bytes]) -> None:
    """Write requests, each after its length."""
    with path.open("wb") as file:
        for body in bodies:
            file.write(_LENGTH.pack(len(body)) + body)


def read_bodies(path: Path) -> list[bytes]:
    """Return the requests of a file."""
    whole, at, bodies = path.read_bytes(), 0, []
    while at < len(whole):
        (length,) = _LENGTH.unpack_from(whole, at)
        at += _LENGTH.size + length
        bodies.append(whole[at - length : at])
    return bodies
