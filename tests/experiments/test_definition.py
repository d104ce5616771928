from __future__ import annotations

import math
from dataclasses import replace

import pytest

from experiments.definition import Direction, Metric, MetricKind, Role, Variant, validate
from experiments.errors import ExperimentInvalidError, SharesInvalidError, ShareTooSmallError, VariantUnknownError


def arms(*shares):
    return tuple(
        Variant(variant=f"v{number}", version=number + 1, share=share, control=number == 0)
        for number, share in enumerate(shares)
    )


MEAN = Metric(metric="late", kind=MetricKind.MEAN, outcome="late", direction=Direction.DECREASE, role=Role.SUCCESS)


def test_a_definition_that_keeps_the_rules_is_taken(make_experiment):
    validate(make_experiment())
    validate(make_experiment(metrics=(MEAN,), variants=arms(*[1 / 16] * 16)))
    validate(make_experiment(variants=arms(1.0, 0.0)))


@pytest.mark.parametrize(
    "change",
    [
        {"id": "Upper"},
        {"id": ""},
        {"id": "x" * 64},
        {"model": "1model"},
        {"seed": ""},
        {"seed": "x" * 257},
        {"alpha": 0.0},
        {"alpha": 0.5},
        {"alpha": math.nan},
        {"minimum_units": 1},
        {"minimum_units": -5},
        {"description": "x" * 5000},
        {"variants": arms(1.0)},
        {"variants": arms(*[1 / 17] * 17)},
        {"variants": (arms(0.5, 0.5)[0], arms(0.5, 0.5)[0])},
        {"variants": tuple(replace(arm, control=False) for arm in arms(0.5, 0.5))},
        {"variants": tuple(replace(arm, control=True) for arm in arms(0.5, 0.5))},
        {"variants": tuple(replace(arm, version=0) for arm in arms(0.5, 0.5))},
        {"variants": tuple(replace(arm, variant="A " + arm.variant) for arm in arms(0.5, 0.5))},
        {"metrics": ()},
        {"metrics": (MEAN, MEAN)},
        {"metrics": (replace(MEAN, role=Role.GUARDRAIL),)},
        {"metrics": (replace(MEAN, outcome=""),)},
        {"metrics": (replace(MEAN, kind=MetricKind.LOG_LOSS),)},
        {"metrics": (replace(MEAN, kind=MetricKind.LOG_LOSS, output="p", output_index=-1),)},
        {"metrics": tuple(replace(MEAN, metric=f"m{n}") for n in range(33))},
    ],
)
def test_a_definition_that_breaks_a_rule_is_refused(make_experiment, change):
    with pytest.raises(ExperimentInvalidError):
        validate(make_experiment(**change))


@pytest.mark.parametrize("shares", [(0.5, 0.4), (0.6, 0.5), (math.nan, 1.0), (1.5, -0.5), (0.5, 0.5 + 1e-6)])
def test_shares_are_never_repaired(make_experiment, shares):
    with pytest.raises(SharesInvalidError):
        validate(make_experiment(variants=arms(*shares)))


@pytest.mark.parametrize("coverage", [0.0, 1.5, math.nan, -1.0])
def test_coverage_is_in_its_range(make_experiment, coverage):
    with pytest.raises(SharesInvalidError):
        validate(make_experiment(coverage=coverage))


def test_an_arm_that_would_never_get_a_unit_is_refused(make_experiment):
    with pytest.raises(ShareTooSmallError):
        validate(make_experiment(variants=arms(0.5, 0.5 - 1e-5, 1e-5)))


def test_a_variant_is_found_by_name(make_experiment):
    experiment = make_experiment()
    assert experiment.variant("treatment").version == 2
    assert [each.variant for each in experiment.treatments] == ["treatment"]
    assert experiment.control.variant == "control"
    with pytest.raises(VariantUnknownError):
        experiment.variant("nobody")
