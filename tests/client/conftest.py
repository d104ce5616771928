"""A real gRPC server that answers as a test tells it to."""

from __future__ import annotations

import contextlib
from concurrent import futures
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import grpc
import pytest
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2

from turnout.outcomes.v1 import outcome_service_pb2, outcome_service_pb2_grpc
from turnout.serving.v1 import prediction_service_pb2, prediction_service_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@dataclass
class Script(prediction_service_pb2_grpc.PredictionServiceServicer, outcome_service_pb2_grpc.OutcomeServiceServicer):
    """Keeps what it was asked, and answers by functions that a test replaces."""

    predicted: list[prediction_service_pb2.PredictRequest] = field(default_factory=list)
    recorded: list[outcome_service_pb2.RecordOutcomesRequest] = field(default_factory=list)
    deadlines_s: list[float] = field(default_factory=list)
    on_predict: Callable[..., prediction_service_pb2.PredictResponse] | None = None
    on_batch: Callable[..., prediction_service_pb2.BatchPredictResponse] | None = None
    on_record: Callable[..., outcome_service_pb2.RecordOutcomesResponse] | None = None

    def add(self, server: grpc.Server) -> None:
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(self, server)
        outcome_service_pb2_grpc.add_OutcomeServiceServicer_to_server(self, server)

    def Predict(self, request, context):  # noqa: N802  (the contract's name)
        self.predicted.append(request)
        self.deadlines_s.append(context.time_remaining())
        if self.on_predict is not None:
            return self.on_predict(request, context)
        return prediction_service_pb2.PredictResponse(
            request_id=request.request_id, model=request.model, version=3, outputs=request.inputs
        )

    def BatchPredict(self, request, context):  # noqa: N802
        return self.on_batch(request, context)

    def RecordOutcomes(self, request, context):  # noqa: N802
        self.recorded.append(request)
        if self.on_record is not None:
            return self.on_record(request, context)
        result = outcome_service_pb2.OutcomeResult(status=outcome_service_pb2.OUTCOME_STATUS_RECORDED)
        return outcome_service_pb2.RecordOutcomesResponse(results=[result] * len(request.outcomes))


def refuse(context, code, reason, message="no", **facts):
    """End a call as a gateway does: a status with google.rpc.ErrorInfo in its details."""
    detail = any_pb2.Any()
    detail.Pack(error_details_pb2.ErrorInfo(reason=reason, domain="turnout", metadata=facts))
    status = status_pb2.Status(code=code.value[0], message=message, details=[detail])
    context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
    context.abort(code, message)


@pytest.fixture(name="refuse")
def _refuse():
    return refuse


@contextlib.contextmanager
def serving(add: Callable[[grpc.Server], None]) -> Iterator[str]:
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=4))
    add(server)
    bound = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{bound}"
    finally:
        server.stop(0).wait()


@pytest.fixture(name="serving")
def _serving():
    return serving


@pytest.fixture
def script() -> Script:
    return Script()


@pytest.fixture
def scripts() -> tuple[Script, Script]:
    return Script(), Script()


@pytest.fixture
def address(script: Script) -> Iterator[str]:
    with serving(script.add) as bound:
        yield bound
