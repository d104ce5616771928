import signal
import time

import grpc
import pytest


@pytest.mark.parametrize("kind", ["native", "grpcio"])
@pytest.mark.parametrize(
    ("stops", "rate_per_s"), [(1, 200), pytest.param(30, 400, marks=pytest.mark.soak)], ids=["short", "soak"]
)
def test_sigterm_under_load_loses_no_call_that_was_accepted(
    launch, operate, load, journalled, tmp_path, kind, stops, rate_per_s
):
    gateway = launch(tmp_path / "state", "--transport", kind, workers=2)
    operator = operate(gateway)
    operator.publish("m", 2.0, alias="champion")
    operator.wait()
    took_s = []
    with load(gateway.data_address, "m", rate_per_s=rate_per_s, outcomes=True, patience_s=60.0) as calls:
        for _ in range(stops):
            calls.wait_for(rate_per_s // 8)
            started = time.monotonic()
            assert gateway.stop() == 0
            took_s.append(time.monotonic() - started)
            assert "cut off" not in (gateway.state / "gateway.log").read_text()
            gateway = launch(tmp_path / "state", "--transport", kind, "--data-port", str(gateway.data), workers=2)
            calls.wait_for(20)
    print(  # noqa: T201
        f"{stops} stops, the longest {max(took_s):.2f} s; {len(calls.answers)} answers, {len(calls.retries)} retries"
    )
    # The clients try again on UNAVAILABLE only: whatever else a stop had answered would be a failure here.
    assert calls.failures == []
    held = journalled(gateway.state)
    held.has_once(calls)
    assert len(calls.acknowledged) == len(calls.answers)
    # A drain answers what it took: nothing was journalled and then not answered, so no try stands there twice.
    assert set(held.records.values()) == {1}
    assert gateway.stop() == 0


def test_sigterm_while_nothing_happens_ends_with_0_and_frees_the_ports(launch, tmp_path):
    gateway = launch(tmp_path / "state")
    pids = gateway.pids
    gateway.process.send_signal(signal.SIGINT)
    assert gateway.process.wait(30) == 0
    assert not (gateway.state / "ready.json").exists()
    again = launch(tmp_path / "state", "--data-port", str(gateway.data), "--control-port", str(gateway.control))
    assert (again.data, again.control) == (gateway.data, gateway.control)
    assert not set(pids) & set(again.pids)
    with grpc.insecure_channel(again.data_address) as channel:
        grpc.channel_ready_future(channel).result(timeout=10)
    assert again.stop() == 0
