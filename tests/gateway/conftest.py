"""Models whose answers tell which version gave them, and ways to publish, promote and load."""

from __future__ import annotations

import hashlib

import grpc
import numpy as np
import onnx
import pytest
from google.rpc import error_details_pb2, status_pb2
from onnx import TensorProto, helper, numpy_helper

from turnout.admin.v1 import admin_service_pb2, admin_service_pb2_grpc
from turnout.events.v1 import event_service_pb2, event_service_pb2_grpc
from turnout.experiments.v1 import experiment_service_pb2, experiment_service_pb2_grpc
from turnout.outcomes.v1 import outcome_service_pb2, outcome_service_pb2_grpc
from turnout.registry.v1 import registry_service_pb2, registry_service_pb2_grpc
from turnout.serving.v1 import prediction_service_pb2, prediction_service_pb2_grpc
from turnout.tensor.v1 import tensor_pb2

WIDTH = 4
SIDE = 192


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


def looping_model():
    """Return a graph that multiplies matrices as often as its input says: a caller chooses how long it takes."""
    value = helper.make_tensor_value_info
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["on"]), helper.make_node("MatMul", ["carried", "turn"], ["next"])],
        "body",
        [
            value("at", TensorProto.INT64, []),
            value("go", TensorProto.BOOL, []),
            value("carried", TensorProto.FLOAT, [SIDE, SIDE]),
        ],
        [value("on", TensorProto.BOOL, []), value("next", TensorProto.FLOAT, [SIDE, SIDE])],
    )
    graph = helper.make_graph(
        [
            helper.make_node("Squeeze", ["times"], ["count"]),
            helper.make_node("Loop", ["count", "yes", "turn"], ["product"], body=body),
            helper.make_node("ReduceSum", ["product"], ["score"], keepdims=0),
        ],
        "looping",
        [value("times", TensorProto.INT64, [1])],
        [value("score", TensorProto.FLOAT, [])],
        [
            numpy_helper.from_array(np.eye(SIDE, dtype=np.float32), "turn"),
            numpy_helper.from_array(np.array(True), "yes"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return model.SerializeToString()


def looping(times, **fields):
    """Return a request to that graph, under the model's name `slow`."""
    request = prediction_service_pb2.PredictRequest(model="slow", **fields)
    data = np.array([times], np.int64).tobytes()
    request.inputs.add(name="times", data_type=tensor_pb2.DATA_TYPE_INT64, shape=[1], data=data)
    return request


class Operator:
    """Publishes to a gateway and asks it."""

    def __init__(self, gateway):
        self.gateway = gateway
        self.control = grpc.insecure_channel(gateway.control_address)
        self.data = grpc.insecure_channel(gateway.data_address)
        self.registry = registry_service_pb2_grpc.RegistryServiceStub(self.control)
        self.admin = admin_service_pb2_grpc.AdminServiceStub(self.control)
        self.experiments = experiment_service_pb2_grpc.ExperimentServiceStub(self.control)
        self.events = event_service_pb2_grpc.EventServiceStub(self.control)
        self.predictions = prediction_service_pb2_grpc.PredictionServiceStub(self.data)
        self.outcomes = outcome_service_pb2_grpc.OutcomeServiceStub(self.data)

    def publish(self, model, scale, *, alias="", ballast=0, probe=True):
        rows = registry_service_pb2.Probe(inputs=[tensor("x", ROWS)], outputs=[tensor("score", ROWS * scale)])
        return self.publish_file(
            model, scaling_model(scale, ballast=ballast), alias=alias, probe=rows if probe else None
        )

    def publish_file(self, model, data, **fields):
        digest = hashlib.sha256(data).hexdigest()
        head = registry_service_pb2.PublishHead(parent=f"models/{model}", artifact_sha256=digest, **fields)
        chunks = [data[at : at + (1 << 20)] for at in range(0, len(data), 1 << 20)]
        request = registry_service_pb2.PublishVersionRequest
        return self.registry.PublishVersion(iter([request(head=head), *(request(chunk=chunk) for chunk in chunks)]))

    def publish_slow(self):
        """Publish the model `slow`, which takes as long as each caller says."""
        return self.publish_file("slow", looping_model(), alias="champion")

    def slow(self, times, *, timeout, **fields):
        """Start a call for the model `slow` and return its future."""
        return self.predictions.Predict.future(looping(times, **fields), timeout=timeout)

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

    def start_experiment(self, model, *, name="v1-against-v2", versions=(1, 2)):
        """Start an experiment of two versions with equal shares and return it."""
        pb = experiment_service_pb2
        variants = [
            pb.Variant(variant="control", version=versions[0], share=0.5, control=True),
            pb.Variant(variant="treatment", version=versions[1], share=0.5),
        ]
        metric = pb.Metric(
            metric="lateness",
            kind=pb.METRIC_KIND_MEAN,
            outcome="late",
            direction=pb.DIRECTION_DECREASE,
            role=pb.METRIC_ROLE_SUCCESS,
        )
        experiment = pb.Experiment(model=f"models/{model}", variants=variants, coverage=1.0, metrics=[metric])
        self.experiments.CreateExperiment(pb.CreateExperimentRequest(experiment_id=name, experiment=experiment))
        started = self.experiments.StartExperiment(pb.StartExperimentRequest(name=f"experiments/{name}"))
        self.wait()
        return started.experiment

    def counts(self):
        return self.events.CountEvents(event_service_pb2.CountEventsRequest())

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


@pytest.fixture(scope="session", name="looping")
def looping_fixture():
    """Return what makes requests to the model `slow`."""
    return looping


@pytest.fixture(scope="session")
def looping_bytes():
    return looping_model()


@pytest.fixture(scope="session")
def operator_kind():
    """Return what an operator is made by, for who closes it himself."""
    return Operator


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
def operator_of():
    """Return the function that gives an operator which the caller closes."""
    return Operator


@pytest.fixture(scope="session")
def refusal():
    """Return the function that makes a call which must fail, and says its code, its reason and its sentence."""

    def refused(call, *arguments, **named):
        with pytest.raises(grpc.RpcError) as caught:
            call(*arguments, **named)
        error = caught.value
        status = status_pb2.Status.FromString(dict(error.trailing_metadata())["grpc-status-details-bin"])
        info = error_details_pb2.ErrorInfo()
        status.details[0].Unpack(info)
        assert (info.domain, status.code, status.message) == ("turnout", error.code().value[0], error.details())
        return error.code(), info.reason, error.details()

    return refused


@pytest.fixture(scope="session")
def request_for():
    return prediction_request


@pytest.fixture(scope="session", name="scale_of")
def _scale_of():
    return scale_of


@pytest.fixture(scope="session")
def onnx_bytes():
    return scaling_model


@pytest.fixture(scope="session")
def named_tensor():
    return tensor


@pytest.fixture(scope="session")
def rows():
    return ROWS
