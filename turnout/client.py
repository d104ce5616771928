"""The client of the data port, for threads; ``turnout.aio`` has the same for asyncio."""

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
from turnout.streams import Feed, follow
from turnout.trace import CallMetadata

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from types import TracebackType

    from numpy.typing import ArrayLike

    from turnout.batch import Numbers, Texts

__all__ = ["Ask", "BatchPart", "BatchPrediction", "Client", "Outcome", "OutcomeResult", "Prediction", "ViewReading"]


class Client:
    """Asks a gateway for predictions and records outcomes.

    A client is one connection (one to each of several addresses), made at the first call and kept: make one and share
    it between threads. It is a context manager; ``close`` ends it. Where OpenTelemetry's API is installed,
    a call carries the current span's context.

    Parameters
    ----------
    address
        The data port, ``host:port``; or several, ``IP:port`` each, which take calls in turn.
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
        options = _channel.options_of([{}], attempts_max=attempts_max)
        self._channel = _channel.open_channel(target, options, security)
        self._predictions = prediction_service_pb2_grpc.PredictionServiceStub(self._channel)
        self._outcomes = outcome_service_pb2_grpc.OutcomeServiceStub(self._channel)

    def predict(
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
        """Return one prediction, or raise TurnoutError.

        Parameters
        ----------
        model
            The model's name.
        entities
            What stored features are looked up for: join key to value, for example ``{"carrier": "UA"}``.
        unit_id
            What is assigned and observed. None with exactly one entity: that entity's value. None otherwise: the call
            is in no experiment.
        version, alias
            A pin: this version answers, and the call is in no experiment. At most one of the two.
        inputs
            The model's inputs by name, each of the dtype and shape that its signature says.
        features
            Features given by the caller, by name; each wins over the stored value.
        attributes
            Facts about the request that targeting and reports may use.
        event_time_us
            When the event that is predicted on happened, in microseconds since the Unix epoch; None means now.
        request_id
            The identity of the prediction. None makes one (a time-ordered UUID) before the first try, so that a retry
            is the same prediction.
        timeout_s
            The deadline of this call, in seconds.

        Raises
        ------
        errors.InvalidError
            An input is not what the version's signature says, or a needed feature is not given.
        errors.MissingError
            The model or the pinned version is not served.
        errors.ExhaustedError
            More calls are in flight than the gateway takes.
        errors.ExpiredError
            The deadline passed.
        errors.UnreachableError
            No gateway answered within the tries.
        ValueError
            A version and an alias are given, or a value cannot be sent as a tensor.
        """
        self._guard.check()
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
        try:
            response = self._predictions.Predict(
                ask.message(model), timeout=timeout_s or self._timeout_s, metadata=self._said.metadata()
            )
        except grpc.RpcError as error:
            raise errors.from_rpc(error) from error
        return read_prediction(response)

    def predict_batch(
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
        """Return the predictions of many rows of one model, asked in one call; or raise TurnoutError.

        Each row is a prediction of its own, with its own assignment; one that is refused stands as a TurnoutError in
        its place and leaves the others alone. Every argument in the plural is a column with one value for each row; a
        None in it means what leaving the argument out means in ``predict``.

        Parameters
        ----------
        model
            The model's name.
        entities, attributes
            Columns of text by name.
        unit_ids, event_times_us
            A column each.
        version, alias
            A pin for all rows. At most one of the two.
        inputs
            The model's inputs by name, each with the rows along its first axis.
        features
            Columns of numbers by name.
        request_ids
            The identities of the predictions. None makes one for each row before the first try.
        timeout_s
            The deadline of this call, in seconds.

        Raises
        ------
        errors.InvalidError
            The columns make no table, or there are more rows than the gateway takes.
        errors.TurnoutError
            The call failed as a whole, as a call of ``predict`` may.
        ValueError
            A version and an alias are given, there is no column, or a value cannot be sent.
        """
        self._guard.check()
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
        try:
            response = self._predictions.BatchPredict(
                ask.message(model), timeout=timeout_s or self._timeout_s, metadata=self._said.metadata()
            )
        except grpc.RpcError as error:
            raise errors.from_rpc(error) from error
        return read_batch(model, response)

    def predict_stream(
        self, model: str, asks: Iterable[Ask], *, timeout_s: float | None = None
    ) -> Iterator[Prediction | errors.TurnoutError]:
        """Give the answers to a stream of calls, in their order; raise TurnoutError when the stream failed for good.

        A call that is refused stands as a TurnoutError in its place, and the stream goes on. When a worker goes away,
        the stream is opened anew and goes on with what was not answered; each call names its prediction, so a second
        try is the same one. Calls are taken from ``asks`` by another thread, only as fast as the gateway takes them.

        Parameters
        ----------
        model
            The model's name.
        asks
            What is asked, one after another.
        timeout_s
            The deadline of the whole stream, in seconds; None for none.
        """
        self._guard.check()
        return follow(
            lambda messages, left_s: self._predictions.StreamPredict(
                messages, timeout=left_s, metadata=self._said.metadata()
            ),
            Feed(asks, lambda ask: ask.streamed(model)),
            read_answer,
            timeout_s=timeout_s,
            attempts_max=self._attempts_max,
        )

    def record_outcome(
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
        """Record one outcome, or raise TurnoutError: once this returns, it survives the death of every process.

        The parameters are the fields of ``Outcome``.

        Raises
        ------
        errors.InvalidError
            The outcome is malformed.
        errors.UnavailableError
            The journal cannot be written now; recording again is harmless.
        ValueError
            Not exactly one of ``request_id`` and ``unit_id`` is given.
        """
        outcome = Outcome(name, value, request_id, unit_id, outcome_id, event_time_us, model, label, sequence)
        for result in self.record_outcomes([outcome], timeout_s=timeout_s):
            result.check()

    def record_outcomes(self, outcomes: Iterable[Outcome], *, timeout_s: float | None = None) -> list[OutcomeResult]:
        """Return what became of each outcome of a batch, in order; raise TurnoutError only when the call itself failed.

        Parameters
        ----------
        outcomes
            At most 10 000. One that is refused does not keep the others from being recorded.
        timeout_s
            The deadline of this call, in seconds.

        Raises
        ------
        errors.TurnoutError
            The call failed; what was recorded is not known, and recording all of it again is harmless.
        ValueError
            An outcome names not exactly one of request id and unit.
        """
        self._guard.check()
        request = outcomes_request(outcomes)
        try:
            response = self._outcomes.RecordOutcomes(
                request, timeout=timeout_s or self._timeout_s, metadata=self._said.metadata()
            )
        except grpc.RpcError as error:
            raise errors.from_rpc(error) from error
        return read_results(response)

    def record_outcomes_stream(
        self, batches: Iterable[Iterable[Outcome]], *, timeout_s: float | None = None
    ) -> Iterator[list[OutcomeResult]]:
        """Give what became of each batch of outcomes, in order; raise TurnoutError when the stream failed for good.

        Each batch is one message. When a worker goes away, the stream is opened anew and goes on with what was not
        acknowledged, as in ``predict_stream``.

        Parameters
        ----------
        batches
            At most 10 000 outcomes each.
        timeout_s
            The deadline of the whole stream, in seconds; None for none.
        """
        self._guard.check()
        return follow(
            lambda messages, left_s: self._outcomes.StreamOutcomes(
                messages, timeout=left_s, metadata=self._said.metadata()
            ),
            Feed(batches, outcomes_message),
            read_results,
            timeout_s=timeout_s,
            attempts_max=self._attempts_max,
        )

    def close(self) -> None:
        """End the connection; calls in flight fail."""
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
