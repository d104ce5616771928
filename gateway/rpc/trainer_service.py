"""Policies, checks and runs of training over gRPC, on the control port: what operators call."""

from __future__ import annotations

import threading
from functools import partial
from typing import TYPE_CHECKING

from gateway.access.access import require
from gateway.access.caller import CALLER
from gateway.errors import RequestMalformedError, WatchersFullError
from gateway.rpc import paging, status
from gateway.rpc import trainer_codec as codec
from gateway.rpc.authority import SUPERSEDE
from gateway.rpc.claim_service import ClaimCalls
from trainer.records.life import OPEN
from turnout import resources
from turnout.trainer.v1 import trainer_service_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Iterator

    import grpc

    from gateway.control.training import TrainingControl

WATCHERS_MAX = 4
"""Each keeps a thread of the control port."""
EVENTS_MAX = 1_000
POLL_S = 0.2


class TrainerService(ClaimCalls):
    """Keeps policies and runs.

    Parameters
    ----------
    control
        What answers.
    """

    def __init__(self, control: TrainingControl) -> None:
        super().__init__(control)
        self._seats = threading.BoundedSemaphore(WATCHERS_MAX)

    def CreatePolicy(self, request: pb.CreatePolicyRequest, context: grpc.ServicerContext) -> pb.CreatePolicyResponse:
        """Create a policy."""
        with status.mapped(context):
            definition = codec.definition(request.policy)
            policy = self._control.create(request.policy_id, definition, actor=status.actor(context))
            return pb.CreatePolicyResponse(policy=codec.policy_message(policy))

    def GetPolicy(self, request: pb.GetPolicyRequest, context: grpc.ServicerContext) -> pb.GetPolicyResponse:
        """Return a policy."""
        with status.mapped(context):
            policy = self._control.get(codec.parsed(resources.policy_id, request.name))
            return pb.GetPolicyResponse(policy=codec.policy_message(policy))

    def ListPolicies(self, request: pb.ListPoliciesRequest, context: grpc.ServicerContext) -> pb.ListPoliciesResponse:
        """List policies by name."""
        with status.mapped(context):
            size = paging.page_size(request.page_size)
            found = self._control.page(after=paging.text_after(request.page_token), limit_max=size + 1)
            return pb.ListPoliciesResponse(
                policies=[codec.policy_message(each) for each in found[:size]],
                next_page_token=paging.token_for(found[size - 1].id) if len(found) > size else "",
            )

    def UpdatePolicy(self, request: pb.UpdatePolicyRequest, context: grpc.ServicerContext) -> pb.UpdatePolicyResponse:
        """Replace fields of a policy."""
        with status.mapped(context):
            policy = self._control.update(
                codec.parsed(resources.policy_id, request.policy.name),
                partial(codec.merged, message=request.policy, paths=list(request.update_mask.paths)),
                etag=request.policy.etag,
                actor=status.actor(context),
            )
            return pb.UpdatePolicyResponse(policy=codec.policy_message(policy))

    def DeletePolicy(self, request: pb.DeletePolicyRequest, context: grpc.ServicerContext) -> pb.DeletePolicyResponse:
        """Remove a policy."""
        with status.mapped(context):
            policy_id = codec.parsed(resources.policy_id, request.name)
            revision = self._control.delete(policy_id, etag=request.etag, actor=status.actor(context))
            return pb.DeletePolicyResponse(revision=revision)

    def PausePolicy(self, request: pb.PausePolicyRequest, context: grpc.ServicerContext) -> pb.PausePolicyResponse:
        """Pause a policy."""
        with status.mapped(context):
            policy_id = codec.parsed(resources.policy_id, request.name)
            policy = self._control.pause(policy_id, reason=request.reason, actor=status.actor(context))
            return pb.PausePolicyResponse(policy=codec.policy_message(policy))

    def ResumePolicy(self, request: pb.ResumePolicyRequest, context: grpc.ServicerContext) -> pb.ResumePolicyResponse:
        """Resume a policy."""
        with status.mapped(context):
            policy_id = codec.parsed(resources.policy_id, request.name)
            policy = self._control.resume(policy_id, actor=status.actor(context))
            return pb.ResumePolicyResponse(policy=codec.policy_message(policy))

    def CheckTriggers(
        self, request: pb.CheckTriggersRequest, context: grpc.ServicerContext
    ) -> pb.CheckTriggersResponse:
        """Ask for a look that makes no run."""
        with status.mapped(context):
            policy_id = codec.parsed(resources.policy_id, request.name)
            check = self._control.ask_check(policy_id, actor=status.actor(context))
            return pb.CheckTriggersResponse(check=codec.check_message(check))

    def GetCheck(self, request: pb.GetCheckRequest, context: grpc.ServicerContext) -> pb.GetCheckResponse:
        """Return a check."""
        with status.mapped(context):
            check = self._control.check(*codec.parsed(resources.parse_check, request.name))
            return pb.GetCheckResponse(check=codec.check_message(check))

    def ListChecks(self, request: pb.ListChecksRequest, context: grpc.ServicerContext) -> pb.ListChecksResponse:
        """List a policy's checks."""
        with status.mapped(context):
            size = paging.page_size(request.page_size)
            found = self._control.checks(
                codec.parsed(resources.policy_id, request.parent),
                before=paging.number_after(request.page_token),
                limit_max=size + 1,
            )
            return pb.ListChecksResponse(
                checks=[codec.check_message(each) for each in found[:size]],
                next_page_token=paging.token_for(found[size - 1].number) if len(found) > size else "",
            )

    def StartRun(self, request: pb.StartRunRequest, context: grpc.ServicerContext) -> pb.StartRunResponse:
        """Make a run."""
        with status.mapped(context):
            if request.supersede:
                require(CALLER.get(), SUPERSEDE)
            run = self._control.start(
                codec.parsed(resources.policy_id, request.parent),
                reason=request.reason or "somebody asked for it",
                supersede=request.supersede,
                actor=status.actor(context),
            )
            return pb.StartRunResponse(run=codec.run_message(run))

    def CancelRun(self, request: pb.CancelRunRequest, context: grpc.ServicerContext) -> pb.CancelRunResponse:
        """End a run."""
        with status.mapped(context):
            policy, number = codec.parsed(resources.parse_run, request.name)
            run = self._control.cancel(policy, number, reason=request.reason, actor=status.actor(context))
            return pb.CancelRunResponse(run=codec.run_message(run))

    def GetRun(self, request: pb.GetRunRequest, context: grpc.ServicerContext) -> pb.GetRunResponse:
        """Return a run."""
        with status.mapped(context):
            run = self._control.run(*codec.parsed(resources.parse_run, request.name))
            return pb.GetRunResponse(run=codec.run_message(run))

    def ListRuns(self, request: pb.ListRunsRequest, context: grpc.ServicerContext) -> pb.ListRunsResponse:
        """List runs."""
        with status.mapped(context):
            size = paging.page_size(request.page_size)
            found = self._control.runs(
                codec.parsed(resources.policy_id, request.parent) if request.parent else "",
                before=_before(paging.text_after(request.page_token)),
                limit_max=size + 1,
            )
            last = found[size - 1] if len(found) > size else None
            token = "" if last is None else paging.token_for(f"{last.created_us} {last.policy} {last.number}")
            return pb.ListRunsResponse(runs=[codec.run_message(each) for each in found[:size]], next_page_token=token)

    def WatchRun(self, request: pb.WatchRunRequest, context: grpc.ServicerContext) -> Iterator[pb.WatchRunResponse]:
        """Send what happens to a run until it is over."""
        with status.mapped(context):
            policy, number = codec.parsed(resources.parse_run, request.name)
            if not self._seats.acquire(blocking=False):
                raise WatchersFullError(f"{WATCHERS_MAX} follow runs already", watchers_max=WATCHERS_MAX)
            try:
                yield from self._follow(policy, number, request.after, context)
            finally:
                self._seats.release()

    def _follow(
        self, policy: str, number: int, after: int, context: grpc.ServicerContext
    ) -> Iterator[pb.WatchRunResponse]:
        left = threading.Event()
        if not context.add_callback(left.set):
            return
        while True:
            events, run = self._control.events(policy, number, after=after, limit_max=EVENTS_MAX)
            for event in events:
                yield pb.WatchRunResponse(event=codec.event_message(event))
                after = event.number
            if run.state not in OPEN and len(events) < EVENTS_MAX:
                yield pb.WatchRunResponse(run=codec.run_message(run))
                return
            if left.wait(POLL_S):
                return


def _before(token: str) -> tuple[int, str, int] | None:
    if not token:
        return None
    parts = token.split(" ")
    if len(parts) != len(("created", "policy", "number")) or not (parts[0].isdigit() and parts[2].isdigit()):
        raise RequestMalformedError("page_token is not one that this method gave; begin again without it")
    return int(parts[0]), parts[1], int(parts[2])
