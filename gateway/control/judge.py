"""Judges experiments: one snapshot of the events for each look, and a verdict that is kept with all it was made of."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from experiments import records
from experiments.analysis.findings import NotEnoughData
from experiments.analysis.power import DEFAULT_POWER, Design, minimum_effect, sample_size
from experiments.analysis.reasons import primary
from experiments.analysis.replay import replay_aa
from experiments.analysis.verdict import Verdict, again, as_told, reach_verdict, same_evidence, verify, watches_of
from experiments.definition import ALPHA_BELOW, ALPHA_MIN, State
from experiments.errors import ExperimentInvalidError
from experiments.looks import Look, keep_look, last_look, page_of_looks, read_looks
from experiments.plan import Method
from gateway.control.analysis import read_units
from gateway.control.moving import preview_split
from gateway.control.pairs import compare_pairs
from gateway.control.reducing.pairs import count_shadowed
from gateway.control.reducing.reducer import Reducer
from storage.crew import ALONE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from experiments.analysis.conclusions import Watches
    from experiments.analysis.evidence import Evidence
    from experiments.analysis.findings import Contrast
    from experiments.analysis.replay import Replay
    from experiments.analysis.verdict import Verification
    from experiments.definition import Experiment, Metric
    from gateway.control.moving import Moving
    from gateway.control.pairs import PairedFinding, PairRules
    from gateway.control.reducing.pairs import PairQuestion, Shadowed
    from gateway.journal.log import EventLog
    from storage.clock import Clock
    from storage.crew import Crew
    from storage.database import Database

LOOK_EVERY_MS = 60_000
REPLAYS_DEFAULT = 200
REPLAYS_MAX = 2000
_TRIES_MAX = 8


@dataclass(frozen=True, slots=True)
class Analysis:
    """What the outcomes so far say of an experiment.

    Parameters
    ----------
    look
        The number of the look that was kept; 0 when none was.
    time_us
        The gateway's time when the events were looked at.
    epoch
        Of the split that was in force; 0 for a draft.
    """

    experiment: Experiment
    evidence: Evidence
    verdict: Verdict
    look: int
    time_us: int
    epoch: int


@dataclass(frozen=True, slots=True)
class Size:
    """How many units an effect needs, and what so many units can show; None with a reason where there is no number."""

    units: int | None
    remaining_units: int | None
    minimum_effect: float | None
    variance: float
    reason: str


@dataclass(frozen=True, slots=True)
class SizeQuestion:
    """What is to be found, and by which method; 0 stands for what is not given."""

    metric: str = ""
    effect: float = 0.0
    variance: float = 0.0
    treatment_share: float = 0.0
    alpha: float = 0.0
    power: float = 0.0
    method: Method | None = None
    units: int = 0


class ExperimentJudge:
    """Judges experiments on what was predicted and what came of it.

    Parameters
    ----------
    database, clock
        Where experiments and looks are kept, and the time that they are dated by.
    events
        What was predicted and what came of it.
    crew
        Who reduces events that outgrow this machine.
    look_every_ms
        A look so soon after the last one that comes to no other recommendation is answered and not kept: whoever asks
        every second must not fill the database. An interval that was shown and is not kept only makes the later ones
        wider than they need be.
    """

    def __init__(
        self,
        *,
        database: Database,
        clock: Clock,
        events: EventLog,
        crew: Crew = ALONE,
        look_every_ms: int = LOOK_EVERY_MS,
    ) -> None:
        self._look_every_us = look_every_ms * 1000
        self._database = database
        self._clock = clock
        self._events = events
        self._reducer = Reducer(events, crew=crew)

    def analyze(self, experiment_id: str, *, method: Method | None = None) -> Analysis:
        """Return what the outcomes so far say, or raise ExperimentMissingError.

        Parameters
        ----------
        method
            Another method than the plan's, for this answer only; None: the plan's, and the look is kept.
        """
        with self._database.read() as tx:
            experiment = records.get(tx, experiment_id)
            epochs = records.epochs(tx, experiment_id)
        time_us = self._clock.now_us()
        evidence = self._reducer.evidence(experiment, now_us=time_us)
        epoch = max((each.epoch for each in epochs), default=0)
        if method is not None or experiment.state is State.DRAFT:
            asked = replace(experiment, plan=replace(experiment.plan, method=method or experiment.plan.method))
            return Analysis(asked, evidence, reach_verdict(asked, epochs, evidence, {}), 0, time_us, epoch)
        for _ in range(_TRIES_MAX):
            with self._database.read() as tx:
                last = last_look(tx, experiment_id)
            if last is not None and same_evidence(last.basis, experiment, evidence):
                return Analysis(experiment, evidence, again(last.basis), last.look, last.time_us, epoch)
            watches: Watches = {} if last is None else watches_of(last.outcome)
            verdict = reach_verdict(experiment, epochs, evidence, watches)
            if last is not None and self._too_soon(last, watches, verdict, time_us):
                return Analysis(experiment, evidence, verdict, 0, time_us, epoch)
            look = 1 if last is None else last.look + 1
            if self._keep(experiment_id, look, verdict, time_us):
                return Analysis(experiment, evidence, verdict, look, time_us, epoch)
        raise ExperimentInvalidError(f"{experiment_id!r} is being looked at by too many at once: ask again")

    def looks(self, experiment_id: str, *, after: int, limit_max: int, spread_max: int) -> list[Analysis]:
        """Return a page of the looks that were kept, as each was told; see `experiments.looks.page_of_looks`."""
        with self._database.read() as tx:
            records.get(tx, experiment_id)
            page = page_of_looks(tx, experiment_id, after=after, limit_max=limit_max, spread_max=spread_max)
        found: list[Analysis] = []
        for look in page:
            told = as_told(look.basis, look.outcome)
            found.append(Analysis(told.experiment, told.evidence, told.verdict, look.look, look.time_us, told.epoch))
        return found

    def matured_units(self, experiment: Experiment, variant: str) -> int:
        """Return how many units of a variant have an outcome that is compared; no look is kept."""
        evidence = self._reducer.evidence(experiment, now_us=self._clock.now_us())
        return sum(count.matured_units for count in evidence.counts if count.variant == variant)

    def shadowed(self, model: str, version: int) -> Shadowed:
        """Return what a version made, as a shadow, of the calls that the live one answered."""
        with self._events.snapshot() as connection:
            return count_shadowed(connection, model, version)

    def verify(self, experiment_id: str, *, look: int) -> list[tuple[Look, Verification]]:
        """Return the looks that were kept, each with whether it comes out again; all of them when `look` is 0."""
        with self._database.read() as tx:
            records.get(tx, experiment_id)
            found = read_looks(tx, experiment_id, look=look)
        if look and not found:
            raise ExperimentInvalidError(f"{experiment_id!r} has no look {look}", look=look)
        return [(each, verify(each.basis, each.outcome, each.digest)) for each in found]

    def preview_split(self, experiment_id: str, shares: Mapping[str, float], *, etag: str, units_max: int) -> Moving:
        """Return what a split would move of the last units; raises as `gateway.control.moving.preview_split` does."""
        return preview_split(self._database, self._events, experiment_id, shares, etag=etag, units_max=units_max)

    def compare_pairs(self, question: PairQuestion, rules: PairRules) -> PairedFinding:
        """Return what two versions made of the same calls; raises as `gateway.control.pairs.compare_pairs` does."""
        return compare_pairs(self._events, self._clock, question, rules)

    def replay(self, experiment_id: str, *, metric: str, replays: int) -> tuple[Metric, int, Replay | NotEnoughData]:
        """Return what the fixed test says of the control's units when they are split anew, without an effect."""
        with self._database.read() as tx:
            experiment = records.get(tx, experiment_id)
        if not 0 <= replays <= REPLAYS_MAX:
            raise ExperimentInvalidError(f"replays is {replays}, not from 20 to {REPLAYS_MAX}")
        asked = _metric(experiment, metric)
        with self._events.snapshot() as connection:
            units, rows = read_units(connection, experiment, asked, now_us=self._clock.now_us())
        seeds = [f"{experiment.seed}/replay/{number}" for number in range(replays or REPLAYS_DEFAULT)]
        found = replay_aa(units, rows, seeds=seeds, alpha=experiment.alpha)
        return asked, len(units), found

    def size(self, experiment_id: str, question: SizeQuestion) -> Size:
        """Return how many units an effect needs, by an experiment's own units when one is named."""
        if not experiment_id:
            design = Design(
                control_variance=question.variance,
                treatment_variance=question.variance,
                treatment_share=question.treatment_share or 0.5,
                alpha=question.alpha or 0.05,
                method=question.method or Method.FIXED,
            )
            return _sized(design, question, effect=question.effect, seen=None)
        with self._database.read() as tx:
            experiment = records.get(tx, experiment_id)
        metric = _metric(experiment, question.metric)
        verdict = self.analyze(experiment_id, method=Method.FIXED).verdict
        found = [each for each in verdict.conclusions.comparisons if each.metric == metric.metric]
        contrast = next((each.contrast for each in found if each.contrast is not None), None)
        if contrast is None:
            refused = next(each.result for each in found)
            reason = refused.reason if isinstance(refused, NotEnoughData) else "there are no units in both arms"
            return Size(None, None, None, 0.0, reason)
        design = Design(
            control_variance=contrast.control_variance * contrast.control_units,
            treatment_variance=contrast.treatment_variance * contrast.treatment_units,
            treatment_share=question.treatment_share or contrast.treatment_units / contrast.units,
            alpha=question.alpha or experiment.alpha,
            method=question.method or experiment.plan.settled_method,
            looks=experiment.plan.looks,
        )
        effect = question.effect or metric.minimum_effect * abs(contrast.control_mean)
        return _sized(design, question, effect=effect, seen=contrast)

    def _too_soon(self, last: Look, before: Watches, verdict: Verdict, time_us: int) -> bool:
        """Whether a look need not be kept: it says what the last one said a moment ago, and has spent no alpha."""
        if time_us - last.time_us >= self._look_every_us or verdict.decision.recommendation != last.recommendation:
            return False
        return all(
            watch.fractions == (before[key].fractions if key in before else ())
            for key, watch in verdict.conclusions.watches.items()
        )

    def _keep(self, experiment_id: str, look: int, verdict: Verdict, time_us: int) -> bool:
        """Keep a look, unless somebody else has looked since; return whether it was kept."""
        with self._database.write() as tx:
            newest = last_look(tx, experiment_id)
            if (0 if newest is None else newest.look) != look - 1:
                return False
            said = verdict.decision.recommendation.value
            keep_look(tx, experiment_id, Look(look, time_us, said, verdict.digest, verdict.basis, verdict.outcome))
        return True


def _metric(experiment: Experiment, name: str) -> Metric:
    """Return a metric by its name, the first success metric when it is empty, or raise ExperimentInvalidError."""
    if not name:
        return primary(experiment)
    for each in experiment.metrics:
        if each.metric == name:
            return each
    raise ExperimentInvalidError(f"{experiment.id!r} has no metric {name[:80]!r}", metric=name[:80])


def _sized(design: Design, question: SizeQuestion, *, effect: float, seen: Contrast | None) -> Size:
    power = question.power or DEFAULT_POWER
    _check(design, question, power=power)
    reasons: list[str] = []
    units = sample_size(effect, design, target_power=power)
    least: float | NotEnoughData | None = None
    if question.units or seen is not None:
        least = minimum_effect(question.units or (seen.units if seen is not None else 0), design, target_power=power)
    reasons.extend(each.reason for each in (units, least) if isinstance(each, NotEnoughData))
    known = None if isinstance(units, NotEnoughData) else units
    return Size(
        units=known,
        remaining_units=None if known is None or seen is None else max(0, known - seen.units),
        minimum_effect=None if isinstance(least, NotEnoughData) else least,
        variance=design.control_variance / 2 + design.treatment_variance / 2,  # the sum may be no number
        reason="; ".join(reasons),
    )


def _check(design: Design, question: SizeQuestion, *, power: float) -> None:
    """Refuse what no size can be asked by."""
    if not (math.isfinite(question.variance) and question.variance >= 0 and math.isfinite(question.effect)):
        raise ExperimentInvalidError("variance is 0 or above, and variance and effect are finite")
    if not 0 < design.treatment_share < 1:
        raise ExperimentInvalidError("treatment_share is a part: above 0 and below 1")
    if not ALPHA_MIN <= design.alpha < ALPHA_BELOW:
        raise ExperimentInvalidError(f"alpha is at least {ALPHA_MIN} and below {ALPHA_BELOW}")
    if not design.alpha < power < 1:
        raise ExperimentInvalidError("power is above alpha, as without any effect so many are found, and below 1")
    if question.units < 0:
        raise ExperimentInvalidError("units is 0, where it is not asked by, or above")
