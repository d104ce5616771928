from __future__ import annotations

from dataclasses import replace

import pytest

from experiments import tables  # noqa: F401  (the tables declare themselves)
from experiments.definition import Direction, Experiment, Metric, MetricKind, Role, Variant
from storage.database import open_database


@pytest.fixture
def database(database_url):
    opened = open_database(database_url)
    yield opened
    opened.close()


@pytest.fixture
def make_experiment():
    def make(**changes):
        experiment = Experiment(
            id="v1-against-v2",
            model="flight-delay",
            variants=(
                Variant(variant="control", version=1, share=0.5, control=True),
                Variant(variant="treatment", version=2, share=0.5),
            ),
            metrics=(
                Metric(
                    metric="brier",
                    kind=MetricKind.SQUARED_ERROR,
                    outcome="late",
                    output="probabilities",
                    output_index=1,
                    direction=Direction.DECREASE,
                    role=Role.SUCCESS,
                ),
            ),
            seed="v1-against-v2",
        )
        return replace(experiment, **changes)

    return make
