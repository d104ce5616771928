"""The test behind operational guardrails: exact, good at any number of looks, and as quick as it is said to be."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from experiments.analysis.sequence import mixing_variance, reach
from experiments.ramp.bounds import detection_bound, outcome_bound
from experiments.ramp.definition import Guardrail, GuardrailKind, Ramp, Step
from experiments.ramp.pairs import log_evidence, needed
from experiments.ramp.safety import SafetyWatch, Sighting, alpha_of
from experiments.ramp.usual import Took

ALPHA = 0.01
ERRORS = Guardrail(GuardrailKind.ERROR_RATE, tolerance=0.002)
ONE_STEP = Ramp(steps=(Step(0.5),), guardrails=(ERRORS,), alpha=4 * ALPHA)


def exact(k, m):
    """Return the evidence by the integral of the polynomial, in fractions."""
    total = Fraction(0)
    for place in range(m + 1):
        power = k + place + 1
        total += math.comb(m, place) * (-1) ** place * (1 - Fraction(1, 2**power)) / power
    return total * 2 ** (k + m + 1)


@given(st.integers(0, 30), st.integers(0, 30))
def test_the_evidence_is_the_integral_that_it_says(k, m):
    assert log_evidence(k, m) == pytest.approx(math.log(exact(k, m)), abs=1e-9)


def test_what_is_needed_is_the_least_that_suffices():
    for m in range(40):
        k = needed(m, alpha=ALPHA)
        assert log_evidence(k, m) >= -math.log(ALPHA) > log_evidence(k - 1, m)


def test_evidence_far_against_the_control_is_none_and_no_error():
    assert log_evidence(0, 5_000) < -1_000


def crossed(theta, *, looks, runs, seed):
    """Return how many runs of discordant pairs ever come to 1/alpha."""
    against = np.cumsum(np.random.default_rng(seed).random((runs, looks)) < theta, axis=1)
    bars = [needed(m, alpha=ALPHA) for m in range(looks + 1)]
    others = np.arange(1, looks + 1) - against
    return int((against >= np.array(bars)[others]).any(axis=1).sum())


@pytest.mark.parametrize("theta", [0.5, 0.45])
def test_a_candidate_that_is_no_worse_is_accused_at_most_as_often_as_alpha_says_however_often_one_looks(theta):
    runs = 4_000
    accused = crossed(theta, looks=600, runs=runs, seed=1)
    # More than alpha with a probability of one in a thousand, were it exactly alpha.
    assert accused <= stats.binom.ppf(0.999, runs, ALPHA)


def arrivals(baseline, rise, units, random):
    """Return the first calls of so many units of each arm, as they come."""
    candidate = random.random(2 * units) < 0.5
    bad = random.random(2 * units) < np.where(candidate, baseline + rise, baseline)
    names = random.integers(0, 2**63, 2 * units)
    return [
        Sighting(int(name), bool(arm), Took(100), (bool(wrong),))
        for name, arm, wrong in zip(names, candidate, bad, strict=True)
    ]


@pytest.mark.parametrize(("baseline", "rise"), [(0.0, 0.05), (0.01, 0.05), (0.1, 0.2), (0.05, 0.6)])
def test_a_fault_is_seen_within_the_stated_bound(baseline, rise):
    runs, confidence = 120, 0.95
    bound = detection_bound(
        baseline=baseline, rise=rise, tolerance=ERRORS.tolerance, alpha=alpha_of(ONE_STEP), confidence=confidence
    )
    random = np.random.default_rng(3)
    late = 0
    reached = []
    for _ in range(runs):
        watch = SafetyWatch(ONE_STEP)
        for call in arrivals(baseline, rise, 2 * bound.units, random):
            watch.take([call])
            (reading,) = watch.readings()
            if reading.breached:
                break
        late += reading.units[1] > bound.units or reading.bad[1] > bound.bad_units
        reached.append(reading.units[1])
    assert late <= stats.binom.ppf(0.999, runs, 1 - confidence)
    # And it is no empty promise: half of the time it takes less than that, and not a tenth of it.
    assert bound.units / 10 < np.median(reached) <= bound.units


def test_what_is_within_the_tolerance_is_never_promised_to_be_seen():
    assert detection_bound(baseline=0.01, rise=0.002, tolerance=0.002, alpha=0.01) is None


def test_a_worse_metric_is_seen_within_the_stated_bound():
    """The same sequence that judges outcomes, on normal values."""
    alpha, effect, runs = 0.0125, 0.1, 400
    units = outcome_bound(effect=effect, variance=0.25, alpha=alpha, minimum_units=100)
    random = np.random.default_rng(5)
    differences = random.normal(effect, math.sqrt(0.5 / units), runs)
    far = reach(2 * units, alpha=alpha, rho_squared=mixing_variance(alpha=alpha, tuned_units=5_000))
    missed = int((differences < far * math.sqrt(0.5 / units)).sum())
    assert missed <= stats.binom.ppf(0.999, runs, 0.01)


def test_one_unit_that_always_fails_is_one_piece_of_evidence():
    watch = SafetyWatch(ONE_STEP)
    watch.take([Sighting(1, True, Took(100), (True,))] * 500)
    watch.take([Sighting(unit, False, Took(100), (False,)) for unit in range(2, 500)])
    (reading,) = watch.readings()
    assert (reading.units, reading.bad, reading.breached) == ((498, 1), (0, 1), False)


def test_more_units_than_are_remembered_are_counted_once_each_all_the_same():
    watch = SafetyWatch(ONE_STEP, units_max=1_000)
    random = np.random.default_rng(2)
    units = [int(each) for each in random.integers(0, 2**64, 6_000, dtype=np.uint64)]
    calls = [Sighting(unit, bool(unit % 2), Took(100), (False,)) for unit in units]
    for _ in range(2):
        for start in range(0, len(calls), 100):
            watch.take(calls[start : start + 100])
    assert 1_000 < sum(watch.units) < 6_000
    assert max(watch.units) < 1.3 * min(watch.units)


def test_what_is_slow_is_settled_by_earlier_calls_of_the_control():
    guardrail = Guardrail(GuardrailKind.LATENCY, tolerance=0.02, quantile=0.5, ratio=2.0)
    ramp = Ramp(steps=(Step(0.5),), guardrails=(guardrail,), alpha=0.05)
    watch = SafetyWatch(ramp)
    watch.take([Sighting(unit, unit % 2 == 1, Took(10_000), (None,)) for unit in range(100)])
    assert watch.readings()[0].units == (0, 0), "nothing is slow before the control has shown what is usual"
    later = range(200, 400)
    watch.take([Sighting(unit, unit % 2 == 1, Took(30_000 if unit % 2 else 10_000), (None,)) for unit in later])
    (reading,) = watch.readings()
    assert (reading.limits.own_us, reading.units, reading.bad, reading.breached) == (20_000, (100, 100), (0, 100), True)


def test_windows_never_spend_more_than_a_steps_part_of_alpha():
    ramp = Ramp(steps=(Step(0.1), Step(0.5), Step(1.0)), alpha=0.05)
    spent = sum(alpha_of(ramp, window=window) for window in range(1, 10_000))
    assert spent * len(ramp.guardrails) * ramp.compared == pytest.approx(ramp.alpha / 2, rel=1e-3)
    assert spent * len(ramp.guardrails) * ramp.compared <= ramp.alpha / 2
