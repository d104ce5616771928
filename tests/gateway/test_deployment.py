"""Settings of sessions: kept and checked."""

import grpc
import onnxruntime
import pytest

from turnout.admin.v1 import admin_service_pb2 as apb
from turnout.registry.v1 import deployment_service_pb2 as pb
from turnout.registry.v1 import deployment_service_pb2_grpc as pb_grpc


@pytest.fixture
def operator(gateway, operate):
    return operate(gateway)


@pytest.fixture
def deployments(operator):
    return pb_grpc.DeploymentServiceStub(operator.control)


def change(deployments, name, *, reset=False, **fields):
    return deployments.SetDeployment(
        pb.SetDeploymentRequest(deployment=pb.Deployment(name=name, **fields), reset=reset)
    )


def held_by(deployments, name):
    return deployments.GetDeployment(pb.GetDeploymentRequest(name=name)).deployment


def test_a_version_has_its_own_settings_else_its_models_else_the_defaults(operator, deployments):
    for scale in (2.0, 3.0):
        operator.publish("kept", scale)
    model, version = "models/kept", "models/kept/versions/2"
    default = held_by(deployments, model)
    assert (default.intra_op_threads, default.inter_op_threads, default.arena) == (1, 1, False)
    assert list(default.execution_providers) == ["CPUExecutionProvider"]
    assert (default.graph_optimization, default.stack_rows_max) == (pb.GRAPH_OPTIMIZATION_ALL, 64)
    change(deployments, model, intra_op_threads=2)
    change(deployments, version, arena=True)
    change(deployments, model, intra_op_threads=3)
    assert held_by(deployments, "models/kept/versions/1").intra_op_threads == 3
    # A version's own settings are whole: they do not move with its model's any more.
    assert (held_by(deployments, version).intra_op_threads, held_by(deployments, version).arena) == (2, True)
    change(deployments, version, reset=True)
    assert (held_by(deployments, version).intra_op_threads, held_by(deployments, version).arena) == (3, False)
    answer = change(deployments, model, reset=True, stack_rows_max=1)
    assert (answer.deployment.intra_op_threads, answer.deployment.stack_rows_max) == (1, 1)
    newest = operator.admin.ListChanges(apb.ListChangesRequest(page_size=1)).changes[0]
    assert (newest.revision, newest.kind, newest.resource) == (answer.revision, "deployment.set", model)
    assert '"stack_rows_max": 64' in newest.detail_json


def test_a_version_says_where_it_is_served_and_by_how_many_workers(gateway, operator, deployments):
    operator.publish("placed", 2.0, alias="champion")
    operator.publish("placed", 3.0)
    operator.wait()
    first, second = (
        deployments.GetDeployment(pb.GetDeploymentRequest(name=f"models/placed/versions/{number}")).endpoint
        for number in (1, 2)
    )
    assert (first.address, first.model, first.version) == (gateway.data_address, "models/placed", 1)
    assert (first.serving_workers, first.workers) == (1, 1)
    assert second.serving_workers == 0, "nobody has asked for it"
    assert not deployments.GetDeployment(pb.GetDeploymentRequest(name="models/placed")).HasField("endpoint")


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"intra_op_threads": 0}, "1 to 256"),
        ({"inter_op_threads": 257}, "1 to 256"),
        ({"stack_rows_max": 65}, "1 to 64"),
        ({"stack_tolerance": float("nan")}, "0 to 1"),
        ({"execution_providers": ["NoSuchExecutionProvider"]}, "CPUExecutionProvider"),
        ({"warm_ups": [pb.WarmUp(inputs={"x": pb.Extents(extents=[0])})]}, "warm-up of 'x'"),
        ({"warm_ups": [pb.WarmUp(inputs={"x": pb.Extents(extents=[1 << 20, 1 << 20])})]}, "elements"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_setting_that_there_is_not_is_refused(operator, deployments, refusal, fields, told):
    operator.publish("refused", 2.0)
    request = pb.SetDeploymentRequest(deployment=pb.Deployment(name="models/refused", **fields))
    code, reason, message = refusal(deployments.SetDeployment, request)
    assert (code, reason) == (grpc.StatusCode.INVALID_ARGUMENT, "DEPLOYMENT_INVALID")
    assert told in message


def test_the_refusal_of_a_provider_lists_those_of_this_build(operator, deployments, refusal):
    operator.publish("listed", 2.0)
    request = pb.SetDeploymentRequest(deployment=pb.Deployment(name="models/listed", execution_providers=["Other"]))
    _, _, message = refusal(deployments.SetDeployment, request)
    assert ", ".join(sorted(onnxruntime.get_available_providers())) in message


@pytest.mark.parametrize("name", ["models/none", "models/none/versions/1", "model", "models/none/versions/x"])
def test_settings_of_what_there_is_not_are_refused(deployments, name):
    with pytest.raises(grpc.RpcError) as caught:
        change(deployments, name, arena=True)
    code = grpc.StatusCode.NOT_FOUND if name.startswith("models/none") and "x" not in name else None
    assert caught.value.code() is (code or grpc.StatusCode.INVALID_ARGUMENT)
