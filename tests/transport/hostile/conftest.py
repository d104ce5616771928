"""Clients that do as they like: bare frames, and an HTTP/2 engine whose every move the test decides."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import time
from pathlib import Path

import pytest
from ngh2 import Connection, NGH2Error, Role
from ngh2.config import Configuration
from ngh2.events import ConnectionClosed, DataReceived, GoAwayReceived, ResponseReceived, StreamReset, TrailersReceived

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RESET, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONTINUATION = range(10)
SAY = "/turnout.test.Echo/Say"
WAIT_S = 10.0


def frame(kind, flags=0, stream=0, body=b""):
    return struct.pack(">I", len(body))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + body


def block(path=SAY, **changes):
    """Return the header block of a request, without compression."""
    fields = {":method": "POST", ":scheme": "http", ":path": path, ":authority": "x", "te": "trailers"}
    fields |= {"content-type": "application/grpc"} | {key.replace("_", "-"): value for key, value in changes.items()}

    def text(value):
        size = len(value)
        head = bytes([size]) if size < 127 else b"\x7f"
        rest = size - 127
        while size >= 127:
            head += bytes([rest & 127 | (128 if rest > 127 else 0)])
            rest >>= 7
            if not rest:
                break
        return head + value.encode()

    return b"".join(b"\x00" + text(key) + text(value) for key, value in fields.items())


def message(payload):
    return b"\x00" + struct.pack(">I", len(payload)) + payload


class Raw:
    """A socket that sends what it is told to."""

    def __init__(self, port, *, greet=True):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=WAIT_S)
        if greet:
            self.send(PREFACE + frame(SETTINGS))

    def send(self, data):
        """Send, unless the server has closed."""
        with contextlib.suppress(OSError):
            self.socket.sendall(data)

    def ask(self, stream=1, payload=b"x", **changes):
        self.send(frame(HEADERS, 4, stream, block(**changes)) + frame(DATA, 1, stream, message(payload)))

    def read_to_end(self):
        """Return all that comes until the server closes; fail when it does not."""
        received = b""
        try:
            while data := self.socket.recv(65536):
                received += data
        except ConnectionError:
            pass
        return received

    def goaway_code(self):
        """Return the code of the GOAWAY that comes before the server closes; None when none comes."""
        received = self.read_to_end()
        code = None
        while len(received) >= 9:
            size = int.from_bytes(received[:3], "big")
            if received[3] == GOAWAY:
                code = int.from_bytes(received[13:17], "big")
            received = received[9 + size :]
        return code

    def vanish(self):
        """Go without a word, as a process that is killed does."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


class Engine:
    """An HTTP/2 client by hand: it opens windows and reads only when it is told to."""

    def __init__(self, port, *, window=65535):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=WAIT_S)
        self.session = Connection(Role.CLIENT, Configuration(auto_window_update=False))
        self.session.initiate_connection({4: window})
        self.headers = {}
        self.bodies = {}
        self.resets = {}
        self.goaway = None
        self.closed = False
        self.flush()

    def flush(self):
        with contextlib.suppress(OSError):
            self.socket.sendall(self.session.data_to_send())

    def ask_at_once(self, payload, times, path=SAY):
        """Send so many requests in one go and return their streams."""
        streams = [self.session.send_request(self._headers(path)) for _ in range(times)]
        for stream in streams:
            self.session.send_data(stream, message(payload), end_stream=True)
        self.flush()
        return streams

    def begin(self, path=SAY, *extra):
        stream = self.session.send_request([*self._headers(path), *extra])
        self.flush()
        return stream

    @staticmethod
    def _headers(path):
        fields = {":method": "POST", ":scheme": "http", ":path": path, ":authority": "x", "te": "trailers"}
        fields |= {"content-type": "application/grpc"}
        return [(key.encode(), value.encode()) for key, value in fields.items()]

    def send(self, stream, data, *, end=False):
        self.session.send_data(stream, data, end_stream=end)
        self.flush()

    def ask(self, payload, path=SAY, *extra):
        stream = self.begin(path, *extra)
        self.send(stream, message(payload), end=True)
        return stream

    def read(self):
        """Take what has come, or wait for something; return whether the connection goes on."""
        data = b""
        with contextlib.suppress(ConnectionError):
            data = self.socket.recv(65536)
        if not data:
            self.closed = True
            return False
        with contextlib.suppress(NGH2Error):
            self.session.receive_data(data)
        for event in self.session.events():
            if isinstance(event, ResponseReceived | TrailersReceived):
                self.headers.setdefault(event.stream_id, {}).update(event.headers)
            elif isinstance(event, DataReceived):
                self.bodies[event.stream_id] = self.bodies.get(event.stream_id, b"") + event.data
            elif isinstance(event, StreamReset):
                self.resets[event.stream_id] = event.error_code
            elif isinstance(event, GoAwayReceived | ConnectionClosed):
                self.goaway = event.error_code
        self.flush()
        return True

    def status(self, stream):
        """Return the call's status when it has come."""
        while b"grpc-status" not in self.headers.get(stream, {}):
            assert self.read(), "the server closed the connection"
        return int(self.headers[stream][b"grpc-status"])


@pytest.fixture
def raw():
    with contextlib.ExitStack() as stack:

        def connect(port, **options):
            client = Raw(port, **options)
            stack.callback(client.socket.close)
            return client

        yield connect


@pytest.fixture
def engine():
    with contextlib.ExitStack() as stack:

        def connect(port, **options):
            client = Engine(port, **options)
            stack.callback(client.socket.close)
            return client

        yield connect


@pytest.fixture
def resident_mib():
    """Return how much memory a process takes; by default this one, which is the server too."""

    def measure(pid=None):
        pages = int(Path(f"/proc/{pid or os.getpid()}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20

    return measure


class Wire:
    """What bare frames are made of."""

    DATA, HEADERS, PRIORITY, RESET, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONTINUATION = range(10)
    ENHANCE_YOUR_CALM = 11
    PREFACE = PREFACE
    frame = staticmethod(frame)
    block = staticmethod(block)
    message = staticmethod(message)


@pytest.fixture
def wire():
    return Wire


@pytest.fixture
def settled():
    """Wait until a server has no call in flight."""

    def wait(server):
        until = time.monotonic() + WAIT_S
        while server.transport.calls_in_flight():
            assert time.monotonic() < until, f"{server.transport.calls_in_flight()} calls are held for ever"
            time.sleep(0.002)

    return wait
