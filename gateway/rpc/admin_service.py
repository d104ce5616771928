"""Operation of a gateway, over gRPC."""

from __future__ import annotations

import contextlib
import functools
import json
import time
from importlib.metadata import version
from typing import TYPE_CHECKING

from gateway.control.traffic import Totals, quantile_us
from gateway.errors import DeadlineSpentError
from gateway.rpc import paging
from gateway.rpc.status import actor, mapped
from storage.clock import ClockNotReplayError, ReplayClock
from storage.errors import UnavailableError
from storage.presence import list_gateways
from storage.revision import current_revision, list_changes
from turnout.admin.v1 import admin_service_pb2 as pb
from turnout.admin.v1 import admin_service_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import grpc

    from gateway.control.fleet import Fleet, WorkerReport
    from storage.clock import Clock
    from storage.database import Database
    from storage.presence import Presence
    from storage.revision import Change

WAIT_MAX_S = 300.0

_STATES = {
    "loading": pb.LOAD_STATE_LOADING,
    "ready": pb.LOAD_STATE_READY,
    "draining": pb.LOAD_STATE_DRAINING,
    "failed": pb.LOAD_STATE_FAILED,
    "held": pb.LOAD_STATE_HELD,
}


class AdminService(admin_service_pb2_grpc.AdminServiceServicer):
    """Says what is served, waits for it, lists changes, moves the replay clock.

    Parameters
    ----------
    database, clock, fleet
        What it tells of.
    following
        The newest revision that was seen, and since when the database has not answered; 0: it answers.
    """

    def __init__(
        self, *, database: Database, clock: Clock, fleet: Fleet, following: Callable[[], tuple[int, int]]
    ) -> None:
        self._database = database
        self._clock = clock
        self._fleet = fleet
        self._following = following

    def GetServingStatus(
        self, request: pb.GetServingStatusRequest, context: grpc.ServicerContext
    ) -> pb.GetServingStatusResponse:
        """Say what each worker serves."""
        del request
        recent = self._fleet.recent()
        reported = [own for own in recent if own is not None]
        revision, stale_since_us = self._following()
        if not stale_since_us:
            with contextlib.suppress(UnavailableError), self._database.read() as tx:
                revision = current_revision(tx)
        with mapped(context):
            return pb.GetServingStatusResponse(
                revision=revision,
                stale_since_us=stale_since_us,
                workers=[_worker(report, own) for report, own in zip(self._fleet.reports(), recent, strict=True)],
                traffic=_traffic(functools.reduce(Totals.plus, reported)) if reported else None,
                now_us=self._clock.now_us(),
                turnout_version=version("turnout"),
            )

    def ListGateways(self, request: pb.ListGatewaysRequest, context: grpc.ServicerContext) -> pb.ListGatewaysResponse:
        """List the gateways that share the metadata database."""
        del request
        with mapped(context), self._database.read() as tx:
            return pb.ListGatewaysResponse(gateways=[_gateway(each) for each in list_gateways(tx)])

    def WaitForRevision(
        self, request: pb.WaitForRevisionRequest, context: grpc.ServicerContext
    ) -> pb.WaitForRevisionResponse:
        """Wait until every live worker serves a revision."""
        with mapped(context):
            wanted = request.revision
            if not wanted:
                with self._database.read() as tx:
                    wanted = current_revision(tx)
            # grpcio types a float and gives None where the client set no deadline.
            left: float | None = context.time_remaining()
            timeout_s = WAIT_MAX_S if left is None else min(left, WAIT_MAX_S)
            started = time.monotonic()
            if not self._fleet.wait_revision(wanted, timeout_s):
                raise DeadlineSpentError(
                    f"after {time.monotonic() - started:.1f} s a worker still serves revision "
                    f"{self._fleet.lowest_revision()}, not {wanted}; `turnout status` says why",
                    wanted=wanted,
                )
            return pb.WaitForRevisionResponse(revision=self._fleet.lowest_revision())

    def ListChanges(self, request: pb.ListChangesRequest, context: grpc.ServicerContext) -> pb.ListChangesResponse:
        """List the changes of the metadata, newest first."""
        with mapped(context):
            size = paging.page_size(request.page_size)
            before = paging.number_after(request.page_token)
            with self._database.read() as tx:
                changes = list_changes(tx, before_revision=before, limit_max=size + 1)
            shown = changes[:size]
            return pb.ListChangesResponse(
                changes=[
                    pb.Change(
                        revision=change.revision,
                        time_us=change.time_us,
                        kind=change.kind,
                        resource=change.resource,
                        actor=change.actor,
                        detail_json=json.dumps(change.detail, sort_keys=True),
                    )
                    for change in shown
                ],
                next_page_token=paging.token_for(shown[-1].revision) if len(changes) > size else "",
            )

    def ListEvents(self, request: pb.ListEventsRequest, context: grpc.ServicerContext) -> pb.ListEventsResponse:
        """List the audit, newest first."""
        with mapped(context):
            size = paging.page_size(request.page_size)
            before = paging.number_after(request.page_token)
            with self._database.read() as tx:
                found = list_changes(
                    tx,
                    before_revision=before,
                    limit_max=size + 1,
                    resource=request.resource,
                    since_us=request.since_us,
                )
            shown = found[:size]
            return pb.ListEventsResponse(
                events=[_event(change) for change in shown],
                next_page_token=paging.token_for(shown[-1].revision) if len(found) > size else "",
            )

    def AdvanceClock(self, request: pb.AdvanceClockRequest, context: grpc.ServicerContext) -> pb.AdvanceClockResponse:
        """Move the replay clock forward."""
        with mapped(context):
            if not isinstance(self._clock, ReplayClock):
                raise ClockNotReplayError(
                    f"{actor(context)} asked to move the clock, but the gateway runs on the machine's time; start it "
                    "with `--clock replay`"
                )
            self._clock.advance_to(request.now_us)
            return pb.AdvanceClockResponse(now_us=self._clock.now_us())


def _traffic(recent: Totals) -> pb.Traffic:
    window_s = max(recent.at, 1e-9)
    return pb.Traffic(
        window_s=recent.at,
        predictions_per_s=recent.predictions / window_s,
        failures_per_s=recent.failures / window_s,
        shed_per_s=recent.shed / window_s,
        wave_calls_mean=recent.predictions / recent.waves if recent.waves else 0.0,
        p50_us=quantile_us(recent.latencies, 0.5),
        p99_us=quantile_us(recent.latencies, 0.99),
        processors=recent.cpu_s / window_s,
    )


def _gateway(presence: Presence) -> pb.Gateway:
    said = presence.state
    return pb.Gateway(
        name=f"gateways/{presence.name}",
        alive=presence.alive,
        stopped=presence.stopped,
        start_time_us=presence.started_us,
        seen_time_us=presence.seen_us,
        turnout_version=said.get("turnout_version", ""),
        zone=said.get("zone", ""),
        host=said.get("host", ""),
        data_address=said.get("data_address", ""),
        control_address=said.get("control_address", ""),
        workers=said.get("workers", 0),
        ready_workers=said.get("ready_workers", 0),
        revision=said.get("revision", -1),
        predictions_per_s=said.get("predictions_per_s", 0.0),
        versions=said.get("versions", ()),
    )


def _gauge(report: WorkerReport, name: str) -> int:
    return int(sum(series.total for series in report.counts.family(name).values()))


def _event(change: Change) -> pb.AuditEvent:
    return pb.AuditEvent(
        revision=change.revision,
        time_us=change.time_us,
        kind=change.kind,
        resource=change.resource,
        actor=change.actor,
        credential=change.credential or "",
        peer=change.peer or "",
        detail_json=_json(change.detail),
        before_json=_json(change.before),
        after_json=_json(change.after),
    )


def _json(facts: Mapping[str, object] | None) -> str:
    return "" if facts is None else json.dumps(facts, sort_keys=True)


def _worker(report: WorkerReport, recent: Totals | None) -> pb.Worker:
    return pb.Worker(
        slot=report.slot,
        pid=report.pid,
        revision=report.revision,
        transport=report.transport,
        ready=report.ready,
        restarts=report.restarts,
        traffic=_traffic(recent) if recent is not None else None,
        calls_in_flight=_gauge(report, "turnout_calls_in_flight"),
        resident_bytes=_gauge(report, "turnout_process_resident_memory_bytes"),
        versions=[
            pb.LoadedVersion(
                model=loaded.model, version=loaded.version, state=_STATES[loaded.state], reason=loaded.reason
            )
            for loaded in report.versions
        ],
    )
