"""Two gateways that differ in their transport only, with models of every element type and every kind of input."""

from __future__ import annotations

import contextlib

import grpc
import numpy as np
import pytest
from google.rpc import error_details_pb2, status_pb2
from onnx import TensorProto, helper

from gateway.inference import grpc_service_pb2 as pb
from gateway.inference import grpc_service_pb2_grpc
from turnout.features.v1 import feature_service_pb2, feature_service_pb2_grpc
from turnout.registry.v1 import registry_service_pb2 as rpb

ONNX_TYPES = {
    "BOOL": TensorProto.BOOL,
    "INT8": TensorProto.INT8,
    "INT16": TensorProto.INT16,
    "INT32": TensorProto.INT32,
    "INT64": TensorProto.INT64,
    "UINT8": TensorProto.UINT8,
    "UINT16": TensorProto.UINT16,
    "UINT32": TensorProto.UINT32,
    "UINT64": TensorProto.UINT64,
    "FP16": TensorProto.FLOAT16,
    "FP32": TensorProto.FLOAT,
    "FP64": TensorProto.DOUBLE,
    "BYTES": TensorProto.STRING,
}
TOML = """
[[source]]
name = "flights"
kind = "csv"
path = "flights.csv"
[[view]]
name = "carrier"
join_keys = ["carrier"]
sql = "carrier.sql"
[[view.features]]
name = "late_rate"
default = 0.25
[[view.features]]
name = "flights"
default = 1.0
[[set]]
name = "flight-delay"
features = ["request.hour", "carrier.late_rate", "carrier.flights", "request.wind"]
[[set.request]]
name = "wind"
default = 3.0
"""
SQL = "SELECT carrier, event_time::TIMESTAMP AS event_time, late_rate, flights FROM flights"
FLIGHTS = "carrier,event_time,late_rate,flights\nUA,2013-01-01 11:00:00,0.5,10\n"


def model_bytes(nodes, inputs, outputs):
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(*spec) for spec in inputs],
        [helper.make_tensor_value_info(*spec) for spec in outputs],
    )
    opsets = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=9).SerializeToString()


def echo_model():
    """Return a graph that gives back one input of each element type."""
    nodes = [helper.make_node("Identity", [f"in_{name}"], [f"out_{name}"]) for name in ONNX_TYPES]
    ends = [[(f"{end}_{name}", kind, ["n", 2]) for name, kind in ONNX_TYPES.items()] for end in ("in", "out")]
    return model_bytes(nodes, *ends)


def agreeing_model():
    """Return a graph of two inputs whose second extents must be the same."""
    ends = [("x", TensorProto.FLOAT, ["n", "m"]), ("y", TensorProto.FLOAT, ["n", "m"])]
    return model_bytes([helper.make_node("Add", ["x", "y"], ["sum"])], ends, [("sum", TensorProto.FLOAT, ["n", "m"])])


def prepare(operator, folder, onnx_bytes):
    features = feature_service_pb2_grpc.FeatureServiceStub(operator.control)
    files = [
        feature_service_pb2.DefinitionFile(path="f.toml", text=TOML),
        feature_service_pb2.DefinitionFile(path="carrier.sql", text=SQL),
    ]
    features.ApplyFeatures(feature_service_pb2.ApplyFeaturesRequest(files=files, base_dir=str(folder)))
    features.Materialize(feature_service_pb2.MaterializeRequest())
    operator.publish("m", 2.0, alias="champion")
    operator.publish("m", 3.0, alias="challenger")
    operator.start_experiment("m")
    operator.publish("plain", 5.0, alias="champion")
    operator.publish_file("every", echo_model(), alias="champion")
    operator.publish_file("strict", onnx_bytes(1.0), alias="champion", finite_inputs=["x"])
    operator.publish_file("sum", agreeing_model(), alias="champion")
    facts = rpb.VersionFacts(feature_set="flight-delay")
    operator.publish_file("bound", onnx_bytes(7.0), alias="champion", facts=facts)
    operator.wait()


@pytest.fixture(scope="package")
def both(launch, tmp_path_factory, operator_of, onnx_bytes):
    """Return two gateways with the same models, features and experiment; the native one first."""
    folder = tmp_path_factory.mktemp("inference")
    (folder / "flights.csv").write_text(FLIGHTS)
    gateways = []
    for kind in ("native", "grpcio"):
        running = launch(folder / kind, "--transport", kind)
        operator = operator_of(running)
        prepare(operator, folder, onnx_bytes)
        assert operator.status().workers[0].transport == kind
        operator.close()
        gateways.append(running)
    yield gateways
    for running in gateways:
        running.stop()


@pytest.fixture(params=["native", "grpcio"])
def one(request, both):
    """Return one of the two gateways after the other."""
    return both[request.param == "grpcio"]


@pytest.fixture
def stub(one):
    with grpc.insecure_channel(one.data_address) as channel:
        yield grpc_service_pb2_grpc.GRPCInferenceServiceStub(channel)


def raw_tensor(array, *, name="x", datatype="FP32", shape=None):
    tensor = pb.ModelInferRequest.InferInputTensor(name=name, datatype=datatype, shape=shape or array.shape)
    return {"inputs": [tensor], "raw_input_contents": [array.tobytes()]}


@pytest.fixture(scope="session")
def raw():
    """Return the function that gives the fields of a request with one raw input."""
    return raw_tensor


def output_of(response, place=0, dtype=np.float32):
    shape = tuple(response.outputs[place].shape)
    return np.frombuffer(response.raw_output_contents[place], dtype).reshape(shape)


@pytest.fixture(scope="session", name="output_of")
def _output_of():
    return output_of


def verdict_of(call, message):
    """Return the code of the answer and, of an error, the facts; the details must say the same as the status."""
    done = call.future(message, timeout=10)
    if done.exception() is None:
        return "OK", {}
    status = status_pb2.Status.FromString(dict(done.trailing_metadata())["grpc-status-details-bin"])
    info = error_details_pb2.ErrorInfo()
    status.details[0].Unpack(info)
    assert (status.code, status.message, info.domain) == (done.code().value[0], done.details(), "turnout")
    return done.code().name, dict(info.metadata)


@pytest.fixture(scope="session")
def verdict():
    """Return the function that makes a call and gives the code of its answer and the facts of its error."""
    return verdict_of


@pytest.fixture(scope="package")
def channels(both):
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(grpc.insecure_channel(gateway.data_address)) for gateway in both]


@pytest.fixture(scope="package")
def stubs(channels):
    return [grpc_service_pb2_grpc.GRPCInferenceServiceStub(channel) for channel in channels]


@pytest.fixture
def unchanged(both, operator_of):
    """Hold that a test leaves no prediction in the journal and no change of what is served."""
    operators = [operator_of(gateway) for gateway in both]

    def state():
        return [
            (
                operator.counts().predictions,
                [
                    (each.revision, sorted(str(version) for version in each.versions))
                    for each in operator.status().workers
                ],
                [gateway.pids for gateway in both],
            )
            for operator in operators
        ]

    before = state()
    yield
    assert state() == before
    for operator in operators:
        operator.close()
