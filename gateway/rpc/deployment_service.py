"""The settings of sessions over gRPC, on the control port."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from gateway.errors import RequestMalformedError
from gateway.rpc import status
from registry.deployment import GRAPH_OPTIMIZATIONS, Deployment, checked
from registry.deployments import OF_MODEL, default_deployment, get_deployment, set_deployment
from turnout import resources
from turnout.registry.v1 import deployment_service_pb2 as pb
from turnout.registry.v1 import deployment_service_pb2_grpc as pb_grpc

if TYPE_CHECKING:
    import grpc

    from gateway.control.fleet import Fleet
    from storage.clock import Clock
    from storage.database import Database

READY = "ready"
"""What a worker says of a version that answers."""
_PRESENT = ("intra_op_threads", "inter_op_threads", "arena", "stack_rows_max", "stack_tolerance")
_OPTIMIZATIONS = {
    pb.GraphOptimization.Value(f"GRAPH_OPTIMIZATION_{each.upper()}"): each for each in GRAPH_OPTIMIZATIONS
}
_NUMBERS = {name: number for number, name in _OPTIMIZATIONS.items()}


class DeploymentService(pb_grpc.DeploymentServiceServicer):
    """Returns and changes settings.

    Parameters
    ----------
    database, clock
        Where settings are kept, and the time that changes are dated by.
    fleet
        The workers: what execution providers they have, and what they hold.
    address
        The data port's address.
    """

    def __init__(self, *, database: Database, clock: Clock, fleet: Fleet, address: str) -> None:
        self._database = database
        self._clock = clock
        self._fleet = fleet
        self._address = address

    def GetDeployment(
        self, request: pb.GetDeploymentRequest, context: grpc.ServicerContext
    ) -> pb.GetDeploymentResponse:
        """Return the settings that hold."""
        with status.mapped(context):
            model, number = _key(request.name)
            with self._database.read() as tx:
                deployment = get_deployment(tx, model, number)
            endpoint = None if number == OF_MODEL else self._endpoint(model, number)
            return pb.GetDeploymentResponse(deployment=_message(request.name, deployment), endpoint=endpoint)

    def SetDeployment(
        self, request: pb.SetDeploymentRequest, context: grpc.ServicerContext
    ) -> pb.SetDeploymentResponse:
        """Change settings."""
        with status.mapped(context):
            name = request.deployment.name
            model, number = _key(name)
            changes = _changes(request.deployment)
            if not changes and not request.reset:
                raise RequestMalformedError("the change names no setting", name=name)
            with self._database.write() as tx:
                before = default_deployment(tx, model, number) if request.reset else get_deployment(tx, model, number)
                deployment = checked(replace(before, **changes), providers=self._fleet.providers())
                revision = set_deployment(
                    tx,
                    model,
                    number,
                    deployment if changes else None,
                    actor=status.actor(context),
                    now_us=self._clock.now_us(),
                )
            return pb.SetDeploymentResponse(deployment=_message(name, deployment), revision=revision)

    def _endpoint(self, model: str, number: int) -> pb.ServingEndpoint:
        reports = self._fleet.reports()
        serving = [
            report
            for report in reports
            if report.ready
            and any((one.model, one.version, one.state) == (model, number, READY) for one in report.versions)
        ]
        return pb.ServingEndpoint(
            address=self._address,
            model=resources.model_name(model),
            version=number,
            serving_workers=len(serving),
            workers=len(reports),
        )


def _key(name: str) -> tuple[str, int]:
    """Return the model and the number of the version, `OF_MODEL` for a model's name; or raise RequestMalformedError."""
    try:
        return resources.parse_version(name) if "/versions/" in name else (resources.model_id(name), OF_MODEL)
    except resources.ResourceNameError as error:
        raise RequestMalformedError(str(error), name=name[:128]) from error


def _changes(message: pb.Deployment) -> dict[str, Any]:
    present = {field.name for field, _ in message.ListFields()}
    changes: dict[str, Any] = {field: getattr(message, field) for field in _PRESENT if field in present}
    if message.execution_providers:
        changes["execution_providers"] = tuple(message.execution_providers)
    if message.graph_optimization:
        if message.graph_optimization not in _OPTIMIZATIONS:
            raise RequestMalformedError(f"there is no graph optimization {message.graph_optimization}")
        changes["graph_optimization"] = _OPTIMIZATIONS[message.graph_optimization]
    if message.warm_ups:
        changes["warm_up"] = tuple(
            tuple((name, tuple(shape.extents)) for name, shape in sorted(each.inputs.items()))
            for each in message.warm_ups
        )
    return changes


def _message(name: str, deployment: Deployment) -> pb.Deployment:
    return pb.Deployment(
        name=name,
        intra_op_threads=deployment.intra_op_threads,
        inter_op_threads=deployment.inter_op_threads,
        arena=deployment.arena,
        stack_rows_max=deployment.stack_rows_max,
        stack_tolerance=deployment.stack_tolerance,
        execution_providers=deployment.execution_providers,
        graph_optimization=_NUMBERS[deployment.graph_optimization],
        warm_ups=[
            pb.WarmUp(inputs={name: pb.Extents(extents=shape) for name, shape in shapes})
            for shapes in deployment.warm_up
        ],
    )
