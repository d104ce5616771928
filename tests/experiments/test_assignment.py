from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace

import pytest

from experiments.allocation import allocate, resplit
from experiments.assignment import assignment_document, bucket_of, compile_assignment
from experiments.definition import State, Variant
from experiments.errors import AssignmentUnreadableError, ExperimentStateError


@pytest.fixture
def running(make_experiment):
    def make(shares=(0.5, 0.3, 0.2), coverage=1.0, **changes):
        names = ["control", "two", "three"]
        variants = tuple(
            Variant(variant=name, version=number, share=share, control=number == 1)
            for number, (name, share) in enumerate(zip(names, shares, strict=True), 1)
        )
        allocation = allocate(shares, coverage=coverage)
        return make_experiment(
            variants=variants, coverage=coverage, state=State.RUNNING, epoch=1, allocation=allocation, **changes
        )

    return make


def compiled(experiment):
    return compile_assignment(json.loads(json.dumps(assignment_document(experiment))))


def test_a_unit_gets_the_variant_of_its_bucket(running):
    table = compiled(running())
    for number in range(2000):
        bucket = bucket_of("v1-against-v2", f"u{number}")
        expected = "control" if bucket < 5000 else "two" if bucket < 8000 else "three"
        assigned = table.assign(f"u{number}")
        assert assigned.variant == expected
        assert table.bucket(f"u{number}") == bucket


def test_what_a_unit_got_carries_all_that_the_journal_needs(running):
    table = compiled(running())
    assigned = {table.assign(f"u{n}").variant: table.assign(f"u{n}") for n in range(200)}
    assert assigned["two"].experiment == "v1-against-v2"
    assert (assigned["two"].version, assigned["two"].index, assigned["two"].epoch) == (2, 1, 1)
    assert assigned["control"].control
    assert table.control is assigned["control"]
    assert sum(arm.propensity for arm in table.arms) == pytest.approx(1)
    assert assigned["two"].propensity == pytest.approx(0.3, abs=1e-4)


def test_the_shares_come_out_as_asked_for(running):
    table = compiled(running(coverage=0.5))
    got = Counter(a.variant if (a := table.assign(f"u{n}")) else "" for n in range(40_000))
    for name, expected in (("", 0.5), ("control", 0.25), ("two", 0.15), ("three", 0.1)):
        deviation = (expected * (1 - expected) / 40_000) ** 0.5
        assert abs(got[name] / 40_000 - expected) < 4 * deviation


def test_no_unit_is_not_in_the_experiment(running):
    assert compiled(running()).assign("") is None


def test_growing_coverage_moves_no_unit(running):
    small, large = compiled(running(coverage=0.1)), compiled(running(coverage=1.0))
    for number in range(5000):
        before = small.assign(f"u{number}")
        assert before is None or before.variant == large.assign(f"u{number}").variant


def test_a_resplit_opens_an_epoch_and_moves_the_difference_only(running):
    experiment = running()
    after = resplit(experiment.allocation, (0.25, 0.55, 0.2))
    before, moved = compiled(experiment), compiled(replace(experiment, allocation=after))
    changes = Counter((before.assign(f"u{n}").variant, moved.assign(f"u{n}").variant) for n in range(8000))
    assert {pair for pair in changes if pair[0] != pair[1]} == {("control", "two")}
    assert moved.epoch == 2


def test_a_draft_assigns_nobody(make_experiment):
    with pytest.raises(ExperimentStateError):
        assignment_document(make_experiment())


@pytest.mark.parametrize(
    "change",
    [
        {"hash": "murmur"},
        {"runs": []},
        {"runs": [[0, 10_001, 0]]},
        {"runs": [[0, 10, 0], [9, 10, 1]]},
        {"runs": [[0, 10, 3]]},
        {"runs": [[0, 0, 0]]},
        {"runs": [[-1, 5, 0]]},
    ],
)
def test_a_document_that_does_not_fit_is_refused(running, change):
    with pytest.raises(AssignmentUnreadableError):
        compile_assignment(assignment_document(running()) | change)


def test_a_document_has_exactly_one_control(running):
    document = assignment_document(running())
    for each in document["variants"]:
        each["control"] = False
    with pytest.raises(AssignmentUnreadableError):
        compile_assignment(document)
