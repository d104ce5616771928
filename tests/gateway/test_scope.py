"""Experiments beside each other on one model, as a running gateway serves them."""

from __future__ import annotations

from collections import Counter

import pytest

from experiments.assignment import bucket_of
from turnout.experiments.v1 import experiment_service_pb2 as pb

UNITS = [f"unit-{n}" for n in range(120)]


@pytest.fixture(scope="module")
def beside(gateway, operator_of):
    """A model with two experiments: `german` holds half of the units, `each` every request of the other half."""
    operator = operator_of(gateway)
    operator.publish("m", 2.0, alias="champion")
    operator.publish("m", 3.0)
    german = definition(layer_share=0.5, forced={"tester": "treatment"})
    german.targeting.update({"any": [{"attribute": "country", "equals": "DE"}]})
    for name, experiment in (("german", german), ("each", definition(layer_share=0.5, unit=pb.UNIT_KIND_REQUEST))):
        operator.experiments.CreateExperiment(pb.CreateExperimentRequest(experiment_id=name, experiment=experiment))
        operator.experiments.StartExperiment(pb.StartExperimentRequest(name=f"experiments/{name}"))
    operator.wait()
    yield operator
    operator.close()


def definition(**fields):
    metric = pb.Metric(
        metric="lateness",
        kind=pb.METRIC_KIND_MEAN,
        outcome="late",
        direction=pb.DIRECTION_DECREASE,
        role=pb.METRIC_ROLE_SUCCESS,
    )
    variants = [
        pb.Variant(variant="control", version=1, share=0.5, control=True),
        pb.Variant(variant="treatment", version=2, share=0.5),
    ]
    return pb.Experiment(model="models/m", variants=variants, coverage=1.0, metrics=[metric], **fields)


def variant(seed, unit):
    return "control" if bucket_of(seed, unit) < 5000 else "treatment"


def test_each_call_gets_what_the_definitions_say(beside):
    met = Counter()
    for number, unit in enumerate(UNITS):
        for country in ("DE", "FR"):
            name = f"request-{country}-{number}"
            answer = beside.predict("m", unit_id=unit, request_id=name, attributes={"country": country})
            if bucket_of("layer:m", unit) >= 5000:
                expected = ("each", variant("each", name))
            else:
                expected = ("german", variant("german", unit)) if country == "DE" else ("", "")
            assert (answer.experiment, answer.variant) == expected
            assert answer.version == (2 if answer.variant == "treatment" else 1)
            met[expected] += 1
    assert set(met) == {("", ""), *((one, arm) for one in ("german", "each") for arm in ("control", "treatment"))}


def test_it_is_told_why_as_it_is_served(beside):
    for unit in UNITS[:40]:
        ask = pb.GetAssignmentRequest(name="experiments/german", unit_id=unit, attributes={"country": "DE"})
        told = beside.experiments.GetAssignment(ask)
        answer = beside.predict("m", unit_id=unit, attributes={"country": "DE"})
        assert told.variant == (answer.variant if answer.experiment == "german" else "")
        assert ("each holds it" in told.explanation) is (answer.experiment == "each")


def test_a_forced_unit_gets_its_variant_and_a_pin_goes_before_all(beside):
    answer = beside.predict("m", unit_id="tester", attributes={"country": "IT"})
    assert (answer.experiment, answer.variant, answer.version) == ("german", "treatment", 2)
    pinned = beside.predict("m", unit_id="tester", version=1)
    assert (pinned.experiment, pinned.version) == ("", 1)


def test_a_call_without_a_unit_is_in_an_experiment_of_requests_only(beside):
    met = Counter()
    for number in range(60):
        name = f"nobody-{number}"
        answer = beside.predict("m", request_id=name, attributes={"country": "DE"})
        inside = bucket_of("layer:m", name) >= 5000
        assert (answer.experiment, answer.variant) == (("each", variant("each", name)) if inside else ("", ""))
        met[inside] += 1
    assert len(met) == 2


def test_what_ends_gives_its_units_back_and_touches_no_other(beside):
    beside.experiments.PauseExperiment(pb.PauseExperimentRequest(name="experiments/german"))
    beside.wait()
    for number, unit in enumerate(UNITS[:40]):
        name = f"later-{number}"
        answer = beside.predict("m", unit_id=unit, request_id=name, attributes={"country": "DE"})
        inside = bucket_of("layer:m", unit) >= 5000
        assert (answer.experiment, answer.variant) == (("each", variant("each", name)) if inside else ("", ""))
