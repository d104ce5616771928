"""A server that takes its time to greet is waited for, as one far away or one on a full machine needs."""

import contextlib
import socket
import threading
import time
from concurrent import futures

import grpc
import pytest
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from turnout.channel import open_channel, options_of
from turnout.security import Security

GREETING_S = 0.6


@pytest.fixture
def server():
    running = grpc.server(futures.ThreadPoolExecutor(2))
    health_pb2_grpc.add_HealthServicer_to_server(health.HealthServicer(), running)
    port = running.add_insecure_port("127.0.0.1:0")
    running.start()
    yield port
    running.stop(grace=None).wait()


@pytest.fixture
def slow_greeter(server):
    """Return the port of what takes connections at once, and passes on what they say a good while later."""
    listening = socket.create_server(("127.0.0.1", 0))

    def pump(source, sink):
        with source, sink, contextlib.suppress(OSError):  # either side may leave first
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)

    def greet(near):
        time.sleep(GREETING_S)
        with near, contextlib.suppress(OSError):  # who came last finds the server gone
            far = socket.create_connection(("127.0.0.1", server))
            threading.Thread(target=pump, args=(far.dup(), near.dup()), daemon=True).start()
            pump(near, far)

    def accept():
        while True:
            try:
                near, _ = listening.accept()
            except OSError:
                return
            threading.Thread(target=greet, args=(near,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    yield listening.getsockname()[1]
    listening.close()


def test_a_server_that_greets_late_is_waited_for(slow_greeter):
    with open_channel(f"127.0.0.1:{slow_greeter}", options_of([], attempts_max=1), Security()) as channel:
        answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=10)
    assert answer.status == health_pb2.HealthCheckResponse.SERVING
