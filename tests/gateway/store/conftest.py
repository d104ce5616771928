"""A relay before a store's socket, which can be slow."""

from __future__ import annotations

import contextlib
import socket
import threading
import time

import pytest

CHUNK_BYTES = 1 << 16


class Relay:
    """Passes bytes between clients of one Unix socket and the server behind another; the server's come late."""

    def __init__(self, path, behind):
        self.delay_s = 0.0
        self._behind = behind
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.bind(str(path))
        self._socket.listen(64)
        self._closing = False
        self.url = f"unix://{path}?db=0"
        self._thread = threading.Thread(target=self._accept)
        self._thread.start()

    def close(self):
        self._closing = True
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._socket.close()

    def _accept(self):
        while not self._closing:
            try:
                client, _ = self._socket.accept()
            except OSError:
                return
            server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                server.connect(str(self._behind))
            except OSError:  # nobody is there: the client sees its connection end
                client.close()
                server.close()
                continue
            threading.Thread(target=self._serve, args=(client, server), daemon=True).start()

    def _serve(self, client, server):
        with client, server:
            upwards = threading.Thread(target=self._pass, args=(client, server, False), daemon=True)
            upwards.start()
            self._pass(server, client, True)
            upwards.join()

    def _pass(self, source, sink, late):
        with contextlib.suppress(OSError):
            while received := source.recv(CHUNK_BYTES):
                if late and self.delay_s:
                    time.sleep(self.delay_s)
                sink.sendall(received)
        for each in (source, sink):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def open_relay():
    """Return the function that opens a relay; all are closed at the end."""
    opened = []

    def start(path, behind):
        opened.append(Relay(path, behind))
        return opened[-1]

    yield start
    for relay in opened:
        relay.close()
