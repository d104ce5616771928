"""What the control port answers."""

from __future__ import annotations

import socket
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from features.definitions import digest_of
from features.differences import check_unchanged
from features.errors import SetMissingError
from features.records import get_set
from gateway.control.archive import Archives
from gateway.control.clearances import Clearances
from gateway.control.comparing import Comparing
from gateway.control.erasing import Eraser
from gateway.control.events import Events
from gateway.control.experiments import ExperimentControl
from gateway.control.features import FeatureControl
from gateway.control.governance import Governance
from gateway.control.judge import ExperimentJudge
from gateway.control.labels import write_outcomes
from gateway.control.lineage import Lineages
from gateway.control.profiling import Profiling
from gateway.control.publication import FeatureSetShape
from gateway.control.publish import Publisher
from gateway.control.ramping import RampRunner
from gateway.control.ramps import RampControl
from gateway.control.shadows import ShadowControl
from gateway.control.skew import SkewReplay
from gateway.control.training import TrainingControl
from gateway.control.trial import Trial
from gateway.control.upkeep import Upkeep
from gateway.rpc.admin_service import AdminService
from gateway.rpc.deployment_service import DeploymentService
from gateway.rpc.event_service import EventService
from gateway.rpc.experiment_service import ExperimentService
from gateway.rpc.feature_service import FeatureService
from gateway.rpc.registry_calls.parts import RegistryParts
from gateway.rpc.registry_service import RegistryService
from gateway.rpc.shadow_service import ShadowService
from gateway.rpc.trainer_service import TrainerService
from gateway.rpc.webhook_service import WebhookService
from turnout.admin.v1 import admin_service_pb2, admin_service_pb2_grpc
from turnout.events.v1 import event_service_pb2, event_service_pb2_grpc
from turnout.experiments.v1 import (
    experiment_service_pb2,
    experiment_service_pb2_grpc,
    shadow_service_pb2,
    shadow_service_pb2_grpc,
)
from turnout.features.v1 import feature_service_pb2, feature_service_pb2_grpc
from turnout.registry.v1 import (
    deployment_service_pb2,
    deployment_service_pb2_grpc,
    registry_service_pb2,
    registry_service_pb2_grpc,
    webhook_service_pb2,
    webhook_service_pb2_grpc,
)
from turnout.trainer.v1 import trainer_service_pb2, trainer_service_pb2_grpc

if TYPE_CHECKING:
    import grpc
    from sqlalchemy import Connection

    from gateway.bootstrap.control_parts import ControlParts


_FILES = (
    admin_service_pb2,
    registry_service_pb2,
    deployment_service_pb2,
    webhook_service_pb2,
    feature_service_pb2,
    experiment_service_pb2,
    shadow_service_pb2,
    event_service_pb2,
    trainer_service_pb2,
)


class Added(NamedTuple):
    """What the services are made of that others work with too.

    Attributes
    ----------
    names
        The services' full names.
    ramps
        What takes ramps forward.
    training
        What answers for policies and runs.
    """

    names: tuple[str, ...]
    ramps: RampRunner
    training: TrainingControl


def add_control_services(server: grpc.Server, parts: ControlParts) -> Added:
    """Add the services to a server."""
    trial = Trial()
    judge = ExperimentJudge(database=parts.database, clock=parts.clock, events=parts.events, crew=parts.crew)
    skew = SkewReplay(
        database=parts.database, artifacts=parts.artifacts, events=parts.events, trial=trial, limits=parts.offline
    )
    clearances = Clearances(
        database=parts.database,
        artifacts=parts.artifacts,
        trial=trial,
        units_of=judge.matured_units,
        shadowed=judge.shadowed,
        skew_of=skew.judge,
    )
    _add_versions(server, parts, _registry_parts(parts, trial, clearances))
    _add_operation(server, parts)
    _add_features(server, parts, skew)
    ramps = _add_experiments(server, parts, judge, clearances)
    training = TrainingControl(
        database=parts.database, clock=parts.clock, support_of=clearances.gather, channels=parts.channels.names
    )
    trainer_service_pb2_grpc.add_TrainerServiceServicer_to_server(TrainerService(training), server)
    names = tuple(service.full_name for file in _FILES for service in file.DESCRIPTOR.services_by_name.values())
    return Added(names, ramps, training)


def _add_versions(server: grpc.Server, parts: ControlParts, registry: RegistryParts) -> None:
    """Add what keeps versions and runs them, and what tells of changes."""
    registry_service_pb2_grpc.add_RegistryServiceServicer_to_server(RegistryService(registry), server)
    deployment_service_pb2_grpc.add_DeploymentServiceServicer_to_server(
        DeploymentService(database=parts.database, clock=parts.clock, fleet=parts.fleet, address=parts.data_address),
        server,
    )
    webhook_service_pb2_grpc.add_WebhookServiceServicer_to_server(
        WebhookService(database=parts.database, clock=parts.clock, poster=parts.poster, teller=parts.teller), server
    )


def _add_operation(server: grpc.Server, parts: ControlParts) -> None:
    """Add what an operator asks of gateways and of the journal."""
    admin_service_pb2_grpc.add_AdminServiceServicer_to_server(
        AdminService(database=parts.database, clock=parts.clock, fleet=parts.fleet, following=parts.following),
        server,
    )
    eraser = Eraser(database=parts.database, clock=parts.clock, tend=parts.compactor.tend, sharing=parts.sharing)
    event_service_pb2_grpc.add_EventServiceServicer_to_server(EventService(Events(parts.events), eraser), server)


def _add_features(server: grpc.Server, parts: ControlParts, skew: SkewReplay) -> None:
    """Add what defines features, reads them and compares them."""
    control = FeatureControl(
        database=parts.database,
        store=parts.store,
        clock=parts.clock,
        limits=parts.offline,
        outcomes=partial(write_outcomes, parts.events),
    )
    profiling = Profiling(database=parts.database, store=parts.store, events=parts.events, limits=parts.offline)
    feature_service_pb2_grpc.add_FeatureServiceServicer_to_server(
        FeatureService(control, parts.materializing, skew, profiling), server
    )


def _add_experiments(
    server: grpc.Server, parts: ControlParts, judge: ExperimentJudge, clearances: Clearances
) -> RampRunner:
    """Add what splits a model's calls and judges the split, and shadows; return what takes ramps forward."""
    experiments = ExperimentControl(database=parts.database, clock=parts.clock, support_of=clearances.gather)
    runner = RampRunner(
        database=parts.database,
        clock=parts.clock,
        events=parts.events,
        control=experiments,
        holder=f"{socket.gethostname()}:{parts.folders.state.resolve()}",
    )
    ramps = RampControl(database=parts.database, clock=parts.clock, known=runner.known)
    experiment_service_pb2_grpc.add_ExperimentServiceServicer_to_server(
        ExperimentService(experiments, judge, ramps), server
    )
    shadows = ShadowControl(database=parts.database, clock=parts.clock, figures=parts.fleet.figures)
    shadow_service_pb2_grpc.add_ShadowServiceServicer_to_server(ShadowService(shadows), server)
    return runner


def _registry_parts(parts: ControlParts, trial: Trial, clearances: Clearances) -> RegistryParts:
    """Return what the registry's calls work with."""
    scratch = parts.folders.run / "incoming"
    publisher = Publisher(
        database=parts.database,
        artifacts=parts.artifacts,
        clock=parts.clock,
        trial=trial,
        feature_sets=_shape_of,
        scratch=scratch,
        keys=parts.keys,
        check_unchanged=check_unchanged,
    )
    return RegistryParts(
        database=parts.database,
        clock=parts.clock,
        publisher=publisher,
        clearances=clearances,
        comparing=Comparing(
            database=parts.database,
            artifacts=parts.artifacts,
            trial=trial,
            scratch=scratch,
            features_of=_features_of,
        ),
        lineages=Lineages(database=parts.database, events=parts.events),
        upkeep=Upkeep(database=parts.database, artifacts=parts.artifacts, keys=parts.keys),
        archives=Archives(
            database=parts.database,
            artifacts=parts.artifacts,
            clock=parts.clock,
            scratch=scratch,
            keys=parts.keys,
            knows_set=_is_known,
        ),
        snapshots=parts.snapshots,
        governance=Governance(database=parts.database, events=parts.events),
    )


def _shape_of(set_id: str, tx: Connection, trained_on_digest: str) -> FeatureSetShape:
    """Return what a version binds to of a feature set: neither library knows the other."""
    feature_set = get_set(tx, set_id)
    if trained_on_digest == feature_set.raw.digest:
        feature_set = feature_set.raw
    return FeatureSetShape(feature_count=len(feature_set.features), digest=feature_set.digest)


def _features_of(tx: Connection, set_id: str, digest: str) -> dict[str, str]:
    """Return the features of a definition in order, each with the digest of the view that it is of."""
    feature_set = get_set(tx, set_id, digest)
    digests = dict(feature_set.view_digests)
    computed = {transform.column: transform.meaning for transform in feature_set.transforms}
    return {
        feature: digest_of([computed[feature], list(digests.items())])
        if feature in computed
        else digests.get(feature.partition(".")[0], "")
        for feature in feature_set.features
    }


def _is_known(tx: Connection, set_id: str, digest: str) -> bool:
    """Return whether there is that definition of a feature set."""
    try:
        get_set(tx, set_id, digest)
    except SetMissingError:
        return False
    return True
