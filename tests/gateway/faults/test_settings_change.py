from turnout.admin.v1 import admin_service_pb2 as apb
from turnout.registry.v1 import deployment_service_pb2 as pb
from turnout.registry.v1 import deployment_service_pb2_grpc as pb_grpc


def change(deployments, *, reset=False, **fields):
    deployment = pb.Deployment(name="models/live", **fields)
    return deployments.SetDeployment(pb.SetDeploymentRequest(deployment=deployment, reset=reset)).revision


def standing(operator, model):
    (worker,) = operator.status().workers
    return [(one.version, one.state, one.reason) for one in worker.versions if one.model == model]


def test_a_change_under_load_fails_no_call_and_one_that_cannot_be_loaded_changes_nothing(gateway, operate, load):
    operator = operate(gateway)
    deployments = pb_grpc.DeploymentServiceStub(operator.control)
    operator.publish("live", 2.0, alias="champion")
    operator.wait()
    with load(gateway.data_address, "live") as calls:
        calls.wait_for(20)
        revision = change(
            deployments,
            intra_op_threads=2,
            arena=True,
            graph_optimization=pb.GRAPH_OPTIMIZATION_NONE,
            warm_ups=[pb.WarmUp(inputs={"x": pb.Extents(extents=[8, 4])})],
        )
        operator.wait(revision)
        assert standing(operator, "live") == [(1, apb.LOAD_STATE_READY, "")]
        calls.wait_for(20)
        # The graph has no input of that name: only the load can tell.
        revision = change(deployments, warm_ups=[pb.WarmUp(inputs={"y": pb.Extents(extents=[1])})])
        operator.wait(revision)
        ((version, state, reason),) = standing(operator, "live")
        assert (version, state) == (1, apb.LOAD_STATE_READY)
        assert "with its settings before: the warm-up names inputs that the graph has not: y" in reason
        calls.wait_for(20)
        operator.wait(change(deployments, reset=True))
        assert standing(operator, "live") == [(1, apb.LOAD_STATE_READY, "")]
    assert calls.failures == calls.retries == []
    assert {answer.scale for answer in calls.answers} == {2.0}
