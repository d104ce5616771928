"""The data plane's edge: waves of calls in, waves of answers out.

Every method that is answered in waves stands in one table, and so do the streams, whose messages are calls. The
predicting ones differ by their codec alone: whatever the protocol, a call becomes a request of the one pipeline, and an
answered request becomes that protocol's reply. A batch becomes many requests, which walk in waves of their own.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.errors import GatewayStaleError, OutcomeInvalidError, OverloadedError, WorkerDrainingError
from gateway.rpc import infer_codec, outcome_codec, prediction_codec, stream_codec
from gateway.rpc.batches import Batches
from gateway.rpc.named import model_named_by
from gateway.rpc.status import ending_of, fail, hidden, number_of
from gateway.telemetry.families import CODES
from storage.errors import DomainError

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from gateway.journal.record import Outcome
    from gateway.rpc.gate import Gate
    from gateway.serving.outcomes import OutcomeRecorder
    from gateway.serving.pipeline import Pipeline
    from gateway.serving.request import Request
    from gateway.serving.table import Target
    from gateway.telemetry.meter import Meter
    from gateway.telemetry.tracing import Watch
    from gateway.transport.port import Call
    from storage.clock import Clock

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Codec:
    """What one predicting method is on the wire.

    Attributes
    ----------
    decode
        Makes the request of a call that came at a time in microseconds, or raises a DomainError.
    encode
        Makes the reply of a request that was answered.
    refuse
        Answers a call with an error; a method whose protocol puts errors into its messages has its own.
    """

    decode: Callable[[Call, int], Request]
    encode: Callable[[Request], bytes]
    refuse: Callable[[Call, DomainError], None] = fail


PREDICT = "/turnout.serving.v1.PredictionService/Predict"
BATCH_PREDICT = "/turnout.serving.v1.PredictionService/BatchPredict"
STREAM_PREDICT = "/turnout.serving.v1.PredictionService/StreamPredict"
MODEL_INFER = "/inference.GRPCInferenceService/ModelInfer"
MODEL_STREAM_INFER = "/inference.GRPCInferenceService/ModelStreamInfer"
RECORD_OUTCOMES = "/turnout.outcomes.v1.OutcomeService/RecordOutcomes"
STREAM_OUTCOMES = "/turnout.outcomes.v1.OutcomeService/StreamOutcomes"

CODECS: dict[str, Codec] = {
    PREDICT: Codec(decode=prediction_codec.decode, encode=prediction_codec.encode),
    STREAM_PREDICT: Codec(decode=stream_codec.decode, encode=stream_codec.encode, refuse=stream_codec.refuse),
    MODEL_INFER: Codec(decode=infer_codec.decode, encode=infer_codec.encode),
    MODEL_STREAM_INFER: Codec(
        decode=infer_codec.decode, encode=infer_codec.encode_streamed, refuse=infer_codec.refuse_streamed
    ),
}
"""The methods that the pipeline answers."""

METHODS = (PREDICT, BATCH_PREDICT, MODEL_INFER, RECORD_OUTCOMES)
"""All methods that are answered in waves."""

STREAMS = (STREAM_PREDICT, MODEL_STREAM_INFER, STREAM_OUTCOMES)
"""All streams whose messages are; a call names its method by the place in both together."""

SERVICES = tuple(dict.fromkeys(path.split("/")[1] for path in METHODS))
"""The full names of their services."""

PATHS = (*METHODS, *STREAMS)
"""Both together."""

_CODEC_AT: tuple[Codec | None, ...] = tuple(CODECS.get(path) for path in PATHS)
_NAME_AT = tuple(path.rpartition("/")[2] for path in PATHS)
_BATCH_PREDICT_AT = METHODS.index(BATCH_PREDICT)
_STREAM_PREDICT_AT = PATHS.index(STREAM_PREDICT)
_RECORDING_AT = frozenset(map(PATHS.index, (RECORD_OUTCOMES, STREAM_OUTCOMES)))
_NAMING_AT = frozenset(PATHS.index(path) for path in (*CODECS, BATCH_PREDICT))


def heads_of(target: Target) -> tuple[bytes, bytes]:
    """Return the constant parts of a target's replies, one for each protocol."""
    return prediction_codec.head_of(target), infer_codec.head_of(target)


def _everybody(wave: list[Call], _: Callable[[Call, DomainError], None]) -> list[Call]:
    """Let all calls of a wave go on: nobody is asked for anything."""
    return wave


_STALE = GatewayStaleError("the metadata database was silent for longer than this gateway may answer without it")
_OVERLOADED = ending_of(OverloadedError("more calls than the bound are in flight; try again after a pause"))


class DataPlane:
    """Answers waves of calls.

    Attributes
    ----------
    stale
        Whether predictions are refused because what is known is too old; outcomes are taken all the same.
    """

    def __init__(
        self,
        *,
        pipeline: Pipeline,
        outcomes: OutcomeRecorder,
        clock: Clock,
        meter: Meter,
        batch_rows_max: int,
        gate: Gate | None = None,
    ) -> None:
        self._pipeline = pipeline
        self._outcomes = outcomes
        self._clock = clock
        self._meter = meter
        self._gated = self._admitted = _everybody if gate is None else gate.admitted
        self.stale = False
        self._counting = threading.Lock()
        self._answered = [meter.series("turnout_calls_total", (name, "OK")) for name in _NAME_AT]
        self._exhausted = [meter.series("turnout_calls_total", (name, "RESOURCE_EXHAUSTED")) for name in _NAME_AT]
        self._shed = meter.series("turnout_calls_shed_total", ("overload",))
        self._batches = Batches(
            pipeline=pipeline, clock=clock, rows_max=batch_rows_max, reply=self._reply, refuse=self._refuse
        )

    def answer(self, wave: list[Call], watch: Watch | None = None) -> None:
        """Answer every call of a wave; a watch is told when each step ends."""
        wave = self._admitted(wave, self._refuse)
        now_us = self._clock.now_us()
        requests: list[Request] = []
        recording: list[Call] = []
        for call in wave:
            codec = _CODEC_AT[call.method]
            if codec is None:
                if call.method == _BATCH_PREDICT_AT:
                    self._batches.offer(call)
                else:
                    recording.append(call)
                continue
            try:
                request = codec.decode(call, now_us)
            except DomainError as error:
                self._refuse(call, error, codec.refuse)
            except Exception:  # noqa: BLE001  (one call's surprise is not the wave's)
                _log.exception("a call of %s could not be read", PATHS[call.method])
                self._refuse(call, hidden(), codec.refuse)
            else:
                request.call = call
                request.method = _NAME_AT[call.method]
                request.arrived = call.arrived
                requests.append(request)
        if watch is not None:
            watch.mark("decode")
        if requests:
            self._predict(requests, watch)
        if recording:
            self._record(recording, now_us)

    def _predict(self, requests: list[Request], watch: Watch | None) -> None:
        """Walk the requests of a wave through the pipeline, which says which of them are to be answered."""
        self._pipeline.start(requests, self._answer, watch)

    def _answer(self, requests: Sequence[Request]) -> None:
        """Answer the calls of requests that the pipeline is done with."""
        replied: list[int] = []
        for request in requests:
            call = request.call
            codec = None if call is None else _CODEC_AT[call.method]
            if call is None or codec is None:
                continue
            if request.error is not None:
                self._refuse(call, request.error, codec.refuse)
                continue
            try:
                reply = codec.encode(request)
            except Exception:  # noqa: BLE001  (as above)
                _log.exception("a reply of %s could not be written", PATHS[call.method])
                self._refuse(call, hidden(), codec.refuse)
            else:
                call.reply(reply)
                replied.append(call.method)
        self._count_replies(replied)

    def _record(self, calls: list[Call], now_us: int) -> None:
        """Write the outcomes of a wave into the journal, all at once, and answer their calls."""
        taken: list[tuple[Call, list[Outcome]]] = []
        for call in calls:
            try:
                outcomes = self._outcomes_of(call, now_us)
            except DomainError as error:
                self._refuse(call, error)
            else:
                if outcomes is not None:
                    taken.append((call, outcomes))
        try:
            results = iter(self._outcomes.record([outcome for _, several in taken for outcome in several]))
            replies = [outcome_codec.encode([next(results) for _ in several]) for _, several in taken]
        except Exception:  # noqa: BLE001  (as above)
            _log.exception("recording outcomes failed")
            for call, _ in taken:
                self._refuse(call, hidden())
            return
        for (call, _), reply in zip(taken, replies, strict=True):
            self._reply(call, reply)

    def _outcomes_of(self, call: Call, now_us: int) -> list[Outcome] | None:
        """Return what a call wants recorded, None when it is answered already; or raise RequestMalformedError."""
        if PATHS[call.method] == RECORD_OUTCOMES:
            return outcome_codec.decode(call.payload, now_us)
        outcomes = outcome_codec.decode_streamed(call.payload, now_us)
        if len(outcomes) <= outcome_codec.BATCH_MAX:
            return outcomes
        many = OutcomeInvalidError(f"a message holds at most {outcome_codec.BATCH_MAX} outcomes", field="outcomes")
        self._reply(call, outcome_codec.encode([many] * len(outcomes)))
        return None

    def kind_of(self, call: Call) -> Hashable:
        """Return what a call competes as for room: the model that it names and that is served, else its method.

        It is read from the first bytes, where everybody writes it, since it is asked of calls that may be refused.
        """
        table = self._pipeline.table
        if table is None or call.method not in _NAMING_AT:
            return call.method
        model = model_named_by(call.payload, nested=call.method == _STREAM_PREDICT_AT)
        return model if model in table.routes else call.method

    def opens(self, call: Call) -> bool:
        """Return whether a stream may be opened, its opening being shown as a call; else it is refused."""
        return bool(self._admitted([call], self._refuse))

    def set_stale(self, stale: bool) -> None:  # noqa: FBT001  (as it was told)
        """Refuse predictions from now on, or answer them again."""
        self.stale = stale
        self._admitted = self._recording if stale else self._gated

    def _recording(self, wave: list[Call], refuse: Callable[[Call, DomainError], None]) -> list[Call]:
        """Let the calls go on that record outcomes; the others are refused."""
        wave = self._gated(wave, refuse)
        for call in wave:
            if call.method not in _RECORDING_AT:
                refuse(call, _STALE)
        return [call for call in wave if call.method in _RECORDING_AT]

    def shed(self, call: Call) -> None:
        """Refuse a call past the bound on calls in flight, cheaply: a flood of them must not starve the others."""
        with self._counting:
            self._shed.total += 1
            self._exhausted[call.method].total += 1
        call.fail(*_OVERLOADED)

    def close(self, call: Call) -> None:
        """Refuse a call that came during the drain."""
        self._meter.count("turnout_calls_shed_total", ("draining",))
        self._refuse(call, WorkerDrainingError("the worker is draining; try again on another connection"))

    def _reply(self, call: Call, reply: bytes) -> None:
        call.reply(reply)
        self._count_replies([call.method])

    def _count_replies(self, methods: Sequence[int]) -> None:
        with self._counting:  # waves may come from two transports at once
            for method in methods:
                self._answered[method].total += 1

    def _refuse(self, call: Call, error: DomainError, refuse: Callable[[Call, DomainError], None] = fail) -> None:
        self._meter.count("turnout_calls_total", (_NAME_AT[call.method], CODES[number_of(error)]))
        refuse(call, error)
