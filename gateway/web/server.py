"""The HTTP port: whether the gateway is well, its metrics, calls of the data port, and the console."""

from __future__ import annotations

import ssl
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from gateway.access.access import require
from gateway.transport.tls import names_of_peer
from gateway.web.console import FORM_BYTES_MAX
from gateway.web.metrics import GatewayCollector
from gateway.web.secure import SecureHTTPServer, certificate_shown
from gateway.web.told import Asked
from storage.errors import ForbiddenError, UnknownCallerError

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.access.access import Access
    from gateway.control.fleet import Fleet
    from gateway.telemetry.meter import Meter
    from gateway.transport.tls import Certificates
    from gateway.web.console import Console
    from gateway.web.told import Rest, Told

HEALTH_PATH = "/healthz"
METRICS_PATH = "/metrics"
READ = "read"
"""The role that the numbers take."""

IDLE_S_MAX = 30.0
"""How long a connection may say nothing."""

_HEARS_STOP_S = 0.1
_LENGTH_DIGITS_MAX = 15


class WebServer:
    """Answers ``/healthz``, ``/metrics``, calls of the data port, and the console's pages.

    Parameters
    ----------
    host, port
        Where; port 0 picks a free one.
    fleet
        Whether it answers.
    gather
        Returns the numbers to show.
    access
        Says who asks for them.
    rest
        Answers calls.
    body_bytes_max
        How long the body of such a call may be.
    console
        Answers everything else.
    tls
        The port's certificate; None: it speaks without TLS.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        fleet: Fleet,
        gather: Callable[[], Meter],
        access: Access,
        rest: Rest,
        body_bytes_max: int,
        console: Console,
        tls: Certificates | None = None,
    ) -> None:
        registry = CollectorRegistry()
        registry.register(GatewayCollector(gather))

        class Handler(_Handler):
            metrics = registry
            workers = fleet
            asked = access
            pages = console
            calls = rest
            call_bytes_max = body_bytes_max

        self._server = SecureHTTPServer((host, port), Handler, tls=tls)

    def start(self) -> int:
        """Begin to answer and return the bound port."""
        threading.Thread(target=self._server.serve_forever, args=(_HEARS_STOP_S,), name="web", daemon=True).start()
        return self._server.server_port

    def stop(self) -> None:
        """Answer no more."""
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    metrics: CollectorRegistry
    workers: Fleet
    asked: Access
    pages: Console
    calls: Rest
    call_bytes_max: int
    timeout = IDLE_S_MAX
    protocol_version = "HTTP/1.1"  # a connection is kept for the next call
    disable_nagle_algorithm = True
    wbufsize = -1  # head and body leave together

    def do_GET(self) -> None:
        """Answer a GET."""
        path = self.path.partition("?")[0]
        if path == HEALTH_PATH:
            ready = all(report.ready for report in self.workers.reports())
            self._send(HTTPStatus.OK if ready else HTTPStatus.SERVICE_UNAVAILABLE, b"ok\n" if ready else b"not ready\n")
        elif path == METRICS_PATH:
            self._send_metrics()
        elif self.calls.takes(path):
            self._tell(self.calls.answer(self._asked(b"")))
        else:
            self._tell(self.pages.answer(self._asked(b"")))

    def do_POST(self) -> None:
        """Take a call, or a form of the console."""
        call = self.calls.takes(self.path.partition("?")[0])
        bytes_max = self.call_bytes_max if call else FORM_BYTES_MAX
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdigit()):
            self._refuse(HTTPStatus.LENGTH_REQUIRED, "a body says how long it is", call=call)
        elif len(length) > _LENGTH_DIGITS_MAX or int(length) > bytes_max:
            self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a body has at most {bytes_max} bytes", call=call)
        else:
            body = self.rfile.read(int(length))
            if len(body) < int(length):  # the caller went away
                self.close_connection = True
                return
            self._tell((self.calls if call else self.pages).answer(self._asked(body)))

    def do_OPTIONS(self) -> None:
        """Answer a browser that asks whether a page may call."""
        bodiless = self.headers.get("Content-Length", "0") == "0" and "Transfer-Encoding" not in self.headers
        if bodiless and self.calls.takes(self.path.partition("?")[0]):
            self._tell(self.calls.answer(self._asked(b"")))
        else:
            self._other()

    def _other(self) -> None:
        """Refuse a verb that nothing here takes, and what came with it."""
        self.close_connection = True
        if self.calls.takes(self.path.partition("?")[0]):
            self._tell(self.calls.answer(self._asked(b"")))
        else:
            self._send(HTTPStatus.METHOD_NOT_ALLOWED, b"this takes GET and POST\n")

    do_PUT = do_DELETE = do_PATCH = do_TRACE = do_HEAD = do_CONNECT = do_QUERY = _other  # noqa: N815

    def _asked(self, body: bytes) -> Asked:
        host, port = self.client_address[:2]
        return Asked(
            method=self.command,
            target=self.path,
            headers=self.headers,
            body=body,
            certificate=names_of_peer(certificate_shown(self.connection)),
            peer=f"ipv6:[{host}]:{port}" if ":" in host else f"ipv4:{host}:{port}",
            secure=isinstance(self.connection, ssl.SSLSocket),
        )

    def _tell(self, told: Told) -> None:
        """Answer."""
        self.send_response(told.status)
        if told.status not in {HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED}:
            self.send_header("Content-Type", told.content_type)
            self.send_header("Content-Length", str(len(told.body)))
        for name, value in told.headers.items():
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(told.body)

    def _refuse(self, status: HTTPStatus, words: str, *, call: bool) -> None:
        """Refuse a body unread: what follows on the connection would be it."""
        self.close_connection = True
        if call:
            self._tell(self.calls.refuse(self._asked(b""), status, words))
        else:
            self._send(status, f"{words}\n".encode())

    def _send_metrics(self) -> None:
        """Show the numbers to those who may read."""
        if self.asked.asks:
            try:
                certificate = names_of_peer(certificate_shown(self.connection))
                require(self.asked.caller(self.headers.get("Authorization"), certificate), READ)
            except UnknownCallerError as error:
                self._send(HTTPStatus.UNAUTHORIZED, f"{error}\n".encode(), challenge="Bearer")
                return
            except ForbiddenError as error:
                self._send(HTTPStatus.FORBIDDEN, f"{error}\n".encode())
                return
        self._send(HTTPStatus.OK, generate_latest(self.metrics), CONTENT_TYPE_LATEST)

    def _send(
        self, status: HTTPStatus, body: bytes, content_type: str = "text/plain; charset=utf-8", *, challenge: str = ""
    ) -> None:
        self.send_response(status)
        if challenge:
            self.send_header("WWW-Authenticate", challenge)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Keep requests out of the log."""
