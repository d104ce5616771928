"""The calls about ramps and hold-outs, a part of the experiments' service."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.control.ramps import Fault
from gateway.errors import RequestMalformedError
from gateway.rpc import paging, ramp_codec, status
from turnout import resources
from turnout.experiments.v1 import experiment_service_pb2 as pb
from turnout.experiments.v1 import experiment_service_pb2_grpc as pb_grpc

if TYPE_CHECKING:
    import grpc

    from gateway.control.ramps import RampControl

_DEFAULT = Fault()


class RampCalls(pb_grpc.ExperimentServiceServicer):
    """Answers the calls about ramps: a message in, one act of the control plane, a message out.

    Parameters
    ----------
    ramps
        What keeps them.
    """

    def __init__(self, ramps: RampControl) -> None:
        self._ramps = ramps

    def GetRamp(self, request: pb.GetRampRequest, context: grpc.ServicerContext) -> pb.GetRampResponse:
        """Say where a ramp stands."""
        with status.mapped(context):
            return pb.GetRampResponse(ramp=ramp_codec.status_message(self._ramps.get(_experiment_id(request.name))))

    def ListRampEvents(
        self, request: pb.ListRampEventsRequest, context: grpc.ServicerContext
    ) -> pb.ListRampEventsResponse:
        """List what happened to a ramp."""
        with status.mapped(context):
            size = paging.page_size(request.page_size)
            after = paging.number_after(request.page_token) or 0
            found = self._ramps.events(_experiment_id(request.name), after=after, limit_max=size + 1)
            return pb.ListRampEventsResponse(
                events=[ramp_codec.event_message(each) for each in found[:size]],
                next_page_token=paging.token_for(found[size - 1].number) if len(found) > size else "",
            )

    def PreviewRamp(self, request: pb.PreviewRampRequest, context: grpc.ServicerContext) -> pb.PreviewRampResponse:
        """Say how much a fault reaches at most."""
        with status.mapped(context):
            fault = Fault(
                rise=request.rise or _DEFAULT.rise,
                baseline=request.baseline if request.HasField("baseline") else _DEFAULT.baseline,
                variance=request.variance or _DEFAULT.variance,
                confidence=request.confidence or _DEFAULT.confidence,
            )
            found = self._ramps.preview(_experiment_id(request.name), fault)
            return pb.PreviewRampResponse(bounds=[ramp_codec.bound_message(each) for each in found])

    def PauseRamp(self, request: pb.PauseRampRequest, context: grpc.ServicerContext) -> pb.PauseRampResponse:
        """Keep a ramp where it is."""
        with status.mapped(context):
            name = _experiment_id(request.name)
            view = self._ramps.pause(name, reason=request.reason, actor=status.actor(context))
            return pb.PauseRampResponse(ramp=ramp_codec.status_message(view))

    def ResumeRamp(self, request: pb.ResumeRampRequest, context: grpc.ServicerContext) -> pb.ResumeRampResponse:
        """Let a paused ramp go on."""
        with status.mapped(context):
            name = _experiment_id(request.name)
            view = self._ramps.resume(name, reason=request.reason, actor=status.actor(context))
            return pb.ResumeRampResponse(ramp=ramp_codec.status_message(view))

    def ApproveRampStep(
        self, request: pb.ApproveRampStepRequest, context: grpc.ServicerContext
    ) -> pb.ApproveRampStepResponse:
        """Approve the step in force."""
        with status.mapped(context):
            if request.step < 1:
                raise RequestMalformedError("step says which step is approved, from 1")
            view = self._ramps.approve(
                _experiment_id(request.name), request.step, reason=request.reason, actor=status.actor(context)
            )
            return pb.ApproveRampStepResponse(ramp=ramp_codec.status_message(view))

    def AbortRamp(self, request: pb.AbortRampRequest, context: grpc.ServicerContext) -> pb.AbortRampResponse:
        """Take the candidate away."""
        with status.mapped(context):
            name = _experiment_id(request.name)
            view, revision = self._ramps.abort(name, reason=request.reason, actor=status.actor(context))
            return pb.AbortRampResponse(ramp=ramp_codec.status_message(view), revision=revision)

    def GetHoldout(self, request: pb.GetHoldoutRequest, context: grpc.ServicerContext) -> pb.GetHoldoutResponse:
        """Say what is held out of a model."""
        with status.mapped(context):
            found = self._ramps.holdout(_model_id(request.model))
            return pb.GetHoldoutResponse(share=found.share, etag=found.etag)

    def SetHoldout(self, request: pb.SetHoldoutRequest, context: grpc.ServicerContext) -> pb.SetHoldoutResponse:
        """Hold a part of a model's units out of all experiments."""
        with status.mapped(context):
            found, revision = self._ramps.set_holdout(
                _model_id(request.model), request.share, etag=request.etag, actor=status.actor(context)
            )
            return pb.SetHoldoutResponse(share=found.share, etag=found.etag, revision=revision)


def _experiment_id(name: str) -> str:
    try:
        return resources.experiment_id(name)
    except resources.ResourceNameError as error:
        raise RequestMalformedError(str(error), name=name[:128]) from error


def _model_id(name: str) -> str:
    try:
        return resources.model_id(name)
    except resources.ResourceNameError as error:
        raise RequestMalformedError(str(error), name=name[:128]) from error
