"""The client of the data port, for asyncio; ``turnout.client`` has the same for threads."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Self

from turnout.channel import ATTEMPTS_MAX
from turnout.lazy import names_of
from turnout.limits import BATCH_MAX, OUTCOMES_MAX, ROWS_MAX, WAIT_S
from turnout.link import AsyncLink, Setup

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Mapping, Sequence
    from types import TracebackType

    from numpy.typing import ArrayLike

    from turnout import errors
    from turnout.aio_outcome_buffer import AsyncOutcomeBuffer
    from turnout.batch import BatchPart, BatchPrediction, Numbers, Texts
    from turnout.outcome import Outcome, OutcomeResult
    from turnout.prediction import Ask, Prediction, ViewReading
    from turnout.security import Security
    from turnout.table import Columns, Table

__all__ = [
    "Ask",
    "AsyncClient",
    "AsyncOutcomeBuffer",
    "BatchPart",
    "BatchPrediction",
    "Columns",
    "Outcome",
    "OutcomeResult",
    "Prediction",
    "ViewReading",
]


_HOMES = {
    "Ask": "turnout.prediction",
    "AsyncOutcomeBuffer": "turnout.aio_outcome_buffer",
    "BatchPart": "turnout.batch",
    "BatchPrediction": "turnout.batch",
    "Columns": "turnout.table",
    "Outcome": "turnout.outcome",
    "OutcomeResult": "turnout.outcome",
    "Prediction": "turnout.prediction",
    "ViewReading": "turnout.prediction",
}

__getattr__ = names_of(__name__, _HOMES)


class AsyncClient:
    """Asks a gateway for predictions and records outcomes, from one event loop.

    A client is one connection (one to each of several addresses), made at the first call and kept: make one and share
    it between tasks. It is an asynchronous context manager; ``close`` ends it. Parameters, results, errors and what
    pickling and forking do are those of ``turnout.Client``.
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
        self._link = AsyncLink(setup)
        self._buffers: weakref.WeakSet[AsyncOutcomeBuffer] = weakref.WeakSet()

    async def predict(
        self,
        model: str,
        *,
        entities: Mapping[str, str] | None = None,
        unit_id: str | None = None,
        version: int | None = None,
        alias: str | None = None,
        inputs: Mapping[str, ArrayLike] | None = None,
        features: Mapping[str, float] | None = None,
        attributes: Mapping[str, str] | None = None,
        event_time_us: int | None = None,
        request_id: str | None = None,
        timeout_s: float | None = None,
        retry: bool = True,
    ) -> Prediction:
        """Return one prediction, or raise TurnoutError; see ``Client.predict`` for the parameters and the errors."""
        from turnout.prediction import Ask, read_prediction  # noqa: PLC0415  (loaded at the first call)

        ask = Ask(
            entities=entities,
            unit_id=unit_id,
            version=version,
            alias=alias,
            inputs=inputs,
            features=features,
            attributes=attributes,
            event_time_us=event_time_us,
            request_id=request_id,
        )
        request = ask.message(model)
        return read_prediction(
            await self._link.call(lambda stubs: stubs.predictions.Predict, request, timeout_s=timeout_s, retry=retry)
        )

    async def predict_batch(
        self,
        model: str,
        *,
        entities: Texts | None = None,
        unit_ids: Sequence[str | None] | None = None,
        version: int | None = None,
        alias: str | None = None,
        inputs: Mapping[str, ArrayLike] | None = None,
        features: Numbers | None = None,
        attributes: Texts | None = None,
        event_times_us: Sequence[int | None] | None = None,
        request_ids: Sequence[str] | None = None,
        timeout_s: float | None = None,
        retry: bool = True,
    ) -> BatchPrediction:
        """Return the predictions of many rows of one model, or raise TurnoutError; see ``Client.predict_batch``."""
        from turnout.batch import BatchAsk, read_batch  # noqa: PLC0415  (loaded at the first call)

        ask = BatchAsk(
            entities=entities,
            unit_ids=unit_ids,
            version=version,
            alias=alias,
            inputs=inputs,
            features=features,
            attributes=attributes,
            event_times_us=event_times_us,
            request_ids=request_ids,
        )
        request = ask.message(model)
        response = await self._link.call(
            lambda stubs: stubs.predictions.BatchPredict, request, timeout_s=timeout_s, retry=retry
        )
        return read_batch(model, response)

    async def predict_table(
        self,
        model: str,
        table: Table,
        columns: Columns,
        *,
        version: int | None = None,
        alias: str | None = None,
        rows_max: int = ROWS_MAX,
        timeout_s: float | None = None,
        retry: bool = True,
    ) -> BatchPrediction:
        """Return the predictions of a table's rows, or raise TurnoutError; see ``Client.predict_table``."""
        from turnout.batch import joined  # noqa: PLC0415  (loaded at the first call)
        from turnout.table import pieces  # noqa: PLC0415  (loaded at the first call)

        asked = [ask.message(model) for ask in pieces(table, columns, version=version, alias=alias, rows_max=rows_max)]
        return joined(
            model,
            [
                await self._link.call(
                    lambda stubs: stubs.predictions.BatchPredict, one, timeout_s=timeout_s, retry=retry
                )
                for one in asked
            ],
        )

    def predict_stream(
        self,
        model: str,
        asks: AsyncIterable[Ask] | Iterable[Ask],
        *,
        timeout_s: float | None = None,
        retry: bool = True,
    ) -> AsyncIterator[Prediction | errors.TurnoutError]:
        """Give the answers to a stream of calls, in their order; see ``Client.predict_stream``."""
        from turnout.prediction import read_answer  # noqa: PLC0415  (loaded at the first call)
        from turnout.streams import AsyncFeed, follow_async  # noqa: PLC0415  (loaded at the first call)

        link = self._link
        return follow_async(
            lambda messages, left_s: link.stubs().predictions.StreamPredict(
                messages, timeout=left_s, metadata=link.metadata()
            ),
            AsyncFeed(asks, lambda ask: ask.streamed(model)),
            read_answer,
            timeout_s=timeout_s,
            attempts_max=link.setup.attempts_max if retry else 1,
        )

    async def record_outcome(
        self,
        name: str,
        value: float = 0.0,
        *,
        request_id: str = "",
        unit_id: str = "",
        outcome_id: str = "",
        event_time_us: int | None = None,
        model: str = "",
        label: str = "",
        sequence: int = 0,
        timeout_s: float | None = None,
        retry: bool = True,
    ) -> None:
        """Record one outcome, or raise TurnoutError; see ``Client.record_outcome``."""
        from turnout.outcome import Outcome  # noqa: PLC0415  (loaded at the first call)

        outcome = Outcome(name, value, request_id, unit_id, outcome_id, event_time_us, model, label, sequence)
        for result in await self.record_outcomes([outcome], timeout_s=timeout_s, retry=retry):
            result.check()

    async def record_outcomes(
        self, outcomes: Iterable[Outcome], *, timeout_s: float | None = None, retry: bool = True
    ) -> list[OutcomeResult]:
        """Return what became of each outcome of a batch, in order; see ``Client.record_outcomes``."""
        from turnout.outcome import outcomes_request, read_results  # noqa: PLC0415  (loaded at the first call)

        request = outcomes_request(outcomes)
        response = await self._link.call(
            lambda stubs: stubs.outcomes.RecordOutcomes, request, timeout_s=timeout_s, retry=retry
        )
        return read_results(response)

    def record_outcomes_stream(
        self,
        batches: AsyncIterable[Iterable[Outcome]] | Iterable[Iterable[Outcome]],
        *,
        timeout_s: float | None = None,
        retry: bool = True,
    ) -> AsyncIterator[list[OutcomeResult]]:
        """Give what became of each batch of outcomes, in order; see ``Client.record_outcomes_stream``."""
        from turnout.outcome import outcomes_message, read_results  # noqa: PLC0415  (loaded at the first call)
        from turnout.streams import AsyncFeed, follow_async  # noqa: PLC0415  (loaded at the first call)

        link = self._link
        return follow_async(
            lambda messages, left_s: link.stubs().outcomes.StreamOutcomes(
                messages, timeout=left_s, metadata=link.metadata()
            ),
            AsyncFeed(batches, outcomes_message),
            read_results,
            timeout_s=timeout_s,
            attempts_max=link.setup.attempts_max if retry else 1,
        )

    def outcome_buffer(
        self,
        *,
        batch_max: int = BATCH_MAX,
        wait_s: float = WAIT_S,
        outcomes_max: int = OUTCOMES_MAX,
        on_refused: Callable[[Outcome, OutcomeResult], None] | None = None,
    ) -> AsyncOutcomeBuffer:
        """Return a buffer that records outcomes in batches; see ``Client.outcome_buffer``."""
        from turnout.aio_outcome_buffer import AsyncOutcomeBuffer  # noqa: PLC0415  (loaded at the first call)

        self._link.guard.check()
        buffer = AsyncOutcomeBuffer(
            self.record_outcomes, batch_max=batch_max, wait_s=wait_s, outcomes_max=outcomes_max, on_refused=on_refused
        )
        self._buffers.add(buffer)
        return buffer

    async def close(self) -> None:
        """Empty the buffers of outcomes and end the connection; calls in flight fail. It raises as ``Client.close``."""
        try:
            for buffer in list(self._buffers):
                await buffer.close()
        finally:
            await self._link.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def __reduce__(self) -> tuple[Callable[[Setup], AsyncClient], tuple[Setup]]:
        return _made_of, (self._link.setup,)


def _made_of(setup: Setup) -> AsyncClient:
    return AsyncClient(
        setup.address, timeout_s=setup.timeout_s, attempts_max=setup.attempts_max, security=setup.security
    )
