"""Shadows over gRPC, on the control port."""

from __future__ import annotations

from typing import TYPE_CHECKING

from experiments.shadow import Shadow
from gateway.errors import RequestMalformedError
from gateway.rpc import paging, status
from turnout import resources
from turnout.experiments.v1 import shadow_service_pb2 as pb
from turnout.experiments.v1 import shadow_service_pb2_grpc as pb_grpc

if TYPE_CHECKING:
    import grpc

    from gateway.control.shadows import ShadowControl, Standing


class ShadowService(pb_grpc.ShadowServiceServicer):
    """Answers the calls about shadows.

    Parameters
    ----------
    control
        What keeps them.
    """

    def __init__(self, control: ShadowControl) -> None:
        self._control = control

    def SetShadow(self, request: pb.SetShadowRequest, context: grpc.ServicerContext) -> pb.SetShadowResponse:
        """Let a version run in the shadow."""
        with status.mapped(context):
            asked = request.shadow
            shadow = Shadow(model=_model(asked.name), version=asked.version, alias=asked.alias, share=asked.share)
            standing, revision = self._control.put(shadow, reason=request.reason, actor=status.actor(context))
            return pb.SetShadowResponse(shadow=_message(standing), revision=revision)

    def GetShadow(self, request: pb.GetShadowRequest, context: grpc.ServicerContext) -> pb.GetShadowResponse:
        """Return a model's shadow."""
        with status.mapped(context):
            return pb.GetShadowResponse(shadow=_message(self._control.get(_model(request.name))))

    def ListShadows(self, request: pb.ListShadowsRequest, context: grpc.ServicerContext) -> pb.ListShadowsResponse:
        """List shadows by model."""
        with status.mapped(context):
            size = paging.page_size(request.page_size)
            found = self._control.list_page(after=paging.text_after(request.page_token), limit_max=size + 1)
            return pb.ListShadowsResponse(
                shadows=[_message(each) for each in found[:size]],
                next_page_token=paging.token_for(found[size - 1].shadow.model) if len(found) > size else "",
            )

    def RemoveShadow(self, request: pb.RemoveShadowRequest, context: grpc.ServicerContext) -> pb.RemoveShadowResponse:
        """End a model's shadow."""
        with status.mapped(context):
            revision = self._control.remove(_model(request.name), reason=request.reason, actor=status.actor(context))
            return pb.RemoveShadowResponse(revision=revision)


def _model(name: str) -> str:
    """Return the model in a shadow's name, or raise RequestMalformedError."""
    try:
        return resources.shadow_model(name)
    except resources.ResourceNameError as error:
        raise RequestMalformedError(str(error), name=name[:128]) from error


def _message(standing: Standing) -> pb.Shadow:
    shadow = standing.shadow
    message = pb.Shadow(
        name=resources.shadow_name(shadow.model),
        share=shadow.share,
        running_version=standing.version,
        set_us=shadow.set_us,
        set_by=shadow.set_by,
        counts=pb.ShadowCounts(paired=standing.paired, failed=standing.failed, dropped=standing.dropped),
    )
    if shadow.version:
        message.version = shadow.version
    else:
        message.alias = shadow.alias
    return message
