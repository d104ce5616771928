"""What trainers call: claims of checks and runs, and what they say of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.errors import RequestMalformedError
from gateway.rpc import status
from gateway.rpc import trainer_codec as codec
from trainer.records.claims import LEASE_US, LEASE_US_RANGE, TRAINER_CHARS_MAX
from turnout import resources
from turnout.trainer.v1 import trainer_service_pb2 as pb
from turnout.trainer.v1 import trainer_service_pb2_grpc as pb_grpc

if TYPE_CHECKING:
    import grpc

    from gateway.control.training import TrainingControl


class ClaimCalls(pb_grpc.TrainerServiceServicer):
    """The calls of trainers.

    Parameters
    ----------
    control
        What answers.
    """

    def __init__(self, control: TrainingControl) -> None:
        self._control = control

    def ClaimCheck(self, request: pb.ClaimCheckRequest, context: grpc.ServicerContext) -> pb.ClaimCheckResponse:
        """Give a check that is due."""
        with status.mapped(context):
            found = self._control.claim_check(_trainer(request.trainer))
            if found is None:
                return pb.ClaimCheckResponse()
            check, policy, token, now_us = found
            return pb.ClaimCheckResponse(
                check=codec.check_message(check), policy=codec.policy_message(policy), token=token, now_us=now_us
            )

    def FinishCheck(self, request: pb.FinishCheckRequest, context: grpc.ServicerContext) -> pb.FinishCheckResponse:
        """Keep what the triggers say."""
        with status.mapped(context):
            policy, number = codec.parsed(resources.parse_check, request.name)
            evidence = [codec.evidence_document(each) for each in request.evidence]
            check = self._control.finish_check(
                policy, number, request.token, evidence=evidence, failure=request.failure
            )
            return pb.FinishCheckResponse(check=codec.check_message(check))

    def ClaimRun(self, request: pb.ClaimRunRequest, context: grpc.ServicerContext) -> pb.ClaimRunResponse:
        """Give a run to work on."""
        with status.mapped(context):
            lease_us = _lease(request.lease_us)
            found = self._control.claim_run(_trainer(request.trainer), lease_us=lease_us)
            if found is None:
                return pb.ClaimRunResponse()
            run, token = found
            return pb.ClaimRunResponse(run=codec.run_message(run), token=token, lease_us=lease_us)

    def RenewRun(self, request: pb.RenewRunRequest, context: grpc.ServicerContext) -> pb.RenewRunResponse:
        """Keep a claim."""
        with status.mapped(context):
            lease_us = _lease(request.lease_us)
            self._control.renew(*codec.parsed(resources.parse_run, request.name), request.token, lease_us=lease_us)
            return pb.RenewRunResponse(lease_us=lease_us)

    def ReportStep(self, request: pb.ReportStepRequest, context: grpc.ServicerContext) -> pb.ReportStepResponse:
        """Keep how a step goes."""
        with status.mapped(context):
            policy, number = codec.parsed(resources.parse_run, request.name)
            run = self._control.report(
                policy,
                number,
                request.token,
                step=codec.step_of(request.report.step) if request.HasField("report") else None,
                result=request.report.result_json,
                done=request.report.done,
                message=request.message,
            )
            return pb.ReportStepResponse(run=codec.run_message(run))

    def FinishRun(self, request: pb.FinishRunRequest, context: grpc.ServicerContext) -> pb.FinishRunResponse:
        """Keep how a run ended."""
        with status.mapped(context):
            policy, number = codec.parsed(resources.parse_run, request.name)
            run = self._control.finish(
                policy,
                number,
                request.token,
                state=codec.state_of(request.state),
                findings=list(request.findings),
                experiment=codec.parsed(resources.experiment_id, request.experiment) if request.experiment else "",
            )
            return pb.FinishRunResponse(run=codec.run_message(run))

    def DeployRun(self, request: pb.DeployRunRequest, context: grpc.ServicerContext) -> pb.DeployRunResponse:
        """Give a run's version what its policy says."""
        with status.mapped(context):
            policy, number = codec.parsed(resources.parse_run, request.name)
            run = self._control.deploy(policy, number, request.token, actor=status.actor(context))
            return pb.DeployRunResponse(run=codec.run_message(run))


def _trainer(name: str) -> str:
    if not name or len(name) > TRAINER_CHARS_MAX:
        raise RequestMalformedError(f"a trainer has a name of at most {TRAINER_CHARS_MAX} characters")
    return name


def _lease(asked_us: int) -> int:
    lowest, highest = LEASE_US_RANGE
    if asked_us and not lowest <= asked_us <= highest:
        raise RequestMalformedError(f"a claim lasts from {lowest} to {highest} us, not {asked_us}")
    return asked_us or LEASE_US
