"""The year, told with real processes: a gateway, trainers with two policies, and a year's departures as traffic."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq

from trainer.demo import flights
from trainer.demo.child import Child
from trainer.demo.departures import read_departures
from trainer.demo.errors import ChildFailedError
from trainer.demo.furnish import furnish
from trainer.demo.replay import SAMPLES_FILE
from trainer.demo.server import Server
from trainer.demo.year.history import read_history
from trainer.demo.year.result import IMPOSSIBLE, KEEP, Result
from trainer.demo.year.trainers import Trainers
from turnout import plain, resources
from turnout.cli.policy_file import read_policy
from turnout.control import Control
from turnout.report.times import day_text
from turnout.trainer.v1 import run_pb2
from turnout.trainer.v1 import trainer_service_pb2 as pb

if TYPE_CHECKING:
    from trainer.demo.screen import Screen
    from trainer.demo.year.plan import Plan

POLICIES = Path(__file__).parent / "policies"
_WORKERS = 2
_POLL_S = 0.1
_LOOK_S = 0.5
_FIRST_RUN_TIMEOUT_S = 600.0
_WORKED_ON = (run_pb2.RUN_STATE_QUEUED, run_pb2.RUN_STATE_RUNNING)
_OPEN = (*_WORKED_ON, run_pb2.RUN_STATE_DEPLOYING)


def tell(plan: Plan, state: Path, screen: Screen) -> Result:
    """Replay the year in a state folder and return what was found, or raise DomainError or TurnoutError.

    Parameters
    ----------
    plan
        What is replayed.
    state
        An empty folder; the gateway's state, the sources, the samples and the logs go there.
    screen
        Where progress is shown.
    """
    sources, server_state = state / "sources", state / "gateway"
    server_state.mkdir(parents=True, exist_ok=True)
    screen.doing("preparing the flights of 2013")
    flights.prepare(sources)
    total = len(read_departures(sources, start_us=plan.start_us, end_us=plan.end_us, every=plan.every))
    screen.done(f"the flights of 2013 are ready; {total:,} departures will be replayed, one in {plan.every}")
    server = Server(server_state, workers=_WORKERS, log=state / "gateway.log")
    with server, Control(server.control, actor="demo", timeout_s=120) as control:
        screen.done(f"turnout serve runs {_WORKERS} workers on {server.data}, control on {server.control}")
        year = _Year(plan, state, screen, server=server, control=control, total=total)
        with Trainers(server.control, state, count=plan.trainers):
            year.begin()
            year.replay()
        result = year.end()
    return replace(result, clean_stop=server.exit_code == 0)


class _Year:
    """The course of the year on a gateway that runs."""

    def __init__(
        self, plan: Plan, state: Path, screen: Screen, *, server: Server, control: Control, total: int
    ) -> None:
        self._plan = plan
        self._state = state
        self._screen = screen
        self._server = server
        self._control = control
        self._total = total
        self._replayed: dict[str, Any] = {"now_us": plan.start_us, "until_us": 0, "requests": 0, "state": "waiting"}
        self._told: set[tuple[str, int]] = set()
        self._pace_per_s = 0.0

    def begin(self) -> None:
        """Make the features and policies known, fill the online store, and have the first version trained."""
        furnish(self._control, self._state / "sources", self._screen, start_us=self._plan.start_us)
        self._control.training.CreatePolicy(read_policy(POLICIES / f"{KEEP}.toml"))
        self._screen.doing("a trainer makes the first version")
        asked = pb.StartRunRequest(parent=resources.policy_name(KEEP), reason="the first version")
        name = self._control.training.StartRun(asked).run.name
        until_s = time.monotonic() + _FIRST_RUN_TIMEOUT_S
        while (run := self._control.training.GetRun(pb.GetRunRequest(name=name)).run).state in _OPEN:
            if time.monotonic() > until_s:
                raise ChildFailedError(f"the first run took longer than {_FIRST_RUN_TIMEOUT_S:g} s")
            time.sleep(_LOOK_S)
        self._news()
        if run.state != run_pb2.RUN_STATE_DEPLOYED:
            raise ChildFailedError(f"the first run came to nothing: {'; '.join(run.findings)}")
        self._control.training.CreatePolicy(read_policy(POLICIES / f"{IMPOSSIBLE}.toml"))

    def replay(self) -> None:
        """Replay the departures, slowly while a trainer works, until the end of the year."""
        plan = self._plan
        arguments = ["--data", self._server.data, "--control", self._server.control]
        arguments += ["--sources", str(self._state / "sources"), "--out", str(self._state)]
        arguments += ["--start-us", str(plan.start_us), "--end-us", str(plan.end_us), "--every", str(plan.every)]
        arguments += ["--rate", str(plan.rate_per_s), "--interval-h", str(plan.interval_h)]
        arguments += ["--clock-step-us", str(plan.clock_step_us)]
        with Child("trainer.demo.replay", arguments, log=self._state / "replay.log") as replaying:
            until_us = 0
            while not (self._replayed["state"] == "waiting" and self._replayed["until_us"] >= plan.end_us):
                busy, next_us = self._trainers_at_work()
                # The next check is the end of the leash: a trainer must not come to it weeks later.
                wanted_us = plan.end_us if busy else min(next_us + plan.interval_us, plan.end_us)
                pace = plan.slow_per_s if busy else plan.rate_per_s
                if wanted_us != until_us or pace != self._pace_per_s:
                    replaying.tell(until_us=wanted_us, rate_per_s=pace)
                    until_us, self._pace_per_s = wanted_us, pace
                self._listen(replaying, for_s=_LOOK_S)
                self._news()
            self._settle(replaying)
            replaying.tell(finish=True)
            while self._replayed["state"] != "finished":
                self._listen(replaying, for_s=_POLL_S)

    def end(self) -> Result:
        """Return what was found."""
        self._screen.doing("reading the history")
        self._news()
        return Result(
            samples=pq.read_table(self._state / SAMPLES_FILE),
            failures=self._replayed["failures"],
            outcomes_acknowledged=self._replayed["acknowledged"],
            outcomes_refused=self._replayed["refused"],
            history=read_history(self._control, (KEEP, IMPOSSIBLE)),
            duration_s=self._screen.elapsed_s,
        )

    def _trainers_at_work(self) -> tuple[bool, int]:
        """Return whether a check or a run is worked on or due, and when the next check is."""
        listed = self._control.training.ListPolicies(pb.ListPoliciesRequest()).policies
        next_us = min(policy.next_check_us for policy in listed)
        runs = self._control.training.ListRuns(pb.ListRunsRequest(page_size=10)).runs
        if next_us <= self._replayed["now_us"] or any(run.state in _WORKED_ON for run in runs):
            return True, next_us
        for policy in listed:
            newest = self._control.training.ListChecks(pb.ListChecksRequest(parent=policy.name, page_size=1)).checks
            if newest and not newest[0].done:
                return True, next_us
        return False, next_us

    def _settle(self, replaying: Child) -> None:
        """Wait until nobody works any more; a ramp that is under way stays so."""
        while self._trainers_at_work()[0]:
            self._listen(replaying, for_s=_LOOK_S)

    def _listen(self, replaying: Child, *, for_s: float) -> None:
        """Take the replay's reports for a while."""
        until_s = time.monotonic() + for_s
        while time.monotonic() < until_s:
            self._server.check()
            for report in replaying.reports():
                self._replayed = report
            self._screen.replayed(self._replayed["requests"], self._total, day_text(self._replayed["now_us"]))
            time.sleep(_POLL_S)

    def _news(self) -> None:
        """Show what became of runs since the last look."""
        for run in reversed(self._control.training.ListRuns(pb.ListRunsRequest(page_size=10)).runs):
            state = plain.short_name(run_pb2.RunState.DESCRIPTOR, run.state)
            if (run.name, run.state) in self._told or run.state == run_pb2.RUN_STATE_RUNNING:
                continue
            self._told.add((run.name, run.state))
            why = run.reason if run.state == run_pb2.RUN_STATE_QUEUED else "; ".join(run.findings[:1])
            day = day_text(self._replayed["now_us"])
            self._screen.done(f"{day:>6}  {run.name.removeprefix('policies/')} [bold]{state}[/bold]: {why}")
