"""The last release's contract against today's gateway, and today's client against what speaks that contract only.

protos/released.binpb holds all messages of the last release. A client of that release is made of it; so is a relay that
stands for a gateway of that release: it forgets what the release did not know, in requests and in answers.
"""

from __future__ import annotations

from concurrent import futures

import grpc
import numpy as np
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from turnout import Client, errors
from turnout.prediction import Ask

PREDICT = "turnout.serving.v1.PredictionService"
OUTCOMES = "turnout.outcomes.v1.OutcomeService"
ROW = np.array([[1, 2, 3, 4]], np.float32)


class Released:
    """The services and the messages of the last release."""

    def __init__(self, image):
        self.pool = descriptor_pool.DescriptorPool()
        self.files = descriptor_pb2.FileDescriptorSet.FromString(image).file
        for file in self.files:
            self.pool.Add(file)

    def message(self, name):
        return message_factory.GetMessageClass(self.pool.FindMessageTypeByName(name))

    def methods(self, service):
        """Give the methods of a service: name, request, answer, and whether it is a stream."""
        for method in self.pool.FindServiceByName(service).methods:
            kinds = [message_factory.GetMessageClass(one) for one in (method.input_type, method.output_type)]
            yield method.name, *kinds, method.client_streaming or method.server_streaming

    def call(self, channel, service, method):
        """Return a method as a client of that release calls it."""
        for name, request, answer, stream in self.methods(service):
            if name == method:
                make = channel.stream_stream if stream else channel.unary_unary
                return make(f"/{service}/{name}", request.SerializeToString, answer.FromString)
        raise LookupError(method)


@pytest.fixture(scope="module")
def released(root):
    return Released((root / "protos/released.binpb").read_bytes())


@pytest.fixture(scope="module")
def furnished(gateway, operator_of):
    operator = operator_of(gateway)
    operator.publish("scaled", 2, alias="champion")
    operator.wait()
    yield gateway
    operator.close()


def known(kind, data):
    """Return what a message says to whom knows a kind only."""
    message = kind.FromString(data)
    message.DiscardUnknownFields()
    return message.SerializeToString()


def code_of(call, request):
    try:
        call(request, timeout=20)
    except grpc.RpcError as error:
        return error.code()
    return grpc.StatusCode.OK


@pytest.fixture(scope="module")
def relay(released, furnished):
    """Return the address of what speaks the released contract only, with today's gateway behind it."""
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=8))
    with furnished.data_channel() as channel:

        def unary(path, request, answer):
            behind = channel.unary_unary(path)

            def handle(data, context):
                try:
                    return known(answer, behind(known(request, data), timeout=context.time_remaining()))
                except grpc.RpcError as error:
                    context.set_trailing_metadata(error.trailing_metadata())
                    return context.abort(error.code(), error.details())

            return grpc.unary_unary_rpc_method_handler(handle)

        def stream(path, request, answer):
            behind = channel.stream_stream(path)

            def handle(messages, _context):
                for data in behind(known(request, one) for one in messages):
                    yield known(answer, data)

            return grpc.stream_stream_rpc_method_handler(handle)

        for service in (PREDICT, OUTCOMES):
            handlers = {
                name: (stream if streams else unary)(f"/{service}/{name}", request, answer)
                for name, request, answer, streams in released.methods(service)
            }
            server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(service, handlers)])
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        yield f"127.0.0.1:{port}"
        server.stop(0).wait()


def test_a_client_of_the_last_release_is_answered_by_todays_gateway(released, furnished):
    ask = released.message("turnout.serving.v1.PredictRequest")(model="scaled", unit_id="u", request_id="old-1")
    ask.inputs.add(name="x", data_type=11, shape=ROW.shape, data=ROW.tobytes())
    with furnished.data_channel() as channel:
        answer = released.call(channel, PREDICT, "Predict")(ask, timeout=20)
        assert (answer.request_id, answer.version) == ("old-1", 1)
        assert np.frombuffer(answer.outputs[0].data, np.float32).tolist() == [2, 4, 6, 8]
        record = released.message("turnout.outcomes.v1.RecordOutcomesRequest")()
        record.outcomes.add(request_id="old-1", name="late", value=1)
        results = released.call(channel, OUTCOMES, "RecordOutcomes")(record, timeout=20).results
        assert [one.status for one in results] == [1]
        ask.model = "nobody"
        with pytest.raises(grpc.RpcError) as refused:
            released.call(channel, PREDICT, "Predict")(ask, timeout=20)
        assert refused.value.code() is grpc.StatusCode.NOT_FOUND


def test_each_method_of_the_last_release_is_served_still(released, furnished):
    """An empty request may be refused for its content, never for its method."""
    served = 0
    services = [f"{file.package}.{service.name}" for file in released.files for service in file.service]
    with furnished.data_channel() as data, furnished.control_channel() as control:
        for name in services:
            channel = data if name in {PREDICT, OUTCOMES} or not name.startswith("turnout.") else control
            for method, request, answer, streams in released.methods(name):
                if streams:
                    continue
                call = channel.unary_unary(f"/{name}/{method}", request.SerializeToString, answer.FromString)
                assert code_of(call, request()) not in {grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.INTERNAL}, method
                served += 1
    assert served > 10


def test_todays_client_is_answered_by_what_knows_the_last_release_only(relay):
    with Client(relay) as client:
        answer = client.predict("scaled", unit_id="u", inputs={"x": ROW})
        assert answer.outputs["score"].tolist() == [[2, 4, 6, 8]]
        client.record_outcome("late", 1, request_id=answer.request_id)
        with pytest.raises(errors.MissingError) as refused:
            client.predict("nobody", unit_id="u", inputs={"x": ROW})
        assert refused.value.reason == "MODEL_NOT_SERVED"


def test_what_the_last_release_did_not_know_is_refused_as_that(released, relay):
    """A call that is newer than the gateway ends with UNIMPLEMENTED, and the client says so."""
    with Client(relay) as client:
        methods = {name for name, *_ in released.methods(PREDICT)}
        if "StreamPredict" in methods:
            [answer] = client.predict_stream("scaled", [Ask(unit_id="u", inputs={"x": ROW})])
            assert answer.outputs["score"].tolist() == [[2, 4, 6, 8]]
        else:
            with pytest.raises(errors.TurnoutError) as refused:
                list(client.predict_stream("scaled", [Ask(unit_id="u", inputs={"x": ROW})]))
            assert refused.value.code == "UNIMPLEMENTED"
