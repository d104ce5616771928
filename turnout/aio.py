"""The client of the data port, for asyncio; ``turnout.client`` has the same for threads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import grpc

from turnout import channel as _channel
from turnout import errors
from turnout.batch import BatchAsk, BatchPart, BatchPrediction, read_batch
from turnout.outcome import Outcome, OutcomeResult, outcomes_message, outcomes_request, read_results
from turnout.outcomes.v1 import outcome_service_pb2_grpc
from turnout.prediction import Ask, Prediction, ViewReading, read_answer, read_prediction
from turnout.security import Security
from turnout.serving.v1 import prediction_service_pb2_grpc
from turnout.streams import AsyncFeed, follow_async
from turnout.trace import CallMetadata

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator, Iterable, Mapping, Sequence
    from types import TracebackType

    from numpy.typing import ArrayLike

    from turnout.batch import Numbers, Texts

__all__ = [
    "Ask",
    "AsyncClient",
    "BatchPart",
    "BatchPrediction",
    "Outcome",
    "OutcomeResult",
    "Prediction",
    "ViewReading",
]


class AsyncClient:
    """Asks a gateway for predictions and records outcomes, from one event loop.

    A client is one connection (one to each of several addresses), made at the first call and kept: make one and share
    it between tasks. It is an asynchronous context manager; ``close`` ends it. Parameters, results and errors are those
    of ``turnout.Client``.
    """

    def __init__(
        self,
        address: str | Sequence[str] = "127.0.0.1:8001",
        *,
        timeout_s: float = 10.0,
        attempts_max: int = _channel.ATTEMPTS_MAX,
        security: Security | None = None,
    ) -> None:
        self._timeout_s = timeout_s
        self._attempts_max = attempts_max
        self._guard = _channel.ForkGuard()
        security = Security.from_environment() if security is None else security
        target = _channel.target_of(address)
        self._said = CallMetadata(security.metadata(target))
        self._target, self._security = target, security
        self._options = _channel.options_of([{}], attempts_max=attempts_max)
        self._channel: grpc.aio.Channel | None = None

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
    ) -> Prediction:
        """Return one prediction, or raise TurnoutError; see ``Client.predict`` for the parameters and the errors."""
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
        self._open()
        try:
            response = await self._predictions.Predict(
                ask.message(model), timeout=timeout_s or self._timeout_s, metadata=self._said.metadata()
            )
        except grpc.RpcError as error:
            raise errors.from_rpc(error) from error
        return read_prediction(response)

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
    ) -> BatchPrediction:
        """Return the predictions of many rows of one model, or raise TurnoutError; see ``Client.predict_batch``."""
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
        self._open()
        try:
            response = await self._predictions.BatchPredict(
                ask.message(model), timeout=timeout_s or self._timeout_s, metadata=self._said.metadata()
            )
        except grpc.RpcError as error:
            raise errors.from_rpc(error) from error
        return read_batch(model, response)

    def predict_stream(
        self, model: str, asks: AsyncIterable[Ask] | Iterable[Ask], *, timeout_s: float | None = None
    ) -> AsyncIterator[Prediction | errors.TurnoutError]:
        """Give the answers to a stream of calls, in their order; see ``Client.predict_stream``."""
        self._open()
        return follow_async(
            lambda messages, left_s: self._predictions.StreamPredict(
                messages, timeout=left_s, metadata=self._said.metadata()
            ),
            AsyncFeed(asks, lambda ask: ask.streamed(model)),
            read_answer,
            timeout_s=timeout_s,
            attempts_max=self._attempts_max,
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
    ) -> None:
        """Record one outcome, or raise TurnoutError; see ``Client.record_outcome``."""
        outcome = Outcome(name, value, request_id, unit_id, outcome_id, event_time_us, model, label, sequence)
        for result in await self.record_outcomes([outcome], timeout_s=timeout_s):
            result.check()

    async def record_outcomes(
        self, outcomes: Iterable[Outcome], *, timeout_s: float | None = None
    ) -> list[OutcomeResult]:
        """Return what became of each outcome of a batch, in order; see ``Client.record_outcomes``."""
        request = outcomes_request(outcomes)
        self._open()
        try:
            response = await self._outcomes.RecordOutcomes(
                request, timeout=timeout_s or self._timeout_s, metadata=self._said.metadata()
            )
        except grpc.RpcError as error:
            raise errors.from_rpc(error) from error
        return read_results(response)

    def record_outcomes_stream(
        self,
        batches: AsyncIterable[Iterable[Outcome]] | Iterable[Iterable[Outcome]],
        *,
        timeout_s: float | None = None,
    ) -> AsyncIterator[list[OutcomeResult]]:
        """Give what became of each batch of outcomes, in order; see ``Client.record_outcomes_stream``."""
        self._open()
        return follow_async(
            lambda messages, left_s: self._outcomes.StreamOutcomes(
                messages, timeout=left_s, metadata=self._said.metadata()
            ),
            AsyncFeed(batches, outcomes_message),
            read_results,
            timeout_s=timeout_s,
            attempts_max=self._attempts_max,
        )

    async def close(self) -> None:
        """End the connection; calls in flight fail."""
        if self._channel is not None:
            await self._channel.close(None)

    def _open(self) -> None:
        """Make the channel at the first call, since it belongs to the event loop that runs then."""
        self._guard.check()
        if self._channel is not None:
            return
        self._channel = _channel.open_aio_channel(self._target, self._options, self._security)
        self._predictions = prediction_service_pb2_grpc.PredictionServiceStub(self._channel)
        self._outcomes = outcome_service_pb2_grpc.OutcomeServiceStub(self._channel)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
