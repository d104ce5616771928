from __future__ import annotations

import pytest

from turnout.cli.experiment_file import read_experiment
from turnout.cli.literals import LiteralError
from turnout.experiments.v1 import experiment_service_pb2 as pb
from turnout.experiments.v1 import ramp_pb2
from turnout.resources import ResourceNameError

WHOLE = """
experiment = "v1-against-v2"
model = "flight-delay"
description = "d"
owner = "o"
coverage = 0.5
seed = "s"
alpha = 0.01
minimum_units = 10
[[variants]]
variant = "control"
version = 1
share = 0.25
control = true
[[variants]]
variant = "treatment"
alias = "challenger"
share = 0.75
[[metrics]]
metric = "brier"
kind = "squared_error"
outcome = "late"
output = "probabilities"
output_index = 1
direction = "decrease"
role = "success"
margin = 0.02
winsorize = 0.99
window_us = 3_600_000_000
covariate = "attribute"
covariate_attribute = "incumbent"
[plan]
method = "group_sequential"
planned_units = 4000
spending = "power"
stratify_by = "carrier"
"""


@pytest.fixture
def read(tmp_path):
    def read(text):
        path = tmp_path / "experiment.toml"
        path.write_text(text)
        return read_experiment(path)

    return read


def test_every_field_is_read(read):
    assert read(WHOLE) == pb.CreateExperimentRequest(
        experiment_id="v1-against-v2",
        experiment=pb.Experiment(
            model="models/flight-delay",
            description="d",
            owner="o",
            coverage=0.5,
            seed="s",
            alpha=0.01,
            minimum_units=10,
            variants=[
                pb.Variant(variant="control", version=1, share=0.25, control=True),
                pb.Variant(variant="treatment", alias="challenger", share=0.75),
            ],
            metrics=[
                pb.Metric(
                    metric="brier",
                    kind="METRIC_KIND_SQUARED_ERROR",
                    outcome="late",
                    output="probabilities",
                    output_index=1,
                    direction="DIRECTION_DECREASE",
                    role="METRIC_ROLE_SUCCESS",
                    margin=0.02,
                    winsorize=0.99,
                    window_us=3_600_000_000,
                    covariate="COVARIATE_ATTRIBUTE",
                    covariate_attribute="incumbent",
                )
            ],
            plan=pb.Plan(
                method="ANALYSIS_METHOD_GROUP_SEQUENTIAL",
                planned_units=4000,
                spending="SPENDING_POWER",
                stratify_by="carrier",
            ),
        ),
    )


RAMPED = """
experiment = "e"
model = "m"
[[variants]]
variant = "old"
version = 1
control = true
[[variants]]
variant = "new"
version = 2
[ramp]
alpha = 0.01
promote = true
[[ramp.steps]]
share = 0.1
minimum_time_us = 0
minimum_units = 50
approval = true
[[ramp.steps]]
share = 1
[[ramp.guardrails]]
kind = "output_range"
output = "score"
lower = 0
upper = 1
"""


def test_a_ramp_is_read_and_sets_the_shares(read):
    found = read(RAMPED).experiment
    assert [each.share for each in found.variants] == [0.5, 0.5]
    assert found.ramp == ramp_pb2.Ramp(
        alpha=0.01,
        promote=True,
        steps=[
            ramp_pb2.RampStep(share=0.1, minimum_time_us=0, minimum_units=50, approval=True),
            ramp_pb2.RampStep(share=1),
        ],
        guardrails=[ramp_pb2.RampGuardrail(kind="RAMP_GUARDRAIL_KIND_OUTPUT_RANGE", output="score", lower=0, upper=1)],
    )


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("alpha = 0.01", "aplha = 0.01", "ramp has the unknown key 'aplha'"),
        ("share = 0.1", "part = 0.1", "ramp.steps has the unknown key 'part'"),
        ('kind = "output_range"', 'kind = "throughput"', "kind = 'throughput'"),
        ('kind = "output_range"', "", "kind takes a text and must be given"),
        ("lower = 0", 'lower = "0"', "lower in ramp.guardrails takes a number"),
        ("[ramp]", "[[ramp]]", "ramp"),
    ],
)
def test_a_ramp_that_cannot_be_read_is_refused(read, before, after, words):
    with pytest.raises(LiteralError, match=words):
        read(RAMPED.replace(before, after, 1))


def test_all_units_are_covered_unless_the_file_says_otherwise(read):
    assert read('experiment = "e"\nmodel = "m"').experiment.coverage == 1


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("alpha = 0.01", "alpah = 0.01", "unknown key 'alpah'"),
        ("alpha = 0.01", 'alpha = "0.01"', "alpha in the experiment takes a number"),
        ("minimum_units = 10", "minimum_units = true", "minimum_units in the experiment takes a whole number"),
        ('experiment = "v1-against-v2"', "", "experiment takes a text and must be given"),
        ('kind = "squared_error"', 'kind = "bryer"', "expected one of mean, squared_error"),
        ('method = "group_sequential"', 'method = "peek"', "expected one of fixed, sequence, group_sequential"),
        ("planned_units = 4000", "planed_units = 4000", "plan has the unknown key 'planed_units'"),
        ("[plan]", "[[plan]]", r"plan takes a table: \[plan\]"),
        ('kind = "squared_error"', 'kind = "unspecified"', "is not known"),
        ("share = 0.25", "shares = 0.25", "variants has the unknown key 'shares'"),
        ("control = true", "control = 1", "control in variants takes a truth"),
        ("[[metrics]]", "[metrics]", r"metrics takes tables: \[\[metrics\]\]"),
        ('model = "flight-delay"', "model = ", "is not TOML"),
    ],
)
def test_what_is_not_understood_is_refused(read, before, after, words):
    assert before in WHOLE
    with pytest.raises(LiteralError, match=words):
        read(WHOLE.replace(before, after))


def test_a_model_that_is_no_id_is_refused(read):
    with pytest.raises(ResourceNameError):
        read('experiment = "e"\nmodel = "models/m"')
