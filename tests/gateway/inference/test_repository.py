"""Loading and unloading by the protocol: a hold on one model, on all workers, until it is loaded or the restart."""

from __future__ import annotations

import grpc
import numpy as np
import pytest

from gateway.inference import grpc_service_pb2 as pb
from gateway.inference import grpc_service_pb2_grpc

ROW = np.ones((1, 4), np.float32)


@pytest.fixture(scope="module")
def two_workers(launch, tmp_path_factory, operator_of):
    """Return a gateway with two workers that serve two models."""
    running = launch(tmp_path_factory.mktemp("repository") / "state", workers=2)
    operator = operator_of(running)
    operator.publish("m", 2.0, alias="champion")
    operator.publish("n", 3.0, alias="champion")
    operator.wait()
    operator.close()
    yield running
    running.stop()


@pytest.fixture
def connections(two_workers):
    """Return stubs on connections of their own: between them they reach both workers."""
    options = [("grpc.use_local_subchannel_pool", 1)]
    channels = [grpc.insecure_channel(two_workers.data_address, options=options) for _ in range(12)]
    yield [grpc_service_pb2_grpc.GRPCInferenceServiceStub(channel) for channel in channels]
    for channel in channels:
        channel.close()


def verdicts(connections, verdict, raw, model):
    message = pb.ModelInferRequest(model_name=model, **raw(ROW))
    return {verdict(stub.ModelInfer, message)[0] for stub in connections}


def unload(stub, model="m", **parameters):
    request = pb.RepositoryModelUnloadRequest(model_name=model)
    for name, value in parameters.items():
        request.parameters[name].bool_param = value
    return stub.RepositoryModelUnload(request, timeout=20)


def load(stub, model="m"):
    return stub.RepositoryModelLoad(pb.RepositoryModelLoadRequest(model_name=model), timeout=20)


def states(stub, model="m"):
    index = stub.RepositoryIndex(pb.RepositoryIndexRequest()).models
    return {(each.state, each.reason) for each in index if each.name == model}


def until(condition):
    """Ask again until all workers have followed; the pytest timeout bounds it."""
    while not condition():
        pass


def test_an_unloaded_model_is_out_of_service_on_all_workers_until_it_is_loaded(connections, verdict, raw):
    stub = connections[0]
    assert verdicts(connections, verdict, raw, "m") == {"OK"}
    unload(stub, unload_dependents=True)
    assert verdict(stub.ModelInfer, pb.ModelInferRequest(model_name="m", **raw(ROW)))[0] == "NOT_FOUND"
    until(lambda: verdicts(connections, verdict, raw, "m") == {"NOT_FOUND"})
    assert verdicts(connections, verdict, raw, "n") == {"OK"}
    assert stub.ServerReady(pb.ServerReadyRequest()).ready
    assert not stub.ModelReady(pb.ModelReadyRequest(name="m")).ready
    until(lambda: {state for state, _ in states(stub)} == {"UNAVAILABLE"})  # drained and freed
    [(_, reason)] = states(stub)
    assert "unloaded" in reason
    assert states(stub, "n") == {("READY", "")}
    unload(stub)  # a second time changes nothing
    load(stub)
    assert stub.ModelInfer(pb.ModelInferRequest(model_name="m", **raw(ROW))).model_version == "1"
    until(lambda: verdicts(connections, verdict, raw, "m") == {"OK"})
    assert states(stub) == {("READY", "")}


def test_no_call_fails_but_those_that_find_the_model_gone(connections, verdict, raw):
    """Calls go on while it is unloaded and loaded: each is answered or told that the model is not served."""
    message = pb.ModelInferRequest(model_name="m", **raw(ROW))
    for round_trip in range(5):
        calls = [stub.ModelInfer.future(message, timeout=20) for stub in connections * 4]
        unload(connections[round_trip])
        calls += [stub.ModelInfer.future(message, timeout=20) for stub in connections * 4]
        load(connections[round_trip + 1])
        codes = {"OK" if call.exception() is None else call.code().name for call in calls}
        assert codes <= {"OK", "NOT_FOUND"}
    until(lambda: verdicts(connections, verdict, raw, "m") == {"OK"})


def test_a_model_that_is_not_known_is_neither_loaded_nor_unloaded(connections, refusal):
    for change in (load, unload):
        code, reason, _ = refusal(change, connections[0], "nobody")
        assert (code.name, reason) == ("NOT_FOUND", "MODEL_NOT_SERVED")


def test_what_was_published_cannot_be_overridden_at_loading(connections, refusal):
    stub = connections[0]
    request = pb.RepositoryModelLoadRequest(model_name="m")
    request.parameters["config"].string_param = "{}"
    assert refusal(stub.RepositoryModelLoad, request)[:2] == (grpc.StatusCode.INVALID_ARGUMENT, "REQUEST_MALFORMED")
    request = pb.RepositoryModelUnloadRequest(model_name="m")
    request.parameters["unload_dependents"].string_param = "yes"
    assert refusal(stub.RepositoryModelUnload, request)[:2] == (grpc.StatusCode.INVALID_ARGUMENT, "REQUEST_MALFORMED")
    for asked in (
        lambda: stub.RepositoryModelLoad(pb.RepositoryModelLoadRequest(repository_name="r", model_name="m")),
        lambda: stub.RepositoryModelUnload(pb.RepositoryModelUnloadRequest(repository_name="r", model_name="m")),
    ):
        assert refusal(asked)[0] == grpc.StatusCode.INVALID_ARGUMENT
