"""The registry over gRPC, on the control port: a message in, one transaction of the registry, a message out."""

from __future__ import annotations

from gateway.rpc.registry_calls.aliases import AliasCalls
from gateway.rpc.registry_calls.archives import ArchiveCalls
from gateway.rpc.registry_calls.artifacts import ArtifactCalls
from gateway.rpc.registry_calls.governance import GovernanceCalls
from gateway.rpc.registry_calls.models import ModelCalls
from gateway.rpc.registry_calls.relations import RelationCalls
from gateway.rpc.registry_calls.versions import VersionCalls
from gateway.rpc.registry_calls.watching import WatchCalls
from turnout.registry.v1 import registry_service_pb2_grpc as pb_grpc


class RegistryService(
    ModelCalls,
    VersionCalls,
    AliasCalls,
    GovernanceCalls,
    RelationCalls,
    ArtifactCalls,
    ArchiveCalls,
    WatchCalls,
    pb_grpc.RegistryServiceServicer,
):
    """Answers the registry's calls."""
