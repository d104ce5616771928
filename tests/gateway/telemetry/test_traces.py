"""Traces of a running gateway, as an OTLP receiver gets them."""

import asyncio
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import grpc
import numpy as np
import pytest
from opentelemetry import trace
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import TracerProvider

from gateway.telemetry.meter import Meter
from gateway.telemetry.tracing import TRACES_MAX, Parent, Tracer
from turnout import Client
from turnout.aio import AsyncClient
from turnout.control import Control
from turnout.errors import MissingError
from turnout.prediction import Ask

WAIT_S = 30.0
PREDICT = "turnout.serving.v1.PredictionService/Predict"


class Receiver:
    """A receiver of OTLP over HTTP that keeps the spans; it refuses what is no such message."""

    def __init__(self):
        self.spans = []
        self.paths = set()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                message = ExportTraceServiceRequest.FromString(self.rfile.read(int(self.headers["Content-Length"])))
                for resource in message.resource_spans:
                    process = {one.key: one.value.string_value for one in resource.resource.attributes}
                    for scope in resource.scope_spans:
                        receiver.spans += [(process["service.instance.id"], span) for span in scope.spans]
                receiver.paths.add(self.path)
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def of_trace(self, trace_id, count):
        """Return the spans of a trace by name, once there are so many."""
        until = time.monotonic() + WAIT_S
        while True:
            found = [(process, span) for process, span in self.spans if span.trace_id == bytes.fromhex(trace_id)]
            if len(found) >= count:
                return {span.name: (process, span) for process, span in found}
            assert time.monotonic() < until, [span.name for _, span in found]
            time.sleep(0.02)

    def close(self):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture(scope="module")
def receiver():
    made = Receiver()
    yield made
    made.close()


@pytest.fixture(scope="module", params=["native", "grpcio"])
def served(request, receiver, launch, operator_of, tmp_path_factory):
    """Return a gateway that traces what its callers trace, and nothing else."""
    flags = ("--transport", request.param, "--trace-otlp", receiver.url, "--trace-ratio", "0")
    gateway = launch(tmp_path_factory.mktemp(request.param) / "state", *flags)
    operator = operator_of(gateway)
    operator.publish("scaled", 1, alias="champion")
    operator.wait()
    yield gateway, operator
    operator.close()
    gateway.stop()


def ask(operator, request, traceparent, state="vendor=1"):
    metadata = (("traceparent", traceparent), ("tracestate", state)) if traceparent else ()
    return operator.predictions.Predict(request, timeout=20, metadata=metadata)


def facts(span):
    return {one.key: one.value.string_value or one.value.int_value for one in span.attributes}


def test_a_traced_call_has_a_span_for_each_step_under_the_callers_span(served, receiver, request_for):
    _, operator = served
    trace_id = f"{time.time_ns():032x}"
    answer = ask(operator, request_for("scaled"), f"00-{trace_id}-00000000000000aa-01")
    spans = receiver.of_trace(trace_id, 8)
    assert set(spans) == {PREDICT, "queue", "decode", "assign", "features", "run", "journal", "encode"}
    process, root = spans.pop(PREDICT)
    assert process == "worker-0"
    assert root.parent_span_id == bytes.fromhex("00000000000000aa")
    assert root.trace_state == "vendor=1"
    assert facts(root)["turnout.request_id"] == answer.request_id
    assert (facts(root)["turnout.model"], facts(root)["turnout.version"]) == ("scaled", 1)
    at = root.start_time_unix_nano
    for name in ("queue", "decode", "assign", "features", "run", "journal", "encode"):
        _, step = spans[name]
        assert step.parent_span_id == root.span_id
        assert at == step.start_time_unix_nano <= step.end_time_unix_nano <= root.end_time_unix_nano
        at = step.end_time_unix_nano
    assert abs(root.end_time_unix_nano - time.time_ns()) < WAIT_S * 1e9
    assert receiver.paths == {"/v1/traces"}


SILENT = (
    "00-{}-00000000000000aa-00",  # the caller does not trace
    "ff-{}-00000000000000aa-01",
    "00-{}-0000000000000000-01",
    "00-{}-aa-01",
    "",
)


def test_what_the_caller_does_not_trace_is_not_traced(served, receiver, request_for):
    _, operator = served
    silent = [f"{time.time_ns() + step:032x}" for step in range(len(SILENT))]
    for trace_id, traceparent in zip(silent, SILENT, strict=True):
        ask(operator, request_for("scaled"), traceparent.format(trace_id))
    after = f"{time.time_ns():032x}"
    ask(operator, request_for("scaled"), f"00-{after}-00000000000000aa-01")
    receiver.of_trace(after, 8)  # sent later, and here
    assert not {span.trace_id.hex() for _, span in receiver.spans} & set(silent)


def test_a_call_that_fails_says_why(served, receiver, request_for):
    _, operator = served
    for request, reason, steps in (
        (request_for("nobody"), "MODEL_NOT_SERVED", {"queue", "decode", "assign", "encode"}),
        (request_for("scaled", request_id="two words"), "REQUEST_MALFORMED", {"queue"}),
    ):
        trace_id = f"{time.time_ns():032x}"
        with pytest.raises(grpc.RpcError):
            ask(operator, request, f"00-{trace_id}-00000000000000aa-01")
        spans = receiver.of_trace(trace_id, len(steps) + 1)
        _, root = spans.pop(PREDICT)
        assert set(spans) == steps
        assert (root.status.code, root.status.message) == (2, reason)


def test_the_clients_pass_the_callers_trace_on(served, receiver):
    gateway, _ = served
    tracer = TracerProvider().get_tracer("a caller")
    row = {"x": [[1.0, 2.0, 3.0, 4.0]]}

    def current():
        context = trace.get_current_span().get_span_context()
        return f"{context.trace_id:032x}", context.span_id.to_bytes(8)

    with Client(gateway.data_address) as client, tracer.start_as_current_span("work"):
        by_thread, span = current()
        with pytest.raises(MissingError):
            client.predict("nobody", inputs=row)
        client.record_outcome("late", 1.0, request_id="r-1")
        client.predict_batch("scaled", inputs={"x": np.ones((3, 1, 4), np.float32)})
        assert len(list(client.predict_stream("scaled", [Ask(inputs={"x": np.ones((1, 4), np.float32)})]))) == 1
    found = receiver.of_trace(by_thread, 17)
    assert found["turnout.serving.v1.PredictionService/BatchPredict"][1].parent_span_id == span
    assert found["turnout.serving.v1.PredictionService/StreamPredict"][1].parent_span_id == span
    assert found[PREDICT][1].parent_span_id == span
    assert found["turnout.outcomes.v1.OutcomeService/RecordOutcomes"][1].parent_span_id == span

    async def predict():
        async with AsyncClient(gateway.data_address) as client:
            with pytest.raises(MissingError):
                await client.predict("nobody", inputs=row)

    with tracer.start_as_current_span("work"):
        by_loop, span = current()
        asyncio.run(predict())
    assert receiver.of_trace(by_loop, 5)[PREDICT][1].parent_span_id == span
    with Control(gateway.control_address) as control, tracer.start_as_current_span("work"):
        by_control, span = current()
        control.promote("scaled", 1)
    process, root = receiver.of_trace(by_control, 1)["turnout.registry.v1.RegistryService/PromoteVersion"]
    assert (process, root.parent_span_id) == ("control", span)


def test_a_share_of_the_other_calls_begins_a_trace(launch, receiver, operator_of, tmp_path):
    gateway = launch(tmp_path / "state", "--trace-otlp", receiver.url, "--trace-ratio", "1")
    operator = operator_of(gateway)
    operator.publish("lot", 1, alias="champion")
    operator.wait()
    wanted = {operator.predict("lot").request_id for _ in range(20)}
    operator.close()
    assert gateway.stop() == 0  # what waits is sent at the stop
    roots = [span for _, span in receiver.spans if facts(span).get("turnout.model") == "lot"]
    assert {facts(span)["turnout.request_id"] for span in roots} == wanted
    assert all(not span.parent_span_id for span in roots)
    assert len({span.trace_id for span in roots}) == 20


def test_a_receiver_that_is_gone_costs_no_call(launch, operator_of, metrics_of, tmp_path):
    gateway = launch(tmp_path / "state", "--trace-otlp", "http://127.0.0.1:9", "--trace-ratio", "1")
    operator = operator_of(gateway)
    operator.publish("scaled", 1, alias="champion")
    operator.wait()
    for _ in range(20):
        operator.predict("scaled")
    until = time.monotonic() + WAIT_S
    while not metrics_of(gateway).value("turnout_traced_calls_total", result="failed"):
        assert time.monotonic() < until
        time.sleep(0.1)
    operator.predict("scaled")
    operator.close()
    assert gateway.stop() == 0


def test_traces_that_nobody_takes_are_dropped_and_counted():
    meter = Meter()
    tracer = Tracer("worker-0", ratio=1.0, meter=meter)
    for _ in range(TRACES_MAX + 7):
        tracer.note("Predict", Parent(), began=time.monotonic(), steps=(), attributes={})
    assert meter.family("turnout_traced_calls_total")["dropped",].total == 7
    assert len(tracer.take()) == TRACES_MAX
    assert tracer.take() == []


def test_the_share_is_kept():
    tracer = Tracer("worker-0", ratio=0.1, meter=Meter())
    traced = sum(tracer.parent_of(()) is not None for _ in range(20_000))
    assert 1600 < traced < 2400  # nine standard deviations to either side
