"""A GrowthBook kit elsewhere gives every unit the same variant: its own code is asked, not what we think of it."""

from __future__ import annotations

import json

import pytest
from growthbook.core import chooseVariation, gbhash, getBucketRanges

from experiments.allocation import allocate
from experiments.assignment import assignment_document, compile_assignment
from experiments.definition import State, Variant

SPLITS = [("fraud-canary", (0.5, 0.5), 1.0), ("x", (0.2, 0.3, 0.5), 0.37), ("salt 2", (0.01, 0.99), 0.05)]


@pytest.mark.parametrize(("seed", "shares", "coverage"), SPLITS)
def test_a_hundred_thousand_units_get_what_the_kit_gives_them(make_experiment, seed, shares, coverage):
    variants = tuple(Variant(f"v{n}", n + 1, share, control=n == 0) for n, share in enumerate(shares))
    allocation = allocate(shares, coverage=coverage)
    experiment = make_experiment(
        seed=seed, variants=variants, coverage=coverage, state=State.RUNNING, epoch=1, allocation=allocation
    )
    table = compile_assignment(json.loads(json.dumps(assignment_document(experiment))))
    ranges = getBucketRanges(len(shares), coverage, list(shares))
    for number in range(100_000 // len(SPLITS) + 1):
        unit = f"user-{number * 7919}"
        got = table.assign(unit)
        assert (got.index if got else -1) == chooseVariation(gbhash(seed, unit, 2), ranges)
