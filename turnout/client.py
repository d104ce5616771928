"""The client of the data port, for threads; ``turnout.aio`` has the same for asyncio."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Self

from turnout.channel import ATTEMPTS_MAX
from turnout.lazy import names_of
from turnout.link import Link, Setup
from turnout.predicting import Predicting
from turnout.recording import Recording

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

    from turnout.batch import BatchPart, BatchPrediction
    from turnout.outcome import Outcome, OutcomeResult
    from turnout.outcome_buffer import OutcomeBuffer
    from turnout.prediction import Ask, Prediction, ViewReading
    from turnout.security import Security
    from turnout.table import Columns

__all__ = [
    "Ask",
    "BatchPart",
    "BatchPrediction",
    "Client",
    "Columns",
    "Outcome",
    "OutcomeBuffer",
    "OutcomeResult",
    "Prediction",
    "ViewReading",
]


_HOMES = {
    "Ask": "turnout.prediction",
    "OutcomeBuffer": "turnout.outcome_buffer",
    "BatchPart": "turnout.batch",
    "BatchPrediction": "turnout.batch",
    "Columns": "turnout.table",
    "Outcome": "turnout.outcome",
    "OutcomeResult": "turnout.outcome",
    "Prediction": "turnout.prediction",
    "ViewReading": "turnout.prediction",
}

__getattr__ = names_of(__name__, _HOMES)


class Client(Predicting, Recording):
    """Asks a gateway for predictions and records outcomes.

    A client is one connection (one to each of several addresses), made at the first call and kept: make one and share
    it between threads. It is a context manager; ``close`` ends it. Where OpenTelemetry's API is installed,
    a call carries the current span's context.

    A client may be pickled: what travels is how it was made, its token included where it was given one, and a new
    connection is made where it arrives. In a forked child it raises ForkedClientError: make one there.

    Parameters
    ----------
    address
        The data port, ``host:port``; or several, ``IP:port`` each, which take calls in turn. Empty: the one in
        TURNOUT_DATA_SERVER, else 127.0.0.1:8001.
    timeout_s
        The deadline of a call that names none of its own, in seconds; retries are within it.
    attempts_max
        How many tries a call gets while the answer is UNAVAILABLE, the first included; 1 turns retries off.
    security
        What is shown to the gateway and whom to trust; None: what the environment says, see ``Security``.

    Raises
    ------
    ValueError
        The addresses cannot be used together, or a token would travel to another machine in clear.

    Examples
    --------
    >>> from turnout import Client
    >>> client = Client("127.0.0.1:8001")
    >>> client.close()
    """

    def __init__(
        self,
        address: str | Sequence[str] = "",
        *,
        timeout_s: float = 10.0,
        attempts_max: int = ATTEMPTS_MAX,
        security: Security | None = None,
    ) -> None:
        setup = Setup(address=address, timeout_s=timeout_s, attempts_max=attempts_max, security=security)
        self._link = Link(setup)
        self._buffers = weakref.WeakSet()

    def close(self) -> None:
        """Empty the buffers of outcomes and end the connection; calls in flight fail.

        Raises
        ------
        OutcomesUnsentError, OutcomesRefusedError
            As ``OutcomeBuffer.close`` does; the connection is ended all the same.
        """
        try:
            for buffer in list(self._buffers):
                buffer.close()
        finally:
            self._link.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __reduce__(self) -> tuple[Callable[[Setup], Client], tuple[Setup]]:
        return _made_of, (self._link.setup,)


def _made_of(setup: Setup) -> Client:
    return Client(setup.address, timeout_s=setup.timeout_s, attempts_max=setup.attempts_max, security=setup.security)
