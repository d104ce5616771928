"""A server whose answers the test decides, over each transport in turn."""

from __future__ import annotations

import contextlib
import queue
import socket
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from gateway.transport.port import Limits, Wiring
from gateway.transport.select import open_transport

SAY = "/turnout.test.Echo/Say"
SHOUT = "/turnout.test.Echo/Shout"
CHAT = "/turnout.test.Echo/Chat"
TALK = "/turnout.test.Echo/Talk"
DETAIL = ("detail-bin", b"\x00\xff\x80")
WAIT_S = 10.0


def wait_until(condition, what):
    until = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < until, f"waited in vain for {what}"
        time.sleep(0.002)


def add_services(server):
    servicer = health.HealthServicer()
    servicer.set("", health_pb2.HealthCheckResponse.SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    reflection.enable_server_reflection(("grpc.health.v1.Health", reflection.SERVICE_NAME), server)
    chat = grpc.stream_stream_rpc_method_handler(lambda messages, _: (message.upper() for message in messages))
    server.add_registered_method_handlers("turnout.test.Echo", {"Chat": chat})


class Server:
    """Echoes; holds what begins with `hold` until released; fails what begins with `fail`.

    A call that is `block` keeps its wave, and with it the pipeline, until the gate is opened.
    """

    def __init__(self, kind, address, limits):
        self.held = []
        self.seen = []
        self.waves = []
        self.gate = threading.Event()
        self.transport = open_transport(
            kind,
            Wiring(
                address=address,
                methods=[SAY, SHOUT],
                streams=[TALK],
                answer=self.answer,
                add_services=add_services,
                limits=limits,
                shed=lambda call: call.fail(8, "no room", (DETAIL,)),
                close=lambda call: call.fail(14, "draining", (DETAIL,)),
            ),
        )
        self.port = self.transport.start()

    def answer(self, wave):
        self.waves.append(len(wave))
        for call in wave:
            self.seen.append(call)
            if call.payload == b"block":
                self.gate.wait(WAIT_S)
            if call.payload.startswith(b"hold"):
                self.held.append(call)
            elif call.payload.startswith(b"fail"):
                call.fail(5, "nöt found: 100 %", (DETAIL, ("key", "value")))
            elif call.payload.startswith(b"raise"):
                raise ValueError(call.payload)
            elif call.payload.startswith(b"grow"):
                call.reply(bytes(int(call.payload[4:])))
            else:
                call.reply(call.payload.upper() if call.method == 1 else call.payload)

    def hold(self, count):
        wait_until(lambda: len(self.held) == count, f"{count} held calls")

    def seen_of(self, payload):
        return sum(call.payload == payload for call in self.seen)

    def release(self):
        while self.held:
            call = self.held.pop(0)
            call.reply(call.payload)

    def channel(self, *options):
        return open_channel(self.port, *options)


def open_channel(port, *options):
    return grpc.insecure_channel(
        f"127.0.0.1:{port}",
        options=[
            ("grpc.enable_http_proxy", 0),
            ("grpc.use_local_subchannel_pool", 1),
            ("grpc.max_receive_message_length", -1),
            *options,
        ],
    )


@pytest.fixture(params=["grpcio", "native"])
def kind(request):
    return request.param


@pytest.fixture
def serve(kind):
    with contextlib.ExitStack() as stack:

        def start(address="127.0.0.1:0", **limits):
            server = Server(kind, address, Limits(**limits))
            stack.callback(server.transport.close)
            stack.callback(server.release)
            stack.callback(server.gate.set)
            return server

        yield start


class Talker:
    """A client of the stream whose messages are sent when the test says so, and whose answers are read by `next`."""

    def __init__(self, channel, **call):
        self._messages = queue.SimpleQueue()
        self.call = channel.stream_stream(TALK)(iter(self._messages.get, None), **{"timeout": 60, **call})

    def send(self, *messages):
        for message in messages:
            self._messages.put(message)
        return self

    def half_close(self):
        self._messages.put(None)
        return self

    def __iter__(self):
        return self.call

    def __next__(self):
        return next(self.call)

    def refused(self):
        """Return the error that the stream ends with, read on from here."""
        with pytest.raises(grpc.RpcError) as caught:
            for _ in self.call:
                pass
        return caught.value


@pytest.fixture
def talk():
    """Open a stream on a channel; all are cancelled at the end."""
    talkers = []

    def start(channel, **call):
        talkers.append(Talker(channel, **call))
        return talkers[-1]

    yield start
    for talker in talkers:
        talker.half_close()
        talker.call.cancel()


@pytest.fixture
def server(serve):
    return serve()


@pytest.fixture
def channel(server):
    with server.channel() as channel:
        yield channel


@pytest.fixture
def say(channel):
    return channel.unary_unary(SAY)


@pytest.fixture
def in_background():
    """Run a function in a thread; the test fails if it has not ended when the test has."""
    threads = []

    def run(function, *args):
        result = []
        thread = threading.Thread(target=lambda: result.append(function(*args)), daemon=True)
        thread.start()
        threads.append(thread)

        def join():
            thread.join(WAIT_S)
            assert result, "the background work did not end"
            return result[0]

        return join

    yield run
    for thread in threads:
        thread.join(WAIT_S)
        assert not thread.is_alive()


@pytest.fixture
def spawn():
    """Start processes that serve a port; each answers with its process id and drains on SIGTERM."""
    processes = []

    def start(kind, port):
        program = Path(__file__).with_name("pid_server.py")
        command = [sys.executable, str(program), kind, str(port)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2])
        processes.append(process)
        assert process.stdout is not None
        return process, int(process.stdout.readline())

    yield start
    for process in processes:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.fixture
def free_port():
    """A port that is ours while the test runs, and that others may share."""
    with socket.socket() as reserved:
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        reserved.bind(("127.0.0.1", 0))
        yield reserved.getsockname()[1]


class SlowReader:
    """One call over a bare socket, whose answer is read only when the test says so: HTTP/2 at its smallest."""

    def __init__(self, port, path, payload):
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=WAIT_S)
        self._socket.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + self._frame(4, 0, 0, b""))
        headers = {
            ":method": "POST",
            ":scheme": "http",
            ":path": path,
            ":authority": "localhost",
            "te": "trailers",
            "content-type": "application/grpc",
        }
        block = b"".join(b"\x00" + self._text(key) + self._text(value) for key, value in headers.items())
        self._socket.sendall(self._frame(1, 4, 1, block))
        self._socket.sendall(self._frame(0, 1, 1, b"\x00" + struct.pack(">I", len(payload)) + payload))

    @staticmethod
    def _text(value):
        return bytes([len(value)]) + value.encode()

    @staticmethod
    def _frame(kind, flags, stream, body):
        return struct.pack(">I", len(body))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + body

    def read_all(self):
        """Return how many bytes of DATA arrive when the reader opens its window."""
        update = struct.pack(">I", 1 << 28)
        self._socket.sendall(self._frame(8, 0, 0, update) + self._frame(8, 0, 1, update))
        total = 0
        with self._socket.makefile("rb") as stream:
            while True:
                head = stream.read(9)
                kind, flags, number = head[3], head[4], struct.unpack(">I", head[5:])[0]
                body = stream.read(int.from_bytes(head[:3], "big"))
                if kind == 0:
                    total += len(body)
                if kind == 4 and not flags:
                    self._socket.sendall(self._frame(4, 1, 0, b""))
                if number == 1 and flags & 1:
                    return total

    def close(self):
        self._socket.close()


@pytest.fixture
def slow_reader(server):
    readers = []

    def start(payload):
        readers.append(SlowReader(server.port, SAY, payload))
        return readers[-1]

    yield start
    for reader in readers:
        reader.close()
