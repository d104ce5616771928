"""Ramps that go on by themselves: looked at again and again, by one gateway at a time.

Each look gathers what is known, asks the pure controller, and does what it says in one transaction that first proves
that this gateway still holds the ramp's lease and then compares and sets: the ramp's step, and the experiment's etag. A
gateway that dies in between has done all of a step or nothing of it, and whoever goes on begins a new window of the
step, so that what it counts is tested by itself.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from experiments import records
from experiments.definition import State
from experiments.ramp import moves, rows
from experiments.ramp.controller import Action, Decision, Scene, decide
from experiments.ramp.outcomes import read_outcomes
from experiments.ramp.safety import SafetyWatch
from experiments.ramp.standing import Grounds, RampEventKind, RampState
from experiments.scope import UnitKind
from gateway.control.analysis import reduce_events
from gateway.control.followed import Followed, evidence_of
from gateway.control.ramp_feed import RampFeed, Wanted
from gateway.control.ramp_leases import LEASE_US, announce, take
from storage.errors import ConflictError, DomainError, PreconditionError
from storage.leases import database_now_us, renew

if TYPE_CHECKING:
    import threading

    from sqlalchemy import Connection

    from experiments.definition import Experiment
    from experiments.ramp.standing import Standing
    from gateway.control.experiments import ExperimentControl
    from gateway.journal.log import EventLog
    from storage.clock import Clock
    from storage.database import Database
    from storage.leases import Lease

INTERVAL_S = 0.5
OUTCOMES_INTERVAL_S = 1.0
OUTCOMES_REST = 10
"""Outcomes are looked at so seldom that a look takes at most one part in eleven of the time; so is a promotion that was
refused."""
ACTOR = "ramp"

_log = logging.getLogger(__name__)


class RampRunner:
    """Takes ramps forward, holds them and takes them back. `look` is for one thread; `known` for any.

    Parameters
    ----------
    database, clock, events
        Where ramps and calls are kept, and the time.
    control
        What concludes the experiment of a ramp that has come to its end, and promotes.
    holder
        Names this gateway, the same whenever it is started again: it need not wait for its own lease to end.
    eager
        Whether every look looks at the outcomes too, however long that takes.
    """

    def __init__(
        self,
        *,
        database: Database,
        clock: Clock,
        events: EventLog,
        control: ExperimentControl,
        holder: str,
        eager: bool = False,
    ) -> None:
        self._eager = eager
        self._database = database
        self._clock = clock
        self._events = events
        self._control = control
        self._holder = holder
        self._feed = RampFeed(events.folders.journal)
        self._followed: dict[str, Followed] = {}
        self._announced: Lease | None = None

    def run(self, stopped: threading.Event, *, interval_s: float = INTERVAL_S) -> None:
        """Look until stopped."""
        while not stopped.wait(interval_s):
            try:
                self.look()
            except DomainError as error:
                _log.warning("ramps cannot be looked at now: %s", error.message)
            except Exception:  # noqa: BLE001  (the thread must outlive whatever it is)
                _log.exception("ramps could not be looked at; trying again")

    def known(self, experiment_id: str) -> Followed | None:
        """Return what this gateway knows of a ramp; None when it does not follow it."""
        return self._followed.get(experiment_id)

    def look(self) -> None:
        """Look at every ramp that is not over, and do what is due."""
        with self._database.read() as tx:
            found = [(standing, records.get(tx, standing.experiment)) for standing in rows.list_open(tx)]
        if not found:
            self._followed = {}
            self._feed.stop()
            return
        self._announce()
        open_now = {standing.experiment for standing, _ in found}
        self._followed = {name: each for name, each in self._followed.items() if name in open_now}
        own = [(standing, experiment) for standing, experiment in found if self._follow(standing)]
        self._take(own)
        for standing, experiment in own:
            try:
                self._go_on(standing, experiment)
            except ConflictError as error:  # somebody changed it meanwhile, or another gateway has it now
                _log.info("the ramp of %s is looked at again: %s", standing.experiment, error.message)
                if error.reason == "LEASE_LOST":
                    self._followed.pop(standing.experiment, None)

    def _announce(self) -> None:
        """Say that this gateway is there, whether it looks after a ramp or not: it answers calls."""
        if self._announced is None or self._announced.left_us() < LEASE_US // 2:
            with self._database.write() as tx:
                self._announced = announce(tx, holder=self._holder)

    def _follow(self, standing: Standing) -> bool:
        """Keep or get the lease of a ramp and begin to count; return whether it is to be looked at now."""
        name = standing.experiment
        known = self._followed.get(name)
        if known is None:
            with self._database.write() as tx:
                lease = take(tx, name, holder=self._holder)
                if lease is None:
                    return False
                # Somebody has counted this window before: what was counted is gone, and so is its part of alpha.
                if lease.token > 1:
                    rows.turn_window(tx, standing, now_us=self._clock.now_us())
            self._followed[name] = self._begun(standing, lease, later=int(lease.token > 1))
            return lease.token == 1
        if known.lease.left_us() < LEASE_US // 2:
            try:
                with self._database.write() as tx:
                    known.lease = self._renewed(tx, known)
            except ConflictError:
                del self._followed[name]
                return False
        if (known.step, known.window) != (standing.step, standing.window):
            self._followed[name] = self._begun(standing, known.lease, before=known.watch)
        return True

    def _begun(
        self, standing: Standing, lease: Lease, *, later: int = 0, before: SafetyWatch | None = None
    ) -> Followed:
        with self._database.read() as tx:
            ramp = moves.ramp_of(records.get(tx, standing.experiment))
        window = standing.window + later
        return Followed(lease, standing.step, window, SafetyWatch(ramp, window=window, before=before))

    def _take(self, own: list[tuple[Standing, Experiment]]) -> None:
        """Count the calls that came."""
        wanted = [
            Wanted(
                experiment=experiment.id,
                ramp=moves.ramp_of(experiment),
                epoch=experiment.epoch,
                since_us=standing.window_began_us,
                control=experiment.control.variant,
                by_request=experiment.scope.unit is UnitKind.REQUEST,
            )
            for standing, experiment in own
        ]
        for name, caught in self._feed.poll(wanted).items():
            known = self._followed[name]
            known.watch.take(caught.sightings)
            control_us, candidate_us = (max(pair) for pair in zip(known.last_us, caught.last_us, strict=True))
            known.last_us = (control_us, candidate_us)

    def _go_on(self, standing: Standing, experiment: Experiment) -> None:
        known = self._followed[standing.experiment]
        if self._eager or time.monotonic() >= known.outcomes_due_s:
            self._read_outcomes(known, experiment)
        decision = decide(self._scene(standing, experiment, known))
        if decision.action is Action.COMPLETE and time.monotonic() < known.promotion_due_s:
            return
        if decision.action in {Action.ADVANCE, Action.COMPLETE}:
            # Never on what was known some time ago.
            self._read_outcomes(known, experiment)
            decision = decide(self._scene(standing, experiment, known))
        known.decision = self._do(decision, standing, experiment, known)
        now_us = self._clock.now_us()
        if decision.action is Action.WAIT and known.watch.used_up(age_us=now_us - standing.window_began_us):
            with self._database.write() as tx:
                self._prove(tx, known)
                rows.turn_window(tx, standing, now_us=now_us)

    def _scene(self, standing: Standing, experiment: Experiment, known: Followed) -> Scene:
        return Scene(
            standing=standing,
            ramp=moves.ramp_of(experiment),
            running=experiment.state is State.RUNNING,
            now_us=self._clock.now_us(),
            live=known.live,
            outcomes=known.outcomes,
        )

    def _read_outcomes(self, known: Followed, experiment: Experiment) -> None:
        began_s = time.monotonic()
        with self._database.read() as tx:
            epochs = records.epochs(tx, experiment.id)
        with self._events.snapshot() as connection:
            evidence = reduce_events(connection, experiment, now_us=self._clock.now_us())
        known.outcomes = read_outcomes(experiment, moves.ramp_of(experiment), evidence, epochs)
        known.outcomes_due_s = _rested_s(began_s)

    def _do(self, decision: Decision, standing: Standing, experiment: Experiment, known: Followed) -> Decision:
        """Do what was decided and return it, or that the ramp holds when the registry does not let it end."""
        if decision.action is Action.COMPLETE:
            began_s = time.monotonic()
            try:
                self._control.complete_ramp(
                    standing,
                    self._grounds(decision, known),
                    etag=experiment.etag,
                    prove=lambda tx: self._prove(tx, known),
                )
            except PreconditionError as error:
                decision = Decision(Action.HOLD, (f"the candidate cannot be made the champion: {error.message}",))
                known.promotion_due_s = _rested_s(began_s)
            else:
                return decision
        self._write(decision, standing, experiment, known)
        return decision

    def _write(self, decision: Decision, standing: Standing, experiment: Experiment, known: Followed) -> None:
        kinds = {
            (Action.HOLD, RampState.RUNNING): RampEventKind.HELD,
            (Action.ROLL_BACK, standing.state): RampEventKind.ROLLED_BACK,
            (Action.ADVANCE, RampState.RUNNING): RampEventKind.ADVANCED,
            # What was held goes on in the next look.
            **{(action, RampState.HOLDING): RampEventKind.RELEASED for action in (Action.WAIT, Action.ADVANCE)},
        }
        kind = kinds.get((decision.action, standing.state))
        if kind is None:
            return
        grounds = self._grounds(decision, known)
        with self._database.write() as tx:
            self._prove(tx, known)
            if kind is RampEventKind.ADVANCED:
                moves.advance(tx, standing, grounds, etag=experiment.etag)
            elif kind is RampEventKind.ROLLED_BACK:
                moves.end(tx, standing, kind, grounds)
            else:
                rows.note(tx, standing, kind, grounds)
        told = "; ".join(decision.reasons) if decision.action in {Action.HOLD, Action.ROLL_BACK} else "as it should"
        _log.info("the ramp of %s: %s at step %d: %s", experiment.id, kind, standing.step, told)

    def _grounds(self, decision: Decision, known: Followed) -> Grounds:
        return Grounds(
            reasons=decision.reasons,
            evidence=evidence_of(decision, known),
            actor=ACTOR,
            now_us=self._clock.now_us(),
        )

    def _prove(self, tx: Connection, known: Followed) -> None:
        """Raise LeaseLostError unless the ramp is still this gateway's."""
        known.lease = self._renewed(tx, known)

    def _renewed(self, tx: Connection, known: Followed) -> Lease:
        return renew(tx, known.lease, duration_us=LEASE_US, now_us=database_now_us(tx))


def _rested_s(began_s: float) -> float:
    """Return when to do again what began then and has ended now."""
    now_s = time.monotonic()
    return now_s + max(OUTCOMES_INTERVAL_S, OUTCOMES_REST * (now_s - began_s))
