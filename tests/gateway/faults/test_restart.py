import itertools
import random
import time

import grpc
import pytest

from turnout.experiments.v1 import experiment_service_pb2 as epb
from turnout.outcomes.v1 import outcome_service_pb2 as opb
from turnout.registry.v1 import registry_service_pb2 as rpb

UNITS = [f"unit-{number}" for number in range(1000)]


def registered(operator):
    """Return all that the registry and the experiments say."""
    registry = operator.registry
    return {
        "models": registry.ListModels(rpb.ListModelsRequest()),
        "versions": registry.ListVersions(rpb.ListVersionsRequest(parent="models/m")),
        "history": registry.ListAliasHistory(rpb.ListAliasHistoryRequest(parent="models/m")),
        "experiments": operator.experiments.ListExperiments(epb.ListExperimentsRequest()),
        "revision": operator.status().revision,
    }


def assignments(operator, units, attempt):
    """Return which version and variant answers each unit."""
    answers = {}
    for unit in units:
        response = operator.predict("m", unit_id=unit, request_id=f"{attempt}-{unit}")
        answers[unit] = (response.version, response.variant)
    return answers


def test_everything_is_the_same_after_everything_was_killed(launch, operate, journalled, tmp_path):
    first = launch(tmp_path / "state", workers=2)
    operator = operate(first)
    for scale in (2.0, 3.0, 4.0):
        operator.publish("m", scale, alias="champion" if scale == 2.0 else "challenger")
    operator.promote("m", 3, reason="better")
    operator.start_experiment("m", versions=(3, 2))
    assigned = assignments(operator, UNITS, "before")
    operator.record(
        *(opb.Outcome(request_id=f"before-{unit}", name="late", value=number) for number, unit in enumerate(UNITS))
    )
    said, counted, held = registered(operator), operator.counts(), journalled(first.state)
    explained = [
        operator.experiments.GetAssignment(epb.GetAssignmentRequest(name="experiments/v1-against-v2", unit_id=unit))
        for unit in UNITS[:50]
    ]
    first.kill()

    second = launch(tmp_path / "state", workers=2)
    operator = operate(second)
    assert registered(operator) == said
    assert operator.counts() == counted
    assert journalled(second.state) == held
    assert (counted.predictions, counted.outcomes, counted.joined_outcomes) == (1000, 1000, 1000)
    assert [
        operator.experiments.GetAssignment(epb.GetAssignmentRequest(name="experiments/v1-against-v2", unit_id=unit))
        for unit in UNITS[:50]
    ] == explained
    assert assignments(operator, UNITS, "after") == assigned
    assert {variant for _, variant in assigned.values()} == {"control", "treatment"}
    assert operator.counts().predictions == 2000
    assert second.stop() == 0


@pytest.mark.parametrize(
    ("kills", "seed"), [(2, 1), pytest.param(25, 2, marks=pytest.mark.soak)], ids=["short", "soak"]
)
def test_what_was_acknowledged_under_load_survives(launch, operate, load, journalled, tmp_path, kills, seed):
    chance = random.Random(seed)  # noqa: S311  (seeded on purpose)
    gateway = launch(tmp_path / "state", workers=2)
    operator = operate(gateway)
    operator.publish("m", 2.0, alias="champion")
    operator.publish("m", 3.0, alias="challenger")
    operator.wait()
    promoted = [1]
    with load(gateway.data_address, "m", rate_per_s=150, outcomes=True, patience_s=60.0) as calls:
        calls.wait_for(10)
        for _ in range(kills):
            until = time.monotonic() + chance.uniform(0.05, 0.6)
            for version in itertools.cycle((2, 1)):
                promoted.append(operator.promote("m", version, wait=False).alias.version)
                if time.monotonic() > until:
                    break
            gateway.kill()
            gateway = launch(tmp_path / "state", "--data-port", str(gateway.data), workers=2)
            operator = operate(gateway)
            model = operator.registry.GetModel(rpb.GetModelRequest(name="models/m")).model
            champion = next(alias for alias in model.aliases if alias.alias == "champion")
            assert (champion.version, champion.generation) == (promoted[-1], len(promoted))
            calls.wait_for(20)
    assert calls.failures == []
    held = journalled(gateway.state)
    held.has_once(calls)
    assert {answer.scale for answer in calls.answers} <= {2.0, 3.0}
    assert all(answer.scale == answer.version + 1 for answer in calls.answers)
    print(f"{kills} kills: {len(calls.answers)} answers, {len(calls.retries)} retries")  # noqa: T201
    assert gateway.stop() == 0


def test_a_second_gateway_on_the_same_state_is_refused(launch, gateway):
    with pytest.raises(RuntimeError, match="another gateway runs"):
        launch(gateway.state)
    with grpc.insecure_channel(gateway.control_address) as channel:
        grpc.channel_ready_future(channel).result(timeout=10)
