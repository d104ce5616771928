"""The fast transport: one thread that reads, answers waves and writes, on libnghttp2.

::

    listener ─► connection ─► waves ─► the pipeline
                  │  ▲
                  ▼  │ what is not answered in waves
                behind ─► grpcio's server on a Unix socket

`loop` waits for sockets, timers and other threads; `link` is a socket with an HTTP/2 session on it; `connection` is a
link to a client and `behind` the link to the grpcio server; `head`, `arriving` and `status` read and write what gRPC
says in HTTP/2; `waves` counts what is held and makes the waves; `bounds` has what strangers are held to.
Only this package knows ngh2.
"""

from __future__ import annotations

from gateway.transport.native.transport import NativeTransport

__all__ = ["NativeTransport"]
