"""What is slow where calls run in waves: known by the version's own runs, whatever else was in the wave."""

from __future__ import annotations

import numpy as np
import pytest

from experiments.ramp.bounds import detection_bound
from experiments.ramp.definition import Guardrail, GuardrailKind, Ramp, Step
from experiments.ramp.safety import SETTLED_CALLS, SafetyWatch, Sighting, alpha_of
from experiments.ramp.usual import CALLS_MIN, Limits, Took, Usual

LATENCY = Guardrail(GuardrailKind.LATENCY, tolerance=0.02, quantile=0.95, ratio=2.0)
RAMP = Ramp(steps=(Step(0.5),), guardrails=(LATENCY,), alpha=0.05)
COSTS_US = {"each run alike": (2_000, 0), "each row alike": (0, 500), "both": (1_000, 200)}


def waves(count, *, seed, at_once, share=0.5, slower=1.0, cost_us=(2_000, 0)):
    """Give the calls of waves: who is whose by chance, and each version runs once for those that are its own.

    Parameters
    ----------
    cost_us
        What a run costs, and each of its rows.
    """
    random = np.random.default_rng(seed)
    unit = 0
    for _ in range(count):
        arms = random.random(at_once) < share
        rows = [int((~arms).sum()), int(arms.sum())]
        noise = random.lognormal(0, 0.2, 2)
        run_us = [
            int((cost_us[0] + cost_us[1] * rows[arm]) * noise[arm] * (slower if arm else 1.0)) * bool(rows[arm])
            for arm in (0, 1)
        ]
        other_us = 500 + int(random.exponential(200))
        yield [
            Sighting(unit := unit + 1, bool(arm), Took(other_us + run_us[arm], run_us[arm], rows[arm]), (None,))
            for arm in map(int, arms)
        ]


def reading_after(calls, *, until=None):
    watch = SafetyWatch(RAMP)
    for wave in calls:
        watch.take(wave)
        (reading,) = watch.readings()
        if reading.breached or (until and reading.units[1] >= until):
            break
    return reading


@pytest.mark.parametrize("at_once", [1, 8, 32])
@pytest.mark.parametrize("cost_us", COSTS_US.values(), ids=COSTS_US)
def test_a_version_three_times_as_slow_is_seen_within_the_stated_bound_however_many_calls_are_at_once(at_once, cost_us):
    if at_once == 1:
        cost_us = (sum(cost_us) * 2, 0)
    bound = detection_bound(
        baseline=0.2,
        rise=0.4,
        tolerance=LATENCY.tolerance,
        alpha=alpha_of(RAMP),
        passed_over=CALLS_MIN + SETTLED_CALLS,
    )
    for seed in range(8):
        reading = reading_after(waves(4_000, seed=seed, at_once=at_once, slower=3.0, cost_us=cost_us))
        assert reading.breached
        assert reading.units[1] <= bound.units, (seed, reading)


@pytest.mark.parametrize("share", [0.03, 0.5, 0.8])
@pytest.mark.parametrize("cost_us", COSTS_US.values(), ids=COSTS_US)
def test_a_version_that_is_as_fast_is_not_slow_because_it_has_more_calls_or_fewer(share, cost_us):
    breached = 0
    for seed in range(8):
        reading = reading_after(waves(200, seed=seed, at_once=32, share=share, cost_us=cost_us), until=2_000)
        breached += reading.breached
        assert reading.bad[1] / reading.units[1] <= reading.bad[0] / reading.units[0] + 0.01, (seed, reading)
    assert breached <= 1


def test_a_limit_in_microseconds_is_for_a_call_without_the_runs_of_others():
    usual = Usual()
    limits = usual.limits(Guardrail(GuardrailKind.LATENCY, limit_us=5_000), 3)
    assert limits == Limits(5_000)
    assert limits.passed_by(Took(5_001, 1, 1))
    assert not limits.passed_by(Took(5_000, 5_000, 1))


def test_runs_of_more_rows_than_the_control_had_are_held_against_its_largest_ones_in_proportion():
    usual = Usual()
    for rows in (1, 4):
        for _ in range(CALLS_MIN * 5):
            usual.add(Took(3_000 * rows, 2_000 * rows, rows))
    usual.settle()
    assert usual.limits(LATENCY, 1) == (6_000, 4_000)
    assert usual.limits(LATENCY, 3) == (24_000, 16_000)
    assert usual.limits(LATENCY, 8) == (40_000, 32_000)
    assert not usual.limits(LATENCY, 8).passed_by(Took(40_000, 32_000, 8))
    assert usual.limits(LATENCY, 8).passed_by(Took(40_000, 32_001, 8))


def test_nothing_is_slow_until_the_control_has_shown_what_is_usual():
    usual = Usual()
    for _ in range(CALLS_MIN - 1):
        usual.add(Took(10, 10, 1))
    usual.settle()
    assert usual.limits(LATENCY, 1) == Limits()
    usual.add(Took(10, 10, 1))
    assert usual.limits(LATENCY, 1) == Limits(), "it was not settled since"
    usual.settle()
    assert usual.limits(LATENCY, 1) == (1_010, 1_010)
    assert Usual(usual).limits(LATENCY, 1) == (1_010, 1_010)
