"""The calls about aliases, promotions among them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.rpc import paging, status
from gateway.rpc import registry_codec as codec
from gateway.rpc.registry_calls.parts import RegistryCalls
from registry import alias_history, aliases, champion
from registry.clearance import NOTHING_KNOWN, Support
from registry.records import CHAMPION
from storage.leases import shared_now_us
from turnout.registry.v1 import registry_service_pb2 as pb

if TYPE_CHECKING:
    import grpc


class AliasCalls(RegistryCalls):
    """Aliases: moved, removed, and their history."""

    def PromoteVersion(
        self, request: pb.PromoteVersionRequest, context: grpc.ServicerContext
    ) -> pb.PromoteVersionResponse:
        """Make a version the champion."""
        with status.mapped(context):
            model, number = codec.version_key(request.name)
            evidence = codec.json_object(request.evidence_json, "evidence_json")
            support = self._parts.clearances.gather(model, number, override_reason=request.override_reason)
            with self._database.write() as tx:
                move = champion.promote(
                    tx,
                    model,
                    number,
                    generation=request.generation if request.HasField("generation") else None,
                    reason=request.reason,
                    evidence=evidence,
                    support=support,
                    actor=status.actor(context),
                    now_us=shared_now_us(tx, self._clock),
                )
            return pb.PromoteVersionResponse(alias=codec.alias_message(move.stands), revision=move.revision)

    def RollbackModel(
        self, request: pb.RollbackModelRequest, context: grpc.ServicerContext
    ) -> pb.RollbackModelResponse:
        """Make an earlier champion the champion again."""
        with status.mapped(context):
            model = codec.model_id(request.name)
            with self._database.write() as tx:
                move = champion.rollback(
                    tx,
                    model,
                    number=request.version or None,
                    generation=request.generation if request.HasField("generation") else None,
                    reason=request.reason,
                    support=Support(override_reason=request.override_reason),
                    actor=status.actor(context),
                    now_us=shared_now_us(tx, self._clock),
                )
            return pb.RollbackModelResponse(alias=codec.alias_message(move.stands), revision=move.revision)

    def SetAlias(self, request: pb.SetAliasRequest, context: grpc.ServicerContext) -> pb.SetAliasResponse:
        """Move an alias, or make it."""
        with status.mapped(context):
            model, number = codec.version_key(request.name)
            support = NOTHING_KNOWN
            if request.alias == CHAMPION:
                support = self._parts.clearances.gather(model, number, override_reason=request.override_reason)
            with self._database.write() as tx:
                move = aliases.set_alias(
                    tx,
                    model,
                    number,
                    alias=request.alias,
                    generation=request.generation if request.HasField("generation") else None,
                    reason=request.reason,
                    expires_us=request.expire_time_us,
                    support=support,
                    actor=status.actor(context),
                    now_us=shared_now_us(tx, self._clock),
                )
            return pb.SetAliasResponse(alias=codec.alias_message(move.stands), revision=move.revision)

    def DeleteAlias(self, request: pb.DeleteAliasRequest, context: grpc.ServicerContext) -> pb.DeleteAliasResponse:
        """Remove an alias."""
        with status.mapped(context):
            model = codec.model_id(request.parent)
            with self._database.write() as tx:
                move = aliases.remove_alias(
                    tx,
                    model,
                    request.alias,
                    generation=request.generation if request.HasField("generation") else None,
                    reason=request.reason,
                    actor=status.actor(context),
                    now_us=shared_now_us(tx, self._clock),
                )
            return pb.DeleteAliasResponse(revision=move.revision)

    def GetAliasHolder(
        self, request: pb.GetAliasHolderRequest, context: grpc.ServicerContext
    ) -> pb.GetAliasHolderResponse:
        """Say which version held an alias at a time."""
        with status.mapped(context), self._database.read() as tx:
            model = codec.model_id(request.parent)
            move = alias_history.alias_at(tx, model, request.alias, time_us=request.time_us)
            if move is None:
                return pb.GetAliasHolderResponse()
            return pb.GetAliasHolderResponse(version=move.to_version, move=codec.move_message(move))

    def ListAliasHistory(
        self, request: pb.ListAliasHistoryRequest, context: grpc.ServicerContext
    ) -> pb.ListAliasHistoryResponse:
        """List the moves of a model's aliases, newest first."""
        with status.mapped(context), self._database.read() as tx:
            size = paging.page_size(request.page_size)
            found = alias_history.alias_history(
                tx,
                codec.model_id(request.parent),
                alias=request.alias,
                before_revision=paging.number_after(request.page_token),
                limit_max=size + 1,
            )
            return pb.ListAliasHistoryResponse(
                moves=[codec.move_message(move) for move in found[:size]],
                next_page_token=paging.token_for(found[size - 1].revision) if len(found) > size else "",
            )
