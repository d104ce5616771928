"""The calls that tell of the registry as a whole: following it, and the ratios of its governance."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from gateway.errors import WatchersFullError
from gateway.rpc import status
from gateway.rpc.registry_calls.parts import RegistryCalls
from turnout.registry.v1 import governance_pb2, watch_pb2

if TYPE_CHECKING:
    from collections.abc import Iterator

    import grpc

    from gateway.control.watching import Snapshot
    from gateway.rpc.registry_calls.parts import RegistryParts

WATCHERS_MAX = 64
ALIVE_CHECK_S = 1.0
"""How soon a watcher that left gives its thread back."""


class WatchCalls(RegistryCalls):
    """Following the registry; governance."""

    def __init__(self, parts: RegistryParts) -> None:
        super().__init__(parts)
        self._seats = threading.Semaphore(WATCHERS_MAX)

    def WatchModels(
        self, request: watch_pb2.WatchModelsRequest, context: grpc.ServicerContext
    ) -> Iterator[watch_pb2.WatchModelsResponse]:
        """Send whole snapshots, and signs of life between them."""
        with status.mapped(context):
            if not self._seats.acquire(blocking=False):
                raise WatchersFullError(f"{WATCHERS_MAX} follow the registry already, as many as may")
            try:
                yield from self._watch(request, context)
            finally:
                self._seats.release()

    # Threads of their own, made as they are needed: those of the port are for calls that end.
    WatchModels.experimental_thread_pool = ThreadPoolExecutor(  # type: ignore[attr-defined]  # grpcio asks for it here
        WATCHERS_MAX + 4, thread_name_prefix="watch"
    )

    def _watch(self, request: watch_pb2.WatchModelsRequest, context: Any) -> Iterator[watch_pb2.WatchModelsResponse]:
        seen = request.after_revision if request.HasField("after_revision") else -1
        silent_s = 0.0
        snapshots = self._parts.snapshots
        while context.is_active() and not snapshots.closed:
            snapshot = snapshots.newer_than(seen, within_s=ALIVE_CHECK_S)
            if snapshot is not None:
                seen, silent_s = snapshot.revision, 0.0
                yield _message(snapshot)
                continue
            silent_s += ALIVE_CHECK_S
            if silent_s >= self._parts.heartbeat_s:
                silent_s = 0.0
                yield watch_pb2.WatchModelsResponse(revision=snapshots.revision, heartbeat=True)

    def GetGovernance(
        self,
        request: governance_pb2.GetGovernanceRequest,  # noqa: ARG002  (it is empty)
        context: grpc.ServicerContext,
    ) -> governance_pb2.GetGovernanceResponse:
        """Count the ratios."""
        with status.mapped(context):
            revision, ratios = self._parts.governance.ratios()
            return governance_pb2.GetGovernanceResponse(
                revision=revision,
                ratios=[
                    governance_pb2.GovernanceRatio(
                        name=ratio.name,
                        numerator=ratio.numerator,
                        denominator=ratio.denominator,
                        ratio=ratio.value,
                        counted=ratio.counted,
                    )
                    for ratio in ratios
                ],
            )


def _message(snapshot: Snapshot) -> watch_pb2.WatchModelsResponse:
    return watch_pb2.WatchModelsResponse(
        revision=snapshot.revision,
        models=[
            watch_pb2.WatchedModel(
                name=f"models/{model.id}",
                latest_version=model.latest_version,
                aliases=[
                    watch_pb2.WatchedAlias(
                        alias=alias.alias,
                        version=alias.version,
                        generation=alias.generation,
                        expire_time_us=alias.expires_us,
                    )
                    for alias in model.aliases
                ],
                versions=[
                    watch_pb2.WatchedVersion(
                        version=version.number,
                        stage=version.stage.value,
                        artifact_sha256=version.artifact_sha256,
                        feature_set=version.facts.feature_set,
                        deprecated_reason=version.deprecated,
                    )
                    for version in versions
                ],
            )
            for model, versions in snapshot.models
        ],
    )
