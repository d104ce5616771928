"""The data plane's edge: waves of calls in, waves of answers out.

Every method that is answered in waves stands in one table. The predicting ones differ by their codec alone: whatever
the protocol, a call becomes a request of the one pipeline, and an answered request becomes that protocol's reply.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.errors import OverloadedError, WorkerDrainingError
from gateway.rpc import infer_codec, outcome_codec, prediction_codec
from gateway.rpc.status import DETAILS_KEY, details_of, number_of, sentence_of
from gateway.telemetry.families import CODES
from storage.errors import DomainError

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.serving.outcomes import OutcomeRecorder
    from gateway.serving.pipeline import Pipeline
    from gateway.serving.request import Request
    from gateway.serving.table import Target
    from gateway.telemetry.meter import Meter
    from gateway.transport.port import Call
    from storage.clock import Clock

_log = logging.getLogger(__name__)


def fail(call: Call, error: DomainError) -> None:
    """Answer a call with an error's status and details."""
    call.fail(number_of(error), sentence_of(error), ((DETAILS_KEY, details_of(error)),))


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
MODEL_INFER = "/inference.GRPCInferenceService/ModelInfer"
MODEL_STREAM_INFER = "/inference.GRPCInferenceService/ModelStreamInfer"
RECORD_OUTCOMES = "/turnout.outcomes.v1.OutcomeService/RecordOutcomes"

CODECS: dict[str, Codec] = {
    PREDICT: Codec(decode=prediction_codec.decode, encode=prediction_codec.encode),
    MODEL_INFER: Codec(decode=infer_codec.decode, encode=infer_codec.encode),
    MODEL_STREAM_INFER: Codec(
        decode=infer_codec.decode, encode=infer_codec.encode_streamed, refuse=infer_codec.refuse_streamed
    ),
}
"""The methods that the pipeline answers."""

METHODS = (PREDICT, MODEL_INFER, RECORD_OUTCOMES)
"""All methods that are answered in waves."""

STREAMS = (MODEL_STREAM_INFER,)
"""All streams whose messages are; a call names its method by the place in both together."""

SERVICES = tuple(dict.fromkeys(path.split("/")[1] for path in METHODS))
"""The full names of their services."""

_PATHS = (*METHODS, *STREAMS)
_CODEC_AT: tuple[Codec | None, ...] = tuple(CODECS.get(path) for path in _PATHS)
_NAME_AT = tuple(path.rpartition("/")[2] for path in _PATHS)


def heads_of(target: Target) -> tuple[bytes, bytes]:
    """Return the constant parts of a target's replies, one for each protocol."""
    return prediction_codec.head_of(target), infer_codec.head_of(target)


class DataPlane:
    """Answers waves of calls."""

    def __init__(self, *, pipeline: Pipeline, outcomes: OutcomeRecorder, clock: Clock, meter: Meter) -> None:
        self._pipeline = pipeline
        self._outcomes = outcomes
        self._clock = clock
        self._meter = meter
        self._counting = threading.Lock()
        self._answered = [meter.series("turnout_calls_total", (name, "OK")) for name in _NAME_AT]

    def answer(self, wave: list[Call]) -> None:
        """Answer every call of a wave."""
        now_us = self._clock.now_us()
        calls: list[tuple[Call, Codec]] = []
        requests: list[Request] = []
        for call in wave:
            codec = _CODEC_AT[call.method]
            if codec is None:
                self._record(call, now_us)
                continue
            try:
                request = codec.decode(call, now_us)
            except DomainError as error:
                self._refuse(call, codec.refuse, error)
            except Exception:  # noqa: BLE001  (one call's surprise is not the wave's)
                _log.exception("a call of %s could not be read", _PATHS[call.method])
                self._refuse(call, codec.refuse, _hidden())
            else:
                request.method = _NAME_AT[call.method]
                request.arrived = call.arrived
                requests.append(request)
                calls.append((call, codec))
        if requests:
            self._predict(calls, requests)

    def _predict(self, calls: list[tuple[Call, Codec]], requests: list[Request]) -> None:
        """Walk the requests of a wave through the pipeline and answer the call of each."""
        try:
            self._pipeline.run(requests)
        except Exception:  # noqa: BLE001  (whatever it is, every call of the wave must be answered)
            _log.exception("a wave of %d calls failed", len(requests))
            for call, codec in calls:
                self._refuse(call, codec.refuse, _hidden())
            return
        for (call, codec), request in zip(calls, requests, strict=True):
            if request.error is not None:
                self._refuse(call, codec.refuse, request.error)
                continue
            try:
                reply = codec.encode(request)
            except Exception:  # noqa: BLE001  (as above)
                _log.exception("a reply of %s could not be written", _PATHS[call.method])
                self._refuse(call, codec.refuse, _hidden())
            else:
                self._reply(call, reply)

    def _record(self, call: Call, now_us: int) -> None:
        try:
            outcomes = outcome_codec.decode(call.payload, now_us)
            reply = outcome_codec.encode(self._outcomes.record(outcomes))
        except DomainError as error:
            self._refuse(call, fail, error)
        except Exception:  # noqa: BLE001  (as above)
            _log.exception("recording outcomes failed")
            self._refuse(call, fail, _hidden())
        else:
            self._reply(call, reply)

    def shed(self, call: Call) -> None:
        """Refuse a call past the bound on calls in flight."""
        self._meter.count("turnout_calls_shed_total", ("overload",))
        self._refuse(call, fail, OverloadedError("more calls than the bound are in flight; try again after a pause"))

    def close(self, call: Call) -> None:
        """Refuse a call that came during the drain."""
        self._meter.count("turnout_calls_shed_total", ("draining",))
        self._refuse(call, fail, WorkerDrainingError("the worker is draining; try again on another connection"))

    def _reply(self, call: Call, reply: bytes) -> None:
        with self._counting:  # waves may come from two transports at once
            self._answered[call.method].total += 1
        call.reply(reply)

    def _refuse(self, call: Call, refuse: Callable[[Call, DomainError], None], error: DomainError) -> None:
        self._meter.count("turnout_calls_total", (_NAME_AT[call.method], CODES[number_of(error)]))
        refuse(call, error)


def _hidden() -> DomainError:
    """Return what a client is told of a failure whose particulars are not for it."""
    return DomainError("internal error; the gateway's log has the particulars")
