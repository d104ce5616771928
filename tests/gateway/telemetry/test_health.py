"""grpc.health.v1 on both ports: each service by itself, by Check and Watch, through promotions and to the end."""

import threading

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
PROMOTIONS = 30
NOT_OURS = ("grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection")
WATCHERS = 100
"""More than a server has threads for streams: a watcher must not hold one."""


class Watcher:
    """Follows one service's health; keeps every state that it was told."""

    def __init__(self, channel, service):
        self.states = []
        self.first = threading.Event()
        self._call = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(service=service))
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    def _follow(self):
        try:
            for answer in self._call:
                self.states.append(answer.status)
                self.first.set()
        except grpc.RpcError:
            self.first.set()  # the end of the gateway, or of the test

    def end(self):
        self._call.cancel()
        self._thread.join(10)


def services_on(channel):
    """Return every service that reflection lists."""
    return [name for name in ProtoReflectionDescriptorDatabase(channel).get_services() if name not in NOT_OURS]


@pytest.fixture(params=["native", "grpcio"])
def gateway(request, launch, tmp_path):
    running = launch(tmp_path / "state", "--transport", request.param)
    yield running
    running.stop()


def test_health_never_flaps_through_promotions_and_ends_with_the_gateway(gateway, operate):
    operator = operate(gateway)
    operator.publish("scaled", 1, alias="champion")
    operator.publish("scaled", 2, alias="challenger")
    operator.wait()
    with gateway.data_channel() as data, gateway.control_channel() as control:
        watchers = []
        for channel in (data, control):
            names = services_on(channel)
            assert len(names) > 2
            stub = health_pb2_grpc.HealthStub(channel)
            for name in ("", *names):
                assert stub.Check(health_pb2.HealthCheckRequest(service=name), timeout=10).status == SERVING
                watchers.append(Watcher(channel, name))
            with pytest.raises(grpc.RpcError) as caught:
                stub.Check(health_pb2.HealthCheckRequest(service="nobody"), timeout=10)
            assert caught.value.code() is grpc.StatusCode.NOT_FOUND
        for watcher in watchers:
            assert watcher.first.wait(20)
        for number in range(PROMOTIONS):
            operator.promote("scaled", 2 - number % 2, wait=number % 10 == 9)
            operator.predict("scaled")
        assert [watcher.states for watcher in watchers] == [[SERVING]] * len(watchers)
        assert gateway.stop() == 0
        for watcher in watchers:
            watcher.end()
            assert watcher.states[0] == SERVING
            # Whoever still heard something heard that it serves no more, and nothing after it.
            assert watcher.states[1:] in ([], [NOT_SERVING])


def test_watchers_hold_no_thread_and_no_stop(gateway):
    """They go away just when the gateway stops, which must not wait for those that will never be told."""
    for open_channel in (gateway.data_channel, gateway.control_channel):
        with open_channel() as channel:
            watchers = [Watcher(channel, "") for _ in range(WATCHERS)]
            for watcher in watchers:
                assert watcher.first.wait(20)
                assert watcher.states == [SERVING]
            stub = health_pb2_grpc.HealthStub(channel)
            assert stub.Check(health_pb2.HealthCheckRequest(), timeout=10).status == SERVING
            for watcher in watchers:
                watcher.end()
    assert gateway.stop() == 0
