"""The calls about gates, approvals and taints."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from gateway.rpc import paging, status
from gateway.rpc import registry_codec as codec
from gateway.rpc.registry_calls.parts import RegistryCalls
from registry import clearance, models, taints, versions
from registry.records import CHAMPION
from turnout.registry.v1 import gate_pb2, taint_pb2

if TYPE_CHECKING:
    import grpc

    from registry.clearance import Approval, KeptVerdict
    from registry.gates import Verdict
    from registry.taints import Taint

_KINDS = {
    taint_pb2.TAINT_KIND_DATA: "data",
    taint_pb2.TAINT_KIND_FEATURE_VIEW: "feature_view",
    taint_pb2.TAINT_KIND_VERSION: "version",
}
_NUMBERS = {name: number for number, name in _KINDS.items()}


class GovernanceCalls(RegistryCalls):
    """How a version stands at its gates; approvals; taints."""

    def GetGateStatus(
        self, request: gate_pb2.GetGateStatusRequest, context: grpc.ServicerContext
    ) -> gate_pb2.GetGateStatusResponse:
        """Say how a version stands now, and how it stood whenever it became the champion."""
        with status.mapped(context):
            model, number = codec.version_key(request.name)
            support = self._parts.clearances.gather(model, number)
            with self._database.read() as tx:
                version = versions.get_version(tx, model, number)
                holders = [each.version for each in models.get_model(tx, model).aliases if each.alias == CHAMPION]
                now = clearance.verdicts(tx, version, holders[0] if holders else 0, support)
                kept = clearance.kept_verdicts(tx, version)
                approvals = clearance.approvals_of(tx, version)
            return gate_pb2.GetGateStatusResponse(
                passes=all(verdict.passed for verdict in now),
                now=[_verdict(verdict) for verdict in now],
                kept=[_kept(verdict) for verdict in kept],
                approvals=[_approval(approval) for approval in approvals],
            )

    def ApproveVersion(
        self, request: gate_pb2.ApproveVersionRequest, context: grpc.ServicerContext
    ) -> gate_pb2.ApproveVersionResponse:
        """Give or withdraw one person's approval."""
        with status.mapped(context):
            key = codec.version_key(request.name)
            with self._database.write() as tx:
                approval = clearance.approve(
                    tx,
                    *key,
                    role=request.role,
                    approved=not request.withdraw,
                    note=request.note,
                    actor=status.actor(context),
                    now_us=self._clock.now_us(),
                )
            return gate_pb2.ApproveVersionResponse(approval=_approval(approval))

    def CreateTaint(
        self, request: taint_pb2.CreateTaintRequest, context: grpc.ServicerContext
    ) -> taint_pb2.CreateTaintResponse:
        """Mark something as wrong."""
        with status.mapped(context):
            with self._database.write() as tx:
                taint = taints.add_taint(
                    tx,
                    _KINDS.get(request.kind, ""),
                    request.subject,
                    reason=request.reason,
                    actor=status.actor(context),
                    now_us=self._clock.now_us(),
                )
            touched = self._parts.lineages.touched_by(taint)
            return taint_pb2.CreateTaintResponse(taint=taint_message(taint), versions=touched)

    def ClearTaint(
        self, request: taint_pb2.ClearTaintRequest, context: grpc.ServicerContext
    ) -> taint_pb2.ClearTaintResponse:
        """Say that something is no longer wrong."""
        with status.mapped(context):
            with self._database.write() as tx:
                taint = taints.clear_taint(
                    tx,
                    request.taint_id,
                    reason=request.reason,
                    actor=status.actor(context),
                    now_us=self._clock.now_us(),
                )
            return taint_pb2.ClearTaintResponse(taint=taint_message(taint))

    def ListTaints(
        self, request: taint_pb2.ListTaintsRequest, context: grpc.ServicerContext
    ) -> taint_pb2.ListTaintsResponse:
        """List taints, newest first."""
        with status.mapped(context), self._database.read() as tx:
            size = paging.page_size(request.page_size)
            before = paging.number_after(request.page_token)
            found = taints.list_taints(tx, standing=not request.show_cleared, before=before, limit_max=size + 1)
            return taint_pb2.ListTaintsResponse(
                taints=[taint_message(taint) for taint in found[:size]],
                next_page_token=paging.token_for(found[size - 1].id) if len(found) > size else "",
            )


def taint_message(taint: Taint) -> taint_pb2.Taint:
    """Return the taint's message."""
    return taint_pb2.Taint(
        taint_id=taint.id,
        kind=_NUMBERS[taint.kind],
        subject=taint.subject,
        reason=taint.reason,
        actor=taint.actor,
        time_us=taint.time_us,
        clear_time_us=taint.cleared_us,
        clear_actor=taint.cleared_by,
        clear_reason=taint.cleared_reason,
    )


def _verdict(verdict: Verdict) -> gate_pb2.GateVerdict:
    evidence = {"gate": dict(verdict.gate), **verdict.evidence}
    return gate_pb2.GateVerdict(
        gate=str(verdict.gate["kind"]),
        passed=verdict.passed,
        sentence=verdict.sentence,
        evidence_json=json.dumps(evidence),
    )


def _kept(verdict: KeptVerdict) -> gate_pb2.GateVerdict:
    return gate_pb2.GateVerdict(
        gate=verdict.gate,
        passed=verdict.passed,
        sentence=verdict.sentence,
        evidence_json=json.dumps(verdict.evidence),
        overridden=verdict.overridden,
        override_reason=verdict.override_reason,
        actor=verdict.actor,
        time_us=verdict.time_us,
    )


def _approval(approval: Approval) -> gate_pb2.Approval:
    return gate_pb2.Approval(
        role=approval.role,
        actor=approval.actor,
        approved=approval.approved,
        note=approval.note,
        time_us=approval.time_us,
    )
