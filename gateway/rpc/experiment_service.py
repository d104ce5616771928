"""Experiments over gRPC, on the control port."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.control.judge import SizeQuestion
from gateway.errors import RequestMalformedError
from gateway.rpc import analysis_codec, paging, pair_codec, status
from gateway.rpc import experiment_codec as codec
from gateway.rpc.ramp_calls import RampCalls
from turnout.experiments.v1 import experiment_service_pb2 as pb

if TYPE_CHECKING:
    import grpc

    from gateway.control.experiments import ExperimentControl
    from gateway.control.judge import ExperimentJudge
    from gateway.control.ramps import RampControl

_LOOKS_BYTES_MAX = 1 << 20


class ExperimentService(RampCalls):
    """Answers the calls about experiments: a message in, one act of the control plane, a message out.

    Parameters
    ----------
    control, judge, ramps
        What keeps experiments, what judges them, and what keeps their ramps.
    """

    def __init__(self, control: ExperimentControl, judge: ExperimentJudge, ramps: RampControl) -> None:
        super().__init__(ramps)
        self._control = control
        self._judge = judge

    def CreateExperiment(
        self, request: pb.CreateExperimentRequest, context: grpc.ServicerContext
    ) -> pb.CreateExperimentResponse:
        """Create a draft."""
        with status.mapped(context):
            changed = self._control.create(
                codec.definition(request.experiment, identity=request.experiment_id), actor=status.actor(context)
            )
            return pb.CreateExperimentResponse(experiment=codec.experiment_message(changed.experiment))

    def GetExperiment(
        self, request: pb.GetExperimentRequest, context: grpc.ServicerContext
    ) -> pb.GetExperimentResponse:
        """Return one experiment."""
        with status.mapped(context):
            found = self._control.get(codec.experiment_id(request.name))
            return pb.GetExperimentResponse(experiment=codec.experiment_message(found))

    def ListExperiments(
        self, request: pb.ListExperimentsRequest, context: grpc.ServicerContext
    ) -> pb.ListExperimentsResponse:
        """List experiments by name."""
        with status.mapped(context):
            size = paging.page_size(request.page_size)
            found = self._control.list_page(after=paging.text_after(request.page_token), limit_max=size + 1)
            return pb.ListExperimentsResponse(
                experiments=[codec.experiment_message(each) for each in found[:size]],
                next_page_token=paging.token_for(found[size - 1].id) if len(found) > size else "",
            )

    def UpdateExperiment(
        self, request: pb.UpdateExperimentRequest, context: grpc.ServicerContext
    ) -> pb.UpdateExperimentResponse:
        """Replace fields of the definition."""
        with status.mapped(context):
            changed, fields = codec.changed_definition(request)
            done = self._control.update(changed, fields, etag=request.etag, actor=status.actor(context))
            return pb.UpdateExperimentResponse(
                experiment=codec.experiment_message(done.experiment), revision=done.revision
            )

    def DeleteExperiment(
        self, request: pb.DeleteExperimentRequest, context: grpc.ServicerContext
    ) -> pb.DeleteExperimentResponse:
        """Forget a draft."""
        with status.mapped(context):
            revision = self._control.delete(
                codec.experiment_id(request.name), etag=request.etag, actor=status.actor(context)
            )
            return pb.DeleteExperimentResponse(revision=revision)

    def PauseExperiment(
        self, request: pb.PauseExperimentRequest, context: grpc.ServicerContext
    ) -> pb.PauseExperimentResponse:
        """Give its units the champion for now."""
        with status.mapped(context):
            changed = self._control.pause(
                codec.experiment_id(request.name), reason=request.reason, actor=status.actor(context)
            )
            return pb.PauseExperimentResponse(
                experiment=codec.experiment_message(changed.experiment), revision=changed.revision
            )

    def ResumeExperiment(
        self, request: pb.ResumeExperimentRequest, context: grpc.ServicerContext
    ) -> pb.ResumeExperimentResponse:
        """Assign its units as before."""
        with status.mapped(context):
            changed = self._control.resume(
                codec.experiment_id(request.name), reason=request.reason, actor=status.actor(context)
            )
            return pb.ResumeExperimentResponse(
                experiment=codec.experiment_message(changed.experiment), revision=changed.revision
            )

    def ArchiveExperiment(
        self, request: pb.ArchiveExperimentRequest, context: grpc.ServicerContext
    ) -> pb.ArchiveExperimentResponse:
        """Close a concluded experiment to every change."""
        with status.mapped(context):
            changed = self._control.archive(
                codec.experiment_id(request.name), reason=request.reason, actor=status.actor(context)
            )
            return pb.ArchiveExperimentResponse(
                experiment=codec.experiment_message(changed.experiment), revision=changed.revision
            )

    def StartExperiment(
        self, request: pb.StartExperimentRequest, context: grpc.ServicerContext
    ) -> pb.StartExperimentResponse:
        """Begin to assign units."""
        with status.mapped(context):
            changed = self._control.start(codec.experiment_id(request.name), actor=status.actor(context))
            return pb.StartExperimentResponse(
                experiment=codec.experiment_message(changed.experiment), revision=changed.revision
            )

    def SetTrafficSplit(
        self, request: pb.SetTrafficSplitRequest, context: grpc.ServicerContext
    ) -> pb.SetTrafficSplitResponse:
        """Change the shares, or say what that would move."""
        with status.mapped(context):
            if request.dry_run:
                found = self._judge.preview_split(
                    codec.experiment_id(request.name),
                    dict(request.shares),
                    etag=request.etag,
                    units_max=request.recent_units_max,
                )
                return pb.SetTrafficSplitResponse(
                    experiment=codec.experiment_message(found.experiment),
                    moved_share=found.moved_share,
                    recent_units=found.units,
                    moved_units=found.moved_units,
                )
            changed = self._control.set_split(
                codec.experiment_id(request.name),
                dict(request.shares),
                etag=request.etag,
                actor=status.actor(context),
            )
            return pb.SetTrafficSplitResponse(
                experiment=codec.experiment_message(changed.experiment),
                revision=changed.revision,
                moved_share=changed.moved_share,
            )

    def ConcludeExperiment(
        self, request: pb.ConcludeExperimentRequest, context: grpc.ServicerContext
    ) -> pb.ConcludeExperimentResponse:
        """End the experiment, and promote its winner when asked to."""
        with status.mapped(context):
            changed = self._control.conclude(
                codec.experiment_id(request.name),
                winner=request.winner,
                promote=request.promote,
                reason=request.reason,
                actor=status.actor(context),
            )
            return pb.ConcludeExperimentResponse(
                experiment=codec.experiment_message(changed.experiment), revision=changed.revision
            )

    def AnalyzeExperiment(
        self, request: pb.AnalyzeExperimentRequest, context: grpc.ServicerContext
    ) -> pb.AnalyzeExperimentResponse:
        """Compare the variants on the outcomes so far."""
        with status.mapped(context):
            method = codec.method_of(request.method)
            return analysis_codec.analysis_message(
                self._judge.analyze(codec.experiment_id(request.name), method=method)
            )

    def GetRecommendation(
        self, request: pb.GetRecommendationRequest, context: grpc.ServicerContext
    ) -> pb.GetRecommendationResponse:
        """Say what to do, and why."""
        with status.mapped(context):
            return analysis_codec.recommendation_message(self._judge.analyze(codec.experiment_id(request.name)))

    def ListLooks(self, request: pb.ListLooksRequest, context: grpc.ServicerContext) -> pb.ListLooksResponse:
        """List the looks that were kept."""
        with status.mapped(context):
            if not 0 <= request.spread_max <= paging.PAGE_SIZE_MAX:
                raise RequestMalformedError(
                    f"spread_max is {request.spread_max}, not from 0 to {paging.PAGE_SIZE_MAX}",
                    spread_max=request.spread_max,
                )
            size = paging.page_size(request.page_size)
            found = self._judge.looks(
                codec.experiment_id(request.name),
                after=paging.number_after(request.page_token) or 0,
                limit_max=size + 1,
                spread_max=request.spread_max,
            )
            page = analysis_codec.page_of_looks(found[:size], bytes_max=_LOOKS_BYTES_MAX)
            if len(page.looks) < len(found):
                page.next_page_token = paging.token_for(found[len(page.looks) - 1].look)
            return page

    def ComparePairs(self, request: pb.ComparePairsRequest, context: grpc.ServicerContext) -> pb.ComparePairsResponse:
        """Compare two versions on the calls that both saw."""
        with status.mapped(context):
            return pair_codec.finding_message(self._judge.compare_pairs(*pair_codec.question(request)))

    def EstimateSampleSize(
        self, request: pb.EstimateSampleSizeRequest, context: grpc.ServicerContext
    ) -> pb.EstimateSampleSizeResponse:
        """Say how many units an effect needs."""
        with status.mapped(context):
            name = codec.experiment_id(request.name) if request.name else ""
            question = SizeQuestion(
                metric=request.metric,
                effect=request.effect,
                variance=request.variance,
                treatment_share=request.treatment_share,
                alpha=request.alpha,
                power=request.power,
                method=codec.method_of(request.method),
                units=request.units,
            )
            return analysis_codec.size_message(self._judge.size(name, question))

    def VerifyExperiment(
        self, request: pb.VerifyExperimentRequest, context: grpc.ServicerContext
    ) -> pb.VerifyExperimentResponse:
        """Compute stored verdicts again."""
        with status.mapped(context):
            found = self._judge.verify(codec.experiment_id(request.name), look=request.look)
            return analysis_codec.verified_messages(found)

    def ReplayExperiment(
        self, request: pb.ReplayExperimentRequest, context: grpc.ServicerContext
    ) -> pb.ReplayExperimentResponse:
        """Split the units anew where there can be no effect."""
        with status.mapped(context):
            found = self._judge.replay(
                codec.experiment_id(request.name), metric=request.metric, replays=request.replays
            )
            return analysis_codec.replay_message(*found)

    def GetAssignment(
        self, request: pb.GetAssignmentRequest, context: grpc.ServicerContext
    ) -> pb.GetAssignmentResponse:
        """Say which variant a unit gets, and why."""
        with status.mapped(context):
            found = self._control.explain(
                codec.experiment_id(request.name), request.unit_id, attributes=dict(request.attributes)
            )
            return codec.assignment_message(*found)
