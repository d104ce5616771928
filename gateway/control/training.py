"""Policies, checks and runs of training for the control port: one transaction for each change.

A run whose version is on trial is over when the trial is. That is looked for whenever a trainer asks for work, and by
whoever reads runs, so that no further thread watches.
"""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING, NamedTuple

from experiments import records as experiments
from experiments.definition import State
from experiments.errors import ExperimentMissingError
from experiments.ramp import rows as ramps
from experiments.ramp.standing import RampState
from gateway.control import deploying
from gateway.control.experiments import champion_of, nothing_known
from registry.clearance import NOTHING_KNOWN
from registry.errors import ModelMissingError
from trainer.records import checks, claims, moves, policies, runs
from trainer.records.errors import PolicyInvalidError, RunStateError
from trainer.records.life import RunState, Step

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from sqlalchemy import Connection

    from gateway.control.experiments import SupportOf
    from storage.clock import Clock
    from storage.database import Database
    from trainer.records.checks import Check
    from trainer.records.policies import Policy
    from trainer.records.policy import Definition
    from trainer.records.runs import Run, RunEvent

_RAMP_ENDS = {
    RampState.COMPLETED: (RunState.DEPLOYED, "the ramp came to its end"),
    RampState.ROLLED_BACK: (RunState.ROLLED_BACK, "the ramp took it away"),
    RampState.ABORTED: (RunState.CANCELLED, "somebody aborted the ramp"),
}


class TrainingControl:
    """Answers for policies, checks and runs.

    Parameters
    ----------
    database, clock
        Where they are kept, and the time that schedules go by and changes are dated by.
    support_of
        Gathers what the gates look at before a version becomes the champion.
    channels
        The channels that policies may name.
    """

    def __init__(
        self, *, database: Database, clock: Clock, support_of: SupportOf = nothing_known, channels: Sequence[str] = ()
    ) -> None:
        self._database = database
        self._clock = clock
        self._support_of = support_of
        self._channels = frozenset(channels)

    def create(self, policy_id: str, definition: Definition, *, actor: str) -> Policy:
        """Create a policy; see `policies.create_policy`."""
        self._check_channels(definition)
        with self._database.write() as tx:
            return policies.create_policy(
                tx, policy_id, definition, actor=actor, now_us=self._clock.now_us(), chance=_chance()
            )

    def get(self, policy_id: str) -> Policy:
        """Return a policy, or raise PolicyMissingError."""
        with self._database.read() as tx:
            return policies.get_policy(tx, policy_id)

    def page(self, *, after: str, limit_max: int) -> list[Policy]:
        """Return policies by name."""
        with self._database.read() as tx:
            return policies.list_policies(tx, after=after, limit_max=limit_max)

    def update(self, policy_id: str, change: Callable[[Definition], Definition], *, etag: str, actor: str) -> Policy:
        """Replace what `change` makes of a policy's definition; see `policies.update_policy`."""
        with self._database.write() as tx:
            definition = change(policies.get_policy(tx, policy_id).definition)
            self._check_channels(definition)
            return policies.update_policy(
                tx, policy_id, definition, etag=etag, actor=actor, now_us=self._clock.now_us(), chance=_chance()
            )

    def delete(self, policy_id: str, *, etag: str, actor: str) -> int:
        """Remove a policy; see `policies.delete_policy`."""
        self.settle()
        with self._database.write() as tx:
            return policies.delete_policy(tx, policy_id, etag=etag, actor=actor, now_us=self._clock.now_us())

    def pause(self, policy_id: str, *, reason: str, actor: str) -> Policy:
        """Pause a policy, or raise PolicyMissingError."""
        with self._database.write() as tx:
            return policies.pause_policy(tx, policy_id, reason=reason, actor=actor, now_us=self._clock.now_us())

    def resume(self, policy_id: str, *, actor: str) -> Policy:
        """Resume a policy, or raise PolicyMissingError."""
        with self._database.write() as tx:
            return policies.resume_policy(tx, policy_id, actor=actor, now_us=self._clock.now_us(), chance=_chance())

    def ask_check(self, policy_id: str, *, actor: str) -> Check:
        """Ask for a look that makes no run, or raise PolicyMissingError."""
        with self._database.write() as tx:
            return checks.ask_check(tx, policy_id, actor=actor, now_us=self._clock.now_us())

    def check(self, policy_id: str, number: int) -> Check:
        """Return a check, or raise CheckMissingError."""
        with self._database.read() as tx:
            return checks.get_check(tx, policy_id, number)

    def checks(self, policy_id: str, *, before: int | None, limit_max: int) -> list[Check]:
        """Return a policy's checks, newest first, or raise PolicyMissingError."""
        with self._database.read() as tx:
            return checks.list_checks(tx, policy_id, before=before, limit_max=limit_max)

    def claim_check(self, trainer: str) -> tuple[Check, Policy, int, int] | None:
        """Return a check to make, its policy, the token and the time; None: none is due."""
        now_us = self._clock.now_us()
        with self._database.read() as tx:
            if not checks.is_due(tx, now_us=now_us):
                return None
        with self._database.write() as tx:
            found = checks.claim_check(tx, trainer, now_us=now_us, chance=_chance())
        return None if found is None else (*found, now_us)

    def finish_check(
        self, policy_id: str, number: int, token: int, *, evidence: Sequence[dict[str, Any]], failure: str
    ) -> Check:
        """Keep what the triggers say, each with what its runs came to so far; see `checks.finish_check`."""
        self.settle()
        with self._database.write() as tx:
            made = runs.made_by(tx, policy_id)
            for each in evidence:
                each["runs"], each["blessed"] = made.get(each["kind"], (0, 0))
            return checks.finish_check(
                tx, policy_id, number, token, evidence=evidence, failure=failure, now_us=self._clock.now_us()
            )

    def start(self, policy_id: str, *, reason: str, supersede: bool, actor: str) -> Run:
        """Make a run; see `moves.start_run`."""
        self.settle()
        with self._database.write() as tx:
            now_us = self._clock.now_us()
            return moves.start_run(tx, policy_id, reason=reason, supersede=supersede, actor=actor, now_us=now_us)

    def cancel(self, policy_id: str, number: int, *, reason: str, actor: str) -> Run:
        """End a run that has no traffic, or raise RunMissingError or RunStateError."""
        with self._database.write() as tx:
            run = runs.get_run(tx, policy_id, number)
            if run.state is RunState.DEPLOYING:
                raise RunStateError(f"{run.name} has traffic: abort its ramp, or conclude its experiment", run=run.name)
            said = [f"cancelled: {reason}" if reason else "cancelled"]
            return moves.end_run(tx, run, RunState.CANCELLED, said, actor=actor, now_us=self._clock.now_us())

    def run(self, policy_id: str, number: int) -> Run:
        """Return a run with its steps, or raise RunMissingError."""
        self.settle()
        with self._database.read() as tx:
            return runs.get_run(tx, policy_id, number)

    def runs(self, policy_id: str, *, before: tuple[int, str, int] | None, limit_max: int) -> list[Run]:
        """Return runs, newest first, or raise PolicyMissingError."""
        self.settle()
        with self._database.read() as tx:
            if policy_id:
                policies.get_policy(tx, policy_id)
            return runs.list_runs(tx, policy=policy_id, before=before, limit_max=limit_max)

    def events(self, policy_id: str, number: int, *, after: int, limit_max: int) -> tuple[list[RunEvent], Run]:
        """Return what happened to a run after an event, and the run as it stood then, or raise RunMissingError."""
        self.settle()
        with self._database.read() as tx:
            run = runs.get_run(tx, policy_id, number)
            return runs.events_of(tx, policy_id, number, after=after, limit_max=limit_max), run

    def claim_run(self, trainer: str, *, lease_us: int) -> tuple[Run, int] | None:
        """Return a run to work on and the token of the claim; None: there is none."""
        self.settle()
        with self._database.read() as tx:
            if not claims.is_claimable(tx):
                return None
        with self._database.write() as tx:
            return claims.claim_run(tx, trainer, lease_us=lease_us, now_us=self._clock.now_us())

    def renew(self, policy_id: str, number: int, token: int, *, lease_us: int) -> None:
        """Keep a claim, or raise LeaseLostError."""
        with self._database.write() as tx:
            claims.hold(tx, policy_id, number, token, lease_us=lease_us)

    def report(
        self, policy_id: str, number: int, token: int, *, step: Step | None, result: str, done: bool, message: str
    ) -> Run:
        """Keep how a step goes, or, without one, what is said; raises as `claims.report_step` does."""
        with self._database.write() as tx:
            run, now_us = claims.hold(tx, policy_id, number, token), self._clock.now_us()
            if step is None:
                return claims.say(tx, run, message, now_us=now_us)
            return claims.report_step(tx, run, step, result=result, done=done, message=message, now_us=now_us)

    def finish(
        self, policy_id: str, number: int, token: int, *, state: RunState, findings: Sequence[str], experiment: str
    ) -> Run:
        """Bring a run to what its trainer says; raises as `claims.finish_run` does."""
        with self._database.write() as tx:
            run = claims.hold(tx, policy_id, number, token)
            return claims.finish_run(tx, run, state, findings, experiment=experiment, now_us=self._clock.now_us())

    def deploy(self, policy_id: str, number: int, token: int, *, actor: str) -> Run:
        """Give a run's version what its policy says and end the claim; raises as `deploying.deploy` does."""
        with self._database.read() as tx:
            seen = runs.get_run(tx, policy_id, number)
            gated = bool(seen.version) and deploying.promotes(tx, seen)
        support = self._support_of(seen.model, seen.version) if gated else NOTHING_KNOWN
        with self._database.write() as tx:
            run, now_us = claims.hold(tx, policy_id, number, token), self._clock.now_us()
            if not run.version:
                raise RunStateError(f"{run.name} has no version to deploy", run=run.name)
            end = deploying.deploy(tx, run, support, actor=actor, now_us=now_us)
            said = json.dumps({"mode": run.definition.deployment.mode.value, "experiment": end.experiment})
            claims.report_step(tx, run, Step.DEPLOY, result=said, done=True, message="", now_us=now_us)
            return claims.finish_run(tx, run, end.state, [end.finding], experiment=end.experiment, now_us=now_us)

    def _check_channels(self, definition: Definition) -> None:
        unknown = sorted(set(definition.notifications.channels) - self._channels)
        if unknown:
            raise PolicyInvalidError(
                f"notifications.channels: there is no {unknown[0][:63]!r}; the gateway's --channels say which",
                field="notifications.channels",
            )

    def settle(self) -> None:
        """End the runs whose trial is over."""
        with self._database.read() as tx:
            ended = [run for run in runs.open_runs(tx, [RunState.DEPLOYING]) if _end_of(tx, run) is not None]
        if not ended:
            return
        with self._database.write() as tx:
            for run in runs.open_runs(tx, [RunState.DEPLOYING]):
                end = _end_of(tx, run)
                if end is not None:
                    now_us = self._clock.now_us()
                    moves.end_run(tx, run, end.state, [end.finding], actor="ramp", now_us=now_us, since_us=end.time_us)


class _End(NamedTuple):
    """What a run with traffic came to, why, and when that was decided; 0: nobody knows."""

    state: RunState
    finding: str
    time_us: int


def _end_of(tx: Connection, run: Run) -> _End | None:
    """Return what a run with traffic came to; None while its trial goes on."""
    try:
        experiment = experiments.get(tx, run.experiment)
    except ExperimentMissingError:
        return _End(RunState.CANCELLED, f"the experiment {run.experiment!r} is gone", 0)
    standing = None if experiment.ramp is None else ramps.find_standing(tx, experiment.id)
    if standing is not None:
        end = _RAMP_ENDS.get(standing.state)
        if end is None:
            return None
        state, finding = end
        return _End(state, "; ".join([finding, *standing.reasons]), experiment.concluded_us)
    if experiment.state not in (State.CONCLUDED, State.ARCHIVED):
        return None
    if _champion(tx, run.model) == run.version:
        state, finding = RunState.DEPLOYED, f"the experiment {run.experiment!r} was concluded with it"
    else:
        state, finding = RunState.REFUSED, f"the experiment {run.experiment!r} was concluded without it"
    return _End(state, finding, experiment.concluded_us)


def _champion(tx: Connection, model: str) -> int:
    try:
        return champion_of(tx, model)
    except ModelMissingError:
        return 0


def _chance() -> float:
    return random.random()  # noqa: S311  (jitter needs no secrecy)
