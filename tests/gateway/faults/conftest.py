"""Load that knows what it was answered, and the journal that must agree with it."""

from __future__ import annotations

import functools
import threading
import time
import uuid
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import grpc
import pytest

from gateway.journal.log import EventLog
from turnout.outcomes.v1 import outcome_service_pb2, outcome_service_pb2_grpc
from turnout.serving.v1 import prediction_service_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import Callable


class Answer(NamedTuple):
    """One answered prediction; times are on the monotonic clock, in seconds."""

    asked: float
    answered: float
    version: int
    scale: float
    request_id: str


@dataclass
class Load:
    """Predictions at a steady rate from several connections, until told to stop; retries UNAVAILABLE only.

    With `outcomes`, each answer is followed by its outcome; the acknowledged ones are in `acknowledged` by request id.
    """

    request_for: Callable
    scale_of: Callable
    address: str
    model: str
    rate_per_s: float = 200.0
    connections: int = 4
    outcomes: bool = False
    patience_s: float = 10.0
    answers: list = field(default_factory=list)
    acknowledged: list = field(default_factory=list)
    failures: list = field(default_factory=list)
    retries: list = field(default_factory=list)

    def __enter__(self):
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(each,)) for each in range(self.connections)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def wait_for(self, answers, timeout_s=30.0):
        """Return when so many more answers have come."""
        goal = len(self.answers) + answers
        until = time.monotonic() + timeout_s
        while len(self.answers) < goal:
            assert time.monotonic() < until, f"no {answers} answers in {timeout_s} s; failures: {self.failures[:3]}"
            time.sleep(0.01)

    def _run(self, number):
        pause_s = self.connections / self.rate_per_s
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.initial_reconnect_backoff_ms", 50)]
        with grpc.insecure_channel(self.address, options=[*options, ("grpc.max_reconnect_backoff_ms", 200)]) as channel:
            predictions = prediction_service_pb2_grpc.PredictionServiceStub(channel)
            outcomes = outcome_service_pb2_grpc.OutcomeServiceStub(channel)
            due = time.monotonic() + number * pause_s / self.connections
            while not self._stop.is_set():
                request = self.request_for(self.model, request_id=str(uuid.uuid4()), unit_id=uuid.uuid4().hex)
                asked = time.monotonic()
                response = self._retried(predictions.Predict, request)
                if response is not None:
                    done = time.monotonic()
                    self.answers.append(
                        Answer(asked, done, response.version, self.scale_of(response), request.request_id)
                    )
                    if self.outcomes:
                        self._record(outcomes, request.request_id)
                due += pause_s
                self._stop.wait(max(0.0, due - time.monotonic()))

    def _record(self, stub, request_id):
        outcome = outcome_service_pb2.Outcome(request_id=request_id, name="late", value=1.0)
        response = self._retried(stub.RecordOutcomes, outcome_service_pb2.RecordOutcomesRequest(outcomes=[outcome]))
        if response is not None and response.results[0].status == outcome_service_pb2.OUTCOME_STATUS_RECORDED:
            self.acknowledged.append(request_id)

    def _retried(self, call, request):
        until = time.monotonic() + self.patience_s
        while True:
            try:
                return call(request, timeout=5)
            except grpc.RpcError as error:
                if error.code() is not grpc.StatusCode.UNAVAILABLE or time.monotonic() > until:
                    self.failures.append((error.code(), error.details()))
                    return None
                self.retries.append(error.details())
                time.sleep(0.01)


@dataclass
class Journalled:
    """What the journal of a state folder holds: how often each request id stands in the predictions and outcomes."""

    predictions: Counter
    outcomes: Counter
    records: Counter
    """How often each request id was written as a prediction, repeated tries included."""

    @classmethod
    def of(cls, state):
        with EventLog(state).snapshot() as events:
            return cls(
                *(
                    Counter(dict(events.execute(f"SELECT request_id, count(*) FROM {table} GROUP BY 1").fetchall()))
                    for table in ("predictions", "outcomes", "all_predictions")
                )
            )

    def has_once(self, load):
        """Say that every answer and every acknowledged outcome of a load is there exactly once."""
        answered = [answer.request_id for answer in load.answers]
        assert {self.predictions[each] for each in answered} == {1}
        assert {self.outcomes[each] for each in load.acknowledged} <= {1}
        assert max(self.predictions.values()) == 1
        assert max(self.outcomes.values(), default=1) == 1


@pytest.fixture(scope="session")
def load(request_for, scale_of):
    """Return the function that makes a load for an address and a model."""
    return functools.partial(Load, request_for, scale_of)


@pytest.fixture(scope="session")
def journalled():
    """Return the function that reads what the journal of a state folder holds."""
    return Journalled.of
