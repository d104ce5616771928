"""The data plane's edge: waves of calls in, waves of answers out."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from gateway.errors import OverloadedError, WorkerDrainingError
from gateway.rpc import outcome_codec, prediction_codec
from gateway.rpc.status import DETAILS_KEY, details_of, number_of
from storage.errors import DomainError

if TYPE_CHECKING:
    from gateway.serving.outcomes import OutcomeRecorder
    from gateway.serving.pipeline import Pipeline
    from gateway.serving.request import Request
    from gateway.transport.port import Call
    from storage.clock import Clock

PREDICT = "/turnout.serving.v1.PredictionService/Predict"
RECORD_OUTCOMES = "/turnout.outcomes.v1.OutcomeService/RecordOutcomes"
METHODS = (PREDICT, RECORD_OUTCOMES)
SERVICES = ("turnout.serving.v1.PredictionService", "turnout.outcomes.v1.OutcomeService")

_PREDICT_AT = METHODS.index(PREDICT)
_log = logging.getLogger(__name__)


class DataPlane:
    """Answers waves of calls."""

    def __init__(self, *, pipeline: Pipeline, outcomes: OutcomeRecorder, clock: Clock) -> None:
        self._pipeline = pipeline
        self._outcomes = outcomes
        self._clock = clock

    def answer(self, wave: list[Call]) -> None:
        """Answer every call of a wave."""
        now_us = self._clock.now_us()
        calls: list[Call] = []
        requests: list[Request] = []
        for call in wave:
            if call.method != _PREDICT_AT:
                self._record(call, now_us)
                continue
            try:
                requests.append(prediction_codec.decode(call, now_us))
                calls.append(call)
            except DomainError as error:
                fail(call, error)
        if not requests:
            return
        try:
            self._pipeline.run(requests)
        except Exception:  # noqa: BLE001  (whatever it is, every call of the wave must be answered)
            _log.exception("a wave of %d calls failed", len(requests))
            for call in calls:
                fail(call, DomainError("internal error; the gateway's log has the particulars"))
            return
        for call, request in zip(calls, requests, strict=True):
            if request.error is None:
                call.reply(prediction_codec.encode(request))
            else:
                fail(call, request.error)

    def _record(self, call: Call, now_us: int) -> None:
        try:
            outcomes = outcome_codec.decode(call.payload, now_us)
            call.reply(outcome_codec.encode(self._outcomes.record(outcomes)))
        except DomainError as error:
            fail(call, error)
        except Exception:  # noqa: BLE001  (as above)
            _log.exception("recording outcomes failed")
            fail(call, DomainError("internal error; the gateway's log has the particulars"))


def fail(call: Call, error: DomainError) -> None:
    """Answer a call with an error's status and details."""
    call.fail(number_of(error), error.message, ((DETAILS_KEY, details_of(error)),))


def shed(call: Call) -> None:
    """Refuse a call past the bound on calls in flight."""
    fail(call, OverloadedError("more calls than the bound are in flight; try again after a pause"))


def close(call: Call) -> None:
    """Refuse a call that came during the drain."""
    fail(call, WorkerDrainingError("the worker is draining; try again on another connection"))
