"""What /metrics says of a running gateway, against what was sent to it."""

import contextlib
import os
import signal
import time

import grpc
import pytest

from gateway.telemetry.families import FAMILIES
from turnout.outcomes.v1 import outcome_service_pb2
from turnout.serving.v1 import prediction_service_pb2

WAIT_S = 30.0


def ask(channel, request):
    """Make one call and return its status code's name."""
    call = channel.unary_unary(
        "/turnout.serving.v1.PredictionService/Predict",
        request_serializer=prediction_service_pb2.PredictRequest.SerializeToString,
        response_deserializer=prediction_service_pb2.PredictResponse.FromString,
    )
    try:
        call(request, timeout=20)
    except grpc.RpcError as error:
        return error.code().name
    return "OK"


@pytest.fixture(scope="module", params=["native", "grpcio"])
def served(request, launch, operator_of, tmp_path_factory):
    """Return a gateway with two workers and an experiment, and who operates it."""
    state = tmp_path_factory.mktemp(request.param) / "state"
    gateway = launch(state, "--transport", request.param, workers=2)
    operator = operator_of(gateway)
    operator.publish("scaled", 1, alias="champion")
    operator.publish("scaled", 2, alias="challenger")
    operator.start_experiment("scaled")
    yield gateway, operator
    operator.close()
    gateway.stop()


def test_counts_equal_what_was_sent(served, metrics_of, request_for):
    gateway, operator = served
    before = metrics_of(gateway)
    arms = {}
    sent = 0
    # Several connections, so that both workers answer.
    for connection in range(8):
        with gateway.data_channel() as channel:
            for unit in range(25):
                name = f"u{connection}-{unit}"
                assert ask(channel, request_for("scaled", unit_id=name)) == "OK"
                sent += 1
            assert ask(channel, request_for("scaled", version=1)) == "OK"
            assert ask(channel, request_for("nobody")) == "NOT_FOUND"
            assert ask(channel, request_for("scaled", version=9)) == "NOT_FOUND"
            assert ask(channel, request_for("scaled", request_id="two words")) == "INVALID_ARGUMENT"
    taken = [operator.predict("scaled", unit_id=f"again-{unit}") for unit in range(50)]
    for answer in taken:
        arms[answer.variant] = arms.get(answer.variant, 0) + 1
    after, until = metrics_of(gateway), time.monotonic() + WAIT_S

    def grew(name, **labels):
        return after.value(name, **labels) - before.value(name, **labels)

    # grpcio's server counts a call when its client has the answer already.
    while grew("turnout_calls_total", method="Predict") < sent + 8 * 4 + 50 and time.monotonic() < until:
        time.sleep(0.02)
        after = metrics_of(gateway)
    assert grew("turnout_calls_total", method="Predict", code="OK") == sent + 8 + 50
    assert grew("turnout_calls_total", method="Predict", code="NOT_FOUND") == 16
    assert grew("turnout_calls_total", method="Predict", code="INVALID_ARGUMENT") == 8
    assert grew("turnout_predictions_total", model="scaled", code="OK") == sent + 8 + 50
    assert grew("turnout_predictions_total", model="scaled", variant="", code="OK") == 8
    assert grew("turnout_predictions_total", model="scaled", experiment="v1-against-v2", code="OK") == sent + 50
    assert grew("turnout_predictions_total", model="", reason="MODEL_NOT_SERVED") == 8
    assert grew("turnout_predictions_total", model="", reason="VERSION_NOT_SERVED") == 8
    for variant, count in arms.items():
        assert grew("turnout_predictions_total", variant=variant) > count
    assert grew("turnout_prediction_seconds_count", model="scaled") == sent + 8 + 50
    assert grew("turnout_prediction_seconds_bucket", model="scaled", le="+Inf") == sent + 8 + 50
    # What could not be decoded is no prediction; what named no model that is served was in a wave.
    assert grew("turnout_wave_calls_sum") == grew("turnout_call_queue_seconds_count") == sent + 8 + 50 + 16
    assert grew("turnout_version_rows_total", model="scaled") == sent + 8 + 50
    assert grew("turnout_journal_records_total") == sent + 8 + 50
    assert 0 < grew("turnout_prediction_seconds_sum", model="scaled") < WAIT_S


def test_outcomes_are_counted_by_what_became_of_them(served, metrics_of):
    gateway, operator = served
    before = metrics_of(gateway)
    outcome = outcome_service_pb2.Outcome
    answer = operator.record(
        outcome(request_id="r-1", name="late", value=1.0),
        outcome(request_id="r-2", name="late", value=0.0),
        outcome(request_id="r-3", name="", value=0.0),
    )
    assert [bool(result.reason) for result in answer.results] == [False, False, True]
    after = metrics_of(gateway)
    for code, count in (("OK", 2), ("INVALID_ARGUMENT", 1)):
        now, then = (samples.value("turnout_outcomes_total", code=code) for samples in (after, before))
        assert now - then == count


def test_the_control_port_is_counted(served, metrics_of, refusal):
    gateway, operator = served
    before = metrics_of(gateway)
    operator.status()
    refusal(operator.promote, "scaled", 99)
    after = metrics_of(gateway)
    for method, code in (("GetServingStatus", "OK"), ("PromoteVersion", "NOT_FOUND")):
        labels = {"method": method, "code": code}
        calls = [samples.value("turnout_control_calls_total", **labels) for samples in (before, after)]
        assert calls[1] - calls[0] == 1, labels
    assert after.value("turnout_control_call_seconds_count", method="PublishVersion") >= 2


def test_versions_loads_swaps_and_processes_are_told_of(served, metrics_of):
    gateway, operator = served
    samples = metrics_of(gateway)
    for worker in ("0", "1"):
        assert samples.value("turnout_worker_ready", worker=worker) == 1
        assert samples.value("turnout_worker_revision", worker=worker) == samples.value("turnout_revision")
        for version in ("1", "2"):
            assert (
                samples.value("turnout_version_state", worker=worker, model="scaled", version=version, state="ready")
                == 1
            )
    assert samples.value("turnout_version_loads_total", model="scaled", result="ready") == 4
    assert samples.value("turnout_version_load_seconds_count", model="scaled") == 4
    assert samples.value("turnout_swap_seconds_count") >= 4
    for process in ("control", "worker-0", "worker-1"):
        assert samples.value("turnout_process_resident_memory_bytes", process=process) > 1e7
        assert samples.value("turnout_process_cpu_seconds_total", process=process) > 0
    assert samples.value("turnout_journal_segments", state="open") >= 1
    assert samples.value("turnout_build_info") == 1
    assert operator.status().workers


def test_every_family_is_shown(served, metrics_of):
    gateway, _ = served
    text = metrics_of(gateway).text
    for name, family in FAMILIES.items():
        assert f"# TYPE {name} {family.kind.value}\n" in text


def test_what_a_dead_worker_counted_is_not_lost(served, metrics_of, request_for):
    gateway, _ = served
    restarts = metrics_of(gateway).value("turnout_worker_restarts_total")
    with gateway.data_channel() as channel:
        for unit in range(100):
            assert ask(channel, request_for("scaled", unit_id=f"mortal-{unit}")) == "OK"
    before = metrics_of(gateway)  # the scrape asks the workers, so nothing counted so far is with them alone
    for pid in gateway.pids[1:]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    until = time.monotonic() + WAIT_S
    while True:
        now = metrics_of(gateway)
        for name in ("turnout_predictions_total", "turnout_calls_total", "turnout_prediction_seconds_count"):
            assert now.value(name) >= before.value(name)
        for name in ("turnout_process_cpu_seconds_total", "turnout_journal_records_total"):
            assert now.value(name) >= before.value(name)
        if now.value("turnout_worker_restarts_total") == restarts + 2 and now.value("turnout_worker_ready") == 2:
            break
        assert time.monotonic() < until, "the workers were not started again"
        time.sleep(0.05)
    assert now.value("turnout_predictions_total") == before.value("turnout_predictions_total")
    with gateway.data_channel() as channel:
        assert ask(channel, request_for("scaled", unit_id="after")) == "OK"
    assert metrics_of(gateway).value("turnout_predictions_total") == before.value("turnout_predictions_total") + 1
