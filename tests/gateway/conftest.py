"""Models whose answers tell which version gave them, and ways to publish, promote and load."""

from __future__ import annotations

import hashlib
import threading
import time
import uuid
from dataclasses import dataclass, field

import grpc
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from turnout.admin.v1 import admin_service_pb2, admin_service_pb2_grpc
from turnout.outcomes.v1 import outcome_service_pb2, outcome_service_pb2_grpc
from turnout.registry.v1 import registry_service_pb2, registry_service_pb2_grpc
from turnout.serving.v1 import prediction_service_pb2, prediction_service_pb2_grpc
from turnout.tensor.v1 import tensor_pb2

WIDTH = 4


def scaling_model(scale, *, ballast=0):
    """Return the bytes of a graph whose `score` is its input times `scale`, row by row; ballast makes it larger."""
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, WIDTH])
    score = helper.make_tensor_value_info("score", TensorProto.FLOAT, [None, WIDTH])
    weights = [numpy_helper.from_array(np.array([scale], np.float32), "scale")]
    if ballast:
        weights.append(
            numpy_helper.from_array(np.random.default_rng(int(scale)).random(ballast, np.float32), "ballast")
        )
    nodes = [helper.make_node("Mul", ["x", "scale"], ["score"])]
    graph = helper.make_graph(nodes, "scaling", [x], [score], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def tensor(name, array):
    numbers = {"float32": tensor_pb2.DATA_TYPE_FLOAT32, "float64": tensor_pb2.DATA_TYPE_FLOAT64}
    return tensor_pb2.Tensor(name=name, data_type=numbers[array.dtype.name], shape=array.shape, data=array.tobytes())


ROWS = np.arange(8 * WIDTH, dtype=np.float32).reshape(8, WIDTH)


class Operator:
    """Publishes to a gateway and asks it."""

    def __init__(self, gateway):
        self.gateway = gateway
        self.control = grpc.insecure_channel(gateway.control_address)
        self.data = grpc.insecure_channel(gateway.data_address)
        self.registry = registry_service_pb2_grpc.RegistryServiceStub(self.control)
        self.admin = admin_service_pb2_grpc.AdminServiceStub(self.control)
        self.predictions = prediction_service_pb2_grpc.PredictionServiceStub(self.data)
        self.outcomes = outcome_service_pb2_grpc.OutcomeServiceStub(self.data)

    def publish(self, model, scale, *, alias="", ballast=0, probe=True):
        data = scaling_model(scale, ballast=ballast)
        rows = registry_service_pb2.Probe(inputs=[tensor("x", ROWS)], outputs=[tensor("score", ROWS * scale)])
        head = registry_service_pb2.PublishHead(
            parent=f"models/{model}",
            artifact_sha256=hashlib.sha256(data).hexdigest(),
            alias=alias,
            probe=rows if probe else None,
        )
        chunks = [data[at : at + (1 << 20)] for at in range(0, len(data), 1 << 20)]
        request = registry_service_pb2.PublishVersionRequest
        return self.registry.PublishVersion(iter([request(head=head), *(request(chunk=chunk) for chunk in chunks)]))

    def promote(self, model, version, *, wait=True, **fields):
        answer = self.registry.PromoteVersion(
            registry_service_pb2.PromoteVersionRequest(name=f"models/{model}/versions/{version}", **fields)
        )
        if wait:
            self.wait(answer.revision)
        return answer

    def wait(self, revision=0):
        request = admin_service_pb2.WaitForRevisionRequest(revision=revision)
        return self.admin.WaitForRevision(request, timeout=20).revision

    def status(self):
        return self.admin.GetServingStatus(admin_service_pb2.GetServingStatusRequest())

    def predict(self, model, **fields):
        request = prediction_request(model, **fields)
        return self.predictions.Predict(request, timeout=10)

    def record(self, *outcomes):
        request = outcome_service_pb2.RecordOutcomesRequest(outcomes=outcomes)
        return self.outcomes.RecordOutcomes(request, timeout=10)

    def close(self):
        self.control.close()
        self.data.close()


def prediction_request(model, *, row=ROWS[1:2], **fields):
    return prediction_service_pb2.PredictRequest(model=model, inputs=[tensor("x", row)], **fields)


def scale_of(response, row=ROWS[1:2]):
    """Return the scale that an answer was computed with."""
    return float(np.frombuffer(response.outputs[0].data, np.float32)[-1] / row.ravel()[-1])


@dataclass
class Load:
    """Predictions at a steady rate from several connections, until told to stop; retries UNAVAILABLE only."""

    address: str
    model: str
    rate_per_s: float = 300.0
    connections: int = 4
    answers: list = field(default_factory=list)
    failures: list = field(default_factory=list)
    retries: int = 0

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

    def _run(self, number):
        pause_s = self.connections / self.rate_per_s
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.initial_reconnect_backoff_ms", 50)]
        with grpc.insecure_channel(self.address, options=[*options, ("grpc.max_reconnect_backoff_ms", 200)]) as channel:
            stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
            due = time.monotonic() + number * pause_s / self.connections
            while not self._stop.is_set():
                self._one(stub)
                due += pause_s
                self._stop.wait(max(0.0, due - time.monotonic()))

    def _one(self, stub):
        request = prediction_request(self.model, request_id=str(uuid.uuid4()), unit_id=uuid.uuid4().hex)
        started = time.time()
        until = time.monotonic() + 10
        while True:
            try:
                response = stub.Predict(request, timeout=5)
            except grpc.RpcError as error:
                if error.code() is grpc.StatusCode.UNAVAILABLE and time.monotonic() < until:
                    self.retries += 1
                    time.sleep(0.01)
                    continue
                self.failures.append((error.code(), error.details()))
                return
            self.answers.append((started, time.time(), response.version, scale_of(response), request.request_id))
            return


@pytest.fixture
def operate():
    """Return the function that gives an operator for a gateway; all are closed at the end."""
    made = []

    def make(gateway):
        operator = Operator(gateway)
        made.append(operator)
        return operator

    yield make
    for operator in made:
        operator.close()


@pytest.fixture(scope="session")
def load():
    return Load


@pytest.fixture(scope="session")
def request_for():
    return prediction_request


@pytest.fixture(scope="session")
def onnx_bytes():
    return scaling_model


@pytest.fixture(scope="session")
def named_tensor():
    return tensor


@pytest.fixture(scope="session")
def rows():
    return ROWS
