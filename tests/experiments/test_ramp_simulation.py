"""Whole ramps on a simulated clock, by the code that runs them: how often a good candidate is taken away."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import replace

import numpy as np
import pytest

from experiments.allocation import allocate, reshape
from experiments.analysis.evidence import Evidence, MetricEvidence
from experiments.analysis.joint import JointMoments
from experiments.analysis.stages import Stage
from experiments.definition import Direction, Experiment, Metric, MetricKind, Role, Variant, ramped_shares
from experiments.metric import Covariate
from experiments.ramp.controller import Action, Live, Scene, decide
from experiments.ramp.definition import DEFAULT_GUARDRAILS, Guardrail, GuardrailKind, Ramp, default_steps
from experiments.ramp.outcomes import read_outcomes
from experiments.ramp.safety import SafetyWatch, Sighting
from experiments.ramp.standing import RampState, Standing
from experiments.ramp.usual import Took

HOUR_US = 3_600_000_000
LOOK_US = 20 * 60_000_000
LOOKS_MAX = 240
ALPHA = 0.05
# No tolerance hides a false alarm here.
GUARDRAILS = (
    *(replace(each, tolerance=0.0) for each in DEFAULT_GUARDRAILS),
    Guardrail(GuardrailKind.OUTPUT_RANGE, output="probability", lower=0.0, upper=1.0),
)
RAMP = Ramp(steps=default_steps(duration_us=6 * HOUR_US, minimum_units=100), guardrails=GUARDRAILS, alpha=ALPHA)


def metric(name, role):
    return Metric(name, MetricKind.MEAN, name, Direction.DECREASE, role, margin=0.5, covariate=Covariate.NONE)


def experiment_at(step):
    coverage, shares = ramped_shares(DRAFT, RAMP.steps[step - 1].share)
    variants = tuple(replace(each, share=share) for each, share in zip(DRAFT.variants, shares, strict=True))
    return replace(DRAFT, variants=variants, coverage=coverage, epoch=step)


DRAFT = Experiment(
    id="a-against-a",
    model="m",
    variants=(Variant("control", 1, 0.5, control=True), Variant("candidate", 2, 0.5)),
    metrics=(metric("loss", Role.SUCCESS), metric("cost", Role.GUARDRAIL)),
    seed="s",
    minimum_units=50,
    ramp=RAMP,
)


class World:
    """Units that come, call several times and turn out somehow; a part of them always fails, the rest by the hour.

    Parameters
    ----------
    errors, slower, worse
        What is wrong with the candidate: units that fail more, how many times as slow, by how much its outcomes are
        worse.
    """

    def __init__(self, seed, *, errors=0.0, slower=1.0, worse=0.0):
        self.random = np.random.default_rng(seed)
        self.errors, self.slower, self.worse = errors, slower, worse
        self.cells = [defaultdict(JointMoments) for _ in DRAFT.metrics]
        self.units = Counter()

    def come(self, step, now_us):
        """Return the calls of one look's time."""
        hour = now_us // HOUR_US
        fails = 0.01 + 0.02 * (hour % 5 == 0)
        calls = []
        for arm, variant in enumerate(DRAFT.variants):
            if step == len(RAMP.steps) and variant.control:
                continue
            units = int(self.random.poisson(60))
            self.units[variant.variant, step] += units
            always = self.random.random(units) < 0.01 + arm * self.errors
            names = self.random.integers(0, 2**63, units)
            usual_us = self.random.lognormal(9, 0.5, units) * (self.slower if arm else 1.0) * (1 + hour % 3)
            for name, broken, latency_us in zip(names, always, usual_us, strict=True):
                for _ in range(int(self.random.geometric(0.4))):
                    bad = bool(broken or self.random.random() < fails)
                    late = bool(self.random.random() < 0.02)
                    calls.append(Sighting(int(name), bool(arm), Took(int(latency_us)), (bad, None, late, bad)))
            for cells in self.cells:
                values = self.random.exponential(1.0 + arm * self.worse, units)
                rows = np.column_stack([values, np.ones(units)])
                cell = (variant.variant, step, "")
                cells[cell] = cells[cell].merge(JointMoments.of(rows))
        self.random.shuffle(calls)
        return calls

    def evidence(self):
        found = []
        for cells in self.cells:
            units = Counter()
            for (variant, _, _), joint in cells.items():
                units[variant] += joint.n
            found.append(MetricEvidence(moments=dict(cells), units=units))
        return Evidence(counts=(), metrics=tuple(found), stages={Stage.JOURNALLED: dict(self.units)})


def ramp_through(world):
    """Return how a ramp ends, and why."""
    coverage, shares = ramped_shares(DRAFT, RAMP.steps[0].share)
    epochs = [allocate(shares, coverage=coverage)]
    standing = Standing("a-against-a", RampState.RUNNING, 1, step_began_us=0)
    watch = SafetyWatch(RAMP)
    for look in range(1, LOOKS_MAX):
        now_us = look * LOOK_US
        watch.take(world.come(standing.step, now_us))
        experiment = experiment_at(standing.step)
        decision = decide(
            Scene(
                standing=standing,
                ramp=RAMP,
                running=True,
                now_us=now_us,
                live=Live(watch.readings(), (watch.units[0], watch.units[1]), (now_us, now_us), watch.exposed_share),
                outcomes=read_outcomes(experiment, RAMP, world.evidence(), epochs),
            )
        )
        if decision.action in {Action.ROLL_BACK, Action.COMPLETE}:
            return decision
        if decision.action is Action.ADVANCE:
            standing = replace(standing, step=standing.step + 1, step_began_us=now_us, window=1, window_began_us=now_us)
            watch = SafetyWatch(RAMP, before=watch)
            coverage, shares = ramped_shares(DRAFT, RAMP.steps[standing.step - 1].share)
            epochs.append(reshape(epochs[-1], coverage=coverage, shares=shares))
        elif watch.used_up(age_us=now_us - standing.window_began_us):
            standing = replace(standing, window=standing.window + 1, window_began_us=now_us)
            watch = SafetyWatch(RAMP, window=standing.window, before=watch)
    return decision


@pytest.mark.parametrize("ramps", [100, pytest.param(1_000, marks=[pytest.mark.soak, pytest.mark.timeout(1_800)])])
def test_candidates_that_are_no_worse_are_taken_away_at_most_as_often_as_alpha_says(ramps):
    ends = Counter(ramp_through(World(seed)).action for seed in range(ramps))
    assert ends[Action.ROLL_BACK] <= ALPHA * ramps, ends
    assert ends[Action.COMPLETE] >= 0.9 * ramps, ends


@pytest.mark.parametrize("fault", [{"errors": 0.1}, {"slower": 3.0}, {"worse": 0.5}])
def test_candidates_with_a_fault_are_taken_away(fault):
    for seed in range(5):
        decision = ramp_through(World(seed, **fault))
        assert decision.action is Action.ROLL_BACK, decision
